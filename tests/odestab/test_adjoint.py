import functools
import itertools
import math

import pytest
import torch
from problems import DTYPE, MixingField, masked_state, normal_numbers, ragged_mask
from torch import Tensor

from odestab.adjoint import AbstractAdjoint, ImplicitAdjoint, OneStepAdjoint, PhantomAdjoint, UnrolledAdjoint
from odestab.one_step import AbstractOneStepMethod, ImplicitEuler, ThetaMethod
from odestab.solver import AbstractImplicitSolver, Anderson, Auto, FixedPoint, GradientDescent, NewtonKrylov, SolveError

MASK = ragged_mask(3, 2)
EXACT = Anderson(rtol=1e-13, memory=8)  # quicker here than Newton
TRUNCATED = {
    "fixed point": FixedPoint(max_iterations=3, rtol=0.0, keep_last=True),
    "Anderson": Anderson(max_iterations=4, memory=2, rtol=0.0, keep_last=True),
    "gradient descent": GradientDescent(steps=3, step_size=0.2, rtol=0.0),
}


def inputs(split: float = -0.5) -> tuple[MixingField, tuple[Tensor, ...]]:
    """The field, and (x, W, U, h) as leaves that require gradients."""
    field = MixingField.random(MASK, hidden=2, size=0.9, split=split, fast=True)
    leaves = masked_state(MASK, hidden=2), field.w, field.u, torch.tensor(0.6, dtype=DTYPE)
    return field, tuple(t.clone().requires_grad_() for t in leaves)


def step(make, field: MixingField, x: Tensor, w: Tensor, u: Tensor, h: Tensor) -> Tensor:
    """One step as a function of everything that it may be differentiated by; padding is no part of it."""
    method: AbstractOneStepMethod = make(h)
    return field.project(method.step(MixingField(w, field.v, u, field.mask, field.split, field.fast), x).state)


def euler(adjoint: AbstractAdjoint, solver: AbstractImplicitSolver = EXACT):
    return lambda h: ImplicitEuler(h, solver=solver, adjoint=adjoint)


def gradients(make, field: MixingField, leaves: tuple[Tensor, ...], scale: float = 1.0) -> list[Tensor]:
    weights = normal_numbers(*leaves[0].shape, seed=11)
    return list(torch.autograd.grad(scale * (weights * step(make, field, *leaves)).sum(), leaves))


def relative_gap(got: list[Tensor], want: list[Tensor]) -> float:
    return max(float((a - b).norm() / b.norm()) for a, b in zip(got, want, strict=True))


@pytest.mark.parametrize("theta", [0.5, 1.0])
def test_implicit_gradient_against_finite_differences(theta: float) -> None:
    field, leaves = inputs()

    def make(h: Tensor) -> ThetaMethod:
        return ThetaMethod(h, theta=theta, solver=EXACT, adjoint=ImplicitAdjoint(1e-12))

    # steps of 1e-6 on a state known to about 1e-13: differences are good to about 1e-7
    assert torch.autograd.gradcheck(functools.partial(step, make, field), leaves, eps=1e-6, atol=1e-5, rtol=1e-5, fast_mode=True)


@pytest.mark.parametrize("solver", TRUNCATED.values(), ids=TRUNCATED.keys())
def test_unrolled_gradient_is_exact_for_the_truncated_map(solver: AbstractImplicitSolver) -> None:
    field, leaves = inputs()
    run = functools.partial(step, euler(UnrolledAdjoint(), solver), field)
    assert torch.autograd.gradcheck(run, leaves, eps=1e-6, atol=1e-6, rtol=1e-6, fast_mode=True)


def test_unrolled_to_convergence_is_the_implicit_gradient() -> None:
    field, leaves = inputs()
    reference = gradients(euler(ImplicitAdjoint(1e-12)), field, leaves)
    unrolled = gradients(euler(UnrolledAdjoint(), FixedPoint(rtol=1e-13, max_iterations=300)), field, leaves)
    assert relative_gap(unrolled, reference) < 1e-9
    early = gradients(euler(UnrolledAdjoint(), TRUNCATED["fixed point"]), field, leaves)
    assert relative_gap(early, reference) > 1e-3  # the gradient of another map


def test_phantom_converges_to_the_implicit_gradient() -> None:
    field, leaves = inputs()
    reference = gradients(euler(ImplicitAdjoint(1e-12)), field, leaves)
    gaps = [relative_gap(gradients(euler(PhantomAdjoint(steps)), field, leaves), reference) for steps in (1, 2, 4, 8, 40)]
    assert gaps[0] > 1e-2 and gaps[-1] < 1e-8 and all(b < a for a, b in itertools.pairwise(gaps))


def test_one_step_is_phantom_of_one() -> None:
    field, leaves = inputs()
    one, phantom = (gradients(euler(adjoint), field, leaves) for adjoint in (OneStepAdjoint(), PhantomAdjoint(1)))
    assert all(torch.equal(a, b) for a, b in zip(one, phantom, strict=True))


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_the_gradient_is_relative_to_the_loss(scale: float) -> None:
    field, leaves = inputs()
    loose = euler(ImplicitAdjoint(1e-3))
    one, scaled = gradients(loose, field, leaves), gradients(loose, field, leaves, scale)
    assert relative_gap([g / scale for g in scaled], one) < 1e-10


def test_tolerance_of_the_adjoint_bounds_its_error() -> None:
    field, leaves = inputs()
    reference = gradients(euler(ImplicitAdjoint(1e-13)), field, leaves)
    for rtol in (1e-2, 1e-5):
        assert relative_gap(gradients(euler(ImplicitAdjoint(rtol)), field, leaves), reference) < 100 * rtol  # ‖M⁻¹‖ ‖M‖ < 100


def test_double_backward_is_refused() -> None:
    field, leaves = inputs()
    state = step(euler(ImplicitAdjoint()), field, *leaves)
    (first,) = torch.autograd.grad((state**2).sum(), leaves[0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


SAME_VALUE = {
    "Anderson": Anderson(rtol=1e-8),
    "stopped": TRUNCATED["fixed point"],
    "auto": Auto(rtol=1e-7),
    "Newton": NewtonKrylov(rtol=1e-7),
}


@pytest.mark.parametrize("solver", SAME_VALUE.values(), ids=SAME_VALUE.keys())
def test_the_value_never_depends_on_the_adjoint(solver: AbstractImplicitSolver) -> None:
    # Newton's cached linearisation, used where no gradient passes, rounds differently from the one with gradients.
    field, leaves = inputs()
    adjoints = (ImplicitAdjoint(), UnrolledAdjoint(), OneStepAdjoint(), PhantomAdjoint(7))
    states = [step(euler(adjoint, solver), field, *leaves).detach() for adjoint in adjoints]
    with torch.no_grad():
        states += [step(euler(adjoint, solver), field, *leaves) for adjoint in adjoints]
    for state in states:
        torch.testing.assert_close(state, states[0], rtol=0, atol=1e-14 if isinstance(solver, NewtonKrylov) else 0)


def test_nothing_is_recorded_where_nothing_asks_for_a_gradient() -> None:
    # Fails if ImplicitAdjoint looks at an image that requires a gradient through its own y: every state then drags a graph along.
    field, leaves = inputs()
    x = leaves[0].detach()
    for adjoint in (UnrolledAdjoint(), PhantomAdjoint(2), OneStepAdjoint(), ImplicitAdjoint()):
        assert not ImplicitEuler(0.5, solver=EXACT, adjoint=adjoint).step(field, x).state.requires_grad


def test_solver_statistics_survive_the_adjoint() -> None:
    field, leaves = inputs()
    for adjoint in (ImplicitAdjoint(), UnrolledAdjoint(), PhantomAdjoint(2)):
        solution = ImplicitEuler(0.5, solver=FixedPoint(), adjoint=adjoint).step(field, leaves[0]).solution
        assert solution is not None and solution.converged.all() and (solution.iterations > 0).all()


def test_a_backward_solve_that_fails_is_an_error_not_a_gradient() -> None:
    field, leaves = inputs()
    state = step(euler(ImplicitAdjoint(1e-12, max_iterations=1)), field, *leaves)
    with pytest.raises(SolveError, match=r"adjoint solve: relative residual .* is above rtol 1\.0e-12"):
        state.sum().backward()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_cotangent_that_is_not_finite_never_becomes_a_finite_gradient(bad: float) -> None:
    # Fails if GMRES takes ‖g‖ = NaN for g = 0: an overflow in the loss then trains as a gradient of zero.
    field, leaves = inputs()
    state = step(euler(ImplicitAdjoint()), field, *leaves)
    try:
        (gradient,) = torch.autograd.grad((bad * state).sum(), leaves[0])
    except SolveError:
        return
    assert not gradient[MASK].isfinite().all()


@pytest.mark.parametrize("solver", [Anderson(rtol=1e-10), Auto(rtol=1e-10)], ids=["Anderson", "auto"])
def test_unrolled_gradient_where_examples_end_at_different_times(solver: AbstractImplicitSolver) -> None:
    # Fails with NaN for Anderson if the norm of an empty memory row is differentiated.
    field, leaves = inputs()
    x = leaves[0].detach().clone()
    x[1] *= 1e-6
    leaves = (x.requires_grad_(), *leaves[1:])
    reference = gradients(euler(ImplicitAdjoint(1e-12)), field, leaves)
    assert relative_gap(gradients(euler(UnrolledAdjoint(), solver), field, leaves), reference) < 1e-4


def test_unrolling_newton_is_refused_loudly() -> None:
    field, leaves = inputs()
    with pytest.raises(RuntimeError, match="inplace"):
        gradients(euler(UnrolledAdjoint(), NewtonKrylov(rtol=1e-10)), field, leaves)


def test_wrong_options() -> None:
    for rtol in (0.0, math.inf):
        with pytest.raises(ValueError, match="rtol must be finite and > 0, got"):
            ImplicitAdjoint(rtol)
    with pytest.raises(ValueError, match="steps must be >= 1, got 0"):
        PhantomAdjoint(0)
