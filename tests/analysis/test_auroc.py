"""AUROC against a count of all pairs, and where its value is known."""

import numpy as np
import pytest
import scipy.stats

from analysis.ground.auroc import auroc, concordance
from analysis.ground.resampling import cluster_weights, percentile_interval

ONCE = np.ones((1, 6))
LABEL = np.array([False, False, False, True, True, True])


def by_all_pairs(values: np.ndarray, label: np.ndarray, weights: np.ndarray) -> float:
    pairs = [
        (weights[i] * weights[j], (values[i] > values[j]) + 0.5 * (values[i] == values[j]))
        for i in np.flatnonzero(label)
        for j in np.flatnonzero(~label)
    ]
    return sum(weight * more for weight, more in pairs) / sum(weight for weight, _ in pairs)


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_it_is_the_share_of_all_pairs(levels: int) -> None:
    random = np.random.default_rng(levels)
    values = random.integers(0, levels, 40).astype(float)
    label = random.random(40) < 0.4
    weights = random.integers(0, 4, (7, 40)).astype(float)
    expected = [by_all_pairs(values, label, row) for row in weights]
    assert auroc(values, label, weights) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 1.0),
        ([6.0, 5.0, 4.0, 3.0, 2.0, 1.0], 0.0),
        ([7.0] * 6, 0.5),
        ([1.0, 1.0, 2.0, 1.0, 2.0, 2.0], (0.5 * 2 + 2 * 2 + 0.5 * 2) / 9),
    ],
)
def test_known_answers(values: list[float], expected: float) -> None:
    assert auroc(np.array(values), LABEL, ONCE) == pytest.approx([expected])


def test_a_monotone_change_of_the_values_changes_nothing() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=30)
    label = random.random(30) < 0.5
    weights = random.integers(0, 3, (4, 30)).astype(float)
    changed = auroc(np.exp(3 * values), label, weights)
    assert np.array_equal(auroc(values, label, weights), changed)
    assert auroc(-values, label, weights) == pytest.approx(1 - changed)


def test_one_group_alone_has_none() -> None:
    assert np.isnan(auroc(np.arange(3.0), np.ones(3, dtype=bool), np.ones((2, 3)))).all()
    assert np.isnan(auroc(np.empty(0), np.empty(0, dtype=bool), np.ones((2, 0)))).all()
    without = np.array([[1.0, 1.0, 0.0]])  # a resample that has drawn no unlabelled item
    assert np.isnan(auroc(np.arange(3.0), np.array([True, True, False]), without)).all()


def test_strata_add_up() -> None:
    """Pairs across strata, which have another level, are not counted."""
    label = np.array([False, True])
    once = np.ones((1, 2))
    low, high = (concordance(np.array(v), label, once) for v in ([1.0, 2.0], [10.0, 11.0]))
    assert (low[0] + high[0]) / (low[1] + high[1]) == pytest.approx([1.0])
    both = auroc(np.array([1.0, 2.0, 10.0, 11.0]), np.tile(label, 2), np.ones((1, 4)))
    assert both == pytest.approx([0.75])


def test_intervals_over_sentences_hold_the_truth_as_often_as_they_say() -> None:
    """Three models whose answers to a sentence are nearly one: labels are shared, and most of the
    score. Scores with the label are shifted by 1, so that AUROC is Φ(1/√2).
    """
    random = np.random.default_rng(0)
    truth = scipy.stats.norm.cdf(0.5**0.5)
    studies, models, sentences = 300, 3, 60
    of_cell = np.tile(np.arange(sentences), models)
    covered = {"sentences": 0, "inputs": 0}
    for study in range(studies):
        label = np.tile(random.random(sentences) < 0.4, models)
        own = np.tile(random.normal(size=sentences), models)
        values = label + 0.95**0.5 * own + 0.05**0.5 * random.normal(size=len(own))
        for name, clusters in (("sentences", of_cell), ("inputs", np.arange(len(own)))):
            weights = cluster_weights(clusters, 200, study)
            ordered = pairs = np.zeros(len(weights))
            for part in np.split(np.arange(len(own)), models):
                more, count = concordance(values[part], label[part], weights[:, part])
                ordered, pairs = ordered + more, pairs + count
            low, high = percentile_interval((ordered / pairs)[1:])
            covered[name] += low <= truth <= high
    # The standard error of a share of 0.95 in 300 studies is 0.013.
    assert 0.91 < covered["sentences"] / studies < 0.985
    assert covered["inputs"] / studies < 0.85, "inputs that are no independent evidence"
