"""Projected gradient ascent in the space of word embeddings."""

import dataclasses
from typing import ClassVar

import torch
from torch import Tensor

from imbert.attacks.embedding_ascent import AbstractEmbeddingAscent
from imbert.attacks.embedding_attack import EmbeddedBatch, Progress
from imbert.attacks.embedding_ball import EmbeddingBall
from imbert.toml_tables import in_range


@dataclasses.dataclass(frozen=True)
class EmbeddingPGD(AbstractEmbeddingAscent):
    """δ ← P(δ + a·u), u the steepest ascent of the loss (Madry et al. 2018), the best of some
    restarts; stops where the model is wrong.

    Costs restarts·(steps + 1) evaluations of an example that withstands, all but restarts of them
    with a gradient.

    Attributes:
        norm: "l2" over all words of an example, or "linf".
        radius: relative to the mean norm of word embeddings, see `embedding_ball`.
        steps: of a restart.
        restarts: how often it begins anew.
        step_size: a relative to the radius; None is 2.5/steps.
        random_start: begin at a uniform draw from the ball; else at δ = 0.
        loss: "margin", "cross_entropy" or "dlr".
        gradient: "implicit" (IFT adjoint) or "unrolled" for an implicit model, "auto" for the one
            that suits its solver. A model without a solver ignores it; the record says "explicit".

    Raises:
        ValueError: if an option is unknown or out of range, or every restart would begin at δ = 0.
    """

    name: ClassVar[str] = "pgd"
    norm: str = "l2"
    radius: float = 0.1
    steps: int = 10
    restarts: int = 2
    step_size: float | None = None
    random_start: bool = True
    loss: str = "margin"
    gradient: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range("step_size", self.step_size, 0, low_allowed=False)
        if self.restarts > 1 and not self.random_start:
            raise ValueError(f"restarts must be 1 without a random start, got {self.restarts}")

    def start(self, batch: EmbeddedBatch, ball: EmbeddingBall, restart: int) -> Tensor:
        """At random or at δ = 0."""
        return (
            super().start(batch, ball, restart)
            if self.random_start
            else torch.zeros_like(batch.embeddings)
        )

    def ascend(
        self,
        batch: EmbeddedBatch,
        rows: Tensor,
        delta: Tensor,
        ball: EmbeddingBall,
        progress: Progress,
    ) -> None:
        """Steps of one size."""
        size = ball.radius * (2.5 / self.steps if self.step_size is None else self.step_size)
        for _ in range(self.steps):
            wrong, losses, gradient = batch.differentiate(delta)
            kept = progress.see(rows, delta, wrong, losses)
            if not bool(kept.any()):
                return
            delta = ball.project(delta + size * ball.steepest(progress.finite(gradient)))
            if not bool(kept.all()):
                rows = rows[kept]
                delta = delta[kept]
                batch = batch.take(kept.nonzero()[:, 0])
        progress.see(rows, delta, *batch.evaluate(delta))
