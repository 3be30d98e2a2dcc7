"""Two token sequences side by side: which token of one text stands opposite which of the other."""

import dataclasses
import difflib
import itertools
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

NOTHING = -1  # what stands opposite a token of one text only

Ids = Tensor | Sequence[Any]  # of whole numbers, or of rows of them


@dataclasses.dataclass(frozen=True, eq=False)
class Alignment:
    """Pairs of texts on the union of their tokens, in reading order (Mathematics, section 10).

    A token of one text only stands opposite nothing, and the state of nothing counts as 0. Columns
    beyond an example's union stand for nothing in both.

    Attributes:
        first: for each column the position of the first text's token in its padded row, −1 for
            nothing.
        second: the same for the second text.
        same: both texts have a token there, with one id.

    Example:
        >>> import odestab as od
        >>> pair = od.align([1, 7, 8, 2], [1, 9, 2])
        >>> pair.overlap.tolist(), pair.removed.tolist()
        ([0.5], [[False, False, True, False]])
    """

    first: Int[Tensor, "batch union"]
    second: Int[Tensor, "batch union"]
    same: Bool[Tensor, "batch union"]

    @property
    def mask(self) -> Bool[Tensor, "batch union"]:
        """Columns of the union: at least one text has a token there."""
        return (self.first >= 0) | (self.second >= 0)

    @property
    def matched(self) -> Bool[Tensor, "batch union"]:
        """Both texts have a token there, be it the same or another."""
        return (self.first >= 0) & (self.second >= 0)

    @property
    def removed(self) -> Bool[Tensor, "batch union"]:
        """Tokens of the first text only."""
        return (self.first >= 0) & (self.second < 0)

    @property
    def inserted(self) -> Bool[Tensor, "batch union"]:
        """Tokens of the second text only."""
        return (self.first < 0) & (self.second >= 0)

    @property
    def overlap(self) -> Float[Tensor, " batch"]:
        """The share of the union in which the same token stands in both: 1 for equal texts, 0 for
        texts without a common token, NaN for two empty ones.
        """
        return self.same.sum(1) / self.mask.sum(1)

    def of_first(
        self, x: Float[Tensor, "batch tokens *rest"]
    ) -> Float[Tensor, "batch union *rest"]:
        """States of the first text on the union, 0 where it has no token."""
        return _placed(x, self.first)

    def of_second(
        self, y: Float[Tensor, "batch tokens *rest"]
    ) -> Float[Tensor, "batch union *rest"]:
        """States of the second text on the union, 0 where it has no token."""
        return _placed(y, self.second)


def align(
    ids_a: Ids, ids_b: Ids, mask_a: Tensor | None = None, mask_b: Tensor | None = None
) -> Alignment:
    """Which token of one text stands opposite which of the other, by the matching blocks of their
    ids (difflib; Ratcliff and Metzener 1988, without its rule for frequent elements).

    Between two matching blocks tokens are paired in order, and what is left of the longer side
    stands opposite nothing: a word that becomes another one is one pair, one that becomes three
    pieces is one pair and two insertions.

    Args:
        ids_a: token ids of the first texts, `(batch, tokens)` or rows of any lengths; one row is a
            batch of one.
        ids_b: those of the second texts, as many rows.
        mask_a: `(batch, tokens)`, True or 1 on real tokens; None is all of them.
        mask_b: the same for the second texts.

    Returns:
        The alignment, on the device of the ids.

    Raises:
        ValueError: if the ids are no whole numbers, the batches have different sizes, or a mask has
            not the shape of its ids.

    Example:
        >>> import odestab as od
        >>> pair = od.align([101, 7, 8, 102], [101, 9, 102])
        >>> pair.first.tolist(), pair.second.tolist(), pair.removed.tolist()
        ([[0, 1, 2, 3]], [[0, 1, -1, 2]], [[False, False, True, False]])
    """
    rows_a = _rows(ids_a, mask_a, "ids_a")
    rows_b = _rows(ids_b, mask_b, "ids_b")
    if len(rows_a) != len(rows_b):
        raise ValueError(f"ids_b must have {len(rows_a)} rows, as ids_a has, got {len(rows_b)}")
    device = ids_a.device if isinstance(ids_a, Tensor) else torch.device("cpu")
    columns = [_columns(a, b) for a, b in zip(rows_a, rows_b, strict=True)]
    union = max(map(len, columns), default=0)
    table = torch.full((len(columns), union, 3), NOTHING)
    for row, text in zip(table, columns, strict=True):
        row[: len(text)] = torch.tensor(text).reshape(-1, 3)
    table = table.to(device)
    return Alignment(table[..., 0], table[..., 1], table[..., 2] > 0)


def _rows(ids: Ids, mask: Tensor | None, name: str) -> list[list[tuple[int, int]]]:
    """For each text the (position, id) of its real tokens."""
    if isinstance(ids, Tensor):
        if ids.is_floating_point() or ids.is_complex() or ids.ndim not in (1, 2):
            raise ValueError(
                f"{name} must be whole numbers of shape (batch, tokens), got {ids.dtype} of "
                f"{tuple(ids.shape)}"
            )
        ids = ids.tolist()
    single = bool(len(ids)) and not isinstance(ids[0], Sequence)
    rows = [ids] if single else ids
    if not all(isinstance(token, int) for row in rows for token in row):
        raise ValueError(f"{name} must be whole numbers, got {rows}")
    lengths = [len(row) for row in rows]
    if mask is None:
        real = [[True] * length for length in lengths]
    else:
        real = (mask[None] if single and mask.ndim == 1 else mask).bool().tolist()
        if [len(row) for row in real] != lengths:
            raise ValueError(
                f"the mask of {name} must have its shape, got {tuple(mask.shape)} for rows of "
                f"{lengths}"
            )
    return [
        [(position, token) for position, token in enumerate(row) if keep[position]]
        for row, keep in zip(rows, real, strict=True)
    ]


def _columns(
    first: list[tuple[int, int]], second: list[tuple[int, int]]
) -> list[tuple[int, int, bool]]:
    """(position in the first text, position in the second, same id) for each column of the
    union.
    """
    # autojunk would drop the tokens that are frequent in a text of 200 or more.
    matcher = difflib.SequenceMatcher(
        None, [token for _, token in first], [token for _, token in second], autojunk=False
    )
    nothing = (NOTHING, NOTHING)
    return [
        (a[0], b[0], a[1] == b[1])
        for _, a1, a2, b1, b2 in matcher.get_opcodes()
        for a, b in itertools.zip_longest(first[a1:a2], second[b1:b2], fillvalue=nothing)
    ]


def _placed(x: Tensor, positions: Tensor) -> Tensor:
    """Rows of x at the given positions, zeros where there is none."""
    if x.shape[0] != positions.shape[0]:
        raise ValueError(
            f"states must be of {positions.shape[0]} texts, as the alignment is, got {x.shape[0]}"
        )
    positions = positions.to(x.device)
    rest = (1,) * (x.ndim - 2)
    if not x.shape[1]:  # no text has a token: there is nothing to gather from
        return x.new_zeros(*positions.shape, *x.shape[2:])
    index = positions.clamp(min=0).view(*positions.shape, *rest)
    placed = x.gather(1, index.expand(*positions.shape, *x.shape[2:]))
    return placed.masked_fill((positions < 0).view(*positions.shape, *rest), 0.0)
