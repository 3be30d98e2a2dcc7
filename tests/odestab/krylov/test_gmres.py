import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from problems import EPS, normal_numbers, orthogonal, random_matrix
from torch import Tensor

from odestab.krylov import gmres

N = 30


def apply(matrices: Tensor):
    return lambda v: (matrices @ v[..., None])[..., 0]


def batch() -> Tensor:
    """Well conditioned, non-normal, and indefinite with condition number 100."""
    q = orthogonal(N, 3)
    indefinite = (
        q
        @ torch.diag(
            torch.cat([torch.linspace(0.1, 10, N // 2), -torch.linspace(0.1, 10, N // 2)]).double()
        )
        @ q.T
    )
    identity = torch.eye(N, dtype=q.dtype)
    return torch.stack(
        [
            identity - random_matrix(N, "normal"),
            identity - random_matrix(N, "non-normal", 1),
            indefinite,
        ]
    )


@pytest.mark.parametrize("rtol", [1e-3, 1e-8, 1e-12])
def test_residual_is_recomputed_and_the_error_is_bounded_by_it(rtol: float) -> None:
    matrices, b = batch(), normal_numbers(3, N)
    found = gmres(apply(matrices), b, rtol)
    residual = (b - apply(matrices)(found.solution)).norm(dim=1) / b.norm(dim=1)
    torch.testing.assert_close(found.residual, residual, rtol=1e-10, atol=0)
    assert found.converged.all() and (residual <= rtol).all()
    error = (found.solution - torch.linalg.solve(matrices, b)).norm(dim=1)
    inverse_norm = torch.linalg.matrix_norm(matrices.inverse(), 2)
    assert (error <= 1.01 * inverse_norm * rtol * b.norm(dim=1)).all()


def test_minimises_the_residual_over_the_krylov_space() -> None:
    matrices, b = batch(), normal_numbers(3, N)
    for steps in (1, 4, 9):
        found = gmres(apply(matrices), b, 0.0, max_iterations=steps)
        for matrix, rhs, residual in zip(matrices, b, found.residual, strict=True):
            krylov = torch.linalg.qr(
                torch.stack([torch.linalg.matrix_power(matrix, j) @ rhs for j in range(steps)], 1)
            )[0]
            best = torch.linalg.lstsq(matrix @ krylov, rhs[:, None]).solution[:, 0]
            optimum = (rhs - matrix @ krylov @ best).norm() / rhs.norm()
            torch.testing.assert_close(
                residual, optimum, rtol=1e-7, atol=0
            )  # the monomial basis loses half the digits
        assert (found.iterations == steps).all() and not found.converged.any()


def test_agrees_with_scipy_on_the_number_of_products() -> None:
    matrix, b = batch()[1], normal_numbers(1, N)
    norms: list[float] = []
    scipy.sparse.linalg.gmres(
        matrix.numpy(),
        b[0].numpy(),
        rtol=1e-9,
        atol=0,
        restart=N,
        maxiter=1,
        callback=norms.append,
        callback_type="pr_norm",
    )
    found = gmres(apply(matrix[None]), b, 1e-9)
    assert int(found.iterations[0]) == 1 + int(np.argmax(np.array(norms) <= 1e-9))


def test_restarts_reach_the_same_solution() -> None:
    matrices, b = batch()[:2], normal_numbers(2, N)
    found = gmres(apply(matrices), b, 1e-11, max_iterations=400, restart=6)
    assert found.converged.all() and (found.iterations > 6).any()
    torch.testing.assert_close(found.solution, torch.linalg.solve(matrices, b), rtol=0, atol=1e-9)


def test_one_tolerance_per_example_and_an_example_that_is_done_costs_nothing() -> None:
    matrices, b = batch(), normal_numbers(3, N)
    loose = gmres(apply(matrices), b, torch.tensor([1e-1, 1e-4, 1e-10]).double())
    assert (
        loose.converged.all()
        and loose.residual[0] > 1e-4
        and loose.iterations[0] < loose.iterations[1] < loose.iterations[2]
    )
    b[1] = 0
    found = gmres(apply(matrices), b)
    assert (
        (found.solution[1] == 0).all()
        and found.residual[1] == 0
        and found.iterations[1] == 0
        and found.converged[1]
    )


def test_scale_of_the_right_hand_side_changes_nothing() -> None:
    matrices, b = batch(), normal_numbers(3, N)
    one = gmres(apply(matrices), b, 1e-9).solution
    for scale in (2.0**-400, 2.0**400):  # powers of two scale without rounding
        torch.testing.assert_close(
            gmres(apply(matrices), scale * b, 1e-9).solution / scale, one, rtol=1e-12, atol=1e-13
        )


def test_exact_breakdown_ends_with_the_solution() -> None:
    q = orthogonal(N)
    matrix = (
        q @ torch.diag(torch.tensor([1.0, 3.0] * (N // 2)).double()) @ q.T
    )  # minimal polynomial of degree 2
    found = gmres(apply(matrix[None]), normal_numbers(1, N), 1e-13)
    assert found.converged.all() and int(found.iterations[0]) == 2


def test_a_singular_system_is_open_and_keeps_the_least_residual() -> None:
    # Fails if the last, singular direction of the space is used: x ≈ 1e16 and a residual above that
    # of x = 0.
    matrix = torch.diag(torch.tensor([1.0, 2.0, 3.0, 0.0]).double())[None]
    found = gmres(apply(matrix), torch.ones(1, 4, dtype=torch.float64), 1e-10)
    assert not found.converged.any()
    assert float(found.residual[0]) == pytest.approx(
        0.5, rel=1e-8
    )  # what lies outside of the range


def test_iterations_never_exceed_the_bound() -> None:
    found = gmres(apply(batch()), normal_numbers(3, N), 1e-14, max_iterations=17, restart=5)
    assert (found.iterations <= 17).all()


@pytest.mark.slow
@pytest.mark.parametrize("bad", [torch.nan, 1e3])
def test_examples_are_independent_bit_for_bit(bad: float) -> None:
    matrices, b = batch(), normal_numbers(3, N)
    expected = gmres(apply(matrices), b, 1e-9, restart=12)
    matrices[1] = bad
    got = gmres(apply(matrices), b, 1e-9, restart=12)
    for example in (0, 2):
        assert torch.equal(got.solution[example], expected.solution[example])
        assert got.iterations[example] == expected.iterations[example]
    assert not got.converged[1]


def test_a_right_hand_side_that_is_not_finite_is_never_converged() -> None:
    # Fails if ‖b‖ = NaN is taken for b = 0: zero is then returned as a converged solution (and as a
    # gradient, by ImplicitAdjoint).
    matrices, b = batch(), normal_numbers(3, N)
    expected = gmres(apply(matrices), b).solution
    for bad in (torch.nan, torch.inf):
        b[1, 0] = bad
        found = gmres(apply(matrices), b)
        assert found.converged.tolist() == [True, False, True]
        assert torch.equal(found.solution[[0, 2]], expected[[0, 2]])


def test_residual_at_rounding_level() -> None:
    found = gmres(apply(batch()), normal_numbers(3, N), 0.0, max_iterations=200)
    assert (found.residual < 1e3 * EPS * 100).all()  # condition number at most about 100


def test_half_precision_is_solved_in_single() -> None:
    matrices, b = (
        batch()[:1].bfloat16(),
        normal_numbers(1, N).bfloat16(),
    )  # whose products leave the residual at 1e-2
    found = gmres(apply(matrices), b, 1e-2)
    exact = torch.linalg.solve(matrices.double(), b.double())
    assert found.solution.dtype == torch.bfloat16 and found.converged.all()
    torch.testing.assert_close(
        found.solution.double(), exact, rtol=0, atol=0.1 * float(exact.abs().max())
    )


@pytest.mark.parametrize(
    "dtype, b_at, a_at", [(torch.float64, 1073, 300), (torch.float32, 148, 40)]
)
def test_right_hand_sides_that_are_nearly_nothing_are_scaled_first(
    dtype: torch.dtype, b_at: int, a_at: int
) -> None:
    # Fails if a number of two binary digits, as are left below the normal range, is taken for the
    # length of the right-hand side. Its mate is of ordinary size.
    a = (torch.eye(20, dtype=torch.float64) - random_matrix(20, "non-normal")).to(dtype)
    digits = torch.randint(-3, 4, (1, 20), generator=torch.Generator().manual_seed(0)).to(dtype)
    tiny = digits * 2.0 ** -(b_at - 100) * 2.0**-100
    assert torch.equal(tiny * 2.0 ** (b_at - 100) * 2.0**100, digits)
    rtol = 1e3 * torch.finfo(dtype).eps
    ordinary = gmres(lambda v: v @ a.T, digits, rtol)
    found = gmres(lambda v: v @ (2.0**-a_at * a).T, torch.cat([tiny, digits]), rtol)
    assert found.converged.all()
    sizes = torch.tensor([2.0 ** (b_at - a_at), 2.0**-a_at], dtype=dtype)[:, None]
    torch.testing.assert_close(
        found.solution * sizes, ordinary.solution.expand(2, -1), rtol=0, atol=100 * rtol
    )


def test_a_residual_that_is_believed_costs_no_product_and_is_the_true_one() -> None:
    matrices, b = batch(), normal_numbers(3, N)
    products = []

    def counted(x: torch.Tensor) -> torch.Tensor:
        products.append(1)
        return apply(matrices)(x)

    checked = gmres(counted, b, 1e-3)
    with_check = len(products)
    products.clear()
    believed = gmres(counted, b, 1e-3, believed=1e-6)
    assert len(products) == with_check - 1
    torch.testing.assert_close(believed.solution, checked.solution, rtol=0, atol=0)
    torch.testing.assert_close(believed.residual, checked.residual, rtol=1e-8, atol=1e-12)
    assert believed.converged.all() and torch.equal(believed.iterations, checked.iterations)
    # a tighter tolerance is checked
    products.clear()
    gmres(counted, b, 1e-9, believed=1e-6)
    assert len(products) > int(gmres(apply(matrices), b, 1e-9).iterations.max())


def test_an_unmet_tolerance_is_never_believed() -> None:
    singular = torch.diag(torch.tensor([1.0, 2.0, 3.0, 0.0]).double())[None]
    ones = torch.ones(1, 4, dtype=torch.float64)
    found = gmres(apply(singular), ones, 1e-3, believed=1e-6)
    assert not found.converged.any()
    assert float(found.residual[0]) == pytest.approx(0.5, rel=1e-8)
    nothing = torch.cat([ones, 0 * ones])
    mixed = gmres(apply(singular.expand(2, 4, 4) + torch.eye(4)), nothing, 1e-3, believed=1e-6)
    assert mixed.residual[1] == 0 and mixed.converged.all()


def test_a_carried_residual_of_a_singular_system_is_not_believed() -> None:
    torch.manual_seed(1)
    q, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    singular = q @ torch.diag(torch.tensor([1e-15, 1.0, 1.3], dtype=torch.float64)) @ q.T
    b = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    solved = gmres(lambda v: v @ singular.T, b, 1e-6, believed=1e-8)
    true = (b - solved.solution @ singular.T).norm() / b.norm()
    assert solved.converged.item() == (true.item() <= 1e-6)
    assert solved.residual.item() == pytest.approx(true.item(), rel=1e-6)
