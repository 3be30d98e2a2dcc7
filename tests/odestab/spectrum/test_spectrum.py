import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from problems import (
    DTYPE,
    EPS,
    MixingField,
    grcar,
    linear_operator,
    masked_state,
    normal_numbers,
    orthogonal,
    ragged_mask,
    ragged_operator,
    random_matrix,
    repeated,
    toeplitz,
    toeplitz_eigenvalues,
    toeplitz_logarithmic_norm,
    with_singular_values,
)
from torch import Tensor

import odestab as od
from odestab.operators.algebra import affine, inverse
from odestab.operators.jacobian import Jacobian
from odestab.spectrum import Spectrum, eigenvalues, full_spectrum, logarithmic_norm, singular_values

BIG = 64


@pytest.fixture(autouse=True)
def krylov_from_32_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small matrices take the dense path; a lower limit lets quick tests reach the Krylov path."""
    monkeypatch.setattr("odestab.spectrum.record.DENSE_LIMIT", 32)


def known_matrix(values: Tensor, departure: float = 0.0, seed: int = 0) -> Tensor:
    """Q (diag(values) + strictly upper part) Qᵀ: real eigenvalues that are known, normal unless
    `departure` is positive.
    """
    n = len(values)
    upper = departure * torch.triu(normal_numbers(n, n, seed=seed + 1), 1) / math.sqrt(n)
    q = orthogonal(n, seed)
    return q @ (torch.diag(values) + upper) @ q.T


def leading() -> Tensor:
    """Well separated leading values 5, −4.5, 4, …, 1 ahead of a bulk in [−0.5, 0.5]."""
    ahead = torch.tensor([5.0, -4.5, 4.0, -3.5, 3.0, -2.5, 2.0, 1.5], dtype=DTYPE)
    return torch.cat([ahead, torch.linspace(-0.5, 0.5, BIG - len(ahead), dtype=DTYPE)])


def assert_residuals(matrices: list[Tensor], spectrum: Spectrum) -> None:
    """The reported residuals are those of the returned pairs, and unit vectors were returned."""
    assert spectrum.right is not None
    vectors = spectrum.right.flatten(2)
    for example, matrix in enumerate(matrices):
        v = vectors[example, :, : len(matrix)].T
        residual = (matrix.to(v) @ v - v * spectrum.values[example]).norm(dim=0)
        atol = 100 * EPS * float(torch.linalg.matrix_norm(matrix, 2))
        torch.testing.assert_close(spectrum.residuals[example], residual, rtol=1e-6, atol=atol)
        torch.testing.assert_close(
            v.norm(dim=0), torch.ones(v.shape[1], dtype=DTYPE), rtol=0, atol=1e-12
        )


def distances(found: Tensor, exact: Tensor) -> Tensor:
    """From each found value to the nearest exact one."""
    return (found[:, None] - exact[None, :]).abs().amin(1)


@pytest.mark.parametrize(
    "which, center, expected",
    [
        ("LM", 0.0, [5.0, -4.5, 4.0, -3.5]),
        ("LM", 2.0, [-4.5, -3.5, -2.5, 5.0]),
        ("LM", -1.0, [5.0, 4.0, 3.0, -4.5]),
        ("LR", 0.0, [5.0, 4.0, 3.0, 2.0]),
    ],
)
@pytest.mark.parametrize("departure", [0.0, 2.0])
def test_leading_eigenvalues_in_order(
    which: str, center: float, expected: list[float], departure: float
) -> None:
    matrix = known_matrix(leading(), departure)
    small = known_matrix(leading()[:20], departure)
    for one in (matrix, small):
        found = eigenvalues(linear_operator(one), 4, which, center=center, rtol=1e-10)
        assert found.converged.all() and found.kind == ("estimate" if one is matrix else "exact")
        # |Δλ| ≤ κ(λ)·residual; κ is below 1e3 at this departure from normality
        torch.testing.assert_close(
            found.values[0].real, torch.tensor(expected, dtype=DTYPE), rtol=0, atol=1e-6
        )
        assert found.values.imag.abs().max() < 1e-6
        assert_residuals([one], found)
        assert found.center == (center if which == "LM" else None) and not found.complete


def test_error_is_within_the_condition_number_times_the_residual() -> None:
    matrix = known_matrix(leading(), 6.0)
    found = eigenvalues(linear_operator(matrix), 6, "LM", rtol=1e-5)
    values, left, right = scipy.linalg.eig(matrix.numpy(), left=True)
    condition = (
        np.linalg.norm(left, axis=0)
        * np.linalg.norm(right, axis=0)
        / abs((left.conj() * right).sum(0))
    )
    for value, residual in zip(found.values[0].numpy(), found.residuals[0].numpy(), strict=True):
        nearest = abs(values - value).argmin()
        assert abs(values[nearest] - value) <= 1.1 * condition[nearest] * residual + 1e-10


def test_complex_pairs_against_dense() -> None:
    matrix = normal_numbers(BIG, BIG) / math.sqrt(BIG)
    matrix[0, 0] += 3
    found = eigenvalues(linear_operator(matrix), 5, "LM", rtol=1e-9)
    exact = torch.linalg.eigvals(matrix)
    exact = exact[exact.abs().argsort(descending=True)[:6]]
    assert_residuals([matrix], found)
    good = found.converged[0]
    assert good[0] and (distances(found.values[0][good], exact) < 1e-5).all()
    assert torch.equal(
        found.converged, found.residuals <= 1e-9 * found.values.abs().amax(1, keepdim=True)
    )


@pytest.mark.slow
@pytest.mark.parametrize("size, solver", [(20, "dense"), (36, "factors"), (36, "gmres")])
def test_smallest_and_nearest_to_a_shift(
    size: int, solver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if solver == "gmres":
        monkeypatch.setattr("odestab.spectrum.record.FACTORIZED_LIMIT", 0)
    values = torch.cat(
        [
            torch.tensor([0.01, -0.02, 0.05], dtype=DTYPE),
            torch.linspace(1, 4, size - 3, dtype=DTYPE),
        ]
    )
    matrix = known_matrix(values, 0.1)
    found = eigenvalues(linear_operator(matrix), 3, "SM", rtol=1e-7)
    assert found.converged.all()
    torch.testing.assert_close(found.values[0].real, values[:3], rtol=0, atol=1e-7)
    assert_residuals([matrix], found)
    same = eigenvalues(linear_operator(matrix), 3, sigma=0.0, rtol=1e-7)
    assert torch.equal(found.values, same.values)
    near = eigenvalues(linear_operator(matrix), 2, sigma=0.04, rtol=1e-7)
    torch.testing.assert_close(
        near.values[0].real, torch.tensor([0.05, 0.01], dtype=DTYPE), rtol=0, atol=1e-7
    )
    assert near.converged.all() and near.center is None


def test_grcar() -> None:
    found = full_spectrum(linear_operator(grcar(100)))
    assert float(found.values.imag.max()) == pytest.approx(2.2617668, abs=5e-8)
    assert found.complete and found.kind == "exact" and found.converged.all()


@pytest.mark.parametrize("options", [{}, {"which": "LR"}, {"sigma": 0.3}])
def test_as_many_as_there_are_is_the_whole_spectrum(options: dict[str, Any]) -> None:
    matrix = torch.diag(-torch.arange(1.0, 7.0, dtype=DTYPE)).triu()
    whole, some = (eigenvalues(matrix, k, **options) for k in (6, 5))
    assert whole.complete and not some.complete
    assert od.stable_step_sizes(od.ExplicitEuler(), whole, [0.1]).certain.all()


def test_multiplicities_and_breakdown() -> None:
    """Three distinct eigenvalues: every Krylov space breaks down after three steps and is
    continued.
    """
    values = torch.tensor([3.0] * 4 + [-2.0] * 6 + [1.0] * (BIG - 10), dtype=DTYPE)
    operator = linear_operator(
        known_matrix(values), torch.eye(BIG, dtype=DTYPE), torch.zeros(BIG, BIG, dtype=DTYPE)
    )
    found = eigenvalues(operator, 6)
    torch.testing.assert_close(
        found.values[0].real, torch.tensor([3.0] * 4 + [-2.0] * 2, dtype=DTYPE), rtol=0, atol=1e-10
    )
    torch.testing.assert_close(found.values[1].real, torch.ones(6, dtype=DTYPE), rtol=0, atol=1e-12)
    assert (found.values[2] == 0).all() and found.converged.all()
    assert_residuals(
        [known_matrix(values), torch.eye(BIG, dtype=DTYPE), torch.zeros(BIG, BIG, dtype=DTYPE)],
        found,
    )


def test_a_bounded_space_is_honest() -> None:
    found = eigenvalues(
        linear_operator(random_matrix(BIG, "normal")), 8, dimension=20, max_matvecs=20
    )
    assert not found.converged.all() and found.matvecs <= 20 + 16
    assert_residuals([random_matrix(BIG, "normal")], found)


def test_full_spectrum_of_a_ragged_batch() -> None:
    small, large = normal_numbers(3, 3), normal_numbers(7, 7)
    found = full_spectrum(ragged_operator(small, large))
    assert (
        found.values.shape == (2, 7)
        and found.values[0, 3:].isnan().all()
        and found.residuals[0, 3:].isnan().all()
    )
    for example, matrix in enumerate((small, large)):
        listed = found.values[example, : len(matrix)]
        assert (listed.abs().diff() <= 0).all()
        exact = torch.linalg.eigvals(matrix)
        assert distances(listed, exact).max() < 1e-12 and distances(exact, listed).max() < 1e-12
    with pytest.raises(
        ValueError, match="full_spectrum forms dense matrices up to dimension 6, got 7; raise limit"
    ):
        full_spectrum(ragged_operator(small, large), limit=6)


@pytest.mark.parametrize("size", [12, 80])
def test_largest_singular_values_against_dense(size: int) -> None:
    matrices = [random_matrix(size, "non-normal"), random_matrix(size, "stiff"), grcar(size)]
    found = singular_values(linear_operator(*matrices), 3, rtol=1e-8)
    exact = torch.linalg.svdvals(torch.stack(matrices))[:, :3]
    assert found.converged.all() and found.left is not None and found.right is not None
    torch.testing.assert_close(
        found.values, exact, rtol=1e-10, atol=0
    )  # second order in the residual
    stacked = torch.stack(matrices)
    forward = (stacked @ found.right.mT).mT - found.values[..., None] * found.left
    backward = (stacked.mT @ found.left.mT).mT - found.values[..., None] * found.right
    residual = torch.maximum(forward.norm(dim=2), backward.norm(dim=2))
    assert ((found.residuals - residual).abs() <= 1e-6 * residual + 100 * EPS * exact[:, :1]).all()


def test_smallest_singular_value_against_dense() -> None:
    matrices = [
        torch.eye(30, dtype=DTYPE) - random_matrix(30, kind) for kind in ("normal", "non-normal")
    ]
    found = singular_values(linear_operator(*matrices), which="SM", rtol=1e-6)
    assert found.converged.all() and found.left is not None and found.right is not None
    for example, matrix in enumerate(matrices):
        exact = torch.linalg.svdvals(matrix)[-1]
        torch.testing.assert_close(found.values[example, 0], exact, rtol=1e-9, atol=0)
        u, v = found.left[example, 0], found.right[example, 0]
        torch.testing.assert_close(matrix @ v, found.values[example] * u, rtol=0, atol=1e-12)
        residual = (matrix.T @ u - found.values[example] * v).norm()
        torch.testing.assert_close(found.residuals[example, 0], residual, rtol=1e-3, atol=1e-12)


def test_largest_singular_value_of_an_inverse() -> None:
    matrix = torch.eye(40, dtype=DTYPE) - random_matrix(40, "non-normal")
    operator = inverse(linear_operator(matrix), 1e-10)
    exact = torch.linalg.svdvals(matrix.inverse())
    one = singular_values(operator, 1, rtol=1e-6)
    two = singular_values(operator, 2, rtol=1e-6)  # by Golub–Kahan on solves
    torch.testing.assert_close(one.values[0], exact[:1], rtol=1e-9, atol=0)
    torch.testing.assert_close(two.values[0], exact[:2], rtol=1e-9, atol=0)
    assert one.converged.all() and one.left is not None and one.right is not None
    image = matrix.inverse() @ one.right[0, 0]  # right enters A⁻¹, left leaves it
    assert (image - one.values[0] * one.left[0, 0]).norm() <= float(
        one.residuals[0, 0]
    ) * 1.01 + 1e-9
    assert (image.norm() - one.values[0, 0]).abs() <= 1e-6 * exact[0]


@pytest.mark.parametrize(
    "below, diagonal, above", [(1.0, -2.0, 1.0), (3.0, -1.0, 0.5), (-1.0, 0.0, 3.0)]
)
def test_logarithmic_norm_of_toeplitz_matrices(below: float, diagonal: float, above: float) -> None:
    n = 50
    found = logarithmic_norm(linear_operator(toeplitz(n, below, diagonal, above)), rtol=1e-9)
    expected = toeplitz_logarithmic_norm(n, below, diagonal, above)
    assert found.converged.all() and float(found.values[0, 0]) == pytest.approx(expected, abs=1e-9)
    assert found.right is not None
    v, matrix = found.right[0, 0], toeplitz(n, below, diagonal, above)
    assert float(v @ matrix @ v) == pytest.approx(
        expected, abs=1e-9
    )  # the numerical abscissa is attained there


def test_logarithmic_norm_of_advection_vanishes() -> None:
    """Central differences are skew-symmetric: ‖e^{tA}‖ = 1, though the norm of A itself is 2."""
    found = logarithmic_norm(linear_operator(-toeplitz(40, -1.0, 0.0, 1.0)))
    assert found.converged.all() and abs(float(found.values[0, 0])) < 10 * EPS


def test_toeplitz_eigenvalues() -> None:
    n, below, diagonal, above = 30, 2.0, -1.0, 0.5
    found = (
        full_spectrum(linear_operator(toeplitz(n, below, diagonal, above)))
        .values[0]
        .real.sort(descending=True)
        .values
    )
    # similar to a symmetric matrix by diag((b/a)^{j/2}), condition number 2^n = 1e9
    torch.testing.assert_close(
        found, toeplitz_eigenvalues(n, below, diagonal, above), rtol=0, atol=1e-5
    )


def test_results_do_not_depend_on_batch_mates_values() -> None:
    a, b, c = (random_matrix(40, "non-normal", s) for s in (1, 2, 3))
    for run in (lambda o: singular_values(o, 2), logarithmic_norm, lambda o: eigenvalues(o, 3)):
        first, second = run(linear_operator(a, b)), run(linear_operator(a, c))
        torch.testing.assert_close(
            first.values[0], second.values[0], rtol=1e-6, atol=0
        )  # the slower mate may add steps


@pytest.mark.parametrize(
    "quantity",
    [logarithmic_norm, singular_values, lambda o: singular_values(o, which="SM")],
    ids=["μ", "σ max", "σ min"],
)
def test_a_shorter_batch_mate_changes_nothing(quantity) -> None:
    # Fails if the Krylov space of all is bounded by the dimension of the shortest example.
    large, small = random_matrix(40, "non-normal"), random_matrix(4, "non-normal", 1)
    alone, together = quantity(ragged_operator(large)), quantity(ragged_operator(large, small))
    assert alone.converged.all() and together.converged.all()
    torch.testing.assert_close(together.values[0], alone.values[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(
        together.values[1], quantity(ragged_operator(small)).values[0], rtol=1e-6, atol=0
    )


@pytest.mark.parametrize(
    "quantity",
    [full_spectrum, lambda o: eigenvalues(o, 2), singular_values, logarithmic_norm],
    ids=["full", "eigenvalues", "singular values", "logarithmic norm"],
)
def test_an_example_that_is_not_finite_is_data_not_an_exception(quantity) -> None:
    # Fails if LAPACK is handed NaN: it raises for the whole batch.
    good, bad = random_matrix(6, "non-normal"), torch.full((6, 6), torch.nan, dtype=DTYPE)
    found = quantity(linear_operator(good, bad))
    assert found.converged[0].all() and not found.converged[1].any()
    torch.testing.assert_close(
        found.values[0], quantity(linear_operator(good)).values[0], rtol=1e-10, atol=0
    )


def test_padded_batch_equals_alone() -> None:
    mask = ragged_mask(5, 3)
    field, x = MixingField.random(mask, split=-1.0), masked_state(mask)
    together = full_spectrum(Jacobian(field, x)).values
    for example, length in enumerate((5, 3)):
        alone = dataclasses.replace(field, mask=torch.ones(1, length, dtype=torch.bool))
        values = full_spectrum(Jacobian(alone, x[example : example + 1, :length])).values[0]
        assert distances(values, together[example, : 3 * length]).max() < 1e-12


def test_shifted_operator_has_shifted_values() -> None:
    matrix = known_matrix(leading())
    shifted = eigenvalues(affine(linear_operator(matrix), 1.0, 0.5), 3, rtol=1e-10)
    torch.testing.assert_close(
        shifted.values[0].real,
        1 + 0.5 * torch.tensor([5.0, 4.0, 3.0], dtype=DTYPE),
        rtol=0,
        atol=1e-9,
    )


def test_wrong_input() -> None:
    operator = linear_operator(torch.eye(5, dtype=DTYPE))
    with pytest.raises(ValueError, match="which must be one of LM, LR, SM, got 'SR'"):
        eigenvalues(operator, 1, "SR")
    with pytest.raises(ValueError, match="which must be one of LM, SM, got 'LR'"):
        singular_values(operator, 1, "LR")
    for k in (0, 6):
        with pytest.raises(
            ValueError, match=rf"k must be in 1\.\.5, the smallest example's dimension, got {k}"
        ):
            eigenvalues(operator, k)


def test_more_values_than_the_largest_space_is_refused() -> None:
    # Fails with a RuntimeError about shapes if k is checked against n only.
    operator = linear_operator(random_matrix(BIG, "normal"))
    with pytest.raises(ValueError, match="max_dimension must be at least 12 for k = 12, got 10"):
        singular_values(operator, 12, max_dimension=10)
    with pytest.raises(ValueError, match="dimension must be at least 24 for k = 12, got 20"):
        eigenvalues(operator, 12, dimension=20)
    with pytest.raises(ValueError, match="max_matvecs must be at least 12 for k = 12, got 11"):
        eigenvalues(operator, 12, max_matvecs=11)


@pytest.mark.parametrize("kind", ["projector", "two zeros", "zero"])
def test_a_shift_that_is_an_eigenvalue(kind: str) -> None:
    # Fails if A − σI is inverted as it is: the whole list is NaN.
    q, n = orthogonal(BIG), BIG
    spectrum = torch.linspace(1, 4, n, dtype=DTYPE)
    spectrum[: {"projector": n // 2, "two zeros": 2, "zero": n}[kind]] = 0
    singular = q @ torch.diag(spectrum if kind != "projector" else spectrum.sign()) @ q.T
    regular = known_matrix(leading() + 0.7)
    shift = 0.25
    eye = shift * torch.eye(n, dtype=DTYPE)
    found = eigenvalues(linear_operator(singular + eye, regular + eye), 2, sigma=shift)
    assert found.converged.all()
    torch.testing.assert_close(
        found.values[0].real, torch.full((2,), shift, dtype=DTYPE), rtol=0, atol=1e-10
    )
    alone = eigenvalues(linear_operator(regular + eye), 2, sigma=shift)
    assert torch.equal(found.values[1], alone.values[0])


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("size", [20, BIG])
def test_smallest_singular_values_of_a_singular_matrix(k: int, size: int) -> None:
    """Rank n − 3; by a dense decomposition up to dimension 32, by regularised LU factors above."""
    values = torch.linspace(1, 4, size, dtype=DTYPE)
    values[:3] = 0
    matrix = orthogonal(size, 1) @ torch.diag(values) @ orthogonal(size, 2)
    found = singular_values(linear_operator(matrix, torch.eye(size, dtype=DTYPE)), k, "SM")
    assert found.converged.all()
    torch.testing.assert_close(found.values[0], values[:k], rtol=0, atol=1e-12)
    torch.testing.assert_close(found.values[1], torch.ones(k, dtype=DTYPE))


def test_condition_numbers_bound_what_rounding_does_to_eigenvalues() -> None:
    matrix = torch.tensor([[1.0, 1e6], [0.0, 2.0]], dtype=DTYPE)  # κ = (1 + 1e12)^½
    found = full_spectrum(
        linear_operator(
            matrix, torch.eye(2, dtype=DTYPE), torch.tensor([[1.0, 1.0], [0.0, 1.0]], dtype=DTYPE)
        )
    )
    assert found.uncertainty is not None
    expected = 10 * EPS * torch.linalg.matrix_norm(matrix) * (1 + 1e12) ** 0.5
    torch.testing.assert_close(found.uncertainty[0], expected.expand(2), rtol=1e-6, atol=0)
    assert (found.uncertainty[1] < 20 * EPS).all() and (found.uncertainty[2] >= 1).all()


@pytest.mark.parametrize("copies", [(2,), (8,), (1, 2, 8), (5, 40)])
@pytest.mark.parametrize("k", [2, 5, 9])
def test_every_copy_of_a_multiple_singular_value_is_found(copies: tuple[int, ...], k: int) -> None:
    # Fails if the complement of what one Krylov space holds is not searched: a space of 14 steps
    # has one copy of each value, and what comes after them is reported as converged.
    values = [repeated(40, multiplicity) for multiplicity in copies]
    matrices = [with_singular_values(v, seed) for seed, v in enumerate(values)]
    found = singular_values(linear_operator(*matrices), k, rtol=1e-8, max_dimension=36)
    expected = torch.stack([v[:k] for v in values])
    assert found.converged.all()
    torch.testing.assert_close(found.values, expected, rtol=1e-12, atol=0)
    assert found.right is not None and found.left is not None
    for vectors in (found.right, found.left):
        gram = vectors @ vectors.mT
        torch.testing.assert_close(
            gram, torch.eye(k, dtype=DTYPE).expand_as(gram), rtol=0, atol=1e-6
        )


def test_copies_are_found_on_real_tokens_and_whatever_the_batch_mates() -> None:
    long, short = (with_singular_values(repeated(n, 4), n) for n in (40, 12))
    together = singular_values(ragged_operator(long, short), 4, rtol=1e-6)
    for example, matrix in enumerate((long, short)):
        alone = singular_values(linear_operator(matrix), 4, rtol=1e-6)
        assert together.converged[example].all() and alone.converged.all()
        torch.testing.assert_close(together.values[example], alone.values[0], rtol=1e-9, atol=0)
        torch.testing.assert_close(together.values[example], torch.full((4,), 3.0, dtype=DTYPE))


def test_a_space_that_cannot_tell_the_next_value_has_not_converged() -> None:
    # Fails if a second search that ends before it sees the complement counts as one that found
    # nothing.
    crowded = torch.cat(
        [torch.tensor([5.0, 4.0], dtype=DTYPE), torch.linspace(3.999, 3.9, 198, dtype=DTYPE)]
    )
    operator = linear_operator(with_singular_values(crowded))
    assert not singular_values(operator, 2, rtol=1e-6, max_dimension=16).converged.any()
    enough = singular_values(operator, 2, rtol=1e-6)
    assert enough.converged.all()
    torch.testing.assert_close(enough.values[0], crowded[:2], rtol=1e-9, atol=0)
