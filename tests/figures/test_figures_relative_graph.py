"""The relative graph beside eigenvalues: its outline, its corner, and what lies within it."""

import numpy as np
import synthetic
import xarray as xr

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
    assert "scaled relative graph of text 5, inset: all of it" in entries
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
    path = slider._graph(run, 0)
    graph = relative_graph.of_layer(run, 0)
    assert graph is not None
    parts = [
        part for half in relative_graph.outlines(graph) for part in relative_graph.off_axis(half)
    ]
    assert path.count("M") == len(parts) >= 2
    assert path.count("L") == sum(len(part) - 1 for part in parts)


def test_an_inner_circle_that_is_not_sure_leaves_no_hole() -> None:
    graph = relative_graph.of_layer(synthetic.summary(layers=1), 0)
    assert graph is not None and _hole(graph) > 0.04
    residual = graph.assign(relative_graph_inner_residual=graph["relative_graph_inner"])
    flags = graph.assign(relative_graph_inner_converged=graph["relative_graph_inner"] < 0)
    assert _hole(residual) == _hole(flags) == 0


def _hole(graph: xr.Dataset) -> float:
    """How far the lower side of the outline stands above the real axis at −1."""
    upper = relative_graph.outlines(graph)[0]
    lower = upper[len(upper) // 2 :]
    return float(lower[np.abs(lower.real + 1).argmin()].imag)
