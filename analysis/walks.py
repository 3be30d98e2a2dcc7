"""Texts walked through a stack of steps, the perturbations that they are given, and how these grow:
what odestab propagates, with the tolerances of a study, and its linearisations shared by cells.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

import odestab as od
from analysis.cells import CellPlan
from analysis.study import Study, to_numpy

# of implicit solves on unperturbed paths: differences of 1e-5 are taken between two of them
PATH_RTOL = 1e-10
DERIVATIVE_RTOL = 1e-6  # of the linear solves behind predictions
DIRECTION_RTOL = 3e-3  # of those behind a worst direction, whose growth is flat about its maximum
GROWN = ("measured", "predicted", "relative", "converged", "size")


@dataclasses.dataclass(frozen=True, eq=False)
class Walk:
    """A path with its step derivatives: exact ones, and loose ones in the working precision over
    the same linearisations.
    """

    path: od.Path
    derivatives: list[od.AbstractOperator]
    loose: list[od.AbstractOperator]


@functools.lru_cache(maxsize=2)
def walk_through(study: Study, texts: tuple[str, ...], method: str, step_size: float) -> Walk:
    """The path of some texts under one method; neighbouring cells share it."""
    trajectory = study.trace(texts)
    step = od.ExplicitEuler(step_size) if method == "explicit" else od.ImplicitEuler(step_size)
    return _walk(study, trajectory, [step] * trajectory.depth)


@functools.lru_cache(maxsize=2)
def walk_as_declared(study: Study, texts: tuple[str, ...]) -> Walk:
    """The path of some texts under the steps that the checkpoint declares; likewise."""
    trajectory = study.trace_declared(texts)
    declared = trajectory.methods or (od.ExplicitEuler(1.0),) * trajectory.depth
    return _walk(study, trajectory, declared)


def _walk(
    study: Study, trajectory: od.Trajectory, methods: Sequence[od.AbstractOneStepMethod]
) -> Walk:
    path = od.follow(trajectory, [solved_to(study, method, PATH_RTOL) for method in methods])
    # Iterations that stop by design are differentiated as they ran.
    exact = path.derivatives([not converges(method) for method in path.methods])
    return Walk(path, exact, [_loose(study, derivative) for derivative in exact])


def _loose(study: Study, derivative: od.AbstractOperator) -> od.AbstractOperator:
    """The same linearisation in the working precision, its solves to DIRECTION_RTOL."""
    resolved = getattr(derivative, "inverse_of", None)
    if resolved is None:
        return derivative.cast(study.work_dtype)
    return od.inverse(resolved.cast(study.work_dtype), DIRECTION_RTOL)


def converges(method: od.AbstractOneStepMethod) -> bool:
    """Whether it is an implicit step whose solver goes on until it is solved."""
    return isinstance(method, od.ImplicitEuler) and not isinstance(
        method.solver, od.GradientDescent
    )


def solved_to(
    study: Study, method: od.AbstractOneStepMethod, rtol: float
) -> od.AbstractOneStepMethod:
    """The method with its equation solved to a tolerance, where it is one that is solved."""
    if not (isinstance(method, od.ImplicitEuler) and converges(method)):
        return method
    solver = study.implicit(1.0, rtol).solver
    return dataclasses.replace(method, solver=solver, linear_rtol=DERIVATIVE_RTOL)


def perturbations(
    study: Study,
    plan: CellPlan,
    walk: Walk,
    sizes: tuple[float, ...],
    trace: Callable[[tuple[str, ...]], od.Trajectory],
) -> list[Tensor]:
    """The perturbations δ_0 of a cell: one for each size, or the one that an edit or an attack is.

    Args:
        study: with its model.
        plan: the cell.
        walk: of the unperturbed texts.
        sizes: relative to ‖x_0‖.
        trace: traces the edited texts as the unperturbed ones were traced.

    Raises:
        ValueError: if the direction of an attack is not one of its text.
    """
    x = walk.path.states[0]
    if plan.perturbation == "attack":
        return [_attack(study, plan, walk)]
    if plan.perturbation == "gaussian":
        (direction,) = study.noise(plan, walk.path.trajectory, 1)
    elif plan.perturbation == "worst":
        direction = _worst_direction(study, plan.kind, walk)
    else:
        edited = trace(tuple(study.config.pairs[i].edited for i in plan.texts))
        return [od.EditPerturbation(edited.states[0]).delta(walk.path)]
    return [od.scaled(direction, x, size) for size in sizes]


def grown(study: Study, walk: Walk, deltas: list[Tensor]) -> dict[str, np.ndarray]:
    """Growth of perturbations of one direction along a walk, by `GROWN`, sizes along the first
    axis.
    """
    # Of one direction: its size does not matter.
    predicted = od.predict(deltas[0], walk.derivatives)
    growths = [
        od.propagate(walk.path, delta, _loosened(study, walk.path, delta), predicted=predicted)
        for delta in deltas
    ]
    return {
        name: np.stack([to_numpy(getattr(growth, name)) for growth in growths]) for name in GROWN
    }


def _loosened(study: Study, path: od.Path, delta: Tensor) -> list[od.AbstractOneStepMethod]:
    """The path's methods solved to 1e-5 below the perturbation's relative size, no tighter than the
    path itself.
    """
    relative = delta.flatten(1).norm(dim=1) / path.states[0].flatten(1).norm(dim=1)
    rtol = max(PATH_RTOL, 1e-5 * float(relative.min()))
    return [solved_to(study, method, rtol) for method in path.methods]


def _worst_direction(study: Study, kind: str, walk: Walk) -> Tensor:
    """The perturbation of each text that grows most through a walk, `(batch, tokens, hidden)`;
    `kind` is that of the cell that asks.
    """
    found = od.worst_direction(
        walk.path, 3 * study.config.growth_rtol, study.generator(kind), walk.loose
    ).right
    assert found is not None
    return found[:, 0].to(walk.path.states[0])


def _attack(study: Study, plan: CellPlan, walk: Walk) -> Tensor:
    """The directions of the texts that have one."""
    delta = torch.zeros_like(walk.path.states[0])
    for row, (text, real) in enumerate(zip(plan.texts, walk.path.trajectory.mask, strict=True)):
        own = study.directions[text]
        if len(own) != int(real.sum()):
            raise ValueError(
                f"the direction of text {text + 1} must be of its "
                f"{int(real.sum())} tokens, got {len(own)}"
            )
        delta[row, real] = own
    return delta
