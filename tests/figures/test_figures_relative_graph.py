"""The relative graph beside eigenvalues: its outline, its corner, and what lies within it."""

import numpy as np
import pytest
import synthetic
import xarray as xr
from synthetic_truncated import with_truncated

from analysis.quantities.relative_graph import centres
from figures import relative_graph, slider, spectra, style


def test_the_outline_is_the_boundary_and_its_mirror_image() -> None:
    run = synthetic.summary(layers=2, texts=5)
    graph = relative_graph.of_layer(run, 1)
    assert graph is not None and relative_graph.drawn_text(run) == 2
    upper, lower = relative_graph.outlines(graph)
    # The circles about −1 decide: all others hold the larger, and none holds the smaller.
    radius = synthetic.WORST[1] - 1
    distance = np.abs(upper + 1)[np.abs(upper.imag) > 0.02]
    assert np.minimum(np.abs(distance - radius), np.abs(distance - 0.05)).max() < 1e-6
    assert upper.imag.min() >= 0 and (lower == upper.conj()).all()
    lost = synthetic.changed(run, "relative_graph", relative_graph_outer=lambda _: np.nan)
    graph = relative_graph.of_layer(lost, 1)
    assert graph is not None and relative_graph.outlines(graph) == ()


def circles_of(matrix: np.ndarray) -> xr.Dataset:
    """The graph of a matrix as a run holds it, from dense singular values."""
    n = len(matrix)
    at = centres((0.5, 1.0))
    values = [np.linalg.svd(matrix - c * np.eye(n), compute_uv=False)[[0, -1]] for c in at]
    outer, inner = np.array(values).T
    reach = np.linalg.eigvalsh((matrix + matrix.T) / 2)[[0, -1]]
    known = np.ones(len(at), dtype=bool)
    circles = {
        "outer": outer,
        "inner": inner,
        "outer_residual": 0 * outer,
        "inner_residual": 0 * inner,
        "outer_converged": known,
        "inner_converged": known,
    }
    return xr.Dataset(
        {
            **{f"relative_graph_{name}": ("centre", each) for name, each in circles.items()},
            "relative_graph_boundary": ("boundary_point", reach + 0j),
        },
        coords={"centre": at},
    )


@pytest.mark.parametrize("seed", range(6))
def test_the_graph_of_a_matrix_lies_in_its_outline(seed: int) -> None:
    """Eigenvalues, of which most lie near the real axis and at a tip, and secants of directions;
    worst growth is on it.
    """
    random = np.random.default_rng(seed)
    n = 24
    low = random.normal(size=(n, 6)) @ random.normal(size=(6, n)) * 0.1 * 4.0 ** (seed % 3 - 2)
    matrix = low - np.diag(np.arange(n) >= 4)  # most eigenvalues at −1, some about 0
    upper, _ = relative_graph.outlines(circles_of(matrix))
    deltas = random.normal(size=(n, 400))
    deltas /= np.linalg.norm(deltas, axis=0)
    along = ((matrix @ deltas) * deltas).sum(0)
    across = np.linalg.norm(matrix @ deltas - along * deltas, axis=0)
    eigenvalues = np.linalg.eigvals(matrix)
    points = np.concatenate([along + 1j * across, eigenvalues.real + 1j * abs(eigenvalues.imag)])
    top, bottom = upper[: len(upper) // 2], upper[len(upper) // 2 :][::-1]
    # Straight lines between points of arcs miss a hair; eigenvalues at −1 are defective.
    width = 1e-3 * np.ptp(top.real)
    assert (points.imag <= np.interp(points.real, top.real, top.imag) + width).all()
    assert (points.imag >= np.interp(points.real, bottom.real, bottom.imag) - 1e-6).all()
    for h in (0.5, 1.0):
        worst = np.linalg.norm(np.eye(n) + h * matrix, 2)
        assert np.abs(1 + h * upper).max() == pytest.approx(worst, rel=1e-3)


def test_circles_that_did_not_converge_exclude_nothing() -> None:
    run = synthetic.summary(layers=1)
    graph = relative_graph.of_layer(run, 0)
    assert graph is not None
    points = np.array([-1 + 3j, -1 + 3.6j, 50.0])
    assert relative_graph.within(graph, points).tolist() == [True, False, False]
    unsure = graph.assign(relative_graph_outer_converged=graph["relative_graph_outer"] < 0)
    assert relative_graph.within(unsure, points).all()


def test_a_graph_that_leaves_the_frame_is_whole_in_a_corner() -> None:
    run = synthetic.summary(layers=2)
    figure = spectra.draw(run)
    assert [len(ax.child_axes) for ax in figure.axes] == [1, 1]
    entries = [entry.get_text() for entry in figure.legends[0].get_texts()]
    assert "scaled relative graph of text 4, inset where it is larger" in entries
    small = synthetic.changed(
        run, "relative_graph", relative_graph_outer=lambda one: 0.1 + abs(one["centre"] + 1)
    )
    axes = spectra.draw(small, layer=0).axes
    assert [len(ax.child_axes) for ax in axes] == [0]
    dashed = [line for line in axes[0].get_lines() if line.get_linewidth() == relative_graph.WIDTH]
    assert len(dashed) >= 2 and {line.get_color() for line in dashed} == {style.INK}


def test_a_run_without_it_is_drawn_without_it() -> None:
    run = synthetic.summary(layers=1)
    without = synthetic.with_dataset(run, "relative_graph", synthetic.empty()["relative_graph"])
    figure = spectra.draw(without)
    assert not any(ax.child_axes for ax in figure.axes) and not relative_graph.handles(without)


def test_the_slider_moves_its_outline() -> None:
    run = synthetic.summary(layers=1, map_steps=[0.5, 1.0])
    graph = relative_graph.of_layer(run, 0)
    assert graph is not None
    parts = [
        part for half in relative_graph.outlines(graph) for part in relative_graph.off_axis(half)
    ]
    shown = slider.prepare(with_truncated(run))
    assert shown is not None
    (plane,) = shown.planes
    assert plane.graph.count("M") == len(parts) >= 2
    assert plane.graph.count("L") == sum(len(part) - 1 for part in parts)


def test_an_inner_circle_that_is_not_sure_leaves_no_hole() -> None:
    graph = relative_graph.of_layer(synthetic.summary(layers=1), 0)
    assert graph is not None and _hole(graph) > 0.04
    residual = graph.assign(relative_graph_inner_residual=graph["relative_graph_inner"])
    flags = graph.assign(relative_graph_inner_converged=graph["relative_graph_inner"] < 0)
    wide = graph.assign(relative_graph_inner_residual=3 * graph["relative_graph_inner"])
    assert _hole(residual) == _hole(flags) == _hole(wide) == 0


def _hole(graph: xr.Dataset) -> float:
    """How far the lower side of the outline stands above the real axis at −1."""
    upper = relative_graph.outlines(graph)[0]
    lower = upper[len(upper) // 2 :]
    return float(lower[np.abs(lower.real + 1).argmin()].imag)
