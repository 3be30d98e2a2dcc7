"""Step-size refinement: the worst growth over each layer as it is cut into more steps, beside that
of the exact linear flow.
"""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from analysis.quantities import METHODS
from analysis.run import Measurements
from figures import selection, style
from figures.findings import NOTHING, largest, number
from figures.picture import Picture, at_measured_step
from figures.whiskers import line_with_band

FLOW = style.INK
FLOW_BAND: dict[str, Any] = {"color": style.FAINT, "alpha": 0.5, "linewidth": 0}


@style.house()
def draw(
    run: Measurements,
    ax: style.Target = None,
    step_size: float | None = None,
    layer: int | None = None,
) -> Figure:
    """Worst growth over one layer taken as m steps of h/m against h/m, explicit and implicit Euler,
    with ‖e^{hJ}‖; one panel each layer.

    Lines are medians over texts, bands 10–90 %; hollow where some text did not converge. What
    vanishes towards the left is discretisation error, not stability.

    Args:
        run: what was measured.
        ax: None for a new figure, or Axes to fill.
        step_size: h; by default 1, or the largest measured.
        layer: the only layer to draw.

    Raises:
        ValueError: if the step size or the layer was not measured.
    """
    h, measured = selection.at(run, "refinement", step_size)
    layers = selection.one_layer(selection.layers_of(measured), layer)
    columns = 3 if len(layers) <= 9 else 4
    figure, axes = style.panels(ax, max(len(layers), 1), columns, 1.9, below=0.5, sharey=True)
    any_hollow = False
    for panel, number_of in zip(axes, layers, strict=False):
        any_hollow |= _draw_layer(panel, measured.sel(layer=number_of), h)
    for panel in axes:
        if not layers:
            style.nothing(panel)
        style.logarithmic_growth(panel)
        panel.axhline(1, color=style.GUIDE, linewidth=0.6, zorder=0)
        panel.set_xlabel(f"size of the steps $h/m$, $h = {h:g}$")
        if len(axes) == 1 or style.is_leftmost(panel):
            panel.set_ylabel("worst growth over the layer")
    texts = measured.sizes["text"] if measured else 0
    style.legend(figure, axes, _handles(any_hollow, texts), ax is None)
    return figure


def _draw_layer(ax: Axes, at_layer: xr.Dataset, h: float) -> bool:
    """Whether some marker is hollow."""
    parts, any_hollow = at_layer["parts"].values, False
    steps = h / parts
    flow = selection.band(at_layer["flow_growth"]).positive()
    ax.axhspan(float(flow.low), float(flow.high), **FLOW_BAND)
    ax.axhline(float(flow.median), color=FLOW, linewidth=1.2, linestyle=style.PREDICTED)
    for method in METHODS:
        of_method = at_layer.sel(scheme=method).transpose("text", "parts")
        growth = of_method["refined_growth"]
        hollow = selection.uncertain(growth, of_method["refined_growth_converged"])
        any_hollow |= bool(hollow.any())
        line_with_band(ax, steps, selection.band(growth).positive(), method, hollow)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(list(steps)))
    # the steps are few and named: no ticks between them
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(steps, [f"$h$/{m}" if m > 1 else "$h$" for m in parts])
    ax.set_title(
        f"layer {int(at_layer['layer'])} ({style.counted(at_layer.sizes['text'], 'text')})"
    )
    return any_hollow


def _handles(any_hollow: bool, texts: int) -> list[Artist]:
    """Column by column, as a legend is filled: medians, bands, flow."""
    median = "" if texts == 1 else " (median)"
    lines = [style.of_method(m, f"{style.NAMES[m]}{median}", marker="o") for m in METHODS]
    bands = style.bands_of(METHODS, "texts", texts)
    flow: list[Artist] = [
        style.key(rf"linear flow $\|e^{{hJ}}\|${median}", FLOW, line=style.PREDICTED, width=1.2)
    ]
    if bands:
        flow.append(style.swatch("linear flow, 10–90 % of texts", **FLOW_BAND))
    if any_hollow:
        lines.append(style.hollow("some text not converged"))
    return [*lines, *bands, *flow]


def finding(run: Measurements, step_size: float | None = None) -> str:
    """How far the two methods are apart in one step, and how far when the step is cut."""
    h, measured = selection.at(run, "refinement", step_size)
    if not measured or not measured.sizes["parts"]:
        return NOTHING
    ends = []
    for part in (0, -1):
        growth = measured["refined_growth"].isel(parts=part, drop=True)
        of = {method: growth.sel(scheme=method) for method in METHODS}
        apart = _factors(of["explicit"], of["implicit"])
        off = {method: _factors(of[method], measured["flow_growth"]) for method in METHODS}
        ends.append([largest(apart), *(largest(off[method]) for method in METHODS)])
    # one sentence compares both ends, so that both must be known
    if not np.isfinite(ends).all():
        return NOTHING
    (apart_one, *off_one), (apart_last, *off_last) = ends
    first, last = (style.counted(int(measured["parts"][part]), "step") for part in (0, -1))
    words = ", and ".join(
        f"the {method} one differs by up to {number(a)}, refined by up to {number(b)}"
        for method, a, b in zip(METHODS, off_one, off_last, strict=True)
    )
    return (
        f"Where a layer is taken in {first} (h = {number(h)}), the worst "
        "growths of the two methods differ by a factor of up to "
        f"{number(apart_one)} in the median text; in {last}, by up to "
        f"{number(apart_last)}. What refinement removes is discretisation error, not stability. "
        f"From the linear flow {words}."
    )


def _factors(a: xr.DataArray, b: xr.DataArray) -> list[float]:
    """By layer the factor by which two growths differ in the median text, at least 1."""
    positive = np.isfinite(a) & np.isfinite(b) & (a > 0) & (b > 0)
    ratio = np.abs(np.log((a / b).where(positive)))
    return np.exp(selection.band(ratio).median).tolist()


REFINEMENT = Picture(
    quantity="refinement",
    title="Is it stability or the size of the step?",
    name="refinement",
    draw=at_measured_step("refinement", draw),
    finding=at_measured_step("refinement", finding),
    caption="Worst growth over each layer, taken as one step or as several smaller "
    "ones. Towards the left both methods tend to the exact "
    "solution of the layer's equation: a difference that vanishes there is "
    "discretisation error, not stability. The dashed flow is "
    "that of the Jacobian at the start of the layer, so on a strongly curved "
    "layer the curves may tend to something else. Medians and "
    "10–90 % bands over texts.",
)
