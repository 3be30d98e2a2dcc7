"""The cached analytic linearisation of a transformer layer and of its halves.

One product costs about one evaluation.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from odestab.fields.linearized_attention import AttentionWeights, LinearizedAttention
from odestab.fields.linearized_feed_forward import FeedForwardWeights, LinearizedFeedForward
from odestab.fields.linearized_maps import Affine, LinearizedNorm, Norm
from odestab.fields.relative_scores import RelativeScores
from odestab.fields.vector_field import Linearization


@dataclasses.dataclass(frozen=True, eq=False)
class HalfWeights:
    """A half of a layer, x ↦ N_a(x + g(N_b(x))).

    Post-norm halves have N_a alone, pre-norm halves N_b alone; None is no norm.

    Attributes:
        branch: g, attention or the feed-forward map.
        norm_before: N_b.
        norm_after: N_a.
    """

    branch: AttentionWeights | FeedForwardWeights
    norm_before: Norm | None = None
    norm_after: Norm | None = None

    def linearize(self, x: Float[Tensor, "batch tokens hidden"]) -> "LinearizedHalf":
        """The derivative at x: about the cost and the memory of one evaluation."""
        inner, before = (x, None) if self.norm_before is None else self.norm_before.linearize(x)
        branch = self.branch.linearize(inner)
        value, after = branch.value + x, None
        if self.norm_after is not None:
            value, after = self.norm_after.linearize(value)
        return LinearizedHalf(value, before, branch, after)


@dataclasses.dataclass(frozen=True, eq=False)
class LinearizedHalf:
    """∂N_a (I + ∂g ∂N_b) at a state."""

    value: Tensor
    before: LinearizedNorm | None
    branch: LinearizedAttention | LinearizedFeedForward
    after: LinearizedNorm | None

    def mv(self, t: Float[Tensor, "*leading"]) -> Float[Tensor, "*leading"]:
        """The derivative times t."""
        inner = t if self.before is None else self.before.mv(t)
        image = self.branch.mv(inner).add_(t)
        return image if self.after is None else self.after.mv(image)

    def rmv(self, u: Float[Tensor, "*leading"]) -> Float[Tensor, "*leading"]:
        """The transpose times u."""
        outer = u if self.after is None else self.after.rmv(u)
        image = self.branch.rmv(outer)
        image = image if self.before is None else self.before.rmv(image)
        return image.add_(outer)


@dataclasses.dataclass(frozen=True, eq=False)
class LayerWeights:
    """A layer as a plain record: F = F_F ∘ F_A, its feed-forward half after its attention half."""

    attention: HalfWeights
    feed_forward: HalfWeights

    def linearize(self, x: Float[Tensor, "batch tokens hidden"]) -> "LinearizedLayer":
        """∂F at x: about the cost and the memory of one evaluation."""
        attention = self.attention.linearize(x)
        return LinearizedLayer(attention, self.feed_forward.linearize(attention.value))


@dataclasses.dataclass(frozen=True, eq=False)
class LinearizedLayer:
    """∂F = ∂F_F ∂F_A at a state."""

    attention: LinearizedHalf
    feed_forward: LinearizedHalf

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


@dataclasses.dataclass(frozen=True, eq=False)
class AnalyticLinearization:
    """x ↦ the linearisation of a layer or a half by its record.

    It is None where the record does not reproduce the function on real tokens.

    Attributes:
        weights: the record.
        function: the layer or the half.
        mask: True on real tokens.
    """

    weights: LayerWeights | HalfWeights
    function: Callable[[Tensor], Tensor]
    mask: Bool[Tensor, "batch tokens"]

    def __call__(self, x: Float[Tensor, "batch tokens hidden"]) -> Linearization | None:
        """∂F at x, or None."""
        return analytic_linearization(self.weights, self.function, self.mask, x)

    def take(self, examples: Int[Tensor, " chosen"]) -> "AnalyticLinearization | None":
        """The same for some of the examples, where the function itself can be cut."""
        cut = getattr(self.function, "take", None)
        function = None if cut is None else cut(examples)
        if function is None:
            return None
        weights = _take(self.weights, examples)
        return AnalyticLinearization(weights, function, self.mask[examples])


def analytic_linearization(
    weights: LayerWeights | HalfWeights,
    function: Callable[[Tensor], Tensor],
    mask: Bool[Tensor, "batch tokens"],
    x: Float[Tensor, "batch tokens hidden"],
) -> Linearization | None:
    """The linearisation of a layer or a half by its record.

    None where the record does not reproduce the function on real tokens.
    """
    with torch.no_grad():
        value = function(x)
        try:
            linearized = weights.linearize(x)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError):  # widths that do not fit together: it only looked alike
            return None
    gap = (linearized.value - value).masked_fill(~mask[..., None], 0.0).abs().max()
    eps = torch.finfo(x.dtype).eps
    # In bfloat16 1e3 eps is no bound at all.
    if not gap <= min(1e3 * eps, math.sqrt(eps)) * value.abs().max():
        return None
    return _products(linearized)


def _products(linearized: LinearizedLayer | LinearizedHalf) -> Linearization:
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
    if isinstance(record, Affine):
        return record.to(dtype)
    return _on_parts(record, lambda part: _cast(part, dtype))


def _take(record: Any, examples: Tensor) -> Any:
    """The activations of some examples.

    Weights are shared by all, and so is a tensor with one row, as positions have.
    """
    if isinstance(record, Affine | Norm | RelativeScores):
        return record
    if isinstance(record, Tensor):
        return record[examples] if record.ndim > 2 and len(record) > 1 else record
    return _on_parts(record, lambda part: _take(part, examples))


def _on_parts(record: Any, change: Callable[[Any], Any]) -> Any:
    """A record or a tuple with each of its parts changed; anything else as it is."""
    if isinstance(record, tuple):
        return tuple(change(part) for part in record)
    if not dataclasses.is_dataclass(record) or isinstance(record, type):
        return record
    changed = {
        field.name: change(getattr(record, field.name)) for field in dataclasses.fields(record)
    }
    return dataclasses.replace(record, **changed)
