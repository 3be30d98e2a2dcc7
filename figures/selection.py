"""What a figure takes from the records: one step size, one layer, and medians with the 10th and
90th percentile.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from analysis.summary import LayerGrowth, Summary, statistics

ROUNDING = 1e-6  # growth of 1 to the accuracy of the eigenvalues counts as stable


class Band(NamedTuple):
    """Median, 10th and 90th percentile over examples; NaN where nothing was measured."""

    median: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def positive(self) -> "Band":
        """The same for a logarithmic axis: what is not positive becomes NaN."""
        return Band(*(np.where(values > 0, values, np.nan) for values in self))


def band(values: np.ndarray) -> Band:
    """Median and 10–90 % over the first axis, values that are not finite left out."""
    values = np.asarray(values, dtype=float)
    rest = values.shape[1:]
    if not values.size:
        return Band(*np.full((3, *rest), np.nan))
    found = statistics(values.reshape(len(values), -1))
    return Band(
        *(np.array(found[name], dtype=float).reshape(rest) for name in ("median", "p10", "p90"))
    )


def median(values: np.ndarray) -> float:
    """Median of a 1-d array, values that are not finite left out; NaN where nothing is left."""
    return float(band(values).median)


def step_size(measured: Iterable[float], wanted: float | None = None) -> float:
    """The step size to draw: the wanted one, else h = 1 (the step that the pretrained layer is),
    else the largest measured.

    Raises:
        ValueError: if the wanted one was not measured.
    """
    found = sorted(set(measured))
    if wanted is None:
        return next((h for h in found if math.isclose(h, 1.0)), found[-1] if found else 1.0)
    match = [h for h in found if math.isclose(h, wanted)]
    if found and not match:
        raise ValueError(f"step_size must be one of {found}, got {wanted}")
    return match[0] if match else wanted


def of_run(summary: Summary, wanted: float | None = None) -> float:
    """The step size that the report is about."""
    return step_size(
        [one.step_size for one in summary.growth] or summary.config["step_sizes"], wanted
    )


def growth_at(summary: Summary, wanted: float | None = None) -> tuple[float, list[LayerGrowth]]:
    """The step size drawn, and the growth of every layer at it in order of depth."""
    h = of_run(summary, wanted)
    return h, sorted(
        (one for one in summary.growth if one.step_size == h), key=lambda one: one.layer
    )
