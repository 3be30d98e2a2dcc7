"""Do edits that flip the model's answer grow more than edits that do not, before the answer is
given, and more than the margin tells?
"""

import dataclasses

import numpy as np

from analysis.ground.auroc import auroc
from analysis.ground.resampling import (
    RESAMPLES,
    cluster_permutations,
    cluster_weights,
    percentile_interval,
    permutation_p_value,
)


@dataclasses.dataclass(frozen=True)
class Flips:
    """What is measured of pairs whose edit flips the answer, beside pairs where it holds.

    The answer is read off the last state, so that growth through all steps is chosen by its own
    outcome: a flip *is* a large change at the end. Growth after early steps, and the margin of the
    unchanged text, are known before it.

    Attributes:
        flipped: how many flip.
        held: how many do not.
        clusters: originals that they were made from.
        difference: mean of the flipped minus that of the held.
        low: end of its 95 % interval over resamples of the originals.
        high: likewise.
        p_value: share of relabellings of whole originals with a difference at least as large in
            modulus.
        auroc: P(a flipped pair has more than a held one) + P(as much)/2, with its interval; 1/2
            tells nothing.
        auroc_low: likewise.
        auroc_high: likewise.
        size_flipped: median size of the edit, ‖δ_0‖/‖x_0‖: larger edits flip more, whatever grows.
        size_held: likewise.
    """

    flipped: int
    held: int
    clusters: int
    difference: float
    low: float
    high: float
    p_value: float
    auroc: float
    auroc_low: float
    auroc_high: float
    size_flipped: float
    size_held: float


def flips(
    flipped: np.ndarray,
    held: np.ndarray,
    sizes: tuple[np.ndarray, np.ndarray],
    seed: int,
    clusters: tuple[np.ndarray, np.ndarray] | None = None,
) -> Flips | None:
    """Compare a quantity of two groups of pairs; None where one has fewer than two pairs that were
    solved.

    Args:
        flipped: `(pairs,)`, such as log growth in nats.
        held: likewise.
        sizes: of the edits of both.
        seed: of resamples and permutations.
        clusters: of both, equal for pairs of one original, across the groups too; None makes each
            its own.
    """
    known = [np.isfinite(group) for group in (flipped, held)]
    if min(int(group.sum()) for group in known) < 2:
        return None
    values = np.concatenate([flipped[known[0]], held[known[1]]])
    label = np.repeat([True, False], [int(group.sum()) for group in known])
    groups = (
        np.arange(len(values))
        if clusters is None
        else np.concatenate([group[k] for group, k in zip(clusters, known, strict=True)])
    )
    weights = cluster_weights(groups, RESAMPLES, seed)
    difference = _difference(values, label, weights)
    ranked = auroc(values, label, weights)
    random = np.random.default_rng([seed, len(values)])
    relabelled = label[cluster_permutations(groups, RESAMPLES, random)]  # resamples, pairs
    p_value = permutation_p_value(difference[0], _differences(values, relabelled))
    medians = (float(np.median(group)) for group in sizes)
    return Flips(
        int(label.sum()),
        int((~label).sum()),
        len(np.unique(groups)),
        float(difference[0]),
        *percentile_interval(difference[1:]),
        p_value,
        float(ranked[0]),
        *percentile_interval(ranked[1:]),
        *medians,
    )


def _difference(values: np.ndarray, label: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean of the flipped less that of the held; NaN in a resample that lacks one of
    them.
    """
    with np.errstate(invalid="ignore"):
        means = (
            (weights @ (values * group)) / (weights @ group.astype(float))
            for group in (label, ~label)
        )
        return np.asarray(next(means) - next(means))


def _differences(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean of the values with a label less that of the others, for each row of labels."""
    count = labels[0].sum()
    with_label = labels @ values
    return np.asarray(with_label / count - (values.sum() - with_label) / (len(values) - count))
