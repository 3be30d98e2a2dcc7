"""One step of the attention half and of the feed-forward half of every layer, each taken as a layer
of its own.
"""

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from analysis.cells import CellPlan, Scope
from analysis.quantities.labelled import METHODS, flag, joined, statistics, variable
from analysis.quantities.quantity import (
    Measured,
    Quantity,
    Row,
    Shortfall,
    not_converged,
    not_finite,
    of_methods,
)
from analysis.record import Cell, Run

if TYPE_CHECKING:  # loads torch
    from analysis.study import Study

HALVES = {"attention": "attention half", "feed_forward": "feed-forward half"}


def plan(scope: Scope) -> list[CellPlan]:
    """The followed texts in every layer."""
    return scope.of_layers("sublayers", scope.followed)


def measure(study: "Study", plan: CellPlan) -> Measured:
    """Logarithmic norm and worst growth of either half."""
    import odestab as od
    from analysis.study import to_numpy

    config, layer = study.config, plan.layer
    assert layer is not None
    trajectory = study.trace_halves(study.texts(plan))
    rtol, work = config.growth_rtol, study.work_dtype
    arrays: dict[str, np.ndarray] = {}
    for half, place in zip(HALVES, (2 * layer, 2 * layer + 1), strict=True):
        field, x = trajectory.fields[place], trajectory.states[place]
        norm = od.logarithmic_norm(od.Jacobian(field, x), rtol, work_dtype=work)
        arrays[f"{half}_logarithmic_norm"] = to_numpy(norm.values[:, 0])
        arrays[f"{half}_logarithmic_norm_converged"] = to_numpy(norm.converged[:, 0])
        for name in METHODS:
            worst = [
                od.worst_growth(
                    study.implicit(h) if name == "implicit" else od.ExplicitEuler(h),
                    field,
                    x,
                    rtol,
                    work_dtype=work,
                )
                for h in config.step_sizes
            ]
            arrays[f"{half}_{name}_worst"] = np.stack(
                [to_numpy(one.values[:, 0]) for one in worst], axis=1
            )
            arrays[f"{half}_{name}_converged"] = np.stack(
                [to_numpy(one.converged[:, 0]) for one in worst], axis=1
            )
    return {}, arrays


def dataset(run: Run) -> xr.Dataset:
    """Growth of each layer's halves and each text, over one step of each size by each method."""
    return joined(run.of_kind("sublayers"), functools.partial(_of_cell, run), "layer")


def _of_cell(run: Run, cell: Cell) -> xr.Dataset:
    def halves(name: str) -> np.ndarray:
        return np.stack([cell.arrays[f"{half}_{name}"] for half in HALVES])

    def by_method(name: str) -> np.ndarray:
        return np.stack([halves(f"{method}_{name}") for method in METHODS], axis=-1)

    return xr.Dataset(
        {
            "half_logarithmic_norm": variable(
                "half text", halves("logarithmic_norm"), "logarithmic norm μ₂ of the half", "1/h"
            ),
            "half_logarithmic_norm_converged": flag(
                "half text", halves("logarithmic_norm_converged"), "its residual is small enough"
            ),
            "half_worst_growth": variable(
                "half text step_size scheme", by_method("worst"), "‖derivative of the step‖₂"
            ),
            "half_worst_growth_converged": flag(
                "half text step_size scheme",
                by_method("converged"),
                "the singular value and the step's solve converged",
            ),
        },
        coords={
            "half": list(HALVES),
            "text": cell.header["texts"],
            "step_size": run.config["step_sizes"],
            "scheme": list(METHODS),
        },
    )


def shortfalls(dataset: xr.Dataset) -> Iterator[Shortfall]:
    """What did not converge or is not finite in some text, half by half."""
    for half, name in HALVES.items():
        one = dataset.sel(half=half)
        norm, worst = f"logarithmic norm μ₂, {name}", f"worst growth, {name}"
        yield from not_converged(norm, one["half_logarithmic_norm_converged"])
        yield from not_finite(norm, one["half_logarithmic_norm"])
        yield from of_methods(not_converged, worst, one["half_worst_growth_converged"])
        yield from of_methods(not_finite, worst, one["half_worst_growth"])


def rows(dataset: xr.Dataset) -> list[Row]:
    """Statistics over texts of each layer, half and step size."""
    found = []
    for layer in dataset["layer"].values.tolist():
        for half in HALVES:
            for h in dataset["step_size"].values.tolist():
                one = dataset.sel(layer=layer, half=half, step_size=h)
                row: Row = {"layer": layer, "half": half, "step_size": h}
                row["logarithmic_norm"] = statistics(one["half_logarithmic_norm"])
                for method in METHODS:
                    worst = one["half_worst_growth"].sel(scheme=method)
                    row[f"{method}_worst_growth"] = statistics(worst)
                found.append(row)
    return found


def settled(dataset: xr.Dataset) -> dict[str, xr.DataArray]:
    """Singular values of both halves."""
    flags = dataset["half_worst_growth_converged"]
    return {f"{method} worst growth of half layers": flags.sel(scheme=method) for method in METHODS}


SUBLAYERS = Quantity(
    name="sublayers",
    cell="sublayers",
    depths=("full",),
    dataset=dataset,
    shortfalls=shortfalls,
    plan=plan,
    measure=measure,
    stage=2,
    table=("sublayers", rows),
    settled=settled,
    terms=(
        (
            "Halves of a layer",
            "the attention half and the feed-forward half, each with its "
            "residual and its LayerNorm, each taken as a layer of its own.",
        ),
    ),
)
