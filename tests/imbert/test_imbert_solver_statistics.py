"""Statistics of solves in the log of any Trainer, and what shows a run of our own."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tiny import tokenized
from tiny_models import implicit, plain
from tiny_runs import tiny_run

from imbert import SolverStatistics
from imbert.training.finetune import finetune
from imbert.training.run_config import TrainChoice
from imbert.training.trainer import Bar
from imbert.training.trainer_arguments import shown_by

pytestmark = [
    pytest.mark.usefixtures("quiet"),
    pytest.mark.filterwarnings("ignore:.*pin_memory:UserWarning"),
]


class Rows(torch.utils.data.Dataset):
    """Tokenised sentences."""

    def __init__(self, folder: Path) -> None:
        self.columns = tokenized(folder, 8)

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: column[index] for name, column in self.columns.items()}


def trained(model: Any, folder: Path, out: Path, *callbacks: Any, **options: Any) -> Any:
    arguments = transformers.TrainingArguments(
        output_dir=str(out),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        max_steps=2,
        logging_steps=1,
        eval_strategy="steps",
        eval_steps=2,
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        **options,
    )
    trainer = transformers.Trainer(
        model=model,
        args=arguments,
        train_dataset=Rows(folder),
        eval_dataset=Rows(folder),
        callbacks=list(callbacks),
    )
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def test_each_entry_tells_of_the_solves_since_the_last(tiny_folder: Path, tmp_path: Path) -> None:
    model = implicit(tiny_folder, implicit_layers=[1, 2], step_size=0.5)
    trainer = trained(model, tiny_folder, tmp_path, SolverStatistics(by_layer=True))
    trainer.train()
    first, second, evaluation, end = trainer.state.log_history
    for entry in (first, second):
        layers = [entry[f"solver_evaluations_layer_{layer}"] for layer in (1, 2)]
        assert entry["solver_evaluations"] == pytest.approx(sum(layers) / 2)
        assert entry["solver_unsolved"] == entry["adjoint_unsolved"] == 0
        assert 0 < entry["solver_residual"] <= 1e-3 and entry["adjoint_evaluations"] > 0
    assert evaluation["eval_solver_evaluations"] > 1
    assert not any("adjoint" in name for name in evaluation)
    assert not any("solver" in name for name in end)


def test_every_example_of_every_micro_batch_counts(tiny_folder: Path, tmp_path: Path) -> None:
    class Counted(SolverStatistics):
        def on_log(self, *arguments: Any, **options: Any) -> None:
            seen.append([layer.examples for layer in self.summary("training")])
            super().on_log(*arguments, **options)

    seen: list[list[int]] = []
    model = implicit(tiny_folder, implicit_layers=[2])
    trained(model, tiny_folder, tmp_path, Counted()).train()
    assert seen[:2] == [[4], [4]]


def test_a_solver_that_does_not_arrive_is_told(tiny_folder: Path, tmp_path: Path) -> None:
    solver = {"name": "Anderson", "rtol": 1e-7, "max_iterations": 1}
    model = implicit(tiny_folder, implicit_layers=[2], solver=solver)
    trainer = trained(model, tiny_folder, tmp_path, SolverStatistics())
    trainer.train()
    assert trainer.state.log_history[0]["solver_unsolved"] == 1.0


def test_a_plain_model_has_nothing_to_tell(tiny_folder: Path, tmp_path: Path) -> None:
    trainer = trained(plain(tiny_folder), tiny_folder, tmp_path, SolverStatistics())
    trainer.train()
    assert not any("solver" in name for entry in trainer.state.log_history for name in entry)


def scalars(folder: Path) -> dict[str, int]:
    """The numbers that TensorBoard has of a run, and how many of each."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return {name: len(events.Scalars(name)) for name in events.Tags()["scalars"]}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorBoard's own imports
def test_attached_it_stands_before_tensorboard(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "logs"))
    model = implicit(tiny_folder, implicit_layers=[2])
    trainer = trained(model, tiny_folder, tmp_path, report_to=["tensorboard"])
    SolverStatistics().attach(trainer)
    trainer.train()
    found = scalars(tmp_path / "logs")
    assert found["train/solver_evaluations"] == 2 and found["eval/solver_evaluations"] == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("folder", [None, "elsewhere"])
def test_a_run_reports_to_tensorboard_beside_its_record(
    folder: str | None, tiny_folder: Path, data: Path, tmp_path: Path, caplog: Any
) -> None:
    model = {"kind": "im-bert", "implicit_layers": [2]}
    train = {"epochs": 1, "report_to": ["tensorboard"], "progress": True}
    if folder is not None:
        train["logging_dir"] = folder
    result = finetune(tiny_run(tiny_folder, model=model, train=train), tmp_path, data)
    found = scalars(tmp_path / (folder or "tensorboard"))
    assert found["train/loss"] == found["train/solver_evaluations"] == 1
    assert found["eval/accuracy"] == found["eval/solver_unsolved"] == 1
    assert result is not None and result.train.log[0].training.solver[0].adjoint is not None
    assert not [line for line in caplog.messages if "as a scalar" in line]


def test_what_shows_a_run_is_chosen_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shown_by(TrainChoice(), tmp_path) == []
    assert [type(shown) for shown in shown_by(TrainChoice(progress=True), tmp_path)] == [Bar]
    with pytest.raises(
        ValueError, match=r"train.report_to must be one of .*tensorboard.*, got 'x'"
    ):
        shown_by(TrainChoice(report_to=("x",)), tmp_path)
    with pytest.raises(ValueError, match=r"train.report_to: expected an installed package, got"):
        shown_by(TrainChoice(report_to=("neptune",)), tmp_path)
    monkeypatch.setenv("RANK", "1")
    assert shown_by(TrainChoice(progress=True), tmp_path) == []
