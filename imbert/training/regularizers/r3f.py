"""Symmetric divergence of the answers under noise on word embeddings as a penalty."""

import dataclasses

import numpy as np
from torch import Tensor
from torch.nn import functional

from imbert.training.regularizers.regularizer import (
    AbstractRegularizer,
    MicroBatch,
    Passes,
    Penalised,
    seeded,
)


@dataclasses.dataclass(frozen=True)
class R3F(AbstractRegularizer):
    """λ E[KL(p‖q) + KL(q‖p)], p the probabilities of a text and q those at e + noise (Aghajanyan et
    al. 2021, section 3.1).

    As in the authors' code the noisy pass drops out entries of its own, so that the penalty is that
    of dropout too, and sends no gradient into the table of word embeddings.

    Attributes:
        strength: λ.
        noise: "uniform" in ±scale, or "normal" of that standard deviation.
        scale: of the noise.
    """

    strength: float
    noise: str
    scale: float

    @property
    def passes(self) -> Passes:
        return Passes(1, 1)

    def loss(self, micro: MicroBatch) -> Penalised:
        noisy = micro.embed().detach() + micro.noise(self._drawn)
        # first, so that its gradient is solved last and logged
        output = micro.model(**micro.batch)
        micro.log_forward()
        with seeded(micro):
            noised = micro.answer(_without_labels(micro.embedded(noisy))).logits
        penalty = symmetric_divergence(output.logits, noised).mean()
        return Penalised(output.loss + self.strength * penalty, penalty.detach())

    def _drawn(self, draw: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        if self.noise == "normal":
            return draw.normal(0.0, self.scale, shape)
        return draw.uniform(-self.scale, self.scale, shape)


def symmetric_divergence(logits: Tensor, others: Tensor) -> Tensor:
    """KL(p‖q) + KL(q‖p) = Σ (p − q)(log p − log q) for each example, from logits."""
    own = functional.log_softmax(logits, dim=1)
    other = functional.log_softmax(others, dim=1)
    return ((own.exp() - other.exp()) * (own - other)).sum(1)


def _without_labels(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in batch.items() if name != "labels"}
