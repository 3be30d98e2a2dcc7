"""Spectral growth of every layer at every step size of a grid, and which step sizes are stable."""

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from analysis.quantities.labelled import METHODS, both, flag, joined, variable
from analysis.quantities.quantity import Quantity, Row, Shortfall, counted, not_finite, of_methods
from analysis.record import Cell, Run

if TYPE_CHECKING:  # loads torch
    import odestab as od
    from analysis.study import Study

MAP = "stability map"


def of_spectrum(study: "Study", leading: "od.Spectrum") -> dict[str, np.ndarray]:
    """max |R(hλ)| over the map's step sizes, from the leading eigenvalues."""
    import torch

    import odestab as od
    from analysis.study import to_numpy

    steps = torch.tensor(study.config.map_step_sizes, dtype=torch.float64)
    found: dict[str, np.ndarray] = {}
    for name, method in (("explicit", od.ExplicitEuler()), ("implicit", od.ImplicitEuler())):
        stable = od.stable_step_sizes(method, leading, steps)
        found |= {
            f"{name}_map": to_numpy(stable.growth),
            f"{name}_map_certain": to_numpy(stable.certain),
            f"{name}_map_boundary": to_numpy(stable.boundary),
        }
    return found


def dataset(run: Run) -> xr.Dataset:
    """The map of each layer and text; runs of version 0.1 did not store what is on the boundary."""
    return joined(run.of_kind("layer"), functools.partial(_of_cell, run), "layer")


def _of_cell(run: Run, cell: Cell) -> xr.Dataset:
    dims = "text map_step_size scheme"
    variables = {
        "map_growth": variable(dims, both(cell, "{}_map"), "max |R(hλ)| over the eigenvalues λ"),
        "map_certain": flag(
            dims,
            both(cell, "{}_map_certain"),
            "the leading eigenvalues settle whether the step is stable",
        ),
    }
    if "explicit_map_boundary" in cell.arrays:
        variables["map_boundary"] = flag(
            dims,
            both(cell, "{}_map_boundary"),
            "max |R(hλ)| is 1 to within its uncertainty: it may be stable or not",
        )
    coords = {
        "text": cell.header["texts"],
        "map_step_size": run.config["map_step_sizes"],
        "scheme": list(METHODS),
    }
    return xr.Dataset(variables, coords=coords)


def shortfalls(dataset: xr.Dataset) -> Iterator[Shortfall]:
    """Values that settle nothing, over all step sizes of a layer's map."""
    where, on_boundary = "layer {layer}, all steps", dataset.get("map_boundary")
    uncertain = ~dataset["map_certain"]
    if on_boundary is not None:
        yield from of_methods(counted, MAP, on_boundary, "on the boundary", where=where)
        uncertain = uncertain & ~on_boundary
    yield from of_methods(counted, MAP, uncertain, "only a lower bound", where=where)
    yield from of_methods(not_finite, MAP, dataset["map_growth"], where=where)


def rows(dataset: xr.Dataset) -> list[Row]:
    """The median text's map of each method."""
    growth = dataset["map_growth"].transpose("scheme", "layer", "map_step_size", "text")
    return [
        {
            "method": method,
            "step_sizes": dataset["map_step_size"].values,
            "layers": dataset["layer"].values,
            "growth": growth.sel(scheme=method).median("text", skipna=False).values,
        }
        for method in METHODS
    ]


STABILITY_MAP = Quantity(
    name="stability_map",
    cell="layer",
    depths=("quick", "full", "prediction"),
    dataset=dataset,
    shortfalls=shortfalls,
    table=("maps", rows),
    terms=(
        (
            "Stable step sizes",
            "the step sizes of the grid at which max |R(hλ)| ≤ 1 for most "
            "texts; a lower bound below 1 leaves it unsettled, and so does growth that is 1 to "
            "within its uncertainty, on the boundary.",
        ),
    ),
)
