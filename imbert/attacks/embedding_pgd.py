"""Projected gradient ascent in the space of word embeddings."""

import dataclasses

import torch

from imbert.attacks.embedding_attack import AbstractEmbeddingAttack, EmbeddedBatch, Progress
from imbert.attacks.embedding_ball import EmbeddingBall, check_ball, generator_of
from imbert.attacks.gradients import KINDS
from imbert.attacks.losses import NAMES


@dataclasses.dataclass(frozen=True)
class EmbeddingPGD(AbstractEmbeddingAttack):
    """δ ← P(δ + a·u), u the steepest ascent of the loss (Madry et al. 2018), the best of some restarts; stops where the model is wrong.

    Costs restarts·(steps + 1) evaluations of an example that withstands, all but restarts of them with a gradient.

    Attributes:
        norm: "l2" over all words of an example, or "linf".
        radius: relative to the mean norm of word embeddings, see `embedding_ball`.
        steps: of a restart.
        restarts: how often it begins anew.
        step_size: a relative to the radius; None is 2.5/steps.
        random_start: begin at a uniform draw from the ball; else at δ = 0.
        loss: "margin", "cross_entropy" or "dlr".
        gradient: "implicit" (IFT adjoint) or "unrolled" for an implicit model, "auto" for the one that suits its solver. A model
            without a solver ignores it; the record says "explicit".

    Raises:
        ValueError: if an option is unknown or out of range, or every restart would begin at δ = 0.
    """

    norm: str = "l2"
    radius: float = 0.1
    steps: int = 10
    restarts: int = 2
    step_size: float | None = None
    random_start: bool = True
    loss: str = "margin"
    gradient: str = "auto"

    def __post_init__(self) -> None:
        check_ball(self.norm, self.radius)
        check_climb(self.steps, self.restarts, self.loss, self.gradient)
        if self.step_size is not None and not self.step_size > 0:
            raise ValueError(f"step_size must be > 0, got {self.step_size}")
        if self.restarts > 1 and not self.random_start:
            raise ValueError(f"restarts must be 1 without a random start, got {self.restarts}")

    @property
    def name(self) -> str:
        return "pgd"

    @property
    def wanted_gradient(self) -> str:
        return self.gradient

    def climb(self, batch: EmbeddedBatch, ball: EmbeddingBall) -> Progress:
        """Restart by restart, with the examples that are still right."""
        progress = Progress.begin(batch.embeddings)
        for restart in range(self.restarts):
            if len(progress.open) == 0:
                break
            self._ascend(batch, ball, progress, restart)
        return progress

    def _ascend(self, whole: EmbeddedBatch, ball: EmbeddingBall, progress: Progress, restart: int) -> None:
        rows = progress.open
        batch = whole.take(rows)
        delta = start(batch, ball, restart) if self.random_start else torch.zeros_like(batch.embeddings)
        size = ball.radius * (2.5 / self.steps if self.step_size is None else self.step_size)
        for _ in range(self.steps):
            wrong, losses, gradient = batch.differentiate(delta)
            kept = progress.see(rows, delta, wrong, losses)
            if not bool(kept.any()):
                return
            delta = ball.project(delta + size * ball.steepest(progress.finite(gradient)))
            if not bool(kept.all()):
                rows, delta, batch = rows[kept], delta[kept], batch.take(kept.nonzero()[:, 0])
        progress.see(rows, delta, *batch.evaluate(delta))


def start(batch: EmbeddedBatch, ball: EmbeddingBall, restart: int) -> torch.Tensor:
    """A random δ of the ball for each example, its own for each restart."""
    return ball.random(batch.embeddings, batch.words, [generator_of(*seeds, restart) for seeds in batch.seeds])


def check_climb(steps: int, restarts: int, loss: str, gradient: str) -> None:
    """Raise ValueError unless the options of a climb are in range and known."""
    for name, value in (("steps", steps), ("restarts", restarts)):
        if value < 1:
            raise ValueError(f"{name} must be >= 1, got {value}")
    for name, choice, known in (("loss", loss, NAMES), ("gradient", gradient, KINDS)):
        if choice not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {choice!r}")
