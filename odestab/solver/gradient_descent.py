"""Gradient descent on the residual: the inner solver of the published IM-connection."""

import dataclasses

from torch import Tensor

from odestab.solver.base import AbstractImplicitSolver, Iterate
from odestab.solver.equation import ImplicitEquation


@dataclasses.dataclass(frozen=True, kw_only=True)
class GradientDescent(AbstractImplicitSolver):
    """y ← y + η Mᵀ r, M = I − hJ(y): gradient descent on ½‖y − b − hf(y)‖² (Kim, Park and Kim
    2024).

    Locally convergent only if η σ_max(M)² < 2, with the condition number of M squared in the rate.
    Two evaluations an iteration, one more at the start.

    Attributes:
        steps: iterate this often and keep the last iterate, as published; an example that reaches
            the tolerance earlier stops there (never with rtol = 0). None iterates up to
            max_iterations and keeps the best.
        step_size: η.

    Raises:
        ValueError: if steps is negative or step_size is not positive.
    """

    steps: int | None = 5
    step_size: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.step_size > 0:
            raise ValueError(f"step_size must be > 0, got {self.step_size}")
        if self.steps is not None and self.steps < 0:
            raise ValueError(f"steps must be >= 0 or None, got {self.steps}")

    @property
    def iteration_limit(self) -> int:
        """`steps`, if given."""
        return self.max_iterations if self.steps is None else self.steps

    @property
    def keeps_last(self) -> bool:
        """Always with a given number of steps."""
        return self.keep_last or self.steps is not None

    def advance(
        self, equation: ImplicitEquation, iterate: Iterate, memory: object
    ) -> tuple[Tensor, Tensor, object, int]:
        """One iteration: one product with Jᵀ, which the last evaluation has prepared (the first is
        made again for it), one evaluation.
        """
        adjoint = memory if callable(memory) else equation.with_adjoint(iterate.y)[1]
        y = iterate.y + self.step_size * adjoint(iterate.r)
        r, following = equation.with_adjoint(y)
        return y, r, following, 2 if callable(memory) else 3

    def error_recursion(self, z: Tensor, step_size: float, split: float) -> tuple[Tensor, Tensor]:
        """(c, g) with e ← c·e for the error and (1 − c)/(1 − z) = g, on a normal linear field."""
        return 1 - self.step_size * (1 - z).abs() ** 2 + 0 * z, self.step_size * (1 - z).conj()
