import pytest
import torch
from problems import EPS, normal_numbers, orthogonal
from torch import Tensor

from odestab.krylov import SingularTriplet, smallest_singular_triplet

N = 30


def matrices_with(smallest: list[float]) -> Tensor:
    """Singular values 1 to 10 and one smaller one."""
    return torch.stack(
        [
            orthogonal(N, 2 * i)
            @ torch.diag(torch.cat([torch.linspace(10, 1, N - 1), torch.tensor([s])]).double())
            @ orthogonal(N, 2 * i + 1)
            for i, s in enumerate(smallest)
        ]
    )


def run(matrices: Tensor, rtol: float, noise: float = 0.0, most: int = N) -> SingularTriplet:
    """`noise` perturbs the inverse: what a loose solve does."""
    inverse = torch.linalg.inv(matrices.mT @ matrices)
    inverse = inverse @ (torch.eye(N).double() + noise * normal_numbers(N, N, seed=9) / N**0.5)

    def times(m: Tensor):
        return lambda v: (m @ v[..., None])[..., 0]

    return smallest_singular_triplet(times(matrices), times(matrices.mT), times(inverse), normal_numbers(len(matrices), N), rtol, most)


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_triplet_identities_and_dense_agreement(noise: float) -> None:
    smallest = [0.5, 1e-3, 1e-6]
    matrices = matrices_with(smallest)
    found = run(matrices, 1e-8, noise)
    forward = (matrices @ found.right[..., None])[..., 0] - found.value[:, None] * found.left
    backward = (matrices.mT @ found.left[..., None])[..., 0] - found.value[:, None] * found.right
    assert (forward.norm(dim=1) <= 1e3 * EPS).all()
    # both are of rounding size 10·eps·N where the residual has vanished
    torch.testing.assert_close(backward.norm(dim=1), found.residual, rtol=1e-6, atol=10 * N * EPS)
    assert (found.right.norm(dim=1) - 1).abs().max() < 1e-12 and (found.left.norm(dim=1) - 1).abs().max() < 1e-12
    assert (found.residual <= 1e-8 * found.value).all()
    # an upper bound, of second order in the residual; the matrix itself is known to 10·eps only
    exact = torch.tensor(smallest).double()
    assert (found.value >= exact - 1e3 * EPS).all() and ((found.value - exact).abs() <= 1e-8 * exact + 1e3 * EPS).all()


def test_a_bounded_subspace_is_honest() -> None:
    matrices = matrices_with([0.95])
    found = run(matrices, 1e-12, noise=0.5, most=3)
    assert found.steps == 3
    backward = (matrices.mT @ found.left[..., None])[..., 0] - found.value[:, None] * found.right
    torch.testing.assert_close(backward.norm(dim=1), found.residual, rtol=1e-10, atol=0)
    assert float(found.residual[0]) > 1e-12 * float(found.value[0])
    assert float(found.value[0]) >= 0.95 - 1e3 * EPS
