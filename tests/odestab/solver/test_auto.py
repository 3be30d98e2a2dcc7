import pytest
import torch
from problems import DTYPE, MixingField, masked_state, normal_numbers, ragged_mask, random_matrix

from odestab.solver import Auto, FixedPoint, ImplicitEquation, NewtonKrylov
from odestab.solver.base import Iterate
from odestab.vector_field import LinearVectorField


def test_easy_examples_are_left_to_the_fixed_point_bit_for_bit() -> None:
    easy, stiff, x = 1e-3 * torch.eye(12, dtype=DTYPE), random_matrix(12, "stiff"), normal_numbers(2, 12)
    equation = ImplicitEquation(LinearVectorField(torch.stack([easy, stiff])), x, 1.0)
    solution = Auto().solve(equation, x)
    first = FixedPoint(max_iterations=4).solve(equation, x)
    assert solution.converged.all() and first.converged.tolist() == [True, False]
    assert torch.equal(solution.state[0], first.state[0]) and solution.evaluations[0] == first.evaluations[0]
    assert solution.evaluations[1] > first.evaluations[1] and solution.iterations[1] > first.iterations[1]


@pytest.mark.parametrize("rtol", [1e-4, 1e-10])
def test_agrees_with_newton_on_a_masked_field(rtol: float) -> None:
    mask = ragged_mask(4, 2)
    equation = ImplicitEquation(MixingField.random(mask, size=1.2, split=-0.4), masked_state(mask), 1.0)
    solution = Auto(rtol=rtol).solve(equation, equation.rhs)
    exact = NewtonKrylov(rtol=1e-13).solve(equation, equation.rhs)
    assert solution.converged.all() and exact.converged.all()
    torch.testing.assert_close(solution.state, exact.state, rtol=0, atol=100 * rtol)  # ‖M⁻¹‖ √n is below 100 here


def test_start_is_passed_on() -> None:
    x = normal_numbers(1, 6)
    equation = ImplicitEquation(LinearVectorField(0.1 * torch.eye(6, dtype=DTYPE)), x, 1.0)
    one = Auto(start="explicit", max_iterations=3, rtol=1e-3).solve(equation, x)
    reference = FixedPoint(start="explicit", max_iterations=3, rtol=1e-3).solve(equation, x)
    assert torch.equal(one.state, reference.state) and torch.equal(one.iterations, reference.iterations)


def test_closed_examples_stay_closed_through_all_stages() -> None:
    matrices, x = torch.stack([random_matrix(8, "stiff"), random_matrix(8, "stiff", 1)]), normal_numbers(2, 8)
    equation = ImplicitEquation(LinearVectorField(matrices), x, 1.0)
    solution = Auto().solve(equation, x, torch.tensor([False, True]))
    assert torch.equal(solution.state[0], x[0]) and solution.converged.tolist() == [False, True]


def test_it_has_no_iteration_of_its_own() -> None:
    x = normal_numbers(1, 2)
    equation = ImplicitEquation(LinearVectorField(torch.eye(2, dtype=DTYPE)), x, 1.0)
    iterate = Iterate(x, x, torch.ones(1, dtype=DTYPE), torch.tensor([True]))
    with pytest.raises(TypeError, match="call solve"):
        Auto().advance(equation, iterate, None)
