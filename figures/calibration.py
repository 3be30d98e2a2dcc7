"""Predicted against measured growth of a fine-tuned model's steps, and where linearity ends, from
the record of a calibration.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from msgspec import UNSET

from figures import style
from figures.findings import number
from figures.records import (
    CalibratedFit,
    CalibratedFlips,
    CalibratedLinearity,
    CalibratedSeries,
    Calibration,
    Growth,
    not_a_number,
)
from figures.template import Shown, shown

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
CAPTION = (
    "Measured log growth of each step on each text over the predicted one, and the "
    "error of the prediction against the size of a perturbation."
)


@dataclasses.dataclass(frozen=True)
class Calibrated:
    """What the page says of a calibration."""

    model: str
    sentences: list[str]
    shown: Shown


@style.house()
def draw(record: Calibration, ax: style.Target = None) -> Figure:
    """Log growth of each step and text, measured over predicted, for each source of the prediction;
    then error over size.

    Args:
        record: of a calibration.
        ax: None for a new figure; else up to three Axes.
    """
    figure, axes = style.panels(ax, 3, columns=3, height=2.7, below=0.4)
    series = smallest(record.series)
    ends = _ends(series)
    for panel, (source, title) in zip(axes, PANELS.items(), strict=False):
        _against(panel, series, source, ends)
        panel.set_title(title)
        _note(panel, [fit for fit in record.fits if fit.source == source])
    if len(axes) > 2:
        _error(axes[2], record.linearity)
    handles = [
        style.key(_name(each), colour=_look(each.kind)[1], marker=_look(each.kind)[0])
        for each in series
    ]
    style.legend(figure, axes, list(handles), ax is None, columns=3)
    return figure


Sized = TypeVar("Sized", CalibratedFit, CalibratedSeries)


def smallest(sized: Sequence[Sized]) -> list[Sized]:
    """Each kind once, at its smallest size."""
    by_kind: dict[str, Sized] = {}
    for each in sized:
        known = by_kind.get(each.kind)
        # an edit and an attack have no size of their own, and one entry
        if known is None or (each.size or 0) < (known.size or 0):
            by_kind[each.kind] = each
    return list(by_kind.values())


def _ends(series: Sequence[CalibratedSeries]) -> tuple[float, float]:
    """Of both axes: they hold all growth, measured and predicted."""
    values = [_array(each.measured) for each in series]
    values += [_predicted(each, source) for each in series for source in PANELS]
    known = np.concatenate([v[np.isfinite(v)] for v in values]) if values else np.zeros(1)
    return float(known.min()) - 0.1, float(known.max()) + 0.1


def _against(
    ax: Axes, series: Sequence[CalibratedSeries], source: str, ends: tuple[float, float]
) -> None:
    ax.plot(ends, ends, color=style.GUIDE, linewidth=0.8, zorder=0)
    for each in series:
        marker, colour = _look(each.kind)
        ax.plot(
            _predicted(each, source).ravel(),
            _array(each.measured).ravel(),
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


def _note(ax: Axes, fits: Sequence[CalibratedFit]) -> None:
    """R² of each kind at its smallest size, over all points and, in newer records, within the steps
    alone.
    """
    rows = smallest(fits)
    has_within = all(row.r_squared_within is not UNSET for row in rows)
    lines = ["R², within layers" if has_within else "R²"]
    for row in rows:
        line = f"{style.plain(row.kind)} {not_a_number(row.r_squared):.2f}"
        if has_within and row.r_squared_within is not UNSET:
            line += f", {not_a_number(row.r_squared_within):.2f}"
        lines.append(line)
    ax.text(
        0.97,
        0.03,
        "\n".join(lines),
        transform=ax.transAxes,
        ha="right",
        va="bottom",
        fontsize=6,
        linespacing=1.3,
        bbox={"facecolor": "white", "alpha": 0.5, "edgecolor": "none", "pad": 1},
    )


def _error(ax: Axes, linearity: Mapping[str, CalibratedLinearity]) -> None:
    """Error of log growth through all steps over the size of the perturbation."""
    through_all = {
        kind: [not_a_number(row[-1]) for row in each.error] for kind, each in linearity.items()
    }
    # a logarithmic axis needs something above 0
    if not any(error > 0 for errors in through_all.values() for error in errors):
        style.nothing(ax)
        return
    for kind, each in linearity.items():
        marker, colour = _look(kind)
        ax.plot(each.sizes, through_all[kind], marker=marker, color=colour, linewidth=1)
        if each.ends is not None:
            ax.axvline(each.ends, color=colour, linewidth=0.6, linestyle=style.LEMNISCATE)
    ax.axhline(0.1, color=style.GUIDE, linewidth=0.8, linestyle=style.LEMNISCATE)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("size of the perturbation, ‖δ‖/‖x‖")
    ax.set_ylabel("error of log growth (nats, median)")
    ends = [
        f"{kind}: no size tried" if each.ends is None else f"{kind}: size {each.ends:.2g}"
        for kind, each in linearity.items()
    ]
    ax.set_title("\n".join(["through all steps; 0.1 nats off at", *ends]))


def _name(series: CalibratedSeries) -> str:
    parts = [style.counted(len(series.measured), "text")]
    if series.sizes.median is not None:
        size = series.sizes.median
        parts.append(f"size {size:.2g}" if series.size is None else f"size {series.size:g}")
    return f"{style.plain(series.kind)} ({', '.join(parts)})"


def _look(kind: str) -> tuple[str, str]:
    return KINDS.get(kind, OTHER)


def _predicted(series: CalibratedSeries, source: str) -> np.ndarray:
    predicted = series.predicted
    return _array(predicted.fine_tuned if source == "fine-tuned" else predicted.pretrained)


def _array(growth: Growth) -> np.ndarray:
    return np.array([[not_a_number(value) for value in row] for row in growth], dtype=float)


def tell(record: Calibration, folder: Path) -> Calibrated:
    """What story.html.j2 shows of a calibration, its figure written into a folder."""
    drawn = draw(record)
    return Calibrated(
        model=record.meta.model,
        sentences=[
            *(_fit(fit) for fit in _first_of_each(record.fits)),
            *(_flip(name, flips) for name, flips in record.flips.items()),
        ],
        shown=shown(
            drawn, folder, "story_calibration", "Predicted against measured growth", CAPTION
        ),
    )


def _first_of_each(fits: Sequence[CalibratedFit]) -> list[CalibratedFit]:
    """Each kind and source at its smallest size, which a record names first."""
    by_kind: dict[tuple[str, str], CalibratedFit] = {}
    for fit in fits:
        by_kind.setdefault((fit.kind, fit.source), fit)
    return list(by_kind.values())


def _fit(fit: CalibratedFit) -> str:
    size = "" if fit.size is None else f" of size {number(fit.size)}"
    within = ""
    if fit.r_squared_within is not UNSET:
        within = (
            f" (within layers {number(fit.r_squared_within)}; the layers' "
            f"means alone {number(fit.layer_means)})"
        )
    return (
        f"{fit.kind}{size}, from the {fit.source} linearisation: "
        f"R² {number(fit.r_squared)}{within}, "
        f"slope {number(fit.slope)} ({number(fit.slope_low)} to {number(fit.slope_high)}), "
        f"agreement {number(fit.agreement)}."
    )


def _flip(name: str, flips: CalibratedFlips) -> str:
    """What sets pairs that flip apart; growth through all steps is chosen by its own outcome, and
    is said to be so.
    """
    difference = number(flips.difference, 2)
    auroc = "" if flips.auroc is UNSET else f", AUROC {number(flips.auroc, 2)}"
    evidence = (
        f"{number(flips.low, 2)} to {number(flips.high, 2)}, p = {number(flips.p_value, 2)}"
        f"{auroc}; {flips.flipped} and {flips.held} pairs"
    )
    if name == "margin":
        return (
            f"Margin of the originals of pairs that flip: {difference} above the others' "
            f"({evidence})."
        )
    caution = ""
    if name == "measured":
        caution = " The answer is read off the last state: this is chosen by its own outcome."
    return (
        f"{name} growth of edits that flip the answer: {difference} nats above the others' "
        f"({evidence}).{caution}"
    )
