"""Attention scores of content against relative positions, as DeBERTa has them."""

import dataclasses

from jaxtyping import Float
from torch import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class RelativeScores:
    """S_ij = q_i·K_{j−i} + k_j·Q_{i−j}, linear in queries q and keys k.

    The table of n tokens has 2n − 1 rows, of distances 1 − n, …, n − 1, already scaled. He et al.,
    DeBERTa, 2021, section 3.1.

    Attributes:
        keys: K, by distance of the key from the query; None is no such term.
        queries: Q, by distance of the query from the key; None is no such term.
    """

    keys: Float[Tensor, "heads distances head_size"] | None
    queries: Float[Tensor, "heads distances head_size"] | None

    def mv(self, query: Tensor, key: Tensor) -> Tensor | float:
        """The scores of queries and keys `(..., heads, tokens, head size)`."""
        scores: Tensor | float = 0.0
        if self.keys is not None:
            scores = _by_pair(query @ self.keys.mT)
        if self.queries is not None:
            scores = scores + _by_pair(key @ self.queries.mT).mT
        return scores

    def rmv(self, scores: Tensor) -> tuple[Tensor | float, Tensor | float]:
        """The transpose: what a cotangent of the scores is to queries and keys."""
        query = 0.0 if self.keys is None else _by_distance(scores) @ self.keys
        key = 0.0 if self.queries is None else _by_distance(scores.mT) @ self.queries
        return query, key


def _by_pair(by_distance: Tensor) -> Tensor:
    """`(..., tokens, 2·tokens − 1)` → `(..., tokens, tokens)`: entry j − i of row i is entry j.

    A view: each row starts one entry earlier than the one before.
    """
    tokens = by_distance.shape[-2]
    if tokens == 1:
        return by_distance
    flat = by_distance.flatten(-2)[..., tokens - 1 : -1]
    return flat.unflatten(-1, (tokens, 2 * tokens - 2))[..., :tokens]


def _by_distance(by_pair: Tensor) -> Tensor:
    """The transpose of `_by_pair`: zeros where a row has no such distance."""
    tokens = by_pair.shape[-2]
    by_distance = by_pair.new_zeros((*by_pair.shape[:-1], 2 * tokens - 1))
    _by_pair(by_distance).copy_(by_pair)
    return by_distance
