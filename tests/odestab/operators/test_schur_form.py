import pytest
import torch
from problems import DTYPE, EPS, grcar, jordan_block, normal_numbers, random_matrix
from torch import Tensor

from odestab.operators import schur_form as module
from odestab.operators.schur_form import SchurForm, ShiftedTriplets, schur_form


@pytest.fixture(params=["decomposed", "Lanczos"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Small matrices take singular value decompositions; another limit sends them all one way."""
    monkeypatch.setattr(module, "DIRECT", 10**6 if request.param == "decomposed" else 0)
    return request.param


def points(*zs: complex) -> Tensor:
    return torch.tensor(zs, dtype=torch.complex128)


def scattered(count: int, seed: int = 0) -> Tensor:
    return 2 * torch.view_as_complex(normal_numbers(count, 2, seed=seed))


def shifted(matrix: Tensor, z: Tensor) -> Tensor:
    return z[:, None, None] * torch.eye(len(matrix), dtype=z.dtype) - matrix


def triplets(matrix: Tensor, z: Tensor, rtol: float = 1e-6, **options: int) -> ShiftedTriplets:
    return schur_form(matrix).smallest_singular(z, normal_numbers(len(matrix)), rtol, **options)


def test_the_form_is_triangular_and_unitarily_similar() -> None:
    matrix = random_matrix(30, "non-normal")
    form = schur_form(matrix)
    assert (form.triangle.tril(-1) == 0).all()
    torch.testing.assert_close(
        torch.linalg.svdvals(form.triangle), torch.linalg.svdvals(matrix), rtol=0, atol=1e3 * EPS
    )
    z = scattered(5)
    torch.testing.assert_close(
        torch.linalg.svdvals(shifted(form.triangle, z)),
        torch.linalg.svdvals(shifted(matrix, z)),
        rtol=0,
        atol=1e3 * EPS,
    )
    distance = (form.eigenvalues[:, None] - torch.linalg.eigvals(matrix)).abs().amin(1)
    assert distance.max() < 1e-9


@pytest.mark.parametrize("n", [1, 5, module.LEAF, 2 * module.LEAF + 7, 130])
@pytest.mark.parametrize("adjoint", [False, True])
def test_blocked_solves_are_those_of_lapack(n: int, adjoint: bool) -> None:
    form, z = (
        SchurForm(torch.triu(torch.view_as_complex(normal_numbers(n, n, 2))) / n**0.5),
        3 + scattered(7),
    )
    b = torch.view_as_complex(normal_numbers(n, 7, 2, seed=3))
    matrices = shifted(form.triangle, z)
    expected = torch.linalg.solve(matrices.mH if adjoint else matrices, b.T[..., None])[..., 0].T
    torch.testing.assert_close(
        form.solve(form.shifted(z), b, adjoint), expected, rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize(
    "matrix",
    [random_matrix(40, "normal"), random_matrix(40, "non-normal"), grcar(40)],
    ids=["normal", "not", "grcar"],
)
def test_values_residuals_and_slopes(matrix: Tensor, way: str) -> None:
    z = scattered(60)
    found = triplets(matrix, z)
    exact = torch.linalg.svdvals(shifted(matrix, z))
    assert found.converged.all()
    # an upper bound up to rounding, and its error is of second order in the residual
    assert ((exact[:, -1] - found.values) <= found.rounding).all()
    assert (found.values - exact[:, -1] <= 1e-8 * exact[:, -1] + found.rounding).all()
    assert ((exact - found.values[:, None]).abs().amin(1) <= found.residuals + found.rounding).all()
    step = (
        1e-5  # truncation step² and rounding eps/step, both over the gap to the next singular value
    )
    clear = (exact[:, -2] - exact[:, -1] > 0.05) & (exact[:, -1] > 0.01)
    assert clear.sum() > 10
    for direction in (1.0, 1j):
        ahead, behind = (
            torch.linalg.svdvals(shifted(matrix, z + sign * step * direction))[:, -1]
            for sign in (1, -1)
        )
        slope = (found.slopes.conj() * direction).real
        assert ((ahead - behind) / (2 * step) - slope)[clear].abs().max() < 1e-4


def test_jordan_block_to_full_relative_accuracy() -> None:
    """σ_min(zI − N) = |z|ⁿ(1 − |z|²) up to a relative |z|²ⁿ: far below eps‖N‖ too, as nothing is
    subtracted on the way.
    """
    n = 32
    z = points(0.5, 0.5j, 0.25)
    found = triplets(jordan_block(n, 0.0), z, 1e-8)
    size = z.abs()
    torch.testing.assert_close(found.values, size**n * (1 - size**2), rtol=1e-9, atol=0)
    assert float(found.values[0]) == pytest.approx(1.7462298e-10, rel=1e-7)
    assert found.converged.all()


def test_eigenvalues_and_overflow_give_zero(way: str) -> None:
    at_eigenvalue = triplets(
        torch.diag(torch.tensor([1.0, 2.0, 3.0], dtype=DTYPE)), points(2.0, 0.0)
    )
    assert float(at_eigenvalue.values[0]) <= float(at_eigenvalue.rounding[0]) and float(
        at_eigenvalue.values[1]
    ) == pytest.approx(1.0)
    zero = triplets(torch.zeros(3, 3, dtype=DTYPE), points(0.0, 1.0))
    torch.testing.assert_close(
        zero.values, torch.tensor([0.0, 1.0], dtype=DTYPE), atol=1e-70, rtol=1e-14
    )
    tiny = triplets(jordan_block(400, 0.0), points(0.1, 0.01))  # 10⁻⁴⁰⁰ and 10⁻⁸⁰⁰
    assert (tiny.values <= tiny.rounding).all() and tiny.converged.all()
    assert all(
        found.values.isfinite().all() and found.residuals.isfinite().all()
        for found in (at_eigenvalue, zero, tiny)
    )


def test_too_few_steps_are_flagged_and_leave_an_upper_bound() -> None:
    matrix, z = grcar(60), points(1 + 2j, -1.0, 4.0)
    found = triplets(matrix, z, 1e-10, max_steps=3)
    exact = torch.linalg.svdvals(shifted(matrix, z))[:, -1]
    assert not found.converged.all() and (found.values >= exact * (1 - 1e-8)).all()
    assert torch.equal(found.converged, found.residuals <= 1e-10 * found.values + found.rounding)


def test_a_point_does_not_depend_on_the_others(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, z = random_matrix(30, "non-normal"), scattered(20)
    together = triplets(matrix, z)
    monkeypatch.setattr(module, "CHUNK_BYTES", 1)  # one point at a time
    alone = triplets(matrix, z)
    torch.testing.assert_close(alone.values, together.values, rtol=1e-12, atol=1e-15)


def test_a_matrix_that_is_not_finite_has_no_values() -> None:
    found = triplets(torch.full((30, 30), torch.nan, dtype=DTYPE), scattered(3))
    assert found.values.isnan().all() and found.slopes.isnan().all() and not found.converged.any()
