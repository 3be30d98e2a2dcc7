"""|R(z)| of both methods and of solvers stopped after k iterations, on one grid of z = hλ."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from analysis.cells import CellPlan, Scope
from analysis.quantities.labelled import joined, variable
from analysis.quantities.quantity import Measured, Quantity, Shortfall, counted
from analysis.quantities.truncated import truncated_amplification
from analysis.record import Cell, Run

if TYPE_CHECKING:  # loads torch
    from analysis.study import Study


def plan(scope: Scope) -> list[CellPlan]:
    """One cell for each step size: a truncated solver's region depends on it."""
    return [CellPlan("regions", step_size=h) for h in scope.config.step_sizes]


def measure(study: "Study", plan: CellPlan) -> Measured:
    """|R(z)| of explicit and implicit Euler and of truncated solvers, and |1 − z²|."""
    import torch

    import odestab as od
    from analysis.study import to_numpy

    h = plan.step_size
    assert h is not None
    reach = max(1.0, h)
    re = torch.linspace(-4 * reach, 4 * reach, 321, dtype=torch.float64)
    im = torch.linspace(-3 * reach, 3 * reach, 241, dtype=torch.float64)
    z = od.complex_grid(re, im)
    truncated = truncated_amplification(study, z, h)
    regions = {
        ("explicit", "explicit Euler"): od.stability_region(od.ExplicitEuler(h), re, im),
        ("implicit", "implicit Euler"): od.stability_region(od.ImplicitEuler(h), re, im),
        **{("truncated", label): values for label, values in truncated.items()},
        ("lemniscate", "|1 − z²| = 1"): od.lemniscate(z),
    }
    amplification = np.stack([to_numpy(values) for values in regions.values()])
    return {"regions": [[name, label, h] for name, label in regions]}, {
        "re": to_numpy(re),
        "im": to_numpy(im),
        "amplification": amplification,
    }


def dataset(run: Run) -> xr.Dataset:
    """The region of each method or solver over its grid, at each step size."""
    regions = joined(run.of_kind("regions"), _of_cell, "step_size")
    return regions.set_coords(["region_re", "region_im"]) if regions else regions


def _of_cell(cell: Cell) -> xr.Dataset:
    names, labels, _ = zip(*cell.header["regions"], strict=True)
    amplification = variable(
        "region region_row region_column", cell.arrays["amplification"], "amplification |R(z)|"
    )
    return xr.Dataset(
        {
            "region_amplification": amplification,
            "region_re": variable("region_column", cell.arrays["re"], "Re z, z = hλ"),
            "region_im": variable("region_row", cell.arrays["im"], "Im z, z = hλ"),
        },
        coords={"region": list(labels), "region_name": ("region", list(names))},
    )


def shortfalls(dataset: xr.Dataset) -> Iterator[Shortfall]:
    """Values that are no number; at a pole they are infinite, which is right."""
    unknown = dataset["region_amplification"].isnull()
    yield from counted("stability regions", unknown, "not finite", "all of the plane")


REGIONS = Quantity(
    name="regions",
    cell="regions",
    depths=("quick", "full"),
    dataset=dataset,
    shortfalls=shortfalls,
    plan=plan,
    measure=measure,
    stage=0,
    terms=(
        (
            "Explicit Euler step of size h",
            "y = x + h f(x), with derivative E = I + hJ(x) and "
            "stability function R(z) = 1 + z, z = hλ.",
        ),
        (
            "Implicit Euler step of size h",
            "y = x + h f(y), with derivative M⁻¹ = (I − hJ(y))⁻¹ "
            "and stability function R(z) = 1/(1 − z).",
        ),
    ),
)
