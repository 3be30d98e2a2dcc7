"""Rank correlations of a few placements, with a permutation test and intervals over resamples."""

import dataclasses

import numpy as np

RESAMPLES = 10_000
LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Correlation:
    """A rank correlation over placements.

    Attributes:
        name: "Spearman" or "Kendall".
        value: of the measured outcomes; NaN where all are equal.
        low: end of its 95 % interval over resamples of the examples; it holds the placements fixed.
        high: likewise.
        p_value: share of permutations of the placements with a correlation at least as large in modulus.
        detectable: the least modulus that this number of placements can call significant.
    """

    name: str
    value: float
    low: float
    high: float
    p_value: float
    detectable: float


def _ranks(values: np.ndarray) -> np.ndarray:
    """Along the last axis, ties at their mean rank."""
    others = values[..., None, :]
    return np.asarray((others < values[..., None]).sum(-1) + (others == values[..., None]).sum(-1) / 2)


def _spearman(order: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Along the last axis of values."""
    a, b = _ranks(order), _ranks(values)
    a, b = a - a.mean(), b - b.mean(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        return np.asarray((b @ a) / np.sqrt((a @ a) * (b * b).sum(axis=-1)))


def _kendall(order: np.ndarray, values: np.ndarray) -> np.ndarray:
    """τ_b along the last axis of values."""
    first, second = np.triu_indices(len(order), 1)
    a, b = np.sign(order[first] - order[second]), np.sign(values[..., first] - values[..., second])
    with np.errstate(invalid="ignore"):
        return np.asarray((b @ a) / np.sqrt((a @ a) * (b * b).sum(axis=-1)))


STATISTICS = {"Spearman": _spearman, "Kendall": _kendall}


def correlation(name: str, order: np.ndarray, measured: np.ndarray, seed: int) -> Correlation:
    """One of STATISTICS with its interval, its permutation test, and what it could have told from chance.

    Args:
        name: which.
        order: the predicted values `(placements,)`.
        measured: `(placements, 1 + resamples)`, the measured outcomes first.
        seed: of the permutations.
    """
    statistic, count = STATISTICS[name], len(order)
    values = statistic(order, measured.T)
    random = np.random.default_rng([seed, count])
    shuffled = random.permuted(np.tile(measured[:, 0], (RESAMPLES, 1)), axis=1)
    chance = np.abs(statistic(order, shuffled))
    p_value = float((1 + (chance >= abs(values[0]) - 1e-12).sum()) / (1 + RESAMPLES)) if np.isfinite(values[0]) else float("nan")
    ranks = np.abs(statistic(order, random.permuted(np.tile(np.arange(count), (RESAMPLES, 1)), axis=1)))
    detectable = float(np.quantile(ranks, LEVEL, method="higher"))
    low, high = percentiles(values[1:])
    return Correlation(name, float(values[0]), low, high, p_value, detectable)


def percentiles(values: np.ndarray) -> tuple[float, float]:
    """The ends of the 95 % percentile interval; NaN where no value is finite."""
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
