import torch
from problems import EPS, grcar, normal_numbers, random_matrix
from torch import Tensor

from odestab.krylov import ArnoldiFactorization, arnoldi

N, STEPS = 40, 15


def apply(matrices: Tensor):
    return lambda v: (matrices @ v[..., None])[..., 0]


def batch() -> Tensor:
    return torch.stack(
        [random_matrix(N, "normal"), random_matrix(N, "non-normal", 1), 100 * grcar(N)]
    )


def assert_factorization(matrices: Tensor, f: ArnoldiFactorization) -> None:
    """A Qᵀ = Q₊ᵀ H and Q₊ Q₊ᵀ = I, to rounding of ‖A‖ and to 1e-12; rows of zeros, if any, are the
    last.
    """
    size = torch.linalg.matrix_norm(matrices, 2)
    left, right = matrices @ f.basis[:, :-1].mT, f.basis.mT @ f.hessenberg
    assert ((left - right).norm(dim=(1, 2)) <= 100 * EPS * size * f.steps).all()
    alive = f.basis.norm(dim=2) > 0.5
    gram = f.basis @ f.basis.mT
    assert (gram - torch.diag_embed(alive.to(gram.dtype))).abs().max() < 1e-12
    assert (torch.tril(f.hessenberg, -2) == 0).all()


def test_identity_and_orthogonality() -> None:
    matrices = batch()
    f = arnoldi(apply(matrices), normal_numbers(3, N), STEPS)
    assert f.steps == STEPS and f.basis.shape == (3, STEPS + 1, N)
    assert_factorization(matrices, f)


def test_orthogonality_survives_bad_conditioning() -> None:
    matrices = torch.diag(torch.logspace(0, -14, N, dtype=torch.float64))[None]
    assert_factorization(matrices, arnoldi(apply(matrices), normal_numbers(1, N), N - 1))


def test_growing_is_the_same_as_going_there_at_once() -> None:
    matrices, start = batch(), normal_numbers(3, N)
    grown = arnoldi(apply(matrices), start, 5)
    grown = arnoldi(apply(matrices), start, STEPS - 5, grown)
    once = arnoldi(apply(matrices), start, STEPS)
    assert torch.equal(grown.basis, once.basis) and torch.equal(grown.hessenberg, once.hessenberg)


def test_breakdown_continues_with_a_new_direction_and_keeps_the_identity() -> None:
    blocks = [
        torch.eye(8).double(),
        torch.diag(torch.tensor([2.0] * 5 + [-1.0] * 3).double()),
        torch.zeros(8, 8).double(),
    ]
    matrices = torch.stack(blocks)
    f = arnoldi(apply(matrices), normal_numbers(3, 8), 8)
    assert_factorization(matrices, f)
    assert (
        f.hessenberg[0, 1:].diagonal().abs() < 100 * EPS
    ).all()  # A q stays in the space: every step breaks down
    for matrix, h in zip(
        matrices, f.hessenberg[:, :-1], strict=True
    ):  # the whole space: H is similar to A, all copies found
        found = torch.linalg.eigvals(h).real.sort().values
        torch.testing.assert_close(found, torch.linalg.eigvalsh(matrix), rtol=0, atol=1e-12)


def test_used_up_space_ends_in_rows_of_zeros() -> None:
    matrices = normal_numbers(2, 4, 4)
    f = arnoldi(apply(matrices), normal_numbers(2, 4), 6)
    assert (f.basis[:, 4:] == 0).all()
    assert_factorization(matrices, f)


def test_examples_are_independent_bit_for_bit() -> None:
    matrices, start = batch(), normal_numbers(3, N)
    expected = arnoldi(apply(matrices), start, STEPS)
    matrices[1] = torch.nan
    got = arnoldi(apply(matrices), start, STEPS)
    for example in (0, 2):
        assert torch.equal(got.basis[example], expected.basis[example])
        assert torch.equal(got.hessenberg[example], expected.hessenberg[example])
