"""Spectral densities of every layer: of the singular values of ∂F, and of the symmetric part of its
Jacobian.
"""

import dataclasses

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from analysis.run import Measurements
from figures import selection, style
from figures.findings import NOTHING, per_cent
from figures.picture import Picture

KINDS = ("gram", "symmetric")
DEPTH = (
    1e-5  # of the highest density: about the share of a single direction among those of a long text
)
TITLES = {
    "gram": r"layer derivative $\partial F$",
    "symmetric": r"symmetric part $(J + J^\mathrm{T})/2$",
}
AXES = {
    "gram": r"singular value $\sigma$ of $\partial F$",
    "symmetric": r"eigenvalue of $(J + J^\mathrm{T})/2$",
}
BORDERS = {
    "gram": 1.0,
    "symmetric": 0.0,
}  # where neither stretches nor shrinks: σ = 1, and the sign of the logarithmic norm


MEANINGS = {
    "gram": "are stretched by the layer (singular values of ∂F above 1)",
    "symmetric": "grow at first under the exact flow",
}


@dataclasses.dataclass(frozen=True)
class Density:
    """One density of one layer.

    Attributes:
        points: `(points,)`, where it is evaluated.
        density: `(texts, points)`, per unit of the axis.
        error: `(texts, points)`, standard error over the random probes.
    """

    points: np.ndarray
    density: np.ndarray
    error: np.ndarray


@style.house()
def draw(run: Measurements, ax: style.Target = None, layer: int | None = None) -> Figure:
    """Spectral densities of each layer on a logarithmic axis, one row for each layer: singular
    values of ∂F, and (J + Jᵀ)/2.

    Line: median over texts. Band: 10–90 % of texts. Dotted: the median ± the median standard error
    over the random probes.

    Args:
        run: what was measured.
        ax: None for a new figure, or Axes to fill, two for each layer.
        layer: the only layer to draw.

    Raises:
        ValueError: if the layer was not measured.
    """
    layers = selection.one_layer(selection.layers_of(run["density"]), layer)
    found = {(number, of): of_layer(run, number, of) for number in layers for of in KINDS}
    figure, axes = style.panels(
        ax, 2 * max(len(layers), 1), 2, 0.95, below=0.75, sharex="col", sharey="col"
    )
    frames = {
        of: _frame([curve for (_, kind), curve in found.items() if kind == of]) for of in KINDS
    }
    for i, panel in enumerate(axes):
        of, row = KINDS[i % 2], i // 2
        curve = found.get((layers[row], of)) if layers else None
        # a density of NaN alone would give an empty panel without a word
        if curve is not None and np.isfinite(curve.density).any():
            _draw_density(panel, curve, frames[of])
        else:
            style.nothing(panel)
        _label(
            panel,
            of,
            layers[row] if layers else None,
            first=row == 0,
            last=len(axes) <= 2 or i + 2 >= len(axes),
        )
    texts = max((len(curve.density) for curve in found.values()), default=0)
    style.legend(figure, axes, _handles(texts), ax is None, columns=2)
    return figure


def of_layer(run: Measurements, layer: int, of: str) -> Density:
    """A density as it is drawn: that of ∂Fᵀ∂F as the one of its singular values."""
    curve = run["density"].sel(layer=layer)
    density, error = (
        curve[name].transpose("text", f"{of}_point").values
        for name in (f"{of}_density", f"{of}_density_error")
    )
    found = Density(curve[f"{of}_point"].values, density, error)
    return per_unit_length(found) if of == "gram" else found


def per_unit_length(curve: Density) -> Density:
    """A density of ∂Fᵀ∂F as that of its singular values σ, per unit of σ: p(σ) = 2σ p(σ²)."""
    kept = curve.points >= 0  # broadening puts a little below 0, where no singular value lies
    sigma = np.sqrt(curve.points[kept])
    return Density(sigma, 2 * sigma * curve.density[:, kept], 2 * sigma * curve.error[:, kept])


def share_above(curve: Density, border: float) -> tuple[np.ndarray, np.ndarray]:
    """The share of a spectrum between a border and the end of the grid, one per text: the area
    under its density there.

    Returns:
        The shares, and upper bounds of their standard errors: at worst the errors at all points
            have one sign.
    """
    inside = curve.points >= border
    share, error = (
        np.trapezoid(values[:, inside], curve.points[inside], axis=1)
        for values in (curve.density, curve.error)
    )
    return share, error


def _frame(densities: list[Density]) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Limits of both axes: of the density from its DEPTH upwards, of the abscissa where the density
    is above that.
    """
    medians = [(curve.points, selection.band(curve.density).median) for curve in densities]
    top = max((float(np.nanmax(each, initial=0.0)) for _, each in medians), default=0.0)
    # nothing was measured, or nothing finite: the axes choose their own limits
    if not top > 0:
        return None
    seen = np.concatenate([points[np.nan_to_num(each) > DEPTH * top] for points, each in medians])
    margin = 0.03 * max(float(np.ptp(seen)), 1.0)
    return (float(seen.min()) - margin, float(seen.max()) + margin), (DEPTH * top, 3 * top)


def _draw_density(
    ax: Axes, curve: Density, frame: tuple[tuple[float, float], tuple[float, float]] | None
) -> None:
    found, error = selection.band(curve.density), selection.band(curve.error).median
    floor = frame[1][0] / 10 if frame else np.finfo(float).tiny  # a logarithmic axis has no zero
    median, low, high = (
        np.where(np.isnan(values), np.nan, np.maximum(values, floor)) for values in found
    )
    ax.fill_between(curve.points, low, high, color=style.FAINT, alpha=0.6, linewidth=0)
    ax.plot(curve.points, median, color=style.INK, linewidth=1.1)
    for side in (-1, 1):
        ax.plot(
            curve.points,
            np.maximum(median + side * error, floor),
            color=style.INK,
            linestyle=":",
            linewidth=0.7,
        )
    ax.set_yscale("log")
    if frame:
        ax.set(xlim=frame[0], ylim=frame[1])
    ax.yaxis.set_major_locator(LogLocator(numticks=4))
    ax.yaxis.set_minor_formatter(NullFormatter())


def _label(ax: Axes, of: str, layer: int | None, first: bool, last: bool) -> None:
    ax.axvline(BORDERS[of], color=style.GUIDE, linewidth=0.8, zorder=0)
    if layer is not None:
        ax.text(
            0.985, 0.93, f"layer {layer}", transform=ax.transAxes, ha="right", va="top", fontsize=7
        )
    if first:
        ax.set_title(TITLES[of])
    ax.set_ylabel("density\nper unit", fontsize=7)
    if last:
        ax.set_xlabel(AXES[of])
        ax.tick_params(labelbottom=True)


def _handles(texts: int) -> list[Artist]:
    line = "1 text" if texts == 1 else "median over texts"
    band = style.swatch("10–90 % of texts", color=style.FAINT, alpha=0.6, linewidth=0)
    return [
        style.key(line, style.INK, line="-", width=1.1),
        *([band] if texts > 1 else []),
        style.key("± standard error over random probes", style.INK, line=":", width=0.7),
        style.key(
            r"$\sigma = 1$ and 0: stretched to the right, shrunk to the left",
            style.GUIDE,
            line="-",
            width=0.8,
        ),
    ]


def finding(run: Measurements) -> str:
    """What share of all directions a layer stretches, and on what share the symmetric part is
    positive.
    """
    words = []
    for of, meaning in MEANINGS.items():
        shares = {
            layer: _stretched(of_layer(run, layer, of), BORDERS[of])
            for layer in selection.layers_of(run["density"])
        }
        if shares := {layer: found for layer, found in shares.items() if np.isfinite(found[0])}:
            top = max(shares, key=lambda layer: shares[layer][0])
            error = max(found[1] for found in shares.values())
            words.append(
                f"at least {per_cent([found[0] for found in shares.values()])} of all directions "
                f"{meaning}, most in layer {top} (standard error at most {100 * error:.1f} %)"
            )
    return f"By layer, for the median text, {'; '.join(words)}." if words else NOTHING


def _stretched(curve: Density, border: float) -> tuple[float, float]:
    """The median text's share of the spectrum above the border, and an upper bound of its standard
    error over the probes.
    """
    share_of, error = share_above(curve, border)
    return selection.median(share_of), selection.median(error)


DENSITY = Picture(
    quantity="density",
    title="How many directions each layer stretches",
    name="density",
    draw=lambda run, h: draw(run),
    finding=lambda run, h: finding(run),
    caption="Spectral densities of each layer: singular values of ∂F on the left, "
    "eigenvalues of the symmetric part of J on the right. The "
    "area over an interval is the share of directions with values in it; "
    "both axes of density are logarithmic. Line: median over "
    "texts, band: 10–90 % of texts, dotted: standard error "
    "over the random probes of the estimate.",
)
