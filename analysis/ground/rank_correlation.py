"""Rank correlations of a few items, with a permutation test, intervals over resamples and the power
of that test.

Ranks can be taken within strata alone, and over all resamples at once: SciPy does neither.
"""

import dataclasses

import numpy as np
import scipy.stats

from analysis.ground.resampling import (
    LEVEL,
    RESAMPLES,
    percentile_interval,
    permutation_p_value,
    permutations,
)

EXHAUSTIVE = 50_000  # permutations that are gone through; of more, RESAMPLES are drawn
TRIALS = 10_000  # simulated studies


@dataclasses.dataclass(frozen=True)
class Correlation:
    """A rank correlation over items.

    Attributes:
        name: "Spearman", "Kendall", or what a caller calls that of ranks within strata.
        value: of the measured outcomes; NaN where all are equal, or one is unknown.
        low: end of its 95 % interval over the resamples that the outcomes come with; it holds the
            items fixed.
        high: likewise.
        p_value: share of permutations of the items (within their strata) with a correlation at
            least as large in modulus.
        critical: the least modulus, without ties, that is significant at the 5 % level; NaN where
            none is.
    """

    name: str
    value: float
    low: float
    high: float
    p_value: float
    critical: float


def correlation(
    name: str, order: np.ndarray, measured: np.ndarray, seed: int, strata: np.ndarray | None = None
) -> Correlation:
    """One of STATISTICS with its interval, its permutation test, and what it could have told from
    chance.

    Args:
        name: which.
        order: the predicted values `(items,)`.
        measured: `(items, 1 + resamples)`, the measured outcomes first.
        seed: of the permutations.
        strata: `(items,)`, permuted and compared are only those in the same; None is all in one.
    """
    groups = np.zeros(len(order), dtype=int) if strata is None else strata
    statistic = STATISTICS[name]
    values = statistic(order, measured.T, groups)
    random = np.random.default_rng([seed, len(order)])
    places = permutations(groups, RESAMPLES, random, EXHAUSTIVE)
    p_value = float("nan")
    if np.isfinite(values[0]):
        permuted = statistic(order, measured[places, 0], groups)
        p_value = permutation_p_value(float(values[0]), permuted)
    low, high = percentile_interval(values[1:])
    critical = _critical(np.abs(statistic(order, places.astype(float), groups)))
    return Correlation(name, float(values[0]), low, high, p_value, critical)


def spearman(order: np.ndarray, values: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """Spearman's ρ along the last axis of values, ranks taken and centred within each stratum."""
    a = np.zeros(len(order))
    b = np.zeros(values.shape)
    for stratum in np.unique(strata):
        inside = strata == stratum
        ranks_a = scipy.stats.rankdata(order[inside])
        ranks_b = scipy.stats.rankdata(values[..., inside], axis=-1)
        a[inside] = ranks_a - ranks_a.mean()
        b[..., inside] = ranks_b - ranks_b.mean(axis=-1, keepdims=True)
    return _cosine(a, b, values)


def kendall(order: np.ndarray, values: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """Kendall's τ_b along the last axis of values, of pairs in one stratum."""
    first, second = np.triu_indices(len(order), 1)
    inside = strata[first] == strata[second]
    first = first[inside]
    second = second[inside]
    a = np.sign(order[first] - order[second])
    b = np.sign(values[..., first] - values[..., second])
    return _cosine(a, b, values)


STATISTICS = {"Spearman": spearman, "Kendall": kendall}


def ranking_power(
    items: int, spread: float, noise: float, trials: int = TRIALS, seed: int = 0
) -> float:
    """P(the rank test confirms a prediction that is perfect), by simulation.

    The true outcomes are equally spaced in the predicted order; to each comes independent Gaussian
    noise. What two items have in common moves no rank and is no noise here.

    Args:
        items: how many are ranked.
        spread: standard deviation of the true outcomes.
        noise: standard deviation of an item's measured outcome about its true one; of S seeds that
            of one over √S.
        trials: simulated studies.
        seed: of the noise.

    Returns:
        The share of studies whose Spearman correlation is positive and significant at the 5 %
        level, two-sided.

    Raises:
        ValueError: if there are fewer than three items, or spread or noise is negative or not
            finite.
    """
    if items < 3:
        raise ValueError(f"items must be >= 3, got {items}")
    for name, value in (("spread", spread), ("noise", noise)):
        if not (np.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be >= 0 and finite, got {value}")
    order = np.arange(float(items))
    truth = spread * (order - order.mean()) / order.std()
    random = np.random.default_rng([seed, items])
    measured = truth + noise * random.standard_normal((trials, items))
    critical = correlation("Spearman", order, order[:, None], seed).critical
    found = spearman(order, measured, np.zeros(items, dtype=int))
    return float((found >= critical - 1e-9).mean())  # critical is rounded to 9 digits


def seed_scatter(outcomes: np.ndarray) -> float:
    """Standard deviation by which seeds move one item against the others; NaN of one seed or one
    item.

    Args:
        outcomes: `(items, seeds)`; what a seed does to all items alike is taken off, as ranks do
            not see it.
    """
    items, seeds = outcomes.shape
    if min(items, seeds) < 2:
        return float("nan")
    by_item = outcomes.mean(axis=1, keepdims=True)
    by_seed = outcomes.mean(axis=0, keepdims=True)
    left = outcomes - by_item - by_seed + outcomes.mean()
    return float(np.sqrt(np.square(left).sum() / ((items - 1) * (seeds - 1))))


def _cosine(a: np.ndarray, b: np.ndarray, values: np.ndarray) -> np.ndarray:
    """⟨a, b⟩/‖a‖‖b‖ along the last axis of b; NaN where a value is."""
    with np.errstate(invalid="ignore"):  # all equal: 0/0
        cosine = (b @ a) / np.sqrt((a @ a) * (b * b).sum(axis=-1))
    return np.where(np.isnan(values).any(axis=-1), np.nan, cosine)


def _critical(chance: np.ndarray) -> float:
    """The least value of a statistic that at most 1 − LEVEL of its permutations reach, the observed
    order counted with them.
    """
    values, counts = np.unique(np.round(chance[np.isfinite(chance)], 9), return_counts=True)
    reached = (1 + np.cumsum(counts[::-1])[::-1]) / (1 + counts.sum())
    significant = values[reached <= 1 - LEVEL]
    return float(significant[0]) if len(significant) else float("nan")
