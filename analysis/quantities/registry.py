"""All quantities, in the order in which a report tells of them, and what follows from them: the
cells of a study, datasets, summary.json, and what did not converge.
"""

import itertools
from collections.abc import Mapping
from typing import Any

import xarray as xr

from analysis.cells import CellPlan, Scope, sharing_a_path
from analysis.quantities.bounds import BOUNDS
from analysis.quantities.declared import DECLARED
from analysis.quantities.dense import DENSE
from analysis.quantities.density import DENSITY
from analysis.quantities.directions import DIRECTIONS
from analysis.quantities.exponents import LYAPUNOV
from analysis.quantities.growth import GROWTH
from analysis.quantities.nonnormality import NONNORMALITY
from analysis.quantities.propagation import PROPAGATION
from analysis.quantities.quantity import Quantity, Shortfall
from analysis.quantities.refinement import REFINEMENT
from analysis.quantities.regions import REGIONS
from analysis.quantities.relative_graph import RELATIVE_GRAPH
from analysis.quantities.secants import SECANTS
from analysis.quantities.solves import SOLVES
from analysis.quantities.spectrum import SPECTRUM
from analysis.quantities.stability_map import STABILITY_MAP
from analysis.quantities.sublayers import SUBLAYERS
from analysis.quantities.truncated import TRUNCATED
from analysis.record import Run

QUANTITIES = (
    REGIONS,
    TRUNCATED,
    PROPAGATION,
    SECANTS,
    SOLVES,
    DECLARED,
    SPECTRUM,
    GROWTH,
    STABILITY_MAP,
    DENSE,
    RELATIVE_GRAPH,
    DIRECTIONS,
    LYAPUNOV,
    NONNORMALITY,
    BOUNDS,
    DENSITY,
    SUBLAYERS,
    REFINEMENT,
)
IN_SUMMARY = ("model", "field", "step_sizes", "layers", "weights", "seed", "dtype")

Datasets = Mapping[str, xr.Dataset]


def plan(scope: Scope) -> list[CellPlan]:
    """All cells of a study, stage by stage, each stage layer by layer."""
    ordered = [
        (quantity.stage, -1 if cell.layer is None else cell.layer, cell)
        for quantity in QUANTITIES
        if quantity.plan is not None and scope.config.depth in quantity.depths
        for cell in quantity.plan(scope)
    ]
    ordered.sort(key=lambda one: one[:2])
    return [
        cell
        for _, stage in itertools.groupby(ordered, key=lambda one: one[0])
        for group in sharing_a_path(cell for _, _, cell in stage)
        for cell in group
    ]


def measured_by(kind: str) -> Quantity:
    """The quantity that measures a kind of cells."""
    return next(
        quantity
        for quantity in QUANTITIES
        if quantity.cell == kind and quantity.measure is not None
    )


def datasets(run: Run) -> dict[str, xr.Dataset]:
    """The dataset of every quantity by its name, without variables where the run has none of its
    cells.
    """
    return {quantity.name: quantity.dataset(run) for quantity in QUANTITIES}


def shortfalls(found: Datasets) -> list[Shortfall]:
    """Everything that did not converge, is a lower bound, or is not a finite number; empty if there
    is nothing of the kind.
    """
    return [one for quantity in QUANTITIES for one in shortfalls_of(quantity, found)]


def shortfalls_of(quantity: Quantity, found: Datasets) -> list[Shortfall]:
    """Those of one quantity."""
    dataset = found[quantity.name]
    return [one for one in quantity.shortfalls(dataset) if one.count] if dataset else []


def terms(found: Datasets) -> list[tuple[str, str]]:
    """The terms of what was measured, with their meanings."""
    return [term for quantity in QUANTITIES if found[quantity.name] for term in quantity.terms]


def summary(config: Mapping[str, Any], found: Datasets) -> dict[str, Any]:
    """What summary.json holds: statistics over texts of every quantity, and counts of what did not
    converge. No times, no paths.
    """
    depth = config.get("depth", "quick")
    tables: dict[str, Any] = {}
    for quantity in QUANTITIES:
        # What a run of quick depth has is an entry of every run, if an empty one.
        if quantity.table is None or not {"quick", depth} & {*quantity.depths}:
            continue
        entry, rows = quantity.table
        dataset = found[quantity.name]
        others = [found[name] for name in quantity.also]
        tables[entry] = rows(dataset, *others) if dataset else []
    return {
        "config": {key: config.get(key) for key in IN_SUMMARY},
        **tables,
        "unconverged": unconverged(found),
    }


def unconverged(found: Datasets) -> dict[str, dict[str, int]]:
    """How many values of each quantity did not converge, out of how many."""
    return {
        words: {"failed": int((~converged).sum()), "of": int(converged.size)}
        for quantity in QUANTITIES
        if (dataset := found[quantity.name])
        for words, converged in quantity.settled(dataset).items()
    }
