"""What one step of each layer does to a perturbation: worst and spectral growth, hμ₂, and the
implicit advantage.
"""

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.quantities import METHODS
from analysis.run import Measurements
from figures import readings, selection, style
from figures.findings import NOTHING, number, numbers_of, share
from figures.layer_rows import layer_rows
from figures.picture import Picture
from figures.whiskers import Series, beside, growth_above_norm, layer_axis, whiskers

MARKERS = {"worst": "o", "spectral": "D"}
SETTLED = {"worst": "worst_growth_converged", "spectral": "spectral_growth_certain"}
MEANINGS = {
    "worst": "worst growth (largest singular value)",
    "spectral": r"spectral growth $\max|R(h\lambda)|$",
}
WORDS = {"growth": "growth over one step", "norm": r"$h\mu_2(J)$"}
STEP_MARKERS = ("o", "s", "^", "v", "P", "X")


@style.house()
def draw(run: Measurements, ax: style.Target = None, step_size: float | None = None) -> Figure:
    """Worst and spectral growth of one step per layer, explicit against implicit Euler; below it
    hμ₂ with the line hμ₂ = 1.

    Markers are medians over texts, whiskers 10–90 %; hollow where some text's value did not
    converge or is only a lower bound.

    Args:
        run: what was measured.
        ax: None for a new figure; one Axes for the growth alone; two for growth and hμ₂.
        step_size: h; by default 1, or the largest measured.

    Raises:
        ValueError: if the step size was not measured.
    """
    h, growth = selection.at(run, "growth", step_size)
    return growth_above_norm(
        ax,
        h,
        growth,
        _growth_series(growth),
        _norm_series(growth, h),
        WORDS,
        _handles,
        height=1.95,
        columns=2,
    )


@style.house()
def draw_advantage(run: Measurements, ax: style.Target = None) -> Figure:
    """Implicit advantage, the mean of log(‖Eδ‖/‖M⁻¹δ‖) over random δ, per layer and step size:
    median over texts and 10–90 %.
    """
    steps, layers = selection.steps_of(run, "growth"), selection.layers_of(run["growth"])
    figure, axes = style.panels(ax, 1, height=2.5, below=0.15)
    panel, handles = axes[0], list[Artist]()
    shades = np.linspace(0.68, 0.1, len(steps)) if len(steps) > 1 else [0.1]
    any_hollow = False
    for i, h in enumerate(steps):
        _, growth = selection.at(run, "growth", h)
        shade, marker = str(float(shades[i])), STEP_MARKERS[i % len(STEP_MARKERS)]
        advantage = growth["advantage"].transpose("text", "layer")
        hollow = selection.uncertain(advantage, growth["solve_status"] == 0)
        any_hollow |= bool(hollow.any())
        band = selection.band(advantage)
        x = beside(layers, i, len(steps))
        whiskers(panel, x, band, shade, marker, hollow)
        name = f"implicit advantage, h = {number(h)}"
        readings.leave(panel, name, readings.by_layer(layers), x, advantage, style.INK)
        handles.append(style.key(f"$h = {h:g}$", shade, marker))
    if any_hollow:
        handles.append(style.hollow("some text not solved"))
    panel.axhline(0, color=style.GUIDE, linewidth=0.8, zorder=0)
    layer_axis(panel, layers)
    panel.set_ylabel(
        "implicit advantage\n" r"$\langle\log(\|E\delta\|\,/\,\|M^{-1}\delta\|)\rangle$"
    )
    # the panel of a run without growth says that it was not measured
    if handles:
        low, high = panel.get_ylim()
        reach = 0.08 * max(high - low, 1e-9)
        panel.set_ylim(min(low, -2 * reach), max(high, 2 * reach))  # both directions stay in sight
        _directions(panel)
        style.legend(figure, axes, handles, ax is None, columns=6)
    else:
        style.nothing(panel)
    return figure


def _growth_series(growth: xr.Dataset) -> list[Series]:
    """Worst and spectral growth of both methods."""
    return [
        Series(
            growth[f"{quantity}_growth"].sel(scheme=method),
            growth[SETTLED[quantity]].sel(scheme=method),
            style.COLOURS[method],
            marker,
            f"{quantity} growth, {method}",
        )
        for quantity, marker in (MARKERS.items() if growth else ())
        for method in METHODS
    ]


def _norm_series(growth: xr.Dataset, h: float) -> list[Series]:
    if not growth:
        return []
    norm, settled = growth["logarithmic_norm"], growth["logarithmic_norm_converged"]
    return [Series(h * norm, settled, style.INK, "s", "hμ₂")]


def _handles(any_hollow: bool) -> list[Artist]:
    """Column by column, as a legend is filled: worst growth, spectral growth."""
    worst, spectral = [
        [
            style.key(f"{style.NAMES[method]}: {meaning}", style.COLOURS[method], MARKERS[quantity])
            for method in METHODS
        ]
        for quantity, meaning in MEANINGS.items()
    ]
    hollow = [style.hollow("some text not converged, or a lower bound")] if any_hollow else []
    return [*worst, *hollow, *spectral]


def _directions(ax: Axes) -> None:
    for method, anchor, alignment in (("implicit", 0.98, "top"), ("explicit", 0.02, "bottom")):
        arrow = "↑" if method == "implicit" else "↓"
        colour = style.COLOURS[method]
        ax.text(
            1.01,
            anchor,
            f"{arrow} {method}\ndamps more",
            transform=ax.transAxes,
            ha="left",
            va=alignment,
            fontsize=7,
            color=colour,
        )


def finding(run: Measurements, step_size: float | None = None) -> str:
    """Where the explicit step amplifies most, and in how many layers the implicit one amplifies
    less.
    """
    rows = layer_rows(run, step_size)
    known = [row for row in rows if all(np.isfinite(row.worst[method]) for method in METHODS)]
    if not known:
        return NOTHING
    layers = numbers_of(rows)
    top = max(known, key=lambda row: row.worst["explicit"])
    # A comparison with NaN is false: a layer that is not known counts as none.
    lower = [row.layer for row in rows if row.worst["implicit"] < row.worst["explicit"]]
    spectral = [row.layer for row in rows if row.spectral["implicit"] < row.spectral["explicit"]]
    verb, most = ("amplifies", " most") if top.worst["explicit"] > 1 else ("damps", " least")
    verb = f"{verb} worst-case perturbations{most if len(rows) > 1 else ''}"
    text = (
        f"At h = {number(top.step_size)} the explicit Euler step {verb} in layer "
        f"{top.layer} (median {number(top.worst['explicit'])}×); "
        f"the implicit step has the smaller worst growth in {share(lower, layers)} and the "
        f"smaller spectral growth in {share(spectral, layers)}."
    )
    if unsettled := [row.layer for row in rows if not row.settled]:
        text += (
            " Values that did not converge or are lower bounds enter this in "
            f"{share(unsettled, layers)}."
        )
    return text


def finding_on_advantage(run: Measurements) -> str:
    """For every step size in how many layers the implicit step damps random perturbations more."""
    counts = []
    for h in selection.steps_of(run, "growth"):
        rows = layer_rows(run, h)
        ahead = {name: sum(row.damps_more() == name for row in rows) for name in METHODS}
        if len(rows) == 1:
            which = next((f"the {name} one" for name in METHODS if ahead[name]), "neither")
            counts.append(f"at h = {number(h)} {which}, in layer {rows[0].layer}")
            continue
        counts.append(
            f"at h = {number(h)} the implicit one in {ahead['implicit']}, the "
            f"explicit one in {ahead['explicit']} of {len(rows)} layers"
        )
    if not counts:
        return NOTHING
    told = "Which step damps random perturbations more, by over two standard errors: "
    return f"{told}{'; '.join(counts)}."


GROWTH = Picture(
    quantity="growth",
    title="Growth over one step of each layer",
    name="growth",
    draw=lambda run, h: draw(run, step_size=h),
    finding=finding,
    caption="Worst and spectral growth over one step of each layer, and below it "
    "hμ₂. Medians over texts, whiskers from the 10th to the 90th "
    "percentile; hollow where some text did not converge or has only a lower bound.",
    always=True,
    about=("worst growth", "spectral growth", "logarithmic norm"),
    medians=True,
)
ADVANTAGE = Picture(
    quantity="growth",
    title="Which step damps random perturbations more",
    name="advantage",
    draw=lambda run, h: draw_advantage(run),
    finding=lambda run, h: finding_on_advantage(run),
    caption="Implicit advantage of each layer and step size. Medians over "
    "texts, whiskers from the 10th to the 90th percentile; hollow where some text "
    "was not solved.",
    always=True,
    about=("implicit solve", "residual of", "evaluations", "implicit advantage", "standard error"),
    medians=True,
)
