"""Spectral growth of every layer at every step size, as a map."""

import dataclasses
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from analysis.quantities import METHODS
from analysis.run import Measurements
from figures import readings, selection, style
from figures.findings import NOTHING, number, numbers_of, share
from figures.layer_rows import LEAST_TOLD, LayerRow, growth_of_the_equation, layer_rows
from figures.picture import Picture

TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10)
FINE_TICKS = (0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 1.75)


BOUND: dict[str, Any] = {"facecolor": "none", "edgecolor": "#595959", "hatch": "/////"}
EDGE: dict[str, Any] = {"facecolor": "none", "edgecolor": "#595959", "hatch": "..."}


@dataclasses.dataclass(frozen=True)
class StabilityMap:
    """What is drawn of one method, `(layers, steps)` each.

    Attributes:
        method: "explicit" or "implicit".
        layers: in order of depth.
        steps: in increasing order.
        growth: median over texts of max |R(hλ)|; NaN where no text has a finite value.
        bound: where the values of most texts are only lower bounds, or not finite.
        edge: where some text is on the boundary.
        texts: their labels.
        by_text: max |R(hλ)| of each text, `(texts, layers, steps)`.
    """

    method: str
    layers: list[int]
    steps: np.ndarray
    growth: np.ndarray
    bound: np.ndarray
    edge: np.ndarray
    texts: list[int]
    by_text: np.ndarray


@style.house()
def draw(run: Measurements, ax: style.Target = None, method: str | None = None) -> Figure:
    """Median over texts of max |R(hλ)| over layer and step size, with its contour at 1 along cell
    borders, one panel for each method.

    Hatched: for most texts only a lower bound. Dotted: 1 to within its uncertainty for some text.
    Triangles: the step sizes of the run.

    Args:
        run: what was measured.
        ax: None for a new figure, one Axes for one panel, or an array of Axes to fill.
        method: "explicit" or "implicit", the only one to draw.

    Raises:
        ValueError: if the method has no map.
    """
    if method is not None and run["stability_map"] and method not in METHODS:
        raise ValueError(f"method must be one of {list(METHODS)}, got {method!r}")
    maps = [one for one in maps_of(run) if method in (None, one.method)]
    width = style.WIDTH if len(maps) > 1 else 0.6 * style.WIDTH
    figure, axes = style.panels(ax, max(len(maps), 1), 2, 2.5, width, 0.2, sharey=True)
    if not maps:
        style.nothing(axes[0])
        axes[0].set(xlabel="step size $h$", ylabel="layer")
        return figure
    every = np.concatenate([one.growth.ravel() for one in maps])
    colours, norm = style.growth_colours(every)
    for panel, one in zip(axes, maps, strict=False):
        _draw_map(panel, one, (colours, norm), run.config["step_sizes"])
    axes[0].set_ylabel("layer")
    _colour_bar(figure, axes, colours, norm, every)
    style.legend(figure, axes, _handles(maps), ax is None, columns=4)
    return figure


def maps_of(run: Measurements) -> list[StabilityMap]:
    """The map of each method; none where none was measured."""
    found = run["stability_map"]
    if not found:
        return []
    found = found.sortby(["layer", "map_step_size"])
    return [_map(found.sel(scheme=method), method) for method in METHODS]


def _map(found: xr.Dataset, method: str) -> StabilityMap:
    found = found.transpose("text", "layer", "map_step_size")
    growth = found["map_growth"]
    known = found["map_certain"] & np.isfinite(growth)
    boundary = found.get("map_boundary", xr.zeros_like(known))
    return StabilityMap(
        method,
        selection.layers_of(found),
        found["map_step_size"].values,
        selection.band(growth).median,
        ((~known).mean("text") > 0.5).values,
        boundary.any("text").values,
        found["text"].values.tolist(),
        growth.values,
    )


def is_geometric(steps: np.ndarray) -> bool:
    """Whether step sizes grow by a factor rather than by a difference."""
    if len(steps) < 3 or steps.min() <= 0:
        return False
    return bool(
        np.ptp(np.diff(np.log(steps))) / np.diff(np.log(steps)).mean()
        < np.ptp(np.diff(steps)) / np.diff(steps).mean()
    )


def _draw_map(
    ax: Axes, one: StabilityMap, scale: tuple[Colormap, LogNorm], marked: list[float]
) -> None:
    steps, values, rows = one.steps, one.growth, np.arange(len(one.layers))
    geometric = is_geometric(steps)
    x, y = _edges(steps, geometric), np.arange(len(one.layers) + 1) - 0.5
    shown, (colours, norm) = np.ma.masked_invalid(values), scale
    ax.pcolormesh(
        x, y, shown, cmap=colours, norm=norm, edgecolors="face", linewidth=0.2
    )  # no seams
    for where, hatching in ((one.bound, BOUND), (one.edge, EDGE)):
        for row, column in zip(*np.nonzero(where), strict=True):
            width = x[column + 1] - x[column]
            ax.add_patch(Rectangle((x[column], y[row]), width, 1, linewidth=0, **hatching))
    _outline_stable(ax, x, y, values)
    ax.set_xscale("log" if geometric else "linear")
    if geometric:
        ax.xaxis.set_major_locator(FixedLocator(_round_steps(steps)))
        ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    inside = [h for h in marked if x[0] <= h <= x[-1]]
    ax.plot(
        inside,
        np.full(len(inside), y[-1]),
        linestyle="none",
        marker="v",
        color=style.INK,
        markersize=5,
        clip_on=False,
        zorder=5,
    )
    ax.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), xlabel="step size $h$")
    ax.set_yticks(rows, [str(layer) for layer in one.layers])
    ax.set_title(
        f"{style.NAMES[one.method]} ({style.counted(len(one.texts), 'text')})",
        color=style.COLOURS[one.method],
        pad=9,
    )
    for row in range(len(one.layers)):
        _leave_layer(ax, one, row)


def _leave_layer(ax: Axes, one: StabilityMap, row: int) -> None:
    """For the page: the growth of each text in the cells of a row, with dots where it is stable."""
    y = np.full(len(one.steps), float(row))
    rows = [readings.Row("", y, [number(float(value)) for value in one.growth[row]])]
    for text, growth in zip(one.texts, one.by_text[:, row], strict=True):
        words = [number(float(value)) for value in growth]
        stable = growth <= 1 + selection.ROUNDING
        rows.append(readings.Row(f"t{text}", y, words, stable, growth))
    name = f"spectral growth, {one.method}, layer {one.layers[row]}"
    places = [f"h = {number(float(h))}" for h in one.steps]
    ax.add_artist(readings.Readings(name, places, one.steps, rows, style.INK, quiet=True))


def _edges(centres: np.ndarray, geometric: bool) -> np.ndarray:
    """Cell borders halfway between step sizes, on a linear or a logarithmic axis."""
    places = np.log(centres) if geometric else centres.astype(float)
    if len(places) == 1:
        return np.array([0.5, 1.5]) * centres[0]
    middle = (places[1:] + places[:-1]) / 2
    edges = np.concatenate([[2 * places[0] - middle[0]], middle, [2 * places[-1] - middle[-1]]])
    return np.exp(edges) if geometric else edges


def _outline_stable(ax: Axes, x: np.ndarray, y: np.ndarray, values: np.ndarray) -> None:
    """The contour at growth 1, along cell borders: a layer number has nothing between it and the
    next to interpolate.
    """
    stable = np.where(np.isfinite(values), values <= 1 + selection.ROUNDING, False)
    for row, column in zip(*np.nonzero(stable[:, 1:] != stable[:, :-1]), strict=True):
        ax.plot(
            [x[column + 1]] * 2,
            [y[row], y[row + 1]],
            color=style.INK,
            linewidth=1.4,
            solid_capstyle="projecting",
        )
    for row, column in zip(*np.nonzero(stable[1:] != stable[:-1]), strict=True):
        ax.plot(
            [x[column], x[column + 1]],
            [y[row + 1]] * 2,
            color=style.INK,
            linewidth=1.4,
            solid_capstyle="projecting",
        )


def _crosses_one(values: np.ndarray) -> bool:
    return bool(
        np.any(values <= 1 + selection.ROUNDING) and np.any(values > 1 + selection.ROUNDING)
    )


def _round_steps(steps: np.ndarray) -> list[float]:
    """Of 1, 2 and 5 times the powers of ten those on the axis, thinned where there are many."""
    powers = np.arange(np.floor(np.log10(steps[0])) - 1, np.log10(steps[-1]) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        inside = [float(f"{factor * 10.0**power:.3g}") for power in powers for factor in factors]
        inside = [h for h in inside if steps[0] * 0.999 <= h <= steps[-1] * 1.001]
        if 2 <= len(inside) <= 8:
            return inside
    return [float(f"{h:.2g}") for h in steps[[0, len(steps) // 2, -1]]]


def _colour_bar(
    figure: Figure, axes: list[Axes], colours: Colormap, norm: LogNorm, values: np.ndarray
) -> None:
    contrast = float(norm.vmax or 1.0)
    low = bool(np.any(values < 0.999 / contrast))
    high = bool(np.any(values > 1.001 * contrast))
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get(
        (low, high), "neither"
    )
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=axes, extend=extend, pad=0.02)
    inside = [
        tick
        for tick in (FINE_TICKS if contrast < 2 else TICKS)
        if 0.999 / contrast <= tick <= 1.001 * contrast
    ]
    bar.ax.yaxis.set_major_locator(FixedLocator(inside))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.set_label(r"median over texts of $\max|R(h\lambda)|$")


def _handles(maps: list[StabilityMap]) -> list[Artist]:
    handles: list[Artist] = []
    if any(_crosses_one(one.growth) for one in maps):
        handles.append(style.key(r"$\max|R(h\lambda)| = 1$", style.INK, line="-"))
    if any(one.bound.any() for one in maps):
        handles.append(style.swatch("lower bound for most texts", **BOUND))
    if any(one.edge.any() for one in maps):
        handles.append(style.swatch("on the boundary for some text", **EDGE))
    if any(np.isnan(one.growth).any() for one in maps):
        handles.append(style.swatch("no value", facecolor="#D9D9D9"))
    return [*handles, style.key("step sizes of the run", style.INK, "v")]


def finding(run: Measurements) -> str:
    """For each method how many layers have a stable step size on the grid."""
    rows = [row for row in layer_rows(run) if row.stable_steps["explicit"] is not None]
    if not rows:
        return NOTHING
    layers, words, edges = numbers_of(rows), [], []
    for method in METHODS:
        some = [row.layer for row in rows if row.stable_steps[method]]
        words.append(
            f"the {method} Euler step is stable at some step size in {share(some, layers)}"
        )
        if edge := [row.layer for row in rows if row.boundary_steps[method]]:
            edges.append(f"the {method} one in {share(edge, layers)}")
    grid = run["stability_map"]["map_step_size"].values
    text = (
        f"Between h = {number(float(grid.min()))} and {number(float(grid.max()))}, for "
        f"{selection.most_texts(run)}, {'; '.join(words)}.{_why_never(run, rows)}"
    )
    on_edge = " On the boundary, at growth 1 to within its uncertainty, is at some step size"
    return text + (f"{on_edge} and for some text {'; '.join(edges)}." if edges else "")


def _why_never(run: Measurements, rows: list[LayerRow]) -> str:
    """Where an eigenvalue to the right of 0 keeps the explicit step from being stable at any h."""
    never = [
        row.layer
        for row in rows
        if not row.stable_steps["explicit"]
        and growth_of_the_equation(run, row.layer, 1.0) >= LEAST_TOLD
    ]
    if not never:
        return ""
    return (
        f" No smaller h makes the explicit step stable in {share(never, numbers_of(rows))}: an "
        "eigenvalue there has Re λ > 0, so that the linearised equation itself grows, and "
        "|1 + hλ| > 1 for every h > 0."
    )


STABILITY_MAP = Picture(
    quantity="stability_map",
    title="Stability over layer and step size",
    name="stability_map",
    draw=lambda run, h: draw(run),
    finding=lambda run, h: finding(run),
    caption="Spectral growth over layer and step size, median over texts. Purple "
    "amplifies, green damps; the black line is growth 1. Hatched: only a lower bound for "
    "most texts; dotted: on the boundary for some text. "
    "Triangles mark the step sizes of the run.",
    always=True,
)
