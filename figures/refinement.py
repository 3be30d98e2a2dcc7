"""Step-size refinement: the worst growth over each layer as it is cut into more steps, beside that
of the exact linear flow.
"""

from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from analysis.summary import METHODS, Refinement, Summary
from figures import selection, style

FLOW = style.INK
FLOW_BAND: dict[str, Any] = {"color": style.FAINT, "alpha": 0.5, "linewidth": 0}


@style.house()
def draw(
    summary: Summary,
    ax: style.Target = None,
    step_size: float | None = None,
    layer: int | None = None,
) -> Figure:
    """Worst growth over one layer taken as m steps of h/m against h/m, explicit and implicit Euler,
    with ‖e^{hJ}‖; one panel each layer.

    Lines are medians over texts, bands 10–90 %; hollow where some text did not converge. What
    vanishes towards the left is discretisation error, not stability.

    Args:
        summary: the records.
        ax: None for a new figure, or Axes to fill.
        step_size: h; by default 1, or the largest measured.
        layer: the only layer to draw.

    Raises:
        ValueError: if the step size or the layer was not measured.
    """
    h, found = at_step_size(summary, step_size)
    if layer is not None:
        if layer not in [one.layer for one in found]:
            raise ValueError(f"layer must be one of {[one.layer for one in found]}, got {layer}")
        found = [one for one in found if one.layer == layer]
    columns = 3 if len(found) <= 9 else 4
    figure, axes = style.panels(ax, max(len(found), 1), columns, 1.9, below=0.5, sharey=True)
    for panel, one in zip(axes, found, strict=False):
        _draw_layer(panel, one)
    for panel in axes:
        if not found:
            style.nothing(panel)
        style.logarithmic_growth(panel)
        panel.axhline(1, color=style.GUIDE, linewidth=0.6, zorder=0)
        panel.set_xlabel(f"size of the steps $h/m$, $h = {h:g}$")
        if len(axes) == 1 or style.is_leftmost(panel):
            panel.set_ylabel("worst growth over the layer")
    style.legend(figure, axes, _handles(found), ax is None)
    return figure


def at_step_size(summary: Summary, wanted: float | None = None) -> tuple[float, list[Refinement]]:
    """The step size drawn, and the refinement of every layer at it in order of depth."""
    h = selection.step_size([one.step_size for one in summary.refinements], wanted)
    return h, sorted(
        (one for one in summary.refinements if one.step_size == h), key=lambda one: one.layer
    )


def _draw_layer(ax: Axes, one: Refinement) -> None:
    steps = one.step_size / one.parts
    flow = selection.band(one.flow).positive()
    ax.axhspan(float(flow.low), float(flow.high), **FLOW_BAND)
    ax.axhline(float(flow.median), color=FLOW, linewidth=1.2, linestyle=style.PREDICTED)
    for method in METHODS:
        colour, band = style.COLOURS[method], selection.band(one.worst[method]).positive()
        hollow = ~one.converged[method].all(axis=0)
        ax.fill_between(steps, band.low, band.high, color=colour, alpha=0.18, linewidth=0)
        ax.plot(steps, band.median, color=colour, linewidth=style.LINE_WIDTHS[method])
        for which, face in ((~hollow, colour), (hollow, "white")):
            ax.plot(
                steps[which],
                band.median[which],
                linestyle="none",
                marker="o",
                color=colour,
                markerfacecolor=face,
                zorder=4,
            )
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(list(steps)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(steps, [f"$h$/{m}" if m > 1 else "$h$" for m in one.parts])
    ax.set_title(f"layer {one.layer} ({style.counted(len(one.flow), 'text')})")


def _handles(found: list[Refinement]) -> list[Artist]:
    """Column by column, as a legend is filled: medians, bands, flow."""
    lines: list[Artist] = [
        style.key(
            f"{style.NAMES[m]} (median)", style.COLOURS[m], "o", "-", width=style.LINE_WIDTHS[m]
        )
        for m in METHODS
    ]
    bands: list[Artist] = [
        style.swatch(
            f"{style.NAMES[m]}, 10–90 % of texts", color=style.COLOURS[m], alpha=0.18, linewidth=0
        )
        for m in METHODS
    ]
    flow: list[Artist] = [
        style.key(r"linear flow $\|e^{hJ}\|$ (median)", FLOW, line=style.PREDICTED, width=1.2),
        style.swatch("linear flow, 10–90 % of texts", **FLOW_BAND),
    ]
    if any(not np.all(one.converged[method]) for one in found for method in METHODS):
        lines.append(style.key("hollow: some text not converged", style.INK, "o", hollow=True))
    return [*lines, *bands, *flow]
