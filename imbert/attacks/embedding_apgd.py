"""Projected gradient ascent that chooses its own step sizes."""

import dataclasses
from typing import ClassVar

import torch
from torch import Tensor

from imbert.attacks.embedding_ascent import AbstractEmbeddingAscent
from imbert.attacks.embedding_attack import EmbeddedBatch, Progress
from imbert.attacks.embedding_ball import EmbeddingBall
from imbert.toml_tables import in_range

RISES = 0.75  # ρ: so large a share of the steps since the last checkpoint must have raised the loss


@dataclasses.dataclass(frozen=True)
class EmbeddingAPGD(AbstractEmbeddingAscent):
    """Ascent with momentum whose step begins at 2r and is halved at checkpoints, going back to the
    best (Croce and Hein 2020, section 3).

    Costs restarts·(steps + 1) evaluations of an example that withstands, each but the last with a
    gradient.

    Attributes:
        norm: "l2" over all words of an example, or "linf".
        radius: relative to the mean norm of word embeddings, see `embedding_ball`.
        steps: of a restart.
        restarts: how often it begins anew, each time at a random δ.
        momentum: weight of the new step, 1 being none of the old one.
        loss: "dlr" (with two classes it is the margin), "margin" or "cross_entropy".
        gradient: as for EmbeddingPGD.

    Raises:
        ValueError: if an option is unknown or out of range.
    """

    name: ClassVar[str] = "apgd"
    norm: str = "l2"
    radius: float = 0.1
    steps: int = 20
    restarts: int = 1
    momentum: float = 0.75
    loss: str = "dlr"
    gradient: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range("momentum", self.momentum, 0, 1, low_allowed=False)

    def ascend(
        self,
        batch: EmbeddedBatch,
        rows: Tensor,
        delta: Tensor,
        ball: EmbeddingBall,
        progress: Progress,
    ) -> None:
        """Steps with momentum, of a size that is halved at checkpoints."""
        wrong, losses, gradient = batch.differentiate(delta)
        gradient = progress.finite(gradient)
        path = _Path.begin(delta, losses, gradient, 2 * ball.radius)
        kept = progress.see(rows, delta, wrong, losses)
        marks = checkpoints(self.steps)
        for step in range(1, self.steps + 1):
            if not bool(kept.any()):
                return
            # finished examples leave the batch: they cost no further query
            if not bool(kept.all()):
                rows = rows[kept]
                path = path.take(kept)
                batch = batch.take(kept.nonzero()[:, 0])
            # the first step has no step before it
            weight = 1.0 if step == 1 else self.momentum
            moved = path.moved(ball, weight)
            # the last iterate is only judged: its gradient would serve no step
            if step == self.steps:
                progress.see(rows, moved, *batch.evaluate(moved))
                return
            wrong, losses, gradient = batch.differentiate(moved)
            path = path.after(moved, losses, progress.finite(gradient))
            kept = progress.see(rows, moved, wrong, losses)
            if step in marks:
                path = path.halved(step - marks[step])


@dataclasses.dataclass(frozen=True, eq=False)
class _Path:
    """Where the ascent of each example stands; all tensors have one row per example."""

    delta: Tensor
    before: Tensor  # the iterate before
    loss: Tensor
    gradient: Tensor
    best: Tensor
    best_loss: Tensor
    best_gradient: Tensor
    step_size: Tensor
    rises: Tensor  # since the last checkpoint
    reduced: Tensor  # at the last checkpoint
    loss_there: Tensor  # the best one at the last checkpoint

    @classmethod
    def begin(cls, delta: Tensor, loss: Tensor, gradient: Tensor, step_size: float) -> "_Path":
        return cls(
            delta=delta,
            before=delta,
            loss=loss,
            gradient=gradient,
            best=delta,
            best_loss=loss,
            best_gradient=gradient,
            step_size=torch.full_like(loss, step_size),
            rises=torch.zeros_like(loss),
            reduced=torch.ones_like(loss, dtype=torch.bool),
            loss_there=loss,
        )

    def take(self, kept: Tensor) -> "_Path":
        return _Path(*(getattr(self, field.name)[kept] for field in dataclasses.fields(self)))

    def moved(self, ball: EmbeddingBall, weight: float) -> Tensor:
        """P(δ + w(z − δ) + (1 − w)(δ − δ')), z = P(δ + a·u)."""
        z = ball.project(self.delta + self.step_size[:, None, None] * ball.steepest(self.gradient))
        return ball.project(
            self.delta + weight * (z - self.delta) + (1 - weight) * (self.delta - self.before)
        )

    def after(self, moved: Tensor, loss: Tensor, gradient: Tensor) -> "_Path":
        better = loss > self.best_loss
        wide = better[:, None, None]
        return dataclasses.replace(
            self,
            delta=moved,
            before=self.delta,
            loss=loss,
            gradient=gradient,
            best=torch.where(wide, moved, self.best),
            best_loss=torch.where(better, loss, self.best_loss),
            best_gradient=torch.where(wide, gradient, self.best_gradient),
            rises=self.rises + (loss > self.loss),
        )

    def halved(self, since: int) -> "_Path":
        """Half the step, from the best iterate, for those that rose too seldom or found nothing
        better with the same step.
        """
        stuck = ~self.reduced & (self.best_loss <= self.loss_there)
        reduce = (self.rises < RISES * since) | stuck
        wide = reduce[:, None, None]
        return dataclasses.replace(
            self,
            delta=torch.where(wide, self.best, self.delta),
            loss=torch.where(reduce, self.best_loss, self.loss),
            gradient=torch.where(wide, self.best_gradient, self.gradient),
            step_size=torch.where(reduce, self.step_size / 2, self.step_size),
            rises=torch.zeros_like(self.rises),
            reduced=reduce,
            loss_there=self.best_loss,
        )


def checkpoints(steps: int) -> dict[int, int]:
    """Each checkpoint ⌈p_j N⌉ and the one before it: p_0 = 0, p_1 = 0.22, p_{j+1} = p_j + max(p_j −
    p_{j−1} − 0.03, 0.06).
    """
    marks: dict[int, int] = {}
    last = 0
    before = 0  # p_{j−1} in hundredths
    now = 22  # p_j
    while now <= 100:
        mark = -(-now * steps // 100)
        if mark > last:
            marks[mark] = last
            last = mark
        step = max(now - before - 3, 6)
        before = now
        now += step
    return marks
