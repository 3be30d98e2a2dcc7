"""An option of a solver changes what it does, or is refused when the solver is made."""

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from problems import DTYPE, MixingField, masked_state, normal_numbers, ragged_mask, random_matrix
from torch import Tensor

import odestab as od
from odestab.fields.vector_field import AbstractVectorField, LinearVectorField
from odestab.solver import (
    Anderson,
    Auto,
    FixedPoint,
    GradientDescent,
    ImplicitEquation,
    Mixing,
    NewtonKrylov,
    Solution,
    Stopping,
)
from odestab.solver.base import options_of

EVERY = (FixedPoint, Anderson, NewtonKrylov, GradientDescent, Auto)
Problem = Callable[[], tuple[ImplicitEquation, Tensor]]


def mixing(**options: Any) -> Problem:
    def problem() -> tuple[ImplicitEquation, Tensor]:
        mask = ragged_mask(4, 2, 3)
        field = MixingField.random(mask, **{"size": 1.0, "split": -0.5} | options)
        return ImplicitEquation(field, masked_state(mask), 0.8), masked_state(mask)

    return problem


def linear(matrix: Tensor, split: float = 0.0, h: float = 1.0) -> Problem:
    def problem() -> tuple[ImplicitEquation, Tensor]:
        x = normal_numbers(len(matrix), matrix.shape[1])
        return ImplicitEquation(LinearVectorField(matrix, split), x, h, differentiable=False), x

    return problem


class Noisy(AbstractVectorField):
    """f(y) = −y/2 + noise."""

    def __call__(self, x: Tensor) -> Tensor:
        return -0.5 * x + 1e-9 * torch.randn_like(x)


def noisy() -> tuple[ImplicitEquation, Tensor]:
    x = normal_numbers(2, 3)
    return ImplicitEquation(Noisy(), x, 1.0), x


def in_half_precision() -> tuple[ImplicitEquation, Tensor]:
    """A layer that autocast evaluates in half precision."""
    generator = torch.Generator().manual_seed(0)
    layer = torch.nn.Linear(16, 16).requires_grad_(False)
    layer.weight.copy_(torch.randn(16, 16, generator=generator) / 8)
    x = torch.randn(3, 4, 16, generator=generator)
    field = od.LayerVectorField(lambda y: torch.tanh(layer(y)), torch.ones(3, 4, dtype=torch.bool))
    return ImplicitEquation(field, x, 1.0, differentiable=False), x


def sizes(seen: list[int]) -> Problem:
    """Examples of very different difficulty, whose field notes the batch of every evaluation."""
    matrices = [random_matrix(12, "normal", 10 * seed) * 0.4**seed for seed in range(9)]
    field = LinearVectorField(torch.stack(matrices))

    class Noting(AbstractVectorField):
        def __init__(self, inner: LinearVectorField) -> None:
            self.inner = inner

        def __call__(self, x: Tensor) -> Tensor:
            seen.append(len(x))
            return self.inner(x)

        def take(self, examples: Tensor) -> "Noting":
            return Noting(self.inner.take(examples))

    x = normal_numbers(9, 12)
    return lambda: (ImplicitEquation(Noting(field), x, 1.0, differentiable=False), x)


STIFF = random_matrix(12, "stiff")[None]
NORMAL = random_matrix(12, "normal")[None]
POLE = torch.diag_embed(torch.tensor([[1.0, -0.5]], dtype=DTYPE))  # nothing solves it

# for each option another value than the default, and a problem on which that is another solve;
# where a class needs another value it stands under the class
COMMON: dict[str, tuple[Any, Problem]] = {
    "rtol": (1e-2, mixing()),
    "atol": (1e-1, mixing()),
    "max_iterations": (1, mixing()),
    "patience": (3, linear(POLE)),
    "keep_last": (True, linear(POLE)),
    "start": ("explicit", mixing()),
    "history": (True, mixing()),
    "deterministic": (False, noisy),
    "damping": (0.6, mixing()),
    "preconditioned": (False, mixing()),
    "memory": (2, mixing(size=1.5)),
    "ridge": (1e8, mixing()),
    "drop": (4e15, mixing(size=1.5)),
    "cap": (1.01, mixing(size=2.0)),
    "period": (3, mixing()),
    "rate": (0.5, linear(NORMAL, h=0.7)),
    "growth_limit": (1.0001, mixing(size=2.0)),
    "forcing": (1e-4, linear(STIFF)),
    "max_inner": (1, linear(STIFF)),
    "step_size": (0.2, mixing()),
    "steps": (2, mixing()),
    "diagnose": (False, linear(POLE)),
    "polish": (True, in_half_precision),
}
OF_CLASS: dict[tuple[type, str], tuple[Any, Problem]] = {
    (NewtonKrylov, "patience"): (1, linear(POLE)),  # its default is 2
}


def made(kind: type, **options: Any) -> od.AbstractImplicitSolver:
    """A solver to try one option of: gradient descent ends by its steps alone, unless told."""
    if kind is GradientDescent and "steps" not in options:
        options["steps"] = None
    return kind(**options)


def outcome(solver: od.AbstractImplicitSolver, problem: Problem) -> Solution | str:
    """What a solve gives, in half precision where the problem is about that."""
    equation, x = problem()
    half = problem is in_half_precision
    try:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            return solver.solve(equation, x)
    except ValueError as error:
        return str(error)


def differ(one: Solution | str, other: Solution | str) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return one != other
    if (one.history is None) != (other.history is None):
        return True
    return any(
        not torch.equal(getattr(one, name), getattr(other, name))
        for name in ("state", "status", "iterations", "evaluations")
    )


CASES = [(kind, name) for kind in EVERY for name in options_of(kind) if name != "compaction"]


@pytest.mark.parametrize(("kind", "name"), CASES, ids=[f"{k.__name__}-{n}" for k, n in CASES])
def test_every_option_changes_the_solve(kind: type, name: str) -> None:
    value, problem = OF_CLASS.get((kind, name), COMMON[name])
    assert value != options_of(kind)[name][1]
    without = made(kind, **({"steps": 5} if name == "steps" else {}))
    assert differ(outcome(without, problem), outcome(made(kind, **{name: value}), problem))


@pytest.mark.parametrize("kind", [kind for kind in EVERY if "compaction" in options_of(kind)])
def test_compaction_lets_examples_leave_the_batch(kind: type) -> None:
    for compaction in (False, True):
        seen: list[int] = []
        outcome(kind(compaction=compaction, rtol=1e-8), sizes(seen))
        assert (min(seen) < 9) == compaction


REFUSED: list[tuple[type, dict[str, Any]]] = [
    (Auto, {"keep_last": True}),
    (Auto, {"memory": 3}),
    (NewtonKrylov, {"compaction": True}),
    (NewtonKrylov, {"damping": 0.5}),
    (GradientDescent, {"compaction": True}),
    (GradientDescent, {"max_iterations": 1}),
    (GradientDescent, {"patience": 3}),
    (GradientDescent, {"keep_last": True}),
    (GradientDescent, {"steps": 3, "max_iterations": 7}),
    *[
        (FixedPoint, {name: getattr(Mixing(3), name)})
        for name in ("memory", "ridge", "drop", "cap", "period", "rate", "growth_limit")
    ],
    (FixedPoint, {"rtoll": 1e-3}),
]


@pytest.mark.parametrize(("kind", "options"), REFUSED, ids=str)
def test_an_option_without_effect_is_refused(kind: type, options: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=rf"^{kind.__name__}\(\) .*{list(options)[-1]}") as raised:
        kind(**options)
    assert "\n" not in str(raised.value)


def test_neither_does_a_record_bring_one_in() -> None:
    with pytest.raises(TypeError, match=r"Auto\(\) takes no keep_last"):
        Auto(stopping=Stopping(keep_last=True))
    with pytest.raises(TypeError, match=r"FixedPoint\(\) takes no memory"):
        FixedPoint(mixing=Mixing(memory=3))
    with pytest.raises(TypeError, match="mixing must be a Mixing, got Stopping"):
        Anderson(mixing=Stopping())
    with pytest.raises(TypeError, match="takes no max_iterations beside steps = 5"):
        dataclasses.replace(GradientDescent(), max_iterations=7)


@pytest.mark.parametrize("kind", EVERY)
def test_options_are_given_and_read_flat(kind: type) -> None:
    solver = made(kind, rtol=1e-3, start="explicit")
    assert solver.stopping == dataclasses.replace(made(kind).stopping, rtol=1e-3)
    assert (solver.rtol, solver.start) == (1e-3, "explicit")
    assert {name: getattr(kind(), name) for name in options_of(kind) if name not in ENDS} == {
        name: default for name, (_, default) in options_of(kind).items() if name not in ENDS
    }
    with pytest.raises(AttributeError, match=f"{kind.__name__!r} object has no attribute 'rtoll'"):
        _ = solver.rtoll
    assert list(inspect.signature(kind).parameters) == list(options_of(kind))
    for copied in (copy.deepcopy(solver), pickle.loads(pickle.dumps(solver))):
        assert copied == solver and hash(copied) == hash(solver)


ENDS = ("max_iterations", "keep_last")  # of gradient descent these are its steps


def test_replacing_an_option_keeps_the_others() -> None:
    solver = Anderson(memory=3, rtol=1e-3, history=True)
    again = dataclasses.replace(solver, max_iterations=7, damping=0.5)
    assert again == Anderson(memory=3, rtol=1e-3, history=True, max_iterations=7, damping=0.5)


def test_a_number_of_steps_is_an_end_like_another() -> None:
    published, stopped = GradientDescent(), GradientDescent(steps=None, max_iterations=60)
    assert (published.steps, stopped.steps) == (5, None)
    assert published.stopping == Stopping(max_iterations=5, keep_last=True)
    assert dataclasses.replace(stopped, steps=5) == published
    assert dataclasses.replace(published, steps=None) == GradientDescent(steps=None)
    assert dataclasses.replace(published, rtol=1e-3).steps == 5
    assert GradientDescent(stopping=Stopping(max_iterations=1)).steps is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"forcing": 0.0}, r"forcing must be in \(0, 1\), got 0\.0"),
        ({"forcing": 1.0}, r"forcing must be in \(0, 1\), got 1\.0"),
        ({"max_inner": 0}, "max_inner must be >= 1, got 0"),
        ({"patience": 0}, "patience must be >= 1, got 0"),
    ],
)
def test_numbers_outside_what_they_mean(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        NewtonKrylov(**options)
