"""Rank correlations of a few placements, with a permutation test and intervals over resamples."""

import dataclasses
import itertools
import math

import numpy as np
import scipy.stats

RESAMPLES = 10_000
EXHAUSTIVE = 50_000  # permutations that are gone through; of more, RESAMPLES are drawn
LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Correlation:
    """A rank correlation over placements.

    Attributes:
        name: "Spearman", "Kendall", or "Spearman, equally many layers": that of ranks among
            placements of equally many implicit layers, less their mean.
        value: of the measured outcomes; NaN where all are equal, or one is unknown.
        low: end of its 95 % interval over resamples of clusters of examples, and of seeds; it holds
            the placements fixed.
        high: likewise.
        p_value: share of permutations of the placements (of equally many layers, where these are
            compared) with a correlation at least as large in modulus.
        critical: the least modulus, without ties, that is significant at the 5 % level; NaN where
            none is.
    """

    name: str
    value: float
    low: float
    high: float
    p_value: float
    critical: float


def _ranks(values: np.ndarray) -> np.ndarray:
    """Along the last axis, ties at their mean rank."""
    others = values[..., None, :]
    return np.asarray(
        (others < values[..., None]).sum(-1) + (others == values[..., None]).sum(-1) / 2
    )


def _correlated(a: np.ndarray, b: np.ndarray, values: np.ndarray) -> np.ndarray:
    """⟨a, b⟩/‖a‖‖b‖ along the last axis of b; NaN where a value is."""
    with np.errstate(invalid="ignore"):
        found = (b @ a) / np.sqrt((a @ a) * (b * b).sum(axis=-1))
    return np.where(np.isnan(values).any(axis=-1), np.nan, found)


def _spearman(order: np.ndarray, values: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """Along the last axis of values, ranks taken and centred within each stratum."""
    a, b = np.zeros(len(order)), np.zeros(values.shape)
    for one in np.unique(strata):
        here = strata == one
        first, second = _ranks(order[here]), _ranks(values[..., here])
        a[here], b[..., here] = first - first.mean(), second - second.mean(axis=-1, keepdims=True)
    return _correlated(a, b, values)


def _kendall(order: np.ndarray, values: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """τ_b along the last axis of values, of pairs in one stratum."""
    first, second = np.triu_indices(len(order), 1)
    kept = strata[first] == strata[second]
    first, second = first[kept], second[kept]
    a, b = np.sign(order[first] - order[second]), np.sign(values[..., first] - values[..., second])
    return _correlated(a, b, values)


WITHIN = "Spearman, equally many layers"
STATISTICS = {"Spearman": _spearman, "Kendall": _kendall, WITHIN: _spearman}


def correlation(
    name: str, order: np.ndarray, measured: np.ndarray, seed: int, strata: np.ndarray | None = None
) -> Correlation:
    """One of STATISTICS with its interval, its permutation test, and what it could have told from
    chance.

    Args:
        name: which.
        order: the predicted values `(placements,)`.
        measured: `(placements, 1 + resamples)`, the measured outcomes first.
        seed: of the permutations.
        strata: `(placements,)`, permuted and compared are only those in the same; None is all in
            one.
    """
    groups = np.zeros(len(order), dtype=int) if strata is None else strata
    statistic, values = STATISTICS[name], STATISTICS[name](order, measured.T, groups)
    places = _permutations(groups, seed)
    p_value = float("nan")
    if np.isfinite(values[0]):
        chance = np.abs(statistic(order, measured[places, 0], groups))
        p_value = float((1 + (chance >= abs(values[0]) - 1e-12).sum()) / (1 + len(places)))
    low, high = percentiles(values[1:])
    return Correlation(
        name,
        float(values[0]),
        low,
        high,
        p_value,
        _critical(np.abs(statistic(order, places.astype(float), groups))),
    )


def _permutations(strata: np.ndarray, seed: int) -> np.ndarray:
    """Permutations of the places within each stratum: all but the identity where these are few,
    else RESAMPLES drawn.
    """
    groups = [np.flatnonzero(strata == one) for one in np.unique(strata)]
    count = math.prod(math.factorial(len(one)) for one in groups)
    if count <= EXHAUSTIVE:
        choices = itertools.product(*(itertools.permutations(one) for one in groups))
        found = np.empty((count, len(strata)), dtype=int)
        for row, choice in zip(found, choices, strict=True):
            row[np.concatenate(groups)] = np.concatenate(choice)
        return found[1:]
    random = np.random.default_rng([seed, len(strata)])
    found = np.tile(np.arange(len(strata)), (RESAMPLES, 1))
    for one in groups:
        found[:, one] = random.permuted(found[:, one], axis=1)
    return found


def _critical(chance: np.ndarray) -> float:
    """The least value of a statistic that at most 1 − LEVEL of its permutations reach, the observed
    order counted with them.
    """
    values, counts = np.unique(np.round(chance[np.isfinite(chance)], 9), return_counts=True)
    reached = (1 + np.cumsum(counts[::-1])[::-1]) / (1 + counts.sum())
    return float(values[reached <= 1 - LEVEL][0]) if (reached <= 1 - LEVEL).any() else float("nan")


def student(values: np.ndarray) -> tuple[float, float]:
    """The ends of Student's 95 % interval of the mean of independent values; NaN of fewer than
    two.
    """
    if len(values) < 2:
        return float("nan"), float("nan")
    half = (
        scipy.stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)
        * values.std(ddof=1)
        / math.sqrt(len(values))
    )
    return float(values.mean() - half), float(values.mean() + half)


def draws(clusters: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Weights `(1 + resamples, items)` of resamples that draw whole clusters with replacement,
    after one of the items as they are.
    """
    _, place = np.unique(clusters, return_inverse=True)
    count = int(place.max()) + 1
    drawn = np.random.default_rng([seed, count]).multinomial(
        count, np.full(count, 1 / count), resamples
    )
    return np.vstack([np.ones(len(place)), drawn[:, place]])


def percentiles(values: np.ndarray) -> tuple[float, float]:
    """The ends of the 95 % percentile interval; NaN where no value is finite."""
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
