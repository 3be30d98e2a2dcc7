"""The cached analytic linearisation of a post-LayerNorm transformer layer: one product costs about one evaluation of the layer."""

import dataclasses
import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from odestab.vector_field import Linearization


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


@dataclasses.dataclass(frozen=True, eq=False)
class LayerWeights:
    """A BERT layer as a plain record: LN₂(W₂ act(W₁ z) + z), z = LN₁(W_o attention(x) + x).

    Attributes:
        query_key_value: the three projections stacked, `(3·hidden, hidden)`.
        attention_output: W_o.
        attention_norm: LN₁.
        intermediate: W₁.
        output: W₂.
        output_norm: LN₂.
        heads: number of attention heads.
        activation: elementwise.
        attention_bias: what is added to the scores before the softmax (the attention mask); broadcasts to
            `(batch, heads, tokens, tokens)`.
    """

    query_key_value: Affine
    attention_output: Affine
    attention_norm: Norm
    intermediate: Affine
    output: Affine
    output_norm: Norm
    heads: int
    activation: Callable[[Tensor], Tensor]
    attention_bias: Tensor | None


@dataclasses.dataclass(frozen=True, eq=False)
class _LinearizedNorm:
    """D LN at a point: γ/σ (I − 11ᵀ/H − x̂x̂ᵀ/H), of rank H − 2 up to ε."""

    gain: Tensor
    normalized: Tensor  # x̂
    inverse_deviation: Tensor  # 1/σ

    def mv(self, t: Tensor) -> Tensor:
        return self.gain * self.inverse_deviation * self._tangential(t)

    def rmv(self, u: Tensor) -> Tensor:
        return self.inverse_deviation * self._tangential(self.gain * u)

    def _tangential(self, t: Tensor) -> Tensor:
        radial = (self.normalized * t).mean(-1, keepdim=True)
        return t - t.mean(-1, keepdim=True) - self.normalized * radial


@dataclasses.dataclass(frozen=True, eq=False)
class LinearizedLayer:
    """∂F at a state, from activations that are kept; tangents and cotangents are `(*leading, batch, tokens, hidden)`.

    Attributes:
        weights: the layer.
        value: F(x), to check the record against the layer itself.
        query, key, values, probabilities: activations per head.
        slope: act′ at the intermediate state.
        norms: LN₁ and LN₂ linearised.
    """

    weights: LayerWeights
    value: Tensor
    query: Tensor  # (batch, heads, tokens, head size), scaled
    key: Tensor
    values: Tensor
    probabilities: Tensor  # (batch, heads, tokens, tokens)
    slope: Tensor
    norms: tuple[_LinearizedNorm, _LinearizedNorm]

    def mv(self, t: Float[Tensor, "*leading"]) -> Float[Tensor, "*leading"]:
        """∂F t."""
        w = self.weights
        dq, dk, dv = (self._split(part) for part in (t @ w.query_key_value.weight.T).chunk(3, -1))
        dq = dq * self._scale
        scores = dq @ self.key.mT + self.query @ dk.mT
        weighted = self.probabilities * scores
        dp = weighted - self.probabilities * weighted.sum(-1, keepdim=True)
        context = self._join(dp @ self.values + self.probabilities @ dv)
        dz = self.norms[0].mv(context @ w.attention_output.weight.T + t)
        return self.norms[1].mv((self.slope * (dz @ w.intermediate.weight.T)) @ w.output.weight.T + dz)

    def rmv(self, u: Float[Tensor, "*leading"]) -> Float[Tensor, "*leading"]:
        """∂Fᵀ u."""
        w = self.weights
        u = self.norms[1].rmv(u)
        z = self.norms[0].rmv((self.slope * (u @ w.output.weight)) @ w.intermediate.weight + u)
        context = self._split(z @ w.attention_output.weight)
        weighted = self.probabilities * (context @ self.values.mT)
        ds = weighted - self.probabilities * weighted.sum(-1, keepdim=True)
        parts = (ds @ self.key * self._scale, ds.mT @ self.query, self.probabilities.mT @ context)
        return torch.cat([self._join(part) for part in parts], -1) @ w.query_key_value.weight + z

    @property
    def _scale(self) -> float:
        return 1 / math.sqrt(self.query.shape[-1])

    def _split(self, x: Tensor) -> Tensor:
        return _split_heads(x, self.weights.heads)

    def _join(self, x: Tensor) -> Tensor:
        return x.transpose(-3, -2).flatten(-2)


def linearize_layer(weights: LayerWeights, x: Float[Tensor, "batch tokens hidden"]) -> LinearizedLayer:
    """Evaluate a layer at x and keep what its derivative needs: about the cost and the memory of one evaluation."""
    q, k, v = (_split_heads(part, weights.heads) for part in weights.query_key_value(x).chunk(3, -1))
    q = q / math.sqrt(q.shape[-1])
    scores = q @ k.mT
    probabilities = (scores if weights.attention_bias is None else scores + weights.attention_bias).softmax(-1)
    context = (probabilities @ v).transpose(-3, -2).flatten(-2)
    z, first = _normalize(weights.attention_norm, weights.attention_output(context) + x)
    intermediate = weights.intermediate(z)
    slope = torch.func.jvp(weights.activation, (intermediate,), (torch.ones_like(intermediate),))[1]
    value, second = _normalize(weights.output_norm, weights.output(weights.activation(intermediate)) + z)
    return LinearizedLayer(weights, value, q, k, v, probabilities, slope, (first, second))


def analytic_linearization(
    weights: LayerWeights,
    layer: Callable[[Tensor], Tensor],
    mask: Bool[Tensor, "batch tokens"],
    x: Float[Tensor, "batch tokens hidden"],
) -> Linearization | None:
    """The linearisation of a layer by its record, or None where the record does not reproduce the layer on real tokens."""
    with torch.no_grad():
        linearized, value = linearize_layer(weights, x), layer(x)
    gap = (linearized.value - value).masked_fill(~mask[..., None], 0.0).abs().max()
    if not gap <= 1e3 * torch.finfo(x.dtype).eps * value.abs().max():
        return None
    return Linearization(torch.no_grad()(linearized.mv), torch.no_grad()(linearized.rmv), "analytic")


def _split_heads(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(-3, -2)


def _normalize(norm: Norm, x: Tensor) -> tuple[Tensor, _LinearizedNorm]:
    """LN(x) and its linearisation."""
    centered = x - x.mean(-1, keepdim=True)
    inverse = (centered.square().mean(-1, keepdim=True) + norm.epsilon).rsqrt()
    normalized = centered * inverse
    return norm.gain * normalized + norm.shift, _LinearizedNorm(norm.gain, normalized, inverse)
