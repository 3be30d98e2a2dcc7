"""Finite-time Lyapunov exponents of the whole stack under each method."""

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from analysis.summary import METHODS, Exponents, Summary
from figures import selection, style
from figures.whiskers import beside, whiskers


@style.house()
def draw(summary: Summary, ax: style.Target = None, step_size: float | None = None) -> Figure:
    """The largest finite-time Lyapunov exponents (1/L) log σ_i of the stack, explicit against
    implicit Euler, in nats per layer.

    Dots: texts, hollow where they did not converge. Large markers: medians over texts; whiskers
    10–90 %.

    Args:
        summary: the records.
        ax: None for a new figure, or one Axes.
        step_size: h; by default 1, or the largest measured.

    Raises:
        ValueError: if the step size was not measured.
    """
    h, found = at_step_size(summary, step_size)
    figure, axes = style.panels(ax, 1, height=2.6, below=0.15, width=0.6 * style.WIDTH)
    panel, handles = axes[0], list[Artist]()
    panel.axhline(0, color=style.GUIDE, linewidth=0.8, zorder=0)
    for i, one in enumerate(found):
        colour, order = style.COLOURS[one.method], np.arange(1, one.values.shape[1] + 1)
        x = beside(order, i, len(found))
        for sure, face in ((True, colour), (False, "white")):
            text, place = np.nonzero(one.converged == sure)
            values = one.values[text, place]
            panel.plot(
                x[place] - 0.12,
                values,
                "o",
                color=colour,
                markerfacecolor=face,
                markersize=2,
                markeredgewidth=0.5,
                alpha=0.5,
            )
        whiskers(
            panel,
            x,
            selection.band(one.values),
            colour,
            "o",
            np.asarray(~one.converged.all(axis=0)),
        )
        handles.append(style.key(style.NAMES[one.method], colour, "o"))
    if found:
        most = max(one.values.shape[1] for one in found)
        panel.set_xticks(np.arange(1, most + 1))
        panel.set_xlim(0.5, most + 0.5)
        if not all(one.converged.all() for one in found):
            handles.append(style.key("hollow: not converged", style.INK, "o", hollow=True))
        style.legend(figure, axes, handles, ax is None)
    else:
        style.nothing(panel)
    panel.set_xlabel("exponent $i$, largest first")
    panel.set_ylabel(r"$\frac{1}{L}\,\log\sigma_i$ in nats per layer")
    panel.set_title(
        f"$h = {h:g}$" + (f", {style.counted(len(found[0].values), 'text')}" if found else "")
    )
    return figure


def at_step_size(summary: Summary, wanted: float | None = None) -> tuple[float, list[Exponents]]:
    """The step size drawn, and the exponents of each method at it, explicit first."""
    h = selection.step_size([one.step_size for one in summary.exponents], wanted)
    return h, sorted(
        (one for one in summary.exponents if one.step_size == h),
        key=lambda one: METHODS.index(one.method),
    )
