from pathlib import Path

import pytest
import torch
from problems import DTYPE, MixingField, masked_state, normal_numbers, ragged_mask, random_matrix

import odestab as od
from odestab.fields.vector_field import LinearVectorField
from odestab.solver import Auto, FixedPoint, ImplicitEquation, NewtonKrylov, Status
from odestab.solver.iteration import Iterate


def test_easy_examples_are_left_to_the_fixed_point_bit_for_bit() -> None:
    easy, stiff, x = (
        1e-3 * torch.eye(12, dtype=DTYPE),
        random_matrix(12, "stiff"),
        normal_numbers(2, 12),
    )
    equation = ImplicitEquation(LinearVectorField(torch.stack([easy, stiff])), x, 1.0)
    solution = Auto().solve(equation, x)
    first = FixedPoint(max_iterations=4).solve(equation, x)
    assert solution.converged.all() and first.converged.tolist() == [True, False]
    assert (
        torch.equal(solution.state[0], first.state[0])
        and solution.evaluations[0] == first.evaluations[0]
    )
    assert (
        solution.evaluations[1] > first.evaluations[1]
        and solution.iterations[1] > first.iterations[1]
    )


@pytest.mark.parametrize("rtol", [1e-4, 1e-10])
def test_agrees_with_newton_on_a_masked_field(rtol: float) -> None:
    mask = ragged_mask(4, 2)
    equation = ImplicitEquation(
        MixingField.random(mask, size=1.2, split=-0.4), masked_state(mask), 1.0
    )
    solution = Auto(rtol=rtol).solve(equation, equation.rhs)
    exact = NewtonKrylov(rtol=1e-13).solve(equation, equation.rhs)
    assert solution.converged.all() and exact.converged.all()
    torch.testing.assert_close(
        solution.state, exact.state, rtol=0, atol=100 * rtol
    )  # ‖M⁻¹‖ √n is below 100 here


def test_start_is_passed_on() -> None:
    x = normal_numbers(1, 6)
    equation = ImplicitEquation(LinearVectorField(0.1 * torch.eye(6, dtype=DTYPE)), x, 1.0)
    one = Auto(start="explicit", max_iterations=3, rtol=1e-3).solve(equation, x)
    reference = FixedPoint(start="explicit", max_iterations=3, rtol=1e-3).solve(equation, x)
    assert torch.equal(one.state, reference.state) and torch.equal(
        one.iterations, reference.iterations
    )


def test_closed_examples_stay_closed_through_all_stages() -> None:
    matrices, x = (
        torch.stack([random_matrix(8, "stiff"), random_matrix(8, "stiff", 1)]),
        normal_numbers(2, 8),
    )
    equation = ImplicitEquation(LinearVectorField(matrices), x, 1.0)
    solution = Auto().solve(equation, x, torch.tensor([False, True]))
    assert torch.equal(solution.state[0], x[0]) and solution.converged.tolist() == [False, True]


def test_it_has_no_iteration_of_its_own() -> None:
    x = normal_numbers(1, 2)
    equation = ImplicitEquation(LinearVectorField(torch.eye(2, dtype=DTYPE)), x, 1.0)
    iterate = Iterate(x, x, torch.ones(1, dtype=DTYPE), torch.tensor([True]))
    with pytest.raises(TypeError, match="call solve"):
        Auto().advance(equation, iterate, None)


def test_under_autocast_the_floor_is_reported_and_polishing_goes_below_it() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Sequential(
        torch.nn.Linear(16, 32), torch.nn.Tanh(), torch.nn.Linear(32, 16)
    ).requires_grad_(False)
    mask = torch.ones(3, 4, dtype=torch.bool)
    field, x = od.LayerVectorField(lambda y: layer(y).float(), mask, "outer"), torch.randn(3, 4, 16)
    equation = ImplicitEquation(
        od.LayerVectorField(layer, mask, "outer"), x, 1.0, differentiable=False
    )
    with torch.no_grad():
        exact = Auto(rtol=1e-6).solve(ImplicitEquation(field, x, 1.0), x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            plain, polished = (
                Auto(rtol=1e-6, polish=polish).solve(equation, x) for polish in (False, True)
            )
            closed = Auto(rtol=1e-6, polish=True).solve(
                equation, plain.state, torch.tensor([True, False, True])
            )
    assert (
        (plain.status == Status.STALLED).all()
        and plain.at_floor.all()
        and (plain.evaluations < 40).all()
    )
    assert plain.state.dtype == torch.float32
    assert polished.converged.all() and (polished.evaluations > plain.evaluations).all()
    torch.testing.assert_close(polished.state, exact.state, rtol=0, atol=1e-4)
    torch.testing.assert_close(plain.state, exact.state, rtol=0, atol=0.1)
    assert (
        torch.equal(closed.state[1], plain.state[1]) and closed.iterations[1] == 0
    )  # a closed example is not polished


def test_half_precision_throughout_ends_with_a_status() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix, x = (
        torch.randn(6, 24, 24, generator=generator).bfloat16(),
        torch.randn(6, 4, 6, generator=generator).bfloat16(),
    )
    with torch.no_grad():
        found = Auto(rtol=1e-2).solve(ImplicitEquation(od.LinearVectorField(matrix), x, 1.0), x)
    assert (
        found.state.dtype == torch.bfloat16
        and (found.status != Status.ILL_POSED).all()
        and found.residual.isfinite().all()
    )


def test_half_precision_ends_where_rounding_in_f_leaves_it() -> None:
    """No stage can do better, and the later ones would differentiate f to find that out."""
    evaluations = [0]

    def f(y: torch.Tensor) -> torch.Tensor:
        evaluations[0] += 1
        return torch.tanh(y.flip(-1)) + 0.01 * torch.sin(
            1e4 * y
        )  # no two roundings of y agree to more than that

    x = torch.randn(4, 3, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.no_grad():
        found = Auto(rtol=1e-6).solve(ImplicitEquation(od.LayerVectorField(f), x, 0.5), x)
    assert (
        (found.status == Status.STALLED).any()
        and (found.converged | found.at_floor).all()
        and evaluations[0] < 40
    )


def test_the_ghost_of_a_fold_is_passed(minilm_folder: Path) -> None:
    """At h = 0.97 the solution that begins at x ends in a fold; at h = 1 there is another one, a
    hundred fixed-point steps away.
    """
    encoder, tokenizer = od.load_encoder(minilm_folder, torch.float32)
    text = "He forgot his umbrella on the train again. Why did the lights go out last night?"
    trajectory = od.trace(encoder, tokenizer([text], return_tensors="pt"))
    equation = ImplicitEquation(
        trajectory.fields[0], trajectory.states[0], 1.0, differentiable=False
    )
    with torch.no_grad():
        impatient = FixedPoint(rtol=1e-5, max_iterations=200).solve(equation, equation.rhs)
        found = Auto(rtol=1e-5).solve(equation, equation.rhs)
    assert impatient.status.tolist() == [Status.STALLED]
    assert found.converged.all()
    assert (
        float(equation.field.rms(equation.residual(found.state)) / equation.field.rms(found.state))
        <= 1e-5
    )
