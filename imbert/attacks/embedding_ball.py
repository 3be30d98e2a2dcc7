"""The perturbations that an attack on word embeddings may choose from."""

import dataclasses
import math

import numpy as np
import torch
from torch import Tensor

from imbert.model.classifier import Classifier

NORMS = ("l2", "linf")


@dataclasses.dataclass(frozen=True)
class EmbeddingBall:
    """All perturbations δ of an example's word embeddings with ‖δ‖ ≤ r; δ is zero on [CLS], [SEP]
    and padding.

    "l2" is the norm over all words and coordinates of one example, "linf" the largest coordinate.
    Tensors are `(batch, tokens, hidden)`.

    Attributes:
        norm: "l2" or "linf".
        radius: r, absolute.
    """

    norm: str
    radius: float

    def size(self, delta: Tensor) -> Tensor:
        """‖δ‖ per example."""
        flat = delta.flatten(1)
        return flat.norm(dim=1) if self.norm == "l2" else flat.abs().amax(dim=1)

    def project(self, delta: Tensor) -> Tensor:
        """The nearest δ of the ball."""
        if self.norm == "linf":
            return delta.clamp(-self.radius, self.radius)
        return delta * (self.radius / self.size(delta).clamp(min=self.radius))[:, None, None]

    def steepest(self, gradient: Tensor) -> Tensor:
        """The u with ‖u‖ ≤ 1 along which a function of this gradient rises most; zero where the
        gradient is.
        """
        if self.norm == "linf":
            return gradient.sign()
        flat = gradient.flatten(1)
        largest = (
            flat.abs().amax(dim=1).clamp(min=torch.finfo(flat.dtype).tiny)
        )  # its squares may underflow
        scaled = gradient / largest[:, None, None]
        return (
            scaled
            / scaled.flatten(1).norm(dim=1).clamp(min=torch.finfo(flat.dtype).tiny)[:, None, None]
        )

    def sphere(self, direction: Tensor) -> Tensor:
        """The δ of ‖δ‖ = r in a direction, or in that of its signs."""
        return self.radius * self.steepest(direction)

    def random(self, like: Tensor, words: Tensor, generators: list[torch.Generator]) -> Tensor:
        """A uniform draw from the ball per example, each from its own generator, on the words
        alone.
        """
        drawn = torch.zeros_like(like)
        for delta, mask, generator in zip(drawn, words, generators, strict=True):
            delta[mask] = self._draw(int(mask.sum()), like.shape[2], generator).to(delta)
        return drawn

    def _draw(self, words: int, hidden: int, generator: torch.Generator) -> Tensor:
        if self.norm == "linf":
            return self.radius * (2 * torch.rand(words, hidden, generator=generator) - 1)
        normal = torch.randn(words, hidden, generator=generator)
        share = float(torch.rand(1, generator=generator)) ** (1 / max(words * hidden, 1))
        return normal * (self.radius * share / normal.norm().clamp(min=1e-30))


def embedding_ball(classifier: Classifier, norm: str, radius: float) -> EmbeddingBall:
    """The ball whose radius is relative to the mean norm ē of the rows of the model's table of word
    embeddings.

    "l2": r = radius·ē, so that radius 1 is one whole word. "linf": r = radius·ē/√hidden, so that a
    row of entries ±r has the same norm.
    """
    mean = mean_row_norm(classifier)
    hidden = classifier.model.get_input_embeddings().weight.shape[1]
    return EmbeddingBall(norm, radius * mean / (math.sqrt(hidden) if norm == "linf" else 1.0))


def mean_row_norm(classifier: Classifier) -> float:
    """The mean norm of a word's embedding."""
    return float(
        classifier.model.get_input_embeddings().weight.detach().double().norm(dim=1).mean()
    )


def check_ball(norm: str, radius: float) -> None:
    """Raise ValueError unless the norm is known and the radius positive."""
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")
    if not (math.isfinite(radius) and radius > 0):
        raise ValueError(f"radius must be > 0 and finite, got {radius}")


def generator_of(*seeds: int) -> torch.Generator:
    """A generator that depends on all the numbers."""
    state = int(np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(state >> 1)
