"""What merging needs of cells: groups, concatenation, complex numbers, and statistics over
texts.
"""

from typing import Any

import numpy as np

from analysis.record import Cell

METHODS = (
    "explicit",
    "implicit",
)  # explicit Euler and implicit Euler, the order of every methods axis


def statistics(values: np.ndarray) -> dict[str, Any]:
    """Median and 10th and 90th percentile over the first axis, NaN left out; None where nothing is
    left.
    """
    values = np.asarray(values, dtype=float)
    columns = values.reshape(len(values), -1).T
    finite = [column[np.isfinite(column)] for column in columns]

    def over_columns(q: float) -> Any:
        found = [float(np.quantile(column, q)) if len(column) else None for column in finite]
        return found if values.ndim > 1 else found[0]

    return {
        "median": over_columns(0.5),
        "p10": over_columns(0.1),
        "p90": over_columns(0.9),
        "examples": len(values),
    }


def as_complex(pairs: np.ndarray) -> np.ndarray:
    """A trailing axis (real, imaginary) → complex numbers."""
    return np.asarray(pairs[..., 0] + 1j * pairs[..., 1])


def merged(cells: list[Cell], name: str, axis: int = 0) -> np.ndarray:
    """An array of all cells, in their order."""
    return np.concatenate([cell.arrays[name] for cell in cells], axis=axis)


def grouped(cells: list[Cell], *keys: str) -> dict[tuple[Any, ...], list[Cell]]:
    """Cells grouped by header entries, groups in order of their keys, texts in order within a
    group.
    """
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in sorted(cells, key=lambda c: (*(c.header[key] for key in keys), c.header["texts"])):
        groups.setdefault(tuple(cell.header[key] for key in keys), []).append(cell)
    return groups
