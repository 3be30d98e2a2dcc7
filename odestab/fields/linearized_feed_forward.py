"""The feed-forward map of a layer as a plain record, plain or gated, and its linearisation."""

import dataclasses
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from odestab.fields.linearized_maps import Affine
from odestab.one_thread import jvp


@dataclasses.dataclass(frozen=True, eq=False)
class FeedForwardWeights:
    """z ↦ W₂ act(W₁ z), or gated, z ↦ W₂ (act(W_g z) ∘ W_u z); `act` is elementwise.

    Attributes:
        intermediate: W₁, or W_g and W_u stacked.
        output: W₂.
        activation: act.
        gated: whether the intermediate state has a gate.
    """

    intermediate: Affine
    output: Affine
    activation: Callable[[Tensor], Tensor]
    gated: bool = False

    def linearize(self, z: Float[Tensor, "batch tokens hidden"]) -> "LinearizedFeedForward":
        """The derivative at z: about the cost and the memory of one evaluation."""
        intermediate = self.intermediate(z)
        if not self.gated:
            activated, slope = jvp(self.activation, intermediate, torch.ones_like(intermediate))
            return LinearizedFeedForward(self, self.output(activated), slope, None)
        inner, factor = intermediate.chunk(2, -1)
        gate, slope = jvp(self.activation, inner, torch.ones_like(inner))
        return LinearizedFeedForward(self, self.output(gate * factor), slope * factor, gate)


@dataclasses.dataclass(frozen=True, eq=False)
class LinearizedFeedForward:
    """The derivative at a state; tangents and cotangents are `(*leading, batch, tokens, hidden)`.

    Attributes:
        weights: the record.
        value: the output.
        slope: act′ at the intermediate state, times W_u z where that is gated.
        gate: act(W_g z); None where there is no gate.
    """

    weights: FeedForwardWeights
    value: Tensor
    slope: Tensor
    gate: Tensor | None

    def mv(self, t: Float[Tensor, "*leading"]) -> Float[Tensor, "*leading"]:
        """The derivative times t."""
        intermediate = t @ self.weights.intermediate.weight.T
        if self.gate is None:
            changed = intermediate.mul_(self.slope)
        else:
            inner, factor = intermediate.chunk(2, -1)
            changed = (inner * self.slope).addcmul_(factor, self.gate)
        return changed @ self.weights.output.weight.T

    def rmv(self, u: Float[Tensor, "*leading"]) -> Float[Tensor, "*leading"]:
        """The transpose times u."""
        changed = u @ self.weights.output.weight
        if self.gate is None:
            return changed.mul_(self.slope) @ self.weights.intermediate.weight
        both = torch.cat((changed * self.slope, changed * self.gate), -1)
        return both @ self.weights.intermediate.weight
