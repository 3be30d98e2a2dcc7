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
EDIT_RTOL = 1e-8  # on both paths of an edit, which is no small perturbation
DERIVATIVE_RTOL = 1e-6  # of the linear solves behind predictions
DIRECTION_RTOL = 3e-3  # of those behind a worst direction, whose growth is flat about its maximum
GROWN = ("measured", "predicted", "relative", "converged", "size")


@dataclasses.dataclass(frozen=True, eq=False)
class Walk:
    """A path with its step derivatives, made at first use.

    Attributes:
        study: with its model.
        path: what was followed.
    """

    study: Study
    path: od.Path

    @functools.cached_property
    def derivatives(self) -> list[od.AbstractOperator]:
        """Of each step."""
        # Iterations that stop by design are differentiated as they ran.
        return self.path.derivatives([not converges(method) for method in self.path.methods])

    def loose(self) -> list[od.AbstractOperator]:
        """The same linearisations in the working precision, and their solves loosely.

        They are not kept: they have copies of all weights in that precision.
        """
        return [_loose(self.study, derivative) for derivative in self.derivatives]


@functools.lru_cache(maxsize=4)  # either side of an edit under either method
def walk_through(
    study: Study, texts: tuple[str, ...], method: str, step_size: float, rtol: float = PATH_RTOL
) -> Walk:
    """The path of some texts under one method; neighbouring cells share it."""
    trajectory = study.trace(texts)
    step = od.ExplicitEuler(step_size) if method == "explicit" else od.ImplicitEuler(step_size)
    return _walk(study, trajectory, [step] * trajectory.depth, rtol)


@functools.lru_cache(maxsize=2)
def walk_as_declared(study: Study, texts: tuple[str, ...]) -> Walk:
    """The path of some texts under the steps that the checkpoint declares; likewise."""
    trajectory = study.trace_declared(texts)
    declared = trajectory.methods or (od.ExplicitEuler(1.0),) * trajectory.depth
    return _walk(study, trajectory, declared, PATH_RTOL)


def forget_walks() -> None:
    """Let go of the paths that are kept, with their linearisations."""
    walk_through.cache_clear()
    walk_as_declared.cache_clear()


def _walk(
    study: Study,
    trajectory: od.Trajectory,
    methods: Sequence[od.AbstractOneStepMethod],
    rtol: float,
) -> Walk:
    return Walk(
        study, od.follow(trajectory, [solved_to(study, method, rtol) for method in methods])
    )


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
    # Of a step on a path it is told whether it converged: a proof that it could not would cost more
    # than the path.
    solver = study.implicit(1.0, rtol, diagnose=False).solver
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
    growths = od.grow_each(
        walk.path,
        deltas,
        [_loosened(study, walk.path, delta) for delta in deltas],
        derivatives=walk.derivatives,
    )
    return stacked(growths)


def stacked(growths: Sequence[od.Growth]) -> dict[str, np.ndarray]:
    """The arrays of `GROWN`, one row for each growth."""
    return {
        name: np.stack([to_numpy(getattr(growth, name)) for growth in growths]) for name in GROWN
    }


def grown_by_edits(
    study: Study, plan: CellPlan, method: str, step_size: float
) -> dict[str, np.ndarray]:
    """Growth of a cell's edits under one method, by `GROWN`, as of one size."""
    pairs = [study.config.pairs[i] for i in plan.texts]
    walk, edited = (
        walk_through(study, texts, method, step_size, EDIT_RTOL)
        for texts in (
            tuple(pair.original for pair in pairs),
            tuple(pair.edited for pair in pairs),
        )
    )
    delta = od.EditPerturbation(edited.path.states[0]).delta(walk.path)
    predicted = od.predict(delta, walk.derivatives)
    return stacked([od.growth_between(walk.path, edited.path, predicted)])


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
        walk.path, 3 * study.config.growth_rtol, study.generator(kind), walk.loose()
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
