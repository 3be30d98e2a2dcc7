"""Which stages an accelerated iteration is made of."""

import importlib.util
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from odestab.solver.kernels.plain import PlainStages
from odestab.solver.kernels.task import Task
from odestab.solver.ledger import Ledger


@runtime_checkable
class Stages(Protocol):
    """What `PlainStages` and `FusedStages` have in common.

    Attributes:
        y: the current iterate, `(batch, n)`.
    """

    y: Tensor

    @property
    def argument(self) -> Tensor:
        """The current iterate in the precision in which F is evaluated; from the first `mix` on."""

    @property
    def ledger(self) -> Ledger:
        """How each example stands."""

    def take_in(self, image: Float[Tensor, "batch n"]) -> None:
        """Take in F(y)."""

    def mix(self) -> None:
        """The next iterate of the running examples."""

    def outcome(self, last: Any) -> Float[Tensor, "batch n"]:
        """The last iterate where that is asked for, else the best."""


def stages(
    task: Task,
    y: Float[Tensor, "batch n"],
    image: Float[Tensor, "batch n"],
    low: torch.dtype | None = None,
) -> Stages:
    """Fused on a GPU for which there is Triton, plain elsewhere; begun at y, which is not changed,
    with the image F(y).

    Args:
        task: the map and how to iterate it.
        y: the start.
        image: F(y).
        low: precision in which F is evaluated; None is that of y.
    """
    if y.device.type == "cuda" and importlib.util.find_spec("triton") is not None:
        from odestab.solver.kernels.fused import (  # takes a while, and Triton is not everywhere
            FusedStages,
            supports,
        )

        if supports(task, y):
            return FusedStages(task, y, image, low)
    return PlainStages(task, y, image, low)
