"""Each layer's spectrum against the stability regions at every step size of the map, for a slider.

The page shows h = 1 without its script. The script moves the spectrum, as z = hλ, and swaps what is
prepared here for another h.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from analysis.quantities import METHODS
from analysis.run import Measurements
from figures import relative_graph, selection, style
from figures.findings import number
from figures.spectra import LayerSpectrum, spectra_of


class Frame(NamedTuple):
    """What is seen of the plane of z."""

    left: float
    right: float
    bottom: float
    top: float


FRAME = Frame(-4.0, 4.0, -3.0, 3.0)
COLOURS = {**style.COLOURS, "ink": style.INK, "faint": style.FAINT}


@dataclasses.dataclass(frozen=True)
class Plane:
    """One layer.

    Attributes:
        layer: index from 0.
        full: path of dots, all eigenvalues of one short text.
        leading: path of dots, leading eigenvalues of all texts.
        graph: path of the outline of one text's scaled relative graph; empty where there is none.
        captions: by step size.
    """

    layer: int
    full: str
    leading: str
    graph: str
    captions: list[str]


@dataclasses.dataclass(frozen=True)
class Slider:
    """What slider.html.j2 shows.

    Attributes:
        steps: the step sizes of the map.
        labels: of each step size.
        start: the place of h = 1 among them.
        planes: of each layer in order of depth.
        solvers: the truncated ones.
        regions: of each truncated solver its outlines, paths by step size.
        lemniscate: its path.
        frame: the part of the plane that is seen.
    """

    steps: list[float]
    labels: list[str]
    start: int
    planes: list[Plane]
    solvers: list[str]
    regions: list[list[str]]
    lemniscate: str
    frame: Frame = FRAME


def prepare(run: Measurements) -> Slider | None:
    """The planes at every step size; None where the run has no spectra, no map or no truncated
    solver.
    """
    if not (run["spectrum"] and run["stability_map"] and run["truncated"]):
        return None
    growth = run["stability_map"]["map_growth"]
    steps = growth["map_step_size"].values.tolist()
    solvers = run["truncated"]["truncated_amplification"]
    return Slider(
        steps=steps,
        labels=[number(h) for h in steps],
        start=int(np.argmin(np.abs(np.log(steps)))),
        planes=[_plane(run, growth, spectrum) for spectrum in spectra_of(run)],
        solvers=[str(name) for name in solvers["solver"].values],
        regions=[_outlines(region) for region in solvers],
        lemniscate=_lemniscate(),
    )


def _plane(run: Measurements, growth: xr.DataArray, spectrum: LayerSpectrum) -> Plane:
    full, dense = np.zeros(0), run["dense"]
    if spectrum.layer in selection.layers_of(dense):
        full = dense["full_eigenvalue"].sel(layer=spectrum.layer).isel(text=0).values
    return Plane(
        layer=spectrum.layer,
        full=_dots(full[np.isfinite(full)]),
        leading=_dots(spectrum.leading[np.isfinite(spectrum.leading)]),
        graph=_graph(run, spectrum.layer),
        captions=[
            _caption(growth.sel(layer=spectrum.layer, map_step_size=h), spectrum)
            for h in growth["map_step_size"].values
        ],
    )


def _graph(run: Measurements, layer: int) -> str:
    graph = relative_graph.of_layer(run, layer)
    halves = () if graph is None else relative_graph.outlines(graph)
    parts = [part for half in halves for part in relative_graph.off_axis(half)]
    return "".join(_path(np.stack([z.real, z.imag], axis=1), 3) for z in parts)


def _dots(values: np.ndarray) -> str:
    """One dot per eigenvalue, of a size that no scale changes; equal ones once."""
    places = sorted({(round(float(z.real), 3), round(float(z.imag), 3)) for z in values.ravel()})
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


def _caption(growth: xr.DataArray, spectrum: LayerSpectrum) -> str:
    medians = growth.median("text", skipna=False)
    by_method = ", ".join(
        f"{method} {number(float(medians.sel(scheme=method)))}" for method in METHODS
    )
    caption = f"Layer {spectrum.layer}: spectral growth {by_method}"

    h = float(growth["map_step_size"])
    z = h * spectrum.leading[np.isfinite(spectrum.leading)]
    seen = (z.real >= FRAME.left) & (z.real <= FRAME.right)
    seen &= (z.imag >= FRAME.bottom) & (z.imag <= FRAME.top)
    outside = int((~seen).sum())
    # what is moved out of the picture is said, not lost
    if outside:
        caption += f"; {outside} of {z.size} leading eigenvalues beyond the frame"
    return caption
