"""Each layer's spectrum over the stability regions at every step size of the map, for the page.

The page shows the report's step size without its script. The script moves the spectrum, as z = hλ,
and swaps what is prepared here for another h.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from analysis.quantities import METHODS
from analysis.run import Measurements
from figures import readings, relative_graph, secants, selection, style
from figures.findings import number
from figures.inline_svg import joined
from figures.spectra import LayerSpectrum, spectra_of


class Frame(NamedTuple):
    """What is seen of the plane of z."""

    left: float
    right: float
    bottom: float
    top: float


LEAST_WIDE, MOST_WIDE = 2.25, 4.0  # half the frame: both discs, and no more than the regions have
COLOURS = {**style.COLOURS, "ink": style.INK, "faint": style.FAINT}


@dataclasses.dataclass(frozen=True)
class Dots:
    """Points of one text or edit.

    Attributes:
        who: as in `readings.Row`.
        path: of dots.
    """

    who: str
    path: str


@dataclasses.dataclass(frozen=True)
class Marked:
    """Secants of one kind of edits under one method.

    Attributes:
        name: by which the page calls them.
        look: which marker is drawn.
        rows: of edits.
    """

    name: str
    look: str
    rows: list[Dots]


@dataclasses.dataclass(frozen=True)
class Marker:
    """How a kind of edits is drawn.

    Attributes:
        kind: of edits.
        look: as in `Marked`; the hollow one ends in "hollow".
        colour: of the marker.
        outline: its path, of size 1 about 0.
    """

    kind: str
    look: str
    colour: str
    outline: str


@dataclasses.dataclass(frozen=True)
class Plane:
    """One layer.

    Attributes:
        layer: index from 0.
        full: all eigenvalues of one short text; None without them.
        leading: leading eigenvalues of each text that can be read out.
        others: path of the dots of all other texts, in hundredths; empty where there are none.
        unsettled: leading eigenvalues that did not converge.
        secants: of edits at the report's step size.
        graph: path of the outline of one text's scaled relative graph; empty where there is none.
        captions: by step size.
    """

    layer: int
    full: Dots | None
    leading: list[Dots]
    others: str
    unsettled: list[Dots]
    secants: list[Marked]
    graph: str
    captions: list[str]


@dataclasses.dataclass(frozen=True)
class Slider:
    """What slider.html.j2 shows.

    Attributes:
        steps: the step sizes of the map.
        labels: of each step size.
        start: the place among them of the report's step size, or of the nearest.
        planes: of each layer in order of depth.
        solvers: the truncated ones.
        regions: of each truncated solver its outlines, paths by step size.
        lemniscate: its path.
        markers: of the kinds of edits.
        measured: the label of the step size at which edits were followed.
        frame: the part of the plane that is seen.
        thinned: of how many texts eigenvalues can be read out; empty where of all.
    """

    steps: list[float]
    labels: list[str]
    start: int
    planes: list[Plane]
    solvers: list[str]
    regions: list[list[str]]
    lemniscate: str
    markers: list[Marker]
    measured: str
    frame: Frame
    thinned: str = ""


def prepare(run: Measurements, h: float = 1.0) -> Slider | None:
    """The planes at every step size; None where the run has no spectra, no map or no truncated
    solver.
    """
    if not (run["spectrum"] and run["stability_map"] and run["truncated"]):
        return None
    growth = run["stability_map"]["map_growth"]
    steps = growth["map_step_size"].values.tolist()
    solvers = run["truncated"]["truncated_amplification"]
    markers, every = _markers(run, h), spectra_of(run)
    texts = [f"t{text}" for text in run["spectrum"]["text"].values.tolist()]
    read = readings.sample(texts, _extreme(texts, every))
    frame = _frame(every, h)
    return Slider(
        steps=steps,
        labels=[number(step) for step in steps],
        start=int(np.argmin(np.abs(np.log(np.array(steps) / h)))),
        planes=[_plane(run, growth, spectrum, markers, h, read, frame) for spectrum in every],
        solvers=[str(name) for name in solvers["solver"].values],
        regions=[_outlines(region) for region in solvers],
        lemniscate=_lemniscate(),
        markers=markers,
        measured=number(h),
        frame=frame,
        thinned=f"{len(read)} of {len(texts)} texts" if len(read) < len(texts) else "",
    )


def _frame(every: list[LayerSpectrum], h: float) -> Frame:
    """As wide as nine in ten of the leading eigenvalues need at the report's step size, to the next
    quarter; 4 : 3 about 0, the same for all layers.
    """
    z = np.concatenate([h * spectrum.leading.ravel() for spectrum in every])
    needed = np.maximum(np.abs(z.real), np.abs(z.imag) * 4 / 3)[np.isfinite(z)]
    wide = float(np.quantile(needed, 0.9)) if len(needed) else LEAST_WIDE
    wide = float(np.clip(np.ceil(4 * wide) / 4, LEAST_WIDE, MOST_WIDE))
    return Frame(-wide, wide, -0.75 * wide, 0.75 * wide)


def _is_seen(z: np.ndarray, frame: Frame) -> np.ndarray:
    """Which points are within the frame."""
    seen = (z.real >= frame.left) & (z.real <= frame.right)
    return np.asarray(seen & (z.imag >= frame.bottom) & (z.imag <= frame.top))


def _extreme(texts: list[str], every: list[LayerSpectrum]) -> set[str]:
    """Whose eigenvalue is, in some layer, the farthest from −1 or the farthest to the right."""
    found = set()
    for spectrum in every:
        for size in (np.abs(spectrum.leading + 1), spectrum.leading.real):
            largest = np.where(np.isfinite(size), size, -np.inf).max(1)
            found.add(texts[int(largest.argmax())])
    return found


def _plane(
    run: Measurements,
    growth: xr.DataArray,
    spectrum: LayerSpectrum,
    markers: list[Marker],
    h: float,
    read: set[str],
    frame: Frame,
) -> Plane:
    texts = [f"t{text}" for text in run["spectrum"]["text"].values.tolist()]
    settled = np.where(spectrum.converged, spectrum.leading, np.nan)
    is_read = np.isin(texts, list(read))
    unsettled = np.where(spectrum.converged, np.nan, spectrum.leading)
    graph = _graph(run, spectrum.layer)
    return Plane(
        layer=spectrum.layer,
        full=_full(run["dense"], spectrum.layer),
        leading=_rows([text for text in texts if text in read], settled[is_read]),
        others=_nameless(settled[~is_read]),
        unsettled=_rows(texts, unsettled),
        secants=_secants(run, spectrum.layer, markers, h),
        graph="".join(_path(np.stack([z.real, z.imag], axis=1), 3) for z in graph),
        captions=[
            _caption(growth.sel(layer=spectrum.layer, map_step_size=step), spectrum, graph, frame)
            for step in growth["map_step_size"].values
        ],
    )


def _full(dense: xr.Dataset, layer: int) -> Dots | None:
    """To two decimals, a third of a pixel: there are many."""
    if layer not in selection.layers_of(dense):
        return None
    short = dense["full_eigenvalue"].sel(layer=layer).isel(text=0)
    path = _dots(short.values[np.isfinite(short.values)], digits=2)
    return Dots(f"t{int(short['text'])}", path) if path else None


def _rows(who: list[str], values: np.ndarray) -> list[Dots]:
    rows = [Dots(each, _dots(row[np.isfinite(row)])) for each, row in zip(who, values, strict=True)]
    return [row for row in rows if row.path]


def _nameless(values: np.ndarray) -> str:
    """Dots in hundredths, each relative to the one before; equal ones once."""
    z = 100 * values[np.isfinite(values)]
    places = np.unique(np.round(np.stack([z.real, z.imag], axis=1)), axis=0)
    return f"m{joined(places, 0, 'h0m')}h0" if len(places) else ""


OUTLINES = {  # of markers, of size 1 about 0, upwards as the plane is
    "^": "M-.5 -.5L0 .5L.5 -.5Z",
    "v": "M-.5 .5L0 -.5L.5 .5Z",
    "s": "M-.4 -.4H.4V.4H-.4Z",
}
DIAMOND = "M0 -.55L.55 0L0 .55L-.55 0Z"  # of all other kinds


def _markers(run: Measurements, h: float) -> list[Marker]:
    if not secants.measured_at(run, h):
        return []
    marks = secants.marks_of(run["secants"])
    return [
        Marker(kind, f"edit-{place}", colour, OUTLINES.get(marker, DIAMOND))
        for place, (kind, (marker, colour)) in enumerate(marks.items())
    ]


def _secants(run: Measurements, layer: int, markers: list[Marker], h: float) -> list[Marked]:
    """z = hζ by kind, where the explicit step starts and where the implicit one ends."""
    if not markers:
        return []
    _, dataset = secants.at_step_size(run, h)
    if layer not in selection.layers_of(dataset):
        return []
    marked = []
    for marker in markers:
        of_kind = dataset.isel(pair=np.flatnonzero(dataset["kind"].values == marker.kind))
        for method in METHODS:
            z = h * of_kind["secant"].sel(layer=layer, scheme=method)
            rows = zip(readings.who_of(z), z.values, strict=True)
            hollow = "" if method == "explicit" else "-hollow"
            marked.append(
                Marked(
                    f"secant of the edit ({marker.kind}), {method}",
                    marker.look + hollow,
                    [Dots(who, _point(each)) for who, each in rows if np.isfinite(each)],
                )
            )
    return marked


def _point(z: complex) -> str:
    """A place without a line, for a marker."""
    return f"M{z.real:.3f} {z.imag:.3f}"


def _graph(run: Measurements, layer: int) -> list[np.ndarray]:
    """The outline of one text's scaled relative graph off the real axis; empty without one."""
    graph = relative_graph.of_layer(run, layer)
    halves = () if graph is None else relative_graph.outlines(graph)
    return [part for half in halves for part in relative_graph.off_axis(half)]


def _dots(values: np.ndarray, digits: int = 3) -> str:
    """One dot per eigenvalue, of a size that no scale changes; equal ones once."""
    rounded = np.round(values.real, digits) + 1j * np.round(values.imag, digits)
    places = sorted({(float(z.real), float(z.imag)) for z in rounded.ravel()})
    return "".join(f"M{x:g} {y:g}h0" for x, y in places)


def _outlines(region: xr.DataArray) -> list[str]:
    """|R_k| = 1 in both half planes, a path for each step size."""
    outlines = []
    for amplification in region.transpose("map_step_size", "truncated_im", "truncated_re").values:
        level = np.log(np.clip(amplification.astype(float), 1e-9, 1e9))
        # where |R| is on one side of 1 everywhere there is no outline, and contour would warn
        upper = _level_lines(region, level) if level.min() < 0 < level.max() else []
        halves = [line * (1, sign) for line in upper for sign in (1, -1)]
        outlines.append("".join(_path(line, 2) for line in halves if len(line) > 1))
    return outlines


def _level_lines(region: xr.DataArray, level: np.ndarray) -> list[np.ndarray]:
    with style.house():
        axes = Figure().add_subplot()
        grid = (region["truncated_re"].values, region["truncated_im"].values)
        return list(axes.contour(*grid, level, levels=[0]).allsegs[0])


def _lemniscate() -> str:
    """z = ±√(1 + e^{iθ})."""
    root = np.sqrt(1 + np.exp(1j * np.linspace(-np.pi, np.pi, 121)))
    lobe = np.stack([root.real, root.imag], axis=1)
    return _path(lobe, 3) + _path(0 - lobe, 3)  # 0 − 0 is no negative zero


def _path(points: np.ndarray, digits: int) -> str:
    return "M" + "L".join(f"{x:.{digits}f} {y:.{digits}f}" for x, y in points)


def _caption(
    growth: xr.DataArray, spectrum: LayerSpectrum, graph: list[np.ndarray], frame: Frame
) -> str:
    medians = growth.median("text", skipna=False)
    by_method = ", ".join(
        f"{method} {number(float(medians.sel(scheme=method)))}" for method in METHODS
    )
    caption = f"Layer {spectrum.layer}: spectral growth {by_method}"

    h = float(growth["map_step_size"])
    z = h * spectrum.leading[np.isfinite(spectrum.leading)]
    outside = int((~_is_seen(z, frame)).sum())
    # what is moved out of the picture is said, not lost
    if outside:
        caption += f"; {outside} of {z.size} leading eigenvalues beyond the frame"
    outline = h * np.concatenate([np.zeros(0), *graph])
    if not _is_seen(outline, frame).all():
        caption += f"; the relative graph goes on beyond it, to |z| = {number(abs(outline).max())}"
    return caption
