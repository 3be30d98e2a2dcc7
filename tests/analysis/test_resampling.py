"""Intervals and tests against closed forms, and how often they hold the truth."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from analysis.ground.resampling import (
    Interval,
    cluster_permutations,
    cluster_weights,
    detectable_difference,
    drawn_items,
    hierarchical_difference,
    mean_interval,
    paired_test,
    percentile_interval,
    permutation_p_value,
    permutations,
    proportion_interval,
    widened,
)


def coverage_slack(level: float, trials: int) -> float:
    """Four standard deviations of a share of that many trials."""
    return 4 * math.sqrt(level * (1 - level) / trials)


# Student's interval


def test_students_interval_of_two_values_in_closed_form() -> None:
    found = mean_interval([1.0, 3.0])  # s = √2, s/√2 = 1, t_1 is Cauchy's
    half = math.tan(0.475 * math.pi)
    assert (found.mean, found.n) == (2.0, 2)
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half), rel=1e-10)


def test_students_interval_agrees_with_scipy() -> None:
    values = np.random.default_rng(0).normal(size=7)
    expected = scipy.stats.ttest_1samp(values, 0.0).confidence_interval(0.9)
    found = mean_interval(values, 0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)


def test_students_interval_covers() -> None:
    random, trials = np.random.default_rng(1), 2000
    held = sum(
        one.low <= 0.3 <= one.high
        for one in (mean_interval(random.normal(0.3, 2.0, 3)) for _ in range(trials))
    )
    assert abs(held / trials - 0.95) < coverage_slack(0.95, trials)


def test_one_value_has_no_interval_and_nan_stays() -> None:
    one = mean_interval([0.7])
    assert (one.mean, one.n) == (0.7, 1)
    assert math.isnan(one.low) and math.isnan(one.high)
    assert math.isnan(mean_interval([0.7, math.nan]).mean)
    equal = mean_interval([0.5, 0.5, 0.5])
    assert (equal.low, equal.high) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("values", "level", "message"),
    [
        ([], 0.95, "n >= 1"),
        ([1.0, 2.0], 1.0, r"level must lie in \(0, 1\), got 1.0"),
        ([[1.0]], 0.9, "shape"),
    ],
)
def test_bad_values(values: list[float], level: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mean_interval(values, level)


# Wilson's interval


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (3, 10), (549, 872), (1, 1)])
def test_wilsons_interval_agrees_with_scipy_and_solves_its_equation(successes: int, n: int) -> None:
    found = proportion_interval(successes, n)
    expected = scipy.stats.binomtest(successes, n).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx(
        (expected.low, expected.high), rel=1e-12, abs=1e-15
    )
    z = scipy.stats.norm.ppf(0.975)
    for end in (found.low, found.high):  # |p̂ − p| = z √(p(1−p)/n)
        assert abs(found.mean - end) == pytest.approx(z * math.sqrt(end * (1 - end) / n), abs=1e-12)


def test_wilsons_interval_at_its_ends() -> None:
    assert proportion_interval(0, 9).low == 0.0
    assert proportion_interval(9, 9).high == 1.0
    nothing = proportion_interval(0, 0)
    assert math.isnan(nothing.mean)
    assert (nothing.low, nothing.high, nothing.n) == (0.0, 1.0, 0)
    with pytest.raises(ValueError, match=r"successes must lie in \[0, n = 3\], got 4"):
        proportion_interval(4, 3)


# Paired tests


def pair(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    counts = [both, only_a, only_b, neither]
    return np.repeat([True, True, False, False], counts), np.repeat(
        [True, False, True, False], counts
    )


@pytest.mark.parametrize(("only_a", "only_b"), [(8, 2), (2, 8), (5, 5), (1, 0), (0, 12)])
def test_mcnemar_in_closed_form(only_a: int, only_b: int) -> None:
    found = paired_test(*pair(40, only_a, only_b, 30))
    n, k = only_a + only_b, min(only_a, only_b)
    tail = sum(math.comb(n, i) for i in range(k + 1)) / 2**n
    assert found.p_value == pytest.approx(min(1.0, 2 * tail), rel=1e-12)
    assert (found.only_a, found.only_b) == (only_a, only_b)
    assert found.difference == pytest.approx((only_a - only_b) / (70 + n), abs=1e-15)
    assert found.low <= found.difference <= found.high


def test_equal_models_differ_by_nothing() -> None:
    found = paired_test(*pair(5, 0, 0, 4))
    assert (found.difference, found.low, found.high, found.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_the_difference_changes_sign_with_the_order() -> None:
    a, b = pair(40, 9, 3, 30)
    one, other = paired_test(a, b), paired_test(b, a)
    assert one.difference == -other.difference
    assert one.p_value == other.p_value
    assert one == paired_test(a, b, seed=0)


def test_bootstrap_of_items_has_the_textbook_variance() -> None:
    a, b = pair(500, 90, 60, 350)
    d = a.astype(float) - b
    found = paired_test(a, b, resamples=40_000)
    half = scipy.stats.norm.ppf(0.975) * d.std() / math.sqrt(len(d))
    # The end is a quantile of 40,000 resamples: its standard error is √(αβ/R)/φ(z) = 1.3 % of a
    # standard deviation; and a step is 1/N.
    slack = 4 * 0.013 * d.std() / math.sqrt(len(d)) + 1 / len(d)
    assert (found.low, found.high) == pytest.approx((d.mean() - half, d.mean() + half), abs=slack)


def test_items_of_one_cluster_are_drawn_together() -> None:
    """Copies of an item say nothing new: m copies of N items have the interval of the N."""
    a, b = pair(50, 14, 8, 28)
    alone = paired_test(a, b, resamples=40_000)
    copies = np.tile(np.arange(100), 9)
    together = paired_test(np.tile(a, 9), np.tile(b, 9), copies, resamples=40_000)
    assert (together.low, together.high) == pytest.approx(
        (alone.low, alone.high), abs=0.011
    )  # a step of the mean is 0.01
    assert together.p_value == pytest.approx(alone.p_value, rel=1e-9) and (
        together.clusters,
        alone.clusters,
    ) == (100, 100)
    ignored = paired_test(np.tile(a, 9), np.tile(b, 9), resamples=2000)
    assert (
        ignored.high - ignored.low < 0.4 * (alone.high - alone.low)
        and ignored.p_value < alone.p_value / 10
    )


def test_the_exact_test_of_clusters_is_the_share_of_all_signs() -> None:
    a = np.array([1, 1, 1, 0, 1, 1, 0, 1], dtype=bool)
    b = np.array([0, 0, 1, 1, 0, 1, 1, 0], dtype=bool)
    clusters = np.array([7, 7, 7, 2, 2, 5, 5, 9])
    sums = np.array([(a.astype(int) - b)[clusters == one].sum() for one in (7, 2, 5, 9)])
    flipped = np.abs(np.array(list(itertools.product((-1, 1), repeat=4))) @ sums)
    assert paired_test(a, b, clusters).p_value == pytest.approx(
        (flipped >= abs(sums.sum())).mean(), rel=1e-12
    )


def test_an_interval_of_clusters_holds_where_one_of_items_does_not() -> None:
    random, trials = np.random.default_rng(8), 300
    clusters, inside = np.repeat(np.arange(40), 5), np.zeros(2)
    for _ in range(trials):
        a, b = np.repeat(
            random.random((2, 40)) < 0.6, 5, axis=1
        )  # no difference, and five items that are one
        for way, groups in enumerate((clusters, None)):
            found = paired_test(a, b, groups, resamples=600)
            inside[way] += found.low <= 0.0 <= found.high
    assert abs(inside[0] / trials - 0.95) < coverage_slack(0.95, trials) + 0.01
    assert inside[1] / trials < 0.8


def test_clusters_must_fit() -> None:
    with pytest.raises(
        ValueError, match=r"clusters must have one entry for each of 2 items, got shape \(3,\)"
    ):
        paired_test(np.array([1, 0]), np.array([1, 0]), np.zeros(3))


def test_paired_interval_and_test_hold_under_no_difference() -> None:
    random, trials, inside, rejected = np.random.default_rng(3), 400, 0, 0
    for _ in range(trials):
        a, b = random.random((2, 150)) < 0.7
        found = paired_test(a, b, resamples=600)
        inside += found.low <= 0.0 <= found.high
        rejected += found.p_value <= 0.05
    assert (
        abs(inside / trials - 0.95) < coverage_slack(0.95, trials) + 0.01
    )  # a percentile interval of 150 items
    assert rejected / trials <= 0.05 + coverage_slack(
        0.05, trials
    )  # the exact test never rejects too often


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([True], [True, False], r"one shape, got \(1, 1\), \(1, 2\) and \(1, 1\)"),
        ([], [], "right_a must be a 1-dimensional array of true and false, not empty"),
        ([0.5], [1], "right_a must be"),
        ([[True]], [True], "right_a must be a 1-dimensional"),
    ],
)
def test_bad_pairs(a: list[object], b: list[object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        paired_test(np.array(a), np.array(b))


# Seeds and items


def test_one_seed_is_the_paired_test() -> None:
    a, b = pair(40, 9, 3, 30)
    found, paired = hierarchical_difference(a[None], b[None]), paired_test(a, b)
    assert (found.mean, found.low, found.high, found.n) == (
        paired.difference,
        paired.low,
        paired.high,
        1,
    )


def test_seeds_that_disagree_widen_the_interval() -> None:
    a = np.zeros((4, 50), dtype=bool)
    a[:2] = True  # two seeds have all items right and two have none
    found = hierarchical_difference(a, np.zeros_like(a))
    assert found.mean == 0.5
    assert (found.low, found.high) == (
        0.0,
        1.0,
    )  # resampled means of the seeds reach 0 and 1, each with probability 1/16
    same = hierarchical_difference(np.ones((4, 50), dtype=bool), np.zeros((4, 50), dtype=bool))
    assert (same.mean, same.low, same.high, same.n) == (1.0, 1.0, 1.0, 4)


def test_resampling_matches_drawing_rows_and_columns() -> None:
    random = np.random.default_rng(6)
    a, b = random.random((2, 3, 40)) < 0.6
    found = hierarchical_difference(a, b, level=0.8, resamples=20_000)
    d, drawn = a.astype(float) - b, []
    for _ in range(20_000):
        drawn.append(d[random.integers(0, 3, 3)][:, random.integers(0, 40, 40)].mean())
    # Quantiles at 10 % of 20,000 draws, twice: 4 √2 √(0.1·0.9/R)/φ(1.28) = 0.07 standard
    # deviations; and a step is 1/120.
    assert (found.low, found.high) == pytest.approx(
        tuple(np.quantile(drawn, [0.1, 0.9])), abs=0.07 * float(np.std(drawn)) + 1 / 120
    )


def test_hierarchical_interval_covers() -> None:
    random, trials, held = np.random.default_rng(7), 300, 0
    for _ in range(trials):
        skill, hardness = random.normal(0.0, 0.3, (2, 5, 1)), random.normal(0.0, 1.0, (1, 1, 200))
        right = random.random((2, 5, 200)) < 1 / (1 + np.exp(-(skill + hardness)))
        found = hierarchical_difference(right[0], right[1], resamples=500)
        held += found.low <= 0.0 <= found.high
    assert (
        held / trials > 0.88
        # 5 seeds show 4/5 of their variance: ±1.75 instead of ±1.96 standard deviations covers
        # 0.92, less Student's share
    )


def test_shapes_of_seeds() -> None:
    with pytest.raises(ValueError, match="right_a must be a 2-dimensional"):
        hierarchical_difference(np.ones(3, dtype=bool), np.ones(3, dtype=bool))
    with pytest.raises(ValueError, match="one shape"):
        hierarchical_difference(np.ones((2, 3), dtype=bool), np.ones((3, 3), dtype=bool))
    with pytest.raises(ValueError, match="resamples must be at least 1, got 0"):
        hierarchical_difference(
            np.ones((2, 3), dtype=bool), np.ones((2, 3), dtype=bool), resamples=0
        )


def test_cells_that_do_not_count_change_nothing() -> None:
    random = np.random.default_rng(5)
    a, b, kept = (random.random((4, 60)) < share for share in (0.7, 0.5, 0.6))
    found = hierarchical_difference(a, b, kept)
    assert (
        found.mean == pytest.approx(a[kept].mean() - b[kept].mean())
        and found.low < found.mean < found.high
    )
    turned = hierarchical_difference(a ^ ~kept, b, kept)
    assert (turned.mean, turned.low, turned.high) == (found.mean, found.low, found.high)
    assert found.high - found.low > (whole := hierarchical_difference(a, b)).high - whole.low
    with pytest.raises(ValueError, match="at least one cell that counts, got none"):
        hierarchical_difference(a, b, np.zeros_like(kept))


# Resamples and permutations


def test_the_percentile_interval_of_a_mean_agrees_with_scipy() -> None:
    values = np.random.default_rng(2).normal(size=40)
    weights = cluster_weights(np.arange(40), 4000, seed=0)
    low, high = percentile_interval((weights[1:] @ values) / 40)
    expected = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    error = (
        values.std() / math.sqrt(40) * math.sqrt(0.025 * 0.975 / 4000) / scipy.stats.norm.pdf(1.96)
    )
    slack = 4 * math.sqrt(2) * error  # of two sample quantiles
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=slack)


def test_resamples_draw_clusters_whole_and_begin_with_the_items_as_they_are() -> None:
    clusters = np.array([3, 3, 7, 5, 5, 5])
    weights = cluster_weights(clusters, 50, seed=0)
    assert weights.shape == (51, 6) and (weights[0] == 1).all()
    for one in np.unique(clusters):
        assert (np.ptp(weights[:, clusters == one], axis=1) == 0).all()
    assert (weights[:, [0, 2, 3]].sum(axis=1) == 3).all()
    indices = drawn_items(5, 50, seed=0)
    assert (indices[0] == np.arange(5)).all() and set(np.unique(indices)) == set(range(5))


def test_few_permutations_are_all_gone_through_within_their_strata() -> None:
    strata = np.array([1, 0, 1, 0, 1])
    every = permutations(strata, 10, np.random.default_rng(0), exhaustive=12)
    rows = {tuple(row) for row in every}
    assert len(every) == len(rows) == 11 and tuple(range(5)) not in rows
    drawn = permutations(strata, 500, np.random.default_rng(0), exhaustive=11)
    assert {tuple(row) for row in drawn} == rows | {tuple(range(5))}
    assert (strata[drawn] == strata).all()


def test_clusters_are_exchanged_whole_with_those_of_their_size() -> None:
    clusters = np.array([4, 9, 4, 2, 9, 1, 2, 6])  # three pairs and two single items
    exchanged = cluster_permutations(clusters, 300, np.random.default_rng(0))
    taken = clusters[exchanged]
    assert (np.sort(exchanged, axis=1) == np.arange(8)).all()
    for one in np.unique(clusters):
        assert (np.ptp(taken[:, clusters == one], axis=1) == 0).all()
    pairs = {tuple(row) for row in taken[:, [0, 1, 3]]}
    assert pairs == set(itertools.permutations([4, 9, 2]))


def test_the_observed_order_counts_with_the_permutations() -> None:
    assert permutation_p_value(2.0, np.array([1.0, -2.0, 2.0 - 1e-13, 0.5])) == 3 / 5
    assert permutation_p_value(-9.0, np.zeros(99)) == 1 / 100


def test_the_detectable_difference_of_one_seed_and_of_several() -> None:
    one = scipy.stats.norm.ppf(0.975) + scipy.stats.norm.ppf(0.8)
    assert detectable_difference(0.1, 1) == pytest.approx(0.1 * one)
    three = scipy.stats.t.ppf(0.975, 2) + scipy.stats.t.ppf(0.8, 2)
    assert detectable_difference(0.1, 3) == pytest.approx(0.1 * three * math.sqrt(3 / 2))
    assert math.isnan(percentile_interval(np.array([math.nan, math.inf]))[0])


def test_an_interval_is_widened_by_what_is_known() -> None:
    narrow = Interval(0.5, 0.4, 0.6, 2)
    assert widened(narrow, Interval(0.0, 0.3, 0.5, 2)) == Interval(0.5, 0.3, 0.6, 2)
    assert widened(narrow, Interval(0.0, math.nan, math.nan, 1)) == narrow
