"""What a quantity is: which cells it takes, how one is measured, its labelled dataset, what did not
converge, and its terms for the reader.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from analysis.cells import CellPlan, Scope
from analysis.quantities.labelled import finite
from analysis.record import Run

if TYPE_CHECKING:  # loads torch
    from analysis.study import Study

Measured = tuple[dict[str, Any], dict[str, np.ndarray]]  # more of a cell's header, and its arrays
Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Shortfall:
    """Values of one quantity that did not converge, are not finite or are only lower bounds.

    Attributes:
        quantity: in words.
        where: "layer 3", or the kind of perturbation.
        step_size: h, or None for a quantity that does not depend on it.
        count: how many.
        total: of how many values.
        fault: "not converged", a status by name, "only a lower bound" or "not finite".
    """

    quantity: str
    where: str
    step_size: float | None
    count: int
    total: int
    fault: str


@dataclasses.dataclass(frozen=True)
class Quantity:
    """One quantity; everything that a run does with it follows from here.

    Attributes:
        name: of its dataset and its tables.
        cell: the kind of cells that it reads.
        depths: of the runs that measure it.
        dataset: of a run's cells, without variables where the run has none of the kind.
        shortfalls: of a dataset; counts may be zero.
        plan: its cells in a study; None where another quantity measures the same cells.
        measure: one cell; None likewise.
        stage: cells are measured stage by stage, and within a stage layer by layer.
        units: of a cell's arrays by name; "1" where none is given.
        table: its entry of summary.json, and the rows of that from its dataset.
        also: other quantities whose datasets the rows take after its own.
        settled: by what is counted in summary.json, which values converged.
        terms: what a reader must know, with the meaning of each.
    """

    name: str
    cell: str
    depths: tuple[str, ...]
    dataset: Callable[[Run], xr.Dataset]
    shortfalls: Callable[[xr.Dataset], Iterable[Shortfall]]
    plan: "Callable[[Scope], list[CellPlan]] | None" = None
    measure: "Callable[[Study, CellPlan], Measured] | None" = None
    stage: int = 1
    units: Mapping[str, str] = dataclasses.field(default_factory=dict)
    table: tuple[str, Callable[..., list[Row]]] | None = None
    also: tuple[str, ...] = ()
    settled: Callable[[xr.Dataset], Mapping[str, xr.DataArray]] = lambda dataset: {}
    terms: tuple[tuple[str, str], ...] = ()


def counted(
    quantity: str, failed: xr.DataArray, fault: str, where: str = "layer {layer}"
) -> Iterator[Shortfall]:
    """One shortfall for each layer and each step size of what failed.

    Args:
        quantity: in words.
        failed: a mask.
        fault: what is wrong with these values.
        where: names the layer by its number, if the mask has layers.
    """
    each = [name for name in ("layer", "step_size") if name in failed.dims]
    counts = failed.sum([name for name in failed.dims if name not in each]).transpose(*each)
    total = failed.size // max(counts.size, 1)
    for place, count in np.ndenumerate(counts.values):
        at = {name: counts[name].values[i].item() for name, i in zip(each, place, strict=True)}
        yield Shortfall(quantity, where.format(**at), at.get("step_size"), int(count), total, fault)


def not_converged(
    quantity: str, converged: xr.DataArray, where: str = "layer {layer}"
) -> Iterator[Shortfall]:
    """What a flag denies."""
    return counted(quantity, ~converged.astype(bool), "not converged", where)


def not_finite(
    quantity: str, values: xr.DataArray, where: str = "layer {layer}"
) -> Iterator[Shortfall]:
    """NaN and infinities."""
    return counted(quantity, ~finite(values), "not finite", where)


def of_methods(
    check: Callable[..., Iterator[Shortfall]],
    quantity: str,
    values: xr.DataArray,
    *more: str,
    **options: str,
) -> Iterator[Shortfall]:
    """A check of each method's values, the quantity's name followed by the method's."""
    for method in values["scheme"].values.tolist():
        yield from check(f"{quantity}, {method}", values.sel(scheme=method), *more, **options)
