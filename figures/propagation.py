"""How perturbations grow through depth: measured beside the linear prediction, and where the two
part.
"""

import dataclasses

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.summary import METHODS, Curves, Summary
from figures import selection, style

ORDER = ("gaussian", "worst", "typo", "synonym", "negation", "edit")
TITLES = {"gaussian": "Gaussian noise", "worst": "worst direction"}


@style.house()
def draw(
    summary: Summary,
    ax: style.Target = None,
    step_size: float | None = None,
    *,
    perturbation: str | None = None,
) -> Figure:
    """Growth G_l = ‖x̃_l − x_l‖/‖x̃_0 − x_0‖ against depth, one panel for each kind of
    perturbation.

    Solid: measured, median over examples with the 10–90 % band. Dashed: predicted by the product of
    step derivatives. Of several sizes of a synthetic perturbation the smallest is drawn.

    Args:
        summary: the records.
        ax: None for a new figure, one Axes for one panel, or an array of Axes to fill.
        step_size: h; by default 1, or the largest measured.
        perturbation: the only kind to draw.

    Raises:
        ValueError: if the step size or the kind was not measured.
    """
    curves = at_step_size(summary, step_size)
    kinds = kinds_of(curves)
    if perturbation is not None:
        if perturbation not in kinds:
            raise ValueError(f"perturbation must be one of {kinds}, got {perturbation!r}")
        kinds = [perturbation]
    figure, axes = style.panels(ax, max(len(kinds), 1), height=2.2, below=0.5, sharey=True)
    for panel, kind in zip(axes, kinds, strict=False):
        _draw_kind(panel, smallest(curves, kind))
    if not kinds:
        style.nothing(axes[0])
        _label(axes[0])
    for panel in axes:
        if len(axes) == 1 or style.is_leftmost(panel):
            panel.set_ylabel(r"$G_l = \|\tilde{x}_l - x_l\|\,/\,\|\tilde{x}_0 - x_0\|$")
    drawn = [one for kind in kinds[: len(axes)] for one in smallest(curves, kind)]
    style.legend(figure, axes, _handles(drawn), ax is None)
    return figure


@style.house()
def draw_linearity(
    summary: Summary, ax: style.Target = None, step_size: float | None = None
) -> Figure:
    """Prediction error |log G_L measured − log G_L predicted| at the last layer against the size of
    a Gaussian perturbation.
    """
    curves = [
        one
        for one in at_step_size(summary, step_size)
        if one.perturbation == "gaussian" and one.size > 0
    ]
    figure, axes = style.panels(ax, 1, height=2.8, width=0.6 * style.WIDTH)
    panel, failed, handles = axes[0], False, list[Artist]()
    for method in METHODS:
        ours = sorted((one for one in curves if one.method == method), key=lambda one: one.size)
        found = selection.band(np.array([prediction_error(one) for one in ours]).T).positive()
        if np.isfinite(found.median).any():
            colour, marked = style.COLOURS[method], [not one.converged.all() for one in ours]
            _draw_band(panel, np.array([one.size for one in ours]), found, method, np.array(marked))
            handles.append(
                style.key(style.NAMES[method], colour, "o", "-", width=style.LINE_WIDTHS[method])
            )
            failed |= any(marked)
    if failed:
        handles.append(_hollow())
    if handles:
        panel.set(xscale="log", yscale="log")
        _slope_one(panel)
        handles.append(style.key("slope 1", style.GUIDE, line="-", width=0.8))
        panel.legend(handles=handles, loc="upper left")
    else:
        style.nothing(panel)
    panel.set_xlabel(r"relative size of the perturbation $\|\delta_0\|\,/\,\|x_0\|$")
    panel.set_ylabel(r"$|\log G_L^\mathrm{measured} - \log G_L^\mathrm{predicted}|$")
    panel.set_title(
        f"Gaussian noise ({_examples(curves)})"
        + (f", $h = {curves[0].step_size:g}$" if curves else "")
    )
    return figure


def at_step_size(summary: Summary, wanted: float | None = None) -> list[Curves]:
    """The curves at one step size; an example whose implicit solve failed is left out from that
    layer on.
    """
    h = selection.step_size([one.step_size for one in summary.curves], wanted)
    return [solved(one) for one in summary.curves if one.step_size == h]


def solved(curves: Curves) -> Curves:
    """The curves with NaN after a solve that did not converge: what was computed there is not the
    method's growth.
    """
    holds = np.logical_and.accumulate(
        np.concatenate([np.ones((len(curves.converged), 1), bool), curves.converged], axis=1),
        axis=1,
    )
    measured, predicted = (
        np.where(holds, values, np.nan) for values in (curves.measured, curves.predicted)
    )
    return dataclasses.replace(curves, measured=measured, predicted=predicted)


def kinds_of(curves: list[Curves]) -> list[str]:
    """The kinds of perturbation, synthetic ones first, kinds we have no name for last."""
    return sorted(
        {one.perturbation for one in curves},
        key=lambda kind: (ORDER.index(kind) if kind in ORDER else len(ORDER), kind),
    )


def smallest(curves: list[Curves], kind: str) -> list[Curves]:
    """The curves of one kind at its smallest size, explicit before implicit; all of them where an
    edit decides the size.
    """
    ours = [one for one in curves if one.perturbation == kind]
    sizes = [one.size for one in ours if np.isfinite(one.size)]
    return sorted(
        (one for one in ours if not sizes or one.size == min(sizes)),
        key=lambda one: METHODS.index(one.method),
    )


def prediction_error(curves: Curves) -> np.ndarray:
    """|log G_L measured − log G_L predicted|, one per example; NaN where either is not positive."""
    last = np.stack([curves.measured[:, -1], curves.predicted[:, -1]]).astype(float)
    logs = np.log(np.where(last > 0, last, np.nan))
    return np.asarray(np.abs(logs[0] - logs[1]))


def failures(curves: Curves) -> int:
    """Examples of which some implicit or linear solve did not converge."""
    return int((~curves.converged.all(axis=1)).sum())


def _draw_kind(ax: Axes, curves: list[Curves]) -> None:
    for one in curves:
        colour, depth = style.COLOURS[one.method], np.arange(one.measured.shape[1])
        failed = np.concatenate([[False], ~one.converged.all(axis=0)])
        _draw_band(ax, depth, selection.band(one.measured).positive(), one.method, failed)
        predicted = selection.band(one.predicted).positive().median
        ax.plot(
            depth,
            predicted,
            linestyle=style.PREDICTED,
            color=style.darker(colour),
            linewidth=0.9,
            zorder=4,
        )
    kind = curves[0].perturbation
    name = f"{style.plain(TITLES.get(kind, kind))} ({_examples(curves)})"
    notes = [
        f"{failures(one)} of {len(one.measured)} not solved, left out"
        for one in curves
        if failures(one)
    ]
    ax.set_title("\n".join(line for line in (name, _size(curves[0].size), *notes) if line))
    _label(ax, curves[0].step_size)


def _label(ax: Axes, h: float | None = None) -> None:
    style.logarithmic_growth(ax)
    ax.axhline(1, color=style.GUIDE, linewidth=0.6, zorder=0)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("layers passed $l$" if h is None else f"layers passed $l$, $h = {h:g}$")


def _draw_band(
    ax: Axes, x: np.ndarray, found: selection.Band, method: str, failed: np.ndarray
) -> None:
    colour, width = style.COLOURS[method], style.LINE_WIDTHS[method]
    ax.fill_between(x, found.low, found.high, color=colour, alpha=0.18, linewidth=0)
    ax.plot(x, found.median, linestyle=style.MEASURED, color=colour, linewidth=width)
    ax.plot(
        x[~failed],
        found.median[~failed],
        linestyle="none",
        marker="o",
        markersize=3.5,
        color=colour,
        zorder=3,
    )
    ax.plot(
        x[failed],
        found.median[failed],
        linestyle="none",
        marker="o",
        markersize=4.5,
        color=colour,
        markerfacecolor="white",
        zorder=5,
    )


def _slope_one(ax: Axes) -> None:
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    ratio = np.sqrt(bottom * top) / np.sqrt(left * right)
    ax.plot(
        [left, right], [ratio * left, ratio * right], color=style.GUIDE, linewidth=0.8, zorder=0
    )
    ax.set(xlim=(left, right), ylim=(bottom, top))


def _handles(curves: list[Curves]) -> list[Artist]:
    """Column by column, as a legend is filled: measured, predicted, bands."""
    measured, predicted, bands = list[Artist](), list[Artist](), list[Artist]()
    for method in METHODS:
        colour, name = style.COLOURS[method], style.NAMES[method]
        measured.append(
            style.key(
                f"{name}, measured (median)",
                colour,
                "o",
                style.MEASURED,
                width=style.LINE_WIDTHS[method],
                size=3.5,
            )
        )
        predicted.append(
            style.key(
                f"{name}, linear prediction", style.darker(colour), line=style.PREDICTED, width=0.9
            )
        )
        bands.append(
            style.swatch(f"{name}, 10–90 % of examples", color=colour, alpha=0.18, linewidth=0)
        )
    return [
        *measured,
        *([_hollow()] if any(failures(one) for one in curves) else []),
        *predicted,
        *bands,
    ]


def _hollow() -> Artist:
    return style.key("hollow: some example not solved, left out", style.INK, "o", hollow=True)


def _examples(curves: list[Curves]) -> str:
    return f"n = {len(curves[0].measured)}" if curves else "n = 0"


def _size(size: float) -> str:
    if not size > 0:
        return ""
    exponent = int(np.floor(np.log10(size) + 1e-9))
    factor = size / 10.0**exponent
    power = (
        rf"10^{{{exponent}}}" if np.isclose(factor, 1) else rf"{factor:.2g}\times10^{{{exponent}}}"
    )
    return rf"$\|\delta_0\| = {power}\,\|x_0\|$"
