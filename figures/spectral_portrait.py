"""One operator and one method in one picture: eigenvalues, pseudospectra, numerical range and
scaled relative graph of hJ over the region of stability.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.typing import LineStyleType

from figures import style
from figures.complex_plane import (
    RANGE,
    View,
    both_halves,
    closed,
    draw_levels,
    half_decades,
    shades,
    sign,
)
from figures.relative_graph import LINE, off_axis

SIDE = 4.2  # inches
STABLE = {"explicit": style.COLOURS["explicit"], "implicit": style.COLOURS["implicit"]}
HATCH = "//"  # of the region of stability


def portrait(
    source: Any,
    method: Any = None,
    h: float | None = None,
    x: Any = None,
    *,
    parts: Sequence[str] | None = None,
    path: str | Path | None = None,
    window: tuple[float, float, float] | None = None,
    points: int | None = None,
    example: int | None = None,
) -> Figure:
    """Draw the spectral sets of hJ over the region |R(z)| ≤ 1 of a method.

    Args:
        source: an operator, a matrix of any kind or a vector field, as `odestab.spectral_portrait`
            takes it; or the record that it returns, alone.
        method: "explicit" (the default), "implicit", a method of odestab, the name of a Runge–Kutta
            method or a function R(z).
        h: the step size.
        x: the state at which a field is linearised.
        parts: out of "eigenvalues", "pseudospectra", "range" and "graph"; None is all.
        path: where to write the picture, .svg, .pdf or .png; None writes none.
        window: left, right and top of what is shown.
        points: of the grid along either axis.
        example: which one of the batch.

    Raises:
        ValueError: if the suffix of the path is unknown, or `odestab.spectral_portrait` says so.
        TypeError: if a record comes with more than a path.

    Example:
        >>> from figures import portrait
        >>> len(portrait([[-1.0, 4.0], [0.0, -2.0]], "rk4", h=0.5, points=11).axes)
        2
    """
    given = {
        "method": method,
        "h": h,
        "x": x,
        "parts": parts,
        "window": window,
        "points": points,
        "example": example,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if hasattr(source, "amplification"):
        if given:
            raise TypeError(f"a computed portrait must come alone, got {', '.join(given)} too")
        record = source
    else:
        # The one place where figures asks for what it draws, so that a picture is one call.
        import odestab

        record = odestab.spectral_portrait(source, **given)
    figure = draw(record)
    if path is not None:
        style.write(figure, Path(path))
    return figure


@style.house()
def draw(record: Any, ax: style.Target = None) -> Figure:
    """The same of a record, on a new figure or on Axes.

    Args:
        record: of `odestab.spectral_portrait`.
        ax: None for a new figure, or one Axes.
    """
    figure, axes = style.panels(ax, 1, columns=1, height=SIDE, width=SIDE * 1.1, below=1.1)
    panel = axes[0]
    view = _view(record)
    levels = half_decades([view])
    draw_levels(panel, view, levels, list(levels))
    _draw_region(panel, record)
    _draw_graph(panel, record)
    _draw_range(panel, view)
    _draw_eigenvalues(panel, view)
    top = float(_array(record.im)[-1])
    re = view.re
    panel.set(aspect="equal", xlim=(re[0], re[-1]), ylim=(-top, top))
    panel.set(xlabel=r"$\mathrm{Re}\,z$", ylabel=r"$\mathrm{Im}\,z$")
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(MaxNLocator(6, integer=True))
    panel.set_title(f"{style.plain(record.name)}, $h$ = {record.step_size:g}")
    if len(levels) > 1:
        scale = ScalarMappable(BoundaryNorm(levels, len(levels) - 1), shades(levels))
        bar = figure.colorbar(scale, ax=panel, extend="min", location="bottom", aspect=40)
        bar.set_ticks(list(levels), labels=[sign(level) for level in levels])
        bar.set_label(r"$\log_{10}\varepsilon$,  $\varepsilon = \sigma_{\min}(zI - hJ)$")
    style.legend(figure, axes, _handles(record, view), ax is None, columns=2)
    return figure


def _array(values: Any) -> np.ndarray:
    """A tensor of any device as an array; what is one stays one."""
    return np.asarray(values.cpu() if hasattr(values, "cpu") else values)


def _view(record: Any) -> View:
    """What the panels of a run draw, of a record."""
    im = _array(record.im)
    sigma_min = _array(record.sigma_min)
    if not sigma_min.size:
        sigma_min = np.full((len(im), len(_array(record.re))), np.nan)
    halves, level = both_halves(im, sigma_min)
    return View(
        ("", ""),
        _array(record.re),
        halves,
        level,
        _array(record.eigenvalues),
        _array(record.settled).astype(bool),
        _array(record.range),
        ~_array(record.range_settled).astype(bool),
        inner=record.inner,
    )


def _draw_region(ax: Axes, record: Any) -> None:
    """The boundary |R(z)| = 1, and the stable side hatched."""
    colour = STABLE.get(record.kind, style.INK)
    im, size = both_halves(_array(record.im), _array(record.amplification))
    # log10|R|: its level line is smoother than that of |R| beside a pole.
    size = np.ma.masked_invalid(np.clip(size, -4.0, 4.0))
    grid = (_array(record.re), im, size)
    if size.min() < 0:
        stable = ax.contourf(*grid, levels=[-9.0, 0.0], colors="none", hatches=[HATCH], zorder=1.2)
        stable.set(edgecolor=(*to_rgb(colour), 0.45), linewidth=0)
    if size.min() < 0 < size.max():
        ax.contour(*grid, levels=[0.0], colors=[colour], linewidths=1.8, zorder=3.2)


def _draw_graph(ax: Axes, record: Any) -> None:
    upper = _array(record.graph)
    for half in (upper, upper.conj()):
        for z in off_axis(half) if len(half) else ():
            ax.plot(z.real, z.imag, color=style.INK, linestyle=LINE, linewidth=1.0, zorder=3)


def _draw_range(ax: Axes, view: View) -> None:
    if not len(view.boundary):
        return
    ax.plot(*closed(view.boundary), color=RANGE, linewidth=1.6, zorder=3.1)
    doubtful = view.boundary[view.doubtful]
    if not len(doubtful):
        return
    style.dots(ax, doubtful.real, doubtful.imag, RANGE, size=3.5, hollow=True, zorder=4)


def _draw_eigenvalues(ax: Axes, view: View) -> None:
    size = 3.0 if len(view.eigenvalues) < 200 else 1.5
    for chosen, hollow in ((view.settled, False), (~view.settled, True)):
        z = view.eigenvalues[chosen]
        if not len(z):
            continue
        style.dots(ax, z.real, z.imag, style.INK, size=size, hollow=hollow, zorder=5)


def _handles(record: Any, view: View) -> list[Artist]:
    """What belongs to J, then what belongs to the method."""
    colour = STABLE.get(record.kind, style.INK)
    handles: list[Artist] = []
    if "eigenvalues" in record.parts:
        which = "eigenvalues" if record.complete else "leading eigenvalues"
        handles.append(style.key(f"{which} of $hJ$", style.INK, "o", size=3))
    if not view.settled.all():
        handles.append(style.hollow("not converged"))
    if "pseudospectra" in record.parts:
        label = r"$\varepsilon$-pseudospectra" + (", at least this large" if view.inner else "")
        line: LineStyleType = "--" if view.inner else "-"
        handles.append(style.key(label, "#595959", line=line, width=0.6))
    if "range" in record.parts:
        handles.append(style.key("numerical range", RANGE, line="-"))
    if "graph" in record.parts:
        unsure = "" if record.graph_settled else ", not converged"
        handles.append(style.key(f"scaled relative graph{unsure}", style.INK, line=LINE, width=1.0))
    handles.append(style.key(r"$|R(z)| = 1$", colour, line="-", width=1.8))
    edge = (*to_rgb(colour), 0.45)
    handles.append(
        style.swatch("stable: $|R(z)| < 1$", facecolor="none", edgecolor=edge, hatch=HATCH * 2)
    )
    return handles
