"""Which gradient an attack climbs: of the exact solution, or of the iteration that ran."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any, TypeVar

import odestab as od
from imbert.model.classifier import Classifier
from imbert.model.stepping_model import implicit_layers, stepping
from imbert.toml_tables import one_of

KINDS = ("auto", "implicit", "unrolled")
ADJOINT_RTOL = 1e-3  # where the model's own adjoint has no tolerance
Solver = TypeVar("Solver", bound=od.AbstractImplicitSolver)
S = TypeVar("S")


def kind_of_gradient(classifier: Classifier, wanted: str) -> str:
    """The gradient that is used: "explicit" for a model that solves nothing, else "implicit" or
    "unrolled".

    "auto" is "unrolled" for a solver that takes a given number of steps, since the implicit
    function theorem does not give the gradient of a map that was stopped early (Mathematics,
    section 6), else "implicit".

    Raises:
        ValueError: for an unknown name.
    """
    one_of("gradient", wanted, KINDS)
    if not classifier.is_implicit:
        return "explicit"
    if wanted == "auto":
        return "unrolled" if own_solver(classifier).keeps_last else "implicit"
    return wanted


def own_solver(classifier: Classifier) -> od.AbstractImplicitSolver:
    """The solver of an implicit model's layers, as they are now."""
    return next(
        layer.method.solver
        for layer in implicit_layers(classifier.model)
        if isinstance(layer.method, od.ImplicitEuler)
    )


def differentiable(solver: S) -> S | od.Anderson:
    """A solver that autograd can follow: the same, but Anderson for one whose Newton iterations
    have no reverse mode.
    """
    if not isinstance(solver, od.Auto | od.NewtonKrylov):
        return solver
    shared = {name: getattr(solver, name) for name in ("rtol", "atol", "max_iterations", "start")}
    return od.Anderson(**shared)


@contextlib.contextmanager
def through(
    classifier: Classifier,
    kind: str,
    solver: od.AbstractImplicitSolver | None = None,
    adjoint_rtol: float | None = None,
) -> Iterator[None]:
    """While inside, gradients of an implicit model are those of `kind`; nothing changes for
    "explicit".

    Args:
        classifier: its model.
        kind: "explicit", "implicit" or "unrolled".
        solver: another one than the model's own.
        adjoint_rtol: of the implicit adjoint; None is the model's own.
    """
    if kind == "explicit":
        yield
        return
    own = own_solver(classifier) if solver is None else solver
    if kind == "unrolled":
        with stepping(classifier.model, solver=differentiable(own), adjoint=od.UnrolledAdjoint()):
            yield
        return
    rtol = (
        classifier.model.config.adjoint.get("rtol", ADJOINT_RTOL)
        if adjoint_rtol is None
        else adjoint_rtol
    )
    # one failed example must not end the attack on its batch mates
    adjoint = od.ImplicitAdjoint(rtol=rtol, on_failure="record")
    with stepping(classifier.model, solver=own, adjoint=adjoint):
        yield


def at_tolerance(solver: Solver, rtol: float, max_iterations: int | None = None) -> Solver:
    """The same solver at another tolerance; one with a given number of steps keeps them."""
    changes: dict[str, Any] = {"rtol": rtol, "atol": 0.0}
    if max_iterations is not None and getattr(solver, "steps", None) is None:
        changes["max_iterations"] = max_iterations
    return dataclasses.replace(solver, **changes)


def at_iterations(solver: od.AbstractImplicitSolver, iterations: int) -> od.AbstractImplicitSolver:
    """The iteration of a solver stopped after so many steps, its last iterate kept."""
    ends: dict[str, Any] = {"max_iterations": iterations, "keep_last": True}
    if isinstance(solver, od.GradientDescent):
        ends = {"steps": iterations}
    return dataclasses.replace(differentiable(solver), **ends)
