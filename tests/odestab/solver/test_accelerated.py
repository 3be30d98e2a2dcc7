"""The loop that works in place gives what the loop that records gives."""

import dataclasses

import pytest
import torch
from problems import (
    DTYPE,
    MATRIX_KINDS,
    MixingField,
    masked_state,
    normal_numbers,
    ragged_mask,
    random_matrix,
)

from odestab.fields.vector_field import LinearVectorField
from odestab.solver import (
    AbstractImplicitSolver,
    Anderson,
    FixedPoint,
    ImplicitEquation,
    Solution,
    Status,
)

SOLVERS = {
    "fixed point": FixedPoint(history=True),
    "damped": FixedPoint(damping=0.6, history=True),
    "Picard": FixedPoint(preconditioned=False, history=True),
    "Anderson": Anderson(history=True),
    "Anderson, damped Picard": Anderson(memory=3, damping=0.7, preconditioned=False, history=True),
    "Anderson, every third": Anderson(period=3, start="explicit", history=True),
    "Anderson, where slow": Anderson(rate=0.3, history=True),
    "Anderson, one difference": Anderson(memory=1, history=True),
    "stopped": FixedPoint(max_iterations=3, keep_last=True, history=True),
}
each_solver = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())


def both(
    solver: AbstractImplicitSolver, equation: ImplicitEquation, open_: torch.Tensor | None = None
) -> tuple[Solution, Solution]:
    recorded = solver.solve(equation, equation.rhs, open_)
    with torch.no_grad():
        return recorded, solver.solve(equation, equation.rhs, open_)


def require_equal(recorded: Solution, in_place: Solution, tolerance: float) -> None:
    for name in ("status", "iterations", "evaluations"):
        assert torch.equal(getattr(recorded, name), getattr(in_place, name)), name
    for name in ("state", "residual", "history"):
        scale = max(
            float(one.abs().nan_to_num(0).max())
            for one in (recorded.state, getattr(recorded, name))
        )
        torch.testing.assert_close(
            getattr(recorded, name),
            getattr(in_place, name),
            rtol=0,
            atol=tolerance * scale,
            equal_nan=True,
        )


@each_solver
def test_on_a_masked_nonlinear_field(solver: AbstractImplicitSolver) -> None:
    mask = ragged_mask(4, 2, 3)
    equation = ImplicitEquation(
        MixingField.random(mask, size=1.0, split=-0.5), masked_state(mask), 0.8
    )
    require_equal(*both(solver, equation), 1e-10)


@each_solver
def test_padding_of_the_state_stays_what_it_was(solver: AbstractImplicitSolver) -> None:
    mask = ragged_mask(4, 2, 3)
    x = torch.where(mask[..., None], masked_state(mask), 7.0)
    with torch.no_grad():
        solution = solver.solve(
            ImplicitEquation(MixingField.random(mask, size=1.0, split=-0.5), x, 0.8), x
        )
    assert (solution.state[~mask] == 7).all()


@each_solver
@pytest.mark.parametrize("kind", MATRIX_KINDS)
def test_on_linear_fields_of_every_kind(kind: str, solver: AbstractImplicitSolver) -> None:
    matrices = torch.stack([random_matrix(12, kind, 10 * i) for i in range(6)])
    equation = ImplicitEquation(LinearVectorField(matrices, split=-1.0), normal_numbers(6, 12), 1.0)
    short = dataclasses.replace(
        solver, max_iterations=min(solver.max_iterations, 8)
    )  # rounding grows with the iterations
    require_equal(
        *both(short, equation), 1e-4 if kind == "near singular" else 1e-7
    )  # weights are as badly determined as the solution


@each_solver
def test_examples_that_fail_and_examples_that_are_closed(solver: AbstractImplicitSolver) -> None:
    mask = ragged_mask(4, 2, 3)
    x = masked_state(mask)
    x[1, 0, 0] = torch.nan
    equation = ImplicitEquation(MixingField.random(mask, size=1.0, split=-0.5), x, 0.8)
    recorded, in_place = both(solver, equation, torch.tensor([True, True, False]))
    require_equal(recorded, in_place, 1e-10)
    assert recorded.status[1] == Status.NON_FINITE and recorded.iterations[2] == 0
    assert solver.start == "explicit" or torch.equal(in_place.state[2], x[2])


def test_the_best_iterate_survives_worse_ones() -> None:
    # Spirals out: the first iterate is the best, and is overwritten twice before the end.
    matrix = torch.tensor([[0.0, -1.5], [1.5, 0.0]], dtype=DTYPE)
    equation = ImplicitEquation(LinearVectorField(matrix), torch.ones(1, 2, dtype=DTYPE), 1.0)
    for solver in (
        FixedPoint(max_iterations=6, history=True),
        Anderson(max_iterations=6, period=100, history=True),
    ):
        recorded, in_place = both(solver, equation)
        require_equal(recorded, in_place, 1e-12)
        assert torch.equal(in_place.state, equation.rhs)


def test_the_state_given_is_not_written_to() -> None:
    mask = ragged_mask(4, 2, 3)
    equation = ImplicitEquation(MixingField.random(mask, size=1.0), masked_state(mask), 0.8)
    before = equation.rhs.clone()
    both(Anderson(), equation)
    assert torch.equal(before, equation.rhs)


def test_history_is_the_residual_of_every_iterate() -> None:
    mask = ragged_mask(4, 2, 3)
    equation = ImplicitEquation(MixingField.random(mask, size=1.0), masked_state(mask), 0.8)
    for solution in both(Anderson(history=True), equation):
        assert solution.history is not None
        assert torch.equal(solution.history.isfinite().sum(1), solution.iterations + 1)
        last = solution.history.gather(1, solution.iterations[:, None])[:, 0]
        assert solution.converged.all() and torch.equal(last, solution.residual)
    assert Anderson().solve(equation, equation.rhs).history is None
