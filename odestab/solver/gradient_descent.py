"""Gradient descent on the residual: the inner solver of the published IM-connection."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from torch import Tensor

from odestab.solver.base import AbstractImplicitSolver
from odestab.solver.equation import ImplicitEquation
from odestab.solver.iteration import Iterate
from odestab.solver.stopping import Stopping

PUBLISHED_STEPS = 5
# what has no meaning beside a given number of steps
ENDS_EARLIER = ("max_iterations", "patience", "keep_last")


@dataclasses.dataclass(frozen=True, init=False)
class GradientDescent(AbstractImplicitSolver):
    """y ← y + η Mᵀ r, M = I − hJ(y): gradient descent on ½‖y − b − hf(y)‖² (Kim, Park and Kim
    2024).

    Locally convergent only if η σ_max(M)² < 2, with the condition number of M squared in the rate.
    Two evaluations an iteration, one more at the start.

    Attributes:
        step_size: η.
        steps: iterate this often and keep the last iterate, as published; an example that reaches
            the tolerance earlier stops there (never with rtol = 0). It stands for max_iterations
            and keep_last. None takes the options of `Stopping` instead.

    Raises:
        TypeError: if another end is given beside a number of steps.
        ValueError: if steps is negative or step_size is not positive.

    >>> GradientDescent().steps, GradientDescent(steps=None, max_iterations=40).steps
    (5, None)
    """

    step_size: float = 0.1

    flat: ClassVar[Mapping[str, tuple[Any, Any]]] = MappingProxyType(
        {"steps": (int | None, PUBLISHED_STEPS)}
    )

    def __init__(self, **options: Any) -> None:
        stopping = options.get("stopping", Stopping())
        if "steps" in options:
            steps = options.pop("steps")
        elif "stopping" in options:  # as it stands, in a copy of another solver
            steps = stopping.max_iterations if stopping.keep_last else None
        else:
            steps = PUBLISHED_STEPS
        if steps is not None:
            options["stopping"] = _after(steps, stopping, options)
        elif stopping.keep_last:  # a copy of one that took a number of steps
            first = Stopping().max_iterations
            options["stopping"] = dataclasses.replace(
                stopping, max_iterations=first, keep_last=False
            )
        super().__init__(**options)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.step_size > 0:
            raise ValueError(f"step_size must be > 0, got {self.step_size}")

    @property
    def steps(self) -> int | None:
        """How often it iterates, keeping the last iterate; None where it ends otherwise."""
        return self.stopping.max_iterations if self.stopping.keep_last else None

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


def _after(steps: int, stopping: Stopping, options: Mapping[str, Any]) -> Stopping:
    """The end after a number of steps.

    Raises:
        TypeError: if another end is given as well.
        ValueError: if the number is negative.
    """
    idle = [name for name in ENDS_EARLIER if name in options]
    if idle:
        raise TypeError(
            f"GradientDescent() takes no {idle[0]} beside steps = {steps}, where it would have no "
            "effect: expected steps=None with it"
        )
    if steps < 0:
        raise ValueError(f"steps must be >= 0 or None, got {steps}")
    return dataclasses.replace(stopping, max_iterations=steps, keep_last=True)
