"""Growth of perturbations through depth, measured on perturbed paths and predicted by the product
of the derivatives of all steps.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr

from analysis.cells import CellPlan, Scope
from analysis.quantities.labelled import METHODS, finite, flag, joined, statistics, variable
from analysis.quantities.quantity import Measured, Quantity, Row, Shortfall, counted
from analysis.record import Cell, Run

if TYPE_CHECKING:  # loads torch
    from analysis.study import Study

# the first part of the names of variables; all else is an edit of a pair of texts
FAMILIES = {"gaussian": "gaussian", "worst": "worst_direction", "attack": "attack"}
EDIT = "edit"
NOMINAL_SIZE = "relative size of the perturbation, ‖δ_0‖/‖x_0‖"


class Growth(NamedTuple):
    """One kind of perturbation at one size.

    Attributes:
        kind: "gaussian", "worst", or the kind of an edit.
        size: ‖δ_0‖/‖x_0‖ of a synthetic perturbation; NaN for edits, whose size is what the edit
            makes it.
        values: `measured` and `predicted` over (step_size, scheme, example, passed), ‖x̃_l −
            x_l‖/‖x̃_0 − x_0‖ after l = 0, …, L layers; `converged` over layer instead of passed.
    """

    kind: str
    size: float
    values: xr.Dataset


def plan(scope: Scope) -> list[CellPlan]:
    """At each step size edits by kind, and the followed texts under noise and worst directions."""
    steps = scope.config.step_sizes
    return [
        cell
        for h in steps
        for cell in (*scope.of_edits("propagation", h), *scope.of_texts("propagation", h))
    ]


def measure(study: "Study", plan: CellPlan) -> Measured:
    """Growth of one direction of perturbation at each size through all layers, explicit and
    implicit.
    """
    from analysis.walks import grown, grown_by_edits, perturbations, walk_through

    assert plan.step_size is not None
    if plan.perturbation not in FAMILIES:
        found = [grown_by_edits(study, plan, method, plan.step_size) for method in METHODS]
        sizes: tuple[float, ...] = (float("nan"),)
    else:
        sizes = study.config.sizes if plan.perturbation == "gaussian" else study.config.sizes[:1]
        found = []
        for method in METHODS:
            walk = walk_through(study, study.texts(plan), method, plan.step_size)
            found.append(grown(study, walk, perturbations(study, plan, walk, sizes, study.trace)))
    arrays = {name: np.stack([one[name] for one in found]) for name in found[0]}
    return {}, arrays | {"sizes": np.array(sizes)}


def dataset(run: Run) -> xr.Dataset:
    """Growth of texts under synthetic perturbations, and of pairs, each of which has a kind."""
    return growth_dataset(run.of_kind("propagation"), "", "scheme", "step_size")


def growth_dataset(cells: Sequence[Cell], prefix: str, leading: str, *along: str) -> xr.Dataset:
    """The variables of each family of perturbations, of those that were measured.

    Args:
        cells: with "perturbation" in their headers.
        prefix: of the names of variables.
        leading: dims before those of sizes and examples.
        along: header entries that become dims.
    """
    parts = []
    for family in (*FAMILIES.values(), EDIT):
        mine = [cell for cell in cells if FAMILIES.get(cell.header["perturbation"], EDIT) == family]
        of_cell = functools.partial(_of_cell, family, prefix, leading)
        parts.append(joined(mine, of_cell, *along, over=_example(family)))
    return xr.merge(parts, join="outer", compat="no_conflicts")


def _example(family: str) -> str:
    return "pair" if family == EDIT else "text"


def _of_cell(family: str, prefix: str, leading: str, cell: Cell) -> xr.Dataset:
    example, size = _example(family), f"{prefix}{family}_nominal_size"
    coords = {example: cell.header["texts"]}
    if family == EDIT:
        coords["kind"] = ("pair", [cell.header["perturbation"]] * len(cell.header["texts"]))
    if "scheme" in leading:
        coords["scheme"] = list(METHODS)
    arrays = dict(cell.arrays)
    sizes = arrays.pop("sizes")
    if np.isnan(sizes).all():  # an edit and an attack have the size that they have
        axis = len(leading.split())
        arrays = {name: values.take(0, axis) for name, values in arrays.items()}
        dims = f"{leading} {example}"
    else:
        coords[size] = variable(size, sizes, NOMINAL_SIZE)
        dims = f"{leading} {size} {example}"
    name = f"{prefix}{family}"
    ratio = "‖x̃_l − x_l‖/‖x̃_0 − x_0‖"
    known: dict[str, Callable[[np.ndarray], tuple[str, xr.Variable]]] = {
        "measured": lambda values: (
            f"{name}_growth",
            variable(f"{dims} passed", values, f"growth {ratio}, measured"),
        ),
        "predicted": lambda values: (
            f"{name}_growth_predicted",
            variable(f"{dims} passed", values, f"growth {ratio}, from the steps' derivatives"),
        ),
        "relative": lambda values: (
            f"{name}_growth_relative",
            variable(f"{dims} passed", values, "the same of differences relative to ‖x_l‖"),
        ),
        "converged": lambda values: (
            f"{name}_converged",
            flag(f"{dims} step", values, "the solves of the step on both paths converged"),
        ),
        "size": lambda values: (f"{name}_size", variable(dims, values, NOMINAL_SIZE)),
    }
    variables = dict(make(arrays[kind]) for kind, make in known.items() if kind in arrays)
    return xr.Dataset(variables, coords=coords)


def growths(dataset: xr.Dataset, prefix: str = "") -> list[Growth]:
    """Every kind of perturbation at every size, kinds in order of their names."""
    found = []
    for kind, family in FAMILIES.items():
        name = f"{prefix}{family}"
        if f"{name}_growth" not in dataset:
            continue
        values, size = _values(dataset, name, "text"), f"{name}_nominal_size"
        if size not in values.dims:  # an attack has the size that it has
            found.append(Growth(kind, float("nan"), values))
            continue
        found += [
            Growth(kind, float(each), values.sel({size: each}, drop=True))
            for each in values[size].values
        ]
    if f"{prefix}{EDIT}_growth" in dataset:
        values = _values(dataset, f"{prefix}{EDIT}", "pair")
        for kind in dict.fromkeys(values["kind"].values.tolist()):
            of_kind = values.isel(example=np.flatnonzero(values["kind"].values == kind))
            found.append(Growth(kind, float("nan"), of_kind))
    return sorted(found, key=lambda growth: growth.kind)


def _values(dataset: xr.Dataset, name: str, example: str) -> xr.Dataset:
    names = {
        f"{name}_growth": "measured",
        f"{name}_growth_predicted": "predicted",
        f"{name}_growth_relative": "relative",
        f"{name}_converged": "converged",
        f"{name}_size": "size",
    }
    names = {before: after for before, after in names.items() if before in dataset}
    values = dataset[list(names)].rename(names).rename({example: "example"})
    order = ("step_size", "scheme", ..., "example", "passed", "step")
    return values.transpose(*order, missing_dims="ignore")


def solved(growth: Growth) -> xr.DataArray:
    """Examples of which every solve converged."""
    return growth.values["converged"].all("step")


def spoilt(growth: Growth) -> xr.DataArray:
    """Examples of which every solve converged, and yet some number is not finite."""
    every = xr.ones_like(solved(growth))
    for name in ("measured", "predicted", "relative", "size"):
        if name in growth.values:
            known = finite(growth.values[name])
            every = every & (known.all("passed") if "passed" in known.dims else known)
    return solved(growth) & ~every


def where(growth: Growth) -> str:
    """The kind of perturbation with its size, if it has one."""
    return growth.kind + (f", size {growth.size:g}" if np.isfinite(growth.size) else "")


def shortfalls(dataset: xr.Dataset) -> Iterator[Shortfall]:
    """Examples of which some solve did not converge, or whose growth is not finite though all
    did.
    """
    for growth in growths(dataset):
        for method in METHODS:
            name, at = f"propagation, {method}", where(growth)
            unsolved = ~solved(growth).sel(scheme=method)
            yield from counted(name, unsolved, "not converged", at)
            yield from counted(name, spoilt(growth).sel(scheme=method), "not finite", at)


def rows(dataset: xr.Dataset) -> list[Row]:
    """Statistics over examples of every kind, method and size."""
    found = []
    every = growths(dataset)
    for kind in dict.fromkeys(growth.kind for growth in every):
        mine = [growth for growth in every if growth.kind == kind]
        for h in mine[0].values["step_size"].values.tolist():
            for method in METHODS:
                found += [_row(growth, method, h) for growth in mine]
    return found


def _row(growth: Growth, method: str, step_size: float) -> Row:
    values = growth.values.sel(scheme=method, step_size=step_size)
    return {
        "perturbation": growth.kind,
        "method": method,
        "step_size": step_size,
        "size": growth.size,
        "measured": statistics(values["measured"], "example"),
        "predicted": statistics(values["predicted"], "example"),
    }


def settled(dataset: xr.Dataset) -> dict[str, xr.DataArray]:
    """The implicit steps, each on every path."""
    flags = [
        growth.values["converged"].sel(scheme="implicit").values.ravel()
        for growth in growths(dataset)
    ]
    if not flags:
        return {}
    solves = xr.DataArray(np.concatenate(flags), dims="solve")
    return {"implicit solve on a perturbed path": solves}


PROPAGATION = Quantity(
    name="propagation",
    cell="propagation",
    depths=("quick", "full"),
    dataset=dataset,
    shortfalls=shortfalls,
    plan=plan,
    measure=measure,
    stage=0,
    table=("curves", rows),
    settled=settled,
)
