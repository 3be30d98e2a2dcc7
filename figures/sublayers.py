"""Worst growth over the attention half and the feed-forward half of every layer, beside that of the
whole layer.
"""

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from analysis.quantities import METHODS
from analysis.quantities.sublayers import HALVES
from analysis.run import Measurements
from figures import selection, style
from figures.findings import NOTHING, number, share
from figures.picture import Picture, at_measured_step
from figures.whiskers import Series, growth_above_norm

NAMES = {**HALVES, "whole": "whole layer"}
WORDS = {"growth": "worst growth over one step", "norm": r"$h\mu_2$"}
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
    growth = [
        Series(
            part["worst_growth"].sel(scheme=method),
            part["worst_growth_converged"].sel(scheme=method),
            style.COLOURS[method],
            MARKERS[name],
            f"worst growth, {NAMES[name]}, {method}",
        )
        for name, part in parts.items()
        for method in METHODS
    ]
    norm = [
        Series(
            h * part["logarithmic_norm"],
            part["logarithmic_norm_converged"],
            style.INK,
            MARKERS[name],
            f"hμ₂, {NAMES[name]}",
        )
        for name, part in parts.items()
    ]
    measured = parts.get("attention", xr.Dataset())
    return growth_above_norm(ax, h, measured, growth, norm, WORDS, _handles, height=2.1, columns=3)


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
    # the whole layer may be measured at other step sizes than its halves
    if h in steps:
        whole = run["growth"].sel(step_size=h)[list(own.values())]
        known = [layer for layer in layers if layer in selection.layers_of(whole)]
        # a layer without a whole keeps its place, and no flag is set for it
        parts["whole"] = whole.sel(layer=known).reindex(
            layer=layers, fill_value={name: False for name in own.values() if "converged" in name}
        )
    return h, parts


def _handles(any_hollow: bool) -> list[Artist]:
    """Column by column, as a legend is filled: one for each part."""
    attention, forward, whole = (
        [
            style.key(f"{NAMES[part]}, {method}", style.COLOURS[method], MARKERS[part])
            for method in METHODS
        ]
        for part in NAMES
    )
    note = [style.hollow("some text not converged")] if any_hollow else []
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
    # a lower bound of 1 or more settles it: the condition is violated
    open_at = selection.uncertain(norm, half["logarithmic_norm_converged"]) & ~(medians >= 1)
    held = [layer for layer, m, o in zip(layers, medians, open_at, strict=True) if m < 1 and not o]
    unsettled = [layer for layer, is_open in zip(layers, open_at, strict=True) if is_open]
    text = f" For the {name} hμ₂ < 1 holds in {share(held, layers)}"
    return text + (f"; not settled in {share(unsettled, layers)}." if unsettled else ".")


SUBLAYERS = Picture(
    quantity="sublayers",
    title="Worst growth over the halves of each layer",
    name="sublayers",
    draw=at_measured_step("sublayers", draw),
    finding=at_measured_step("sublayers", finding),
    caption="Worst growth over the attention half, the feed-forward half and the "
    "whole of each layer, and below it hμ₂. Each half is taken as "
    "a layer of its own. Medians over texts, whiskers from the 10th to the "
    "90th percentile; hollow where some text did not converge.",
    medians=True,
)
