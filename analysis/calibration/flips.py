"""Do edits that flip the model's answer grow more than edits that do not, before the answer is
given, and more than the margin tells?
"""

import dataclasses

import numpy as np

from analysis.confirmation.rank import draws, percentiles

RESAMPLES = 10_000


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
    known = [np.isfinite(one) for one in (flipped, held)]
    if min(int(one.sum()) for one in known) < 2:
        return None
    values = np.concatenate([flipped[known[0]], held[known[1]]])
    label = np.repeat([True, False], [int(one.sum()) for one in known])
    groups = (
        np.arange(len(values))
        if clusters is None
        else np.concatenate([one[k] for one, k in zip(clusters, known, strict=True)])
    )
    weights = draws(groups, RESAMPLES, seed)
    difference, auroc = _difference(values, label, weights), _auroc(values, label, weights)
    chance = np.abs(_relabelled(values, label, groups, np.random.default_rng([seed, len(values)])))
    p_value = (1 + (chance >= abs(difference[0]) - 1e-12).sum()) / (1 + RESAMPLES)
    medians = (float(np.median(one)) for one in sizes)
    return Flips(
        int(label.sum()),
        int((~label).sum()),
        len(np.unique(groups)),
        float(difference[0]),
        *percentiles(difference[1:]),
        float(p_value),
        float(auroc[0]),
        *percentiles(auroc[1:]),
        *medians,
    )


def _difference(values: np.ndarray, label: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean of the flipped less that of the held; NaN in a resample that lacks one of
    them.
    """
    with np.errstate(invalid="ignore"):
        means = (
            (weights @ (values * one)) / (weights @ one.astype(float)) for one in (label, ~label)
        )
        return np.asarray(next(means) - next(means))


def _auroc(values: np.ndarray, label: np.ndarray, weights: np.ndarray) -> np.ndarray:
    a, b = values[label], values[~label]
    more = (a[:, None] > b) + 0.5 * (a[:, None] == b)  # flipped, held
    with np.errstate(invalid="ignore"):
        pairs = weights[:, label].sum(axis=1) * weights[:, ~label].sum(axis=1)
        return np.asarray(((weights[:, label] @ more) * weights[:, ~label]).sum(axis=1) / pairs)


def _relabelled(
    values: np.ndarray, label: np.ndarray, groups: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Differences under relabellings: originals with equally many pairs exchange their labels, each
    as a whole.
    """
    drawn = np.tile(label, (RESAMPLES, 1))
    members = [np.flatnonzero(groups == one) for one in np.unique(groups)]
    for size in sorted({len(one) for one in members}):
        places = np.array([one for one in members if len(one) == size])  # originals, pairs
        order = random.permuted(np.tile(np.arange(len(places)), (RESAMPLES, 1)), axis=1)
        drawn[:, places] = label[places[order]]
    count = label.sum()
    with_label = drawn @ values
    return np.asarray(with_label / count - (values.sum() - with_label) / (len(values) - count))
