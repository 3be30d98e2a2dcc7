"""Whole regularised runs: record, kill, accumulation, and that plain runs are as they were."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_runs import tiny_run, tiny_tables

from imbert.records import read_result
from imbert.training.finetune import finetune
from imbert.training.run_config import run_config
from imbert.training.trainer import FineTuner

pytestmark = pytest.mark.slow

IMPLICIT = {"kind": "im-bert", "implicit_layers": [2]}
TWICE = {"solver": {"name": "Anderson", "rtol": 1e-3}, "adjoint": {"name": "UnrolledAdjoint"}}
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "margin-gradient": (IMPLICIT | TWICE, {"strength": 0.02}),
    "monotone": (IMPLICIT, {"strength": 0.1}),
    "consistency": ({}, {"strength": 0.3}),
    "freelb": ({}, {}),
    "r3f": ({}, {"noise": "normal"}),
}


def weights(out: Path) -> bytes:
    return (out / "checkpoint" / "model.safetensors").read_bytes()


def tables_of(folder: Path, kind: str, **train: Any) -> dict[str, Any]:
    model, options = KINDS[kind]
    regularizer = {"kind": kind, **options}
    return tiny_tables(folder, model=model, train={"regularizer": regularizer, **train})


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_ends_with_the_same_weights_and_the_record_says_what_it_added(
    kind: str,
    tiny_folder: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = run_config(tables_of(tiny_folder, kind, patience=0))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        step = FineTuner.training_step

        def killed(self: FineTuner, *arguments: Any) -> Any:
            if self.state.global_step == 4:
                raise KeyboardInterrupt
            return step(self, *arguments)

        patch.setattr(FineTuner, "training_step", killed)
        finetune(run, tmp_path / "killed", data)
    assert (tmp_path / "killed" / "training" / "checkpoint-3").is_dir()
    again = finetune(run, tmp_path / "killed", data)
    whole = finetune(run, tmp_path / "whole", data)
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    assert again is not None and whole is not None
    added = [[entry.training.regularizer for entry in each.train.log] for each in (again, whole)]
    assert added[0] == added[1] and len(added[0]) == 3
    regularizer = run.train.regularizer.regularizer()
    for entry in added[0]:
        assert np.isfinite(entry.value)
        assert entry.forward_passes == regularizer.passes.forward
        assert entry.backward_passes == regularizer.passes.backward
        assert (entry.edited is None) == (kind not in ("monotone", "consistency"))
    written = read_result(tmp_path / "whole" / "result.json")
    assert written == whole and written.run.train.regularizer.kind == kind
    if kind == "monotone":
        # both passes solve, and the gradient's solves are told of the last
        [layer] = written.train.log[0].training.solver
        assert layer.examples == 96 and layer.adjoint.examples == 48


@pytest.mark.parametrize("kind", ["margin-gradient", "freelb", "consistency"])
def test_four_times_four_is_sixteen(
    kind: str, tiny_folder: Path, data: Path, tmp_path: Path
) -> None:
    found = []
    for accumulation in (1, 4):
        train = {"gradient_accumulation": accumulation, "save_steps": 1, "epochs": 1}
        tables = tables_of(tiny_folder, kind, learning_rate=1e-3, **train)
        tables["model"] |= {"kind": "bert", "dropout": 0.0}
        for name in ("implicit_layers", *TWICE):
            tables["model"].pop(name, None)
        log = finetune(run_config(tables), tmp_path / str(accumulation), data).train.log
        found.append(
            [
                (one.training.loss, one.training.grad_norm, one.training.regularizer.value)
                for one in log
            ]
        )
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)


def test_a_plain_run_has_the_bytes_and_the_record_of_transformers_own_loss(
    tiny_folder: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny_run(tiny_folder, train={"epochs": 2})
    ours = finetune(run, tmp_path / "ours", data)
    assert all(entry.training.regularizer is None for entry in ours.train.log)
    assert "regularizer" not in (tmp_path / "ours" / "result.json").read_text()
    off = finetune(
        tiny_run(tiny_folder, train={"epochs": 2, "regularizer": {"kind": "r3f", "strength": 0.0}}),
        tmp_path / "off",
        data,
    )
    monkeypatch.delattr(FineTuner, "compute_loss")
    finetune(run, tmp_path / "theirs", data)
    # a strength of 0 too: what extra passes draw is drawn again
    assert weights(tmp_path / "ours") == weights(tmp_path / "theirs") == weights(tmp_path / "off")
    assert off.evaluation == ours.evaluation


def test_a_radius_of_0_trains_as_plain_training_does(
    tiny_folder: Path, data: Path, tmp_path: Path
) -> None:
    losses = []
    for name, train in (("plain", {}), ("ball", {"regularizer": {"kind": "freelb", "radius": 0}})):
        run = tiny_run(tiny_folder, train={"epochs": 1, "save_steps": 1, **train})
        log = finetune(run, tmp_path / name, data).train.log
        losses.append([(one.training.loss, one.training.grad_norm) for one in log])
    # sums of three equal gradients round in float32
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_a_model_that_does_not_fit_is_told_before_it_trains(
    tiny_folder: Path, data: Path, tmp_path: Path
) -> None:
    regularizer = {"kind": "margin-gradient", "strength": 1.0}
    run = tiny_run(tiny_folder, model=IMPLICIT, train={"regularizer": regularizer})
    with pytest.raises(ValueError, match="UnrolledAdjoint"):
        finetune(run, tmp_path, data)
    assert not (tmp_path / "train.json").exists()


def test_a_run_that_learns_nothing_is_warned_of(
    tiny_folder: Path, data: Path, tmp_path: Path
) -> None:
    regularizer = {"kind": "consistency", "strength": 1e6}
    run = tiny_run(tiny_folder, train={"regularizer": regularizer, "learning_rate": 1e-20})
    warnings = finetune(run, tmp_path, data).warnings
    assert any("of the commonest class" in line for line in warnings)
