"""A pair of panels on the complex plane: level lines of σ_min(zI − J) about the numerical range,
and a close-up of the spectrum.
"""

import dataclasses

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, Colormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from figures import spectra, style

# the fifth colour of Okabe and Ito: the numerical range, in every figure that draws it
RANGE = "#CC79A7"
DECADES = 3.5  # of ε that are drawn
CLOSE = 2.4  # half width of the close-up, which holds both stability discs of h = 1
# log10 ε from which level lines are drawn around the whole numerical range; smaller ones belong to
# the close-up
LARGE = -0.5
HALO = (withStroke(linewidth=1.5, foreground="white"),)


@dataclasses.dataclass(frozen=True)
class View:
    """What is drawn of one layer.

    Attributes:
        titles: of the panel with the whole numerical range, and of the close-up.
        re: `(m,)`.
        im: `(k,)`, both half planes.
        level: `(k, m)`, log10 of σ_min(zI − J); NaN where it is not finite.
        eigenvalues: complex.
        settled: which of them converged.
        boundary: of the numerical range, complex, once around.
        doubtful: which of its points did not converge.
        others: boundaries of other texts.
        inner: whether the pseudospectra are only bounded from inside.
    """

    titles: tuple[str, str]
    re: np.ndarray
    im: np.ndarray
    level: np.ndarray
    eigenvalues: np.ndarray
    settled: np.ndarray
    boundary: np.ndarray
    doubtful: np.ndarray
    others: tuple[np.ndarray, ...] = ()
    inner: bool = False


def both_halves(im: np.ndarray, sigma_min: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Imaginary parts and log10 σ_min in both half planes: J is real, so σ_min is the same at z and
    at its conjugate.
    """
    values = np.asarray(sigma_min, dtype=float)
    level = np.log10(
        np.where(
            np.isfinite(values) & (values >= 0), np.maximum(values, np.finfo(float).tiny), np.nan
        )
    )
    below = (
        slice(1, None) if len(im) and im[0] == 0 else slice(None)
    )  # the real axis is its own mirror image
    return np.concatenate([-im[below][::-1], im]), np.concatenate([level[below][::-1], level])


def draw_pairs(ax: style.Target, views: list[View], h: float) -> Figure:
    """Two panels for each view: around the numerical range, and close to the stability discs of
    step size h.
    """
    width = style.WIDTH if len(views) > 1 else 0.7 * style.WIDTH
    figure, axes = style.panels(
        ax, 2 * max(len(views), 1), columns=4, height=2.0, width=width, below=1.2
    )
    levels = half_decades(views)
    for i, panel in enumerate(axes):
        if i // 2 < len(views):
            (_draw_close if i % 2 else _draw_whole)(panel, views[i // 2], levels, h)
        else:
            style.nothing(panel)
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_locator(MaxNLocator(4, integer=True))
        place = panel.get_subplotspec()
        if len(axes) == 1 or style.is_leftmost(panel):
            panel.set_ylabel(r"$\mathrm{Im}\,z$")
        if place is None or i + place.get_gridspec().ncols >= len(axes):
            panel.set_xlabel(r"$\mathrm{Re}\,z$")
    if len(levels) > 1:
        scale = ScalarMappable(BoundaryNorm(levels, len(levels) - 1), shades(levels))
        bar = figure.colorbar(
            scale, ax=axes, extend="min", location="bottom", aspect=50, shrink=0.7
        )
        bar.set_ticks(list(levels), labels=[sign(level) for level in levels])
        bar.set_label(
            r"$\log_{10}\varepsilon$,  $\varepsilon = \sigma_{\min}(zI - J)$"
            + (", upper bound" if views[0].inner else "")
        )
    style.legend(figure, axes, _handles(views, h), ax is None, columns=2)
    return figure


def half_decades(views: list[View]) -> np.ndarray:
    """Half decades from the largest value downwards."""
    finite = np.concatenate([np.zeros(0), *(one.level[np.isfinite(one.level)] for one in views)])
    if not len(finite):
        return np.zeros(0)
    top = np.floor(2 * finite.max()) / 2
    return np.asarray(np.arange(max(top - DECADES, np.ceil(2 * finite.min()) / 2), top + 0.25, 0.5))


def shades(levels: np.ndarray) -> Colormap:
    """Viridis lightened, so that lines and dots stand out; lightness still grows evenly with ε."""
    shades = 0.6 + 0.4 * colormaps["viridis"](np.linspace(0, 0.97, len(levels)))[:, :3]
    return ListedColormap(shades[1:]).with_extremes(under=shades[0], over="white")


def _draw_whole(ax: Axes, view: View, levels: np.ndarray, h: float) -> None:
    draw_levels(ax, view, levels, [level for level in levels if level >= LARGE])
    _draw_discs(ax, h)
    for other in view.others:
        ax.plot(*closed(other), color=style.FAINT, linewidth=0.5, zorder=2)
    ax.plot(*closed(view.boundary), color=RANGE, linewidth=1.5, zorder=3)
    doubtful = view.boundary[view.doubtful]
    ax.plot(
        doubtful.real,
        doubtful.imag,
        "o",
        color=RANGE,
        markersize=3.5,
        markerfacecolor="white",
        zorder=4,
    )
    ax.plot(
        view.eigenvalues.real,
        view.eigenvalues.imag,
        ".",
        color=style.INK,
        markersize=1,
        markeredgewidth=0,
        zorder=3,
        rasterized=True,
    )
    close = _half_width(h)
    ax.add_patch(
        Rectangle(
            (-close, -close),
            2 * close,
            2 * close,
            fill=False,
            edgecolor=style.GUIDE,
            linewidth=0.6,
            zorder=2,
        )
    )
    reach = [
        np.abs(np.asarray(edge)[np.isfinite(edge)]).max(initial=0.0)
        for edge in (view.im, view.boundary.imag)
    ]
    span = [float(edge) for edge in (*_ends(view.re), *_ends(view.boundary.real), -close, close)]
    half = max(*reach, (max(span) - min(span)) / 2) + 0.1
    middle = (max(span) + min(span)) / 2
    ax.set(aspect="equal", xlim=(middle - half, middle + half), ylim=(-half, half))
    ax.set_title(view.titles[0], fontsize=7)


def _draw_close(ax: Axes, view: View, levels: np.ndarray, h: float) -> None:
    draw_levels(ax, view, levels, list(levels))
    _draw_discs(ax, h)
    ax.plot(*closed(view.boundary), color=RANGE, linewidth=1.5, zorder=3)
    bulk = np.abs(view.eigenvalues + 1) <= spectra.BULK
    size = 2.4 if len(view.eigenvalues) < 100 else 1.0
    for chosen, face in ((~bulk & view.settled, style.INK), (~bulk & ~view.settled, "white")):
        z = view.eigenvalues[chosen]
        ax.plot(
            z.real,
            z.imag,
            "o",
            color=style.INK,
            markersize=size,
            markerfacecolor=face,
            markeredgewidth=0.3,
            zorder=1.5,
            rasterized=True,
        )
    if count := int(bulk.sum()):
        size = 4 + 1.5 * np.log10(count)
        ax.plot(
            -1,
            0,
            "o",
            color=style.FAINT,
            markersize=size,
            markeredgecolor=style.INK,
            markeredgewidth=0.6,
            zorder=5,
        )
        ax.annotate(
            f"×{count}",
            (-1, 0),
            (0, 4),
            textcoords="offset points",
            ha="center",
            fontsize=6.5,
            zorder=6,
            path_effects=HALO,
        )
    half = _half_width(h)
    ax.set(aspect="equal", xlim=(-half, half), ylim=(-half, half))
    ax.set_title(view.titles[1], fontsize=7)


def draw_levels(ax: Axes, view: View, levels: np.ndarray, lines: list[float]) -> None:
    """Filled pseudospectra of all levels, and the boundaries of those in `lines`."""
    inside = [
        level
        for level in lines
        if np.nanmin(view.level, initial=np.inf) < level < np.nanmax(view.level, initial=-np.inf)
    ]
    if len(levels) < 2 or not inside or min(view.level.shape) < 2:
        return
    grid = (view.re, view.im, np.ma.masked_invalid(view.level))
    ax.contourf(
        *grid,
        levels=levels,
        cmap=shades(levels),
        norm=BoundaryNorm(levels, len(levels) - 1),
        extend="min",
        zorder=0,
    )
    drawn = ax.contour(
        *grid,
        levels=inside,
        colors=["#595959"],
        linestyles=["--" if view.inner else "-"],
        linewidths=0.5,
        zorder=2,
    )
    for label in ax.clabel(
        drawn,
        levels=[level for level in inside if level % 1 == 0],
        fmt=sign,
        fontsize=6,
        inline_spacing=2,
    ):
        label.set(path_effects=HALO, color=style.INK, zorder=6)


def _draw_discs(ax: Axes, h: float) -> None:
    """|1 + hz| = 1 and |1 − hz| = 1."""
    circle = np.exp(1j * np.linspace(0, 2 * np.pi, 121))
    for method, centre in (("explicit", -1 / h), ("implicit", 1 / h)):
        z = centre + circle / h
        ax.plot(z.real, z.imag, color=style.COLOURS[method], linewidth=1.3, zorder=3)


def _half_width(h: float) -> float:
    """Of the close-up, whatever the step size: of a small step the discs are large and lie half
    outside.
    """
    return CLOSE * max(1.0, 1 / h)


def closed(boundary: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Real and imaginary parts of a closed curve."""
    around = np.append(boundary, boundary[:1])
    return around.real, around.imag


def _ends(values: np.ndarray) -> tuple[float, float]:
    finite = np.asarray(values)[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)


def sign(value: float) -> str:
    """A number with a minus sign that is none of a hyphen's length."""
    return f"{value:g}".replace("-", "−")


def _handles(views: list[View], h: float) -> list[Artist]:
    """Column by column, as a legend is filled: what belongs to J, what belongs to the methods."""
    inner = any(view.inner for view in views)
    handles: list[Artist] = [
        style.key(
            "leading eigenvalues of $J$" if inner else "eigenvalues of $J$", style.INK, "o", size=2
        )
    ]
    if any((np.abs(view.eigenvalues + 1) <= spectra.BULK).any() for view in views):
        bulk = style.key(r"$\times n$: $n$ eigenvalues at $-1$", style.INK, "o", size=6)
        bulk.set(markerfacecolor=style.FAINT, markeredgewidth=0.6)
        handles.append(bulk)
    if not all(view.settled.all() for view in views):
        handles.append(
            style.key("eigenvalues, not converged", style.INK, "o", hollow=True, size=2.5)
        )
    text = (
        r"$\varepsilon$-pseudospectra, at least this large"
        if inner
        else r"boundaries of $\varepsilon$-pseudospectra"
    )
    handles.append(style.key(text, "#595959", line="--" if inner else "-", width=0.6))
    handles.append(
        style.key("numerical range" + (" of the text" if inner else ""), RANGE, line="-")
    )
    if any(view.others for view in views):
        handles.append(
            style.key("numerical ranges of the other texts", style.FAINT, line="-", width=0.7)
        )
    if any(view.doubtful.any() for view in views):
        handles.append(style.key("boundary point not converged", RANGE, "o", hollow=True, size=3.5))
    step = "z" if h == 1 else f"{h:g}z"
    handles.append(
        style.key(
            rf"$|1 + {step}| = 1$, {style.NAMES['explicit']} (stable inside)",
            style.COLOURS["explicit"],
            line="-",
        )
    )
    handles.append(
        style.key(
            rf"$|1 - {step}| = 1$, {style.NAMES['implicit']} (stable outside)",
            style.COLOURS["implicit"],
            line="-",
        )
    )
    return handles
