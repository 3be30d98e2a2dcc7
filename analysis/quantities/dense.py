"""All eigenvalues of every layer on short texts, and their share that implicit Euler damps more."""

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from analysis.cells import CellPlan, Scope
from analysis.quantities.labelled import as_complex, finite, joined, variable
from analysis.quantities.quantity import Measured, Quantity, Shortfall, counted, not_finite
from analysis.record import Cell, Run

if TYPE_CHECKING:  # loads torch
    from analysis.study import Study


def plan(scope: Scope) -> list[CellPlan]:
    """Every short text in every layer."""
    return scope.of_layers("dense", [(i,) for i in scope.short])


def measure(study: "Study", plan: CellPlan) -> Measured:
    """The full spectrum of one layer on one text, and its share outside the lemniscate at each step
    size.
    """
    import odestab as od
    from analysis.study import to_numpy, to_pairs

    jacobian = study.jacobian(plan)
    spectrum = od.full_spectrum(jacobian, study.config.dense_limit)
    shares = [
        od.share_outside_lemniscate(spectrum, h, bulk=jacobian.field.split)
        for h in study.config.step_sizes
    ]
    return {}, {
        "spectrum": to_pairs(spectrum.values[0]),
        "spectrum_residuals": to_numpy(spectrum.residuals[0]),
        "outside": np.array([float(share[0]) for share, _ in shares]),
        "bulk": to_numpy(shares[0][1]),
    }


def dataset(run: Run) -> xr.Dataset:
    """The spectrum of each layer and short text, NaN beyond its dimension."""
    return joined(run.of_kind("dense"), functools.partial(_of_cell, run), "layer")


def _of_cell(run: Run, cell: Cell) -> xr.Dataset:
    arrays = cell.arrays
    eigenvalues = as_complex(arrays["spectrum"])
    return xr.Dataset(
        {
            "full_eigenvalue": variable(
                "text eigenvalue_index", eigenvalues[None], "eigenvalue λ of J", "1/h"
            ),
            "full_eigenvalue_residual": variable(
                "text eigenvalue_index",
                arrays["spectrum_residuals"][None],
                "residual of an eigenvalue",
                "1/h",
            ),
            "dimension": variable("text", [len(eigenvalues)], "dimension of J"),
            "share_outside_lemniscate": variable(
                "text step_size",
                arrays["outside"][None],
                "share of the spectrum outside |1 − (hλ)²| = 1, the bulk excluded",
            ),
            "bulk": variable("text", arrays["bulk"], "eigenvalues within 1e-3 of the bulk's place"),
        },
        coords={
            "text": cell.header["texts"],
            "step_size": run.config["step_sizes"],
            "eigenvalue_index": np.arange(len(eigenvalues)),
        },
    )


def shortfalls(dataset: xr.Dataset) -> Iterator[Shortfall]:
    """Texts whose spectrum or share is not known in full."""
    known = finite(dataset["full_eigenvalue"]) & finite(dataset["full_eigenvalue_residual"])
    whole = known.sum("eigenvalue_index") == dataset["dimension"]
    yield from counted("full spectra of short texts", ~whole, "not finite")
    share = dataset["share_outside_lemniscate"]
    # Where the bulk is all of the spectrum nothing is left to take a share of.
    yield from not_finite("share outside the lemniscate", share)


DENSE = Quantity(
    name="dense",
    cell="dense",
    depths=("quick", "full"),
    dataset=dataset,
    shortfalls=shortfalls,
    plan=plan,
    measure=measure,
    units={"spectrum": "1/h, (real, imaginary)"},
)
