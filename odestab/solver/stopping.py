"""When the solve of an example ends."""

import dataclasses
import math
import numbers


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stopping:
    """When the iteration of an example ends, and which of its iterates is returned.

    Attributes:
        rtol: converged where RMS(r) ≤ atol + rtol·RMS(y) over real tokens (Mathematics, section 2).
        atol: likewise.
        max_iterations: bound on iterations; a solver stopped there is a polynomial, not the
            implicit method.
        patience: so many iterations without one per cent of progress count as a stall.
        keep_last: return the last iterate whatever its residual, without stall or divergence
            detection. False returns the best one.

    Raises:
        ValueError: if a tolerance is negative or not finite, or a count is too small or no whole
            number.

    >>> Stopping(rtol=1e-3).max_iterations
    100
    """

    rtol: float = 1e-6
    atol: float = 0.0
    max_iterations: int = 100
    patience: int = 50
    keep_last: bool = False

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and >= 0, got {value}")
        for name, least in (("max_iterations", 0), ("patience", 1)):
            value = getattr(self, name)
            if not isinstance(value, numbers.Integral):
                raise ValueError(f"{name} must be a whole number, got {value!r}")
            if value < least:
                raise ValueError(f"{name} must be >= {least}, got {value}")
