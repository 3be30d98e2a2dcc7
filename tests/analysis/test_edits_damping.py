"""Medians and shares over pairs, with intervals over originals."""

import numpy as np
import pytest

from analysis.edits.damping import RESAMPLES, damping, trusted_growth, weighted_medians
from analysis.edits.records import Edit, Walk
from analysis.ground.resampling import cluster_weights


def edit(index: int, growth: list[float | None], kind: str = "typo", **choices) -> Edit:
    count = len(growth)
    walk = Walk(
        step_sizes=[1.0] * count,
        growth=growth,
        by_secant=growth,
        predicted=growth,
        start=[(0.0, 0.0)] * count,
        end=[],
        converged=choices.pop("converged", [True] * count),
        sizes=[1.0] * (count + 1),
    )
    return Edit(
        index=index,
        kind=kind,
        texts=("", ""),
        cluster=choices.pop("cluster", index),
        size_whole=[],
        size_first=[],
        size_read=[],
        answer=None,
        walks={"explicit": walk},
    )


def test_weighted_medians_are_those_of_repeated_values():
    random = np.random.default_rng(0)
    values = random.normal(size=9)
    weights = random.integers(0, 3, (50, 9))
    weights[:, 0] += 1
    expected = [np.median(np.repeat(values, row)) for row in weights]
    np.testing.assert_allclose(weighted_medians(values, weights), expected, rtol=1e-15)


def test_each_kind_and_step_has_its_median_and_its_share():
    edits = [edit(i, [growth, 2.0]) for i, growth in enumerate((0.5, 0.9, 1.5, 3.0))]
    first, second = damping([*edits, edit(4, [7.0, 7.0], "other")], seed=0)[:2]
    assert (first.kind, first.method, first.step) == ("typo", "explicit", 0)
    assert (first.pairs, first.of, first.clusters) == (4, 4, 4)
    assert first.growth == pytest.approx(1.2) and first.damped == 0.5
    assert 0.5 <= first.growth_low < first.growth < first.growth_high <= 3.0
    assert 0 <= first.damped_low < 0.5 < first.damped_high <= 1
    assert (second.growth_low, second.growth, second.growth_high) == (2.0, 2.0, 2.0)


def test_edits_of_one_text_are_drawn_together():
    growth = [0.5, 0.6, 0.7, 1.5]
    together = [edit(i, [g], cluster=0 if i < 3 else 3) for i, g in enumerate(growth)]
    (row,) = damping(together, seed=1)
    weights = cluster_weights(np.array([0, 0, 0, 3]), RESAMPLES, 1)
    medians = [np.median(np.repeat(growth, counts.astype(int))) for counts in weights[1:]]
    assert row.clusters == 2
    low, high = np.quantile(medians, [0.025, 0.975])
    assert (row.growth_low, row.growth_high) == (low, high)
    # One original says nothing about the spread over originals.
    (alone,) = damping(together[:3], seed=1)
    assert (alone.clusters, alone.growth, alone.growth_low, alone.damped_high) == (
        1,
        0.6,
        None,
        None,
    )


def test_what_follows_an_unsolved_step_is_not_counted():
    edits = [
        edit(0, [2.0, 0.5, 2.0], converged=[True, False, True]),
        edit(1, [3.0, 4.0, None]),
    ]
    np.testing.assert_array_equal(
        trusted_growth(edits, "explicit"), [[2.0, np.nan, np.nan], [3.0, 4.0, np.nan]]
    )
    rows = damping(edits, seed=0)
    assert [(row.pairs, row.of, row.growth) for row in rows] == [
        (2, 2, 2.5),
        (1, 2, 4.0),
        (0, 2, None),
    ]
    assert rows[2].damped is None
