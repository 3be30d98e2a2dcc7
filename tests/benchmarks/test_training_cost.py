"""The cost of training is counted as it is spent, and the published numbers are of the settings
that they name.
"""

import argparse
import json
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SMALL = argparse.Namespace(
    device="cpu",
    seed=0,
    examples=2,
    tokens=8,
    rounds=1,
    layers=[2],
    rtol=[1e-2, 1e-4],
    adjoint_rtol=[1e-1],
)


@pytest.fixture
def script(script, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(script, "ROUND", 0.0)
    return script


def test_evaluations_are_those_that_the_solvers_report(script) -> None:
    settings = script.settings(SMALL)
    chosen = {
        name: settings[name]
        for name in ("BERT", "2 layers, 0.01, adjoint 0.1", "2 layers, 0.0001, adjoint 0.1")
    }
    models = {name: script.model_of(one, SMALL) for name, one in chosen.items()}
    rows = script.rows(models, script.tokens_of(SMALL), SMALL, "inference")
    assert rows[0]["of BERT"] == rows[0]["floor of BERT"] == 1 and rows[0]["bare"] == 0
    for row, model in zip(rows[1:], list(models.values())[1:], strict=True):
        reported = sum(one["evaluations_mean"] for one in model.solver_statistics())
        assert row["bare"] == pytest.approx(
            reported, abs=2.0
        )  # a layer runs on with an example that is done until an eighth is
        assert row["bare"] >= reported - 1e-9 and row["unconverged"] == 0
    assert rows[2]["bare"] > rows[1]["bare"]


def test_a_training_step_counts_the_products_of_its_adjoint(script, monkeypatch) -> None:
    made = []
    product = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: made.append(1) or product(*a, **k))
    setting = script.settings(SMALL)["2 layers, 0.01, adjoint 0.1"]
    model, batch = script.model_of(setting, SMALL).train(), script.tokens_of(SMALL)
    counted = script.count(model, lambda: script.train_step(model, batch, 0), SMALL.examples)
    adjoints = [one["adjoint"] for one in model.solver_statistics()]
    assert counted["layers"] == len(adjoints) == 2 and counted["known"]
    assert counted["products"] == sum(one["evaluations_max"] for one in adjoints) == len(made) > 2
    published = script.model_of(
        script.settings(SMALL)["published connection, k = 5"], SMALL
    ).train()
    assert not script.count(
        published, lambda: script.train_step(published, batch, 0), SMALL.examples
    )["known"]


def test_what_is_published_has_bert_and_the_published_connection_beside_it() -> None:
    published = json.loads((BENCHMARKS / "results" / "training_cost.json").read_text())
    for kind in ("training", "inference"):
        rows = {row[""]: row for row in published[kind]}
        assert rows["BERT"]["of BERT"] == 1 and "published connection, k = 5" in rows
        some = rows["3 layers, 0.01, adjoint 0.1"]
        assert (
            20 < some["bare"] < 30
            and some["unconverged"] == 0
            and 1 < some["floor of BERT"] < some["of BERT"]
        )
    assert rows["BERT"]["memory of BERT"] == 1
    assert (
        next(row for row in published["training"] if row[""] == "3 layers, 0.01, adjoint 0.1")[
            "memory of BERT"
        ]
        <= 1.2
    )
