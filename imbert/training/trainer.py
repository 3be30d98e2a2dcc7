"""Transformers' Trainer, with statistics of the solvers, a stop at the first number that is not
finite, and states known to be whole.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor
from torch.utils.data import Sampler
from transformers.trainer_callback import ProgressCallback

from imbert.model.loading import saving
from imbert.model.solver_log import in_words, statistics
from imbert.model.transformers_types import Model
from imbert.records import plain
from imbert.result import Stopwatch
from imbert.training.batches import Padding as Padding
from imbert.training.batches import Rows as Rows
from imbert.training.batches import Shortest, SortedSteps
from imbert.training.optimizer import UncorrectedAdamW
from imbert.training.regularizers.regularization import Regularization
from imbert.training.saved_states import WHOLE as WHOLE
from imbert.training.saved_states import last_state as last_state
from imbert.training.saved_states import mark_whole, remove_older, step_of
from imbert.training.solver_statistics import SolverStatistics

CRITERION = "criterion"
# far below one example's share of an accuracy: the loss decides between equal metrics only
LOSS_WEIGHT = 1e-6
Batch = dict[str, Tensor]
Predicted = tuple[Tensor | None, Tensor | None, Tensor | None]  # loss, logits, labels
Arguments = transformers.TrainingArguments
State = transformers.TrainerState
Control = transformers.TrainerControl


class FineTuner(transformers.Trainer):
    """Trainer for one run; raises FloatingPointError at the first loss or gradient that is not
    finite, before the weights change.

    Args:
        stopwatch: of the whole training, for the log.
        bias_correction: of Adam's moments.
        earliest: epochs before which no state is the best.
        regularization: what is added to the loss; None is plain training.
        sort_by_length: whether the examples of a step are sorted before they become micro-batches.
        **options: Trainer's.
    """

    def __init__(
        self,
        *,
        stopwatch: Stopwatch,
        bias_correction: bool = True,
        earliest: int = 0,
        regularization: Regularization | None = None,
        sort_by_length: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.sort_by_length = sort_by_length
        self.bias_correction = bias_correction
        self.earliest = earliest
        self.regularization = regularization
        self.indices: list[int] = []  # of the examples of the micro-batch among the rows
        self.ids = {
            "training": options["train_dataset"].ids,
            "validation": options["eval_dataset"].ids,
        }
        self.solves = SolverStatistics().attach(self)
        # the optimiser's step, and the examples of its forward passes so far
        self.seen: tuple[int, list[str]] = (0, [])
        self.stopwatch = stopwatch
        self.remove_callback(transformers.PrinterCallback)

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int] | None:
        rows: Any = self.train_dataset if train_dataset is None else train_dataset
        if not self.sort_by_length:
            sampler: Sampler[int] | None = super()._get_train_sampler(rows)
            return sampler
        step = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return SortedSteps(rows, step, self.args.data_seed or 0)

    def _get_eval_sampler(self, eval_dataset: Any) -> Sampler[int]:
        return Shortest(eval_dataset)

    def training_step(
        self, model: Model, inputs: Batch, num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        self.indices = inputs.pop("index").tolist()
        examples = [self.ids["training"][index] for index in self.indices]
        # micro-batches of one step are remembered together: the gradient is known after the last
        step, earlier = self.seen
        self.seen = (
            self.state.global_step,
            (earlier if step == self.state.global_step else []) + examples,
        )
        loss = super().training_step(model, inputs, num_items_in_batch)
        # before the optimiser steps, so that the weights are those of the last good step
        self._require_finite("loss", loss, examples)
        return loss

    def compute_loss(
        self,
        model: Model,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, Any]:
        """Of a training step the penalised loss; of an evaluation Trainer's own."""
        if self.regularization is None or return_outputs:
            loss: Tensor | tuple[Tensor, Any] = super().compute_loss(
                model, inputs, return_outputs, num_items_in_batch
            )
            return loss
        return self.regularization.loss(
            model,
            inputs,
            self.indices,
            self.state.global_step,
            lambda part: self.accelerator.backward(part / self.current_gradient_accumulation_steps),
            lambda solves: self.solves.add("training", model, solves, backward=True),
        )

    def prediction_step(
        self, model: Model, inputs: Batch, *arguments: Any, **options: Any
    ) -> Predicted:
        examples = [self.ids["validation"][index] for index in inputs["index"]]
        step = super().prediction_step(
            model,
            {name: value for name, value in inputs.items() if name != "index"},
            *arguments,
            **options,
        )
        assert step[0] is not None  # every batch has labels
        self._require_finite("validation loss", step[0], examples)
        return step

    def _clip_grad_norm(self, model: Model) -> Tensor | float:
        norm = super()._clip_grad_norm(model)
        self._require_finite("gradient norm", norm, self.seen[1])
        return norm

    def create_optimizer(self, model: Model = None) -> torch.optim.Optimizer:
        """Transformers' AdamW, or the one without bias correction on the same groups of
        parameters.
        """
        made = super().create_optimizer(model)
        if not self.bias_correction and not isinstance(made, UncorrectedAdamW):
            made = self.optimizer = UncorrectedAdamW(
                made.param_groups, lr=self.args.learning_rate, eps=self.args.adam_epsilon
            )
        return made

    def _save_checkpoint(self, *arguments: Any, **options: Any) -> None:
        with saving(Path(str(self.args.output_dir))):
            super()._save_checkpoint(*arguments, **options)

    def log(self, logs: dict[str, Any], start_time: float | None = None) -> None:
        """Log, with the solvers' statistics since the last entry of the same kind."""
        spent = self.stopwatch.read()
        kind = "training" if "loss" in logs else "evaluation"
        solver = [plain(layer) for layer in self.solves.summary(kind)]
        # without the criterion this evaluation is no candidate for the best state
        if self._is_early():
            logs = {name: value for name, value in logs.items() if name != f"eval_{CRITERION}"}
        penalty = None
        if self.regularization is not None and kind == "training":
            penalty = self.regularization.summary()
            logs = {**logs, "penalty": penalty.value}
        super().log(logs, start_time)
        # by layer in the record alone: services take numbers
        if "loss" in logs or "eval_loss" in logs:
            entry: dict[str, Any] = self.state.log_history[-1]
            entry["solver"] = solver
            entry["wall_seconds"] = spent.wall_seconds
            entry["cpu_seconds"] = spent.cpu_seconds
            if penalty is not None:
                entry["regularizer"] = plain(penalty)

    def _determine_best_metric(self, metrics: dict[str, float], trial: object) -> bool:
        return False if self._is_early() else super()._determine_best_metric(metrics, trial)

    def _is_early(self) -> bool:
        return bool(self.state.epoch is not None and self.state.epoch < self.earliest)

    def _require_finite(self, name: str, value: Tensor | float, examples: Sequence[str]) -> None:
        if bool(np.isfinite(float(value))):
            return
        good = last_state(Path(str(self.args.output_dir)))
        kept = f"kept the state of step {step_of(good)}" if good else "no state had been saved yet"
        raise FloatingPointError(
            f"{name} is {float(value)} at step "
            f"{self.state.global_step + 1} (examples {', '.join(examples)}); {kept}; "
            f"the solver reported: {in_words(statistics(self.model))}"
        )


class Patience(transformers.TrainerCallback):
    """Stops when the criterion has not improved for some evaluations; knows it from the log, so
    that a resumed run does too.

    Args:
        patience: evaluations; 0 never stops.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience

    def on_evaluate(
        self, args: Arguments, state: State, control: Control, **others: object
    ) -> None:
        # from the log alone, so that a resumed run stops where the killed one would have
        if is_exhausted(state.log_history, self.patience):
            control.should_training_stop = True


class WholeStates(transformers.TrainerCallback):
    """Marks each saved state as whole once everything is written, on every rank, and only then
    removes older ones.
    """

    def on_save(self, args: Arguments, state: State, control: Control, **others: object) -> None:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            # every rank has written its random state
            torch.distributed.barrier()
        if state.is_world_process_zero:
            mark_whole(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}")
            remove_older(Path(str(args.output_dir)))


class LastLog(transformers.TrainerCallback):
    """Logs the training loss at the last step too, where the steps between two evaluations do not
    divide all of them.
    """

    def on_step_end(
        self, args: Arguments, state: State, control: Control, **others: object
    ) -> None:
        if (
            args.logging_strategy == transformers.trainer_utils.IntervalStrategy.STEPS
            and state.global_step >= state.max_steps
        ):
            control.should_log = True


class Bar(ProgressCallback):
    """Transformers' bars of steps and evaluations, without its print of each log entry."""

    def on_log(self, *arguments: Any, **options: Any) -> None:
        """`Progress` says what there is to say."""


class Progress(transformers.TrainerCallback):
    """One line for each evaluation.

    Args:
        report: takes the line.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self.report = report

    def on_evaluate(
        self,
        args: Arguments,
        state: State,
        control: Control,
        metrics: Mapping[str, float] | None = None,
        **others: object,
    ) -> None:
        if state.is_world_process_zero and metrics:
            losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
            shown = {
                name.removeprefix("eval_"): value
                for name, value in metrics.items()
                if isinstance(value, float)
            }
            hidden = (CRITERION, "epoch", "runtime", "samples_per_second", "steps_per_second")
            measured = ", ".join(
                f"{name} {value:.4f}" for name, value in shown.items() if name not in hidden
            )
            self.report(
                f"step {state.global_step}: training loss "
                f"{losses[-1] if losses else float('nan'):.4f}, validation {measured}"
            )


def is_exhausted(history: Sequence[Mapping[str, float]], patience: int) -> bool:
    """Whether the criterion's first best is `patience` or more evaluations ago."""
    criteria = [entry[f"eval_{CRITERION}"] for entry in history if f"eval_{CRITERION}" in entry]
    return bool(patience) and len(criteria) - 1 - int(np.argmax(criteria or [0.0])) >= patience


def criterion(metric: float, loss: float) -> float:
    """The metric, and the loss where metrics are equal; what is not a number is worst."""
    metric = metric if np.isfinite(metric) else -1.0
    return metric - LOSS_WEIGHT * min(loss if np.isfinite(loss) else 100.0, 100.0)
