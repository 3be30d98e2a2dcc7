"""The trainer's settings, its optimiser, when it stops, and the solves that fail in training."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from msgspec import structs
from tiny_runs import tiny_run

from imbert.model.solver_log import LayerBatch, SolverLog, failures
from imbert.training import finetune as module
from imbert.training.optimizer import UncorrectedAdamW
from imbert.training.run_config import RunConfig
from imbert.training.trainer import criterion, is_exhausted
from imbert.training.trainer_arguments import trainer_arguments

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ({"batch_size": 15, "gradient_accumulation": 5}, None),
        ({"device": "cuda"}, "expected a machine with a GPU for 'cuda'"),
    ],
)
def test_the_settings_of_trainer(
    train: dict[str, Any], said: str | None, tiny_folder: Path, tmp_path: Path
) -> None:
    run: RunConfig = tiny_run(tiny_folder, train=train)
    if said is None:
        assert trainer_arguments(run, tmp_path).per_device_train_batch_size == 3
    elif not torch.cuda.is_available():
        with pytest.raises(ValueError, match=said):
            trainer_arguments(run, tmp_path)


def test_accuracy_decides_before_loss() -> None:
    assert criterion(0.9, 5.0) > criterion(0.898, 0.1) and criterion(0.9, 0.4) > criterion(0.9, 0.5)
    assert criterion(float("nan"), 0.1) < criterion(0.0, float("inf"))


def test_patience_counts_from_the_first_best() -> None:
    history = [{"loss": 1.0}, *({"eval_criterion": value} for value in (0.5, 0.7, 0.7, 0.6))]
    assert (
        is_exhausted(history, 2)
        and not is_exhausted(history, 3)
        and not is_exhausted(history, 0)
        and not is_exhausted([], 1)
    )


def test_adam_without_bias_correction() -> None:
    parameter, gradient = (
        torch.tensor([1.0, -2.0], dtype=torch.float64),
        torch.tensor([0.5, 0.1], dtype=torch.float64),
    )
    parameter.grad = gradient.clone()
    optimizer = UncorrectedAdamW(
        [parameter], lr=0.01, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1
    )
    start, first, second = (
        parameter.clone(),
        torch.zeros(2, dtype=torch.float64),
        torch.zeros(2, dtype=torch.float64),
    )
    for _ in range(3):
        optimizer.step()
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        start = start - 0.01 * (first / (second.sqrt() + 1e-8) + 0.1 * start)
    torch.testing.assert_close(parameter, start)


def test_failures_above_the_limit_are_told() -> None:
    log = SolverLog()
    statuses = {"CONVERGED": 9, "ILL_POSED": 1}
    one = LayerBatch(10, statuses, residual_max=1.0, evaluations_mean=4.0, layer=3)
    log.add([one, structs.replace(one, layer=4, statuses={"CONVERGED": 10})])
    told = failures("training", log.summary(), 0.05)
    assert told == [
        "training: layer 3: solver failed on 10.0% of 10 "
        "examples, limit 5.0% (CONVERGED 9, ILL_POSED 1)"
    ]
    assert not failures("training", log.summary(), 0.1)


def test_a_given_number_of_steps_is_no_failure() -> None:
    log = SolverLog(fixed_steps=True)
    statuses = {"MAX_ITERATIONS": 3, "DIVERGED": 1}
    log.add([LayerBatch(4, statuses, residual_max=float("nan"), layer=0)])
    [layer] = log.summary()
    assert layer.failed_share == 0.25 and layer.residual_max == float("inf")


def test_a_run_that_goes_on_counts_the_seconds_up_to_the_state_it_goes_on_from(
    tmp_path: Path,
) -> None:
    history = [
        {"loss": 1.0, "step": 1, "wall_seconds": 5.0, "cpu_seconds": 4.0},
        {"eval_loss": 1.0, "step": 1},
    ]
    transformers.TrainerState(log_history=history).save_to_json(
        str(tmp_path / "trainer_state.json")
    )
    assert module._spent(tmp_path) == (5.0, 4.0) and module._spent(None) == (0.0, 0.0)
