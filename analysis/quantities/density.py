"""Spectral densities of every layer by stochastic Lanczos quadrature: of ∂Fᵀ∂F and of the symmetric
part of J.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from analysis.cells import CellPlan, Scope
from analysis.quantities.labelled import joined, variable
from analysis.quantities.quantity import Measured, Quantity, Shortfall, not_finite
from analysis.record import Cell, Run

if TYPE_CHECKING:  # loads torch
    from analysis.study import Study

KINDS = {"gram": "∂Fᵀ∂F, F = id + J the layer", "symmetric": "(J + Jᵀ)/2"}
SINGULAR_VALUES = (0.02, 20, 400)  # what lies beyond the grids is not drawn
SYMMETRIC = (-12, 10, 441)


def plan(scope: Scope) -> list[CellPlan]:
    """The followed texts in every layer."""
    return scope.of_layers("density", scope.followed)


def measure(study: "Study", plan: CellPlan) -> Measured:
    """Both densities with their standard errors over random probes."""
    import torch

    import odestab as od
    from analysis.study import to_numpy

    jacobian, work = study.jacobian(plan), study.work_dtype
    arrays: dict[str, np.ndarray] = {}
    for of, operator, grid in (
        ("singular", od.affine(jacobian, 1.0, 1.0), SINGULAR_VALUES),
        ("symmetric", jacobian, SYMMETRIC),
    ):
        points = torch.linspace(*grid).to(work)
        options: dict[str, Any] = {"probes": 6, "steps": 60, "points": points, "width": 0.12}
        generator = study.generator(plan.kind, plan.layer, of)
        found = od.spectral_density(operator.cast(work), of, **options, generator=generator)
        # Per unit of σ², p(σ²) = p(σ)/2σ.
        name, slope, at = (
            ("gram", 2 * points, points**2)
            if of == "singular"
            else (of, torch.ones_like(points), points)
        )
        arrays |= {
            f"{name}_points": to_numpy(at),
            f"{name}_density": to_numpy(found.density / slope),
            f"{name}_error": to_numpy(found.error / slope),
        }
    return {}, arrays


def dataset(run: Run) -> xr.Dataset:
    """The densities of each layer and text, each over one grid for all."""
    return joined(run.of_kind("density"), _of_cell, "layer")


def _of_cell(cell: Cell) -> xr.Dataset:
    variables: dict[str, xr.Variable] = {}
    coords: dict[str, Any] = {"text": cell.header["texts"]}
    for of, words in KINDS.items():
        points = f"{of}_point"
        coords[points] = variable(points, cell.arrays[f"{of}_points"], f"eigenvalue of {words}")
        variables[f"{of}_density"] = variable(
            f"text {points}",
            cell.arrays[f"{of}_density"],
            f"spectral density of {words}, which integrates to 1",
            "per unit of the eigenvalue",
        )
        variables[f"{of}_density_error"] = variable(
            f"text {points}",
            cell.arrays[f"{of}_error"],
            "standard error of the density over the random probes",
            "per unit of the eigenvalue",
        )
    return xr.Dataset(variables, coords=coords)


def shortfalls(dataset: xr.Dataset) -> Iterator[Shortfall]:
    """Texts whose density or whose error is not finite somewhere."""
    for of in KINDS:
        for name in (f"{of}_density", f"{of}_density_error"):
            total = dataset[name].sum(f"{of}_point", skipna=False)
            words = "spectral density" if name.endswith("density") else "error of the density"
            yield from not_finite(f"{words} ({of})", total)


DENSITY = Quantity(
    name="density",
    cell="density",
    depths=("full",),
    dataset=dataset,
    shortfalls=shortfalls,
    plan=plan,
    measure=measure,
    stage=2,
    terms=(
        (
            "Spectral density",
            "how many of all singular values or eigenvalues lie near a value, "
            "per unit of the axis, estimated with random probes.",
        ),
    ),
)
