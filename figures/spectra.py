"""Eigenvalues hλ of every layer over the stability regions of the methods, with the secants of
edits and the relative graph.
"""

import dataclasses
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from analysis.run import Measurements
from figures import relative_graph, secants, selection, style
from figures.findings import NOTHING, number
from figures.layer_rows import layer_rows
from figures.picture import Picture

BULK = 1e-3  # eigenvalues this close to −1 are drawn as one dot, as "bulk" counts them
# |z| up to which eigenvalues widen the frame; farther ones only where they are more than one in ten
REACH = 6.0
TRUNCATED_LINES: tuple[Any, ...] = ("-.", (0, (6, 1, 1, 1, 1, 1)), (0, (7, 2)))
WHERE_STABLE = {"explicit": "stable inside", "implicit": "stable outside"}


@dataclasses.dataclass(frozen=True)
class LayerSpectrum:
    """What is drawn of one layer.

    Attributes:
        layer: index from 0.
        leading: `(texts, k)` complex, the leading eigenvalues.
        converged: `(texts, k)`.
        full: all eigenvalues of the short texts, complex.
        bulk: how many of these are within BULK of −1.
    """

    layer: int
    leading: np.ndarray
    converged: np.ndarray
    full: np.ndarray
    bulk: int


@dataclasses.dataclass(frozen=True)
class Region:
    """|R(z)| of one method on a grid of z = hλ, `(im, re)`."""

    name: str
    label: str
    re: np.ndarray
    im: np.ndarray
    amplification: np.ndarray


@style.house()
def draw(
    run: Measurements,
    ax: style.Target = None,
    layer: int | None = None,
    step_size: float | None = None,
) -> Figure:
    """Eigenvalues z = hλ of each layer over the boundaries |R(z)| = 1, with the lemniscate |z² − 1|
    = 1.

    Dark dots: leading eigenvalues of all texts, hollow where they did not converge. Light dots: all
    eigenvalues of the short texts. Beside them, where they were measured, the secants hζ of edits
    by kind, at this step size, and the outline of one text's scaled relative graph.

    Args:
        run: what was measured.
        ax: None for a new figure, one Axes for one panel, or an array of Axes to fill.
        layer: the only layer to draw.
        step_size: h; by default 1, or the largest measured.

    Raises:
        ValueError: if the layer was not measured.
    """
    h = selection.of_run(run) if step_size is None else step_size
    spectra = spectra_of(run, layer)
    regions = regions_at(run, h)
    frame = _frame(spectra, secants.points(run, [one.layer for one in spectra], h), h)
    handles = _handles(spectra, regions) + relative_graph.handles(run) + secants.handles(run, h)
    figure, axes = _panels(ax, max(len(spectra), 1), frame, len(handles))
    for panel in axes:
        _draw_regions(panel, regions)
        panel.set(aspect="equal", xlim=frame[0], ylim=(-frame[1], frame[1]))
    for panel, one in zip(axes, spectra, strict=False):
        _draw_spectrum(panel, one, h, frame)
        _draw_beside(panel, run, one.layer, h)
    if not spectra:
        style.nothing(axes[0])
    _label(axes, h)
    style.legend(figure, axes, handles, ax is None, columns=2)
    return figure


def _panels(
    ax: style.Target, count: int, frame: tuple[tuple[float, float], float], entries: int
) -> tuple[Figure, list[Axes]]:
    """Panels of the frame's shape, above a legend of two columns."""
    columns = min(3 if count <= 9 else 4, count)
    width = style.WIDTH if columns > 1 else 0.6 * style.WIDTH
    height = (width / columns - 0.3) * 2 * frame[1] / (frame[0][1] - frame[0][0]) + 0.3
    below = 0.3 + 0.16 * -(-entries // 2)
    return style.panels(ax, count, columns, height, width, below, sharex=True, sharey=True)


def spectra_of(run: Measurements, layer: int | None = None) -> list[LayerSpectrum]:
    """The spectrum of each layer in order of depth, or of one layer only.

    Raises:
        ValueError: if that layer was not measured.
    """
    found, dense = run["spectrum"], run["dense"]
    layers = selection.one_layer(selection.layers_of(found), layer)
    short = selection.layers_of(dense)
    return [
        _spectrum(
            found.sel(layer=number), dense.sel(layer=number) if number in short else xr.Dataset()
        )
        for number in layers
    ]


def _spectrum(one: xr.Dataset, dense: xr.Dataset) -> LayerSpectrum:
    full, bulk = np.zeros(0, dtype=complex), 0
    if dense:
        full = dense["full_eigenvalue"].values.ravel()
        full = full[np.isfinite(full)]  # a shorter text has fewer
        bulk = int(dense["bulk"].sum())
    leading = one["eigenvalue"].transpose("text", "rank").values
    converged = one["eigenvalue_converged"].transpose("text", "rank").values
    return LayerSpectrum(int(one["layer"]), leading, converged, full, bulk)


def regions_at(run: Measurements, h: float) -> list[Region]:
    """One region of each label; a truncated solver's only where it was computed for this step size,
    as it depends on it.
    """
    found = run["regions"]
    if not found:
        return []
    steps = found["step_size"].values
    own = np.flatnonzero(np.isclose(steps, h))
    at_step = found.isel(step_size=own[0] if len(own) else 0)
    return [
        Region(
            str(one["region_name"].item()),
            str(one["region"].item()),
            one["region_re"].values,
            one["region_im"].values,
            one["region_amplification"].transpose("region_row", "region_column").values,
        )
        for one in (at_step.isel(region=i) for i in range(at_step.sizes["region"]))
        if len(own) or one["region_name"].item() != "truncated"
    ]


def _draw_regions(ax: Axes, regions: list[Region]) -> None:
    truncated = [region.label for region in regions if region.name == "truncated"]
    for region in regions:
        level = np.log(np.clip(np.nan_to_num(region.amplification, nan=1e9, posinf=1e9), 1e-9, 1e9))
        if not level.min() < 0 < level.max() or min(level.shape) < 2:
            continue  # no boundary on this grid
        grid, colour = (region.re, region.im, level), style.COLOURS[region.name]
        if region.name == "explicit":
            ax.contourf(*grid, levels=[-30, 0], colors=[colour], alpha=0.10, zorder=0)
        if region.name == "implicit":
            ax.contourf(*grid, levels=[0, 30], colors=[colour], alpha=0.12, zorder=0)
        line = _line(region, truncated)
        ax.contour(
            *grid,
            levels=[0],
            colors=[colour],
            linestyles=[line],
            linewidths=1.0 if region.name == "lemniscate" else 1.3,
            zorder=1,
        )


def _line(region: Region, truncated: list[str]) -> Any:
    if region.name == "truncated":
        return TRUNCATED_LINES[truncated.index(region.label) % len(TRUNCATED_LINES)]
    return style.LEMNISCATE if region.name == "lemniscate" else "-"


def _draw_spectrum(
    ax: Axes, one: LayerSpectrum, h: float, frame: tuple[tuple[float, float], float]
) -> None:
    if len(one.full):
        rest = h * one.full[np.abs(one.full + 1) > BULK]
        look: dict[str, Any] = {"color": style.FAINT, "markersize": 2, "markeredgewidth": 0}
        ax.plot(rest.real, rest.imag, ".", **look, zorder=2, rasterized=True)
    if one.bulk:
        _draw_bulk(ax, one.bulk, h)
    unsure: dict[str, Any] = {"markerfacecolor": "none", "markeredgewidth": 0.6}
    _dots(ax, h * one.leading[one.converged], size=2.4, alpha=0.75)
    _dots(ax, h * one.leading[~one.converged], size=3.2, alpha=0.5, **unsure)
    _note(ax, h * one.leading.ravel(), frame)
    ax.set_title(f"layer {one.layer} ({style.counted(len(one.leading), 'text')})")


def _draw_beside(ax: Axes, run: Measurements, layer: int, h: float) -> None:
    """Secants of edits, and the relative graph."""
    secants.draw_on(ax, run, layer, h)
    if (graph := relative_graph.of_layer(run, layer)) is not None:
        relative_graph.draw_on(ax, graph, h)


def _draw_bulk(ax: Axes, bulk: int, h: float) -> None:
    """One dot for all eigenvalues at −1, as large as they are many."""
    ax.plot(
        -h,
        0,
        "o",
        color=style.FAINT,
        markersize=4 + 1.5 * np.log10(bulk),
        markeredgecolor=style.INK,
        markeredgewidth=0.6,
        zorder=4,
    )
    ax.annotate(
        f"×{bulk}",
        (-h, 0),
        (0, 4),
        textcoords="offset points",
        ha="center",
        fontsize=6.5,
        zorder=5,
        path_effects=[withStroke(linewidth=1.5, foreground="white")],
    )


def _note(ax: Axes, z: np.ndarray, frame: tuple[tuple[float, float], float]) -> None:
    """How many leading eigenvalues are not seen."""
    (left, right), top = frame
    beyond = int(((z.real < left) | (z.real > right) | (np.abs(z.imag) > top)).sum())
    unknown = int((~np.isfinite(z)).sum())
    notes = [f"{beyond} beyond the frame"] if beyond else []
    notes += [f"{unknown} not finite"] if unknown else []
    look: dict[str, Any] = {"ha": "right", "fontsize": 6.5, "color": style.INK}
    ax.text(0.98, 0.03, "\n".join(notes), transform=ax.transAxes, **look)


def _dots(ax: Axes, z: np.ndarray, size: float, alpha: float, **marker: Any) -> None:
    ax.plot(
        z.real,
        z.imag,
        "o",
        color=style.INK,
        markersize=size,
        alpha=alpha,
        zorder=3,
        **({"markeredgewidth": 0} | marker),
    )


def _frame(
    spectra: list[LayerSpectrum], edits: np.ndarray, h: float
) -> tuple[tuple[float, float], float]:
    """Limits of Re z, and the limit of |Im z|: both discs, and the eigenvalues and secants within
    reach.
    """
    eigenvalues = (h * np.concatenate([one.leading.ravel(), one.full]) for one in spectra)
    z = np.concatenate([np.zeros(1), edits, *eigenvalues])
    z = z[np.isfinite(z)]
    near = z[np.abs(z) <= max(REACH, float(np.quantile(np.abs(z), 0.9)))]
    margin = 0.2
    return (min(-2.0, near.real.min()) - margin, max(2.0, near.real.max()) + margin), max(
        1.15, float(np.abs(near.imag).max())
    ) + margin


def _label(axes: list[Axes], h: float) -> None:
    for i, panel in enumerate(axes):
        place = panel.get_subplotspec()
        if len(axes) == 1 or style.is_leftmost(panel):
            panel.set_ylabel(r"$\mathrm{Im}\,z$")
        if place is None or i + place.get_gridspec().ncols >= len(axes):
            panel.set_xlabel(rf"$\mathrm{{Re}}\,z$,  $z = h\lambda$,  $h = {h:g}$")
            panel.tick_params(labelbottom=True)


def _handles(spectra: list[LayerSpectrum], regions: list[Region]) -> list[Artist]:
    handles: list[Artist] = [
        style.key(r"leading eigenvalues $h\lambda$ of all texts", style.INK, "o", size=2.4)
    ]
    if not all(one.converged.all() for one in spectra):
        handles.append(style.key("leading, not converged", style.INK, "o", hollow=True, size=3.2))
    if any(len(one.full) for one in spectra):
        handles.append(style.key("full spectra of the short texts", style.FAINT, ".", size=4))
    if any(one.bulk for one in spectra):
        bulk = style.key(
            r"$\times n$: their $n$ eigenvalues at $\lambda \approx -1$", style.INK, "o", size=6
        )
        bulk.set(markerfacecolor=style.FAINT, markeredgewidth=0.6)
        handles.append(bulk)
    truncated = [region.label for region in regions if region.name == "truncated"]
    handles += [
        style.key(
            _name(region), style.COLOURS[region.name], line=_line(region, truncated), width=1.3
        )
        for region in regions
    ]
    return handles


def _name(region: Region) -> str:
    if region.name == "lemniscate":
        return "$|z^2 - 1| = 1$, outside it implicit damps more"
    name = (
        f"{style.NAMES[region.name]} ({WHERE_STABLE[region.name]})"
        if region.name in WHERE_STABLE
        else style.plain(region.label)
    )
    return f"$|R(z)| = 1$, {name}"


def finding(run: Measurements, step_size: float | None = None) -> str:
    """How many leading eigenvalues each step amplifies, how near the pole they come, and the share
    outside the lemniscate.
    """
    h = selection.of_run(run, step_size)
    z = {one.layer: h * one.leading[np.isfinite(one.leading)] for one in spectra_of(run)}
    every = np.concatenate([np.zeros(0), *z.values()])
    if not len(every):
        return NOTHING
    explicit = int((np.abs(1 + every) > 1).sum())
    implicit = int((np.abs(1 - every) < 1).sum())
    distances = {layer: float(np.abs(1 - each).min()) for layer, each in z.items() if len(each)}
    nearest = min(distances, key=lambda layer: distances[layer])
    text = (
        "Leading eigenvalues are chosen for being extreme, so that their number says nothing of "
        f"all eigenvalues: of {len(every)} at h = {number(h)} the explicit "
        f"Euler step amplifies {explicit} and the implicit {implicit}; the nearest to the "
        f"implicit pole z = 1 lies at a distance of {number(distances[nearest])} "
        f"(layer {nearest})."
    )
    rows = layer_rows(run, h) if run["growth"] else []
    if shares := [row.outside for row in rows if np.isfinite(row.outside)]:
        text += (
            " In the full spectra of the short texts "
            f"{100 * min(shares):.0f}–{100 * max(shares):.0f} % of the eigenvalues apart from the "
            "bulk, by layer, lie outside the lemniscate, where the implicit step damps more."
        )
    return text


SPECTRA = Picture(
    quantity="spectrum",
    title="Eigenvalues over the stability regions",
    name="spectra",
    draw=lambda run, h: draw(run, step_size=h),
    finding=finding,
    caption="Eigenvalues z = hλ of each layer over the stability regions. Shaded: "
    "where the explicit step is stable (left disc), and where the "
    "implicit step is unstable (right disc). A solver "
    "stopped early has a bounded region of its own. Secants of edits, "
    "in the upper half plane, say what a step does to a perturbation of their size; the scaled "
    "relative graph holds those of all small perturbations.",
    always=True,
    also=("dense", "regions", "truncated", "secants", "relative_graph"),
)
