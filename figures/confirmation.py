"""Predicted against measured robustness of placements of implicit steps, from the plain record of a
confirmation.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from figures import style


@style.house()
def draw(record: Mapping[str, Any], ax: style.Target = None) -> Figure:
    """Each placement's measured outcome over its predicted advantage, with 95 % intervals, and its
    accuracy on dev beside it.

    The explicit model, whose outcome is 0 by definition and which is not ranked, is a hollow
    marker.

    Args:
        record: of a confirmation, as its confirmation.json holds it.
        ax: None for a new figure; else one or two Axes.
    """
    figure, axes = style.panels(ax, 2, columns=2, height=2.9, width_ratios=[2, 1])
    rows = record["outcomes"]
    panel = axes[0]
    for one in rows:
        x, colour = one["predicted"], style.COLOURS["implicit" if one["layers"] else "explicit"]
        panel.hlines(
            _number(one["measured"]),
            _number(x["low"]),
            _number(x["high"]),
            color=colour,
            linewidth=0.8,
        )
        panel.vlines(
            _number(x["value"]),
            _number(one["low"]),
            _number(one["high"]),
            color=colour,
            linewidth=0.8,
        )
        panel.plot(
            _number(x["value"]),
            _number(one["measured"]),
            linestyle="none",
            marker="o",
            markersize=4,
            color=colour,
            markerfacecolor=colour if one["layers"] else "white",
        )
        panel.annotate(
            style.placement(one["layers"]),
            (_number(x["value"]), _number(one["measured"])),
            (3, 3),
            textcoords="offset points",
            fontsize=6,
        )
    panel.axhline(0, color=style.GUIDE, linewidth=0.8, zorder=0)
    panel.set_xlabel("predicted advantage, layers added up (nats)")
    panel.set_ylabel(
        "flipped more rarely than the explicit\nmodel by "
        f"{style.plain(record['attack'])} (share of examples)"
    )
    panel.set_title("\n".join(_told(one) for one in record["correlations"]))
    if len(axes) > 1:
        y = np.arange(len(rows))
        for place, one in zip(y, rows, strict=True):
            colour = style.COLOURS["implicit" if one["layers"] else "explicit"]
            axes[1].plot(
                _number(one["dev"]), place, linestyle="none", marker="o", markersize=4, color=colour
            )
        axes[1].set_yticks(y, [style.placement(one["layers"]) for one in rows])
        axes[1].set_xlim(0, 1)
        axes[1].set_xlabel("accuracy on dev")
        axes[1].set_ylabel("implicit layers")
    return figure


def _told(one: Mapping[str, Any]) -> str:
    if one["value"] is None:
        return f"{one['name']}: undefined"
    low, high = (_number(one[key]) for key in ("low", "high"))
    return (
        f"{one['name']} {one['value']:+.2f} [{low:+.2f}, "
        f"{high:+.2f}], p = {_number(one['p_value']):.2g}"
    )


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)
