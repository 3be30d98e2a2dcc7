"""Pairs of texts through a model: what each step of each method does to their difference."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

import odestab as od
from analysis.config import Pair
from analysis.edits.model import Model, Side
from analysis.edits.pairs import special_tokens
from analysis.edits.records import Answer, Edit, Mark, Point, Walk, Words
from analysis.ground.json_records import finite


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """Some pairs in one padded batch, traced as the model runs.

    Attributes:
        model: that was traced.
        places: their indices.
        pairs: the texts.
        first: the originals.
        second: the edited texts.
        alignment: of their tokens.
    """

    model: Model
    places: Sequence[int]
    pairs: Sequence[Pair]
    first: Side
    second: Side
    alignment: od.Alignment


def traced(model: Model, places: Sequence[int]) -> Pairs:
    """Some of the study's pairs."""
    pairs = [model.study.config.pairs[place] for place in places]
    first = model.trace([pair.original for pair in pairs])
    second = model.trace([pair.edited for pair in pairs])
    ids, masks = (
        [side.batch[name] for side in (first, second)] for name in ("input_ids", "attention_mask")
    )
    return Pairs(model, places, pairs, first, second, od.align(*ids, *masks))


def measured(batch: Pairs, clusters: Sequence[int]) -> Iterator[Edit]:
    """Each pair of a batch; numbers that are not finite are None.

    Args:
        batch: of pairs.
        clusters: of all pairs of the study.
    """
    model = batch.model
    methods = model.methods(batch.first.trajectory)
    paths = {name: _secants(batch, chosen) for name, chosen in methods.items()}
    own = paths[model.as_run]
    first = _sizes(batch, Side.first)
    read = first if model.reads == "first token" else _sizes(batch, Side.mean)
    answers = _answers(batch, own.sizes[:, -1], read[:, -1])
    shared = _shared(batch)
    for row, (place, pair) in enumerate(zip(batch.places, batch.pairs, strict=True)):
        columns = batch.alignment.mask[row]
        yield Edit(
            index=place,
            kind=pair.kind,
            texts=(_sha256(pair.original), _sha256(pair.edited)),
            cluster=clusters[place],
            size_whole=finite(own.sizes[row]),
            size_first=finite(first[row]),
            size_read=finite(read[row]),
            answer=answers[row],
            counts=(batch.first.trajectory.tokens[row], batch.second.trajectory.tokens[row]),
            marks=_marks(batch.alignment, row),
            shared=shared[row],
            size_tokens=finite(own.tokens[row][:, columns]),
            walks={name: _walk(paths[name], methods[name], row) for name in paths},
        )


def first_broken(batch: Pairs) -> list[int | None]:
    """Of each pair the first level at which a state is not finite, as the model runs."""
    levels = [
        ~(state.isfinite().flatten(1).all(1) & other.isfinite().flatten(1).all(1))
        for state, other in _levels(batch)
    ]
    broken = torch.stack(levels, 1).tolist()
    return [row.index(True) if any(row) else None for row in broken]


def words(batch: Pairs) -> Iterator[Words]:
    """The texts and tokens of each pair of a batch, for the page."""
    tokenizer = batch.model.study.tokenizer
    sides = (
        (batch.first.batch["input_ids"].tolist(), batch.alignment.first.tolist()),
        (batch.second.batch["input_ids"].tolist(), batch.alignment.second.tolist()),
    )
    for row, pair in enumerate(batch.pairs):
        columns = batch.alignment.mask[row].tolist()
        tokens = [
            [
                None if place < 0 else _token(tokenizer, ids[row][place])
                for place, real in zip(places[row], columns, strict=True)
                if real
            ]
            for ids, places in sides
        ]
        yield Words(pair.original, pair.edited, list(zip(*tokens, strict=True)))


def _levels(batch: Pairs) -> Iterator[tuple[Tensor, Tensor]]:
    """The states of both texts before each step and after the last one."""
    return zip(batch.first.trajectory.states, batch.second.trajectory.states, strict=True)


def _secants(batch: Pairs, methods: Sequence[od.AbstractOneStepMethod]) -> od.SecantPath:
    return od.secants(
        batch.first.trajectory, batch.second.trajectory, methods, alignment=batch.alignment
    )


def _sizes(batch: Pairs, of: Callable[[Side, Tensor], Tensor]) -> Tensor:
    """The norm of the difference of a part of either text's states, `(batch, levels)`."""
    differences = [of(batch.second, y) - of(batch.first, x) for x, y in _levels(batch)]
    return torch.stack([delta.norm(dim=1) for delta in differences], 1)


def _walk(path: od.SecantPath, methods: Sequence[od.AbstractOneStepMethod], row: int) -> Walk:
    sizes = path.sizes[row]
    by_design = torch.tensor(
        [bool(getattr(getattr(method, "solver", None), "keeps_last", False)) for method in methods],
        device=sizes.device,
    )
    explicit = all(side == "start" for side in path.sides)
    return Walk(
        step_sizes=[float(method.step_size) for method in methods],
        growth=finite(sizes[1:] / sizes[:-1]),
        by_secant=finite(path.growth[row]),
        predicted=finite(path.predicted[row]),
        start=_points(path.start[row]),
        end=[] if explicit else _points(path.end[row]),
        # A solver that stops where it was told to has done what it was asked.
        converged=(path.converged[row] | (by_design & sizes[1:].isfinite())).tolist(),
        sizes=finite(sizes),
    )


def _points(values: Tensor) -> list[Point]:
    return [(real, imaginary) for real, imaginary in finite(torch.view_as_real(values))]


def _answers(batch: Pairs, whole: Tensor, read: Tensor) -> list[Answer | None]:
    """What a classifier says of each pair; what has no margins says nothing.

    Args:
        batch: of pairs.
        whole: ‖δ_L‖ over all tokens.
        read: that of what is read.
    """
    if not batch.model.has_margins:
        return [None] * len(batch.pairs)
    encoder = batch.model.study.encoder
    logits, others = (
        od.readout(encoder, side.batch, side.trajectory) for side in (batch.first, batch.second)
    )
    labels = logits.argmax(1)
    before, after = od.logit_margin(logits, labels), od.logit_margin(others, labels)
    columns = (labels, before, after, (after - before) / whole, (after - before) / read)
    return [Answer(*row) for row in zip(*map(finite, columns), strict=True)]


def _marks(alignment: od.Alignment, row: int) -> list[Mark]:
    marks: list[Mark] = []
    columns = alignment.mask[row].nonzero()[:, 0].tolist()
    for column in columns:
        if alignment.removed[row, column]:
            marks.append("removed")
        elif alignment.inserted[row, column]:
            marks.append("inserted")
        else:
            marks.append("same" if alignment.same[row, column] else "changed")
    return marks


def _shared(batch: Pairs) -> list[int]:
    """How many columns have the same token in both texts and no special one."""
    special = special_tokens(batch.model.study.tokenizer)
    rows = zip(
        batch.first.batch["input_ids"].tolist(),
        batch.alignment.first.tolist(),
        batch.alignment.same.tolist(),
        strict=True,
    )
    return [
        sum(same and ids[place] not in special for place, same in zip(places, alike, strict=True))
        for ids, places, alike in rows
    ]


def _token(tokenizer: Any, number: int) -> str:
    """A token as a reader knows it; bytes that are no letter stay as the vocabulary has them."""
    text = tokenizer.decode([number], clean_up_tokenization_spaces=False).strip()
    return text if text and "\ufffd" not in text else tokenizer.convert_ids_to_tokens(number)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
