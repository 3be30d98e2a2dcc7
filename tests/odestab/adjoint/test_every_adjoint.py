"""Every adjoint with every solver: first derivatives, second ones or their refusal, padding,
values.
"""

import itertools

import pytest
import torch
from problems import MixingField, normal_numbers, ragged_mask
from steps import (
    CONVERGED,
    EXACT,
    FIELD,
    MASK,
    TRUNCATED,
    exact_gradients,
    gradients,
    leaves,
    relative_gap,
    state,
    step,
)
from torch import Tensor

import odestab as od
from odestab.adjoint import (
    AbstractAdjoint,
    ImplicitAdjoint,
    OneStepAdjoint,
    PhantomAdjoint,
    UnrolledAdjoint,
)
from odestab.solver import AbstractImplicitSolver

BIASED = {"one step": OneStepAdjoint(), "phantom": PhantomAdjoint(5)}
EVERY = {
    "implicit": ImplicitAdjoint(),
    "unrolled": UnrolledAdjoint(),
    "recomputed": UnrolledAdjoint(recompute=True),
    **BIASED,
}


def of(table: dict):
    return pytest.mark.parametrize(
        "adjoint" if table is EVERY or table is BIASED else "solver",
        table.values(),
        ids=table.keys(),
    )


@of(CONVERGED)
def test_implicit_gradient_against_finite_differences(solver: AbstractImplicitSolver) -> None:
    # differences over 1e-6 of a state known to about 1e-13 are good to about 1e-7
    assert torch.autograd.gradcheck(
        step(ImplicitAdjoint(1e-12), solver), leaves(), atol=1e-5, rtol=1e-5, fast_mode=True
    )


@of(CONVERGED)
def test_implicit_gradient_is_that_of_dense_matrices(solver: AbstractImplicitSolver) -> None:
    assert relative_gap(gradients(ImplicitAdjoint(1e-13), solver), exact_gradients()) < 1e-11


@of(TRUNCATED)
@pytest.mark.parametrize("recompute", [False, True])
def test_unrolled_derivatives_are_exact_for_the_truncated_map(
    solver: AbstractImplicitSolver, recompute: bool
) -> None:
    run = step(UnrolledAdjoint(recompute), solver)
    if recompute and isinstance(solver, od.GradientDescent):
        with pytest.raises(
            RuntimeError,
            match=r"UnrolledAdjoint\(recompute=True\) cannot be used inside torch.func",
        ):
            run(*leaves())
        return
    assert torch.autograd.gradcheck(run, leaves(), atol=1e-6, rtol=1e-6, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, leaves(), atol=1e-5, rtol=1e-5, fast_mode=True)


@of(CONVERGED)
@of(BIASED)
def test_biased_gradients_are_truncated_neumann_series(
    adjoint: AbstractAdjoint, solver: AbstractImplicitSolver
) -> None:
    """Σ_{i<k} ((I − τM)ᵀ)ⁱ τ g with M = I − hJ and τ = 1/(1 − hc), by dense matrices."""
    x, w, u, h = leaves()
    g, steps, expected = (
        torch.ones_like(x),
        adjoint.steps if isinstance(adjoint, PhantomAdjoint) else 1,
        torch.zeros_like(x),
    )
    found = state(adjoint, solver, x, w, u, h)
    (gradient,) = torch.autograd.grad(found, x, g)
    with torch.no_grad():
        factor = 1 / (1 - h * FIELD.split)
        for i, real in enumerate(MASK):
            jacobian = FIELD.matrix(found, i)
            identity = torch.eye(len(jacobian), dtype=x.dtype)
            iteration = identity - factor * (identity - h * jacobian)
            series = sum(torch.linalg.matrix_power(iteration.T, k) for k in range(steps))
            expected[i, real] = (factor * series @ g[i, real].flatten()).view(-1, 2)
    torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-11)


@of(CONVERGED)
@pytest.mark.parametrize(
    "adjoint", [ImplicitAdjoint(1e-12), *BIASED.values()], ids=["implicit", *BIASED]
)
def test_a_second_derivative_that_would_be_wrong_is_refused(
    adjoint: AbstractAdjoint, solver: AbstractImplicitSolver
) -> None:
    """The loss is linear in the state, so that no cotangent depends on anything: the case in which
    a wrong second derivative is silent.
    """
    inputs = leaves()
    first = torch.autograd.grad(state(adjoint, solver, *inputs).sum(), inputs, create_graph=True)
    for one in inputs:
        with pytest.raises(RuntimeError, match=r"own.*: use UnrolledAdjoint"):
            torch.autograd.grad(
                sum(gradient.sum() for gradient in first[1:]), one, retain_graph=True
            )


def test_reverse_mode_through_newton_is_refused() -> None:
    for adjoint in (UnrolledAdjoint(), UnrolledAdjoint(recompute=True)):
        with pytest.raises(RuntimeError):
            gradients(adjoint, CONVERGED["Newton"])


@of(EVERY)
def test_padding_never_contributes(adjoint: AbstractAdjoint) -> None:
    """The loss looks at padding and x has numbers there; an example alone, without padding, has the
    same gradients.
    """
    field = MixingField(FIELD.w, FIELD.v, FIELD.u, ragged_mask(2), FIELD.split, True)
    x, w, u, h = leaves()
    (padded,) = torch.autograd.grad(state(adjoint, EXACT, x, w, u, h).sum(), x)
    assert not padded[~MASK].any() and padded[MASK].all()
    alone = x.detach()[1:, :2].requires_grad_()
    found = od.ImplicitEuler(h.detach(), solver=EXACT, adjoint=adjoint).step(field, alone).state
    (gradient,) = torch.autograd.grad(found.sum(), alone)
    torch.testing.assert_close(
        padded[1:, :2], gradient, rtol=1e-6, atol=0
    )  # each linear solve stops at 1e-6


@of(EVERY)
@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_the_gradient_is_relative_to_the_loss(adjoint: AbstractAdjoint, scale: float) -> None:
    one, scaled = gradients(adjoint), gradients(adjoint, scale=scale)
    assert relative_gap([g / scale for g in scaled], one) < 1e-12


@pytest.mark.parametrize("rtol", [1e-2, 1e-4])
@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_a_scaled_loss_does_not_double_the_error(rtol: float, scale: float) -> None:
    plain, scaled = (gradients(ImplicitAdjoint(rtol), scale=s) for s in (1.0, scale))
    error = relative_gap(plain, exact_gradients())
    assert 0.5 < relative_gap([g / scale for g in scaled], exact_gradients()) / error < 2


@of(CONVERGED)
def test_the_value_depends_on_the_adjoint_by_rounding_at_most(
    solver: AbstractImplicitSolver,
) -> None:
    """A solver may compute otherwise where nothing is recorded; its tolerance of 1e-13 bounds what
    that changes.
    """
    adjoints = [adjoint for adjoint in EVERY.values() if adjoint != UnrolledAdjoint(recompute=True)]
    states = [state(adjoint, solver, *leaves()) for adjoint in adjoints]
    with torch.no_grad():
        states += [state(adjoint, solver, *leaves()) for adjoint in EVERY.values()]
    for one in states:
        torch.testing.assert_close(one, states[0], rtol=0, atol=1e-12)


@of(EVERY)
def test_nothing_is_recorded_where_nothing_asks_for_a_gradient(adjoint: AbstractAdjoint) -> None:
    # Fails if ImplicitAdjoint looks at an image that requires a gradient through its own y: every
    # state then drags a graph along.
    assert not state(adjoint, EXACT, *(t.detach() for t in leaves())).requires_grad


@of(EVERY)
def test_solver_statistics_survive_the_adjoint(adjoint: AbstractAdjoint) -> None:
    solution = (
        od.ImplicitEuler(0.5, solver=od.FixedPoint(), adjoint=adjoint)
        .step(FIELD, leaves()[0])
        .solution
    )
    assert solution is not None and solution.converged.all() and (solution.iterations > 0).all()


def test_unrolled_to_convergence_is_the_implicit_gradient() -> None:
    assert (
        relative_gap(gradients(UnrolledAdjoint(), CONVERGED["fixed point"]), exact_gradients())
        < 1e-9
    )
    assert (
        relative_gap(gradients(UnrolledAdjoint(), TRUNCATED["fixed point"]), exact_gradients())
        > 1e-3
    )  # that of another map


def test_phantom_converges_to_the_implicit_gradient() -> None:
    gaps = [
        relative_gap(gradients(PhantomAdjoint(steps)), exact_gradients())
        for steps in (1, 2, 4, 8, 40)
    ]
    assert gaps[0] > 1e-2 and gaps[-1] < 1e-8 and all(b < a for a, b in itertools.pairwise(gaps))


@pytest.mark.parametrize(
    "solver", [od.Anderson(rtol=1e-10), od.Auto(rtol=1e-10)], ids=["Anderson", "auto"]
)
def test_unrolled_gradient_where_examples_end_at_different_times(
    solver: AbstractImplicitSolver,
) -> None:
    # Fails with NaN for Anderson if the norm of an empty memory row is differentiated.
    inputs = leaves()
    x = inputs[0].detach().clone()
    x[1] *= 1e-6

    def found(adjoint: AbstractAdjoint) -> list[Tensor]:
        return list(
            torch.autograd.grad(
                (state(adjoint, solver, x.requires_grad_(), *inputs[1:]) ** 2).sum(),
                (x, *inputs[1:]),
            )
        )

    assert relative_gap(found(UnrolledAdjoint()), found(ImplicitAdjoint(1e-12))) < 1e-4


def test_recomputing_keeps_states_and_not_activations() -> None:
    """What autograd keeps of an iteration, in words of the state; the layer keeps some four states,
    and a wide one many.
    """
    wide = MixingField(
        *(0.1 * normal_numbers(*size) for size in ((2, 64), (64, 2), (2, 2))), MASK, fast=True
    )

    def kept(adjoint: AbstractAdjoint, iterations: int) -> int:
        sizes: dict[int, int] = {}
        solver = od.FixedPoint(max_iterations=iterations, rtol=0.0, keep_last=True)
        x = leaves()[0]
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: sizes.setdefault(t.data_ptr(), t.numel()) and t, lambda t: t
        ):
            held = od.ImplicitEuler(0.1, solver=solver, adjoint=adjoint).step(wide, x)
        assert held.state.requires_grad
        return sum(sizes.values())

    recomputed = kept(UnrolledAdjoint(recompute=True), 9) - kept(UnrolledAdjoint(recompute=True), 4)
    assert recomputed < 0.2 * (kept(UnrolledAdjoint(), 9) - kept(UnrolledAdjoint(), 4))
    assert kept(ImplicitAdjoint(), 9) == kept(ImplicitAdjoint(), 4)


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match="steps must be >= 1, got 0"):
        PhantomAdjoint(0)
    for rtol in (0.0, float("inf")):
        with pytest.raises(ValueError, match="rtol must be finite and > 0, got"):
            ImplicitAdjoint(rtol)
    with pytest.raises(ValueError, match="restart must be >= 1, got 0"):
        ImplicitAdjoint(restart=0)
    with pytest.raises(ValueError, match="max_iterations must be >= 1, got 0"):
        ImplicitAdjoint(max_iterations=0)
    with pytest.raises(ValueError, match="on_failure must be one of raise, record, got 'ignore'"):
        ImplicitAdjoint(on_failure="ignore")
