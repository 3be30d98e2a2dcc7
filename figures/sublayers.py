"""Worst growth over the attention half and the feed-forward half of every layer, beside that of the
whole layer.
"""

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.quantities import METHODS
from analysis.quantities.sublayers import HALVES
from analysis.run import Measurements
from figures import selection, style
from figures.findings import NOTHING, number, share
from figures.picture import Picture
from figures.whiskers import beside, guaranteed_below_one, layer_axis, whiskers

NAMES = {**HALVES, "whole": "whole layer"}
MARKERS = {"attention": "^", "feed_forward": "v", "whole": "o"}


@style.house()
def draw(run: Measurements, ax: style.Target = None, step_size: float | None = None) -> Figure:
    """Worst growth of one step over each half of each layer and over the whole, explicit against
    implicit Euler; below it hμ₂.

    Each half is taken as a layer of its own. Markers are medians over texts, whiskers 10–90 %;
    hollow where some text did not converge.

    Args:
        run: what was measured.
        ax: None for a new figure; one Axes for the growth alone; two for growth and hμ₂.
        step_size: h; by default 1, or the largest measured.

    Raises:
        ValueError: if the step size was not measured.
    """
    h, parts = at_step_size(run, step_size)
    figure, axes = style.panels(
        ax, 2, columns=1, height=2.1, below=0.5, sharex=True, height_ratios=[2, 1]
    )
    hollow = _draw_growth(axes[0], parts, h)
    if len(axes) > 1:
        hollow |= _draw_logarithmic_norm(axes[1], parts, h)
        axes[0].set_xlabel("")
    style.legend(figure, axes, _handles(hollow), ax is None, columns=3)
    return figure


def at_step_size(
    run: Measurements, wanted: float | None = None
) -> tuple[float, dict[str, xr.Dataset]]:
    """The step size drawn, and by part of a layer worst growth and logarithmic norm of the layers
    whose halves were measured at it.

    Raises:
        ValueError: if it was not measured.
    """
    h, halves = selection.at(run, "sublayers", wanted)
    if not halves:
        return h, {}
    own = {str(name): str(name).removeprefix("half_") for name in halves.data_vars}
    parts = {half: halves.sel(half=half).rename(own) for half in HALVES}
    steps, layers = selection.steps_of(run, "growth"), selection.layers_of(halves)
    if h in steps:
        whole = run["growth"].sel(step_size=h)[list(own.values())]
        known = [layer for layer in layers if layer in selection.layers_of(whole)]
        parts["whole"] = whole.sel(layer=known).reindex(
            layer=layers, fill_value={name: False for name in own.values() if "converged" in name}
        )
    return h, parts


def _draw_growth(ax: Axes, parts: dict[str, xr.Dataset], h: float) -> bool:
    """Whether some marker is hollow."""
    series, any_hollow = [(part, method) for part in parts for method in METHODS], False
    layers = selection.layers_of(parts["attention"]) if parts else []
    for i, (part, method) in enumerate(series):
        of_method = parts[part].sel(scheme=method)
        growth = of_method["worst_growth"].transpose("text", "layer")
        hollow = selection.uncertain(growth, of_method["worst_growth_converged"])
        band, x = selection.band(growth).positive(), beside(layers, i, len(series))
        whiskers(ax, x, band, style.COLOURS[method], MARKERS[part], hollow)
        any_hollow |= bool(hollow.any())
    style.logarithmic_growth(ax)
    ax.axhline(1, color=style.GUIDE, linewidth=0.8, zorder=0)
    ax.set_ylabel("worst growth over one step")
    texts = f", {style.counted(parts['attention'].sizes['text'], 'text')}" if parts else ""
    ax.set_title(f"$h = {h:g}${texts}")
    layer_axis(ax, layers)
    if not layers:
        style.nothing(ax)
    return any_hollow


def _draw_logarithmic_norm(ax: Axes, parts: dict[str, xr.Dataset], h: float) -> bool:
    """Whether some marker is hollow."""
    layers = selection.layers_of(parts["attention"]) if parts else []
    any_hollow = False
    for i, (part, found) in enumerate(parts.items()):
        norm = h * found["logarithmic_norm"].transpose("text", "layer")
        hollow = selection.uncertain(norm, found["logarithmic_norm_converged"])
        x = beside(layers, i, len(parts))
        whiskers(ax, x, selection.band(norm), style.INK, MARKERS[part], hollow)
        any_hollow |= bool(hollow.any())
    guaranteed_below_one(ax)
    ax.set_ylabel(r"$h\mu_2$")
    layer_axis(ax, layers)
    return any_hollow


def _handles(hollow: bool) -> list[Artist]:
    """Column by column, as a legend is filled: one for each part."""
    attention, forward, whole = (
        [
            style.key(f"{NAMES[part]}, {method}", style.COLOURS[method], MARKERS[part])
            for method in METHODS
        ]
        for part in NAMES
    )
    note = (
        [style.key("hollow: some text not converged", style.INK, "o", hollow=True)]
        if hollow
        else []
    )
    return [*attention, *note, *forward, *whole]


def finding(run: Measurements, step_size: float | None = None) -> str:
    """Which half of the layers has the larger worst growth, and where hμ₂ < 1 in the halves."""
    h, parts = at_step_size(run, step_size)
    words = [sentence for method in METHODS if (sentence := _larger_half(parts, method))]
    if not words:
        return NOTHING
    text = (
        f"At h = {number(h)} the attention half has a larger worst "
        f"growth than the feed-forward half {'; '.join(words)}."
    )
    return text + "".join(_held(parts[half], name, h) for half, name in HALVES.items())


def _larger_half(parts: dict[str, xr.Dataset], method: str) -> str:
    """In which layers the attention half is ahead; empty where no layer is known."""
    if not parts:
        return ""
    layers = selection.layers_of(parts["attention"])
    attention, forward = (
        selection.band(parts[half]["worst_growth"].sel(scheme=method)).median for half in HALVES
    )
    known = np.isfinite(attention) & np.isfinite(forward)
    if not known.any():
        return ""
    # A comparison with NaN is false: a layer that is not known counts as none.
    ahead = [layer for layer, a, f in zip(layers, attention, forward, strict=True) if a > f]
    reach = np.where(known, np.maximum(attention, forward), -np.inf)
    top = int(reach.argmax())
    name = "attention" if attention[top] > forward[top] else "feed-forward"
    return (
        f"under the {method} step in {share(ahead, layers)} (largest: "
        f"{name} half of layer {layers[top]}, {number(float(reach[top]))}×)"
    )


def _held(half: xr.Dataset, name: str, h: float) -> str:
    """Where hμ₂ < 1 for the median text; what did not converge is a lower bound, and holds
    nothing.
    """
    layers = selection.layers_of(half)
    norm = h * half["logarithmic_norm"].transpose("text", "layer")
    medians = selection.band(norm).median
    if not np.isfinite(medians).any():
        return ""
    open_at = selection.uncertain(norm, half["logarithmic_norm_converged"]) & ~(medians >= 1)
    held = [layer for layer, m, o in zip(layers, medians, open_at, strict=True) if m < 1 and not o]
    unsettled = [layer for layer, is_open in zip(layers, open_at, strict=True) if is_open]
    text = f" For the {name} hμ₂ < 1 holds in {share(held, layers)}"
    return text + (f"; not settled in {share(unsettled, layers)}." if unsettled else ".")


SUBLAYERS = Picture(
    quantity="sublayers",
    title="Worst growth over the halves of each layer",
    name="sublayers",
    draw=lambda run, h: draw(run, step_size=selection.measured_step(run, "sublayers", h)),
    finding=lambda run, h: finding(run, selection.measured_step(run, "sublayers", h)),
    caption="Worst growth over the attention half, the feed-forward half and the "
    "whole of each layer, and below it hμ₂. Each half is taken as "
    "a layer of its own. Medians over texts, whiskers from the 10th to the "
    "90th percentile; hollow where some text did not converge.",
)
