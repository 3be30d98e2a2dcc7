"""Which scores foretell that an attack flips an input, how well predicted flip rates are
calibrated, and when an edit's fate is decided: from the record of a verdict.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.flips.records import (
    CHANCE,
    Calibration,
    Estimate,
    Fate,
    Flips,
    Ranking,
    principal_scores,
)
from figures import style
from figures.records import not_a_number

PRIMARY = "#CC79A7"  # none of the colours that methods have
FITS = {"confidence": ("o", "#56B4E9"), "gradient": ("D", PRIMARY), "together": ("s", style.INK)}
SIZES = {
    "whole": ("all tokens", "s", "#E69F00"),
    "first": ("the first token", "o", style.INK),
    "read": ("what the classifier reads", "^", "#56B4E9"),
}
ROW = 0.19  # inches of a score
HEADING = 0.75  # inches of a panel beside its scores
BESIDE = 0.18  # between the two populations, in rows
PANEL = 3.0  # inches of a panel that stands alone


@style.house()
def draw_scores(record: Flips, ax: style.Target = None) -> Figure:
    """AUROC of each score for a flip with its interval, one panel for each attack; confidence is
    the line to compare with.

    Full markers are inputs that the models get right, hollow ones those that no draft flips.

    Args:
        record: of a verdict.
        ax: None for a new figure; else one Axes for each attack.
    """
    right = record.pooled("right")
    names = principal_scores(record.definitions)
    height = HEADING + ROW * len(names)
    figure, axes = style.panels(
        ax, len(right), columns=3, height=height, below=0.3, sharex=True, sharey=True
    )
    for panel, ranking in zip(axes, right, strict=False):
        unflipped = [each for each in record.pooled("unflipped") if same_group(each, ranking)]
        _reference(panel, ranking)
        _column(panel, ranking, names, -BESIDE, record.primary.score, hollow=False)
        for each in unflipped:
            _column(panel, each, names, BESIDE, record.primary.score, hollow=True)
        flips = f"{ranking.flipped} of {ranking.inputs} flip"
        panel.set_title(f"{style.plain(title_of(record, ranking))}: {flips}")
        panel.set_yticks(range(len(names)), [style.plain(name) for name in names])
        panel.set_ylim(len(names) - 0.5, -0.5)
        panel.set_xlabel("AUROC for a flip")
        panel.axvline(CHANCE, color=style.FAINT, linewidth=0.6, zorder=0)
    handles = [
        style.key("right answers", style.INK, "o"),
        style.key("of them, no draft flips", style.INK, "o", hollow=True),
        style.key("fixed beforehand", PRIMARY, "o"),
        style.key("confidence", style.GUIDE, line=style.PREDICTED, width=1),
    ]
    style.legend(figure, axes, list(handles), ax is None, columns=4)
    return figure


def _reference(ax: Axes, ranking: Ranking) -> None:
    """Confidence among right answers, with its interval, behind all scores."""
    found = ranking.score("confidence").auroc
    if found.value is None:
        return
    ax.axvline(found.value, color=style.GUIDE, linewidth=1, linestyle=style.PREDICTED, zorder=0)
    if found.low is not None and found.high is not None:
        ax.axvspan(found.low, found.high, color=style.GUIDE, alpha=0.15, linewidth=0, zorder=-1)


def _column(
    ax: Axes, ranking: Ranking, names: Sequence[str], shift: float, primary: str, hollow: bool
) -> None:
    found = {score.name: score.auroc for score in ranking.scores}
    for place, name in enumerate(names):
        if name not in found or found[name].value is None:
            continue
        is_primary = name == primary and ranking.primary
        colour = PRIMARY if is_primary else style.INK
        low, high = ends(found[name])
        ax.hlines(place + shift, low, high, color=colour, linewidth=0.9)
        ax.plot(
            not_a_number(found[name].value),
            place + shift,
            marker="o",
            markersize=3.2,
            color=colour,
            markerfacecolor="white" if hollow else colour,
        )


@style.house()
def draw_flip_rates(record: Flips, ax: style.Target = None) -> Figure:
    """Observed over predicted flip rates in tenths of the inputs, one panel for each attack with
    a fit.

    Args:
        record: of a verdict.
        ax: None for a new figure; else one Axes for each attack with a fit.
    """
    fitted = [each for each in record.pooled("right") if each.calibration is not None]
    count = max(len(fitted), 1)
    width = min(3, count) * style.WIDTH / 3 if count > 1 else PANEL
    figure, axes = style.panels(ax, count, columns=3, height=2.5, width=width, below=0.3)
    if not fitted:
        style.nothing(axes[0], "too few inputs flip, or hold, for a fit")
    for panel, ranking in zip(axes, fitted, strict=False):
        assert ranking.calibration is not None
        _reliability(panel, ranking.calibration)
        panel.set_title(style.plain(title_of(record, ranking)))
    handles = [style.key(name, colour, marker) for name, (marker, colour) in FITS.items()]
    style.legend(figure, axes, list(handles), ax is None)
    return figure


def _reliability(ax: Axes, found: Calibration) -> None:
    ax.plot([0, 1], [0, 1], color=style.GUIDE, linewidth=0.8, zorder=0)
    base = found.flipped / found.inputs
    ax.axhline(base, color=style.FAINT, linewidth=0.8, linestyle=style.LEMNISCATE, zorder=0)
    for fit in found.fits:
        marker, colour = FITS.get(fit.name, ("P", style.FAINT))
        predicted = [each.predicted for each in fit.bins]
        observed = [not_a_number(each.observed.value) for each in fit.bins]
        low, high = zip(*(ends(each.observed) for each in fit.bins), strict=True)
        ax.vlines(predicted, low, high, color=colour, linewidth=0.7, alpha=0.7, clip_on=False)
        ax.plot(
            predicted,
            observed,
            marker=marker,
            markersize=3,
            color=colour,
            linewidth=0.8,
            clip_on=False,  # many a tenth lies at 0 or 1
        )
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_aspect("equal")
    ax.set_xlabel("predicted flip rate")
    if style.is_leftmost(ax):
        ax.set_ylabel("observed share of flips")


@style.house()
def draw_fates(record: Flips, ax: style.Target = None) -> Figure:
    """AUROC of the size of an edit's difference over the margin, after each layer; each model's
    own lines are thin where several are drawn together.

    Args:
        record: of a verdict with edits.
        ax: None for a new figure; else one Axes for each record that is shown.
    """
    fates = shown_fates(record)
    columns = min(2, max(len(fates), 1))
    width = style.WIDTH if columns > 1 else 0.6 * style.WIDTH
    figure, axes = style.panels(
        ax, max(len(fates), 1), columns=columns, height=2.7, width=width, below=0.45
    )
    if not fates:
        style.nothing(axes[0], "no record of edits was given")
    for panel, fate in zip(axes, fates, strict=False):
        for other in record.fates:
            if other is not fate and len(fate.models) > 1:
                _through_depth(panel, other, alone=True)
        _through_depth(panel, fate, alone=False)
        title = f"{fate.flipped} of {style.counted(fate.pairs, 'edit')} flip"
        panel.set_title(title if len(fates) == 1 else f"{style.plain(fate.model)}: {title}")
    handles = [style.key(name, colour, marker) for name, marker, colour in SIZES.values()]
    handles += [
        style.key("the margin alone", style.GUIDE, line=style.PREDICTED, width=1),
        style.key("‖δ₀‖ alone", style.GUIDE, line=style.LEMNISCATE, width=1),
    ]
    style.legend(figure, axes, list(handles), ax is None, columns=3)
    return figure


def shown_fates(record: Flips) -> list[Fate]:
    """All models together where they are, else each."""
    together = [fate for fate in record.fates if len(fate.models) > 1]
    return together or list(record.fates)


def _through_depth(ax: Axes, fate: Fate, alone: bool) -> None:
    levels = np.arange(len(fate.whole))
    for size, (_, marker, colour) in SIZES.items():
        row: list[Estimate] = fate[size]
        values = np.array([not_a_number(each.value) for each in row])
        if alone:
            ax.plot(levels, values, color=colour, linewidth=0.5, alpha=0.5)
            continue
        low, high = np.array([ends(each) for each in row]).T
        ax.fill_between(levels, low, high, color=colour, alpha=0.15, linewidth=0)
        ax.plot(levels, values, marker=marker, markersize=3, color=colour, linewidth=1.2)
    if not alone:
        for found, line in ((fate.margin, style.PREDICTED), (fate.size, style.LEMNISCATE)):
            if found.value is not None:
                ax.axhline(found.value, color=style.GUIDE, linewidth=1, linestyle=line, zorder=0)
        ax.set_xlabel("after layer")
        ax.set_xticks(levels if len(levels) <= 14 else levels[::2])
        ax.set_ylim(min(0.4, ax.get_ylim()[0]), 1.02)
        if style.is_leftmost(ax):
            ax.set_ylabel("AUROC of ‖δ‖ over the margin,\nfor a flip")


def same_group(a: Ranking, b: Ranking) -> bool:
    """Of one attack, task and kind of model."""
    return (a.attack, a.task, a.kind) == (b.attack, b.task, b.kind)


def title_of(record: Flips, ranking: Ranking) -> str:
    """The attack, after task and kind where there are several of them."""
    if not record.has_groups:
        return ranking.attack
    return f"{ranking.task}, {ranking.kind or 'all kinds'}\n{ranking.attack}"


def ends(found: Estimate) -> tuple[float, float]:
    """Of the interval; of no width at the value where there is none."""
    value = not_a_number(found.value)
    if found.low is None or found.high is None:
        return value, value
    return found.low, found.high
