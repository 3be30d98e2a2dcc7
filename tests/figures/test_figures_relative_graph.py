"""The relative graph beside eigenvalues: its outline, its corner, and what lies within it."""

import numpy as np
import pytest
import synthetic

from figures import relative_graph, slider, spectra, style


def test_the_outline_is_the_boundary_and_its_mirror_image() -> None:
    run = synthetic.summary(layers=2, texts=5)
    graph = relative_graph.of_layer(run, 1)
    assert graph is not None and relative_graph.drawn_text(run) == 2
    upper, lower = relative_graph.outlines(graph)
    assert np.abs(upper + 1).max() == pytest.approx(synthetic.WORST[1] - 1, rel=1e-12)
    assert upper.imag.min() >= 0 and (lower == upper.conj()).all()
    lost = synthetic.changed(run, "relative_graph", relative_graph_boundary=lambda _: np.nan)
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
        run, "relative_graph", relative_graph_boundary=lambda one: -1 + 0.1 * (one + 1)
    )
    axes = spectra.draw(small, layer=0).axes
    assert [len(ax.child_axes) for ax in axes] == [0]
    dashed = [line for line in axes[0].get_lines() if line.get_linewidth() == relative_graph.WIDTH]
    assert len(dashed) == 2 and {line.get_color() for line in dashed} == {style.INK}


def test_a_run_without_it_is_drawn_without_it() -> None:
    run = synthetic.summary(layers=1)
    without = synthetic.with_dataset(run, "relative_graph", synthetic.empty()["relative_graph"])
    figure = spectra.draw(without)
    assert not any(ax.child_axes for ax in figure.axes) and not relative_graph.handles(without)


def test_the_slider_moves_its_outline() -> None:
    run = synthetic.summary(layers=1, map_steps=[0.5, 1.0])
    path = slider._graph(run, 0)
    assert path.count("M") == 2 and path.count("L") == 2 * (len(_boundary(run)) - 1)


def _boundary(run: synthetic.Measurements) -> np.ndarray:
    return np.asarray(run["relative_graph"]["relative_graph_boundary"].values[0, 0])
