"""An attack that needs no gradient: random search over blocks of words and coordinates."""

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor

from imbert.attacks.embedding_attack import AbstractEmbeddingAttack, EmbeddedBatch, Progress
from imbert.attacks.embedding_ball import EmbeddingBall, check_ball, generator_of
from imbert.attacks.losses import NAMES
from imbert.toml_tables import in_range, one_of

if TYPE_CHECKING:
    from imbert.attacks.choice import AttackChoice

# shares of the budget at which a block's share is halved (section 3)
HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)


@dataclasses.dataclass(frozen=True)
class Square(AbstractEmbeddingAttack):
    """Random search on the sphere ‖δ‖ = r: one block of a δ is redrawn and kept if the loss rises
    (after Andriushchenko et al. 2020).

    A block is a run of neighbouring words and a random set of coordinates; its share of δ is halved
    as the budget is used up. "linf" sets it to ±r, "l2" adds random signs of that share's norm and
    goes back to the sphere.

    Attributes:
        norm: "l2" over all words of an example, or "linf".
        radius: relative to the mean norm of word embeddings, see `embedding_ball`.
        queries: evaluations of the model per example at most.
        share: of the words and coordinates in the first blocks.
        loss: "margin", "cross_entropy" or "dlr".

    Raises:
        ValueError: if an option is unknown or out of range.
    """

    name: ClassVar[str] = "square"
    norm: str = "l2"
    radius: float = 0.1
    queries: int = 1000
    share: float = 0.8
    loss: str = "margin"

    def __post_init__(self) -> None:
        check_ball(self.norm, self.radius)
        in_range("queries", self.queries, 1)
        in_range("share", self.share, 0, 1, low_allowed=False)
        one_of("loss", self.loss, NAMES)

    @classmethod
    def chosen(cls, choice: "AttackChoice", radius: float, data: Path) -> Self:
        return cls(norm=choice.norm, radius=radius)

    def climb(self, batch: EmbeddedBatch, ball: EmbeddingBall) -> Progress:
        """One proposal for each open example at a time."""
        progress = Progress.begin(batch.embeddings)
        draws = [generator_of(*seeds) for seeds in batch.seeds]
        proposals = ball.sphere(ball.random(batch.embeddings, batch.words, draws))
        rows = progress.open
        part = batch
        for query in range(self.queries):
            kept = progress.see(rows, proposals, *part.evaluate(proposals))
            if query + 1 == self.queries or not bool(kept.any()):
                break
            if not bool(kept.all()):
                rows = rows[kept]
                part = part.take(kept.nonzero()[:, 0])
            share = block_share(self.share, query / self.queries)
            proposals = torch.stack(
                [
                    self._proposal(progress.delta[i], batch.words[i], share, ball, draws[i])
                    for i in rows.tolist()
                ]
            )
        return progress

    def _proposal(
        self, delta: Tensor, words: Tensor, share: float, ball: EmbeddingBall, draw: torch.Generator
    ) -> Tensor:
        places = words.nonzero()[:, 0]
        # a text of special tokens alone
        if len(places) == 0:
            return delta
        tokens = max(1, round(math.sqrt(share) * len(places)))
        begin = int(torch.randint(len(places) - tokens + 1, (1,), generator=draw))
        hidden = delta.shape[1]
        columns = torch.randperm(hidden, generator=draw)[
            : max(1, round(math.sqrt(share) * hidden))
        ].to(delta.device)
        signs = torch.randint(2, (tokens, len(columns)), generator=draw).to(delta) * 2 - 1
        block = torch.zeros_like(delta)
        block[places[begin : begin + tokens, None], columns] = signs
        # a corner of the cube: every redrawn coordinate is at its end
        if self.norm == "linf":
            return torch.where(block == 0, delta, ball.radius * block)
        moved = delta + math.sqrt(share) * ball.sphere(block[None])[0]
        return ball.sphere(moved[None])[0]


def block_share(first: float, used: float) -> float:
    """The share of a block once `used` of the budget is."""
    return first / 2 ** sum(used > halving for halving in HALVINGS)
