"""Solvers, adjoints and steps by name: the one table of what a plan or a checkpoint may declare.

A declaration is a table of plain values, `{"name": "Anderson", "rtol": 1e-3}`. It is checked in
full before anything is solved.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

from odestab.adjoint import (
    AbstractAdjoint,
    ImplicitAdjoint,
    OneStepAdjoint,
    PhantomAdjoint,
    UnrolledAdjoint,
)
from odestab.fields.vector_field import FIELD_KINDS
from odestab.solver import (
    AbstractImplicitSolver,
    Anderson,
    Auto,
    FixedPoint,
    GradientDescent,
    NewtonKrylov,
)
from odestab.solver.base import options_of
from odestab.steps.one_step import ExplicitEuler, ImplicitEuler

METHODS = ("implicit_euler", "explicit_euler")
FIELDS = FIELD_KINDS
SOLVERS: Mapping[str, type[AbstractImplicitSolver]] = types.MappingProxyType(
    {kind.__name__: kind for kind in (FixedPoint, Anderson, NewtonKrylov, GradientDescent, Auto)}
)
ADJOINTS: Mapping[str, type[AbstractAdjoint]] = types.MappingProxyType(
    {
        kind.__name__: kind
        for kind in (ImplicitAdjoint, UnrolledAdjoint, OneStepAdjoint, PhantomAdjoint)
    }
)


def declared_solver(choice: Any) -> AbstractImplicitSolver:
    """A solver from its name and options.

    Raises:
        ValueError: if there is no solver or option of that name, or an option is of another type or
            out of range.

    >>> declared_solver({"name": "Anderson", "rtol": 1e-3}).rtol
    0.001
    """
    name = _name("solver", choice, SOLVERS)
    types_of = {option: kind for option, (kind, _) in options_of(SOLVERS[name]).items()}
    return _built("solver", name, SOLVERS[name], _typed("solver", name, choice, types_of))


def declared_adjoint(choice: Any, **implied: Any) -> AbstractAdjoint:
    """An adjoint from its name and options.

    Args:
        choice: the name and the options.
        implied: options of ImplicitAdjoint that hold where the choice does not name them.

    Raises:
        ValueError: if there is no adjoint or option of that name, or an option is of another type
            or out of range.

    >>> declared_adjoint({"name": "PhantomAdjoint", "steps": 3})
    PhantomAdjoint(steps=3)
    """
    name = _name("adjoint", choice, ADJOINTS)
    kind = ADJOINTS[name]
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    options = _typed(
        "adjoint", name, choice, {field.name: hints[field.name] for field in fields if field.init}
    )
    return _built("adjoint", name, kind, (implied if kind is ImplicitAdjoint else {}) | options)


def declared_method(
    method: Any, step_size: Any, solver: Any = None, adjoint: Any = None, **implied: Any
) -> ExplicitEuler | ImplicitEuler:
    """A one-step method from plain values; an explicit one has no use for a solver and an adjoint.

    Args:
        method: one of METHODS.
        step_size: h.
        solver: the declaration of an implicit method's solver.
        adjoint: likewise.
        implied: as of `declared_adjoint`.

    Raises:
        ValueError: if one of them is none.

    >>> declared_method("explicit_euler", 0.5)
    ExplicitEuler(step_size=0.5)
    """
    require_one_of("method", method, METHODS)
    require_step_size(step_size)
    if method == "explicit_euler":
        return ExplicitEuler(step_size)
    return ImplicitEuler(step_size, declared_solver(solver), declared_adjoint(adjoint, **implied))


def require_declared(declared: Mapping[str, Any]) -> None:
    """Raise ValueError unless the choices that a declaration names make sense; what it leaves out
    is not asked for.

    Args:
        declared: of the keys method, field, step_size, substeps, learn_step_size, solver and
            adjoint; others are not looked at.

    >>> require_declared({"method": "implicit_euler", "solver": {"name": "Auto"}})
    """
    for name, known in (("method", METHODS), ("field", FIELDS)):
        if name in declared:
            require_one_of(name, declared[name], known)
    if "step_size" in declared:
        require_step_size(declared["step_size"])
    substeps = declared.get("substeps", 1)
    if type(substeps) is not int or substeps < 1:
        raise ValueError(f"substeps must be an integer >= 1, got {substeps!r}")
    learns = declared.get("learn_step_size", False)
    if type(learns) is not bool:
        raise ValueError(f"learn_step_size must be True or False, got {learns!r}")
    if "solver" in declared:
        declared_solver(declared["solver"])
    if "adjoint" in declared:
        declared_adjoint(declared["adjoint"])


def require_one_of(name: str, value: Any, known: tuple[str, ...]) -> None:
    """Raise ValueError unless a value is one of those known.

    >>> require_one_of("field", "outer", FIELDS)
    """
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")


def require_step_size(value: Any) -> None:
    """Raise ValueError unless h is a positive and finite number.

    >>> require_step_size(0.5)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"step_size must be a number > 0 and finite, got {value!r}")
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"step_size must be a number > 0 and finite, got {value!r}")


def _name(what: str, choice: Any, known: Mapping[str, type]) -> str:
    """The name in a declaration, which is a table."""
    name = choice.get("name") if isinstance(choice, Mapping) else None
    if not isinstance(name, str) or name not in known:
        came = choice.get("name", choice) if isinstance(choice, Mapping) else choice
        raise ValueError(
            f"{what} must be a table with a name out of {', '.join(known)}, got {came!r}"
        )
    return name


def _typed(
    what: str, name: str, choice: Mapping[str, Any], types_of: Mapping[str, Any]
) -> dict[str, Any]:
    """The options in a declaration, each of its type; whole numbers become floats where those are
    meant.
    """
    options = {key: value for key, value in choice.items() if key != "name"}
    unknown = sorted(set(options) - set(types_of))
    if unknown:
        raise ValueError(
            f"{what} {name} must have options out of {', '.join(types_of)}, "
            f"got {', '.join(unknown)}"
        )
    for key, value in options.items():
        if not _is_of(types_of[key], value):
            allowed = typing.get_args(types_of[key]) or (types_of[key],)
            wanted = " or ".join(kind.__name__ for kind in allowed if kind is not types.NoneType)
            raise ValueError(
                f"{what} {name} must have options of their types: {key} must be {wanted}, "
                f"got {value!r}"
            )
        if types_of[key] is float:
            options[key] = float(value)
    return options


def _is_of(hint: Any, value: Any) -> bool:
    """Whether a plain value is of a type: a boolean is no number, and a number is finite."""
    if isinstance(hint, types.UnionType):
        return any(_is_of(part, value) for part in typing.get_args(hint))
    if hint is float:
        return type(value) in (int, float) and math.isfinite(value)
    # Not isinstance: True is an int, and no count.
    return type(value) is hint


def _built(what: str, name: str, kind: Any, options: Mapping[str, Any]) -> Any:
    """The object; what its class refuses is told with its name."""
    try:
        return kind(**options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} {name}: {error}") from error
