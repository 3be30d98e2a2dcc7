"""What one step of each layer does to a perturbation: worst and spectral growth, hμ₂, and the
implicit advantage.
"""

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.summary import METHODS, LayerGrowth, Summary
from figures import selection, style
from figures.whiskers import beside, layer_axis, stack, whiskers

MARKERS = {"worst": "o", "spectral": "D"}
MEANINGS = {
    "worst": "worst growth (largest singular value)",
    "spectral": r"spectral growth $\max|R(h\lambda)|$",
}
STEP_MARKERS = ("o", "s", "^", "v", "P", "X")


@style.house()
def draw(summary: Summary, ax: style.Target = None, step_size: float | None = None) -> Figure:
    """Worst and spectral growth of one step per layer, explicit against implicit Euler; below it
    hμ₂ with the line hμ₂ = 1.

    Markers are medians over texts, whiskers 10–90 %; hollow where some text's value did not
    converge or is only a lower bound.

    Args:
        summary: the records.
        ax: None for a new figure; one Axes for the growth alone; two for growth and hμ₂.
        step_size: h; by default 1, or the largest measured.

    Raises:
        ValueError: if the step size was not measured.
    """
    h, layers = selection.growth_at(summary, step_size)
    figure, axes = style.panels(
        ax, 2, columns=1, height=1.95, below=0.5, sharex=True, height_ratios=[2, 1]
    )
    _draw_growth(axes[0], layers, h)
    if len(axes) > 1:
        _draw_logarithmic_norm(axes[1], layers, h)
        axes[0].set_xlabel("")
    style.legend(figure, axes, _handles(layers), ax is None, columns=2)
    return figure


@style.house()
def draw_advantage(summary: Summary, ax: style.Target = None) -> Figure:
    """Implicit advantage, the mean of log(‖Eδ‖/‖M⁻¹δ‖) over random δ, per layer and step size:
    median over texts and 10–90 %.
    """
    steps = sorted({one.step_size for one in summary.growth})
    figure, axes = style.panels(ax, 1, height=2.5, below=0.15)
    panel, handles = axes[0], list[Artist]()
    shades = np.linspace(0.68, 0.1, len(steps)) if len(steps) > 1 else [0.1]
    for i, h in enumerate(steps):
        _, layers = selection.growth_at(summary, h)
        shade, marker = str(float(shades[i])), STEP_MARKERS[i % len(STEP_MARKERS)]
        whiskers(
            panel,
            beside([one.layer for one in layers], i, len(steps)),
            selection.band(stack([one.advantage for one in layers])),
            shade,
            marker,
        )
        handles.append(style.key(f"$h = {h:g}$", shade, marker))
    panel.axhline(0, color=style.GUIDE, linewidth=0.8, zorder=0)
    layer_axis(panel, sorted({one.layer for one in summary.growth}))
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


def _draw_growth(ax: Axes, layers: list[LayerGrowth], h: float) -> None:
    series = [(quantity, method) for quantity in MARKERS for method in METHODS]
    for i, (quantity, method) in enumerate(series):
        values = stack([getattr(one, quantity)[method] for one in layers])
        hollow = np.array([not _settled(one, quantity, method) for one in layers], dtype=bool)
        found = selection.band(values).positive()
        whiskers(
            ax,
            beside([one.layer for one in layers], i, len(series)),
            found,
            style.COLOURS[method],
            MARKERS[quantity],
            hollow,
        )
    style.logarithmic_growth(ax)
    ax.axhline(1, color=style.GUIDE, linewidth=0.8, zorder=0)
    ax.set_ylabel("growth over one step")
    ax.set_title(
        f"$h = {h:g}$, {style.counted(len(layers[0].logarithmic_norm), 'text')}"
        if layers
        else f"$h = {h:g}$"
    )
    layer_axis(ax, [one.layer for one in layers])
    if not layers:
        style.nothing(ax)


def _draw_logarithmic_norm(ax: Axes, layers: list[LayerGrowth], h: float) -> None:
    found = selection.band(stack([h * one.logarithmic_norm for one in layers]))
    hollow = np.array([not one.converged["logarithmic_norm"].all() for one in layers], dtype=bool)
    whiskers(ax, beside([one.layer for one in layers], 0, 1), found, style.INK, "s", hollow)
    ax.axhline(1, color=style.COLOURS["implicit"], linewidth=1)
    ax.set_ylim(min(0.0, ax.get_ylim()[0]), max(1.6, ax.get_ylim()[1]))
    place, text = ax.get_yaxis_transform(), "implicit step\nguaranteed below"
    ax.text(
        1.01,
        1,
        text,
        transform=place,
        ha="left",
        va="center",
        fontsize=7,
        color=style.COLOURS["implicit"],
    )
    ax.set_ylabel(r"$h\mu_2(J)$")
    layer_axis(ax, [one.layer for one in layers])


def _settled(one: LayerGrowth, quantity: str, method: str) -> bool:
    flags = one.converged[f"{method}_worst"] if quantity == "worst" else one.certain[method]
    return bool(np.all(flags))


def _any_hollow(layers: list[LayerGrowth]) -> bool:
    settled = [
        _settled(one, quantity, method)
        for one in layers
        for quantity in MARKERS
        for method in METHODS
    ]
    return not all(settled) or not all(one.converged["logarithmic_norm"].all() for one in layers)


def _handles(layers: list[LayerGrowth]) -> list[Artist]:
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
        if _any_hollow(layers)
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
