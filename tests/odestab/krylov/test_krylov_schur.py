import pytest
import torch
from problems import (
    DTYPE,
    EPS,
    jordan_block,
    normal_numbers,
    orthogonal,
    random_matrix,
    rotation_scaling,
    seeded,
)
from torch import Tensor

from odestab.krylov import RitzPairs, Wanted, krylov_schur

N = 90


def times(matrices: Tensor):
    return lambda v: (matrices @ v[..., None])[..., 0]


def largest(k: int, rtol: float = 1e-9) -> Wanted:
    return Wanted(k, torch.abs, lambda values: rtol * values.abs().amax(1, keepdim=True))


def run(matrices: Tensor, k: int = 5, rtol: float = 1e-9, **options) -> RitzPairs:
    n = matrices.shape[-1]
    fresh = (
        normal_numbers(1, n, seed=7).expand(len(matrices), n)
        if options.pop("confirm", False)
        else None
    )
    return krylov_schur(
        times(matrices),
        normal_numbers(1, n).expand(len(matrices), n),
        largest(k, rtol),
        confirm=fresh,
        **options,
    )


def residuals(matrices: Tensor, found: RitzPairs) -> Tensor:
    return (
        (matrices.to(found.vectors) @ found.vectors.mT).mT - found.values[..., None] * found.vectors
    ).norm(dim=2)


def clustered(values: list[float]) -> Tensor:
    """A normal matrix with these leading eigenvalues and a bulk in [−1, 1]."""
    d = torch.cat(
        [torch.tensor(values, dtype=DTYPE), torch.linspace(-1, 1, N - len(values), dtype=DTYPE)]
    )
    q = orthogonal(N)
    return q @ torch.diag(d) @ q.T


@pytest.mark.parametrize("confirm", [False, True])
@pytest.mark.parametrize("dimension", [12, 24, 60])
def test_leading_eigenvalues_for_any_space(dimension: int, confirm: bool) -> None:
    matrices = torch.stack(
        [normal_numbers(N, N, seed=s) / N**0.5 + clustered([4.0, -3.0, 2.5]) for s in range(3)]
    )
    found = run(matrices, dimension=dimension, max_products=3000, confirm=confirm)
    exact = torch.linalg.eigvals(matrices)
    exact = exact.gather(1, exact.abs().argsort(dim=1, descending=True)[:, :5])
    assert found.converged.all() and found.total >= int(found.products.max())
    # |Δλ| ≤ κ(λ)·residual, κ below 100 here
    torch.testing.assert_close(found.values.abs(), exact.abs(), rtol=0, atol=100 * 1e-9 * 4)
    assert (residuals(matrices, found) <= 1.1e-9 * 5 + 1e3 * EPS).all()
    assert (found.vectors.norm(dim=2) - 1).abs().max() < 1e-10


def test_no_member_of_a_cluster_is_missing() -> None:
    # Fails without the search of the complement: one Krylov space holds one vector of a multiple
    # eigenvalue, until rounding helps.
    leading = [3.0, 3.0, 3.0 - 1e-12, 2.5, 2.5 - 1e-7, 2.5 - 2e-7]
    matrices = clustered([*leading, 1.5])[None]
    alone = run(matrices, 6, 1e-5)
    confirmed = run(matrices, 6, 1e-5, confirm=True)
    assert (
        alone.converged.all()
        and (alone.values[0].real.sort(descending=True).values - torch.tensor(leading)).abs().max()
        > 0.5
    )
    torch.testing.assert_close(
        confirmed.values[0].real, torch.tensor(leading, dtype=DTYPE), rtol=0, atol=1e-6
    )
    assert confirmed.converged.all()


def test_batch_mates_change_nothing() -> None:
    matrices = torch.stack(
        [clustered([4.0, 3.0, 2.0, 1.8, 1.7]), normal_numbers(N, N) / N**0.5, jordan_block(N, 0.5)]
    )
    together = run(matrices, rtol=1e-6, dimension=24, confirm=True)
    for i in range(3):
        alone = run(matrices[i : i + 1], rtol=1e-6, dimension=24, confirm=True)
        torch.testing.assert_close(together.values[i], alone.values[0], rtol=1e-10, atol=1e-10)
        assert together.products[i] == alone.products[0]


def test_a_defective_matrix_is_reported_within_the_budget() -> None:
    """Every point near the spectrum is an eigenvalue to a tiny residual: values may be far off,
    residuals are not.
    """
    matrix = jordan_block(N, 0.5)[None]
    found = run(matrix, 4, 1e-8, dimension=30, max_products=400)
    assert found.total <= 400 and found.values.isfinite().all()
    reached = residuals(matrix, found)
    assert bool(found.converged[0]) == bool((reached <= 1e-8 * found.values.abs().max()).all())


@pytest.mark.parametrize("budget", [3, 7, 40])
def test_a_spent_budget_returns_what_was_found(budget: int) -> None:
    matrices = random_matrix(N, "non-normal")[None]
    found = run(matrices, 5, 1e-12, dimension=20, max_products=budget)
    assert found.total == budget and not found.converged.any()
    assert found.values[0, : min(5, budget)].isfinite().all()
    assert (
        residuals(matrices, found)[0, : min(5, budget)]
        <= 2 * torch.linalg.matrix_norm(matrices[0], 2)
    ).all()


def test_zero_and_identity_matrices_end_at_once() -> None:
    matrices = torch.stack([torch.zeros(N, N, dtype=DTYPE), torch.eye(N, dtype=DTYPE)])
    found = run(matrices, 3, dimension=20, confirm=True)
    assert found.converged.all()
    torch.testing.assert_close(
        found.values.real, torch.tensor([[0.0] * 3, [1.0] * 3], dtype=DTYPE), rtol=0, atol=1e-12
    )


def test_an_operator_that_turns_to_nan_is_named_and_the_others_go_on() -> None:
    matrices = torch.stack([clustered([4.0, 3.0, 2.0, 1.8, 1.7])] * 2)
    calls = 0

    def product(v: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        image = times(matrices)(v)
        return torch.cat([image[:1], image[1:] * (torch.nan if calls > 10 else 1.0)])

    start = normal_numbers(1, N).expand(2, N)
    found = krylov_schur(product, start, largest(5), dimension=24)
    alone = krylov_schur(times(matrices[:1]), start[:1], largest(5), dimension=24)
    assert found.failed_at.tolist() == [-1, 10] and found.converged.tolist() == [True, False]
    torch.testing.assert_close(found.values[0], alone.values[0], rtol=1e-12, atol=0)
    assert found.values[1].isnan().all()


def test_a_space_as_large_as_the_whole() -> None:
    matrices = normal_numbers(2, 6, 6)
    found = run(matrices, 4, dimension=40, confirm=True)
    exact = torch.linalg.eigvals(matrices).abs().sort(dim=1, descending=True).values[:, :4]
    torch.testing.assert_close(found.values.abs(), exact, rtol=1e-10, atol=0)
    assert found.converged.all()


@pytest.mark.parametrize("kind", ["symmetric", "near the bulk", "not normal", "pairs"])
@pytest.mark.parametrize("multiplicity", [9, 12, 16])
def test_every_copy_of_a_multiple_eigenvalue_is_found(kind: str, multiplicity: int) -> None:
    # Fails if the complement is searched once only, or if what is locked loses the coupling of more
    # than has converged.
    n = 150
    top = {"near the bulk": 1.15, "pairs": 0.5}.get(kind, 3.0)
    bulk = torch.rand(n - multiplicity, dtype=DTYPE, generator=seeded(multiplicity)) * 2 - 1
    middle = torch.diag(torch.cat([torch.full((multiplicity,), top, dtype=DTYPE), bulk]))
    basis = orthogonal(n, multiplicity)
    if kind == "pairs":
        half = multiplicity // 2
        middle[: 2 * half, : 2 * half] = rotation_scaling(torch.full((half,), 2.0 + 1.0j))
        multiplicity, top = 2 * half, abs(2.0 + 1.0j)
    if kind == "not normal":
        basis = basis + 0.3 * normal_numbers(n, n, seed=1) / n**0.5
    matrix = basis @ middle @ torch.linalg.inv(basis)
    found = run(
        matrix[None],
        multiplicity,
        1e-6,
        dimension=3 * multiplicity,
        max_products=2000,
        confirm=True,
    )
    assert found.converged.all()
    # κ(λ) ≤ cond(basis) < 10, and the tolerance is 1e-6 of 3
    torch.testing.assert_close(
        found.values.abs(), torch.full((1, multiplicity), top, dtype=DTYPE), rtol=0, atol=10 * 3e-6
    )


def test_the_value_after_the_wanted_ones_must_be_told_from_them() -> None:
    # Fails without `& searched`: right after a lock nothing better has been found, as nothing has
    # been searched yet.
    matrix = clustered([1.3] * 4)[None]
    found = run(matrix, 4, 1e-6, dimension=12, max_products=2000, confirm=True)
    assert found.converged.all()
    torch.testing.assert_close(
        found.values.real, torch.full((1, 4), 1.3, dtype=DTYPE), rtol=0, atol=1e-5
    )
