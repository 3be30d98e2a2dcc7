"""The scaled relative graph of a layer beside its eigenvalues: its outline, and what lies within
its circles.
"""

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Circle

from analysis.quantities.relative_graph import of_median_length
from analysis.run import Measurements
from figures import selection, style

LINE = (0, (5, 1.2))
WIDTH = 1.0
POINTS = 81  # of an outline over all of the graph, and as many where the discs of h = 1 are
DENSE = 3.0
INSET = (0.0, 0.0, 0.2, 0.34)  # of a panel: the whole graph, where it leaves the frame


def drawn_text(run: Measurements) -> int | None:
    """The text whose graphs are drawn: of those measured the one of median length; None without
    any.
    """
    dataset = run["relative_graph"]
    if not dataset:
        return None
    texts, tokens = sorted(dataset["text"].values.tolist()), run.config.get("tokens") or []
    if len(tokens) <= texts[-1]:
        return int(texts[len(texts) // 2])
    return of_median_length(texts, tokens)


def of_layer(run: Measurements, layer: int) -> xr.Dataset | None:
    """The graph of a layer that is drawn; None where none was measured."""
    dataset = run["relative_graph"]
    if layer not in selection.layers_of(dataset):
        return None
    return dataset.sel(layer=layer, text=drawn_text(run))


def outlines(graph: xr.Dataset) -> tuple[np.ndarray, ...]:
    """What lies between the two circles about every centre, in the upper and in the lower half
    plane: complex, each once around; none where it is not known.

    All of the graph lies in it, to the residuals of the circles and the width of a line, and it
    touches each of them. An inner circle is drawn no larger than it surely is.
    """
    centres = graph["centre"].values
    outer = graph["relative_graph_outer"].values
    inner = (graph["relative_graph_inner"] - graph["relative_graph_inner_residual"]).values
    known = np.isfinite(outer).all() and np.isfinite(graph["relative_graph_boundary"]).all()
    if not (known and graph["relative_graph_outer_converged"].all()):
        return ()
    sure = graph["relative_graph_inner_converged"].values & (inner >= 0)
    holes, inner = centres[sure], inner[sure]
    # Beyond the outermost real parts the circles say little: their centres would have to be far.
    reached = graph["relative_graph_boundary"].values.real
    left = max(float((centres - outer).max()), float(reached.min()))
    right = min(float((centres + outer).min()), float(reached.max()))
    near, far = (float(np.clip(end, left, right)) for end in (-DENSE, DENSE))
    corners = [_crossings(centres, outer), _crossings(holes, inner), holes - inner, holes + inner]
    x = np.unique(
        np.clip(
            np.concatenate([_towards_ends(left, right), np.linspace(near, far, POINTS), *corners]),
            left,
            right,
        )
    )
    top = _heights(x, centres, outer).min(0).clip(0)
    bottom = _heights(x, holes, inner).max(0, initial=0.0).clip(0, top)
    upper = np.concatenate([x + 1j * np.sqrt(top), (x + 1j * np.sqrt(bottom))[::-1]])
    return upper, upper.conj()


def _heights(x: np.ndarray, centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Im² over x of each circle, `(circles, points)`."""
    return np.asarray(radii[:, None] ** 2 - (x - centres[:, None]) ** 2)


def _crossings(centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """The real parts where circles about neighbouring centres cross: corners of what they bound,
    which a straight line between other points would cut off.
    """
    power = radii**2 - centres**2
    return np.asarray(-np.diff(power) / (2 * np.diff(centres)))


def _towards_ends(left: float, right: float) -> np.ndarray:
    """Points that are dense at both ends, where an outline is steep."""
    along = np.sin(np.linspace(-np.pi / 2, np.pi / 2, POINTS))
    return np.asarray((left + right) / 2 + (right - left) / 2 * along)


def off_axis(half: np.ndarray) -> list[np.ndarray]:
    """The parts of an outline that do not run along the real axis, where it would hide the
    spectrum.
    """
    on_axis = half.imag == 0
    breaks = np.flatnonzero(np.diff(on_axis)) + 1
    parts = np.split(half, breaks)
    return [part for part in parts if len(part) > 1 and part[0].imag != 0]


def within(graph: xr.Dataset, points: np.ndarray) -> np.ndarray:
    """Which points lie within every outer circle, to its residual: in the hull of the graph, the
    real axis below it included. A circle that has not converged excludes nothing.
    """
    centres = graph["centre"].values
    radii = (graph["relative_graph_outer"] + graph["relative_graph_outer_residual"]).values
    inside = np.abs(points[..., None] - centres) <= radii * (1 + 1e-9)
    settled = graph["relative_graph_outer_converged"].values
    return np.asarray((inside | ~settled).all(-1))


def draw_on(ax: Axes, graph: xr.Dataset, h: float) -> None:
    """The outline at step size h where it passes through the frame, and all of it in a corner."""
    halves = [h * half for half in outlines(graph)]
    for z in (part for half in halves for part in off_axis(half)):
        ax.plot(z.real, z.imag, color=style.INK, linestyle=LINE, linewidth=WIDTH, zorder=1.8)
    (left, right), (_, top) = ax.get_xlim(), ax.get_ylim()
    if any(z.real.min() < left or z.real.max() > right or z.imag.max() > top for z in halves):
        _draw_whole(ax, halves)


def _draw_whole(ax: Axes, halves: list[np.ndarray]) -> None:
    """The graph beside the discs of both methods, in a corner of the panel."""
    corner = ax.inset_axes(INSET)
    for z in halves:
        corner.fill(z.real, z.imag, facecolor="#EBEBEB", edgecolor=style.INK, linewidth=0.6)
    for method, centre in (("explicit", -1.0), ("implicit", 1.0)):
        disc = Circle((centre, 0), 1, color=style.COLOURS[method], alpha=0.6, linewidth=0)
        corner.add_patch(disc)
    corner.set(aspect="equal", anchor="SW", xticks=[], yticks=[])
    corner.patch.set_alpha(0.85)
    corner.spines[:].set(visible=True, linewidth=0.4, color=style.GUIDE)
    reach = float(np.abs(halves[0]).max())
    ax.text(0.14, 0.02, rf"$|z| \leq {reach:.2g}$", transform=ax.transAxes, fontsize=6)


def handles(run: Measurements) -> list[Artist]:
    """Its entry in a legend; none where none was measured."""
    text = drawn_text(run)
    if text is None:
        return []
    label = f"scaled relative graph of text {text}, inset where it is larger"
    return [style.key(label, style.INK, line=LINE, width=WIDTH)]
