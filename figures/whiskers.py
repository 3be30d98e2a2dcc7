"""Medians with whiskers side by side at each layer, as several figures draw them."""

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes

from figures import selection, style


def whiskers(
    ax: Axes,
    x: np.ndarray,
    found: selection.Band,
    colour: str,
    marker: str,
    hollow: np.ndarray | None = None,
) -> None:
    """Markers at medians with lines from the 10th to the 90th percentile; hollow markers where the
    mask says so.
    """
    hollow = np.zeros(len(x), dtype=bool) if hollow is None else hollow
    ax.vlines(x, found.low, found.high, color=colour, linewidth=1)
    for which, face in ((~hollow, colour), (hollow, "white")):
        ax.plot(
            x[which],
            found.median[which],
            linestyle="none",
            marker=marker,
            markersize=4.5,
            color=colour,
            markerfacecolor=face,
        )


def beside(places: Iterable[int], series: int, count: int) -> np.ndarray:
    """Abscissae of one of several series, side by side about each place."""
    return np.array(list(places), dtype=float) + 0.6 * ((series + 0.5) / count - 0.5)


def layer_axis(ax: Axes, layers: Sequence[int]) -> None:
    """One tick for each layer, with faint lines between them."""
    if layers:
        ax.set_xticks(list(layers))
        ax.set_xlim(min(layers) - 0.5, max(layers) + 0.5)
        for between in list(layers)[1:]:
            ax.axvline(between - 0.5, color="#E6E6E6", linewidth=0.6, zorder=-1)
    ax.set_xlabel("layer")


def guaranteed_below_one(ax: Axes) -> None:
    """The line hμ₂ = 1 with what it says, in a panel that shows 0 and some room above it."""
    colour = style.COLOURS["implicit"]
    ax.axhline(1, color=colour, linewidth=1)
    ax.set_ylim(min(0.0, ax.get_ylim()[0]), max(1.6, ax.get_ylim()[1]))
    ax.text(
        1.01,
        1,
        "implicit step\nguaranteed below",
        transform=ax.get_yaxis_transform(),
        ha="left",
        va="center",
        fontsize=7,
        color=colour,
    )
