import math
import sys

import pytest
import torch
from problems import (
    DTYPE,
    EPS,
    grcar,
    jordan_block,
    linear_operator,
    normal_numbers,
    orthogonal,
    ragged_operator,
    random_matrix,
    toeplitz,
)
from torch import Tensor

from odestab.nonnormality.numerical_range import numerical_range
from odestab.spectrum import logarithmic_norm


@pytest.fixture(params=["dense", "lanczos"])
def path(request, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "lanczos":
        monkeypatch.setattr("odestab.spectrum.record.DENSE_LIMIT", 4)
    return request.param


@pytest.mark.parametrize("n", [5, 32])
def test_jordan_block_is_a_disc(n: int, path: str) -> None:
    found = numerical_range(linear_operator(jordan_block(n, 0.0)), 24, rtol=1e-9)
    radius = math.cos(math.pi / (n + 1))
    torch.testing.assert_close(
        found.boundary.abs(), torch.full_like(found.support, radius), rtol=0, atol=1e-9
    )
    assert float(found.radius[0]) == pytest.approx(radius, abs=1e-9) and found.converged.all()
    assert found.kind == {"dense": "exact", "lanczos": "estimate"}[path]


def test_toeplitz_is_an_ellipse(path: str) -> None:
    """b e^{iθ} + a + c e^{−iθ} on the interval: semi-axes (b + c) cos(π/(n+1)) and (b − c)
    cos(π/(n+1)) about a.
    """
    n, below, diagonal, above = 30, 2.0, -1.0, 0.5
    found = numerical_range(linear_operator(toeplitz(n, below, diagonal, above)), 40, rtol=1e-9)
    shrink = math.cos(math.pi / (n + 1))
    support = diagonal * torch.cos(found.angles) + shrink * torch.hypot(
        (below + above) * torch.cos(found.angles), (below - above) * torch.sin(found.angles)
    )
    torch.testing.assert_close(found.support[0], support, rtol=0, atol=1e-9)
    ellipse = ((found.boundary.real - diagonal) / (below + above)) ** 2 + (
        found.boundary.imag / (below - above)
    ) ** 2
    torch.testing.assert_close(
        ellipse[0], torch.full_like(ellipse[0], shrink**2), rtol=0, atol=1e-7
    )  # first order in the residual


def test_grcar_and_the_logarithmic_norm(path: str) -> None:
    operator = linear_operator(grcar(100))
    found = numerical_range(operator, 4, rtol=1e-7)
    assert -float(found.support[0, 2]) == pytest.approx(-0.6291, abs=5e-5)
    assert float(found.support[0, 0]) == pytest.approx(2.99388, abs=5e-6)
    assert float(found.support[0, 0]) == pytest.approx(
        float(logarithmic_norm(operator, 1e-7).values[0, 0]), abs=1e-9
    )


def test_two_by_two_is_the_disc_of_half_the_entry() -> None:
    found = numerical_range(linear_operator(torch.tensor([[0.0, 6.0], [0.0, 0.0]], dtype=DTYPE)), 9)
    torch.testing.assert_close(
        found.boundary.abs(), torch.full_like(found.support, 3.0), rtol=1e-12, atol=0
    )


def test_normal_matrix_is_the_hull_of_its_eigenvalues(path: str) -> None:
    matrix = random_matrix(20, "normal")
    found = numerical_range(linear_operator(matrix), 16, rtol=1e-10)
    values = torch.linalg.eigvals(matrix)
    support = (torch.exp(-1j * found.angles)[:, None] * values).real.amax(1)
    torch.testing.assert_close(found.support[0], support, rtol=0, atol=1e-9)


def test_radius_stands_between_spectral_radius_and_norm() -> None:
    matrices = [random_matrix(24, "non-normal", seed) for seed in range(3)]
    radius = numerical_range(linear_operator(*matrices), 64).radius
    for matrix, r in zip(matrices, radius.tolist(), strict=True):
        norm = float(torch.linalg.matrix_norm(matrix, 2))
        grain = 1 / math.cos(math.pi / 64)  # between two of the angles
        assert (
            float(torch.linalg.eigvals(matrix).abs().max()) <= r * grain
            and r <= norm <= 2 * r * grain
        )


def test_identity_of_support_boundary_and_orthogonal_similarity(path: str) -> None:
    matrix, q = random_matrix(24, "non-normal"), orthogonal(24, 9)
    found = numerical_range(linear_operator(matrix, q @ matrix @ q.T), 10, rtol=1e-8)
    torch.testing.assert_close(
        (torch.exp(-1j * found.angles) * found.boundary).real, found.support, rtol=0, atol=1e-10
    )
    torch.testing.assert_close(found.support[0], found.support[1], rtol=0, atol=1e-8)


def test_any_angles_and_conjugate_symmetry() -> None:
    operator = linear_operator(random_matrix(12, "non-normal"))
    angles = torch.tensor([0.3, 2 * math.pi - 0.3, 4.0], dtype=DTYPE)
    found, all_around = numerical_range(operator, angles), numerical_range(operator, 8)
    assert found.boundary[0, 0] == pytest.approx(
        complex(found.boundary[0, 1].conj()), abs=100 * EPS
    )
    torch.testing.assert_close(
        all_around.boundary[0, 1:4], all_around.boundary[0, 5:].flip(0).conj(), rtol=0, atol=0
    )


def test_a_batch_gives_each_example_what_it_gets_alone(path: str) -> None:
    matrices: list[Tensor] = [random_matrix(20, "non-normal"), random_matrix(8, "non-normal", 1)]
    together = numerical_range(ragged_operator(*matrices), 6)
    for example, matrix in enumerate(matrices):
        alone = numerical_range(ragged_operator(matrix), 6)
        torch.testing.assert_close(together.support[example], alone.support[0], rtol=0, atol=1e-10)


def test_rounds_over_angles_and_large_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the dense limit the support is short by residual²/gap, and it does not matter how many
    angles share a round.
    """
    matrix = random_matrix(300, "non-normal")
    operator = linear_operator(matrix)
    together = numerical_range(operator, 6)
    monkeypatch.setattr(
        sys.modules["odestab.nonnormality.numerical_range"], "LARGEST_BASIS", 1
    )  # one angle a round; the root hides the module's name
    alone = numerical_range(operator, 6)
    torch.testing.assert_close(alone.support, together.support, rtol=0, atol=1e-10)
    turned = torch.exp(-1j * together.angles)[:, None, None] * matrix
    short = torch.linalg.eigvalsh((turned + turned.mH) / 2)[:, -1] - together.support[0]
    assert (
        together.converged.all() and short.min() > -1e-9 and (short <= together.residuals[0]).all()
    )


def test_an_example_that_is_not_finite_is_data(path: str) -> None:
    bad = torch.full((12, 12), torch.nan, dtype=DTYPE)
    found = numerical_range(linear_operator(bad, normal_numbers(12, 12)), 6)
    assert (
        found.support[0].isnan().all() and not found.converged[0].any() and found.converged[1].all()
    )


def test_wrong_input() -> None:
    operator = linear_operator(torch.eye(3, dtype=DTYPE))
    with pytest.raises(ValueError, match="angles must be at least 1, got 0"):
        numerical_range(operator, 0)
    with pytest.raises(ValueError, match=r"angles must be finite, at least one, got \[\]"):
        numerical_range(operator, torch.zeros(0, dtype=DTYPE))
