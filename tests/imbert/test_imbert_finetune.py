"""Training is the same however it is cut: into micro-batches, processes, or by a kill; and it stops
where a number is not finite.
"""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tiny_runs import tiny_run, tiny_tables

from imbert.data.tasks import task
from imbert.model.choice import ModelChoice
from imbert.model.loading import load_model
from imbert.records import Result, read_result
from imbert.training import finetune as module
from imbert.training.finetune import finetune
from imbert.training.read_rows import read_split
from imbert.training.run_config import run_config
from imbert.training.trainer import WHOLE, last_state

pytestmark = pytest.mark.slow

IMPLICIT = {"kind": "im-bert", "implicit_layers": [2]}
TIGHT = {
    "solver": {"name": "Auto", "rtol": 1e-5},
    "adjoint": {"name": "ImplicitAdjoint", "rtol": 1e-5},
    "dropout": 0.0,
}
KINDS = {"bert": {}, "im-bert": IMPLICIT}
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def record(
    tiny_folder: Path, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Result]:
    """An IM-BERT run to the end."""
    out = tmp_path_factory.mktemp("runs") / "run"
    return out, finetune(tiny_run(tiny_folder, model=IMPLICIT, train={"epochs": 2}), out, data)


def weights(out: Path) -> bytes:
    return (out / "checkpoint" / "model.safetensors").read_bytes()


def test_the_record_tells_what_was_measured(record: tuple[Path, Result], data: Path) -> None:
    out, found = record
    dev, pairs = found.evaluation.dev, found.evaluation.advglue["sst2"]
    assert dev.count == len(dev.right) == 24
    assert dev.metrics["accuracy"] == pytest.approx(dev.right.count("1") / 24)
    assert pairs.count == 12 and pairs.unpaired.count == 4 and pairs.all.count == 16
    both = sum(
        a == b == "1" for a, b in zip(pairs.right_original, pairs.right_adversarial, strict=True)
    )
    assert pairs.both_right == both
    assert pairs.conditional_accuracy == pytest.approx(both / pairs.right_original.count("1"))
    solver = found.train.log[0].training.solver
    assert (
        [one.layer for one in solver] == [2]
        and solver[0].examples == 48
        and solver[0].adjoint.examples == 48
    )
    assert found.meta.schema == 1 and found.meta.training.peak_memory_mib > 0
    assert read_result(out / "result.json") == found
    assert not (out / "training").exists()


def test_the_record_has_no_text_and_no_path_of_the_data(
    record: tuple[Path, Result], data: Path
) -> None:
    written = (record[0] / "result.json").read_text()
    assert (
        str(data) not in written and str(record[0]) not in written and "the film is" not in written
    )


def test_texts_without_their_final_period_everywhere(tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "dev.tsv").write_text(
        "sentence\tlabel\nthe film is good .\t1\nthe film is bad.\t0\n"
    )
    kept, without = (
        tiny_run(tiny_folder, data={"source": "dev.tsv", "final_period": one})
        for one in (True, False)
    )
    assert read_split(kept, tmp_path, "dev").texts == (
        ("the film is good .",),
        ("the film is bad.",),
    )
    assert read_split(without, tmp_path, "dev").texts == (
        ("the film is good ",),
        ("the film is bad",),
    )


def test_the_best_state_by_validation_is_kept(record: tuple[Path, Result]) -> None:
    train = record[1].train
    best = max(train.log, key=lambda one: (one.validation.accuracy, -one.validation.loss))
    assert train.best_step == best.step


def test_a_finished_run_is_returned_at_once(
    record: tuple[Path, Result],
    tiny_folder: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, found = record
    monkeypatch.setattr(module, "read_rows", lambda *_: pytest.fail("read the data again"))
    assert finetune(tiny_run(tiny_folder, model=IMPLICIT, train={"epochs": 2}), out, data) == found
    with pytest.raises(ValueError, match=r"belongs to another run \(not the same: train.seed\)"):
        finetune(tiny_run(tiny_folder, model=IMPLICIT, train={"epochs": 2, "seed": 1}), out, data)


KILLED = """
import os, pathlib, signal, sys, tomllib, json
from imbert.training import finetune
from imbert.training import trainer
from imbert.training.run_config import run_config
step = trainer.FineTuner.training_step
def killed(self, *arguments):
    if self.state.global_step == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, *arguments)
trainer.FineTuner.training_step = killed
data, out = map(pathlib.Path, sys.argv[2:4])
finetune.finetune(run_config(json.loads(sys.argv[1])), data, out)
"""


BY_LENGTH = {"gradient_accumulation": 4, "sort_by_length": True}


@pytest.mark.parametrize(
    ("kind", "save_steps", "at", "saved", "train"),
    [("bert", 0, 4, 3, {}), ("im-bert", 2, 5, 4, {}), ("bert", 2, 5, 4, BY_LENGTH)],
)
def test_a_killed_run_ends_with_the_same_weights(
    kind: str,
    save_steps: int,
    at: int,
    saved: int,
    train: dict[str, Any],
    tiny_folder: Path,
    data: Path,
    tmp_path: Path,
) -> None:
    tables = tiny_tables(
        tiny_folder, model=KINDS[kind], train={"save_steps": save_steps, "patience": 0, **train}
    )
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, json.dumps(tables), tmp_path / "killed", data, str(at)],
        cwd=ROOT,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    state = last_state(tmp_path / "killed" / "training")
    assert state is not None and state.name == f"checkpoint-{saved}"
    torn = tmp_path / "killed" / "training" / "checkpoint-99"
    torn.mkdir()  # as a kill in the middle of saving leaves it
    finetune(run_config(tables), tmp_path / "killed", data)
    finetune(run_config(tables), tmp_path / "whole", data)
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")


def test_a_run_killed_after_its_end_does_not_train_on(
    tiny_folder: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny_run(tiny_folder)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "_keep", _interrupt)
        finetune(run, tmp_path / "run", data)
    monkeypatch.setattr(module.FineTuner, "train", lambda *_, **__: pytest.fail("trained on"))
    assert finetune(run, tmp_path / "run", data).train.steps == 9


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def uneven(data: Path, folder: Path) -> Path:
    """The data with up to four more words in a text."""
    shutil.copytree(data, folder)
    file = folder / "glue" / "sst2_train.tsv.gz"
    head, *rows = gzip.decompress(file.read_bytes()).decode().splitlines()
    longer = [
        row.replace("the", "the" + " very" * (i % 5), 1) if "the" in row else row
        for i, row in enumerate(rows)
    ]
    file.write_bytes(gzip.compress("\n".join([head, *longer, ""]).encode()))
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_four_times_four_is_sixteen(
    kind: str, tiny_folder: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = uneven(data, tmp_path / "data")
    found = []
    padded = []
    forward = module.FineTuner.compute_loss

    def counted(
        trainer: module.FineTuner, model: Any, inputs: Any, *others: Any, **more: Any
    ) -> Any:
        if model.training:
            padded[-1] += inputs["input_ids"].numel()
        return forward(trainer, model, inputs, *others, **more)

    monkeypatch.setattr(module.FineTuner, "compute_loss", counted)
    for accumulation, by_length in ((1, False), (4, False), (4, True)):
        padded.append(0)
        train = {
            "gradient_accumulation": accumulation,
            "sort_by_length": by_length,
            "save_steps": 1,
            "epochs": 1,
            "learning_rate": 1e-3,
        }
        run = tiny_run(
            tiny_folder,
            model={"dropout": 0.0} | (IMPLICIT | TIGHT if kind == "im-bert" else {}),
            train=train,
        )
        log = finetune(run, tmp_path / f"{accumulation} {by_length}", data).train.log
        found.append([(one.training.loss, one.training.grad_norm) for one in log])
    assert len(found[0]) == 3
    for micro in found[1:]:
        np.testing.assert_allclose(found[0], micro, rtol=1e-5)
    assert padded[2] < padded[1] <= padded[0]


def test_two_processes_have_the_loss_of_one(tiny_folder: Path, data: Path, tmp_path: Path) -> None:
    train = {"save_steps": 1, "epochs": 2, "learning_rate": 1e-3, "patience": 0}
    tables = tiny_tables(tiny_folder, model=IMPLICIT | TIGHT, train=train)
    code = (
        "import json, pathlib, sys; from imbert.training.finetune import "
        "finetune; from imbert.training.run_config import run_config\n"
    )
    code += (
        "finetune(run_config(json.loads(sys.argv[1])), "
        "pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]))"
    )
    (tmp_path / "run.py").write_text(code)
    launched = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        str(tmp_path / "run.py"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launched, json.dumps(tables), str(tmp_path / "two"), str(data)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    two = read_result(tmp_path / "two" / "result.json")
    one = finetune(run_config(tables), tmp_path / "one", data)
    assert two.train.processes == 2 and one.train.processes == 1
    losses = [[entry.training.loss for entry in found.train.log] for found in (one, two)]
    assert len(losses[0]) == 6
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_state(
    tiny_folder: Path, data: Path, tmp_path: Path
) -> None:
    run = tiny_run(
        tiny_folder,
        model=IMPLICIT,
        train={"learning_rate": 1e30, "save_steps": 1, "warmup_fraction": 0.3},
    )
    with pytest.raises(
        FloatingPointError,
        match=r"at step \d+ \(examples .*\); kept the state of "
        r"step \d+; the solver reported: layer 2: ",
    ):
        finetune(run, tmp_path, data)
    state = last_state(tmp_path / "training")
    assert (
        state is not None and (state / WHOLE).exists() and not (tmp_path / "result.json").exists()
    )


def test_a_gradient_that_is_not_finite_names_all_examples_of_its_step(
    tiny_folder: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transformers.Trainer, "_clip_grad_norm", lambda *_: torch.tensor(torch.nan))
    run = tiny_run(tiny_folder, train={"batch_size": 8, "gradient_accumulation": 4})
    with pytest.raises(
        FloatingPointError, match=r"^gradient norm is nan at step 1 \(examples"
    ) as raised:
        finetune(run, tmp_path, data)
    named = str(raised.value).partition("(examples ")[2].partition(")")[0].split(", ")
    assert len(named) == len(set(named)) == 8


def test_early_stopping(tiny_folder: Path, data: Path, tmp_path: Path) -> None:
    found = finetune(
        tiny_run(
            tiny_folder,
            train={"learning_rate": 1e-20, "epochs": 9, "patience": 2, "warmup_fraction": 0.0},
        ),
        tmp_path,
        data,
    )
    assert found.train.stopped_early and found.train.steps == 9 and found.train.best_step == 3


def test_all_kinds_start_from_the_same_weights(tiny_folder: Path) -> None:
    choices = [
        ModelChoice(str(tiny_folder)),
        ModelChoice(str(tiny_folder), "ex-bert"),
        ModelChoice(str(tiny_folder), "im-bert", (2,)),
    ]
    first, *others = (load_model(choice, task("sst2"), 3).state_dict() for choice in choices)
    for other in others:
        assert other.keys() == first.keys()
        assert all(torch.equal(other[name], first[name]) for name in first)


def test_pickled_weights_are_refused(tiny_folder: Path, tmp_path: Path) -> None:
    torch.save({}, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text((tiny_folder / "config.json").read_text())
    with pytest.raises(
        ValueError,
        match=r"expected weights in model.safetensors, got pickled "
        r"weights \(pytorch_model.bin\), which are refused",
    ):
        load_model(ModelChoice(str(tmp_path)), task("sst2"), 0)


def test_training_state_is_read_with_weights_only() -> None:
    source = Path(transformers.trainer.__file__).read_text()
    assert source.count("torch.load(") == source.count("weights_only=True"), (
        "transformers reads something else than tensors"
    )


def test_a_layer_that_does_not_exist_is_refused(tiny_folder: Path) -> None:
    with pytest.raises(ValueError, match="3"):
        load_model(ModelChoice(str(tiny_folder), "im-bert", (3,)), task("sst2"), 0)


def test_a_run_without_bias_correction_uses_it(
    tiny_folder: Path, data: Path, tmp_path: Path
) -> None:
    curves = []
    for corrected in (True, False):
        train = {"epochs": 1, "save_steps": 1, "bias_correction": corrected, "warmup_fraction": 0.0}
        log = finetune(
            tiny_run(tiny_folder, model={"dropout": 0.0}, train=train),
            tmp_path / str(corrected),
            data,
        ).train.log
        curves.append([one.training.loss for one in log])
    assert curves[0][0] == curves[1][0] and curves[0][1] != curves[1][1]
