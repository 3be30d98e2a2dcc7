import pytest
import torch
from problems import EPS, normal_numbers, orthogonal
from torch import Tensor

from odestab.krylov import SingularTriplets, smallest_singular_triplets

N = 30


def matrices_with(*smallest: list[float]) -> Tensor:
    """One matrix per list: singular values 1 to 10 and those of the list, smaller ones."""
    return torch.stack(
        [
            orthogonal(N, 2 * i)
            @ torch.diag(torch.cat([torch.linspace(10, 1, N - len(s)), torch.tensor(s)]).double())
            @ orthogonal(N, 2 * i + 1)
            for i, s in enumerate(smallest)
        ]
    )


def times(m: Tensor):
    return lambda v: (m @ v[..., None])[..., 0]


def run(
    matrices: Tensor, rtol: float, noise: float = 0.0, most: int = N, k: int = 1
) -> SingularTriplets:
    """`noise` perturbs the inverse: what a loose solve does."""
    inverse = torch.linalg.pinv(matrices.mT @ matrices, rtol=1e-30)
    inverse = inverse @ (torch.eye(N).double() + noise * normal_numbers(N, N, seed=9) / N**0.5)
    start = normal_numbers(1, N).expand(len(matrices), N)
    return smallest_singular_triplets(
        times(matrices), times(matrices.mT), times(inverse), start, k, rtol, most
    )


@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("k", [1, 3])
def test_triplet_identities_and_dense_agreement(noise: float, k: int) -> None:
    smallest = [
        [0.5, 0.4, 0.3],
        [0.5, 1e-2, 1e-3],
        [1e-2, 1e-2, 1e-5],
    ]  # the last with a double value
    matrices = matrices_with(*smallest)
    found = run(matrices, 1e-8, noise, k=k)
    forward = (matrices @ found.right.mT).mT - found.values[..., None] * found.left
    backward = (matrices.mT @ found.left.mT).mT - found.values[..., None] * found.right
    assert (forward.norm(dim=2) <= 1e3 * EPS).all() and found.converged.all()
    # both are of rounding size 10·eps·N where the residual has vanished
    torch.testing.assert_close(backward.norm(dim=2), found.residuals, rtol=1e-6, atol=10 * N * EPS)
    for vectors in (found.right, found.left):
        gram = vectors @ vectors.mT
        assert (torch.diagonal(gram, 0, 1, 2) - 1).abs().max() < 1e-12
    # an upper bound, of second order in the residual; the matrix itself is known to 10·eps only
    exact = torch.tensor([sorted(s)[:k] for s in smallest]).double()
    assert (found.values >= exact - 1e3 * EPS).all() and (
        (found.values - exact).abs() <= 1e-8 * exact + 1e3 * EPS
    ).all()


def test_a_bounded_subspace_is_honest() -> None:
    matrices = matrices_with([0.95])
    found = run(matrices, 1e-12, noise=0.5, most=3)
    assert found.steps == 3 and not found.converged.any()
    backward = (matrices.mT @ found.left.mT).mT - found.values[..., None] * found.right
    torch.testing.assert_close(backward.norm(dim=2), found.residuals, rtol=1e-10, atol=0)
    assert float(found.residuals[0]) > 1e-12 * float(found.values[0])
    assert float(found.values[0]) >= 0.95 - 1e3 * EPS


def test_a_singular_matrix_ends_at_rounding_and_nan_stays_with_its_example() -> None:
    # Fails if convergence is asked relative to a value that is zero: the subspace grows to its
    # limit.
    singular = matrices_with([0.0])[0]
    inverse = torch.stack(
        [torch.linalg.inv(singular.T @ singular + 1e-12 * torch.eye(N).double())] * 3
    )
    matrices = torch.stack([singular, torch.full((N, N), torch.nan).double(), singular])
    start = normal_numbers(3, N)
    found = smallest_singular_triplets(
        times(matrices), times(matrices.mT), times(inverse), start, rtol=1e-8
    )
    assert found.steps < 10 and found.converged[:, 0].tolist() == [True, False, True]
    assert (found.values[[0, 2]].abs() < 1e-12).all() and found.values[1].isnan().all()


def test_batch_mates_change_nothing() -> None:
    matrices = matrices_with([0.5, 0.4], [0.9, 1e-4])
    together = run(matrices, 1e-6, noise=0.3, k=2)
    for i in range(2):
        alone = run(matrices[i : i + 1], 1e-6, noise=0.3, k=2)
        torch.testing.assert_close(together.values[i], alone.values[0], rtol=1e-10, atol=0)


@pytest.mark.parametrize(
    "dtype, exponent",
    [(torch.float64, 500), (torch.float64, -500), (torch.float32, 40), (torch.float32, -50)],
)
@pytest.mark.parametrize("k", [1, 3])
def test_matrices_of_any_scale_have_triplets_of_that_scale(
    dtype: torch.dtype, exponent: int, k: int
) -> None:
    # Fails if the projected matrix of squares is formed unscaled. Powers of two round nothing, but
    # on some processors a matrix product rounds by where its rows lie in memory.
    matrices = matrices_with([0.5, 1e-1, 1e-2])[0].to(dtype)
    both = torch.stack([matrices, matrices * 2.0**exponent])
    inverse = torch.linalg.inv(matrices)

    def approximate_inverse(r: Tensor) -> Tensor:
        scale = torch.tensor([1.0, 2.0**exponent], dtype=dtype)[:, None]
        half = r @ inverse / scale  # what leaves the range is lost here
        return half @ inverse.T / scale

    start = normal_numbers(1, N).to(dtype).expand(2, N)
    rtol = 10 * torch.finfo(dtype).eps ** 0.5
    found = smallest_singular_triplets(
        times(both), times(both.mT), approximate_inverse, start, k, rtol
    )
    assert found.converged.all()
    same = 100 * torch.finfo(dtype).eps
    torch.testing.assert_close(found.values[1] / 2.0**exponent, found.values[0], rtol=same, atol=0)


def test_a_value_that_is_zero_has_the_residual_of_its_right_vector() -> None:
    # Fails if what rounding leaves of A v counts as a left vector: Aᵀ u is of any size.
    singular = matrices_with([0.0])
    inverse = torch.linalg.inv(singular.mT @ singular + 1e-12 * torch.eye(N).double())
    found = smallest_singular_triplets(
        times(singular), times(singular.mT), times(inverse), normal_numbers(1, N), rtol=1e-8
    )
    assert found.converged.all() and not found.left.any()
    torch.testing.assert_close(found.residuals, found.values)
    assert (found.residuals < 1e3 * EPS).all()
