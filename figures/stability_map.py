"""Spectral growth of every layer at every step size, as a map."""

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from analysis.summary import StabilityMap, Summary
from figures import selection, style

TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10)
FINE_TICKS = (0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 1.75)


@style.house()
def draw(summary: Summary, ax: style.Target = None, method: str | None = None) -> Figure:
    """Median over texts of max |R(hλ)| over layer and step size, with its contour at 1 along cell
    borders, one panel for each method.

    Hatched: for most texts only a lower bound. Triangles: the step sizes of the run.

    Args:
        summary: the records.
        ax: None for a new figure, one Axes for one panel, or an array of Axes to fill.
        method: "explicit" or "implicit", the only one to draw.

    Raises:
        ValueError: if the method has no map.
    """
    maps = [one for one in summary.maps if method in (None, one.method)]
    if method is not None and summary.maps and not maps:
        raise ValueError(
            f"method must be one of {[one.method for one in summary.maps]}, got {method!r}"
        )
    width = style.WIDTH if len(maps) > 1 else 0.6 * style.WIDTH
    figure, axes = style.panels(ax, max(len(maps), 1), 2, 2.5, width, 0.2, sharey=True)
    if not maps:
        style.nothing(axes[0])
        axes[0].set(xlabel="step size $h$", ylabel="layer")
        return figure
    medians = [median_growth(one) for one in maps]
    colours, norm = style.growth_colours(np.concatenate([values.ravel() for values in medians]))
    for panel, one, values in zip(axes, maps, medians, strict=False):
        _draw_map(panel, one, values, (colours, norm), summary.config["step_sizes"])
    axes[0].set_ylabel("layer")
    _colour_bar(figure, axes, colours, norm, medians)
    style.legend(figure, axes, _handles(maps, medians), ax is None, columns=4)
    return figure


def median_growth(one: StabilityMap) -> np.ndarray:
    """Median over texts, `(layers, steps)`; NaN where nothing is finite."""
    return selection.band(np.moveaxis(one.growth, -1, 0)).median


def mostly_lower_bound(one: StabilityMap) -> np.ndarray:
    """Where the values of most texts are only lower bounds, `(layers, steps)`."""
    return np.asarray((~one.certain).mean(axis=-1) > 0.5)


def is_geometric(steps: np.ndarray) -> bool:
    """Whether step sizes grow by a factor rather than by a difference."""
    if len(steps) < 3 or steps.min() <= 0:
        return False
    return bool(
        np.ptp(np.diff(np.log(steps))) / np.diff(np.log(steps)).mean()
        < np.ptp(np.diff(steps)) / np.diff(steps).mean()
    )


def _draw_map(
    ax: Axes,
    one: StabilityMap,
    values: np.ndarray,
    scale: tuple[Colormap, LogNorm],
    marked: list[float],
) -> None:
    order = np.argsort(one.step_sizes)
    steps, values, bound = (
        one.step_sizes[order],
        values[:, order],
        mostly_lower_bound(one)[:, order],
    )
    geometric = is_geometric(steps)
    x, y, rows = (
        _edges(steps, geometric),
        np.arange(len(one.layers) + 1) - 0.5,
        np.arange(len(one.layers)),
    )
    ax.pcolormesh(
        x,
        y,
        np.ma.masked_invalid(values),
        cmap=scale[0],
        norm=scale[1],
        edgecolors="face",
        linewidth=0.2,
    )  # no seams
    for row, column in zip(*np.nonzero(bound), strict=True):
        corner = (x[column], y[row])
        ax.add_patch(
            Rectangle(
                corner,
                x[column + 1] - x[column],
                1,
                fill=False,
                hatch="/////",
                edgecolor="#595959",
                linewidth=0,
            )
        )
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
        f"{style.NAMES[one.method]} ({style.counted(one.growth.shape[-1], 'text')})",
        color=style.COLOURS[one.method],
        pad=9,
    )


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
    figure: Figure, axes: list[Axes], colours: Colormap, norm: LogNorm, medians: list[np.ndarray]
) -> None:
    values, contrast = np.concatenate([one.ravel() for one in medians]), float(norm.vmax or 1.0)
    low, high = bool(np.any(values < 0.999 / contrast)), bool(np.any(values > 1.001 * contrast))
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


def _handles(maps: list[StabilityMap], medians: list[np.ndarray]) -> list[Artist]:
    handles: list[Artist] = []
    if any(_crosses_one(values) for values in medians):
        handles.append(style.key(r"$\max|R(h\lambda)| = 1$", style.INK, line="-"))
    if any(mostly_lower_bound(one).any() for one in maps):
        handles.append(
            style.swatch(
                "lower bound for most texts", facecolor="none", hatch="/////", edgecolor="#595959"
            )
        )
    if any(np.isnan(values).any() for values in medians):
        handles.append(style.swatch("no value", facecolor="#D9D9D9"))
    return [*handles, style.key("step sizes of the run", style.INK, "v")]
