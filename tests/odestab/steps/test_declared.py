"""Solvers, adjoints and steps by name."""

import dataclasses
from typing import Any

import pytest

import odestab as od
from odestab.solver.base import options_of
from odestab.steps.declared import (
    ADJOINTS,
    SOLVERS,
    declared_adjoint,
    declared_method,
    declared_solver,
    require_declared,
)


def test_every_public_solver_and_adjoint_has_its_name() -> None:
    for base, table in (
        (od.AbstractImplicitSolver, SOLVERS),
        (od.AbstractAdjoint, ADJOINTS),
    ):
        public = {
            name: kind
            for name in od.__all__
            if isinstance(kind := getattr(od, name), type)
            and issubclass(kind, base)
            and kind is not base
        }
        assert dict(table) == public


@pytest.mark.parametrize("name", SOLVERS)
def test_a_solver_from_its_own_defaults(name: str) -> None:
    kind = SOLVERS[name]
    assert declared_solver({"name": name}) == kind()
    # of gradient descent one of them stands for the others
    ends = ("max_iterations", "patience", "keep_last") if name == "GradientDescent" else ()
    options = {key: default for key, (_, default) in options_of(kind).items() if key not in ends}
    assert declared_solver({"name": name, **options}) == kind()


def test_a_whole_number_is_a_float_where_one_is_meant() -> None:
    solver = declared_solver({"name": "Auto", "rtol": 1})
    assert solver.rtol == 1.0 and type(solver.rtol) is float
    assert declared_solver({"name": "GradientDescent", "steps": None}).steps is None


WRONG: list[tuple[Any, str]] = [
    ("Auto", "solver must be a table with a name out of FixedPoint, .*Auto, got 'Auto'"),
    ({}, "solver must be a table with a name out of .*, got {}"),
    ({"name": ["Auto"]}, r"got \['Auto'\]"),
    ({"name": "ImplicitAdjoint"}, "got 'ImplicitAdjoint'"),
    ({"name": "Auto", "rtoll": 1}, "solver Auto must have options out of rtol, .*got rtoll"),
    ({"name": "Auto", "keep_last": True}, "must have options out of .*, got keep_last"),
    ({"name": "Auto", "rtol": "small"}, "rtol must be float, got 'small'"),
    ({"name": "Auto", "rtol": True}, "rtol must be float, got True"),
    ({"name": "Auto", "rtol": float("inf")}, "rtol must be float, got inf"),
    ({"name": "Auto", "start": 1}, "start must be str, got 1"),
    ({"name": "GradientDescent", "steps": 1.5}, "steps must be int, got 1.5"),
    ({"name": "Auto", "start": "zero"}, "solver Auto: start must be one of state, explicit"),
    ({"name": "GradientDescent", "patience": 3}, "solver GradientDescent: .*takes no patience"),
]


@pytest.mark.parametrize(("choice", "said"), WRONG, ids=str)
def test_a_wrong_declaration_is_told_in_one_line(choice: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        declared_solver(choice)
    assert "\n" not in str(raised.value)


def test_what_is_implied_holds_for_the_implicit_adjoint_alone() -> None:
    assert declared_adjoint({"name": "ImplicitAdjoint"}).on_failure == "raise"
    implied = declared_adjoint({"name": "ImplicitAdjoint"}, on_failure="record")
    told = declared_adjoint({"name": "ImplicitAdjoint", "on_failure": "raise"}, on_failure="record")
    assert (implied.on_failure, told.on_failure) == ("record", "raise")
    assert declared_adjoint({"name": "OneStepAdjoint"}, on_failure="record") == od.OneStepAdjoint()
    with pytest.raises(ValueError, match=r"adjoint ImplicitAdjoint must have options .*got _last"):
        declared_adjoint({"name": "ImplicitAdjoint", "_last": None})


def test_a_method_from_plain_values() -> None:
    solver = {"name": "Anderson", "memory": 3}
    method = declared_method("implicit_euler", 0.5, solver, {"name": "PhantomAdjoint"})
    assert method == od.ImplicitEuler(0.5, od.Anderson(memory=3), od.PhantomAdjoint())
    assert declared_method("explicit_euler", 0.5) == od.ExplicitEuler(0.5)
    with pytest.raises(ValueError, match="solver must be a table"):
        declared_method("implicit_euler", 0.5)
    with pytest.raises(ValueError, match="method must be one of implicit_euler"):
        declared_method("euler", 0.5)


@pytest.mark.parametrize("h", [0, -1.0, float("nan"), "1", True, None])
def test_a_step_size_is_a_positive_number(h: Any) -> None:
    for declare in (
        lambda: declared_method("explicit_euler", h),
        lambda: require_declared({"step_size": h}),
    ):
        with pytest.raises(ValueError, match="step_size must be a number > 0 and finite, got"):
            declare()


def test_explicit_and_implicit_euler_are_the_ends_of_the_theta_method() -> None:
    assert (od.ExplicitEuler().theta, od.ImplicitEuler().theta) == (0, 1)
    assert [field.name for field in dataclasses.fields(od.ExplicitEuler)] == ["step_size"]
    assert [field.name for field in dataclasses.fields(od.ImplicitEuler)] == [
        *("step_size", "solver", "adjoint", "linear_rtol")
    ]
