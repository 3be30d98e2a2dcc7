"""Which one-step method a layer takes: from the plain values of a configuration to odestab's
objects.
"""

import dataclasses
import math
import typing
from collections.abc import Mapping
from typing import Any

import odestab as od
from imbert.toml_tables import in_range, typed

METHODS = ("implicit_euler", "explicit_euler")
FIELDS = ("increment", "outer")
SOLVERS = {
    kind.__name__: kind
    for kind in (od.FixedPoint, od.Anderson, od.NewtonKrylov, od.GradientDescent, od.Auto)
}
ADJOINTS = {
    kind.__name__: kind
    for kind in (od.ImplicitAdjoint, od.UnrolledAdjoint, od.OneStepAdjoint, od.PhantomAdjoint)
}


def build_solver(choice: Mapping[str, Any]) -> od.AbstractImplicitSolver:
    """A solver from its class name and its options.

    Raises:
        ValueError: if there is no solver or option of that name, or an option is out of range.
    """
    return _built("solver", SOLVERS, choice, {})


def build_adjoint(choice: Mapping[str, Any]) -> od.AbstractAdjoint:
    """An adjoint from its class name and its options; ImplicitAdjoint records a failed solve unless
    it is told to raise.

    Raises:
        ValueError: if there is no adjoint or option of that name, or an option is out of range.
    """
    implied = (
        {"on_failure": "record"}
        if isinstance(choice, Mapping) and choice.get("name") == "ImplicitAdjoint"
        else {}
    )
    return _built("adjoint", ADJOINTS, choice, implied)


def build_method(config: Any) -> od.ExplicitEuler | od.ImplicitEuler:
    """One of the `substeps` steps of a layer, with an adjoint of its own, whose record is that of
    this layer alone.
    """
    step_size = config.step_size / config.substeps
    if config.method == "explicit_euler":
        return od.ExplicitEuler(step_size)
    return od.ImplicitEuler(step_size, build_solver(config.solver), build_adjoint(config.adjoint))


def require_steps(config: Any) -> None:
    """Raise ValueError unless the choice of implicit steps in a configuration makes sense; all of
    it is built once.
    """
    layers, depth = config.implicit_layers, config.num_hidden_layers
    if layers is not None:
        indices = isinstance(layers, list | tuple) and all(
            type(one) is int and 0 <= one < depth for one in layers
        )
        if not indices or len(set(layers)) != len(layers):
            raise ValueError(
                "implicit_layers must be None or different indices from 0 to "
                f"{depth - 1} of the {depth} layers, got {layers!r}"
            )
    for name, known in (("method", METHODS), ("field", FIELDS)):
        if getattr(config, name) not in known:
            raise ValueError(
                f"{name} must be one of {', '.join(known)}, got {getattr(config, name)!r}"
            )
    h = config.step_size
    if isinstance(h, bool) or not isinstance(h, int | float) or not (math.isfinite(h) and h > 0):
        raise ValueError(f"step_size must be a number > 0 and finite, got {h!r}")
    if type(config.substeps) is not int or config.substeps < 1:
        raise ValueError(f"substeps must be an integer >= 1, got {config.substeps!r}")
    if type(config.learn_step_size) is not bool:
        raise ValueError(f"learn_step_size must be True or False, got {config.learn_step_size!r}")
    build_solver(config.solver)
    build_adjoint(config.adjoint)


def _built(
    what: str, known: Mapping[str, Any], choice: Mapping[str, Any], implied: Mapping[str, Any]
) -> Any:
    if not isinstance(choice, Mapping) or choice.get("name") not in known:
        came = choice.get("name", choice) if isinstance(choice, Mapping) else choice
        raise ValueError(
            f"{what} must be a table with a name out of {', '.join(known)}, got {came!r}"
        )
    kind, options = (
        known[choice["name"]],
        {key: value for key, value in choice.items() if key != "name"},
    )
    accepted = [field.name for field in dataclasses.fields(kind) if field.init]
    if unknown := sorted(set(options) - set(accepted)):
        raise ValueError(
            f"{what} {kind.__name__} must have options out of "
            f"{', '.join(accepted)}, got {', '.join(unknown)}"
        )
    hints = typing.get_type_hints(kind)
    for name, value in options.items():
        options[name] = typed(
            f"{what} {kind.__name__} must have options of their types: {name}", value, hints[name]
        )
    in_range(f"{what} {kind.__name__}: patience", options.get("patience"), 1)
    try:
        return kind(**{**implied, **options})
    except TypeError as error:
        raise ValueError(
            f"{what} {kind.__name__} must have options of their types, got {options}: {error}"
        ) from error
    except ValueError as error:
        raise ValueError(f"{what} {kind.__name__}: {error}") from error
