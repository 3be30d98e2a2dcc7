"""The leading eigenvalues of every layer's Jacobian: those farthest from where its bulk lies."""

from collections.abc import Iterator

import numpy as np
import xarray as xr

from analysis.quantities import layer
from analysis.quantities.labelled import as_complex, finite, flag, joined, statistics, variable
from analysis.quantities.quantity import (
    Quantity,
    Row,
    Shortfall,
    counted,
    not_converged,
    not_finite,
)
from analysis.record import Cell, Run

LEADING = "leading eigenvalues"


def dataset(run: Run) -> xr.Dataset:
    """The eigenvalues of each layer and text, farthest first."""
    spectrum = joined(run.of_kind("layer"), _of_cell, "layer")
    return spectrum.set_coords("center") if spectrum else spectrum


def _of_cell(cell: Cell) -> xr.Dataset:
    arrays, dims = cell.arrays, "text rank"
    eigenvalues = as_complex(arrays["eigenvalues"])
    return xr.Dataset(
        {
            "eigenvalue": variable(dims, eigenvalues, "leading eigenvalue λ of J", "1/h"),
            "eigenvalue_residual": variable(
                dims, arrays["eigenvalue_residuals"], "residual of a leading eigenvalue", "1/h"
            ),
            "eigenvalue_converged": flag(
                dims, arrays["eigenvalue_converged"], "its residual is within tolerance"
            ),
            "center": variable(
                "",
                float(arrays["center"][0]),
                "all other eigenvalues are no farther from here than the last of the leading ones",
                "1/h",
            ),
        },
        coords={"text": cell.header["texts"], "rank": np.arange(eigenvalues.shape[1])},
    )


def shortfalls(dataset: xr.Dataset) -> Iterator[Shortfall]:
    """Texts of which some leading eigenvalue did not converge, or is not finite."""
    yield from not_converged(LEADING, dataset["eigenvalue_converged"].all("rank"))
    known = finite(dataset["eigenvalue"]).all("rank")
    yield from counted(LEADING, ~known, "not finite")
    yield from not_finite(
        f"residuals of {LEADING}", dataset["eigenvalue_residual"].sum("rank", skipna=False)
    )


def rows(spectrum: xr.Dataset, dense: xr.Dataset) -> list[Row]:
    """How far the eigenvalues of each layer reach, and what its short texts' spectra say."""
    found = []
    for number in spectrum["layer"].values.tolist():
        one = spectrum.sel(layer=number)
        distance = abs(one["eigenvalue"] - one["center"])
        short = dense.sel(layer=number) if dense else None
        found.append(
            {
                "layer": number,
                "farthest_from_center": statistics(distance.isel(rank=0, drop=True)),
                "spectral_abscissa": statistics(one["eigenvalue"].real.max("rank", skipna=False)),
                "center": float(one["center"]),
                "full_texts": [] if short is None else short["text"].values.tolist(),
                "share_outside_lemniscate": []
                if short is None
                else short["share_outside_lemniscate"].transpose("text", "step_size").values,
                "bulk": [] if short is None else short["bulk"].values.tolist(),
            }
        )
    return found


SPECTRUM = Quantity(
    name="spectrum",
    cell="layer",
    depths=("quick", "full", "prediction"),
    dataset=dataset,
    shortfalls=shortfalls,
    plan=layer.plan,
    measure=layer.measure,
    units=layer.UNITS,
    table=("spectra", rows),
    also=("dense",),
    settled=lambda dataset: {"eigenvalues": dataset["eigenvalue_converged"]},
)
