"""When the fate of an edit is decided: how well the size of the difference over the margin tells
pairs that flip from pairs that hold, after each layer.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from analysis.edits.records import Edits
from analysis.flips.ranking import enough_sentences, estimate
from analysis.flips.records import Estimate, Fate
from analysis.ground.auroc import concordance
from analysis.ground.resampling import cluster_weights

SIZES = ("whole", "first", "read")
ALL = "all"


@dataclasses.dataclass(frozen=True, eq=False)
class _Pairs:
    """The pairs of one model with answers.

    Attributes:
        values: "margin", "size", and (kind, level) of each size over the margin, `(pairs,)` each.
        flipped: `(pairs,)` bool.
        originals: `(pairs,)`, digests of the first texts.
        left_out: pairs without a margin before, other than 0, and after.
    """

    values: dict[str | tuple[str, int], np.ndarray]
    flipped: np.ndarray
    originals: np.ndarray
    left_out: int


def fates(records: Sequence[Edits], resamples: int, seed: int) -> list[Fate]:
    """The fate by depth of the edits in each record, and first of all together where their models
    have equally many layers: only pairs of one model are compared.
    """
    models = [_pairs(record) for record in records]
    alone = [
        _fate(record.model, [index], record.layers, models, resamples, seed)
        for index, record in enumerate(records)
    ]
    depths = {record.layers for record in records}
    if len(records) < 2 or len(depths) > 1:
        return alone
    every = list(range(len(records)))
    return [_fate(ALL, every, depths.pop(), models, resamples, seed), *alone]


def _pairs(record: Edits) -> _Pairs:
    known = [
        (edit, edit.answer)
        for edit in record.edits
        if edit.answer is not None
        and edit.answer.margin_before  # no size is over a margin of 0
        and edit.answer.margin_after is not None
    ]
    margin = np.array([answer.margin_before for _, answer in known], dtype=np.float64)
    sizes = {
        name: np.array([edit[f"size_{name}"] for edit, _ in known], dtype=np.float64)
        for name in SIZES
    }
    shape = (len(known), record.layers + 1)
    values: dict[str | tuple[str, int], np.ndarray] = {"margin": -margin}
    values["size"] = sizes["whole"].reshape(shape)[:, 0]
    for name, size in sizes.items():
        over_margin = size.reshape(shape) / margin[:, None]
        values |= {(name, level): over_margin[:, level] for level in range(record.layers + 1)}
    return _Pairs(
        values,
        np.array([answer.flipped for _, answer in known], dtype=bool),
        np.array([edit.texts[0] for edit, _ in known], dtype=str),
        len(record.edits) - len(known),
    )


def _fate(
    name: str,
    indices: list[int],
    layers: int,
    models: Sequence[_Pairs],
    resamples: int,
    seed: int,
) -> Fate:
    chosen = [models[index] for index in indices]
    originals = np.concatenate([pairs.originals for pairs in chosen])
    unique, place = np.unique(originals, return_inverse=True)
    weights = np.ones((1 + resamples, len(originals)))
    if len(originals):
        weights = cluster_weights(place, resamples, seed)
    ends = np.cumsum([len(pairs.flipped) for pairs in chosen])[:-1]
    by_model = np.split(weights, ends, axis=1)
    place_by_model = np.split(place, ends)

    def measured(key: str | tuple[str, int]) -> Estimate:
        return _auroc(key, chosen, by_model, place_by_model)

    by_level = {size: [measured((size, level)) for level in range(layers + 1)] for size in SIZES}
    return Fate(
        model=name,
        models=indices,
        pairs=len(originals),
        left_out=sum(pairs.left_out for pairs in chosen),
        flipped=int(sum(pairs.flipped.sum() for pairs in chosen)),
        sentences=len(unique),
        margin=measured("margin"),
        size=measured("size"),
        **by_level,
    )


def _auroc(
    key: str | tuple[str, int],
    models: Sequence[_Pairs],
    weights: Sequence[np.ndarray],
    places: Sequence[np.ndarray],
) -> Estimate:
    """Of one value, over the pairs in which it is finite."""
    ordered = pairs_in_all = np.zeros(len(weights[0]))
    flipped_originals = []
    held_originals = []
    for pairs, weight, place in zip(models, weights, places, strict=True):
        values = pairs.values[key]
        known = np.isfinite(values)
        flipped = pairs.flipped[known]
        more, count = concordance(values[known], flipped, weight[:, known])
        ordered, pairs_in_all = ordered + more, pairs_in_all + count
        flipped_originals.append(place[known][flipped])
        held_originals.append(place[known][~flipped])
    enough = enough_sentences(np.concatenate(flipped_originals), np.concatenate(held_originals))
    with np.errstate(invalid="ignore"):
        return estimate(ordered / pairs_in_all, enough)
