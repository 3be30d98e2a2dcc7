"""Finite-time Lyapunov exponents of the whole stack under each method."""

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.quantities import METHODS
from analysis.quantities.labelled import finite
from analysis.run import Measurements
from figures import selection, style
from figures.findings import NOTHING, number
from figures.picture import Picture, at_measured_step
from figures.whiskers import beside, whiskers


@style.house()
def draw(run: Measurements, ax: style.Target = None, step_size: float | None = None) -> Figure:
    """The largest finite-time Lyapunov exponents (1/L) log σ_i of the stack, explicit against
    implicit Euler, in nats per layer.

    Dots: texts, hollow where they did not converge. Large markers: medians over texts; whiskers
    10–90 %.

    Args:
        run: what was measured.
        ax: None for a new figure, or one Axes.
        step_size: h; by default 1, or the largest measured.

    Raises:
        ValueError: if the step size was not measured.
    """
    h, measured = selection.at(run, "exponents", step_size)
    figure, axes = style.panels(ax, 1, height=2.6, below=0.15, width=0.6 * style.WIDTH)
    panel, handles, any_hollow = axes[0], list[Artist](), False
    panel.axhline(0, color=style.GUIDE, linewidth=0.8, zorder=0)
    for place, method in enumerate(METHODS if measured else ()):
        any_hollow |= _draw_method(panel, measured, method, place)
        handles.append(style.key(style.NAMES[method], style.COLOURS[method], "o"))
    if measured:
        panel.set_xticks(measured["order"].values)
        panel.set_xlim(0.5, measured.sizes["order"] + 0.5)
        if any_hollow:
            handles.append(style.hollow("not converged"))
        style.legend(figure, axes, handles, ax is None)
    else:
        style.nothing(panel)
    panel.set_xlabel("exponent $i$, largest first")
    panel.set_ylabel(r"$\frac{1}{L}\,\log\sigma_i$ in nats per layer")
    texts = f", {style.counted(measured.sizes['text'], 'text')}" if measured else ""
    panel.set_title(f"$h = {h:g}${texts}")
    return figure


def _draw_method(ax: Axes, measured: xr.Dataset, method: str, place: int) -> bool:
    """Each text's exponents beside their median; whether some marker is hollow."""
    of_method = measured.sel(scheme=method).transpose("text", "order")
    values, converged = of_method["exponent"], of_method["exponent_converged"]
    colour = style.COLOURS[method]
    x = beside(values["order"].values, place, len(METHODS))
    # hollow dots are texts whose exponent did not converge
    for sure, face in ((True, colour), (False, "white")):
        text, order = np.nonzero(converged.values == sure)
        ax.plot(
            x[order] - 0.12,
            values.values[text, order],
            "o",
            color=colour,
            markerfacecolor=face,
            markersize=2,
            markeredgewidth=0.5,
            alpha=0.5,
        )
    hollow = selection.uncertain(values, converged)
    whiskers(ax, x, selection.band(values), colour, "o", hollow)
    return bool(hollow.any())


def finding(run: Measurements, step_size: float | None = None) -> str:
    """The mean growth per layer of the perturbation that grows most."""
    h, measured = selection.at(run, "exponents", step_size)
    if not measured or not measured.sizes["order"]:
        return NOTHING
    first = measured["exponent"].isel(order=0, drop=True)
    medians = {method: selection.median(first.sel(scheme=method)) for method in METHODS}
    words = [
        f"{number(value)} nats per layer (a factor of {number(float(np.exp(value)))}) under {m}"
        for m, value in medians.items()
        if np.isfinite(value)
    ]
    if not words:
        return NOTHING
    text = (
        f"Through the whole stack in steps of h = {number(h)} the "
        "perturbation that grows most gains, in the median text, "
        f"{' and '.join(words)} Euler."
    )
    # a comparison needs both
    if len(words) == len(METHODS):
        both = first.where(finite(first).all("scheme"), drop=True)
        lower = int((both.sel(scheme="implicit") < both.sel(scheme="explicit")).sum())
        count = first.sizes["text"]
        of_texts = f" for {lower} of {count} texts" if count > 1 else ""
        negation = "" if count > 1 or lower else "not "
        text += f" The implicit growth is {negation}the smaller one{of_texts}."
    return text


EXPONENTS = Picture(
    quantity="exponents",
    title="Growth per layer through the whole stack",
    name="exponents",
    draw=at_measured_step("exponents", draw),
    finding=at_measured_step("exponents", finding),
    caption="Finite-time Lyapunov exponents of the whole stack of layers. The first "
    "is the mean growth per layer, on a logarithmic scale, of "
    "the perturbation that has grown most at the end; the next ones that "
    "of perturbations orthogonal to it. Small: texts; large: "
    "medians, whiskers from the 10th to the 90th percentile.",
)
