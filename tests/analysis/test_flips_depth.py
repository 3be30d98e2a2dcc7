"""When an edit's fate is decided, on records whose answer is known."""

import msgspec
import numpy as np
import pytest
from flips_records import LAYERS, some_edits

from analysis.edits.records import Answer, Edits
from analysis.flips.depth import fates

PAIRS = 24
FLIPPED = [i % 2 == 0 for i in range(PAIRS)]
RESAMPLES = 100


def sizes() -> np.ndarray:
    """Over the margin: reversed before the first layer, nothing after it, all after the last."""
    margins = np.array(margins_of())
    sign = np.where(FLIPPED, 1.0, -1.0)
    by_level = np.stack([2 - sign, np.full(PAIRS, 3.0), 2 + sign], axis=1)
    return np.asarray(by_level * margins[:, None])


def margins_of() -> list[float]:
    return [1.0 + (i // 2) for i in range(PAIRS)]


def test_the_level_where_it_is_decided_is_found() -> None:
    (fate,) = fates([some_edits(sizes(), margins_of(), FLIPPED)], RESAMPLES, 0)
    assert [each.value for each in fate.whole] == [0.0, 0.5, 1.0]
    assert fate.whole == fate.read and len(fate.whole) == LAYERS + 1
    assert (fate.pairs, fate.flipped, fate.left_out, fate.sentences) == (PAIRS, 12, 0, PAIRS)
    assert fate.margin.value == pytest.approx(0.5), "a margin of each half: it tells nothing"
    margins = np.array(margins_of())
    own = np.array(FLIPPED)
    pairs = np.subtract.outer(margins[own], 3 * margins[~own])
    assert fate.size.value == pytest.approx((pairs > 0).mean() + (pairs == 0).mean() / 2)


def test_the_first_token_has_its_own_numbers() -> None:
    record = some_edits(sizes(), margins_of(), FLIPPED, first=sizes()[:, ::-1])
    (fate,) = fates([record], RESAMPLES, 0)
    assert [each.value for each in fate.first] == [1.0, 0.5, 0.0]


def test_edits_of_one_text_are_drawn_together() -> None:
    """Twenty texts whose six edits have one size and one outcome are twenty observations."""
    random = np.random.default_rng(0)
    originals = np.repeat(np.arange(20), 6)
    flips = np.arange(20) % 2 == 0
    of_text = np.exp(0.5 * flips + random.normal(size=20))
    flipped = flips[originals].tolist()
    size = of_text[originals][:, None] * np.ones((120, LAYERS + 1))
    widths = []
    for clusters in (range(120), originals.tolist()):
        record = some_edits(size, [1.0] * 120, flipped, clusters)
        (fate,) = fates([record], 400, 0)
        low, high = fate.whole[0].low, fate.whole[0].high
        assert low is not None and high is not None
        widths.append(high - low)
    assert widths[1] > 1.5 * widths[0]


def test_models_are_pooled_within_themselves_where_their_depths_agree() -> None:
    small, large = (
        some_edits(scale * sizes(), margins_of(), FLIPPED, model=model)
        for model, scale in enumerate((1.0, 50.0))
    )
    together, *alone = fates([small, large], RESAMPLES, 0)
    assert (together.model, together.models) == ("all", [0, 1])
    assert [each.models for each in alone] == [[0], [1]]
    assert [each.value for each in together.whole] == [0.0, 0.5, 1.0]
    assert (together.pairs, together.sentences) == (2 * PAIRS, PAIRS)
    deep = some_edits(np.ones((PAIRS, 3)), margins_of(), FLIPPED)
    deeper = msgspec.structs.replace(
        deep,
        layers=3,
        edits=[
            msgspec.structs.replace(
                edit, size_whole=[1.0] * 4, size_first=[1.0] * 4, size_read=[1.0] * 4
            )
            for edit in deep.edits
        ],
    )
    assert [fate.models for fate in fates([small, deeper], RESAMPLES, 0)] == [[0], [1]]


def with_answers(record: Edits, answers: dict[int, Answer | None]) -> Edits:
    edits = [
        msgspec.structs.replace(edit, answer=answers.get(edit.index, edit.answer))
        for edit in record.edits
    ]
    return msgspec.structs.replace(record, edits=edits)


def test_pairs_without_answers_are_left_out_and_counted() -> None:
    record = some_edits(sizes(), margins_of(), FLIPPED)
    strange = with_answers(
        record, {0: None, 1: Answer(0, None, 1.0), 2: Answer(0, 1.0, None), 3: Answer(0, 0.0, 1.0)}
    )
    (fate,) = fates([strange], RESAMPLES, 0)
    # A margin of 0 has no size over it.
    assert (fate.pairs, fate.left_out) == (PAIRS - 4, 4)
    assert [each.value for each in fate.whole] == [0.0, 0.5, 1.0]


def test_few_flips_and_no_edits_have_no_interval() -> None:
    (fate,) = fates(
        [some_edits(sizes(), margins_of(), [i < 4 for i in range(PAIRS)])], RESAMPLES, 0
    )
    assert fate.whole[0].low is None and fate.whole[0].value is not None
    (empty,) = fates([some_edits(np.ones((0, 3)), [], [])], RESAMPLES, 0)
    assert empty.pairs == 0 and empty.margin.value is None and empty.whole[2].value is None
    assert fates([], RESAMPLES, 0) == []
