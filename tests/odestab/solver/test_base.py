"""What every solver promises: one meaning of convergence, an honest status, and examples that do
not know of each other.
"""

import dataclasses
import math

import pytest
import torch
from problems import (
    DTYPE,
    EPS,
    MATRIX_KINDS,
    MixingField,
    masked_state,
    normal_numbers,
    ragged_mask,
    random_matrix,
)
from torch import Tensor

from odestab.fields.vector_field import AbstractVectorField, LinearVectorField
from odestab.solver import (
    AbstractImplicitSolver,
    Anderson,
    Auto,
    FixedPoint,
    GradientDescent,
    ImplicitEquation,
    NewtonKrylov,
    Solution,
    SolveError,
    Status,
)

N = 12


@pytest.fixture(params=["recorded", "in place"], autouse=True)
def recording(request: pytest.FixtureRequest):
    with torch.set_grad_enabled(request.param == "recorded"):
        yield


SOLVERS = {
    "fixed point": FixedPoint(),
    "damped fixed point": FixedPoint(damping=0.5),
    "Anderson": Anderson(),
    "Newton–Krylov": NewtonKrylov(),
    "gradient descent": GradientDescent(
        steps=None, step_size=0.1, max_iterations=600, patience=200
    ),
    "auto": Auto(),
}
each_solver = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())


class Singular(AbstractVectorField):
    """f(y) = 1/y: not finite at zero, with real solutions of y = x + f(y) everywhere else."""

    def __call__(self, x: Tensor) -> Tensor:
        return 1 / x


def rms(v: Tensor) -> Tensor:
    return v.flatten(1).norm(dim=1) / math.sqrt(v[0].numel())


def require_true_residual(equation: ImplicitEquation, solution: Solution) -> None:
    """What is reported is RMS(r) at the state that is returned, to the rounding of the terms of
    r.
    """
    field, y = equation.field, solution.state
    rounding = (
        10
        * EPS
        * (field.rms(y) + field.rms(equation.rhs) + equation.step_size * field.rms(field(y)))
    )
    assert ((solution.residual - field.rms(equation.residual(y))).abs() <= rounding).all()


def masked_equation(h: float = 0.8, split: float = -0.5) -> ImplicitEquation:
    mask = ragged_mask(4, 2, 3)
    return ImplicitEquation(MixingField.random(mask, size=1.0, split=split), masked_state(mask), h)


@each_solver
@pytest.mark.parametrize("kind", MATRIX_KINDS)
def test_status_and_error_are_honest_on_random_linear_problems(
    kind: str, solver: AbstractImplicitSolver
) -> None:
    matrices = torch.stack([random_matrix(N, kind, 10 * i) for i in range(50)])
    x, h = normal_numbers(50, N), 1.0
    solution = solver.solve(ImplicitEquation(LinearVectorField(matrices), x, h), x)
    y = solution.state
    shifted = torch.eye(N, dtype=DTYPE) - h * matrices
    residual = rms(x - (shifted @ y[..., None])[..., 0])
    # the residual cannot be known better than the rounding of hAy
    rounding = 10 * N * EPS * torch.linalg.matrix_norm(matrices, 2) * rms(y)
    assert ((solution.residual - residual).abs() <= rounding + 10 * EPS * rms(x)).all()
    assert torch.equal(solution.converged, solution.residual <= solver.rtol * rms(y))
    # y − y* = (I − hA)⁻¹ r
    inverse_norm = torch.linalg.matrix_norm(shifted.inverse(), 2)
    exact = torch.linalg.solve(shifted, x)
    roundoff = 100 * N * EPS * inverse_norm * rms(exact)
    assert (rms(y - exact) <= inverse_norm * (residual + rounding) + roundoff)[
        solution.converged
    ].all()


@pytest.mark.parametrize("kind", ["normal", "non-normal", "stiff"])
def test_the_default_solver_converges_on_all_that_is_solvable(kind: str) -> None:
    matrices = torch.stack([random_matrix(N, kind, 10 * i) for i in range(15)])
    x = normal_numbers(15, N)
    assert Auto().solve(ImplicitEquation(LinearVectorField(matrices), x, 1.0), x).converged.all()


@each_solver
def test_residual_and_tolerance_count_real_tokens_only(solver: AbstractImplicitSolver) -> None:
    equation = masked_equation()
    solution = dataclasses.replace(solver, atol=1e-9).solve(equation, equation.rhs)
    field, y = equation.field, solution.state
    require_true_residual(equation, solution)
    assert (
        solution.converged.all() and (solution.residual <= 1e-9 + solver.rtol * field.rms(y)).all()
    )
    for example, length in enumerate(
        field.mask.sum(1).tolist()
    ):  # the same state as that example alone, to the tolerance
        alone = dataclasses.replace(field, mask=torch.ones(1, length, dtype=torch.bool))
        x = equation.rhs[example : example + 1, :length]
        single = solver.solve(ImplicitEquation(alone, x, equation.step_size), x)
        torch.testing.assert_close(y[example, :length], single.state[0], rtol=0, atol=1e-5)
        assert abs(int(solution.iterations[example]) - int(single.iterations[0])) <= 1


@each_solver
@pytest.mark.parametrize("mate", ["not a number", "other values", "already solved"])
def test_batch_mates_change_nothing_bit_for_bit(solver: AbstractImplicitSolver, mate: str) -> None:
    equation = masked_equation()
    before = solver.solve(equation, equation.rhs)
    x = equation.rhs.clone()
    x[1, 0] = {"not a number": torch.nan, "other values": 7.0, "already solved": 0.0}[mate]
    if mate == "already solved":
        x[1] = 0.0  # f(0) = 0: converged before the first iteration
    after = solver.solve(dataclasses.replace(equation, rhs=x), x)
    for example in (0, 2):
        assert torch.equal(before.state[example], after.state[example])
        assert (
            before.residual[example] == after.residual[example]
            and before.status[example] == after.status[example]
        )
        assert (
            before.iterations[example] == after.iterations[example]
            and before.evaluations[example] == after.evaluations[example]
        )
    if mate == "not a number":
        assert after.status[1] == Status.NON_FINITE
    if mate == "already solved":
        assert after.iterations[1] == 0 and torch.equal(after.state[1], x[1])


@each_solver
def test_an_example_that_has_ended_is_frozen_bit_for_bit(solver: AbstractImplicitSolver) -> None:
    slow, x = -1.0 * torch.eye(2, dtype=DTYPE) * 0.7, torch.ones(2, 2, dtype=DTYPE)
    fast = 1e-9 * torch.eye(2, dtype=DTYPE)
    equation = ImplicitEquation(LinearVectorField(torch.stack([fast, slow])), x, 1.0)
    both = solver.solve(equation, x)
    assert (
        both.iterations[0] == 0 and both.iterations[1] > 0
    )  # the first one is solved to rtol by its start
    assert torch.equal(both.state[0], x[0])


@each_solver
def test_closed_examples_return_their_start(solver: AbstractImplicitSolver) -> None:
    equation = masked_equation()
    some = torch.tensor([True, False, True])
    part, whole = solver.solve(equation, equation.rhs, some), solver.solve(equation, equation.rhs)
    assert (
        torch.equal(part.state[1], equation.rhs[1])
        and part.iterations[1] == 0
        and not part.converged[1]
    )
    for example in (0, 2):
        assert torch.equal(part.state[example], whole.state[example])


@each_solver
@pytest.mark.parametrize("start", ["state", "explicit"])
def test_no_iterations_is_allowed_and_returns_the_start(
    solver: AbstractImplicitSolver, start: str
) -> None:
    equation = masked_equation()
    solution = dataclasses.replace(solver, max_iterations=0, start=start).solve(
        equation, equation.rhs
    )
    x = equation.rhs
    expected = x if start == "state" else x + equation.step_size * equation.field(x)
    assert torch.equal(solution.state, expected)
    assert (solution.status == Status.MAX_ITERATIONS).all() and (solution.iterations == 0).all()
    require_true_residual(equation, solution)


def test_every_status_is_reached() -> None:
    matrices = torch.stack(
        [
            0.5 * torch.eye(2, dtype=DTYPE),  # contraction
            0.97 * torch.eye(2, dtype=DTYPE),  # too slow for the bound
            torch.tensor(
                [[0.0, -1.0], [1.0, 0.0]], dtype=DTYPE
            ),  # |c| = 1: the residual never changes
            10.0 * torch.eye(2, dtype=DTYPE),  # expansion
            torch.eye(2, dtype=DTYPE),
        ]
    )
    x = torch.ones(5, 2, dtype=DTYPE)
    x[4] = torch.nan
    solution = FixedPoint(max_iterations=60, patience=20).solve(
        ImplicitEquation(LinearVectorField(matrices), x, 1.0), x
    )
    names = [Status(status).name for status in solution.status.tolist()]
    assert names == ["CONVERGED", "MAX_ITERATIONS", "STALLED", "DIVERGED", "NON_FINITE"]
    assert solution.iterations.tolist()[2:] == [
        20,
        5,
        0,
    ]  # patience; the first power of ten above the factor 1e4; at once
    assert torch.equal(solution.state[3], x[3])  # the best iterate is the start
    with pytest.raises(
        SolveError,
        match=r"4 of 5 implicit solves did not converge: 1: "
        r"MAX_ITERATIONS \(residual .*2: STALLED .*4: NON_FINITE",
    ):
        solution.raise_for_status()


def test_raise_for_status_is_silent_where_all_converged() -> None:
    equation = masked_equation()
    Auto().solve(equation, equation.rhs).raise_for_status()


def test_the_best_iterate_is_kept_unless_the_last_is_asked_for() -> None:
    matrix, x = 3.0 * torch.eye(2, dtype=DTYPE), torch.ones(1, 2, dtype=DTYPE)
    equation = ImplicitEquation(LinearVectorField(matrix), x, 1.0)
    best = FixedPoint(max_iterations=4).solve(equation, x)
    last = FixedPoint(max_iterations=4, keep_last=True).solve(equation, x)
    assert best.state[0, 0] == 1 and last.state[0, 0] == 1 + 3 + 9 + 27 + 81
    for solution in (best, last):
        require_true_residual(equation, solution)
        assert solution.status[0] == Status.MAX_ITERATIONS


@pytest.mark.parametrize("keep_last", [False, True])
def test_an_iterate_that_leaves_the_finite_numbers_is_reported(keep_last: bool) -> None:
    x = torch.zeros(1, 2, dtype=DTYPE)
    solution = FixedPoint(keep_last=keep_last, max_iterations=5).solve(
        ImplicitEquation(Singular(), x, 1.0), x
    )
    assert solution.status[0] == Status.NON_FINITE


def test_overflow_is_never_convergence() -> None:
    # Fails if RMS(r) = ∞ ≤ rtol·RMS(y) = ∞ counts as convergence: the squares overflow from 1e154
    # on.
    x = torch.ones(1, 2, dtype=DTYPE)
    equation = ImplicitEquation(LinearVectorField(10 * torch.eye(2, dtype=DTYPE)), x, 1.0)
    solution = FixedPoint(max_iterations=200, keep_last=True).solve(equation, x)
    assert not solution.converged.any() and solution.state.isfinite().all()


def test_the_step_size_may_be_a_tensor() -> None:
    equation = masked_equation()
    same = dataclasses.replace(equation, step_size=torch.tensor(equation.step_size, dtype=DTYPE))
    for solver in SOLVERS.values():
        torch.testing.assert_close(
            solver.solve(equation, equation.rhs).state,
            solver.solve(same, equation.rhs).state,
            rtol=0,
            atol=1e-13,
        )


@each_solver
def test_evaluations_are_counted(solver: AbstractImplicitSolver) -> None:
    calls = 0
    inner = masked_equation()

    class Counting(AbstractVectorField):
        split, mask = inner.field.split, inner.field.mask

        def __call__(self, x: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            return inner.field(x)

    one = dataclasses.replace(inner, field=Counting())
    solution = solver.solve(one, inner.rhs)
    if isinstance(solver, GradientDescent):
        calls += int(
            solution.iterations.max()
        )  # products with Jᵀ, prepared by the evaluation before
    # a batch is evaluated until its slowest example ends; GMRES also checks its residual, which is
    # not counted
    assert int(solution.evaluations.max()) <= calls
    if not isinstance(solver, (NewtonKrylov, Auto)):
        assert int(solution.evaluations.max()) == calls


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match="rtol must be finite and >= 0, got -1"):
        FixedPoint(rtol=-1.0)
    with pytest.raises(ValueError, match="atol must be finite and >= 0, got nan"):
        Auto(atol=math.nan)
    with pytest.raises(ValueError, match="max_iterations must be >= 0, got -3"):
        NewtonKrylov(max_iterations=-3)
    with pytest.raises(ValueError, match="start must be one of state, explicit, got 'zero'"):
        Anderson(start="zero")


def test_solution_says_what_converged() -> None:
    status = torch.tensor([0, 2])
    zero = torch.zeros(2, dtype=torch.long)
    solution = Solution(torch.zeros(2, 1), status, torch.zeros(2), zero, zero, torch.zeros(2))
    assert solution.converged.tolist() == [True, False]


@pytest.mark.parametrize("differentiable", [True, False])
def test_linearisation_and_its_adjoint(differentiable: bool) -> None:
    equation = dataclasses.replace(masked_equation(), differentiable=differentiable)
    field, y = equation.field, equation.rhs
    v, u = masked_state(field.mask, seed=3), masked_state(field.mask, seed=4)
    for example in range(3):
        real = field.mask[example]
        m = torch.eye(3 * int(real.sum()), dtype=DTYPE) - equation.step_size * field.matrix(
            y, example
        )
        forward, backward = (
            equation.linearized(y)(v)[example, real],
            equation.with_adjoint(y)[1](u)[example, real],
        )
        torch.testing.assert_close(
            forward.flatten(), m @ v[example, real].flatten(), rtol=0, atol=1e-13
        )
        torch.testing.assert_close(
            backward.flatten(), m.T @ u[example, real].flatten(), rtol=0, atol=1e-13
        )
