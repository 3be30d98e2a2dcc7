"""Step-size refinement: worst growth over every layer taken as one step of h, two of h/2, four of
h/4, beside that of the linear flow.
"""

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from analysis.cells import CellPlan, Scope
from analysis.quantities.labelled import METHODS, both, flag, joined, statistics, variable
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

PARTS = (1, 2, 4)
NAMES = ("explicit", "implicit", "flow", "explicit_converged", "implicit_converged")


def plan(scope: Scope) -> list[CellPlan]:
    """The followed texts in every layer."""
    return scope.of_layers("refinement", scope.followed)


def measure(study: "Study", plan: CellPlan) -> Measured:
    """At every step size by either method."""
    import odestab as od
    from analysis.study import to_numpy

    jacobian, rtol, work = study.jacobian(plan), study.config.growth_rtol, study.work_dtype
    found = [
        od.refinement_control(jacobian.field, jacobian.x, h, PARTS, rtol, work_dtype=work)
        for h in study.config.step_sizes
    ]
    arrays = {
        name: np.stack([to_numpy(getattr(one, name)) for one in found], axis=1) for name in NAMES
    }
    return {}, arrays | {"parts": np.array(PARTS)}


def dataset(run: Run) -> xr.Dataset:
    """Growth of each layer and text over the time h, by the number of steps that it is cut into."""
    return joined(run.of_kind("refinement"), functools.partial(_of_cell, run), "layer")


def _of_cell(run: Run, cell: Cell) -> xr.Dataset:
    dims = "text step_size parts scheme"
    return xr.Dataset(
        {
            "refined_growth": variable(dims, both(cell, "{}"), "worst growth over the whole time"),
            "refined_growth_converged": flag(
                dims, both(cell, "{}_converged"), "the singular value and all solves converged"
            ),
            "flow_growth": variable(
                "text step_size", cell.arrays["flow"], "‖e^{hJ}‖₂ with J at the start of the layer"
            ),
        },
        coords={
            "text": cell.header["texts"],
            "step_size": run.config["step_sizes"],
            "parts": cell.arrays["parts"],
            "scheme": list(METHODS),
        },
    )


def shortfalls(dataset: xr.Dataset) -> Iterator[Shortfall]:
    """What did not converge or is not finite, over all numbers of steps."""
    where = "layer {layer}, all numbers of steps"
    flags, growth = dataset["refined_growth_converged"], dataset["refined_growth"]
    yield from of_methods(not_converged, "refinement", flags, where=where)
    yield from of_methods(not_finite, "refinement", growth, where=where)
    yield from not_finite("refinement, linear flow", dataset["flow_growth"])


def rows(dataset: xr.Dataset) -> list[Row]:
    """Statistics over texts of each layer and step size."""
    found = []
    for layer in dataset["layer"].values.tolist():
        for h in dataset["step_size"].values.tolist():
            one = dataset.sel(layer=layer, step_size=h)
            growth = one["refined_growth"].transpose("text", "parts", "scheme")
            row: Row = {"layer": layer, "step_size": h, "parts": one["parts"].values}
            row["flow"] = statistics(one["flow_growth"])
            for method in METHODS:
                row[f"{method}_worst_growth"] = statistics(growth.sel(scheme=method))
            found.append(row)
    return found


def settled(dataset: xr.Dataset) -> dict[str, xr.DataArray]:
    """Singular values over all numbers of steps."""
    flags = dataset["refined_growth_converged"]
    return {
        f"{method} worst growth under refinement": flags.sel(scheme=method) for method in METHODS
    }


REFINEMENT = Quantity(
    name="refinement",
    cell="refinement",
    depths=("full",),
    dataset=dataset,
    shortfalls=shortfalls,
    plan=plan,
    measure=measure,
    stage=2,
    table=("refinement", rows),
    settled=settled,
    terms=(
        (
            "Step-size refinement",
            "the layer taken as m steps of size h/m instead of one of size h. Both "
            "methods then tend to the exact flow, so a difference that "
            "vanishes was an error of the step and not a property of the layer.",
        ),
    ),
)
