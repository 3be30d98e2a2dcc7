"""The linear solve of the implicit adjoint: its tolerance, its record, its failures, its precision,
its first guess.
"""

import math

import pytest
import torch
from problems import DTYPE, EPS, jordan_block, normal_numbers
from steps import (
    CONVERGED,
    EXACT,
    FIELD,
    MASK,
    exact_gradients,
    gradients,
    leaves,
    relative_gap,
    state,
)
from torch import Tensor

import odestab as od
from odestab.adjoint import ImplicitAdjoint
from odestab.adjoint.linear_solve import solve_linear


def pulled_back(adjoint: ImplicitAdjoint, cotangent: Tensor) -> Tensor:
    x, *others = leaves()
    return torch.autograd.grad(state(adjoint, EXACT, x, *others), x, cotangent)[0]


def test_the_tolerance_bounds_the_error() -> None:
    for rtol in (1e-2, 1e-5, 1e-9):
        assert (
            relative_gap(gradients(ImplicitAdjoint(rtol)), exact_gradients()) < 100 * rtol
        )  # ‖M⁻¹‖ ‖M‖ < 100


def test_the_record_is_of_the_last_solve() -> None:
    adjoint = ImplicitAdjoint(1e-5)
    assert adjoint.last is None
    gradients(adjoint)
    first = adjoint.last
    assert (
        first is not None
        and first.converged.tolist() == [True, True]
        and first.tolerance.tolist() == [1e-5, 1e-5]
    )
    assert (first.residual <= 1e-5).all() and (first.iterations > 0).all()
    pulled_back(adjoint, torch.zeros_like(leaves()[0]))
    assert (
        adjoint.last is not first
        and adjoint.last.iterations.tolist() == [0, 0]
        and adjoint.last.residual.tolist() == [0, 0]
    )
    assert adjoint == ImplicitAdjoint(1e-5)


def test_a_solve_that_fails_is_an_error_that_names_the_examples() -> None:
    message = (
        r"2 of 2 adjoint solves did not converge: 0: relative residual .* "
        r"above 1\.0e-12 after 1 products, 1: relative residual"
    )
    with pytest.raises(od.SolveError, match=message):
        gradients(ImplicitAdjoint(1e-12, max_iterations=1))
    adjoint = ImplicitAdjoint(1e-12, max_iterations=1, on_failure="record")
    assert relative_gap(gradients(adjoint), exact_gradients()) < 1  # the best v so far
    assert adjoint.last is not None and not adjoint.last.converged.any()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_cotangent_that_is_not_finite_concerns_its_example_alone(bad: float) -> None:
    good = normal_numbers(*leaves()[0].shape, seed=3)
    spoilt = good.clone()
    spoilt[1, 0, 0] = bad
    with pytest.raises(
        od.SolveError,
        match=r"1 of 2 adjoint solves did not converge: 1: relative "
        r"residual nan above 1\.0e-06 after 0 products",
    ):
        pulled_back(ImplicitAdjoint(), spoilt)
    adjoint = ImplicitAdjoint(on_failure="record")
    found, clean = pulled_back(adjoint, spoilt), pulled_back(ImplicitAdjoint(), good)
    assert torch.equal(found[0], clean[0]) and not found[1][MASK[1]].isfinite().any()
    assert adjoint.last is not None and adjoint.last.converged.tolist() == [True, False]


def test_an_example_does_not_depend_on_the_size_of_its_batch_mates() -> None:
    cotangent = normal_numbers(*leaves()[0].shape, seed=3)
    small = cotangent * torch.tensor([1.0, 1e-12], dtype=DTYPE)[:, None, None]
    one, two = (pulled_back(ImplicitAdjoint(1e-6), g) for g in (cotangent, small))
    assert torch.equal(one[0], two[0])
    torch.testing.assert_close(two[1] * 1e12, one[1], rtol=1e-12, atol=1e-14)


def test_powers_of_two_pass_bit_for_bit() -> None:
    g, matrix = normal_numbers(2, 5), normal_numbers(5, 5, seed=1) / 5
    (one, _), (scaled, _) = (
        solve_linear(lambda v: v @ matrix, s * g, None, 1e-3, EPS, 50, 30) for s in (1.0, 2.0**-90)
    )
    assert torch.equal(scaled, one * 2.0**-90)


def test_a_warm_start_saves_products_and_never_costs_more_than_one() -> None:
    g, matrix = normal_numbers(3, 40), jordan_block(40, 0.3)

    def products(guess: Tensor | None) -> tuple[Tensor, Tensor]:
        v, record = solve_linear(lambda v: v @ (0.5 * matrix), g, None, 1e-8, EPS, 100, 80, guess)
        assert record.converged.all()
        torch.testing.assert_close(v - v @ (0.5 * matrix), g, rtol=0, atol=1e-7)
        return v, record.iterations

    v, cold = products(None)
    assert (products(-3e4 * v)[1] == 0).all()  # the scale of the guess does not matter
    assert (products(v + 1e-4 * normal_numbers(3, 40, seed=5))[1] < cold).all()
    for useless in (torch.zeros_like(g), torch.full_like(g, math.nan), 1e-300 * g):
        assert (products(useless)[1] <= cold).all()


def test_a_warm_adjoint_starts_from_its_last_solution() -> None:
    adjoint = ImplicitAdjoint(1e-8, warm_start=True)
    cold = gradients(adjoint)
    assert adjoint.last is not None and (adjoint.last.iterations > 0).all()
    assert relative_gap(gradients(adjoint), cold) < 1e-7 and not adjoint.last.iterations.any()
    other = od.LinearVectorField(0.1 * torch.eye(3, dtype=DTYPE))
    x = normal_numbers(4, 3).requires_grad_()
    od.ImplicitEuler(1.0, solver=EXACT, adjoint=adjoint).step(
        other, x
    ).state.sum().backward()  # another shape: nothing to start from
    torch.testing.assert_close(x.grad, torch.full_like(x, 1 / 0.9))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_coarse_arithmetic_gets_the_gradient_that_it_allows(dtype: torch.dtype) -> None:
    """GMRES runs in float32, and no residual is asked for that products in `dtype` cannot show."""
    matrix = 0.5 * normal_numbers(6, 6) / 6**0.5
    field, x = (
        od.LinearVectorField(matrix.to(dtype)),
        normal_numbers(2, 6, seed=1).to(dtype).requires_grad_(),
    )
    adjoint = ImplicitAdjoint(1e-9)
    solver = od.FixedPoint(rtol=8 * torch.finfo(dtype).eps)
    od.ImplicitEuler(1.0, solver=solver, adjoint=adjoint).step(
        field, x
    ).state.float().sum().backward()
    exact = torch.linalg.solve((torch.eye(6, dtype=DTYPE) - matrix).T, torch.ones(6, dtype=DTYPE))
    assert adjoint.last is not None and (adjoint.last.tolerance >= 8 * torch.finfo(dtype).eps).all()
    assert float((x.grad.double() - exact).norm() / exact.norm()) < 20 * torch.finfo(dtype).eps


def test_autocast_around_the_step() -> None:
    x, w = (t.detach().float() for t in leaves()[:2])
    layer = torch.nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(0.5 * w)
    field = od.LayerVectorField(lambda y: torch.tanh(layer(y)), MASK)
    found = {}
    for enabled in (False, True):
        adjoint = ImplicitAdjoint()
        with torch.autocast("cpu", torch.bfloat16, enabled):
            step = od.ImplicitEuler(1.0, solver=od.FixedPoint(rtol=3e-3), adjoint=adjoint).step(
                field, x.requires_grad_()
            )
            loss = step.state.square().sum()
        found[enabled] = torch.autograd.grad(loss, [x, layer.weight])
        assert (
            step.state.dtype == torch.float32
            and adjoint.last is not None
            and adjoint.last.converged.all()
        )
    assert (adjoint.last.tolerance >= 8 * torch.finfo(torch.bfloat16).eps).all()
    assert 1e-5 < relative_gap(found[True], found[False]) < 0.1


def test_the_error_is_of_the_order_of_the_residual() -> None:
    """Gradient errors at looser and looser states fall along a line of slope one."""
    sizes, errors = [], []
    for rtol in (1e-2, 1e-4, 1e-6, 1e-8):
        errors.append(
            relative_gap(
                gradients(ImplicitAdjoint(1e-13), od.FixedPoint(rtol=rtol, max_iterations=300)),
                exact_gradients(),
            )
        )
        sizes.append(rtol)
    ratios = [error / size for error, size in zip(errors, sizes, strict=True)]
    assert max(ratios) < 100 and min(ratios) > 1e-3


def test_a_linear_field_has_the_same_gradient_at_any_state() -> None:
    field, x = od.LinearVectorField(-jordan_block(4, 0.5)), normal_numbers(2, 4).requires_grad_()
    stopped = od.FixedPoint(max_iterations=1, keep_last=True)
    state = (
        od.ImplicitEuler(1.0, solver=stopped, adjoint=ImplicitAdjoint(1e-13)).step(field, x).state
    )
    (gradient,) = torch.autograd.grad(state.sum(), x)
    exact = torch.linalg.solve(
        torch.eye(4, dtype=DTYPE) + jordan_block(4, 0.5).T, torch.ones(4, dtype=DTYPE)
    )
    torch.testing.assert_close(gradient, exact.expand(2, 4), rtol=1e-11, atol=1e-12)


def test_restarts_hold_less_memory_and_reach_the_tolerance() -> None:
    adjoint = ImplicitAdjoint(1e-12, restart=3)
    assert relative_gap(gradients(adjoint), exact_gradients()) < 1e-10
    assert adjoint.last is not None and (adjoint.last.iterations > 3).all()


def test_theta_method_against_finite_differences() -> None:
    x, *_, h = leaves()

    def run(x: Tensor, h: Tensor) -> Tensor:
        method = od.ThetaMethod(
            h, theta=0.5, solver=CONVERGED["Anderson"], adjoint=ImplicitAdjoint(1e-12)
        )
        return FIELD.project(method.step(FIELD, x).state)

    assert torch.autograd.gradcheck(run, (x, h), atol=1e-5, rtol=1e-5, fast_mode=True)
