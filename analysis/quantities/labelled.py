"""Cells as labelled arrays: variables with a name and a unit, joined over texts, layers and step
sizes, and their statistics.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from analysis.record import Cell

# Explicit and implicit Euler, along the dim "scheme": xarray keeps `sel(method=…)` to itself.
METHODS = ("explicit", "implicit")
QUANTILES = {"median": 0.5, "p10": 0.1, "p90": 0.9}


def variable(
    dims: str, values: Any, long_name: str, units: str = "1", **attributes: Any
) -> xr.Variable:
    """An array with the names of its dims, separated by spaces, its name for a reader and its
    unit.
    """
    return xr.Variable(dims.split(), values, {"long_name": long_name, "units": units, **attributes})


def flag(dims: str, values: Any, long_name: str) -> xr.Variable:
    """A variable of True and False."""
    return variable(dims, np.asarray(values, dtype=bool), long_name)


def both(cell: Cell, name: str) -> np.ndarray:
    """The arrays of explicit and implicit steps, `name` with {} for the method, along a last
    axis.
    """
    return np.stack([cell.arrays[name.format(method)] for method in METHODS], axis=-1)


def as_complex(pairs: np.ndarray) -> np.ndarray:
    """A trailing axis (real, imaginary) → complex numbers."""
    return np.asarray(pairs[..., 0] + 1j * pairs[..., 1])


def grouped(cells: Sequence[Cell], *keys: str) -> dict[tuple[Any, ...], list[Cell]]:
    """Cells grouped by header entries, groups in order of their keys, texts in order within a
    group.
    """
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in sorted(cells, key=lambda c: (*(c.header[key] for key in keys), c.header["texts"])):
        groups.setdefault(tuple(cell.header[key] for key in keys), []).append(cell)
    return groups


def joined(
    cells: Sequence[Cell],
    of_cell: Callable[[Cell], xr.Dataset],
    *along: str,
    over: str = "text",
) -> xr.Dataset:
    """The datasets of cells as one: over the texts of cells that have all of `along` in common,
    then along each of these.

    Args:
        cells: of one kind; none give a dataset without variables.
        of_cell: the dataset of one.
        along: header entries that become dims: "layer", "step_size".
        over: the dim of a cell's examples.
    """
    parts = {
        key: _concatenated([of_cell(cell) for cell in group], over)
        for key, group in grouped(cells, *along).items()
    }
    if not parts:
        return xr.Dataset()
    for place in reversed(range(len(along))):
        groups: dict[tuple[Any, ...], dict[Any, xr.Dataset]] = {}
        for key, part in parts.items():
            groups.setdefault(key[:place], {})[key[place]] = part
        parts = {
            key: _concatenated(list(group.values()), pd.Index(list(group), name=along[place]))
            for key, group in groups.items()
        }
    return parts[()]


def _concatenated(datasets: list[xr.Dataset], dim: str | pd.Index) -> xr.Dataset:
    """Along a dim that some variables have, or along a new one that all get; what is missing is NaN
    and no flag is set for it.
    """
    is_new = not isinstance(dim, str)
    if not is_new and dim not in datasets[0].dims:
        return datasets[0]  # one cell for all texts
    unset: dict[Any, Any] = {
        name: False for name, array in datasets[0].variables.items() if array.dtype == bool
    }
    return xr.concat(
        datasets,
        dim,
        data_vars="all" if is_new else "minimal",
        coords="minimal",
        compat="override",
        join="outer",
        fill_value=unset or np.nan,
        combine_attrs="override",
    )


def finite(values: xr.DataArray) -> xr.DataArray:
    """Where values are numbers, neither NaN nor infinite."""
    known: xr.DataArray = xr.ufuncs.isfinite(values)
    return known


def spread(values: xr.DataArray, over: str = "text") -> xr.Variable:
    """Median, 10th and 90th percentile over a dim, along a new first dim "quantile"; what is not
    finite is left out, and NaN where nothing is left.
    """
    plain = values.variable.astype(float)
    known = plain.where(np.isfinite(plain))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where no text is left
        return known.quantile(list(QUANTILES.values()), over)


def statistics(values: xr.DataArray | np.ndarray, over: str = "text") -> dict[str, Any]:
    """The same as plain values, None for NaN, with the number of examples; of an array without
    labels the first axis is that of examples.
    """
    if not isinstance(values, xr.DataArray):
        values = xr.DataArray(values, dims=(over, "column")[: np.ndim(values)])
    plain = [_plain(row) for row in spread(values, over).values]
    return {**dict(zip(QUANTILES, plain, strict=True)), "examples": values.sizes[over]}


def _plain(values: np.ndarray) -> Any:
    if values.ndim:
        return [_plain(each) for each in values]
    return None if np.isnan(values) else float(values)
