import math

import pytest
import torch
from problems import (
    DTYPE,
    EPS,
    Decay,
    MixingField,
    as_complex,
    central_difference,
    masked_state,
    normal_numbers,
    ragged_mask,
    random_matrix,
    rotated_ones,
    rotation_scaling,
    slope,
)

from odestab.fields.vector_field import LinearVectorField
from odestab.operators.algebra import check_adjoint
from odestab.solver import Anderson, FixedPoint, GradientDescent, NewtonKrylov
from odestab.steps.one_step import AbstractOneStepMethod, ExplicitEuler, ImplicitEuler, ThetaMethod

EXACT = Anderson(rtol=1e-13, memory=8)  # quicker here than Newton
METHODS = {
    "explicit Euler": (ExplicitEuler(1.0), 1),
    "implicit Euler": (ImplicitEuler(1.0, solver=EXACT), 1),
    "theta = 1/2": (ThetaMethod(1.0, theta=0.5, solver=EXACT), 2),
    "theta = 0.8": (ThetaMethod(1.0, theta=0.8, solver=EXACT), 1),
}
each_method = pytest.mark.parametrize("method, order", METHODS.values(), ids=METHODS.keys())
MASK = ragged_mask(4, 2)


def with_step(method: AbstractOneStepMethod, h: float) -> AbstractOneStepMethod:
    if isinstance(method, ExplicitEuler):
        return ExplicitEuler(h)
    if isinstance(method, ImplicitEuler):
        return ImplicitEuler(h, solver=EXACT)
    assert isinstance(method, ThetaMethod)
    return ThetaMethod(h, theta=method.theta, solver=EXACT)


@each_method
def test_order_of_convergence_on_a_non_linear_problem(
    method: AbstractOneStepMethod, order: int
) -> None:
    x0, counts = torch.tensor([[0.5, 1.0]], dtype=DTYPE), [5, 10, 20]
    errors = []
    for count in counts:
        x = x0
        for _ in range(count):
            x = with_step(method, 1 / count).step(Decay(), x).state.detach()
        errors.append(float((x - Decay.solution(x0, 1.0)).norm()))
    assert slope([1 / c for c in counts], errors) == pytest.approx(order, abs=0.1)


@each_method
def test_a_step_multiplies_by_the_stability_function(
    method: AbstractOneStepMethod, order: int
) -> None:
    h = 0.7
    z, x = rotated_ones(-0.5 + 0.4j, -3.0 + 1.0j, 0.2 - 2.0j, 0.5 + 0j)
    for split in (0.0, -1.0):
        step = with_step(method, h).step(LinearVectorField(rotation_scaling(z / h), split), x)
        # rtol of the solver times ‖(I − hA)⁻¹‖, at most 2.5 here, times √n
        torch.testing.assert_close(
            as_complex(step.state), method.stability_function(z), rtol=0, atol=1e-11
        )


@each_method
def test_stability_function_matches_the_exponential_to_its_order(
    method: AbstractOneStepMethod, order: int
) -> None:
    sizes = [1e-1, 1e-2, 1e-3]
    z = torch.tensor(sizes, dtype=torch.complex128) * complex(math.cos(1), math.sin(1))
    errors = (method.stability_function(z) - torch.exp(z)).abs().tolist()
    assert slope(sizes, errors) == pytest.approx(order + 1, abs=0.05)


def test_behaviour_at_infinity_and_at_the_imaginary_axis() -> None:
    far = torch.tensor([-1e12 + 0j, 1e12j, 1e12 + 0j], dtype=torch.complex128)
    imaginary = 1j * torch.linspace(-50, 50, 101, dtype=DTYPE)
    assert (ImplicitEuler(1.0).stability_function(far).abs() < 1e-11).all()  # L-stable
    torch.testing.assert_close(
        ThetaMethod(1.0, theta=0.5).stability_function(far).abs(),
        torch.ones(3, dtype=DTYPE),
        rtol=0,
        atol=1e-11,
    )
    torch.testing.assert_close(
        ThetaMethod(1.0, theta=0.8).stability_function(far).abs(),
        0.25 * torch.ones(3, dtype=DTYPE),
        rtol=0,
        atol=1e-11,
    )
    torch.testing.assert_close(
        ThetaMethod(1.0, theta=0.5).stability_function(imaginary).abs(),
        torch.ones(101, dtype=DTYPE),
        rtol=0,
        atol=10 * EPS,
    )
    assert (ImplicitEuler(1.0).stability_function(imaginary).abs() <= 1).all()
    assert (ExplicitEuler(1.0).stability_function(imaginary).abs() >= 1).all()


@pytest.mark.parametrize("theta", [0.25, 0.5, 1.0])
def test_pole(theta: float) -> None:
    method = ThetaMethod(1.0, theta=theta)
    near = torch.tensor([method.pole + 1e-9], dtype=torch.complex128)
    assert method.stability_function(near).abs().item() > 1e8
    assert ImplicitEuler(1.0).pole == 1.0 and ExplicitEuler(1.0).pole is None


def test_theta_one_is_implicit_euler() -> None:
    field, x = MixingField.random(MASK), masked_state(MASK)
    one, other = (
        ThetaMethod(0.8, theta=1.0, solver=EXACT).step(field, x),
        ImplicitEuler(0.8, solver=EXACT).step(field, x),
    )
    assert torch.equal(one.state, other.state)


def test_the_split_changes_how_an_explicit_step_is_computed_never_what() -> None:
    matrix, x = random_matrix(8, "non-normal"), normal_numbers(2, 8)
    plain, split = (
        ExplicitEuler(0.3).step(LinearVectorField(matrix, c), x).state for c in (0.0, -1.0)
    )
    torch.testing.assert_close(plain, split, rtol=0, atol=100 * EPS)


@each_method
@pytest.mark.parametrize("split", [0.0, -0.5])
def test_derivative_against_dense_and_central_differences(
    method: AbstractOneStepMethod, order: int, split: float
) -> None:
    h = 0.6
    field, x, v = (
        MixingField.random(MASK, size=1.0, split=split, fast=True),
        masked_state(MASK),
        masked_state(MASK, seed=7),
    )
    method = with_step(method, h)
    y = method.step(field, x).state
    derivative = method.derivative(field, x, y)
    torch.testing.assert_close(
        derivative.mv(v),
        central_difference(lambda s: method.step(field, s).state, x, v),
        rtol=0,
        atol=1e-6,
    )
    assert (check_adjoint(derivative) < 1e-6).all()  # the linear solves have rtol 1e-8
    theta = {ExplicitEuler: 0.0, ImplicitEuler: 1.0}.get(
        type(method), getattr(method, "theta", None)
    )
    for example, matrix in enumerate(derivative.dense()):
        identity = torch.eye(len(matrix), dtype=DTYPE)
        before = identity + h * (1 - theta) * field.matrix(x, example)
        after = identity - h * theta * field.matrix(y, example)
        torch.testing.assert_close(matrix, torch.linalg.solve(after, before), rtol=0, atol=1e-6)


EXECUTED = {
    "fixed point": FixedPoint(max_iterations=4, rtol=0.0, keep_last=True),
    "damped fixed point from the explicit step": FixedPoint(
        max_iterations=3, damping=0.6, start="explicit", rtol=0.0, keep_last=True
    ),
    "Anderson": Anderson(max_iterations=5, memory=2, rtol=0.0, keep_last=True),
    "gradient descent": GradientDescent(steps=5, step_size=0.2, rtol=0.0),
}


@pytest.mark.parametrize("solver", EXECUTED.values(), ids=EXECUTED.keys())
@pytest.mark.parametrize("theta", [0.5, 1.0])
def test_executed_derivative_is_that_of_the_truncated_map(solver, theta: float) -> None:
    method = (
        ImplicitEuler(0.7, solver=solver)
        if theta == 1
        else ThetaMethod(0.7, theta=theta, solver=solver)
    )
    field, x, v = (
        MixingField.random(MASK, size=1.0, split=-0.5, fast=True),
        masked_state(MASK),
        masked_state(MASK, seed=7),
    )
    y = method.step(field, x).state
    derivative = method.derivative(field, x, y, executed=True)
    expected = central_difference(lambda s: method.step(field, s).state, x, v)
    torch.testing.assert_close(derivative.mv(v), expected, rtol=0, atol=1e-7)
    assert (check_adjoint(derivative) < 1e-11).all()
    tangents = torch.stack([v, 2 * v])
    torch.testing.assert_close(derivative.mv(tangents)[1], 2 * derivative.mv(v), rtol=0, atol=1e-12)
    torch.testing.assert_close(
        derivative.rmv(tangents)[1], 2 * derivative.rmv(v), rtol=0, atol=1e-12
    )
    exact = method.derivative(field, x, y).mv(v)
    assert (exact - expected).abs().max() > 1e-5  # a stopped solver is not the implicit method


def test_executed_derivative_of_newton_is_the_methods_own() -> None:
    method = ImplicitEuler(0.7, solver=NewtonKrylov(rtol=1e-10))
    field, x, v = (
        MixingField.random(MASK, fast=True),
        masked_state(MASK),
        masked_state(MASK, seed=7),
    )
    y = method.step(field, x).state
    executed, exact = method.derivative(field, x, y, executed=True), method.derivative(field, x, y)
    torch.testing.assert_close(executed.mv(v), exact.mv(v), rtol=0, atol=1e-4)
    torch.testing.assert_close(
        executed.mv(torch.stack([v, -v]))[1], -executed.mv(v), rtol=0, atol=1e-8
    )
    with pytest.raises(RuntimeError, match="inplace"):  # reverse mode does not pass through GMRES
        executed.rmv(v)


def test_executed_reverse_mode_after_one_example_has_ended() -> None:
    # Fails with NaN if the norm of an empty row of Anderson's memory is differentiated.
    method = ImplicitEuler(0.7, solver=Anderson(rtol=1e-9))
    field, x, u = MixingField.random(MASK, size=1.0), masked_state(MASK), masked_state(MASK, seed=7)
    x[1] *= 1e-5
    step = method.step(field, x)
    assert (
        step.solution is not None and step.solution.iterations[0] > step.solution.iterations[1] + 1
    )
    derivative = method.derivative(field, x, step.state, executed=True)
    assert derivative.rmv(u).isfinite().all() and (check_adjoint(derivative) < 1e-10).all()


@pytest.mark.parametrize("make", [ExplicitEuler, ImplicitEuler, ThetaMethod])
def test_wrong_step_size(make) -> None:
    for h in (-0.5, 0.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="step_size must be > 0 and finite, got"):
            make(h)
    with pytest.raises(ValueError, match=r"step_size must be > 0 and finite, got -0\.5"):
        make(torch.tensor(-0.5))


@pytest.mark.parametrize("theta", [0.0, 1.1, math.nan])
def test_wrong_theta(theta: float) -> None:
    with pytest.raises(ValueError, match=r"theta must be in \(0, 1\], got"):
        ThetaMethod(1.0, theta=theta)
