import pytest
import torch
from problems import (
    DTYPE,
    EPS,
    MixingField,
    masked_state,
    normal_numbers,
    ragged_mask,
    random_matrix,
)
from torch import Tensor

from odestab.fields.vector_field import LinearVectorField
from odestab.solver import Anderson, FixedPoint, ImplicitEquation


def textbook(matrix: Tensor, x: Tensor, h: float, memory: int, steps: int) -> Tensor:
    """Walker and Ni 2011, Algorithm AA with g(y) = x + hAy, its least-squares problems by
    LAPACK.
    """
    ys, ps = [x], []
    for _ in range(steps):
        ps.append(x + h * matrix @ ys[-1] - ys[-1])
        m = min(memory, len(ps) - 1)
        y = ys[-1] + ps[-1]
        if m:
            dy = torch.stack([ys[-i] - ys[-i - 1] for i in range(1, m + 1)], 1)
            dp = torch.stack([ps[-i] - ps[-i - 1] for i in range(1, m + 1)], 1)
            y = y - (dy + dp) @ torch.linalg.lstsq(dp, ps[-1][:, None]).solution[:, 0]
        ys.append(y)
    return ys[-1]


@pytest.mark.parametrize("memory", [1, 3])
def test_iterates_are_the_textbooks(memory: int) -> None:
    matrix, x = random_matrix(10, "normal"), normal_numbers(1, 10)
    equation = ImplicitEquation(LinearVectorField(matrix), x, 0.7)
    for steps in (1, 2, 4, 6):
        solver = Anderson(memory=memory, max_iterations=steps, rtol=0.0, keep_last=True)
        # the ridge 10·eps perturbs γ by 10·eps times the condition number of the Gram matrix, here
        # at most 1e4
        torch.testing.assert_close(
            solver.solve(equation, x).state[0],
            textbook(matrix, x[0], 0.7, memory, steps),
            rtol=0,
            atol=1e5 * EPS,
        )


def test_with_enough_memory_it_ends_after_as_many_steps_as_gmres_would() -> None:
    """On a linear problem with d distinct eigenvalues GMRES ends in d steps, Anderson one later."""
    distinct = torch.tensor([-0.5, 0.3, 0.8], dtype=DTYPE).repeat(4)
    x = normal_numbers(1, 12)
    solution = Anderson(memory=10, rtol=1e-11).solve(
        ImplicitEquation(LinearVectorField(torch.diag(distinct)), x, 1.0), x
    )
    assert solution.converged.all() and int(solution.iterations[0]) == 4
    torch.testing.assert_close(solution.state, x / (1 - distinct), rtol=1e-9, atol=0)


def test_converges_where_the_fixed_point_does_not() -> None:
    mask = ragged_mask(4, 3)
    equation = ImplicitEquation(
        MixingField.random(mask, size=2.0, split=-3.0, seed=1), masked_state(mask), 1.0
    )
    plain = {"preconditioned": False, "rtol": 1e-10}
    assert not FixedPoint(**plain).solve(equation, equation.rhs).converged.any()
    assert Anderson(**plain).solve(equation, equation.rhs).converged.all()


def test_scale_of_the_problem_changes_nothing() -> None:
    matrix, x = random_matrix(10, "non-normal"), normal_numbers(1, 10)
    field = LinearVectorField(matrix)
    one = Anderson(rtol=1e-9).solve(ImplicitEquation(field, x, 0.5), x)
    for scale in (2.0**-300, 2.0**300):
        scaled = Anderson(rtol=1e-9).solve(ImplicitEquation(field, scale * x, 0.5), scale * x)
        assert torch.equal(scaled.iterations, one.iterations)
        torch.testing.assert_close(scaled.state / scale, one.state, rtol=0, atol=1e-12)


def test_wrong_memory() -> None:
    with pytest.raises(ValueError, match="memory must be >= 1, got 0"):
        Anderson(memory=0)
