"""Fits, linearity and flips: lines of known slope, where linearity ends, and the published records
computed again.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from analysis.calibration import again, fit, flips, linearity
from analysis.ground.json_records import DIGEST, finite

pytestmark = pytest.mark.slow

PUBLISHED = sorted((Path(__file__).parents[2] / "docs/studies/calibration").glob("*.json"))


def flat(values: Any, place: str = "") -> dict[str, Any]:
    """The numbers and words of a record by their places."""
    if isinstance(values, dict | list):
        entries = values.items() if isinstance(values, dict) else enumerate(values)
        return {
            key: each
            for name, below in entries
            for key, each in flat(below, f"{place}/{name}").items()
        }
    return {place: values}


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_a_published_record_follows_from_its_growth(path: Path) -> None:
    record = json.loads(path.read_text())
    record.pop(DIGEST, None)  # records from before there was one lack it
    published = flat(record)
    recomputed = flat(finite(again(record, record["meta"]["seed"]).record()))
    assert published.keys() == recomputed.keys()
    for place, value in published.items():
        if isinstance(value, float):  # sums may round in another order on another machine
            value = pytest.approx(value, rel=1e-9, abs=1e-12)
        assert recomputed[place] == value, place


def test_a_fit_is_least_squares_and_agreement_is_of_the_prediction_as_it_is() -> None:
    random = np.random.default_rng(0)
    predicted = random.normal(size=(30, 6))
    measured = 2 * predicted + 1 + 0.3 * random.normal(size=(30, 6))
    measured[3, 2] = np.nan
    known = np.isfinite(measured)
    expected = scipy.stats.linregress(predicted[known], measured[known])
    found, exact = fit(predicted, measured, seed=0), fit(predicted, predicted, seed=0)
    assert found is not None and exact is not None
    assert (found.slope, found.intercept, found.r_squared) == pytest.approx(
        (expected.slope, expected.intercept, expected.rvalue**2)
    )
    assert (
        found.slope_low < expected.slope < found.slope_high
        and found.slope_high - found.slope_low == pytest.approx(4 * expected.stderr, rel=0.4)
    )
    assert (
        found.points == 179
        and found.texts == 30
        and found.bias == pytest.approx((measured - predicted)[known].mean())
    )
    assert found.agreement < found.r_squared and exact.agreement == 1
    assert fit(predicted[:1, :2], predicted[:1, :2], seed=0) is None
    alone = fit(predicted[:1], predicted[:1], seed=0)
    assert (
        alone is not None
        and alone.texts == 1
        and alone.slope == pytest.approx(1.0)
        and np.isnan(alone.slope_low)
    )


def test_r_squared_within_layers_is_what_is_left_of_it_when_the_layers_means_are_known() -> None:
    """Layers differ by 10, texts by 1: R² is nearly 1 for any prediction with the right means, and
    says nothing of a text.
    """
    random = np.random.default_rng(3)
    means = 10 * np.arange(6.0)
    measured = means + random.normal(size=(40, 6))
    blind, half = (
        means + random.normal(size=(40, 6)),
        means + (measured - means) + random.normal(size=(40, 6)),
    )
    measured[4, 1] = np.nan
    blindly, partly, exactly = (fit(one, measured, seed=0) for one in (blind, half, measured))
    assert blindly is not None and partly is not None and exactly is not None
    assert (
        blindly.r_squared > 0.98 and blindly.layer_means > 0.99 and blindly.r_squared_within < 0.05
    )
    assert (
        exactly.r_squared_within == pytest.approx(1) and exactly.layer_means == blindly.layer_means
    )
    known = np.isfinite(measured)
    centred = [
        np.where(known, one, np.nan) - np.nanmean(np.where(known, one, np.nan), axis=0)
        for one in (half, measured)
    ]
    expected = scipy.stats.linregress(centred[0][known], centred[1][known]).rvalue ** 2
    assert (
        partly.r_squared_within == pytest.approx(expected)
        and partly.r_squared_within_low < expected < partly.r_squared_within_high
    )
    residual = measured - np.nanmean(measured, axis=0)
    assert partly.layer_means == pytest.approx(
        1 - np.nansum(residual**2) / np.nansum((measured - np.nanmean(measured)) ** 2)
    )
    assert np.isnan(fit(np.tile(means, (40, 1)), measured, seed=0).r_squared_within), (
        "a list of six numbers says nothing within"
    )


def test_copies_of_a_text_leave_a_fit_and_its_intervals_as_they_are() -> None:
    random = np.random.default_rng(4)
    predicted = random.normal(size=(20, 6))
    measured = predicted + random.normal(size=(20, 6))
    alone, copies = (
        fit(predicted, measured, 0),
        fit(np.tile(predicted, (5, 1)), np.tile(measured, (5, 1)), 0, np.tile(np.arange(20), 5)),
    )
    assert alone is not None and copies is not None and (copies.texts, copies.clusters) == (100, 20)
    for name in ("slope", "slope_low", "slope_high", "r_squared_low", "r_squared_within_high"):
        assert getattr(copies, name) == pytest.approx(getattr(alone, name))


def test_pairs_of_one_original_are_drawn_and_relabelled_together() -> None:
    random = np.random.default_rng(5)
    a, b = 0.4 + random.normal(size=25), random.normal(size=30)
    sizes = np.ones(25), np.ones(30)
    alone = flips(a, b, sizes, 0)
    clusters = np.tile(np.arange(25), 4), 25 + np.tile(np.arange(30), 4)
    copies = flips(np.tile(a, 4), np.tile(b, 4), sizes, 0, clusters)
    ignored = flips(np.tile(a, 4), np.tile(b, 4), sizes, 0)
    assert alone is not None and copies is not None and ignored is not None
    assert (copies.clusters, alone.clusters, copies.flipped) == (
        55,
        55,
        100,
    ) and copies.difference == pytest.approx(alone.difference)
    assert (copies.low, copies.high) == pytest.approx((alone.low, alone.high), abs=0.02)
    assert (
        copies.p_value == pytest.approx(alone.p_value, abs=0.02)
        and ignored.p_value < alone.p_value / 3
    )
    assert ignored.high - ignored.low < 0.6 * (copies.high - copies.low)


def test_the_share_of_pairs_in_order_is_mann_whitneys() -> None:
    random = np.random.default_rng(6)
    a, b = np.round(random.normal(0.5, 1, 20), 1), np.round(random.normal(size=30), 1)
    found = flips(a, b, (np.ones(20), np.ones(30)), 0)
    assert found is not None and found.auroc == pytest.approx(
        scipy.stats.mannwhitneyu(a, b).statistic / 600
    )
    assert 0 <= found.auroc_low < found.auroc < found.auroc_high <= 1


def test_linearity_ends_where_the_error_is_what_is_tolerated() -> None:
    sizes = np.array([1e-4, 1e-3, 1e-2, 1e-1])
    predicted = np.zeros((4, 5, 2))
    measured = (
        predicted + np.stack([3 * sizes, sizes], axis=1)[:, None, :]
    )  # of the last step 0.1 nats at size 0.1
    found = linearity(sizes, predicted, measured)
    assert (
        found.ends_by_step == pytest.approx((0.1 / 3, 0.1)) and found.ends == found.ends_by_step[-1]
    )
    assert np.array(found.error) == pytest.approx(measured[:, 0])
    assert linearity(sizes, predicted, measured / 10).ends is None
    assert linearity(sizes, predicted, 1000 * measured).ends == 1e-4


def test_growth_of_pairs_that_flip_is_compared_with_that_of_pairs_that_hold() -> None:
    random = np.random.default_rng(0)
    held, edits = random.normal(size=40), (np.ones(30), np.full(40, 0.5))
    found = flips(1 + random.normal(size=30), held, edits, seed=0)
    assert found is not None and found.low < 1 < found.high and found.p_value < 0.01
    assert (found.flipped, found.held, found.size_flipped, found.size_held) == (30, 40, 1, 0.5)
    same = flips(random.normal(size=30), held, edits, seed=0)
    assert same is not None and same.p_value > 0.05
    assert flips(np.full(3, np.nan), held, edits, seed=0) is None
