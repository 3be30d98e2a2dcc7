"""Medians with whiskers side by side at each layer, as several figures draw them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import readings, selection, style


class Series(NamedTuple):
    """A quantity that is drawn at each layer.

    Attributes:
        values: over texts and layers.
        settled: which of them are certain.
        colour: of its markers.
        marker: of its medians.
        name: by which the page calls it.
    """

    values: xr.DataArray
    settled: xr.DataArray
    colour: str
    marker: str
    name: str


def growth_above_norm(
    ax: style.Target,
    h: float,
    measured: xr.Dataset,
    growth: Sequence[Series],
    norm: Sequence[Series],
    words: Mapping[str, str],
    entries: Callable[[bool], list[Artist]],
    height: float,
    columns: int,
) -> Figure:
    """A panel of growth at each layer, and below it one of hμ₂ with the line hμ₂ = 1.

    Args:
        ax: None for a new figure; one Axes for the growth alone; two for both.
        h: step size.
        measured: with the layers and the texts; without variables where nothing was measured.
        growth: what the upper panel shows.
        norm: what the lower panel shows.
        words: the labels of both panels, "growth" and "norm".
        entries: of the legend, from whether some marker is hollow.
        height: of a row, inches.
        columns: of the legend.
    """
    figure, axes = style.panels(
        ax, 2, columns=1, height=height, below=0.5, sharex=True, height_ratios=[2, 1]
    )
    layers = selection.layers_of(measured)
    hollow = draw_series(axes[0], layers, growth, is_logarithmic=True)
    style.logarithmic_growth(axes[0])
    axes[0].axhline(1, color=style.GUIDE, linewidth=0.8, zorder=0)
    axes[0].set_ylabel(words["growth"])
    texts = f", {style.counted(measured.sizes['text'], 'text')}" if measured else ""
    axes[0].set_title(f"$h = {h:g}${texts}")
    layer_axis(axes[0], layers)
    if not measured:
        style.nothing(axes[0])
    if len(axes) > 1:
        hollow |= draw_series(axes[1], layers, norm)
        guaranteed_below_one(axes[1])
        axes[1].set_ylabel(words["norm"])
        layer_axis(axes[1], layers)
        axes[0].set_xlabel("")  # the lower panel names the axis that both share
    style.legend(figure, axes, entries(hollow), ax is None, columns=columns)
    return figure


def draw_series(
    ax: Axes, layers: Sequence[int], series: Sequence[Series], is_logarithmic: bool = False
) -> bool:
    """Each series with whiskers, side by side at each layer; whether some marker is hollow."""
    any_hollow = False
    for place, each in enumerate(series):
        values = each.values.transpose("text", "layer")
        band = selection.band(values)
        hollow = selection.uncertain(values, each.settled)
        x = beside(layers, place, len(series))
        whiskers(
            ax, x, band.positive() if is_logarithmic else band, each.colour, each.marker, hollow
        )
        readings.leave(ax, each.name, readings.by_layer(layers), x, values, each.colour)
        any_hollow |= bool(hollow.any())
    return any_hollow


def whiskers(
    ax: Axes,
    x: np.ndarray,
    band: selection.Band,
    colour: str,
    marker: str,
    hollow: np.ndarray | None = None,
) -> None:
    """Markers at medians with lines from the 10th to the 90th percentile; hollow markers where the
    mask says so.
    """
    hollow = np.zeros(len(x), dtype=bool) if hollow is None else hollow
    ax.vlines(x, band.low, band.high, color=colour, linewidth=1)
    medians(ax, x, band.median, colour, hollow, marker, size=4.5)


def medians(
    ax: Axes,
    x: np.ndarray,
    median: np.ndarray,
    colour: str,
    hollow: np.ndarray,
    marker: str = "o",
    size: float = 4,
    zorder: float = 2,
) -> None:
    """A marker at each median, hollow where the mask says so."""
    for is_hollow in (False, True):
        which = hollow == is_hollow
        style.dots(ax, x[which], median[which], colour, marker, size, is_hollow, zorder)


def line_with_band(
    ax: Axes, x: np.ndarray, band: selection.Band, method: str, hollow: np.ndarray
) -> None:
    """The medians of a method as a line with markers, over the 10–90 % band."""
    colour = style.COLOURS[method]
    ax.fill_between(x, band.low, band.high, color=colour, **style.BAND)
    width = style.LINE_WIDTHS[method]
    ax.plot(x, band.median, linestyle=style.MEASURED, color=colour, linewidth=width)
    medians(ax, x, band.median, colour, hollow, zorder=4)  # over the lines of both methods


def beside(places: Iterable[int], series: int, count: int) -> np.ndarray:
    """Abscissae of one of several series, side by side about each place."""
    return np.array(list(places), dtype=float) + 0.6 * ((series + 0.5) / count - 0.5)


def layer_axis(ax: Axes, layers: Sequence[int]) -> None:
    """One tick for each layer, with faint lines between them; where nothing was measured, the name
    of the axis alone.
    """
    # without layers matplotlib would choose ticks of its own
    if layers:
        ax.set_xticks(list(layers))
        separate(ax, layers)
    ax.set_xlabel("layer")


def separate(ax: Axes, places: Sequence[int]) -> None:
    """Faint lines between columns at consecutive places, each half a unit from them."""
    ax.set_xlim(min(places) - 0.5, max(places) + 0.5)
    for between in list(places)[1:]:
        ax.axvline(between - 0.5, color="#E6E6E6", linewidth=0.6, zorder=-1)


def guaranteed_below_one(ax: Axes) -> None:
    """The line hμ₂ = 1 with what it says, in a panel that shows 0 and some room above it."""
    colour = style.COLOURS["implicit"]
    ax.axhline(1, color=colour, linewidth=1)
    ax.set_ylim(min(0.0, ax.get_ylim()[0]), max(1.6, ax.get_ylim()[1]))
    ax.text(
        1.01,
        1,
        "implicit step\nunique below",
        transform=ax.get_yaxis_transform(),
        ha="left",
        va="center",
        fontsize=7,
        color=colour,
    )
