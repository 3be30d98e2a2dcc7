"""Predicted against measured growth of a fine-tuned model's steps, and where linearity ends, from
the plain record of a calibration.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import style

PANELS = {
    "fine-tuned": "predicted from its own\nlinearisation",
    "pretrained": "predicted from the\npretrained checkpoint",
}
KINDS = {  # none of the colours that methods have
    "gaussian": ("o", "#56B4E9"),
    "worst": ("D", "#E69F00"),
    "attack": ("^", "#CC79A7"),
    "flipped": ("v", style.INK),
    "held": ("s", style.GUIDE),
}
OTHER = ("P", style.FAINT)


@style.house()
def draw(record: Mapping[str, Any], ax: style.Target = None) -> Figure:
    """Log growth of each step and text, measured over predicted, for each source of the prediction;
    then error over size.

    Args:
        record: of a calibration, as its calibration.json holds it.
        ax: None for a new figure; else up to three Axes.
    """
    figure, axes = style.panels(ax, 3, columns=3, height=2.7, below=0.4)
    shown = _smallest(record["series"])
    values = [_array(one["measured"]) for one in shown] + [
        _array(one["predicted"][source]) for one in shown for source in PANELS
    ]
    known = np.concatenate([v[np.isfinite(v)] for v in values]) if values else np.zeros(1)
    ends = (float(known.min()) - 0.1, float(known.max()) + 0.1)
    for panel, (source, title) in zip(axes, PANELS.items(), strict=False):
        _against(panel, shown, source, ends)
        panel.set_title(title)
        panel.text(
            0.97,
            0.03,
            _told(record["fits"], source),
            transform=panel.transAxes,
            ha="right",
            va="bottom",
            fontsize=6,
            linespacing=1.3,
            bbox={"facecolor": "white", "alpha": 0.5, "edgecolor": "none", "pad": 1},
        )
    if len(axes) > 2:
        _error(axes[2], record["linearity"])
    handles = [
        style.key(_named(one), _look(one["kind"])[1], _look(one["kind"])[0]) for one in shown
    ]
    style.legend(figure, axes, list(handles), ax is None, columns=3)
    return figure


def _against(
    ax: Axes, shown: Sequence[Mapping[str, Any]], source: str, ends: tuple[float, float]
) -> None:
    ax.plot(ends, ends, color=style.GUIDE, linewidth=0.8, zorder=0)
    for one in shown:
        marker, colour = _look(one["kind"])
        ax.plot(
            _array(one["predicted"][source]).ravel(),
            _array(one["measured"]).ravel(),
            linestyle="none",
            marker=marker,
            markersize=2.2,
            color=colour,
            alpha=0.6,
            markeredgewidth=0,
        )
    ax.set_xlim(ends)
    ax.set_ylim(ends)
    ax.set_aspect("equal")
    ax.set_xlabel("predicted log growth (nats)")
    if style.is_leftmost(ax):
        ax.set_ylabel("measured log growth of each step (nats)")


def _error(ax: Axes, found: Mapping[str, Any]) -> None:
    """Error of log growth through all steps over the size of the perturbation."""
    if not any(_number(row[-1]) > 0 for one in found.values() for row in one["error"]):
        style.nothing(ax)
        return
    for kind, one in found.items():
        marker, colour = _look(kind)
        ax.plot(
            one["sizes"],
            [_number(row[-1]) for row in one["error"]],
            marker=marker,
            color=colour,
            linewidth=1,
        )
        if one["ends"] is not None:
            ax.axvline(one["ends"], color=colour, linewidth=0.6, linestyle=style.LEMNISCATE)
    ax.axhline(0.1, color=style.GUIDE, linewidth=0.8, linestyle=style.LEMNISCATE)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("size of the perturbation, ‖δ‖/‖x‖")
    ax.set_ylabel("error of log growth (nats, median)")
    ends = ", ".join(
        f"{kind} {one['ends']:.2g}" if one["ends"] is not None else f"{kind} beyond"
        for kind, one in found.items()
    )
    ax.set_title(f"through all steps; 0.1 nats at\n{ends}")


def _smallest(series: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Each kind once, at its smallest size."""
    found: dict[str, Mapping[str, Any]] = {}
    for one in series:
        if one["kind"] not in found or (one["size"] or 0) < (found[one["kind"]]["size"] or 0):
            found[one["kind"]] = one
    return list(found.values())


def _told(fits: Sequence[Mapping[str, Any]], source: str) -> str:
    """R² of each kind at its smallest size, over all points and, in newer records, within the steps
    alone.
    """
    rows = _smallest([row for row in fits if row["source"] == source])
    if not all("r_squared_within" in row for row in rows):
        return "\n".join(
            ["R²", *(f"{style.plain(row['kind'])} {_number(row['r_squared']):.2f}" for row in rows)]
        )
    lines = [
        f"{style.plain(row['kind'])} "
        f"{_number(row['r_squared']):.2f}, {_number(row['r_squared_within']):.2f}"
        for row in rows
    ]
    return "\n".join(["R², within layers", *lines])


def _named(one: Mapping[str, Any]) -> str:
    sizes = one["sizes"]["median"]
    told = (
        ""
        if sizes is None
        else f", size {sizes:.2g}"
        if one["size"] is None
        else f", size {one['size']:g}"
    )
    return f"{style.plain(one['kind'])} ({style.counted(len(one['measured']), 'text')}{told})"


def _look(kind: str) -> tuple[str, str]:
    return KINDS.get(kind, OTHER)


def _array(values: Any) -> np.ndarray:
    return np.array([[_number(value) for value in row] for row in values], dtype=float)


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)
