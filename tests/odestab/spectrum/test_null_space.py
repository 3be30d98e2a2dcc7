"""Smallest singular values of singular operators that are too large to factorise."""

import pytest
import torch
from problems import DTYPE, EPS, normal_numbers, orthogonal, ragged_operator
from torch import Tensor

from odestab.operators.linear_operator import AbstractOperator, ComposedOperator
from odestab.spectrum import singular_values
from odestab.spectrum.null_space import null_space

N = 40


@pytest.fixture(autouse=True)
def never_factorized(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odestab.spectrum.record.FACTORIZED_LIMIT", 0)
    monkeypatch.setattr("odestab.spectrum.record.DENSE_LIMIT", 0)


def near_identity(n: int, nullity: int, seed: int = 0) -> Tensor:
    """I + G/4 with some left and right vectors projected out: like a layer behind a LayerNorm."""
    matrix = torch.eye(n, dtype=DTYPE) + normal_numbers(n, n, seed=seed) / (4 * n**0.5)
    lost = orthogonal(n, seed + 1)[:, :nullity]
    return matrix - lost @ (lost.T @ matrix)


def counting(operator: AbstractOperator) -> tuple[AbstractOperator, list[int]]:
    tally = [0]

    def counted(product):
        def apply(v: Tensor) -> Tensor:
            tally[0] += v.numel() // operator.like.numel()
            return product(v)

        return apply

    return ComposedOperator(
        counted(operator.mv), counted(operator.rmv), operator.like, operator.mask
    ), tally


@pytest.mark.slow
@pytest.mark.parametrize(
    "nullity, k, most", [(0, 1, 500), (1, 1, 1500), (1, 2, 3000), (3, 2, 3000)]
)
def test_null_vectors_are_found_and_what_is_next_to_them(nullity: int, k: int, most: int) -> None:
    # Fails without the search for null vectors: the list ends unconverged after some thousand
    # products. The mate is regular, and of another size.
    matrices = [near_identity(N, nullity), near_identity(N // 2, 0, seed=7)]
    operator, tally = counting(ragged_operator(*matrices))
    found = singular_values(operator, k, "SM", rtol=1e-4)
    assert found.converged.all() and found.right is not None
    for example, matrix in enumerate(matrices):
        exact = torch.linalg.svdvals(matrix).flip(0)[:k]
        torch.testing.assert_close(found.values[example], exact, rtol=1e-6, atol=100 * EPS)
        v = found.right[example, :, : len(matrix), 0]
        image = (matrix @ v.T).norm(dim=0)
        torch.testing.assert_close(image, exact, rtol=1e-6, atol=100 * EPS)
    if nullity:
        assert (found.values[0, :nullity] < 100 * EPS).all()
    assert tally[0] < most, tally


def test_a_small_value_is_not_called_zero() -> None:
    # Fails if what GMRES leaves of a solve is taken for a null vector unseen.
    u, _, v = torch.linalg.svd(near_identity(N, 0))
    values = torch.linspace(2, 1, N, dtype=DTYPE)
    values[-1] = 1e-9
    matrix = u @ torch.diag(values) @ v
    found = singular_values(ragged_operator(matrix), 1, "SM", rtol=1e-6)
    assert float(found.values[0, 0]) == pytest.approx(1e-9, rel=1e-3) or not found.converged.any()


@pytest.mark.parametrize("nullity", [0, 1, 2])
def test_no_more_null_vectors_than_there_are(nullity: int) -> None:
    # Fails if a vector counts as null before its image has been looked at, or its left one's.
    matrices = [near_identity(N, nullity), near_identity(N // 2, 0, seed=7)]
    space = null_space(ragged_operator(*matrices), torch.tensor([True, True]), 3)
    assert (space.right.norm(dim=2) > 0.5).sum(1).tolist() == [nullity, 0]
    assert (space.left.norm(dim=2) > 0.5).sum(1).tolist() == [nullity, 0]
    images = torch.einsum("ij,mj->mi", matrices[0], space.right[0, :, :N])
    assert (images.norm(dim=1) <= 10 * EPS * space.size[0]).all()
