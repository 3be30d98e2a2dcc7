"""How far each layer's Jacobian is from normal, from its dense matrix on one short text:
pseudospectra, numerical range, departure from normality, Kreiss constant.
"""

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from analysis.cells import CellPlan, Scope
from analysis.quantities.labelled import as_complex, finite, joined, variable
from analysis.quantities.quantity import Measured, Quantity, Row, Shortfall, counted, not_finite
from analysis.record import Cell, Run

if TYPE_CHECKING:  # loads torch
    from torch import Tensor

    from analysis.study import Study

EPSILONS = (1e-1,)
ANGLES = 64  # of the numerical range
MARGIN = 0.3  # of the grid around it
NUMBERS = {  # in summary.json → the variable
    "text": "nonnormality_text",
    "frobenius": "frobenius_norm",
    "henrici": "departure",
    "spectral_abscissa": "spectral_abscissa",
    "logarithmic_norm": "numerical_abscissa",
    "kreiss": "kreiss_constant",
    "kreiss_scale": "kreiss_scale",
    "kreiss_kind": "kreiss_kind",
    "extremum_kind": "extremum_kind",
}


def plan(scope: Scope) -> list[CellPlan]:
    """The shortest of the short texts in every layer."""
    shortest = sorted(scope.short, key=lambda i: (scope.tokens[i], i))[:1]
    return scope.of_layers("nonnormality", [(i,) for i in shortest])


def measure(study: "Study", plan: CellPlan) -> Measured:
    """All of it from one dense matrix, factorised once for J and once for the step I + J."""
    import odestab as od
    from analysis.study import to_numpy, to_pairs

    jacobian, rtol = study.jacobian(plan), study.config.rtol
    boundary = od.numerical_range(jacobian, ANGLES, rtol).boundary
    re, im = _frame(boundary[0])
    own = od.resolvent(jacobian, "dense")
    stepped = od.resolvent(od.affine(jacobian, 1.0, 1.0), "dense")
    pseudospectrum = od.pseudospectrum(
        jacobian, od.complex_grid(re, im), "dense", rtol=rtol, prepared=own
    )
    departure = od.henrici_departure(jacobian)
    abscissae = [
        od.pseudospectral_abscissa(jacobian, epsilon, prepared=own) for epsilon in EPSILONS
    ]
    radii = [
        od.pseudospectral_radius(stepped.operator, epsilon, prepared=stepped)
        for epsilon in EPSILONS
    ]
    kreiss = od.kreiss_constant(stepped.operator, prepared=stepped)
    header = {
        "extremum_kind": abscissae[0].kind,
        "kreiss_kind": kreiss.kind,
        "pseudospectrum_kind": pseudospectrum.kind,
    }
    return header, {
        "re": to_numpy(re),
        "im": to_numpy(im),
        "sigma_min": to_numpy(pseudospectrum.sigma_min[0]),
        "boundary": to_pairs(boundary[0]),
        "frobenius": to_numpy(departure.frobenius),
        "henrici": to_numpy(departure.value),
        "epsilons": np.array(EPSILONS),
        "pseudospectral_abscissa": np.array([float(one.value[0]) for one in abscissae]),
        "pseudospectral_radius": np.array([float(one.value[0]) for one in radii]),
        "kreiss": to_numpy(kreiss.value),
        "kreiss_scale": to_numpy(kreiss.scale),
    }


def _frame(boundary: "Tensor") -> "tuple[Tensor, Tensor]":
    """A grid of the upper half plane around a numerical range, finer about the discs of
    stability.
    """
    import torch

    low = float(boundary.real.min()) - MARGIN
    high = float(boundary.real.max()) + MARGIN
    top = max(float(boundary.imag.max()) + MARGIN, 2.6)
    re = torch.cat([torch.linspace(low, high, 25), torch.linspace(-2.6, 2.6, 41)])
    im = torch.cat([torch.linspace(0, top, 13), torch.linspace(0, 1.6, 17)])
    return re.double().unique(), im.double().unique()


def dataset(run: Run) -> xr.Dataset:
    """Each layer on its text; grids of different layers differ, NaN beyond their ends."""
    spectra = {(cell.header["layer"], *cell.header["texts"]): cell for cell in run.of_kind("dense")}
    of_cell = functools.partial(_of_cell, spectra)
    found = joined(run.of_kind("nonnormality"), of_cell, "layer")
    return found.set_coords(["pseudospectrum_re", "pseudospectrum_im"]) if found else found


def _of_cell(spectra: dict[tuple[int, ...], Cell], cell: Cell) -> xr.Dataset:
    arrays, (text,) = cell.arrays, cell.header["texts"]
    eigenvalues = as_complex(spectra[cell.header["layer"], text].arrays["spectrum"])
    boundary = as_complex(arrays["boundary"])
    rows, columns = arrays["sigma_min"].shape
    return xr.Dataset(
        {
            "nonnormality_text": variable("", text, "index of the text"),
            "short_eigenvalue": variable(
                "short_eigenvalue_index", eigenvalues, "eigenvalue λ of J", "1/h"
            ),
            "short_dimension": variable("", len(eigenvalues), "dimension of J"),
            "pseudospectrum_re": variable(
                "pseudospectrum_column", arrays["re"], "Re z of the grid", "1/h"
            ),
            "pseudospectrum_im": variable(
                "pseudospectrum_row",
                arrays["im"],
                "Im z of the grid, from 0: J is real, so the lower half mirrors the upper one",
                "1/h",
            ),
            "sigma_min": variable(
                "pseudospectrum_row pseudospectrum_column",
                arrays["sigma_min"],
                "σ_min(zI − J); the ε-pseudospectrum is where it is ≤ ε",
                "1/h",
            ),
            "numerical_range": variable(
                "range_angle", boundary, "boundary of the numerical range, once around", "1/h"
            ),
            "frobenius_norm": variable("", float(arrays["frobenius"][0]), "‖J‖_F", "1/h"),
            "departure": variable(
                "", float(arrays["henrici"][0]), "Henrici's departure from normality", "1/h"
            ),
            "spectral_abscissa": variable(
                "", float(eigenvalues.real.max()), "rightmost eigenvalue, max Re λ", "1/h"
            ),
            "numerical_abscissa": variable(
                "", float(boundary.real.max()), "rightmost point of the numerical range", "1/h"
            ),
            "pseudospectral_abscissa": variable(
                "epsilon",
                arrays["pseudospectral_abscissa"],
                "max Re z over the ε-pseudospectrum",
                "1/h",
            ),
            "pseudospectral_radius": variable(
                "epsilon",
                arrays["pseudospectral_radius"],
                "max |z + 1| over the ε-pseudospectrum: that of the explicit step at h = 1",
            ),
            "extremum_kind": variable(
                "", cell.header["extremum_kind"], "“bound” where the two are lower bounds"
            ),
            "kreiss_constant": variable(
                "", float(arrays["kreiss"][0]), "Kreiss constant of E/max(1, ρ(E)), E = I + J"
            ),
            "kreiss_scale": variable("", float(arrays["kreiss_scale"][0]), "max(1, ρ(E))"),
            "kreiss_kind": variable(
                "", cell.header["kreiss_kind"], "“bound” where the constant is a lower bound"
            ),
        },
        coords={
            "epsilon": arrays["epsilons"],
            "short_eigenvalue_index": np.arange(len(eigenvalues)),
            "pseudospectrum_row": np.arange(rows),
            "pseudospectrum_column": np.arange(columns),
        },
    )


def shortfalls(dataset: xr.Dataset) -> Iterator[Shortfall]:
    """Everything that is no finite number on the grid or off it."""
    on_grid = dataset["pseudospectrum_re"].notnull() & dataset["pseudospectrum_im"].notnull()
    level = dataset["sigma_min"].where(on_grid, 0.0)
    yield from not_finite("pseudospectra", level)
    yield from not_finite("numerical range", dataset["numerical_range"])
    known = finite(dataset["short_eigenvalue"]).sum("short_eigenvalue_index")
    unknown = known != dataset["short_dimension"]
    yield from counted("eigenvalues of the short text", unknown, "not finite")
    for name, words in (
        ("departure", "departure from normality"),
        ("frobenius_norm", "‖J‖_F"),
        ("spectral_abscissa", "rightmost eigenvalue"),
        ("numerical_abscissa", "numerical abscissa"),
        ("pseudospectral_abscissa", "pseudospectral abscissa"),
        ("pseudospectral_radius", "pseudospectral radius"),
        ("kreiss_constant", "Kreiss constant"),
        ("kreiss_scale", "spectral radius of the explicit step"),
    ):
        yield from not_finite(words, dataset[name])


def rows(dataset: xr.Dataset) -> list[Row]:
    """The numbers of each layer."""
    found = []
    for layer in dataset["layer"].values.tolist():
        one = dataset.sel(layer=layer)
        row: Row = {entry: one[name].values.item() for entry, name in NUMBERS.items()}
        row |= {"layer": layer, "epsilons": one["epsilon"].values}
        row |= {
            name: one[name].values for name in ("pseudospectral_abscissa", "pseudospectral_radius")
        }
        found.append(row)
    return found


NONNORMALITY = Quantity(
    name="nonnormality",
    cell="nonnormality",
    depths=("full",),
    dataset=dataset,
    shortfalls=shortfalls,
    plan=plan,
    measure=measure,
    stage=2,
    table=("nonnormality", rows),
    terms=(
        (
            "Normal",
            "a matrix whose eigenvectors are orthogonal, so that its "
            "eigenvalues tell all about growth. The departure dep(J) = "
            "(‖J‖_F² − Σ|λ|²)^½ measures how far J is from that; it "
            "is 0 for a normal matrix and at most ‖J‖_F.",
        ),
        (
            "ε-pseudospectrum",
            "all points z with σ_min(zI − J) ≤ ε: those that some change of J of "
            "norm at most ε makes an eigenvalue. Of a normal matrix it is "
            "the discs of radius ε about the eigenvalues; where it is "
            "much larger, eigenvalues alone say little.",
        ),
        (
            "Numerical range",
            "all values v*Jv with ‖v‖ = 1. It contains the eigenvalues; its "
            "rightmost point ω is μ₂(J), that of the eigenvalues is α.",
        ),
        (
            "Kreiss constant",
            "the supremum of (ρ_ε − 1)/ε over ε > 0: some power of the matrix "
            "stretches some perturbation at least so many times.",
        ),
    ),
)
