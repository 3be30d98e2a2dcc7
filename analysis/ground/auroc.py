"""AUROC: how well a score ranks what has a label above what has not, in weighted resamples."""

import numpy as np


def concordance(
    values: np.ndarray, label: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of an item with the label and one without: those that the values order right, ties
    half, and all of them.

    Counts of several strata add up to those of pairs within a stratum.

    Args:
        values: `(items,)`, finite.
        label: `(items,)` bool.
        weights: `(resamples, items)`, how often each resample has each item.

    Returns:
        Both counts, `(resamples,)`.

    >>> ones = np.ones((1, 4))
    >>> concordance(np.array([3.0, 1.0, 1.0, 0.0]), np.array([True, True, False, False]), ones)
    (array([3.5]), array([4.]))
    """
    labelled = np.flatnonzero(label)
    others = np.flatnonzero(~label)
    others = others[np.argsort(values[others], kind="stable")]
    # below[:, i] is the weight of the i smallest unlabelled items: ranks, without any pairs.
    below = np.zeros((len(weights), len(others) + 1))
    np.cumsum(weights[:, others], axis=1, out=below[:, 1:])
    smaller = np.searchsorted(values[others], values[labelled], "left")
    not_larger = np.searchsorted(values[others], values[labelled], "right")
    own = weights[:, labelled]
    ordered_right = (own * (below[:, smaller] + below[:, not_larger])).sum(axis=1) / 2
    return ordered_right, own.sum(axis=1) * below[:, -1]


def auroc(values: np.ndarray, label: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """P(value with the label > one without) + P(equal)/2, `(resamples,)`; NaN in a resample that
    lacks one of them. Arguments as in `concordance`.

    >>> auroc(np.array([2.0, 1.0]), np.array([True, False]), np.ones((1, 2)))
    array([1.])
    """
    ordered_right, pairs = concordance(values, label, weights)
    with np.errstate(invalid="ignore"):
        return np.asarray(ordered_right / pairs)
