"""Which layers an edit's growth comes from: logarithms that add up."""

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.edits.records import Edit, Edits, Walk
from figures import style
from figures.edits_growth import COLOURS, NAMES, NARROW, label_steps

CAPTION = (
    "Logarithm of the growth, layer on layer. Each bar leads to the next one: "
    "upwards a layer magnifies the edit, downwards it damps it. The bars add up to the growth "
    "through the whole stack, the last bar."
)


@style.house()
def draw(record: Edits, edit: Edit, ax: style.Target = None) -> Figure:
    """Bars of log growth, each from where the last one ends, and their sum.

    Args:
        record: that the edit is part of.
        edit: to draw.
        ax: None for a new figure, else one Axes.
    """
    figure, (panel,) = style.panels(ax, 1, height=2.6, width=NARROW, below=0.4)
    panel.use_sticky_edges = False
    width = 0.8 / len(record.methods)
    for place, method in enumerate(record.methods):
        left = (place - (len(record.methods) - 1) / 2) * width
        _draw_walk(panel, edit.walks[method], left, width, COLOURS[method])
    panel.axhline(0, color=style.GUIDE, linewidth=0.8, zorder=0)
    label_steps(panel, record)
    panel.set_xlim(-0.6, record.layers + 0.6)
    panel.set_xticks(
        [*panel.get_xticks(), record.layers],
        [*(label.get_text() for label in panel.get_xticklabels()), "all"],
    )
    panel.set_ylabel(r"$\log(\|\delta_l\|\,/\,\|\delta_0\|)$")
    style.legend(figure, [panel], _handles(record, edit), ax is None, columns=2)
    return figure


def _draw_walk(ax: Axes, walk: Walk, left: float, width: float, colour: str) -> None:
    heights = np.array(walk.log_growth)
    ends = np.concatenate([[0.0], heights.cumsum()])
    for step, solved in enumerate(walk.solved):
        ax.bar(
            step + left,
            heights[step],
            width=0.9 * width,
            bottom=ends[step],
            facecolor=colour,
            edgecolor="white",
            linewidth=0,
            hatch=None if solved else "////",
        )
        across = (step + left - 0.45 * width, step + 1 + left + 0.45 * width)
        ax.hlines(ends[step + 1], *across, color=colour, linewidth=0.5)
    ax.bar(
        len(heights) + left,
        ends[-1],
        width=0.9 * width,
        facecolor="white",
        edgecolor=colour,
        linewidth=1.2,
    )


def _handles(record: Edits, edit: Edit) -> list[Artist]:
    handles: list[Artist] = [
        style.swatch(NAMES[method], facecolor=COLOURS[method]) for method in record.methods
    ]
    handles.append(style.swatch("the sum", facecolor="white", edgecolor=style.INK))
    if not all(all(walk.converged) for walk in edit.walks.values()):
        hatched = style.swatch(
            "from an unsolved step on", facecolor=style.GUIDE, edgecolor="white", hatch="////"
        )
        handles.append(hatched)
    return handles
