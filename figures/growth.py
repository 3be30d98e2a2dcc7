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
from figures import selection, style
from figures.findings import NOTHING, number, numbers_of, share
from figures.layer_rows import layer_rows
from figures.picture import Picture
from figures.whiskers import beside, guaranteed_below_one, layer_axis, whiskers

MARKERS = {"worst": "o", "spectral": "D"}
SETTLED = {"worst": "worst_growth_converged", "spectral": "spectral_growth_certain"}
MEANINGS = {
    "worst": "worst growth (largest singular value)",
    "spectral": r"spectral growth $\max|R(h\lambda)|$",
}
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
    figure, axes = style.panels(
        ax, 2, columns=1, height=1.95, below=0.5, sharex=True, height_ratios=[2, 1]
    )
    hollow = _draw_growth(axes[0], growth, h)
    if len(axes) > 1:
        hollow |= _draw_logarithmic_norm(axes[1], growth, h)
        axes[0].set_xlabel("")
    style.legend(figure, axes, _handles(hollow), ax is None, columns=2)
    return figure


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
        whiskers(panel, beside(layers, i, len(steps)), band, shade, marker, hollow)
        handles.append(style.key(f"$h = {h:g}$", shade, marker))
    if any_hollow:
        handles.append(style.key("hollow: some text not solved", style.INK, "o", hollow=True))
    panel.axhline(0, color=style.GUIDE, linewidth=0.8, zorder=0)
    layer_axis(panel, layers)
    panel.set_ylabel(
        "implicit advantage\n" r"$\langle\log(\|E\delta\|\,/\,\|M^{-1}\delta\|)\rangle$"
    )
    if handles:
        low, high = panel.get_ylim()
        reach = 0.08 * max(high - low, 1e-9)
        panel.set_ylim(min(low, -2 * reach), max(high, 2 * reach))  # both directions stay in sight
        _directions(panel)
        style.legend(figure, axes, handles, ax is None, columns=6)
    else:
        style.nothing(panel)
    return figure


def _draw_growth(ax: Axes, growth: xr.Dataset, h: float) -> bool:
    """Whether some marker is hollow."""
    layers, any_hollow = selection.layers_of(growth), False
    series = [(quantity, method) for quantity in MARKERS for method in METHODS] if growth else []
    for i, (quantity, method) in enumerate(series):
        of_method = growth.sel(scheme=method)
        values = of_method[f"{quantity}_growth"].transpose("text", "layer")
        hollow = selection.uncertain(values, of_method[SETTLED[quantity]])
        any_hollow |= bool(hollow.any())
        whiskers(
            ax,
            beside(layers, i, len(series)),
            selection.band(values).positive(),
            style.COLOURS[method],
            MARKERS[quantity],
            hollow,
        )
    style.logarithmic_growth(ax)
    ax.axhline(1, color=style.GUIDE, linewidth=0.8, zorder=0)
    ax.set_ylabel("growth over one step")
    texts = f", {style.counted(growth.sizes['text'], 'text')}" if growth else ""
    ax.set_title(f"$h = {h:g}${texts}")
    layer_axis(ax, layers)
    if not growth:
        style.nothing(ax)
    return any_hollow


def _draw_logarithmic_norm(ax: Axes, growth: xr.Dataset, h: float) -> bool:
    """Whether some marker is hollow."""
    layers, any_hollow = selection.layers_of(growth), False
    if growth:
        values = h * growth["logarithmic_norm"].transpose("text", "layer")
        hollow = selection.uncertain(values, growth["logarithmic_norm_converged"])
        any_hollow = bool(hollow.any())
        whiskers(ax, beside(layers, 0, 1), selection.band(values), style.INK, "s", hollow)
    guaranteed_below_one(ax)
    ax.set_ylabel(r"$h\mu_2(J)$")
    layer_axis(ax, layers)
    return any_hollow


def _handles(any_hollow: bool) -> list[Artist]:
    """Column by column, as a legend is filled: worst growth, spectral growth."""
    worst, spectral = [
        [
            style.key(f"{style.NAMES[method]}: {meaning}", style.COLOURS[method], MARKERS[quantity])
            for method in METHODS
        ]
        for quantity, meaning in MEANINGS.items()
    ]
    hollow = (
        [
            style.key(
                "hollow: some text not converged, or a lower bound", style.INK, "o", hollow=True
            )
        ]
        if any_hollow
        else []
    )
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
    verb = (
        "amplifies worst-case perturbations most"
        if top.worst["explicit"] > 1
        else "damps worst-case perturbations least"
    )
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
)
