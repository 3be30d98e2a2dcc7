"""What each step does to the edits of one kind, over pairs: medians and shares with intervals that
resample the originals.
"""

from collections.abc import Sequence

import numpy as np

from analysis.edits.records import Damping, Edit, Method
from analysis.ground.json_records import finite
from analysis.ground.resampling import cluster_weights, percentile_interval

RESAMPLES = 2000


def damping(edits: Sequence[Edit], seed: int) -> list[Damping]:
    """One row for each kind of edit, method and step, in this order.

    Args:
        edits: that were measured.
        seed: of the resamples.
    """
    kinds = dict.fromkeys(edit.kind for edit in edits)
    rows = []
    for kind in kinds:
        own = [edit for edit in edits if edit.kind == kind]
        clusters = np.array([edit.cluster for edit in own])
        for method in own[0].walks:
            growth = trusted_growth(own, method)
            rows += [
                _damping(kind, method, step, growth[:, step], clusters, seed)
                for step in range(growth.shape[1])
            ]
    return rows


def trusted_growth(edits: Sequence[Edit], method: Method) -> np.ndarray:
    """Growth `(pairs, steps)` along a walk, NaN where a solve up to there did not converge."""
    walks = [edit.walks[method] for edit in edits]
    growth = np.array([walk.growth for walk in walks], dtype=float)  # None becomes NaN
    return np.where([walk.solved for walk in walks], growth, np.nan)


def _damping(
    kind: str, method: Method, step: int, growth: np.ndarray, clusters: np.ndarray, seed: int
) -> Damping:
    known = np.isfinite(growth)
    values, of = growth[known], clusters[known]
    counts = {"pairs": int(known.sum()), "of": len(growth), "clusters": len(np.unique(of))}
    names = ("growth", "growth_low", "growth_high", "damped", "damped_low", "damped_high")
    numbers = dict.fromkeys(names, np.nan)
    if len(values):
        weights = cluster_weights(of, RESAMPLES if counts["clusters"] > 1 else 0, seed)
        medians = weighted_medians(values, weights)
        shares = weights @ (values < 1) / weights.sum(1)
        of_medians, of_shares = (percentile_interval(drawn[1:]) for drawn in (medians, shares))
        found = (medians[0], *of_medians, shares[0], *of_shares)
        numbers = dict(zip(names, found, strict=True))
    return Damping(kind=kind, method=method, step=step, **counts, **finite(numbers))


def weighted_medians(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The median of values that count as often as each row of whole weights says.

    >>> weighted_medians(np.array([3.0, 1.0, 2.0]), np.array([[1, 1, 1], [0, 2, 2]]))
    array([2. , 1.5])
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    reached = np.cumsum(weights[:, order], axis=1)
    half = reached[:, -1:] / 2
    # Where exactly half lies below, the median is between two neighbours that count.
    low = (reached >= half).argmax(axis=1)
    high = (reached > half).argmax(axis=1)
    return np.asarray((ordered[low] + ordered[high]) / 2)
