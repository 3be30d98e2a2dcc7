"""What cells of a study cost, counted in evaluations and products of a layer, never in seconds."""

import dataclasses
from collections import Counter
from pathlib import Path

import pytest
from torch import Tensor

from analysis import sweep
from analysis.cells import CellPlan, sharing_a_path
from analysis.config import StudyConfig, read_texts
from analysis.measure import measure
from analysis.units import useful_workers
from odestab.fields import linearized_layer
from odestab.fields.vector_field import LayerVectorField

DEPTH = 2


@pytest.fixture
def spent(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Texts on which a layer was evaluated, and tangents of texts in its products, from now on."""
    counts: Counter[str] = Counter()

    def count(kind: type, method: str, name: str) -> None:
        own = kind.__dict__[method]

        def counted(self: object, x: Tensor) -> Tensor:
            counts[name] += x[..., 0, 0].numel()
            return own(self, x)

        monkeypatch.setattr(kind, method, counted)

    count(LayerVectorField, "__call__", "evaluations")
    count(LayerVectorField, "unsplit", "evaluations")
    count(linearized_layer.LinearizedLayer, "mv", "products")
    count(linearized_layer.LinearizedLayer, "rmv", "products")
    return counts


@pytest.fixture
def prepared(desk: Path) -> sweep.Sweep:
    texts, pairs = read_texts(Path("texts.tsv"))
    config = StudyConfig("bert", texts, pairs, dense_limit=160)
    return sweep.prepare(config, lambda line: None)


@pytest.mark.slow
def test_sizes_of_one_direction_cost_little_more_than_the_clean_path(
    prepared: sweep.Sweep, spent: Counter[str]
) -> None:
    gaussian = next(cell for cell in prepared.cells if cell.perturbation == "gaussian")
    measure(prepared.study, gaussian)
    whole = spent["evaluations"] / len(gaussian.texts) / DEPTH
    spent.clear()
    narrow = dataclasses.replace(gaussian, perturbation="worst")
    measure(prepared.study, narrow)
    # Its path is the gaussian one's: two explicit forwards of one size, and as many evaluations of
    # a solve that begins at its linear prediction.
    assert spent["evaluations"] / len(gaussian.texts) / DEPTH <= 4
    # 15 solves from the state that enters each step would take more than a hundred.
    assert whole <= 60


def test_secants_of_edits_whose_growth_was_measured_take_six_evaluations_a_layer(
    prepared: sweep.Sweep, spent: Counter[str]
) -> None:
    growth = next(cell for cell in prepared.cells if cell.perturbation == "synonym")
    typo = [cell for cell in prepared.cells if cell.perturbation == "typo"]
    assert [cell.kind for cell in typo] == ["propagation", "secants"]
    assert growth.kind == "secants"  # its pair is of unequal counts: it has no growth
    measure(prepared.study, typo[0])
    spent.clear()
    measure(prepared.study, typo[1])
    # Both ends of the implicit steps and one of the explicit, of either text, and nothing else.
    assert spent == {"evaluations": 6 * DEPTH * len(typo[1].texts)}


def test_cells_of_one_path_stand_together() -> None:
    cells = [
        CellPlan("propagation", (0, 1), step_size=1.0, perturbation="typo"),
        CellPlan("propagation", (0, 1), step_size=1.0, perturbation="gaussian"),
        CellPlan("propagation", (0, 1), step_size=1.0, perturbation="worst"),
        CellPlan("propagation", (0, 1), step_size=2.0, perturbation="worst"),
        CellPlan("secants", (0, 1), step_size=1.0, perturbation="typo"),
        CellPlan("exponents", (0, 1), step_size=1.0),
        CellPlan("layer", (0, 1), layer=0),
        CellPlan("declared", (0, 1), perturbation="gaussian"),
        CellPlan("dense", (0,), layer=0),
    ]
    assert [[cells.index(cell) for cell in group] for group in sharing_a_path(cells)] == [
        [0, 4],
        [1, 2, 5],
        [3],
        [6],
        [7],
        [8],
    ]


@pytest.mark.parametrize(
    ("cells", "workers", "useful"), [(3, 2, 1), (14, 2, 2), (100, 4, 4), (0, 4, 1)]
)
def test_small_runs_use_several_processes(cells: int, workers: int, useful: int) -> None:
    assert useful_workers(StudyConfig(texts=("a",)), cells, workers) == useful
