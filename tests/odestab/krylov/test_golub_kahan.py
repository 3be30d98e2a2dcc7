import torch
from problems import EPS, grcar, normal_numbers, orthogonal, random_matrix
from torch import Tensor

from odestab.krylov import GolubKahanFactorization, golub_kahan

N, STEPS = 40, 12


def run(
    matrices: Tensor, start: Tensor, steps: int, previous: GolubKahanFactorization | None = None
) -> GolubKahanFactorization:
    return golub_kahan(
        lambda v: (matrices @ v[..., None])[..., 0],
        lambda u: (matrices.mT @ u[..., None])[..., 0],
        start,
        steps,
        previous,
    )


def batch() -> Tensor:
    return torch.stack([random_matrix(N, "non-normal"), random_matrix(N, "stiff", 1), grcar(N)])


def assert_factorization(matrices: Tensor, f: GolubKahanFactorization) -> None:
    """A Vᵀ = Uᵀ C on the first m columns, Aᵀ Uᵀ = V₊ᵀ Cᵀ, both bases orthonormal, C upper
    bidiagonal.
    """
    rounding = 100 * EPS * f.steps * torch.linalg.matrix_norm(matrices, 2)
    forward = matrices @ f.right[:, :-1].mT - f.left.mT @ f.projected[:, :, :-1]
    backward = matrices.mT @ f.left.mT - f.right.mT @ f.projected.mT
    assert (forward.norm(dim=(1, 2)) <= rounding).all() and (
        backward.norm(dim=(1, 2)) <= rounding
    ).all()
    for basis in (f.left, f.right):
        alive = (basis.norm(dim=2) > 0.5).to(basis.dtype)
        assert (basis @ basis.mT - torch.diag_embed(alive)).abs().max() < 1e-12
    assert (torch.tril(f.projected, -1) == 0).all() and (torch.triu(f.projected, 2) == 0).all()


def test_identities_and_orthogonality() -> None:
    matrices = batch()
    f = run(matrices, normal_numbers(3, N), STEPS)
    assert f.steps == STEPS
    assert_factorization(matrices, f)


def test_growing_is_the_same_as_going_there_at_once() -> None:
    matrices, start = batch(), normal_numbers(3, N)
    grown, once = (
        run(matrices, start, STEPS - 5, run(matrices, start, 5)),
        run(matrices, start, STEPS),
    )
    assert (
        torch.equal(grown.right, once.right)
        and torch.equal(grown.left, once.left)
        and torch.equal(grown.projected, once.projected)
    )


def test_full_space_gives_all_singular_values() -> None:
    matrices = batch()[[0, 2]]
    f = run(matrices, normal_numbers(2, N), N)
    assert_factorization(matrices, f)
    exact = torch.linalg.svdvals(matrices)
    torch.testing.assert_close(
        torch.linalg.svdvals(f.projected), exact, rtol=0, atol=100 * EPS * N * float(exact.max())
    )


def test_breakdown_finds_multiple_singular_values() -> None:
    u, v = orthogonal(8, 1), orthogonal(8, 2)
    exact = torch.tensor([3.0] * 4 + [1.0] * 3 + [0.0]).double()
    matrices = torch.stack([u, u @ torch.diag(exact) @ v, torch.zeros(8, 8).double()])
    f = run(matrices, normal_numbers(3, 8), 8)
    assert_factorization(matrices, f)
    for values, want in zip(
        torch.linalg.svdvals(f.projected),
        (torch.ones(8).double(), exact, torch.zeros(8).double()),
        strict=True,
    ):
        torch.testing.assert_close(values, want, rtol=0, atol=1e-12)
