"""What attacks that climb the gradient share: restarts, with the examples that are still right."""

import abc
from pathlib import Path
from typing import TYPE_CHECKING, Self

from torch import Tensor

from imbert.attacks.embedding_attack import AbstractEmbeddingAttack, EmbeddedBatch, Progress
from imbert.attacks.embedding_ball import EmbeddingBall, check_ball, generator_of
from imbert.attacks.gradients import KINDS
from imbert.attacks.losses import NAMES
from imbert.toml_tables import in_range, one_of

if TYPE_CHECKING:
    from imbert.attacks.choice import AttackChoice


class AbstractEmbeddingAscent(AbstractEmbeddingAttack):
    """An attack that follows the gradient of the loss, from the start again a number of times; it
    stops where the model is wrong.
    """

    steps: int
    restarts: int
    gradient: str

    def __post_init__(self) -> None:
        check_ball(self.norm, self.radius)
        in_range("steps", self.steps, 1)
        in_range("restarts", self.restarts, 1)
        one_of("loss", self.loss, NAMES)
        one_of("gradient", self.gradient, KINDS)

    @classmethod
    def chosen(cls, choice: "AttackChoice", radius: float, data: Path) -> Self:
        given = {"gradient": choice.gradient, "restarts": choice.restarts}
        options = {name: value for name, value in given.items() if value is not None}
        return cls(norm=choice.norm, radius=radius, **options)  # type: ignore[call-arg] # a dataclass

    @property
    def wanted_gradient(self) -> str:
        return self.gradient

    def climb(self, batch: EmbeddedBatch, ball: EmbeddingBall) -> Progress:
        """Restart by restart, with the examples that are still right."""
        progress = Progress.begin(batch.embeddings)
        for restart in range(self.restarts):
            rows = progress.open
            if len(rows) == 0:
                break
            part = batch.take(rows)
            self.ascend(part, rows, self.start(part, ball, restart), ball, progress)
        return progress

    def start(self, batch: EmbeddedBatch, ball: EmbeddingBall, restart: int) -> Tensor:
        """A uniform draw from the ball for each example, its own for each restart."""
        return ball.random(
            batch.embeddings, batch.words, [generator_of(*seeds, restart) for seeds in batch.seeds]
        )

    @abc.abstractmethod
    def ascend(
        self,
        batch: EmbeddedBatch,
        rows: Tensor,
        delta: Tensor,
        ball: EmbeddingBall,
        progress: Progress,
    ) -> None:
        """Climb from δ with a batch, the examples `rows` of the progress, which sees every
        evaluation.
        """
