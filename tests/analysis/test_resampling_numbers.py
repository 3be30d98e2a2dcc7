"""The mean of numbers over seeds and items has the interval of a difference of accuracies."""

import numpy as np
import pytest

from analysis.ground.resampling import hierarchical_difference, hierarchical_mean


def test_a_mean_of_differences_has_their_interval() -> None:
    random = np.random.default_rng(9)
    a, b, kept = (random.random((4, 60)) < share for share in (0.7, 0.5, 0.6))
    clusters = np.arange(60) // 3
    found = hierarchical_mean(np.where(kept, a.astype(float) - b, np.nan), kept, clusters)
    expected = hierarchical_difference(a, b, kept, clusters)
    assert (found.low, found.high, found.n) == (expected.low, expected.high, 4)
    assert found.mean == pytest.approx(expected.mean, abs=1e-15)
    tripled = hierarchical_mean(3 * (a.astype(int) - b), kept, clusters)
    assert (tripled.low, tripled.high) == pytest.approx((3 * found.low, 3 * found.high))


def test_numbers_that_are_all_equal_have_no_width() -> None:
    found = hierarchical_mean(np.full((3, 5), 0.25))
    assert (found.mean, found.low, found.high, found.n) == (0.25, 0.25, 0.25, 3)


def test_resampling_of_numbers_matches_drawing_rows_and_columns() -> None:
    random = np.random.default_rng(6)
    values = random.normal(size=(3, 40)) + random.normal(size=(3, 1))
    found = hierarchical_mean(values, level=0.8, resamples=20_000)
    drawn = [
        values[random.integers(0, 3, 3)][:, random.integers(0, 40, 40)].mean()
        for _ in range(20_000)
    ]
    # quantiles at 10 % of 20,000 draws, twice: 4 √2 √(0.1·0.9/R)/φ(1.28) = 0.07 deviations
    assert (found.low, found.high) == pytest.approx(
        tuple(np.quantile(drawn, [0.1, 0.9])), abs=0.07 * float(np.std(drawn))
    )


@pytest.mark.parametrize(
    ("values", "kept", "message"),
    [
        (np.ones(3), None, r"values must be \(seeds, N\) as kept is, got shapes \(3,\)"),
        (np.ones((2, 3)), np.ones((3, 2)), r"got shapes \(2, 3\) and \(3, 2\)"),
        (np.ones((2, 3)), np.zeros((2, 3)), "at least one cell that counts, got none"),
        (np.full((1, 2), np.nan), None, "values must be finite in every cell that counts"),
    ],
)
def test_numbers_without_a_mean_are_refused(
    values: np.ndarray, kept: np.ndarray | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        hierarchical_mean(values, kept)
