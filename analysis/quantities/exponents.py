"""The largest finite-time Lyapunov exponents of the whole stack under each method."""

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

EXPONENTS = 4
NAME = "Lyapunov exponents"


def plan(scope: Scope) -> list[CellPlan]:
    """The followed texts at every step size."""
    return [
        CellPlan("exponents", chunk, step_size=h)
        for h in scope.config.step_sizes
        for chunk in scope.followed
    ]


def measure(study: "Study", plan: CellPlan) -> Measured:
    """(1/L) log σ_i of the product of all step derivatives."""
    import odestab as od
    from analysis.study import to_numpy
    from analysis.walks import walk_through

    assert plan.step_size is not None
    arrays: dict[str, np.ndarray] = {}
    for method in METHODS:
        path = walk_through(study, study.texts(plan), method, plan.step_size).path
        found = od.lyapunov_exponents(
            path, EXPONENTS, rtol=study.config.growth_rtol, work_dtype=study.work_dtype
        )
        arrays[f"{method}_exponents"] = to_numpy(found.values)
        arrays[f"{method}_converged"] = to_numpy(found.converged)
    return {}, arrays


def dataset(run: Run) -> xr.Dataset:
    """The exponents of each text, largest first."""
    return joined(run.of_kind("exponents"), _of_cell, "step_size")


def _of_cell(cell: Cell) -> xr.Dataset:
    dims, values = "text order scheme", both(cell, "{}_exponents")
    return xr.Dataset(
        {
            "exponent": variable(
                dims, values, "finite-time Lyapunov exponent (1/L) log σ_i", "nats per layer"
            ),
            "exponent_converged": flag(
                dims, both(cell, "{}_converged"), "its residual is within tolerance"
            ),
        },
        coords={
            "text": cell.header["texts"],
            "order": np.arange(1, values.shape[1] + 1),
            "scheme": list(METHODS),
        },
    )


def shortfalls(dataset: xr.Dataset) -> Iterator[Shortfall]:
    """Over all texts and orders."""
    stack = "whole stack"
    yield from of_methods(not_converged, NAME, dataset["exponent_converged"], where=stack)
    yield from of_methods(not_finite, NAME, dataset["exponent"], where=stack)


def rows(dataset: xr.Dataset) -> list[Row]:
    """Statistics over texts of each method and step size."""
    values = dataset["exponent"].transpose("text", "order", ...)
    return [
        {
            "method": method,
            "step_size": h,
            "values": statistics(values.sel(scheme=method, step_size=h)),
        }
        for h in dataset["step_size"].values.tolist()
        for method in METHODS
    ]


LYAPUNOV = Quantity(
    name="exponents",
    cell="exponents",
    depths=("full",),
    dataset=dataset,
    shortfalls=shortfalls,
    plan=plan,
    measure=measure,
    stage=2,
    table=("exponents", rows),
    settled=lambda dataset: {NAME: dataset["exponent_converged"]},
    terms=(
        (
            "Finite-time Lyapunov exponents",
            "(1/L) log σ_i of the product of the derivatives of all L steps, σ_i its "
            "singular values: mean growth per layer in nats; 0.69 nats "
            "is a factor of 2.",
        ),
    ),
)
