"""Attention as a plain record and its cached linearisation: W_o softmax(S(q, k)) v."""

import dataclasses
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from odestab.fields.linearized_maps import Affine, LinearizedNorm, Norm, Rotation
from odestab.fields.relative_scores import RelativeScores

ScoreBias = Tensor | Callable[[int], Tensor]  # a callable takes the number of tokens


@dataclasses.dataclass(frozen=True, eq=False)
class AttentionWeights:
    """Attention of heads that may share keys and values: x ↦ W_o softmax(S) v.

    The scores are S = s q kᵀ + biases, with q and k after `turns`, and relative scores where there
    are some. Queries that share a key head are rows of one matrix, `(groups·tokens, head size)`.

    Attributes:
        query_key_value: the three projections stacked, `((heads + 2·key heads)·head size, hidden)`.
        output: W_o.
        heads: number of query heads.
        key_heads: number of key and value heads, a divisor of `heads`.
        scale: s.
        biases: what is added to the scores, in this order (positions, masks); each broadcasts to
            `(batch, heads, tokens, tokens)`, or makes that from the number of tokens.
        turns: what is applied to each query and key head, in this order.
        relative: scores of content against relative positions.
    """

    query_key_value: Affine
    output: Affine
    heads: int
    key_heads: int
    scale: float
    biases: tuple[ScoreBias, ...] = ()
    turns: tuple[Norm | Rotation, ...] = ()
    relative: RelativeScores | None = None

    @property
    def groups(self) -> int:
        """How many query heads share a key head."""
        return self.heads // self.key_heads

    def linearize(self, x: Float[Tensor, "batch tokens hidden"]) -> "LinearizedAttention":
        """The derivative at x: about the cost and the memory of one evaluation."""
        projected = self.query_key_value(x)
        turns: list[LinearizedNorm | Rotation] = []
        for turn in self.turns:
            turned, linearized = turn.linearize(self.queries_and_keys(projected))
            projected = self.replace_queries_and_keys(projected, turned)
            turns.append(linearized)
        query, key, values = self.split(projected)
        scaled_key = self.scale * key
        scaled_query = self.scale * query
        scores = scaled_query @ key.mT
        if self.relative is not None:
            scores = scores + self.relative.mv(query, key)
        for bias in self.biases:
            scores = scores + self._rows_of(bias, x)
        probabilities = scores.softmax(-1)
        context = probabilities @ values
        value = self.output(_by_token(context, self.groups).flatten(-2))
        return LinearizedAttention(
            self, value, scaled_query, scaled_key, values, probabilities, context, tuple(turns)
        )

    def split(self, x: Tensor) -> tuple[Tensor, ...]:
        """`(..., tokens, all heads·head size)` → q, k and v by head and row.

        They are `(..., key heads, groups·tokens, head size)`, with one group for k and v.
        """
        size = x.shape[-1] // (self.heads + 2 * self.key_heads)
        widths = [self.heads * size, self.key_heads * size, self.key_heads * size]
        return tuple(self.to_rows(part) for part in x.split(widths, -1))

    def to_rows(self, x: Tensor) -> Tensor:
        """`(..., tokens, heads·head size)` → `(..., key heads, groups·tokens, head size)`."""
        size = self.output.weight.shape[1] // self.heads
        by_head = x.unflatten(-1, (self.key_heads, -1, size))
        return by_head.movedim(-4, -2).flatten(-3, -2)

    def queries_and_keys(self, projected: Tensor) -> Tensor:
        """The query and key heads of a stacked projection, `(..., tokens, heads, head size)`."""
        by_head = projected.unflatten(-1, (self.heads + 2 * self.key_heads, -1))
        return by_head[..., : self.heads + self.key_heads, :]

    def replace_queries_and_keys(self, projected: Tensor, turned: Tensor) -> Tensor:
        """A stacked projection with other query and key heads."""
        flat = turned.flatten(-2)
        return torch.cat((flat, projected[..., flat.shape[-1] :]), -1)

    def _rows_of(self, bias: ScoreBias, x: Tensor) -> Tensor:
        """A bias as it is added to scores `(batch, key heads, groups·tokens, tokens)`."""
        tokens = x.shape[-2]
        added = bias if isinstance(bias, Tensor) else bias(tokens).to(x)
        if self.groups == 1:
            return added
        of_heads = added.expand(*added.shape[:-3], self.heads, tokens, tokens)
        return of_heads.unflatten(-3, (self.key_heads, self.groups)).flatten(-3, -2)


@dataclasses.dataclass(frozen=True, eq=False)
class LinearizedAttention:
    """The derivative of attention at a state, from kept activations.

    With P the probabilities, V the values and C = P V, a change dS of the scores moves the context
    by (P∘dS) V − diag((P∘dS) 1) C, and a change of the context is pulled back to the scores by
    P∘(dC Vᵀ − ⟨dC, C⟩ 1ᵀ): no second pass over tokens × tokens. Tangents are `(*leading, batch,
    tokens, hidden)`.

    Attributes:
        weights: the record.
        value: the attention's output.
        query, key: activations per head, `(batch, key heads, groups·tokens, head size)`, each
            multiplied by the scale of the scores.
        values, probabilities, context: V, P `(batch, key heads, groups·tokens, tokens)` and C.
        turns: those of the record, linearised.
    """

    weights: AttentionWeights
    value: Tensor
    query: Tensor
    key: Tensor
    values: Tensor
    probabilities: Tensor
    context: Tensor
    turns: tuple[LinearizedNorm | Rotation, ...]

    def mv(self, t: Float[Tensor, "*leading"]) -> Float[Tensor, "*leading"]:
        """The derivative times t."""
        weights = self.weights
        projected = t @ weights.query_key_value.weight.T
        for turn in self.turns:
            turned = turn.mv(weights.queries_and_keys(projected))
            projected = weights.replace_queries_and_keys(projected, turned)
        dq, dk, dv = weights.split(projected)
        scores = (dq @ self.key.mT).add_(self.query @ dk.mT)
        if weights.relative is not None:
            scores.add_(weights.relative.mv(dq, dk))
        weighted = scores.mul_(self.probabilities)
        context = (
            (weighted @ self.values)
            .add_(self.probabilities @ dv)
            .addcmul_(weighted.sum(-1, keepdim=True), self.context, value=-1)
        )
        return _by_token(context, weights.groups).flatten(-2) @ weights.output.weight.T

    def rmv(self, u: Float[Tensor, "*leading"]) -> Float[Tensor, "*leading"]:
        """The transpose times u."""
        weights = self.weights
        context = weights.to_rows(u @ weights.output.weight)
        inner = (context * self.context).sum(-1, keepdim=True)
        scores = (context @ self.values.mT).sub_(inner).mul_(self.probabilities)
        query = scores @ self.key
        key = scores.mT @ self.query
        if weights.relative is not None:
            by_query, by_key = weights.relative.rmv(scores)
            query.add_(by_query)
            key.add_(by_key)
        parts = (
            _by_token(query, weights.groups),
            _by_token(key, 1),
            _by_token(self.probabilities.mT @ context, 1),
        )
        projected = torch.cat(parts, -2).flatten(-2)
        for turn in reversed(self.turns):
            turned = turn.rmv(weights.queries_and_keys(projected))
            projected = weights.replace_queries_and_keys(projected, turned)
        return projected @ weights.query_key_value.weight


def _by_token(x: Tensor, groups: int) -> Tensor:
    """`(..., key heads, groups·tokens, head size)` → `(..., tokens, heads, head size)`, a view."""
    return x.unflatten(-2, (groups, -1)).movedim(-2, -4).flatten(-3, -2)
