"""The metrics of GLUE, from logits."""

import warnings
from collections.abc import Callable, Mapping

import numpy as np
import scipy.stats

from imbert.data import tasks
from imbert.data.tasks import Task


def compute_metrics(task: Task | str, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The task's metrics; a class is predicted where its logit is largest, the first of equals.

    Args:
        task: whose metrics.
        logits: `(N, classes)`, or `(N, 1)` or `(N,)` predicted scores of a regression.
        labels: `(N,)`.

    Returns:
        One number per metric, in the task's order; nan where it is not defined.

    Raises:
        ValueError: if the shapes do not fit, there is no row, or a logit is not finite.
    """
    what = tasks.task(task) if isinstance(task, str) else task
    values = np.asarray(logits, dtype=np.float64)
    truth = np.asarray(labels)
    if what.labels == 1 and values.ndim == 1:
        values = values[:, None]
    if truth.ndim != 1 or not len(truth) or values.shape != (len(truth), what.labels):
        raise ValueError(
            f"logits must be (N, {what.labels}) and labels (N,) with N >= "
            f"1, got {np.shape(logits)} and {np.shape(labels)}"
        )
    unusable = int((~np.isfinite(values)).any(axis=1).sum())
    if unusable:
        raise ValueError(f"logits must be finite, got {unusable} of {len(truth)} rows that are not")
    predicted = values[:, 0] if what.labels == 1 else values.argmax(axis=1)
    return {name: _METRICS[name](predicted, truth) for name in what.metrics}


def accuracy(predicted: np.ndarray, labels: np.ndarray) -> float:
    """The share of the predictions that are the label."""
    return float(np.mean(predicted == labels))


def f1(predicted: np.ndarray, labels: np.ndarray) -> float:
    """2 TP / (2 TP + FP + FN) of class 1; 0 by convention where nothing is predicted and nothing
    labelled 1.
    """
    both = int(np.sum((predicted == 1) & (labels == 1)))
    either = int(np.sum(predicted == 1) + np.sum(labels == 1))
    return 2 * both / either if either else 0.0


def matthews(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Matthews' correlation, of any number of classes; 0 by convention where the predictions or the
    labels are all alike.

    R = (c s − Σ p_k t_k) / √((s² − Σ p_k²)(s² − Σ t_k²)), with s rows, c of them right, p_k
    predicted and t_k labelled k (Gorodkin 2004, eq. 8).
    """
    classes = range(int(max(predicted.max(), labels.max())) + 1)
    p, t = (
        [int(np.sum(which == k)) for k in classes] for which in (predicted, labels)
    )  # Python integers do not overflow
    right = int(np.sum(predicted == labels))
    s = len(labels)
    scale = (s * s - sum(n * n for n in p)) * (s * s - sum(n * n for n in t))
    return (
        (right * s - sum(a * b for a, b in zip(p, t, strict=True))) / float(scale) ** 0.5
        if scale
        else 0.0
    )


def pearson(predicted: np.ndarray, scores: np.ndarray) -> float:
    """Pearson's correlation; nan where one side is constant or there are fewer than two rows."""
    return _correlation(scipy.stats.pearsonr, predicted, scores)


def spearman(predicted: np.ndarray, scores: np.ndarray) -> float:
    """Spearman's rank correlation, ties sharing their mean rank; nan where one side is constant or
    there are fewer than two rows.
    """
    return _correlation(scipy.stats.spearmanr, predicted, scores)


def _correlation(
    of: Callable[..., tuple[float, float]], predicted: np.ndarray, scores: np.ndarray
) -> float:
    if len(scores) < 2 or np.ptp(predicted) == 0.0 or np.ptp(scores) == 0.0:
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", scipy.stats.NearConstantInputWarning
        )  # a collapsed regression is a result
        return float(of(predicted, scores)[0])


_METRICS: Mapping[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": accuracy,
    "f1": f1,
    "matthews": matthews,
    "pearson": pearson,
    "spearman": spearman,
}
