"""Adversarial training on word embeddings whose ascent steps are training steps too."""

import dataclasses

import numpy as np
import torch
from torch import Tensor

from imbert.training.regularizers.regularizer import (
    AbstractRegularizer,
    MicroBatch,
    Passes,
    Penalised,
)

LEAST = 1e-8  # below it a gradient has no direction


@dataclasses.dataclass(frozen=True)
class FreeLB(AbstractRegularizer):
    """The mean over K ascent steps of the loss at e + δ_t, whose gradients are accumulated (Zhu et
    al. 2020, algorithm 1).

    δ_0 is uniform in ±r/√N, N the entries of a text's embeddings; then δ ← P(δ + α g/‖g‖), g the
    gradient of the loss and P the projection onto ‖δ‖ ≤ r, over all real tokens of a text. One
    backward pass gives the gradients of the weights and of δ. All steps of a batch drop out the
    same entries (there, section 3.3). The value that is logged is how far the loss rose from the
    first step to the last.

    Attributes:
        steps: K.
        step_size: α.
        radius: r.
    """

    steps: int
    step_size: float
    radius: float

    @property
    def passes(self) -> Passes:
        return Passes(self.steps - 1, self.steps - 1)

    def loss(self, micro: MicroBatch) -> Penalised:
        delta = micro.noise(self._start)
        losses: list[Tensor] = []
        for _ in range(self.steps - 1):
            delta.requires_grad_()
            with micro.same_dropout():
                loss = micro.answer(micro.embedded(micro.embed() + delta)).loss
            # frees the graph, so that memory is that of plain training
            micro.backward(loss / self.steps)
            micro.log_backward()
            losses.append(loss.detach())
            assert delta.grad is not None
            delta = self._climbed(delta.detach(), delta.grad)
        last = micro.answer(micro.embedded(micro.embed() + delta)).loss
        # the earlier steps' gradients are there already: only their value is added
        mean = (sum(losses, torch.zeros_like(last)) + last) / self.steps
        rise = last.detach() - (losses[0] if losses else last.detach())
        return Penalised(mean, rise)

    def _start(self, draw: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        bound = self.radius / max(np.sqrt(shape[0] * shape[1]), 1.0)
        return draw.uniform(-bound, bound, shape)

    def _climbed(self, delta: Tensor, gradient: Tensor) -> Tensor:
        """One projected step of ascent for each example."""
        size = gradient.flatten(1).norm(dim=1).clamp(min=LEAST)
        moved = delta + self.step_size * gradient / size[:, None, None]
        length = moved.flatten(1).norm(dim=1)
        # also where r = 0 and nothing has moved
        shrink = (self.radius / length.clamp(min=LEAST)).clamp(max=1.0)
        return moved * shrink[:, None, None]
