import math

import pytest
import torch
from problems import (
    DTYPE,
    linear_operator,
    normal_numbers,
    orthogonal,
    ragged_operator,
    random_matrix,
    seeded,
)
from torch import Tensor

from odestab.spectrum.density import SpectralDensity, spectral_density


def exact_density(values: Tensor, found: SpectralDensity) -> Tensor:
    """Eigenvalues, equally broadened."""
    gauss = torch.exp(-0.5 * ((found.points[:, None] - values) / found.width) ** 2)
    return gauss.mean(1) / (found.width * math.sqrt(2 * math.pi))


def test_few_distinct_eigenvalues_are_nodes_and_a_bulk_is_seen() -> None:
    values = torch.tensor([3.0] * 10 + [1.0] * 40 + [-2.0] * 50, dtype=DTYPE)
    q = orthogonal(100)
    found = spectral_density(
        linear_operator(q @ torch.diag(values) @ q.T), "symmetric", probes=40, steps=10
    )
    heavy = found.nodes[found.weights > 1e-10]
    assert (heavy[:, None] - torch.tensor([3.0, 1.0, -2.0], dtype=DTYPE)).abs().amin(
        1
    ).max() < 1e-10
    torch.testing.assert_close(
        found.weights.sum(2), torch.ones(40, 1, dtype=DTYPE), rtol=0, atol=1e-12
    )
    bulk = torch.where((found.nodes - 1).abs() < 1e-6, found.weights, 0.0).sum(2)[:, 0]
    assert float(bulk.mean()) == pytest.approx(0.4, abs=4 * float(bulk.std()) / math.sqrt(40))


@pytest.mark.parametrize("of", ["gram", "singular", "symmetric"])
def test_the_broadened_truth_is_within_the_error_bars(of: str) -> None:
    matrix = random_matrix(120, "non-normal")
    found = spectral_density(linear_operator(matrix), of, probes=30, steps=120, width=0.1)
    singular = torch.linalg.svdvals(matrix)
    exact = {
        "gram": singular**2,
        "singular": singular,
        "symmetric": torch.linalg.eigvalsh((matrix + matrix.T) / 2),
    }[of]
    truth = exact_density(exact, found)
    outside = (found.density[0] - truth).abs() > 4 * found.error[0] + 1e-3 * truth.max()
    assert float(outside.double().mean()) < 0.02
    assert abs(float(found.mean[0]) - float(exact.mean())) < 4 * float(found.mean_error[0])


def test_the_frobenius_norm_and_the_mass() -> None:
    matrix = normal_numbers(80, 80)
    found = spectral_density(linear_operator(matrix), "gram", probes=50, steps=40, points=2000)
    assert abs(80 * float(found.mean[0]) - float(matrix.square().sum())) < 4 * 80 * float(
        found.mean_error[0]
    )
    assert float(torch.trapezoid(found.density[0], found.points)) == pytest.approx(
        1.0, abs=0.02
    )  # the grid ends 5 % beyond the nodes


def test_error_falls_with_the_root_of_the_probes() -> None:
    operator = linear_operator(random_matrix(100, "non-normal"))
    few, many = (
        spectral_density(operator, probes=p, steps=30, points=torch.linspace(0, 4, 50), width=0.2)
        for p in (16, 256)
    )
    assert 2.5 < float(few.error.mean() / many.error.mean()) < 6.0  # 4 in the limit


def test_semicircle() -> None:
    n = 400
    a = torch.randn(n, n, generator=seeded(1), dtype=DTYPE)
    found = spectral_density(
        linear_operator((a + a.T) / math.sqrt(2 * n)), "symmetric", probes=20, steps=50, width=0.1
    )
    inside = found.points.abs() < 1.5
    law = (4 - found.points[inside] ** 2).sqrt() / (2 * math.pi)
    torch.testing.assert_close(
        found.density[0, inside], law, rtol=0, atol=0.06
    )  # √(log n/n) and the probes' spread


def test_a_batch_gives_each_example_what_it_gets_alone() -> None:
    large, small = random_matrix(60, "non-normal"), random_matrix(6, "non-normal", 1)
    points = torch.linspace(-3, 3, 40, dtype=DTYPE)
    for of in ("gram", "symmetric"):
        together = spectral_density(ragged_operator(large, small), of, steps=20, points=points)
        for example, matrix in enumerate((large, small)):
            alone = spectral_density(ragged_operator(matrix), of, steps=20, points=points)
            torch.testing.assert_close(
                together.density[example], alone.density[0], rtol=1e-10, atol=1e-12
            )


def test_an_example_that_is_not_finite_is_data() -> None:
    good, bad = random_matrix(20, "normal"), torch.full((20, 20), torch.nan, dtype=DTYPE)
    found = spectral_density(linear_operator(bad, good))
    assert found.density[0].isnan().all() and found.density[1].isfinite().all()


def test_wrong_input() -> None:
    operator = linear_operator(torch.eye(4, dtype=DTYPE))
    with pytest.raises(ValueError, match="of must be one of gram, singular, symmetric, got 'J'"):
        spectral_density(operator, "J")
    with pytest.raises(ValueError, match="probes must be at least 2, got 1"):
        spectral_density(operator, probes=1)
    with pytest.raises(ValueError, match=r"width must be > 0 and finite, got 0\.0"):
        spectral_density(operator, width=0.0)
    with pytest.raises(ValueError, match="points must be at least 2, got 1"):
        spectral_density(operator, points=1)
    for wrong, length in ((1.0, "0.0"), (math.nan, "nan"), (math.inf, "inf")):
        with pytest.raises(
            ValueError, match=f"points must be finite and differ, got a grid of length {length}"
        ):
            spectral_density(operator, points=torch.tensor([1.0, wrong]))
