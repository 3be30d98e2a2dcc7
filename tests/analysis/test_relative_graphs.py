"""The relative graph of a small real run holds the eigenvalues, and worst growth is read off it."""

from pathlib import Path

import numpy as np
import pytest
import torch

import odestab as od
from analysis.cells import Scope
from analysis.config import StudyConfig
from analysis.quantities.relative_graph import centres, of_median_length, plan
from analysis.run import Measurements, read_measurements

TOKENS = [5, 8, 5, 8, 4, 4]
MIDDLE = 2  # of these in the order 4, 4, 5, 5, 8, 8
# growth_rtol is 1e-2, and values are of second order in it
SECOND_ORDER = 1e-3


@pytest.fixture(scope="module")
def found(finished: Path) -> Measurements:
    return read_measurements(finished)


def test_one_text_of_median_length_is_measured_and_in_full_depth_all() -> None:
    assert of_median_length(range(6), TOKENS) == MIDDLE
    texts = tuple(f"text {i}" for i in range(6))
    for depth, expected in (("quick", [(MIDDLE,)]), ("full", [(4, 5, 0, 2, 1, 3)])):
        config = StudyConfig("bert", texts, depth=depth)
        cells = plan(Scope(config, (0,), TOKENS, 16, {}))
        assert [cell.texts for cell in cells] == expected


def test_centres_are_ascending_and_hold_those_of_the_discs() -> None:
    found = centres((0.25, 1.0))
    assert (np.diff(found) > 0).all() and {-4.0, -1.0, 1.0, 4.0} <= set(found.tolist())


def test_worst_growth_of_the_explicit_step_is_read_off_it(found: Measurements) -> None:
    graph = found["relative_graph"]
    assert graph["text"].values.tolist() == [MIDDLE] and not found.shortfalls()
    worst = found["growth"]["worst_growth"].sel(step_size=1.0, text=MIDDLE, scheme="explicit")
    known = graph["relative_graph_growth"].sel(step_size=1.0, text=MIDDLE)
    np.testing.assert_allclose(known, worst.sel(layer=known["layer"]), rtol=SECOND_ORDER)
    # It is the circle about −1/h, and no point of the boundary lies beyond.
    circle = graph["relative_graph_outer"].sel(centre=-1.0, text=MIDDLE)
    np.testing.assert_allclose(circle, known, rtol=1e-10)
    farthest = abs(1 + graph["relative_graph_boundary"]).max("boundary_point").sel(text=MIDDLE)
    np.testing.assert_allclose(farthest, known, rtol=1e-10)


def test_worst_growth_of_the_implicit_step_is_on_the_graph_where_it_ends(
    desk: Path, found: Measurements
) -> None:
    encoder, tokenizer = od.load_encoder(str(desk / "bert"), torch.float64)
    batch = tokenizer([found.config["texts"][MIDDLE]], return_tensors="pt")
    trajectory = od.trace(encoder, batch, field="increment")
    method = od.ImplicitEuler(1.0, solver=od.Auto(rtol=1e-10))
    worst = found["growth"]["worst_growth"].sel(step_size=1.0, text=MIDDLE, scheme="implicit")
    for layer, field in enumerate(trajectory.fields):
        y = method.step(field, trajectory.states[layer]).state
        graph = od.scaled_relative_graph(od.Jacobian(field, y), torch.tensor([1.0]))
        growth = float(worst.sel(layer=layer))
        assert float(graph.worst_growth(method)) == pytest.approx(growth, rel=SECOND_ORDER)
        assert 1 / float(graph.inner) == pytest.approx(growth, rel=SECOND_ORDER)


def test_eigenvalues_lie_in_it(found: Measurements) -> None:
    eigenvalues = found["dense"]["full_eigenvalue"].sel(text=MIDDLE)
    graph = found["relative_graph"].sel(text=MIDDLE)
    distance = abs(eigenvalues - graph["centre"])
    known = np.isfinite(distance)
    # Errors of eigenvalues of a non-normal matrix are large beside rounding.
    assert bool(((distance <= graph["relative_graph_outer"] + 1e-6) | ~known).all())
    inner = graph["relative_graph_inner"] - graph["relative_graph_inner_residual"]
    assert bool(((distance >= inner - 1e-6) | ~known).all())
