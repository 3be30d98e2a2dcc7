import torch
from problems import EPS, normal_numbers, random_matrix, toeplitz, toeplitz_eigenvalues
from torch import Tensor

from odestab.krylov import lanczos

N, STEPS = 40, 15


def apply(matrices: Tensor):
    return lambda v: (matrices @ v[..., None])[..., 0]


def batch() -> Tensor:
    return torch.stack([toeplitz(N, 1, -2, 1), random_matrix(N, "stiff")])


def test_identity_orthogonality_and_symmetry() -> None:
    matrices = batch()
    f = lanczos(apply(matrices), normal_numbers(2, N), STEPS)
    size = torch.linalg.matrix_norm(matrices, 2)
    remainder = matrices @ f.basis.mT - f.basis.mT @ f.tridiagonal
    last = f.arnoldi.basis[:, -1]
    remainder[:, :, -1] -= f.beta[:, None] * last  # A Qᵀ = Qᵀ T + β q eᵀ
    assert (remainder.norm(dim=(1, 2)) <= 100 * EPS * STEPS * size).all()
    assert (f.basis @ f.basis.mT - torch.eye(STEPS)).abs().max() < 1e-12
    assert torch.equal(f.tridiagonal, f.tridiagonal.mT)
    assert (torch.triu(f.tridiagonal, 2) == 0).all()


def test_full_space_gives_the_known_eigenvalues() -> None:
    matrix = toeplitz(N, 1, -2, 1)[None]
    f = lanczos(apply(matrix), normal_numbers(1, N), N)
    found = torch.linalg.eigvalsh(f.tridiagonal[0]).flip(0)
    torch.testing.assert_close(found, toeplitz_eigenvalues(N, 1, -2, 1), rtol=0, atol=1e-12)


def test_growing_is_the_same_as_going_there_at_once() -> None:
    matrices, start = batch(), normal_numbers(2, N)
    grown = lanczos(apply(matrices), start, STEPS - 4, lanczos(apply(matrices), start, 4))
    once = lanczos(apply(matrices), start, STEPS)
    assert torch.equal(grown.tridiagonal, once.tridiagonal) and torch.equal(grown.beta, once.beta)


def test_largest_ritz_value_grows_with_the_space() -> None:
    matrix, start = toeplitz(N, 1, -2, 1)[None], normal_numbers(1, N)
    f, leading = None, []
    for _ in range(6):
        f = lanczos(apply(matrix), start, 4, f)
        leading.append(float(torch.linalg.eigvalsh(f.tridiagonal[0])[-1]))
    assert (
        leading == sorted(leading)
        and leading[0] < leading[-1] <= float(toeplitz_eigenvalues(N, 1, -2, 1)[0]) + 1e-13
    )
