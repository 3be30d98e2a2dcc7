"""What a solver does at the tolerances of fine-tuning: its evaluations, its error, and what a
truncated one damps.
"""

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from analysis.cells import CellPlan, Scope
from analysis.quantities.labelled import flag, joined, variable
from analysis.quantities.quantity import (
    Measured,
    Quantity,
    Shortfall,
    not_converged,
    not_finite,
)
from analysis.record import Cell, Run

if TYPE_CHECKING:  # loads torch
    from torch import Tensor

    import odestab as od
    from analysis.study import Study


def plan(scope: Scope) -> list[CellPlan]:
    """All texts in every layer."""
    return scope.of_layers("solves", scope.texts)


def measure(study: "Study", plan: CellPlan) -> Measured:
    """For each step size and tolerance how an implicit step is solved, and the advantage of a
    solver stopped after k iterations.

    The error of a solve is relative to what sets the two methods apart, ‖y_tolerance − y‖/‖y − (x +
    h f(x))‖: at 1 nothing is left of the implicit step.
    """
    jacobian = study.jacobian(plan)
    noise = study.noise(plan, study.trace(study.texts(plan)), study.config.perturbations)
    steps = [
        _one_step_size(study, jacobian.field, jacobian.x, h, noise) for h in study.config.step_sizes
    ]
    return {}, {name: np.stack([step[name] for step in steps], axis=1) for name in steps[0]}


def _one_step_size(
    study: "Study", field: "od.AbstractVectorField", x: "Tensor", h: float, noise: "Tensor"
) -> dict[str, np.ndarray]:
    import torch

    import odestab as od
    from analysis.study import to_numpy

    with torch.no_grad():
        exact = study.implicit(h).step(field, x).state
        explicit = od.ExplicitEuler(h).step(field, x).state
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
    study: "Study", field: "od.AbstractVectorField", x: "Tensor", h: float, noise: "Tensor"
) -> "Tensor":
    """Mean of log(‖Eδ‖/‖D_k δ‖), with D_k the derivative of k fixed-point iterations as they
    run.
    """
    import odestab as od

    k = study.config.truncated_steps
    stopped = od.ImplicitEuler(h, solver=od.FixedPoint(max_iterations=k, rtol=0.0, keep_last=True))
    images = [
        method.derivative(field, x, x, executed=True).mv(noise)
        for method in (od.ExplicitEuler(h), stopped)
    ]
    explicit, truncated = (image.flatten(2).norm(dim=2).log() for image in images)
    return (explicit - truncated).mean(0)


def dataset(run: Run) -> xr.Dataset:
    """The solves of each layer, text and step size by tolerance, loosest first."""
    return joined(run.of_kind("solves"), functools.partial(_of_cell, run), "layer")


def _of_cell(run: Run, cell: Cell) -> xr.Dataset:
    arrays, dims = cell.arrays, "text step_size rtol"
    return xr.Dataset(
        {
            "tolerance_evaluations": variable(
                dims, arrays["evaluations"], "evaluations of f by the solve"
            ),
            "tolerance_converged": flag(dims, arrays["converged"], "the solve converged"),
            "tolerance_error": variable(
                dims, arrays["error"], "‖y_tolerance − y‖/‖y − (x + h f(x))‖"
            ),
            "truncated_advantage": variable(
                "text step_size",
                arrays["truncated_advantage"],
                "implicit advantage of k fixed-point iterations as they ran",
                "nats",
            ),
        },
        coords={
            "text": cell.header["texts"],
            "step_size": run.config["step_sizes"],
            "rtol": run.config["tolerances"],
        },
    )


def shortfalls(dataset: xr.Dataset) -> Iterator[Shortfall]:
    """Solves that did not converge, over all tolerances, and what is not finite."""
    where = "layer {layer}, all tolerances"
    yield from not_converged("solve to a tolerance", dataset["tolerance_converged"], where)
    yield from not_finite("error of a tolerance", dataset["tolerance_error"], where)
    yield from not_finite("evaluations at a tolerance", dataset["tolerance_evaluations"], where)
    yield from not_finite("advantage of a truncated solver", dataset["truncated_advantage"])


SOLVES = Quantity(
    name="solves",
    cell="solves",
    depths=("prediction",),
    dataset=dataset,
    shortfalls=shortfalls,
    plan=plan,
    measure=measure,
    stage=0,
)
