"""Metrics against closed forms and other formulas."""

import numpy as np
import pytest
import scipy.stats

from imbert.data.tasks import TASKS, task
from imbert.training.metrics import accuracy, compute_metrics, f1, matthews, pearson, spearman

RANDOM = np.random.default_rng(0)


def two_by_two(tp: int, fp: int, fn: int, tn: int) -> tuple[np.ndarray, np.ndarray]:
    predicted = np.repeat([1, 1, 0, 0], [tp, fp, fn, tn])
    return predicted, np.repeat([1, 0, 1, 0], [tp, fp, fn, tn])


@pytest.mark.parametrize(
    ("tp", "fp", "fn", "tn"), [(3, 1, 2, 4), (10, 0, 0, 5), (0, 4, 6, 0), (1, 7, 2, 90)]
)
def test_binary_metrics_from_the_confusion_table(tp: int, fp: int, fn: int, tn: int) -> None:
    predicted, labels = two_by_two(tp, fp, fn, tn)
    eps = 4 * np.finfo(float).eps
    assert accuracy(predicted, labels) == pytest.approx((tp + tn) / (tp + fp + fn + tn), rel=eps)
    assert f1(predicted, labels) == pytest.approx(2 * tp / (2 * tp + fp + fn), rel=eps)
    closed = (tp * tn - fp * fn) / np.sqrt(float((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)))
    assert matthews(predicted, labels) == pytest.approx(closed, rel=eps)
    assert matthews(predicted, labels) == pytest.approx(
        np.corrcoef(predicted, labels)[0, 1], rel=1e-12
    )


def test_matthews_of_three_classes_is_the_correlation_of_indicators() -> None:
    predicted, labels = RANDOM.integers(0, 3, 200), RANDOM.integers(0, 3, 200)
    x, y = np.eye(3)[predicted], np.eye(3)[labels]

    def covariance(a: np.ndarray, b: np.ndarray) -> float:
        return float(((a - a.mean(0)) * (b - b.mean(0))).sum())

    assert matthews(predicted, labels) == pytest.approx(
        covariance(x, y) / np.sqrt(covariance(x, x) * covariance(y, y)), rel=1e-12
    )
    assert matthews(labels, labels) == 1.0


def test_one_class_only() -> None:
    ones, mixed, zeros = np.ones(4, dtype=int), np.array([0, 1, 0, 1]), np.zeros(4, dtype=int)
    assert matthews(ones, mixed) == matthews(mixed, ones) == matthews(ones, ones) == 0.0
    assert f1(zeros, zeros) == f1(zeros, mixed) == 0.0
    assert f1(ones, ones) == 1.0


def test_correlations_agree_with_their_formulas() -> None:
    x = RANDOM.random(50).round(1)  # with ties
    y = x + RANDOM.random(50)
    assert pearson(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1], rel=1e-12)
    ranks = np.corrcoef(scipy.stats.rankdata(x), scipy.stats.rankdata(y))[0, 1]
    assert spearman(x, y) == pytest.approx(ranks, rel=1e-12)
    assert spearman(x, np.exp(3 * x)) == pytest.approx(1.0, rel=1e-12)
    assert pearson(x, 2 - 3 * x) == pytest.approx(-1.0, rel=1e-12)


def test_constant_scores_have_no_correlation() -> None:
    rising = np.arange(4.0)
    for of in (pearson, spearman):
        assert np.isnan(of(np.ones(4), rising))
        assert np.isnan(of(rising, np.ones(4)))
        assert np.isnan(of(np.array([1.0]), np.array([2.0])))
    assert np.isfinite(pearson(1.0 + 1e-15 * rising, rising))  # nearly constant is no error


@pytest.mark.parametrize("name", TASKS)
def test_each_task_reports_its_metrics_in_order(name: str) -> None:
    what = task(name)
    labels = np.array([0, 1, 0, 1]) if what.labels > 1 else np.array([0.0, 2.5, 5.0, 1.0])
    logits = np.eye(what.labels)[labels] if what.labels > 1 else labels[:, None]
    found = compute_metrics(what, logits, labels)
    assert tuple(found) == what.metrics
    assert all(value == pytest.approx(1.0, rel=1e-12) for value in found.values())
    assert compute_metrics(name, logits, labels) == found


def test_flat_scores_and_equal_logits() -> None:
    scores = np.array([1.0, 2.0, 4.0])
    assert compute_metrics("stsb", scores, scores)["pearson"] == pytest.approx(1.0, rel=1e-12)
    assert compute_metrics("sst2", np.zeros((2, 2)), np.array([0, 1])) == {"accuracy": 0.5}


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (
            np.zeros((3, 3)),
            np.zeros(3),
            r"logits must be \(N, 2\) and labels \(N,\) with N >= 1, got \(3, 3\) and \(3,\)",
        ),
        (np.zeros((3, 2)), np.zeros(2), r"got \(3, 2\) and \(2,\)"),
        (np.zeros((0, 2)), np.zeros(0), r"got \(0, 2\) and \(0,\)"),
        (
            np.array([[0.0, np.nan], [np.inf, 1.0], [0.0, 1.0]]),
            np.zeros(3),
            "logits must be finite, got 2 of 3 rows",
        ),
    ],
)
def test_bad_input(logits: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compute_metrics("sst2", logits, labels)
