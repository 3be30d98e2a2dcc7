"""|R_k(z)| of solvers stopped after k iterations, at every step size of the stability map."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import xarray as xr

from analysis.cells import CellPlan, Scope
from analysis.quantities.labelled import variable
from analysis.quantities.quantity import Measured, Quantity, Shortfall, counted
from analysis.record import Run

if TYPE_CHECKING:  # loads torch
    from torch import Tensor

    from analysis.study import Study


def plan(scope: Scope) -> list[CellPlan]:
    """One cell: it depends on no text."""
    return [CellPlan("truncated")]


def measure(study: "Study", plan: CellPlan) -> Measured:
    """|R_k(z)| for Im z ≥ 0: it is symmetric."""
    import torch

    import odestab as od
    from analysis.study import to_numpy

    re = torch.linspace(-4, 4, 121, dtype=torch.float64)
    im = torch.linspace(0, 3, 46, dtype=torch.float64)
    z = od.complex_grid(re, im)
    by_step = [truncated_amplification(study, z, h) for h in study.config.map_step_sizes]
    labels = [*by_step[0]]
    amplification = [torch.stack([each[label] for each in by_step]) for label in labels]
    return {"labels": labels}, {
        "re": to_numpy(re),
        "im": to_numpy(im),
        "amplification": to_numpy(torch.stack(amplification).float()),
    }


def truncated_amplification(study: "Study", z: "Tensor", step_size: float) -> "dict[str, Tensor]":
    """|R_k(z)| at a step size of the solvers that are drawn, by their labels."""
    import odestab as od
    from odestab.fields.vector_field import split_of

    k, split = study.config.truncated_steps, split_of(study.config.field)
    descent = od.GradientDescent(steps=k)
    solvers = {
        f"fixed point, k = {k}": od.FixedPoint(),
        # It has a step of its own, so that its region is the same at every h.
        f"gradient descent, k = {k}, η = {descent.step_size:g}": descent,
    }
    return {
        label: od.truncated_stability_function(solver, z, step_size, k, split=split).abs()
        for label, solver in solvers.items()
    }


def dataset(run: Run) -> xr.Dataset:
    """The region of each solver over its grid, at each step size of the map."""
    cells = run.of_kind("truncated")
    if not cells:
        return xr.Dataset()
    amplification = variable(
        "solver map_step_size truncated_im truncated_re",
        cells[0].arrays["amplification"],
        "amplification |R_k(z)| of a solver stopped after k iterations",
    )
    return xr.Dataset(
        {"truncated_amplification": amplification},
        coords={
            "solver": cells[0].header["labels"],
            "map_step_size": run.config["map_step_sizes"],
            "truncated_re": variable("truncated_re", cells[0].arrays["re"], "Re z, z = hλ"),
            "truncated_im": variable("truncated_im", cells[0].arrays["im"], "Im z, z = hλ"),
        },
    )


def shortfalls(dataset: xr.Dataset) -> Iterator[Shortfall]:
    """Values that are no number; beyond single precision they are infinite, which is right."""
    unknown = dataset["truncated_amplification"].isnull()
    yield from counted("regions of truncated solvers", unknown, "not finite", "all of the plane")


TRUNCATED = Quantity(
    name="truncated",
    cell="truncated",
    depths=("quick", "full"),
    dataset=dataset,
    shortfalls=shortfalls,
    plan=plan,
    measure=measure,
    stage=0,
)
