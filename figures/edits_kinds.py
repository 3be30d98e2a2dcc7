"""Many edits by kind: median growth of each layer, and the share of edits that each method
damps.
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.edits.records import Damping, Edits, Method, Number
from analysis.ground.resampling import FEW
from figures import style
from figures.edits_growth import COLOURS, NAMES, WIDTHS, about_one, label_steps
from figures.records import not_a_number

GROWTH = (
    "Median growth of the edits of each kind by layer. Pairs are left out from a step on that was "
    "not solved."
)
DAMPED = "Share of the edits of each kind that a layer's step makes smaller."
BARS = (
    f"Bars: 95 % intervals over originals, where there are {FEW} or more; edits of one text are "
    "resampled together."
)
NO_BARS = f"Without intervals: fewer than {FEW} originals of a kind say little of them."
MOST = 9  # kinds that are drawn


@style.house()
def draw_growth(record: Edits, ax: style.Target = None) -> Figure:
    """Median growth by layer and method, one panel for each kind."""
    figure, axes = _draw(record, "growth", ax)
    for panel in axes:
        about_one(panel)
        if style.is_leftmost(panel):
            panel.set_ylabel(r"growth $\|\delta_{l+1}\|\,/\,\|\delta_l\|$")
    return figure


@style.house()
def draw_damped(record: Edits, ax: style.Target = None) -> Figure:
    """Share of the edits with growth below 1 by layer and method, one panel for each kind."""
    figure, axes = _draw(record, "damped", ax)
    for panel in axes:
        panel.set_ylim(-0.05, 1.05)
        if style.is_leftmost(panel):
            panel.set_ylabel("share that is damped")
    return figure


def on_intervals(record: Edits) -> str:
    """What a caption says of the intervals."""
    return BARS if any(is_enough(row) for row in record.damping) else NO_BARS


def is_enough(row: Damping) -> bool:
    """Whether there are so many originals that an interval says something."""
    return row.clusters >= FEW


def kinds_of(record: Edits) -> list[str]:
    """The kinds, those of most pairs first."""
    counts = {row.kind: row.of for row in record.damping}
    return sorted(counts, key=lambda kind: -counts[kind])


def _draw(record: Edits, quantity: str, ax: style.Target) -> tuple[Figure, list[Axes]]:
    kinds = kinds_of(record)[:MOST]
    width = style.WIDTH if len(kinds) > 1 else 0.6 * style.WIDTH
    figure, axes = style.panels(ax, len(kinds), height=2.2, width=width, below=0.4, sharey=True)
    for panel, kind in zip(axes, kinds, strict=False):
        rows = [row for row in record.damping if row.kind == kind]
        for place, method in enumerate(record.methods):
            own = [row for row in rows if row.method == method]
            _draw_method(panel, own, quantity, method, 0.12 * place)
        label_steps(panel, record)
        panel.set_title(f"{style.plain(kind)} ({style.counted(rows[0].of, 'pair')})")
    handles: list[Any] = [
        style.key(NAMES[method], COLOURS[method], "o", "-", width=WIDTHS[method])
        for method in record.methods
    ]
    style.legend(figure, axes, handles, ax is None)
    return figure, axes


def _draw_method(
    ax: Axes, rows: list[Damping], quantity: str, method: Method, aside: float
) -> None:
    def numbers(end: str = "") -> np.ndarray:
        values: list[Number] = [
            row[quantity + end] if is_enough(row) or not end else None for row in rows
        ]
        return np.array([not_a_number(value) for value in values])

    places = np.array([row.step for row in rows]) + aside
    colour = COLOURS[method]
    ax.plot(places, numbers(), "o-", color=colour, linewidth=WIDTHS[method], markersize=3)
    ax.vlines(places, numbers("_low"), numbers("_high"), color=colour, linewidth=0.8)
