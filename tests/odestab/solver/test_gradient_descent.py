import pytest
import torch
from problems import normal_numbers, random_matrix

from odestab.fields.vector_field import LinearVectorField
from odestab.solver import (
    FixedPoint,
    GradientDescent,
    ImplicitEquation,
    NewtonKrylov,
    Status,
    truncated_stability_function,
)

N, H = 8, 0.6


def problem() -> tuple[torch.Tensor, torch.Tensor, ImplicitEquation]:
    matrix, x = random_matrix(N, "non-normal"), normal_numbers(1, N)
    return (
        torch.eye(N, dtype=x.dtype) - H * matrix,
        x,
        ImplicitEquation(LinearVectorField(matrix), x, H),
    )


@pytest.mark.parametrize("steps", [0, 1, 5, 40])
@pytest.mark.parametrize("start", ["state", "explicit"])
def test_the_map_on_a_non_normal_field(steps: int, start: str) -> None:
    """y_k = [I − (I − ηMᵀM)^k] M⁻¹ x + (I − ηMᵀM)^k y_0 (Mathematics, section 2)."""
    m, x, equation = problem()
    eta = 0.1
    power = torch.linalg.matrix_power(torch.eye(N, dtype=x.dtype) - eta * m.T @ m, steps)
    first = x[0] if start == "state" else x[0] + (x[0] - m @ x[0])  # x + hAx = x + (I − M)x
    exact = torch.linalg.solve(m, x[0])
    solution = GradientDescent(steps=steps, step_size=eta, start=start, rtol=0.0).solve(equation, x)
    torch.testing.assert_close(
        solution.state[0], exact - power @ exact + power @ first, rtol=0, atol=1e-12
    )


def test_it_converges_exactly_below_the_limit_on_the_step_size() -> None:
    m, x, equation = problem()
    limit = 2 / float(torch.linalg.matrix_norm(m, 2)) ** 2
    below = GradientDescent(
        steps=None, step_size=0.9 * limit, max_iterations=5000, rtol=1e-9
    ).solve(equation, x)
    above = GradientDescent(
        steps=None, step_size=1.1 * limit, max_iterations=5000, rtol=1e-9
    ).solve(equation, x)
    assert below.converged.all() and above.status[0] in (Status.DIVERGED, Status.STALLED)


def test_the_published_few_steps_say_that_they_did_not_converge() -> None:
    _, x, equation = problem()
    solution = GradientDescent(steps=5, step_size=0.1).solve(equation, x)
    assert solution.status[0] == Status.MAX_ITERATIONS and solution.iterations[0] == 5
    assert float(solution.residual[0]) > 1e-3


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match="step_size must be > 0, got 0"):
        GradientDescent(step_size=0.0)
    with pytest.raises(ValueError, match="steps must be >= 0 or None, got -1"):
        GradientDescent(steps=-1)


def test_other_solvers_are_no_polynomials_known_beforehand() -> None:
    z = torch.zeros(1, dtype=torch.complex128)
    with pytest.raises(
        ValueError,
        match=r"solver must have a fixed polynomial \(FixedPoint, "
        r"GradientDescent\), got NewtonKrylov",
    ):
        truncated_stability_function(NewtonKrylov(), z, 1.0, 3)
    assert truncated_stability_function(FixedPoint(), z, 1.0, 3).shape == z.shape
