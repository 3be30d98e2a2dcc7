"""The cached analytic linearisation of a post-LayerNorm layer and of its halves.

One product costs about one evaluation.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from odestab.fields.vector_field import Linearization
from odestab.one_thread import jvp


@dataclasses.dataclass(frozen=True, eq=False)
class Affine:
    """x ↦ x Wᵀ + b, W `(out, in)`."""

    weight: Float[Tensor, "out in"]
    bias: Float[Tensor, " out"]

    def __call__(self, x: Tensor) -> Tensor:
        """x Wᵀ + b."""
        return functional.linear(x, self.weight, self.bias)


@dataclasses.dataclass(frozen=True, eq=False)
class Norm:
    """LayerNorm: gain γ, shift β and ε."""

    gain: Float[Tensor, " hidden"]
    shift: Float[Tensor, " hidden"]
    epsilon: float

    def linearize(self, x: Tensor) -> tuple[Tensor, "_LinearizedNorm"]:
        """LN(x) and its linearisation."""
        centered = x - x.mean(-1, keepdim=True)
        inverse = (centered.square().mean(-1, keepdim=True) + self.epsilon).rsqrt()
        normalized = centered * inverse
        return self.gain * normalized + self.shift, _LinearizedNorm(normalized, self.gain * inverse)


@dataclasses.dataclass(frozen=True, eq=False)
class _LinearizedNorm:
    """D LN at a point: γ/σ Π with Π = I − 11ᵀ/H − x̂x̂ᵀ/H symmetric, of rank H − 2 up to ε."""

    normalized: Tensor  # x̂
    scale: Tensor  # γ/σ

    def mv(self, t: Tensor) -> Tensor:
        return self._tangential(t).mul_(self.scale)

    def rmv(self, u: Tensor) -> Tensor:
        return self._tangential(self.scale * u)

    def _tangential(self, t: Tensor) -> Tensor:
        radial = (self.normalized * t).mean(-1, keepdim=True)
        return (t - t.mean(-1, keepdim=True)).addcmul_(self.normalized, radial, value=-1)


@dataclasses.dataclass(frozen=True, eq=False)
class AttentionWeights:
    """The attention half F_A(x) = LN(W_o attention(x) + x) as a plain record.

    Attributes:
        query_key_value: the three projections stacked, `(3·hidden, hidden)`.
        output: W_o.
        norm: LN.
        heads: number of attention heads.
        bias: what is added to the scores before the softmax (the attention mask); broadcasts to
            `(batch, heads, tokens, tokens)`.
    """

    query_key_value: Affine
    output: Affine
    norm: Norm
    heads: int
    bias: Tensor | None

    def linearize(self, x: Float[Tensor, "batch tokens hidden"]) -> "LinearizedAttention":
        """∂F_A at x: about the cost and the memory of one evaluation."""
        query, key, values = self.split(self.query_key_value(x))
        scale = 1 / math.sqrt(query.shape[-1])
        query = scale * query
        scaled_key = scale * key
        scores = query @ key.mT
        probabilities = (scores if self.bias is None else scores + self.bias).softmax(-1)
        context = probabilities @ values
        value, norm = self.norm.linearize(self.output(_join(context)) + x)
        return LinearizedAttention(
            self, value, query, scaled_key, values, probabilities, context, norm
        )

    def split(self, x: Tensor) -> tuple[Tensor, ...]:
        """`(..., tokens, parts·hidden)` → parts of shape `(..., heads, tokens, head size)`."""
        hidden = self.output.weight.shape[1]
        return tuple(
            part.unflatten(-1, (self.heads, -1)).transpose(-3, -2) for part in x.split(hidden, -1)
        )


@dataclasses.dataclass(frozen=True, eq=False)
class LinearizedAttention:
    """∂F_A at a state, from kept activations; tangents are `(*leading, batch, tokens, hidden)`.

    With P the probabilities, V the values and C = P V, a change dS of the scores moves the context
    by (P∘dS) V − diag((P∘dS) 1) C, and a change of the context is pulled back to the scores by
    P∘(dC Vᵀ − ⟨dC, C⟩ 1ᵀ): no second pass over tokens × tokens.

    Attributes:
        weights: the half.
        value: F_A(x).
        query, key: activations per head, `(batch, heads, tokens, head size)`, each multiplied by
            the scale of the scores.
        values, probabilities, context: V, P `(batch, heads, tokens, tokens)` and C.
        norm: LN linearised.
    """

    weights: AttentionWeights
    value: Tensor
    query: Tensor
    key: Tensor
    values: Tensor
    probabilities: Tensor
    context: Tensor
    norm: _LinearizedNorm

    def mv(self, t: Float[Tensor, "*leading"]) -> Float[Tensor, "*leading"]:
        """∂F_A t."""
        dq, dk, dv = self.weights.split(t @ self.weights.query_key_value.weight.T)
        weighted = (dq @ self.key.mT).add_(self.query @ dk.mT).mul_(self.probabilities)
        context = (
            (weighted @ self.values)
            .add_(self.probabilities @ dv)
            .addcmul_(weighted.sum(-1, keepdim=True), self.context, value=-1)
        )
        return self.norm.mv((_join(context) @ self.weights.output.weight.T).add_(t))

    def rmv(self, u: Float[Tensor, "*leading"]) -> Float[Tensor, "*leading"]:
        """∂F_Aᵀ u."""
        u = self.norm.rmv(u)
        (context,) = self.weights.split(u @ self.weights.output.weight)
        inner = (context * self.context).sum(-1, keepdim=True)
        scores = (context @ self.values.mT).sub_(inner).mul_(self.probabilities)
        parts = (scores @ self.key, scores.mT @ self.query, self.probabilities.mT @ context)
        return (_join(*parts) @ self.weights.query_key_value.weight).add_(u)


@dataclasses.dataclass(frozen=True, eq=False)
class FeedForwardWeights:
    """The feed-forward half F_F(z) = LN(W₂ act(W₁ z) + z); `activation` is elementwise."""

    intermediate: Affine
    output: Affine
    norm: Norm
    activation: Callable[[Tensor], Tensor]

    def linearize(self, z: Float[Tensor, "batch tokens hidden"]) -> "LinearizedFeedForward":
        """∂F_F at z: about the cost and the memory of one evaluation."""
        intermediate = self.intermediate(z)
        activated, slope = jvp(self.activation, intermediate, torch.ones_like(intermediate))
        value, norm = self.norm.linearize(self.output(activated) + z)
        return LinearizedFeedForward(self, value, slope, norm)


@dataclasses.dataclass(frozen=True, eq=False)
class LinearizedFeedForward:
    """∂F_F at a state; tangents and cotangents are `(*leading, batch, tokens, hidden)`.

    Attributes:
        weights: the half.
        value: F_F(z).
        slope: act′ at the intermediate state.
        norm: LN linearised.
    """

    weights: FeedForwardWeights
    value: Tensor
    slope: Tensor
    norm: _LinearizedNorm

    def mv(self, t: Float[Tensor, "*leading"]) -> Float[Tensor, "*leading"]:
        """∂F_F t."""
        intermediate = (t @ self.weights.intermediate.weight.T).mul_(self.slope)
        return self.norm.mv((intermediate @ self.weights.output.weight.T).add_(t))

    def rmv(self, u: Float[Tensor, "*leading"]) -> Float[Tensor, "*leading"]:
        """∂F_Fᵀ u."""
        u = self.norm.rmv(u)
        intermediate = (u @ self.weights.output.weight).mul_(self.slope)
        return (intermediate @ self.weights.intermediate.weight).add_(u)


@dataclasses.dataclass(frozen=True, eq=False)
class LayerWeights:
    """A BERT layer as a plain record: F = F_F ∘ F_A."""

    attention: AttentionWeights
    feed_forward: FeedForwardWeights

    def linearize(self, x: Float[Tensor, "batch tokens hidden"]) -> "LinearizedLayer":
        """∂F at x: about the cost and the memory of one evaluation."""
        attention = self.attention.linearize(x)
        return LinearizedLayer(attention, self.feed_forward.linearize(attention.value))


@dataclasses.dataclass(frozen=True, eq=False)
class LinearizedLayer:
    """∂F = ∂F_F ∂F_A at a state."""

    attention: LinearizedAttention
    feed_forward: LinearizedFeedForward

    @property
    def value(self) -> Tensor:
        """F(x)."""
        return self.feed_forward.value

    def mv(self, t: Float[Tensor, "*leading"]) -> Float[Tensor, "*leading"]:
        """∂F t."""
        return self.feed_forward.mv(self.attention.mv(t))

    def rmv(self, u: Float[Tensor, "*leading"]) -> Float[Tensor, "*leading"]:
        """∂Fᵀ u."""
        return self.attention.rmv(self.feed_forward.rmv(u))


def analytic_linearization(
    weights: LayerWeights | AttentionWeights | FeedForwardWeights,
    function: Callable[[Tensor], Tensor],
    mask: Bool[Tensor, "batch tokens"],
    x: Float[Tensor, "batch tokens hidden"],
) -> Linearization | None:
    """The linearisation of a layer or a half by its record.

    None where the record does not reproduce the function on real tokens.
    """
    with torch.no_grad():
        linearized = weights.linearize(x)
        value = function(x)
    gap = (linearized.value - value).masked_fill(~mask[..., None], 0.0).abs().max()
    eps = torch.finfo(x.dtype).eps
    if (
        not gap <= min(1e3 * eps, math.sqrt(eps)) * value.abs().max()
    ):  # in bfloat16 1e3 eps is no bound at all
        return None
    return _products(linearized)


def _products(
    linearized: LinearizedLayer | LinearizedAttention | LinearizedFeedForward,
) -> Linearization:
    no_grad = torch.no_grad()
    return Linearization(
        no_grad(linearized.mv),
        no_grad(linearized.rmv),
        "analytic",
        cast=lambda dtype: _products(_cast(linearized, dtype)),
        take=lambda examples: _products(_take(linearized, examples)),
    )


def _cast(record: Any, dtype: torch.dtype) -> Any:
    """A record with every floating-point tensor in another precision, nested records included."""
    if isinstance(record, Tensor):
        return record.to(dtype) if record.is_floating_point() else record
    if not dataclasses.is_dataclass(record) or isinstance(record, type):
        return record
    return dataclasses.replace(
        record,
        **{
            field.name: _cast(getattr(record, field.name), dtype)
            for field in dataclasses.fields(record)
        },
    )


def _take(record: Any, examples: Tensor) -> Any:
    """The activations of some examples; weights are shared by all."""
    if isinstance(record, Tensor):
        return record[examples]
    if isinstance(record, LayerWeights | AttentionWeights | FeedForwardWeights):
        return record
    return dataclasses.replace(
        record,
        **{
            field.name: _take(getattr(record, field.name), examples)
            for field in dataclasses.fields(record)
        },
    )


def _join(*parts: Tensor) -> Tensor:
    """Parts of shape `(..., heads, tokens, head size)` → `(..., tokens, parts·hidden)`."""
    return torch.cat([part.transpose(-3, -2) for part in parts], -2).flatten(-2)
