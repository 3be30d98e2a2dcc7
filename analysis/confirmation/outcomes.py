"""How much more rarely a placement is flipped than the explicit model of its seed, with resamples
of seeds and examples.
"""

from collections.abc import Sequence

import numpy as np

from analysis.confirmation.runs import Run
from analysis.ground.resampling import RESAMPLES, cluster_weights

Pairs = list[tuple[Run, Run]]  # each run beside the explicit model of its seed


def clusters_of(run: Run) -> np.ndarray:
    """Equal for examples of the same texts; each its own where that is not known."""
    return np.arange(len(run.right)) if run.clusters is None else run.clusters


def _rarer(one: Run, other: Run, weights: np.ndarray) -> np.ndarray:
    """By how much more rarely the first is flipped than the second, under weights `(…, examples)`
    of the examples.
    """
    both = (one.right & other.right).astype(float)
    with np.errstate(invalid="ignore"):  # a resample without an example that both get right
        return np.asarray(
            (weights @ (both * (other.flipped.astype(float) - one.flipped))) / (weights @ both)
        )


def by_seed(pairs: Pairs) -> np.ndarray:
    """The outcome of a placement at each of its seeds."""
    return np.array([float(_rarer(one, other, np.ones(len(one.right)))) for one, other in pairs])


def resampled(placements: Sequence[Pairs], seed: int) -> np.ndarray:
    """The outcome of each placement, `(placements, 1 + resamples)`.

    One resample draws the same clusters of examples and the same seeds for all placements, so that
    what they share stays shared.
    """
    weights = cluster_weights(clusters_of(placements[0][0][0]), RESAMPLES, seed)
    seeds = sorted({one.seed for pairs in placements for one, _ in pairs})
    of_seeds = cluster_weights(np.array(seeds), RESAMPLES, seed + 1)
    rows = []
    for pairs in placements:
        differences = np.array([_rarer(one, other, weights) for one, other in pairs])
        own = of_seeds[:, [seeds.index(one.seed) for one, _ in pairs]].T
        with np.errstate(invalid="ignore"):  # a resample without a seed of this placement
            rows.append((own * differences).sum(axis=0) / own.sum(axis=0))
    return np.array(rows)
