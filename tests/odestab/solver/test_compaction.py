"""A batch that shrinks, states of low precision, warm starts: what depends on how f is
evaluated.
"""

import dataclasses
from pathlib import Path

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
from torch import Tensor

import odestab as od
from odestab.fields.vector_field import AbstractVectorField, LinearVectorField
from odestab.solver import Anderson, Auto, FixedPoint, ImplicitEquation, Status


class Sizes(AbstractVectorField):
    """A linear field that notes the batch of every evaluation."""

    def __init__(self, field: LinearVectorField, seen: list[int]) -> None:
        self.field, self.seen, self.split = field, seen, field.split

    def __call__(self, x: Tensor) -> Tensor:
        self.seen.append(len(x))
        return self.field(x)

    def take(self, examples: Tensor) -> "Sizes":
        return Sizes(self.field.take(examples), self.seen)


@pytest.mark.parametrize(
    "solver", [FixedPoint(), Anderson(), Auto()], ids=["fixed point", "Anderson", "auto"]
)
@pytest.mark.parametrize("kind", MATRIX_KINDS)
def test_a_batch_that_shrinks_gives_the_same(kind: str, solver: od.AbstractImplicitSolver) -> None:
    matrices = torch.stack([random_matrix(12, kind, 10 * i) * 0.9**i for i in range(9)])
    x, seen = normal_numbers(9, 12), []
    equation = ImplicitEquation(
        Sizes(LinearVectorField(matrices, split=-0.5), seen), x, 1.0, differentiable=False
    )
    with torch.no_grad():
        whole = solver.solve(equation, x)
        assert set(seen) == {9}
        shrinking = dataclasses.replace(solver, compaction=True).solve(equation, x)
    ended_early = int((whole.iterations < whole.iterations.max()).sum())
    assert (min(seen) < 9) == (ended_early >= 2)  # an eighth of nine
    for name in ("status", "iterations", "evaluations"):
        assert torch.equal(getattr(whole, name), getattr(shrinking, name)), name
    scale = float(whole.state.abs().max())
    torch.testing.assert_close(whole.state, shrinking.state, rtol=0, atol=1e-12 * max(scale, 1.0))
    torch.testing.assert_close(
        whole.residual, shrinking.residual, rtol=1e-6, atol=1e-12 * max(scale, 1.0)
    )


def test_a_layer_can_be_cut(minilm_folder: Path) -> None:
    encoder, tokenizer = od.load_encoder(minilm_folder, torch.float64)
    texts = ["good morning", "the ferry leaves at noon", "stop", "rain falls on the hills"]
    trajectory = od.trace(encoder, tokenizer(texts, padding=True, return_tensors="pt"))
    field, x, kept = trajectory.fields[1], trajectory.states[1], torch.tensor([2, 1])
    smaller = field.take(kept)
    with torch.no_grad():
        torch.testing.assert_close(smaller(x[kept]), field(x)[kept], rtol=0, atol=1e-12)
        equation = ImplicitEquation(field, x, 1.0, differentiable=False)
        whole, shrinking = (Auto(compaction=on).solve(equation, x) for on in (False, True))
    assert torch.equal(whole.status, shrinking.status)
    torch.testing.assert_close(
        whole.state, shrinking.state, rtol=0, atol=1e-12 * float(whole.state.abs().max())
    )


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
def test_a_state_of_low_precision_is_kept_in_single(low: torch.dtype) -> None:
    mask = ragged_mask(4, 2, 3)
    field = MixingField.random(mask, size=1.0, split=-0.5)
    x = masked_state(mask).to(low)
    rounded = dataclasses.replace(field, w=field.w.to(low), v=field.v.to(low), u=field.u.to(low))
    exact = Anderson(rtol=1e-12).solve(ImplicitEquation(field, x.to(DTYPE), 0.8), x.to(DTYPE))
    with torch.no_grad():
        solution = Anderson(rtol=1e-6, patience=10).solve(ImplicitEquation(rounded, x, 0.8), x)
    assert solution.state.dtype == low and solution.residual.dtype == torch.float32
    assert (
        solution.converged | solution.at_floor
    ).all()  # it stalls, if it does, where rounding in f ends what can be known
    torch.testing.assert_close(
        solution.state.to(DTYPE), exact.state, rtol=0, atol=50 * torch.finfo(low).eps
    )


def test_the_floor_is_not_reached_in_the_states_own_precision() -> None:
    mask = ragged_mask(4, 2, 3)
    equation = ImplicitEquation(MixingField.random(mask, size=1.0), masked_state(mask), 0.8)
    with torch.no_grad():
        solution = Anderson(max_iterations=3).solve(equation, equation.rhs)
    assert not solution.at_floor.any() and (solution.status == Status.MAX_ITERATIONS).all()


def test_a_warm_start_begins_at_the_guess() -> None:
    mask = ragged_mask(4, 2, 3)
    field, x = MixingField.random(mask, size=1.0, split=-0.5), masked_state(mask)
    method = od.ImplicitEuler(0.8, solver=Anderson())
    cold = method.step(field, x)
    near = method.step(field, x * (1 + 1e-4), guess=cold.state)
    again = method.step(field, x, guess=cold.state)
    assert (near.solution.iterations < cold.solution.iterations).all() and (
        again.solution.iterations == 0
    ).all()
    torch.testing.assert_close(again.state, cold.state, rtol=0, atol=0)


def test_later_stages_of_auto_run_for_the_examples_left() -> None:
    kinds = ("normal", "normal", "normal", "near singular", "stiff", "normal")
    field = LinearVectorField(
        torch.stack([random_matrix(12, kind, i) for i, kind in enumerate(kinds)])
    )
    equation = ImplicitEquation(field, normal_numbers(6, 12), 1.0, differentiable=False)
    with torch.no_grad():
        whole, cut = (
            Auto(rtol=1e-9, max_iterations=30, compaction=on).solve(equation, equation.rhs)
            for on in (False, True)
        )
    assert int(whole.iterations.max()) > 30  # some example needed a later stage
    assert torch.equal(whole.status, cut.status)
    torch.testing.assert_close(whole.residual, cut.residual, rtol=1e-3, atol=1e-12)
    error = (whole.state - cut.state).flatten(1).norm(dim=1) / whole.state.flatten(1).norm(dim=1)
    assert float(error[whole.converged].max()) < 1e-4
