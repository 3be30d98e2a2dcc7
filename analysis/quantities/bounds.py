"""Inner bounds of every layer's pseudospectra and numerical range on texts too long for dense
matrices.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import xarray as xr

from analysis.cells import CellPlan, Scope
from analysis.quantities.labelled import as_complex, finite, flag, joined, statistics, variable
from analysis.quantities.quantity import (
    Measured,
    Quantity,
    Row,
    Shortfall,
    not_converged,
    not_finite,
)
from analysis.record import Cell, Run

if TYPE_CHECKING:  # loads torch
    from analysis.study import Study

ANGLES = 16
RANGE = "numerical range, longer texts"


def plan(scope: Scope) -> list[CellPlan]:
    """The followed texts in every layer."""
    return scope.of_layers("bounds", scope.followed)


def measure(study: "Study", plan: CellPlan) -> Measured:
    """σ_min(zI − J) from a Krylov space, points of the numerical range, a bound of the
    departure.
    """
    import torch

    import odestab as od
    from analysis.study import to_numpy, to_pairs

    jacobian = study.jacobian(plan)
    generator = study.generator(plan.kind, plan.layer)
    found = od.numerical_range(jacobian, ANGLES, study.config.growth_rtol, generator)
    re = torch.linspace(-6, 5, 45, dtype=torch.float64)
    im = torch.linspace(0, 5, 21, dtype=torch.float64)
    projected = od.pseudospectrum(
        jacobian, od.complex_grid(re, im), "projected", steps=40, generator=generator
    )
    departure = od.henrici_departure(jacobian, limit=0, generator=generator)
    return {}, {
        "re": to_numpy(re),
        "im": to_numpy(im),
        "sigma_min": to_numpy(projected.sigma_min),
        "boundary": to_pairs(found.boundary),
        "converged": to_numpy(found.converged),
        "henrici_bound": to_numpy(departure.value / departure.frobenius),
    }


def dataset(run: Run) -> xr.Dataset:
    """The bounds of each layer and text."""
    return joined(run.of_kind("bounds"), _of_cell, "layer")


def _of_cell(cell: Cell) -> xr.Dataset:
    arrays = cell.arrays
    return xr.Dataset(
        {
            "sigma_min_bound": variable(
                "text bound_im bound_re",
                arrays["sigma_min"],
                "upper bound of σ_min(zI − J): the ε-pseudospectrum is at least as large",
                "1/h",
            ),
            "range_bound": variable(
                "text bound_angle",
                as_complex(arrays["boundary"]),
                "points of the numerical range, whose convex hull is an inner bound",
                "1/h",
            ),
            "range_bound_converged": flag(
                "text bound_angle", arrays["converged"], "the point's residual is within tolerance"
            ),
            "departure_bound": variable(
                "text", arrays["henrici_bound"], "estimated lower bound of dep(J)/‖J‖_F"
            ),
        },
        coords={
            "text": cell.header["texts"],
            "bound_re": variable("bound_re", arrays["re"], "Re z of the grid", "1/h"),
            "bound_im": variable("bound_im", arrays["im"], "Im z of the grid, from 0", "1/h"),
        },
    )


def shortfalls(dataset: xr.Dataset) -> Iterator[Shortfall]:
    """Points that did not converge, and everything that is not finite."""
    where = "layer {layer}, all angles"
    yield from not_converged(RANGE, dataset["range_bound_converged"], where)
    yield from not_finite(RANGE, dataset["range_bound"], where)
    yield from not_finite(
        "pseudospectra, longer texts", dataset["sigma_min_bound"], "layer {layer}, all points"
    )
    yield from not_finite("departure from normality, longer texts", dataset["departure_bound"])


def rows(dataset: xr.Dataset) -> list[Row]:
    """The departure of each layer."""
    return [
        {"layer": layer, "relative": statistics(dataset["departure_bound"].sel(layer=layer))}
        for layer in dataset["layer"].values.tolist()
    ]


def abscissae(dataset: xr.Dataset) -> xr.DataArray:
    """How far the numerical range of each layer and text reaches to the right, max Re z; NaN where
    no point is finite.
    """
    right = dataset["range_bound"].real
    return right.where(finite(right)).max("bound_angle")


BOUNDS = Quantity(
    name="bounds",
    cell="bounds",
    depths=("full",),
    dataset=dataset,
    shortfalls=shortfalls,
    plan=plan,
    measure=measure,
    stage=2,
    table=("departure_bounds", rows),
    settled=lambda dataset: {"boundary of the numerical range": dataset["range_bound_converged"]},
)
