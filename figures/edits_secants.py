"""Secants of an edit over the stability regions: where each layer's step damps it."""

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from analysis.edits.records import Edit, Edits, Method, Point, Walk
from figures import style
from figures.complex_plane import HALO
from figures.edits_growth import COLOURS, NARROW
from figures.records import not_a_number

CAPTION = (
    "Secants z = hζ of the edit over the stability regions, numbered by layer. An explicit step "
    "damps the edit exactly where its secant lies inside the left disc, growth |1 + z|. An "
    "implicit one damps it exactly where its secant at the end lies outside the right disc, growth "
    "1/|1 − z|; a line leads there from the secant at its start."
)
LEAST = (-1.3, 1.3, 1.3)  # left, right and upper end of a frame without secants
AIR = 0.15  # between a secant and the frame


@style.house()
def draw(record: Edits, edit: Edit, ax: style.Target = None) -> Figure:
    """Both stability regions in the upper half-plane, and each step's secant on the side that
    decides.

    Args:
        record: that the edit is part of.
        edit: to draw.
        ax: None for a new figure, else one Axes.
    """
    figure, (panel,) = style.panels(ax, 1, height=2.9, width=NARROW, below=0.5)
    points = {method: _deciding(edit.walks[method]) for method in record.methods}
    begins = _scaled(edit.walks["implicit"], edit.walks["implicit"].start)
    _frame(panel, np.concatenate([*points.values(), begins]))
    _draw_regions(panel)
    for begin, end in zip(begins, points["implicit"], strict=True):
        line = (style.COLOURS["implicit"], 0.7)
        panel.plot([begin.real, end.real], [begin.imag, end.imag], color=line[0], linewidth=line[1])
        panel.plot(
            begin.real, begin.imag, "o", color=line[0], markersize=3, markerfacecolor="white"
        )
    for method in record.methods:
        _draw_points(panel, points[method], edit.walks[method], method, record.steps)
    panel.set_xlabel(r"$\mathrm{Re}\,h\zeta$")
    panel.set_ylabel(r"$\mathrm{Im}\,h\zeta$")
    style.legend(figure, [panel], _handles(record, edit), ax is None, columns=2)
    return figure


def _deciding(walk: Walk) -> np.ndarray:
    """hζ at the start of explicit steps, at the end of others."""
    if not walk.end:
        return _scaled(walk, walk.start)
    starts, ends = _scaled(walk, walk.start), _scaled(walk, walk.end)
    return np.where(np.isnan(ends), starts, ends)


def _scaled(walk: Walk, points: list[Point]) -> np.ndarray:
    values = np.array([complex(*map(not_a_number, point)) for point in points])
    return np.array(walk.step_sizes) * values


def _frame(ax: Axes, points: np.ndarray) -> None:
    known = points[np.isfinite(points)]
    left = min([LEAST[0], *(known.real - AIR)])
    right = max([LEAST[1], *(known.real + AIR)])
    ax.set(aspect="equal", xlim=(left, right), ylim=(0, max([LEAST[2], *(known.imag + AIR)])))


def _draw_regions(ax: Axes) -> None:
    """Filled where a step damps, as in the figures of spectra."""
    left, right = ax.get_xlim()
    x = np.linspace(left, right, 241)
    y = np.linspace(0, ax.get_ylim()[1], 241)
    outside = np.abs(1 - (x + 1j * y[:, None])) - 1
    explicit, implicit = (style.COLOURS[method] for method in ("explicit", "implicit"))
    ax.contourf(x, y, outside, levels=[0, 1e9], colors=[implicit], alpha=0.12, zorder=0)
    ax.add_patch(Circle((-1, 0), 1, facecolor=explicit, alpha=0.10, linewidth=0, zorder=0))
    for centre, colour in ((-1, explicit), (1, implicit)):
        ax.add_patch(Circle((centre, 0), 1, fill=False, edgecolor=colour, linewidth=1.3, zorder=1))


def _draw_points(
    ax: Axes, points: np.ndarray, walk: Walk, method: Method, names: list[str]
) -> None:
    marker = "D" if method == "model" else "o"
    for z, solved, name in zip(points, walk.solved, names, strict=True):
        colour = COLOURS[method]
        face = colour if solved else "white"
        ax.plot(z.real, z.imag, marker, color=colour, markerfacecolor=face, zorder=3)
        if np.isfinite(z):
            ax.annotate(
                name,
                (z.real, z.imag),
                (3, 2),
                textcoords="offset points",
                fontsize=6.5,
                color=style.darker(colour),
                path_effects=HALO,
                zorder=4,
            )


def _handles(record: Edits, edit: Edit) -> list[Artist]:
    handles: list[Artist] = [
        style.key("explicit, at the start", COLOURS["explicit"], "o"),
        style.key("implicit, at the end", COLOURS["implicit"], "o"),
        style.key("implicit, at the start", COLOURS["implicit"], "o", hollow=True, size=3),
    ]
    if "model" in record.methods:
        handles.append(style.key("as the model runs", COLOURS["model"], "D"))
    if not all(all(walk.converged) for walk in edit.walks.values()):
        handles.append(style.key("from an unsolved step on", style.INK, "o", hollow=True))
    return handles
