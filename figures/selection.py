"""What a figure takes from the measurements: one step size, medians with the 10th and 90th
percentile, and which of them hold a value that is not certain.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import xarray as xr

from analysis.quantities.labelled import spread
from analysis.run import Measurements

ROUNDING = 1e-6  # growth of 1 to the accuracy of the eigenvalues counts as stable


class Band(NamedTuple):
    """Median, 10th and 90th percentile over examples; NaN where nothing was measured."""

    median: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def positive(self) -> "Band":
        """The same for a logarithmic axis: what is not positive becomes NaN."""
        return Band(*(np.where(values > 0, values, np.nan) for values in self))


def band(values: xr.DataArray | np.ndarray, over: str = "text") -> Band:
    """Median and 10–90 % over a dim, of an array without labels over its first axis; values that
    are not finite are left out.
    """
    if not isinstance(values, xr.DataArray):
        dims = [over, *(f"axis_{i}" for i in range(1, np.ndim(values)))]
        values = xr.DataArray(np.asarray(values, dtype=float), dims=dims)
    # a quantile of nothing is an error in NumPy
    if not values.sizes[over]:
        rest = [size for name, size in values.sizes.items() if name != over]
        return Band(*np.full((3, *rest), np.nan))
    return Band(*spread(values, over).values)


def median(values: xr.DataArray | np.ndarray, over: str = "text") -> float:
    """Median over the only dim, values that are not finite left out; NaN where nothing is left."""
    return float(band(values, over).median)


def uncertain(values: xr.DataArray, settled: xr.DataArray, over: str = "text") -> np.ndarray:
    """Where some example is not settled or not finite; one for each entry of the other dim."""
    return np.asarray(~(settled & np.isfinite(values)).all(over).values)


def step_size(measured: Iterable[float], wanted: float | None = None) -> float:
    """The step size to draw: the wanted one, else h = 1 (the step that the pretrained layer is),
    else the largest measured.

    Raises:
        ValueError: if the wanted one was not measured.
    """
    steps = sorted(set(measured))
    if wanted is None:
        return next((h for h in steps if math.isclose(h, 1.0)), steps[-1] if steps else 1.0)
    match = [h for h in steps if math.isclose(h, wanted)]
    # without any step size there is nothing to choose from: the figure says so itself
    if steps and not match:
        raise ValueError(f"step_size must be one of {steps}, got {wanted}")
    return match[0] if match else wanted


def most_texts(run: Measurements) -> str:
    """Whom a verdict is about that most texts decide: of a single one, it alone."""
    growth = run["growth"]
    return "the one text" if growth and growth.sizes["text"] == 1 else "most texts"


def of_run(run: Measurements, wanted: float | None = None) -> float:
    """The step size that the report is about."""
    return step_size(steps_of(run, "growth") or run.config["step_sizes"], wanted)


def steps_of(run: Measurements, quantity: str) -> list[float]:
    """The step sizes at which a quantity was measured; none where it was not."""
    dataset = run[quantity]
    return sorted(dataset["step_size"].values.tolist()) if dataset else []


def measured_step(run: Measurements, quantity: str, h: float) -> float | None:
    """h where the quantity has it, else None: whatever step size it was measured with."""
    return h if h in steps_of(run, quantity) else None


def at(run: Measurements, quantity: str, wanted: float | None = None) -> tuple[float, xr.Dataset]:
    """The step size drawn, and a quantity at it, layers in order of depth; without variables where
    it was not measured.

    Raises:
        ValueError: if it was not measured at the wanted step size.
    """
    h = step_size(steps_of(run, quantity), wanted)
    dataset = run[quantity]
    if not dataset:
        return h, dataset
    dataset = dataset.sel(step_size=h)
    return h, dataset.sortby("layer") if "layer" in dataset.dims else dataset


def layers_of(dataset: xr.Dataset) -> list[int]:
    """The layers of a dataset in order of depth; none where nothing was measured."""
    return sorted(dataset["layer"].values.tolist()) if dataset else []


def one_layer(layers: list[int], wanted: int | None) -> list[int]:
    """The wanted layer of those there are, or all where none is wanted.

    Raises:
        ValueError: if the wanted one was not measured.
    """
    if wanted is None:
        return layers
    if wanted not in layers:
        raise ValueError(f"layer must be one of {layers}, got {wanted}")
    return [wanted]
