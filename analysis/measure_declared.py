"""Growth through the steps that a checkpoint declares for its layers: what its model does to a
perturbation, and what is predicted.
"""

import dataclasses
import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor

import odestab as od
from analysis.cells import CellPlan
from analysis.study import (
    PATH_RTOL,
    Study,
    Walk,
    implicit_derivatives,
    perturbed_rtol,
    to_numpy,
    worst_direction,
)


def declared_cell(study: Study, plan: CellPlan) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Growth of one kind of perturbation at each size through all declared steps, measured and
    predicted.

    Solvers that converge are solved far below the perturbation's size, whatever tolerance they
    declare; one that stops after k iterations by design runs as declared, and its derivative is
    that of these iterations.
    """
    edits = plan.perturbation not in ("gaussian", "worst", "attack")
    texts = tuple(
        study.config.pairs[i].original if edits else study.config.texts[i] for i in plan.texts
    )
    walk = _walk(study, texts)
    deltas, sizes = _deltas(study, plan, walk, edits)
    predicted = od.predict(
        deltas[0], walk.derivatives
    )  # of one direction: its size does not matter
    growths = [
        od.grow(walk.path, delta, predicted, _loosened(study, walk.path, delta)) for delta in deltas
    ]
    arrays = {
        name: np.stack([to_numpy(getattr(one, name)) for one in growths])
        for name in ("measured", "predicted", "converged", "size")
    }
    by_design = np.array(
        [not _converges(method) for method in walk.path.methods]
    )  # what stops so is not unsolved
    arrays["converged"] |= by_design & np.isfinite(arrays["measured"][..., 1:])
    return {}, arrays | {"sizes": np.array(sizes)}


@functools.lru_cache(maxsize=2)
def _walk(study: Study, texts: tuple[str, ...]) -> Walk:
    """The path of some texts under the declared steps; neighbouring cells share it."""
    trajectory = study.trace_declared(texts)
    declared = trajectory.methods or (od.ExplicitEuler(1.0),) * trajectory.depth
    path = od.follow(trajectory, [_solved_to(study, one, PATH_RTOL) for one in declared])
    both = list[tuple[od.AbstractOperator, od.AbstractOperator]]()
    for method, field, x, y in zip(
        path.methods, trajectory.fields, path.states[:-1], path.states[1:], strict=True
    ):
        if _converges(method):
            both.append(implicit_derivatives(study, field, y, float(method.step_size)))
        else:
            executed = method.derivative(field, x, y, executed=True)
            both.append((executed, executed.cast(study.work_dtype)))
    return Walk(path, [exact for exact, _ in both], [loose for _, loose in both])


def _deltas(
    study: Study, plan: CellPlan, walk: Walk, edits: bool
) -> tuple[list[Tensor], tuple[float, ...]]:
    """The perturbations of a cell, one per size; an edit and an attack have the size that they
    have.
    """
    config, x = study.config, walk.path.states[0]
    if edits:
        edited = study.trace_declared(tuple(config.pairs[i].edited for i in plan.texts))
        return [od.EditPerturbation(edited.states[0]).delta(walk.path)], (float("nan"),)
    if plan.perturbation == "attack":
        delta = torch.zeros_like(x)
        for row, (text, real) in enumerate(zip(plan.texts, walk.path.trajectory.mask, strict=True)):
            own = study.directions[text]
            if len(own) != int(real.sum()):
                raise ValueError(
                    f"the direction of text {text + 1} must be of its "
                    f"{int(real.sum())} tokens, got {len(own)}"
                )
            delta[row, real] = own
        return [delta], (float("nan"),)
    if plan.perturbation == "gaussian":
        (direction,) = study.noise(plan, walk.path.trajectory, 1)
    else:
        direction = worst_direction(study, plan.kind, walk)
    return [od.scaled(direction, x, size) for size in config.sizes], config.sizes


def _converges(method: od.AbstractOneStepMethod) -> bool:
    """Whether it is an implicit step whose solver goes on until it is solved."""
    return isinstance(method, od.ImplicitEuler) and not isinstance(
        method.solver, od.GradientDescent
    )


def _solved_to(study: Study, method: Any, rtol: float) -> od.AbstractOneStepMethod:
    """The method with its equation solved to a tolerance, where it is one that is solved."""
    if not _converges(method):
        return method
    return dataclasses.replace(method, solver=study.implicit(1.0, rtol).solver)


def _loosened(study: Study, path: od.Path, delta: Tensor) -> list[od.AbstractOneStepMethod]:
    """The path's methods, solved as a perturbation asks for."""
    rtol = perturbed_rtol(path, delta)
    return [_solved_to(study, method, rtol) for method in path.methods]
