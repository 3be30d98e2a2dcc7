"""Measure what a solver does at the tolerances of fine-tuning: its evaluations, its error, and what
a truncated one damps.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

import odestab as od
from analysis.cells import CellPlan
from analysis.study import Study, to_numpy


def solves_cell(study: Study, plan: CellPlan) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """For each step size and tolerance how an implicit step is solved, and the advantage of a
    solver stopped after k iterations.

    The error of a solve is relative to what sets the two methods apart, ‖y_tolerance − y‖/‖y − (x +
    h f(x))‖: at 1 nothing is left of the implicit step.
    """
    assert plan.layer is not None
    trajectory = study.trace(tuple(study.config.texts[i] for i in plan.texts))
    field, x = trajectory.fields[plan.layer], trajectory.states[plan.layer]
    noise = study.noise(plan, trajectory, study.config.perturbations)
    steps = [_one_step_size(study, field, x, h, noise) for h in study.config.step_sizes]
    return {}, {name: np.stack([step[name] for step in steps], axis=1) for name in steps[0]}


def _one_step_size(
    study: Study, field: od.AbstractVectorField, x: Tensor, h: float, noise: Tensor
) -> dict[str, np.ndarray]:
    method = study.implicit(h)
    with torch.no_grad():
        exact, explicit = method.step(field, x).state, od.ExplicitEuler(h).step(field, x).state
        found = [
            od.ImplicitEuler(h, solver=od.Auto(rtol=rtol, diagnose=False)).step(field, x)
            for rtol in study.config.tolerances
        ]
        apart = field.rms(exact - explicit)
        errors = [field.rms(one.state - exact) / apart for one in found]
    solutions = [one.solution for one in found if one.solution is not None]
    return {
        "evaluations": np.stack([to_numpy(one.evaluations) for one in solutions], axis=1),
        "converged": np.stack([to_numpy(one.converged) for one in solutions], axis=1),
        "error": np.stack([to_numpy(error) for error in errors], axis=1),
        "truncated_advantage": to_numpy(_truncated_advantage(study, field, x, h, noise)),
    }


def _truncated_advantage(
    study: Study, field: od.AbstractVectorField, x: Tensor, h: float, noise: Tensor
) -> Tensor:
    """Mean of log(‖Eδ‖/‖D_k δ‖), with D_k the derivative of k fixed-point iterations as they
    run.
    """
    k = study.config.truncated_steps
    stopped = od.ImplicitEuler(h, solver=od.FixedPoint(max_iterations=k, rtol=0.0, keep_last=True))
    images = [
        method.derivative(field, x, x, executed=True).mv(noise)
        for method in (od.ExplicitEuler(h), stopped)
    ]
    explicit, truncated = (image.flatten(2).norm(dim=2).log() for image in images)
    return (explicit - truncated).mean(0)
