import pytest
import torch
from problems import DTYPE, EPS, normal_numbers, orthogonal, repeated, with_singular_values
from torch import Tensor

from odestab.krylov import LargestTriplets, SingularSearch, largest_singular_triplets

N = 24


def run(
    matrices: Tensor, k: int, rtol: float = 1e-10, largest: int = 20, confirm: bool = True
) -> LargestTriplets:
    return largest_singular_triplets(
        lambda v: (matrices @ v[..., None])[..., 0],
        lambda u: (matrices.mT @ u[..., None])[..., 0],
        normal_numbers(1, N).expand(len(matrices), N),
        SingularSearch(k, rtol, (k + 5, 2, largest)),
        normal_numbers(1, N, seed=1).expand(len(matrices), N) if confirm else None,
    )


@pytest.mark.parametrize("copies", [1, 3, 6])
def test_triplet_identities(copies: int) -> None:
    matrices = with_singular_values(repeated(N, copies))[None]
    found = run(matrices, 6)
    assert found.settled.all()
    forward = (matrices @ found.right.mT).mT - found.values[..., None] * found.left
    backward = (matrices.mT @ found.left.mT).mT - found.values[..., None] * found.right
    assert float(forward.norm(dim=2).max()) < 1e-9 and float(backward.norm(dim=2).max()) < 1e-9
    for vectors in (found.right, found.left):
        gram = vectors[0] @ vectors[0].T
        torch.testing.assert_close(gram, torch.eye(6, dtype=DTYPE), rtol=0, atol=1e-8)
    torch.testing.assert_close(found.values[0], repeated(N, copies)[:6], rtol=1e-12, atol=0)


def test_one_search_settles_nothing_but_one_triplet() -> None:
    matrices = with_singular_values(repeated(N, 3))[None]
    assert run(matrices, 1, confirm=False).settled.all()
    assert not run(matrices, 3, confirm=False).settled.any()


@pytest.mark.parametrize("largest", [4, 8])
def test_where_the_locked_vectors_span_the_space_nothing_is_left_to_find(largest: int) -> None:
    # Fails if the rounding that is left of a fresh vector counts as a direction not yet searched.
    small = torch.zeros(N, N, dtype=DTYPE)
    small[:4, :4] = 2 * orthogonal(4)
    start = torch.zeros(1, N, dtype=DTYPE)
    start[0, :4] = normal_numbers(4)
    confirm = torch.zeros(1, N, dtype=DTYPE)
    confirm[0, :4] = normal_numbers(4, seed=1)
    found = largest_singular_triplets(
        lambda v: v @ small.T,
        lambda u: u @ small,
        start,
        SingularSearch(4, 1e-10, (4, 1, largest)),
        confirm,
    )
    assert found.settled.all()
    torch.testing.assert_close(found.values, torch.full((1, 4), 2.0, dtype=DTYPE))
    assert float((found.right @ found.right.mT - torch.eye(4, dtype=DTYPE)).norm()) < 1e3 * EPS


def test_a_settled_example_keeps_its_triplets_whatever_its_mates_need() -> None:
    matrices = torch.stack([with_singular_values(repeated(N, c), c) for c in (1, 6)])
    together, alone = run(matrices, 5), run(matrices[:1], 5)
    torch.testing.assert_close(together.values[0], alone.values[0], rtol=1e-12, atol=0)
    assert together.settled.all() and together.steps > alone.steps
