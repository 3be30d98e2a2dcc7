import pytest
import torch
from problems import DTYPE, grcar, linear_operator, normal_numbers, ragged_operator, random_matrix
from torch import Tensor

from odestab.nonnormality.pseudospectrum import Pseudospectrum, pseudospectrum
from odestab.nonnormality.resolvent import resolvent

MODULE = "odestab.nonnormality.resolvent"
METHODS = ("dense", "inverse", "projected")
AWAY = torch.tensor(
    [2.5 + 0.5j, -2.0 + 1.0j, 0.3 + 4.0j, 4.0, -3.0 - 2.0j], dtype=torch.complex128
)  # GMRES is quick there


def grid(columns: int = 7, rows: int = 5) -> Tensor:
    re, im = (
        torch.linspace(-1.5, 3, columns, dtype=DTYPE),
        torch.linspace(-2.5, 2.5, rows, dtype=DTYPE),
    )
    return torch.complex(*torch.meshgrid(re, im, indexing="xy"))


def singular_values(matrix: Tensor, z: Tensor) -> Tensor:
    return torch.linalg.svdvals(z[..., None, None] * torch.eye(len(matrix), dtype=z.dtype) - matrix)


def exact(matrices: list[Tensor], z: Tensor) -> Tensor:
    return torch.stack([singular_values(matrix, z)[..., -1] for matrix in matrices])


def assert_residuals(found: Pseudospectrum, matrices: list[Tensor]) -> None:
    """Some singular value lies within the residual of each value."""
    for example, matrix in enumerate(matrices):
        gap = (
            (singular_values(matrix, found.grid) - found.sigma_min[example][..., None])
            .abs()
            .amin(-1)
        )
        assert (gap <= found.residuals[example] + 1e-12).all()


def test_dense_against_singular_value_decompositions() -> None:
    matrices = [random_matrix(40, "normal"), random_matrix(40, "non-normal"), grcar(40)]
    found = pseudospectrum(linear_operator(*matrices), grid())
    assert found.sigma_min.shape == (3, 5, 7) and found.kind == "exact" and found.converged.all()
    torch.testing.assert_close(found.sigma_min, exact(matrices, grid()), rtol=1e-6, atol=1e-13)
    assert_residuals(found, matrices)


def test_normal_matrices_have_discs_about_the_eigenvalues() -> None:
    matrix = random_matrix(20, "normal")
    found = pseudospectrum(linear_operator(matrix), grid())
    distance = (grid()[..., None] - torch.linalg.eigvals(matrix)).abs().amin(-1)
    torch.testing.assert_close(found.sigma_min[0], distance, rtol=0, atol=1e-12)


def test_grids_of_any_shape_and_mirrored_points() -> None:
    operator = linear_operator(grcar(12))
    square = pseudospectrum(operator, grid())
    flat = pseudospectrum(operator, grid().flatten())
    assert torch.equal(square.sigma_min.flatten(), flat.sigma_min.flatten())
    assert torch.equal(
        square.sigma_min, square.sigma_min.flip(1)
    )  # the grid is symmetric, and A real
    real = pseudospectrum(operator, torch.tensor(4.0, dtype=DTYPE))
    assert real.sigma_min.shape == (1,) and real.grid.is_complex()
    assert float(real.sigma_min[0]) == pytest.approx(
        float(exact([grcar(12)], torch.tensor([4.0 + 0j]).to(torch.complex128))[0, 0]), rel=1e-12
    )


@pytest.mark.parametrize("restart", [80, 4])
def test_inverse_agrees_with_dense(restart: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{MODULE}.RESTART", restart)
    matrices = [random_matrix(40, "normal"), random_matrix(40, "non-normal")]
    operator = linear_operator(*matrices)
    found, dense = (
        pseudospectrum(operator, AWAY, "inverse", rtol=1e-3),
        pseudospectrum(operator, AWAY, "dense", rtol=1e-8),
    )
    assert found.kind == "estimate" and found.converged.all()
    assert (found.sigma_min >= dense.sigma_min * (1 - 1e-9)).all()  # upper bounds
    torch.testing.assert_close(
        found.sigma_min, dense.sigma_min, rtol=1e-4, atol=0
    )  # residual² over a gap
    assert_residuals(found, matrices)
    assert found.matvecs > 2 * len(AWAY)


def test_projected_values_are_upper_bounds_that_fall_with_the_space() -> None:
    matrices = [random_matrix(40, "non-normal"), grcar(40)]
    operator, truth = linear_operator(*matrices), exact(matrices, grid())
    before = torch.full_like(truth, torch.inf)
    for steps in (5, 15, 30):
        found = pseudospectrum(operator, grid(), "projected", steps=steps)
        assert found.kind == "bound" and found.matvecs == 2 * steps + 1
        assert (found.sigma_min >= truth - 1e-12).all() and (
            found.sigma_min <= before + 1e-12
        ).all()
        assert torch.equal(found.converged, found.residuals <= 1e-4 * found.sigma_min)
        assert_residuals(found, matrices)
        before = found.sigma_min


def test_projected_is_exact_where_the_space_is_used_up() -> None:
    """The whole space of one example, an early breakdown in another: zero rows of the basis must
    not look like singular values |z|.
    """
    rank_one = torch.zeros(12, 12, dtype=DTYPE)
    rank_one[0, 1:] = 1.0
    matrices = [random_matrix(8, "non-normal"), rank_one]
    found = pseudospectrum(ragged_operator(*matrices), grid(), "projected", steps=60)
    assert found.converged.all()
    torch.testing.assert_close(found.sigma_min, exact(matrices, grid()), rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_examples_get_what_they_get_alone(method: str) -> None:
    matrices = [random_matrix(30, "non-normal"), grcar(12), random_matrix(40, "normal", 1)]
    together = pseudospectrum(ragged_operator(*matrices), AWAY, method, rtol=1e-3)
    for example, matrix in enumerate(matrices):
        alone = pseudospectrum(ragged_operator(matrix), AWAY, method, rtol=1e-3)
        if method == "projected":  # its space is as large as the largest example asks
            alone = pseudospectrum(
                ragged_operator(matrix), AWAY, method, rtol=1e-3, steps=min(60, len(matrix))
            )
        torch.testing.assert_close(
            together.sigma_min[example], alone.sigma_min[0], rtol=1e-10, atol=1e-12
        )


@pytest.mark.parametrize("method", METHODS)
def test_what_is_not_finite_is_flagged_for_its_example_alone(method: str) -> None:
    good, bad = random_matrix(12, "non-normal"), torch.full((12, 12), torch.nan, dtype=DTYPE)
    found = pseudospectrum(linear_operator(bad, good), AWAY, method)
    assert found.sigma_min[0].isnan().all() and not found.converged[0].any()
    alone = pseudospectrum(linear_operator(good), AWAY, method)
    torch.testing.assert_close(found.sigma_min[1], alone.sigma_min[0], rtol=1e-10, atol=1e-12)
    assert found.converged[1].all()


def test_single_precision_keeps_its_dtype() -> None:
    matrix = random_matrix(20, "non-normal")
    single = linear_operator(matrix).cast(torch.float32)
    for method in METHODS:
        found = pseudospectrum(single, AWAY, method, rtol=1e-2)
        assert found.sigma_min.dtype == torch.float32 and found.residuals.dtype == torch.float32
        torch.testing.assert_close(
            found.sigma_min.double(), exact([matrix], AWAY), rtol=1e-3, atol=1e-5
        )


def test_auto_takes_the_dense_way_up_to_its_limit_and_a_prepared_resolvent_is_shared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    operator = linear_operator(normal_numbers(10, 10))
    prepared = resolvent(operator)
    first, again = pseudospectrum(operator, AWAY), pseudospectrum(operator, AWAY, prepared=prepared)
    assert (
        prepared.forms is not None
        and first.kind == again.kind == "exact"
        and torch.equal(first.sigma_min, again.sigma_min)
    )
    monkeypatch.setattr(f"{MODULE}.DENSE_LIMIT", 9)
    assert (
        resolvent(operator).forms is None
        and pseudospectrum(operator, AWAY, rtol=1e-2).kind == "estimate"
    )


def test_leading_eigenvalues_lie_above_the_real_axis() -> None:
    matrices = [random_matrix(40, "non-normal"), random_matrix(6, "normal")]
    operator = ragged_operator(*matrices)
    for which, size in (("LR", torch.real), ("LM", torch.abs)):
        found = resolvent(operator).leading_eigenvalues(which, 5)
        assert found.shape == (2, 5) and (found.imag >= 0).all()
        for example, matrix in enumerate(matrices):
            values = torch.linalg.eigvals(matrix)
            expected = size(values[values.imag >= 0]).sort(descending=True).values[:5]
            torch.testing.assert_close(
                size(found[example, : len(expected)]), expected, rtol=0, atol=1e-9
            )
        free = resolvent(operator, "inverse").leading_eigenvalues(which, 3)
        torch.testing.assert_close(size(free[:, 0]), size(found[:, 0]), rtol=1e-6, atol=1e-6)


def test_wrong_input() -> None:
    operator = linear_operator(torch.eye(3, dtype=DTYPE))
    with pytest.raises(
        ValueError, match=r"grid must hold at least one point and be finite, got shape \(0,\)"
    ):
        pseudospectrum(operator, torch.zeros(0, dtype=torch.complex128))
    with pytest.raises(ValueError, match="grid must hold at least one point and be finite"):
        pseudospectrum(operator, torch.tensor([complex("nan")], dtype=torch.complex128))
    with pytest.raises(
        ValueError, match="method must be one of auto, dense, inverse, projected, got 'guess'"
    ):
        pseudospectrum(operator, AWAY, "guess")
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        pseudospectrum(operator, AWAY, "projected", steps=0)
    with pytest.raises(ValueError, match=r"rtol must be in \(0, 1\), got 2\.0"):
        pseudospectrum(operator, AWAY, rtol=2.0)
    with pytest.raises(
        ValueError, match="method must be one of auto, dense, inverse, got 'projected'"
    ):
        resolvent(operator, "projected")
