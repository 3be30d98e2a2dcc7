"""A prediction from its plain record: what an implicit step does to each layer, and what placements
are predicted to gain.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import style
from figures.whiskers import beside, layer_axis

QUANTITIES = {
    "advantage": ("o", "implicit advantage (random perturbations)", 1),
    "worst_change": ("s", "worst growth, log(explicit/implicit)", -1),
    "spectral_change": ("D", "spectral growth, log(explicit/implicit)", -1),
}
SHADES = {"advantage": style.INK, "worst_change": "#7A7A7A", "spectral_change": "#B5B5B5"}


@style.house()
def draw(record: Mapping[str, Any], ax: style.Target = None) -> Figure:
    """Per step size a panel of the layers, by how many nats an implicit step damps more, and one of
    the placements' predicted advantage.

    Markers are statistics over texts, lines their 95 % intervals over resamples of the texts.
    Recommended layers are blue. Hollow where the eigenvalues found do not settle the spectral
    growth of every text.

    Args:
        record: of a prediction, as its prediction.json holds it.
        ax: None for a new figure; else Axes, filled in order.
    """
    steps = sorted({one["step_size"] for one in record["layers"]})
    figure, axes = style.panels(ax, 2 * len(steps), columns=2, height=2.7, below=0.3)
    for i, panel in enumerate(axes):
        (_draw_placements if i % 2 else _draw_layers)(panel, record, steps[i // 2])
    handles: list[Artist] = [
        style.key(label, SHADES[name], marker) for name, (marker, label, _) in QUANTITIES.items()
    ]
    handles.append(style.key("predicted placement", style.COLOURS["implicit"], "o"))
    style.legend(figure, axes, handles, ax is None, columns=2)
    return figure


def _draw_layers(ax: Axes, record: Mapping[str, Any], h: float) -> None:
    rows = [one for one in record["layers"] if one["step_size"] == h]
    chosen = _chosen(record, h)
    for i, (name, (marker, _, sign)) in enumerate(QUANTITIES.items()):
        colours = [
            style.COLOURS["implicit"] if one["layer"] in chosen else SHADES[name] for one in rows
        ]
        x = beside([one["layer"] for one in rows], i, len(QUANTITIES))
        for place, one, colour in zip(x, rows, colours, strict=True):
            value, low, high = (_number(one[name][key]) * sign for key in ("value", "low", "high"))
            ax.vlines(place, low, high, color=colour, linewidth=1)
            sure = name != "spectral_change" or set(one["certain"].values()) == {1.0}
            face = colour if sure else "white"
            ax.plot(
                place,
                value,
                linestyle="none",
                marker=marker,
                markersize=4,
                color=colour,
                markerfacecolor=face,
            )
    ax.axhline(0, color=style.GUIDE, linewidth=0.8, zorder=0)
    layer_axis(ax, sorted(one["layer"] for one in rows))
    ax.set_ylabel("implicit damps more by (nats)")
    ax.set_title(f"$h = {h:g}$, {style.counted(record['config']['texts'], 'text')}")


def _draw_placements(ax: Axes, record: Mapping[str, Any], h: float) -> None:
    rows = [one for one in record["placements"] if one["step_size"] == h]
    y = np.arange(len(rows))[::-1]
    best = _chosen(record, h)
    for place, one in zip(y, rows, strict=True):
        value, low, high = (_number(one["advantage"][key]) for key in ("value", "low", "high"))
        colour = style.COLOURS["implicit"] if set(one["layers"]) == best and best else style.INK
        ax.hlines(place, low, high, color=colour, linewidth=1)
        ax.plot(value, place, linestyle="none", marker="o", markersize=4, color=colour)
    ax.axvline(0, color=style.GUIDE, linewidth=0.8, zorder=0)
    ax.set_yticks(y, [style.placement(one["layers"]) for one in rows])
    ax.set_xlabel("predicted advantage, layers added up (nats)")
    ax.set_ylabel("implicit layers")


def _chosen(record: Mapping[str, Any], h: float) -> set[int]:
    found = record["recommendation"]
    return set(found["layers"]) if found["step_size"] == h else set()


def _number(value: float | None) -> float:
    return np.nan if value is None else value
