"""Worst growth over the attention half and the feed-forward half of every layer, beside that of the
whole layer.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.summary import METHODS, LayerGrowth, SublayerGrowth, Summary
from figures import selection, style
from figures.whiskers import beside, layer_axis, stack, whiskers

PARTS = ("attention", "feed_forward", "whole")
NAMES = {"attention": "attention half", "feed_forward": "feed-forward half", "whole": "whole layer"}
MARKERS = {"attention": "^", "feed_forward": "v", "whole": "o"}


class Measured(NamedTuple):
    """One quantity of one part of a layer, by text, and which of it converged."""

    values: np.ndarray
    converged: np.ndarray


@style.house()
def draw(summary: Summary, ax: style.Target = None, step_size: float | None = None) -> Figure:
    """Worst growth of one step over each half of each layer and over the whole, explicit against
    implicit Euler; below it hμ₂.

    Each half is taken as a layer of its own. Markers are medians over texts, whiskers 10–90 %;
    hollow where some text did not converge.

    Args:
        summary: the records.
        ax: None for a new figure; one Axes for the growth alone; two for growth and hμ₂.
        step_size: h; by default 1, or the largest measured.

    Raises:
        ValueError: if the step size was not measured.
    """
    h, layers = at_step_size(summary, step_size)
    figure, axes = style.panels(
        ax, 2, columns=1, height=2.1, below=0.5, sharex=True, height_ratios=[2, 1]
    )
    hollow = _draw_growth(axes[0], summary, layers, h)
    if len(axes) > 1:
        hollow |= _draw_logarithmic_norm(axes[1], summary, layers, h)
        axes[0].set_xlabel("")
    style.legend(figure, axes, _handles(hollow), ax is None, columns=3)
    return figure


def at_step_size(summary: Summary, wanted: float | None = None) -> tuple[float, list[int]]:
    """The step size drawn, and the layers whose halves were measured at it."""
    h = selection.step_size([one.step_size for one in summary.sublayers], wanted)
    return h, sorted({one.layer for one in summary.sublayers if one.step_size == h})


def worst(summary: Summary, layer: int, part: str, method: str, h: float) -> Measured:
    """Worst growth of a half or of the whole layer, one value per text; empty where it was not
    measured.
    """
    return _measured(
        summary,
        layer,
        part,
        h,
        lambda one: one.worst[method],
        method if part != "whole" else f"{method}_worst",
    )


def logarithmic_norm(summary: Summary, layer: int, part: str, h: float) -> Measured:
    """μ₂ of a half or of the whole layer, one value per text; empty where it was not measured."""
    return _measured(summary, layer, part, h, lambda one: one.logarithmic_norm, "logarithmic_norm")


def _measured(
    summary: Summary,
    layer: int,
    part: str,
    h: float,
    value: Callable[[LayerGrowth | SublayerGrowth], np.ndarray],
    flag: str,
) -> Measured:
    halves = [
        one for one in summary.sublayers if (one.layer, one.half, one.step_size) == (layer, part, h)
    ]
    wholes = [
        one
        for one in summary.growth
        if (one.layer, one.step_size) == (layer, h) and part == "whole"
    ]
    found: list[LayerGrowth | SublayerGrowth] = [*halves, *wholes]
    if not found:
        return Measured(np.zeros(0), np.zeros(0, dtype=bool))
    return Measured(value(found[0]), found[0].converged[flag])


def _draw_growth(ax: Axes, summary: Summary, layers: list[int], h: float) -> bool:
    """Whether some marker is hollow."""
    series, any_hollow = [(part, method) for part in PARTS for method in METHODS], False
    for i, (part, method) in enumerate(series):
        found = [worst(summary, layer, part, method, h) for layer in layers]
        hollow = np.array([not one.converged.all() for one in found], dtype=bool)
        band = selection.band(stack([one.values for one in found])).positive()
        whiskers(
            ax, beside(layers, i, len(series)), band, style.COLOURS[method], MARKERS[part], hollow
        )
        any_hollow |= bool(hollow.any())
    style.logarithmic_growth(ax)
    ax.axhline(1, color=style.GUIDE, linewidth=0.8, zorder=0)
    ax.set_ylabel("worst growth over one step")
    texts = len(worst(summary, layers[0], "attention", "explicit", h).values) if layers else 0
    ax.set_title(f"$h = {h:g}$" + (f", {style.counted(texts, 'text')}" if texts else ""))
    layer_axis(ax, layers)
    if not layers:
        style.nothing(ax)
    return any_hollow


def _draw_logarithmic_norm(ax: Axes, summary: Summary, layers: list[int], h: float) -> bool:
    """Whether some marker is hollow."""
    any_hollow = False
    for i, part in enumerate(PARTS):
        found = [logarithmic_norm(summary, layer, part, h) for layer in layers]
        hollow = np.array([not one.converged.all() for one in found], dtype=bool)
        whiskers(
            ax,
            beside(layers, i, len(PARTS)),
            selection.band(stack([h * one.values for one in found])),
            style.INK,
            MARKERS[part],
            hollow,
        )
        any_hollow |= bool(hollow.any())
    ax.axhline(1, color=style.COLOURS["implicit"], linewidth=1)
    ax.set_ylim(min(0.0, ax.get_ylim()[0]), max(1.6, ax.get_ylim()[1]))
    text = "implicit step\nguaranteed below"
    ax.text(
        1.01,
        1,
        text,
        transform=ax.get_yaxis_transform(),
        ha="left",
        va="center",
        fontsize=7,
        color=style.COLOURS["implicit"],
    )
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
        for part in PARTS
    )
    note = (
        [style.key("hollow: some text not converged", style.INK, "o", hollow=True)]
        if hollow
        else []
    )
    return [*attention, *note, *forward, *whole]
