"""What one masking check found."""

import dataclasses
from typing import Any

from imbert.attacks.base import AttackResult, plain

Ball = tuple[str, float]


@dataclasses.dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: "gain", "gradients_at_step", "square_alone", "transfer_alone", "ladder", "residual" or
            "solver_sweep". Records from before the checks were held against a model that is masked
            for certain have "gradients" and "gradient_free" instead.
        passed: None where it does not apply.
        measured: plain values.
        sentence: what was found; a warning where it failed.
    """

    name: str
    passed: bool | None
    measured: dict[str, Any]
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """Plain values; what is not finite is null."""
        return plain(dataclasses.asdict(self))


def ball_of(result: AttackResult) -> Ball:
    """Norm and relative radius of an attack on word embeddings."""
    return str(result.options["norm"]), float(result.options["radius"])


def broken_by(results: list[AttackResult]) -> set[int]:
    """Indices of the examples that at least one of the attacks breaks."""
    return set().union(*(result.changed for result in results))
