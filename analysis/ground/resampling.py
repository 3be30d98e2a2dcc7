"""Every interval and test that says how much of a difference is noise; SciPy underneath, own code
where clusters or strata must stay together.

Rank correlations stand beside, in `rank_correlation`.
"""

import itertools
import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

LEVEL = 0.95
RESAMPLES = 10_000
POWER = 0.8
FEW = 8  # items, below which resamples of them say little: figures show no interval of fewer
ROUNDING = 1e-12  # by which a statistic of a permutation may miss the observed one that it equals


@dataclass(frozen=True)
class Interval:
    """A mean, the interval around it and the number of values it rests on."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class PairedTest:
    """Two models on the same items.

    Attributes:
        difference: accuracy of a minus accuracy of b.
        low: lower end of its bootstrap interval.
        high: upper end.
        p_value: two-sided, of the exact test that exchanges the models cluster by cluster; of items
            that stand alone McNemar's.
        only_a: how many items only a has right.
        only_b: how many only b.
        clusters: how many there are.
    """

    difference: float
    low: float
    high: float
    p_value: float
    only_a: int
    only_b: int
    clusters: int


def mean_interval(
    values: np.ndarray | list[float] | tuple[float, ...], level: float = LEVEL
) -> Interval:
    """Student's interval m ± t_{n−1} s/√n of the mean of independent values, such as one per seed.

    Args:
        values: `(n,)`.
        level: of confidence.

    Returns:
        With n = 1 both ends are nan: one run says nothing about the spread. A value that is nan
        makes all of it nan.

    Raises:
        ValueError: if there is no value, or the level is not in (0, 1).
    """
    import scipy.stats  # late: it takes two thirds of a second

    sample = np.asarray(values, dtype=np.float64)
    _check_level(level)
    if sample.ndim != 1 or not len(sample):
        raise ValueError(f"values must be (n,) with n >= 1, got shape {sample.shape}")
    n, mean = len(sample), float(sample.mean())
    half = (
        float(scipy.stats.t.ppf((1 + level) / 2, n - 1) * sample.std(ddof=1) / n**0.5)
        if n > 1
        else float("nan")
    )
    return Interval(mean, mean - half, mean + half, n)


def proportion_interval(successes: int, n: int, level: float = LEVEL) -> Interval:
    """Wilson's interval of a proportion: (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n)  (Wilson
    1927).

    Args:
        successes: how many.
        n: of how many; with 0 the mean is nan and the interval all of [0, 1].
        level: of confidence.

    Raises:
        ValueError: if there are more successes than trials or fewer than none, or the level is not
            in (0, 1).
    """
    import scipy.stats  # late: it takes two thirds of a second

    _check_level(level)
    if not 0 <= successes <= n:
        raise ValueError(f"successes must lie in [0, n = {n}], got {successes}")
    if n == 0:
        return Interval(float("nan"), 0.0, 1.0, 0)
    ends = scipy.stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    return Interval(successes / n, float(ends.low), float(ends.high), n)


def percentile_interval(values: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The ends of the percentile interval of a statistic's resamples; NaN where none is finite."""
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def widened(interval: Interval, other: Interval) -> Interval:
    """The interval with the ends of the other where these lie farther out; its own where the
    other's are not known.
    """
    low, high = np.fmin(interval.low, other.low), np.fmax(interval.high, other.high)
    return Interval(interval.mean, float(low), float(high), interval.n)


def detectable_difference(
    error: float, seeds: int, level: float = LEVEL, power: float = POWER
) -> float:
    """The least true difference that a two-sided test sees with probability `power`, (q_{1−α/2} +
    q_power)·standard error.

    q is Student's with S − 1 degrees of freedom, of one seed the normal's.

    Args:
        error: standard error of the difference, over the resamples of a study of S seeds; from two
            seeds on it is raised by √(S/(S − 1)) for what resamples of S seeds cannot see.
        seeds: S.
        level: 1 − α.
        power: the probability.
    """
    import scipy.stats  # late: it takes two thirds of a second

    quantile = NormalDist().inv_cdf if seeds == 1 else scipy.stats.t(seeds - 1).ppf
    raised = error if seeds == 1 else error * math.sqrt(seeds / (seeds - 1))
    return float(quantile((1 + level) / 2) + quantile(power)) * raised


def cluster_weights(clusters: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Weights `(1 + resamples, items)` of resamples that draw whole clusters with replacement,
    after one of the items as they are.

    >>> cluster_weights(np.array([0, 0, 1]), 2, seed=0)[0]
    array([1., 1., 1.])
    """
    _, place = np.unique(clusters, return_inverse=True)
    count = int(place.max()) + 1
    drawn = np.random.default_rng([seed, count]).multinomial(
        count, np.full(count, 1 / count), resamples
    )
    return np.vstack([np.ones(len(place)), drawn[:, place]])


def drawn_items(items: int, resamples: int, seed: int) -> np.ndarray:
    """Indices `(1 + resamples, items)` of resamples with replacement, after the items as they are:
    for statistics, such as a median, that take no weights.
    """
    drawn = np.random.default_rng([seed, items]).integers(0, items, (resamples, items))
    return np.vstack([np.arange(items), drawn])


def paired_test(
    right_a: np.ndarray,
    right_b: np.ndarray,
    clusters: np.ndarray | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PairedTest:
    """An exact test and a bootstrap interval of the difference of two accuracies on the same items.

    Were the models equal, the difference Σ(a − b) of each cluster might as well have the other
    sign, which all choices of signs test exactly. Where every item is a cluster of its own, this is
    McNemar's test: the items that only one of the two has right are fair coin tosses (McNemar 1947;
    the exact binomial, not the chi-square). The percentile interval resamples clusters.

    Args:
        right_a: `(N,)` bool, whether the first model has each item right.
        right_b: `(N,)` bool, the second.
        clusters: `(N,)`, equal for items that are made from one; None makes each its own.
        level: of confidence.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ValueError: if the shapes differ, there is no item, or an entry is neither true nor false.
    """
    a, b = _right("right_a", right_a, 1), _right("right_b", right_b, 1)
    difference = hierarchical_difference(a[None], b[None], None, clusters, level, resamples, seed)
    members = _membership(clusters, len(a))
    sums = np.abs((a.astype(np.int64) - b) @ members)
    only_a, only_b = int(np.sum(a & ~b)), int(np.sum(b & ~a))
    p_value = _sign_flip_p_value(sums, abs(only_a - only_b))
    return PairedTest(
        difference.mean, difference.low, difference.high, p_value, only_a, only_b, members.shape[1]
    )


def hierarchical_difference(
    right_a: np.ndarray,
    right_b: np.ndarray,
    kept: np.ndarray | None = None,
    clusters: np.ndarray | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The mean difference of two models' accuracies over seeds and items, and an interval that
    resamples seeds and clusters of items.

    Seeds and clusters are drawn independently with replacement, and every cell that both draw
    counts (the pigeonhole bootstrap, Owen 2007, Ann. Appl. Stat. 1). Items made from one original
    are no independent evidence, so that they are drawn together. It is conservative in the noise of
    single cells; of S seeds it sees the share (S − 1)/S of the variance, so with two seeds take the
    ends of `mean_interval` of the per-seed differences where they are wider (`widened`), and with
    three read it beside.

    Args:
        right_a: `(seeds, N)` bool; row s of both ran under the same seed, and column i is the same
            item.
        right_b: `(seeds, N)` bool.
        kept: `(seeds, N)` bool, the cells that count; None is all.
        clusters: `(N,)`, equal for items that are made from one; None makes each its own.
        level: of confidence.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        Accuracy of a minus accuracy of b over the cells that count, with n the number of seeds.
        With one seed only the clusters are resampled.

    Raises:
        ValueError: if the shapes differ, one is empty, or an entry is neither true nor false.
    """
    a, b = _right("right_a", right_a, 2), _right("right_b", right_b, 2)
    cells = np.ones(a.shape, dtype=bool) if kept is None else _right("kept", kept, 2)
    if not a.shape == b.shape == cells.shape:
        raise ValueError(
            "right_a, right_b and kept must have one shape, got "
            f"{a.shape}, {b.shape} and {cells.shape}"
        )
    spread = hierarchical_mean(a.astype(np.int64) - b, cells, clusters, level, resamples, seed)
    return Interval(float(a[cells].mean() - b[cells].mean()), spread.low, spread.high, len(a))


def hierarchical_mean(
    values: np.ndarray,
    kept: np.ndarray | None = None,
    clusters: np.ndarray | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The mean of numbers `(seeds, N)`, such as differences of differences, with the interval of
    `hierarchical_difference`, whose arguments it takes; a cell that does not count may hold any.

    Raises:
        ValueError: if the shapes differ, one is empty, or a number that counts is not finite.
    """
    _check_level(level)
    cells = np.ones(values.shape, dtype=bool) if kept is None else _right("kept", kept, 2)
    if values.ndim != 2 or values.shape != cells.shape:
        raise ValueError(
            f"values must be (seeds, N) as kept is, got shapes {values.shape} and {cells.shape}"
        )
    if not cells.any():
        raise ValueError("kept must have at least one cell that counts, got none")
    if not np.isfinite(values[cells]).all():
        raise ValueError("values must be finite in every cell that counts")
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    members = _membership(clusters, values.shape[1])
    resampled = _crossed_resamples(np.where(cells, values, 0), cells, members, resamples, seed)
    low, high = percentile_interval(resampled, level)
    return Interval(float(values[cells].mean()), low, high, len(values))


def _crossed_resamples(
    values: np.ndarray, cells: np.ndarray, members: np.ndarray, resamples: int, seed: int
) -> np.ndarray:
    """The mean over the cells that count, in resamples of seeds crossed with clusters; elsewhere
    the values are 0.
    """
    seeds = len(values)
    clusters = members.shape[1]
    # Clusters with one pattern of sums over the seeds are exchangeable: drawing clusters is drawing
    # how many of each pattern.
    both = np.vstack([values @ members, cells @ members])
    patterns, counts = np.unique(both, axis=1, return_counts=True)
    random = np.random.default_rng([seed, seeds, clusters])
    of_patterns = random.multinomial(clusters, counts / clusters, resamples)  # resamples, patterns
    of_seeds = random.multinomial(seeds, np.full(seeds, 1 / seeds), resamples)  # resamples, seeds
    sums = ((of_seeds @ patterns[:seeds]) * of_patterns).sum(axis=1)
    numbers = ((of_seeds @ patterns[seeds:]) * of_patterns).sum(axis=1)
    some = numbers > 0  # a resample without a cell that counts says nothing
    return np.asarray(sums[some] / numbers[some])


def permutations(
    strata: np.ndarray, resamples: int, random: np.random.Generator, exhaustive: int = 0
) -> np.ndarray:
    """Permutations `(count, n)` of the places 0 … n − 1 within each stratum.

    Args:
        strata: `(n,)`, equal for places that may be exchanged.
        resamples: how many are drawn.
        random: their generator.
        exhaustive: where there are at most so many, all but the identity are given instead.
    """
    groups = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    count = math.prod(math.factorial(len(group)) for group in groups)
    if count <= exhaustive:
        choices = itertools.product(*(itertools.permutations(group) for group in groups))
        every = np.empty((count, len(strata)), dtype=int)
        for row, choice in zip(every, choices, strict=True):
            row[np.concatenate(groups)] = np.concatenate(choice)
        return every[1:]
    drawn = np.tile(np.arange(len(strata)), (resamples, 1))
    for group in groups:
        drawn[:, group] = random.permuted(drawn[:, group], axis=1)
    return drawn


def cluster_permutations(
    clusters: np.ndarray, resamples: int, random: np.random.Generator
) -> np.ndarray:
    """Permutations `(resamples, items)` that exchange whole clusters with others of equally many
    items.
    """
    _, place, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    order = np.argsort(place, kind="stable")  # the items, cluster by cluster
    starts = np.cumsum(sizes) - sizes
    within = np.empty(len(place), dtype=int)  # of an item in its cluster
    within[order] = np.arange(len(place)) - starts[place[order]]
    exchanged = permutations(sizes, resamples, random)  # resamples, clusters
    return np.asarray(order[starts[exchanged[:, place]] + within])


def permutation_p_value(observed: float, permuted: np.ndarray) -> float:
    """Two-sided share of permutations, the observed order counted with them, whose statistic is at
    least as large in modulus.
    """
    reached = np.abs(permuted) >= abs(observed) - ROUNDING
    return float((1 + reached.sum()) / (1 + len(permuted)))


def _membership(clusters: np.ndarray | None, items: int) -> np.ndarray:
    """`(N, clusters)` of 0 and 1: which item belongs to which cluster."""
    ids = np.arange(items) if clusters is None else np.asarray(clusters)
    if ids.shape != (items,):
        raise ValueError(
            f"clusters must have one entry for each of {items} items, got shape {ids.shape}"
        )
    _, place = np.unique(ids, return_inverse=True)
    members = np.zeros((items, place.max() + 1), dtype=np.int64)
    members[np.arange(items), place] = 1
    return members


def _sign_flip_p_value(sums: np.ndarray, observed: int) -> float:
    """P(|Σ ± s_c| ≥ observed) over independent fair signs, exactly: the distribution of the sum,
    cluster by cluster.
    """
    chance = np.ones(1)  # of the sums −T … T so far, in steps of one
    for size in sums[sums > 0]:
        wider = np.zeros(len(chance) + 2 * size)
        wider[: len(chance)] += chance / 2
        wider[2 * size :] += chance / 2
        chance = wider
    reach = len(chance) // 2
    return float(min(1.0, chance[np.abs(np.arange(-reach, reach + 1)) >= observed].sum()))


def _check_level(level: float) -> None:
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie in (0, 1), got {level}")


def _right(name: str, values: np.ndarray, dimensions: int) -> np.ndarray:
    """A bool array, from bools or from zeros and ones."""
    array = np.asarray(values)
    if array.ndim != dimensions or not array.size or not np.isin(array, (0, 1)).all():
        raise ValueError(
            f"{name} must be a {dimensions}-dimensional array of true "
            f"and false, not empty, got shape {array.shape}"
        )
    return array.astype(bool)
