"""How the implicit solves went, beside the loss: a callback for any Trainer of transformers."""

import math
from typing import Any, Self

import transformers

from imbert.model.solver_log import LayerBatch, SolverLog, solver_log, statistics
from imbert.model.transformers_types import Model
from imbert.records import LayerSolves

Arguments = transformers.TrainingArguments
State = transformers.TrainerState
Control = transformers.TrainerControl


class SolverStatistics(transformers.TrainerCallback):
    """Adds to each log entry how the solves since the last one went, means over examples and
    layers: `solver_evaluations` of f, the share `solver_unsolved`, the largest relative residual
    `solver_residual`, and the same of the gradient's linear solves as `adjoint_…`. Those of an
    evaluation stand in its own entry, named `eval_solver_…`.

    Of a regularised step `solver_…` count every pass. `adjoint_…` are those of the text as it is,
    of FreeLB those of each of its passes.

    Hand it over as one of Trainer's `callbacks`, or `attach` it to a trainer that reports to
    TensorBoard or another service: Trainer asks these before the callbacks of its user.

    Args:
        by_layer: whether each layer has entries too, `solver_evaluations_layer_3`.

    >>> statistics = SolverStatistics(by_layer=True)
    >>> statistics.summary("training")  # an entry for each implicit layer, once a model has run
    []
    """

    def __init__(self, by_layer: bool = False) -> None:
        self.by_layer = by_layer
        self.logs = {"training": SolverLog(), "evaluation": SolverLog()}

    def attach(self, trainer: transformers.Trainer) -> Self:
        """Stand before all other callbacks of a trainer, so that each one of them sees the
        statistics.
        """
        trainer.callback_handler.callbacks.insert(0, self)
        return self

    def summary(self, kind: str) -> list[LayerSolves]:
        """Of each implicit layer since the last log entry of a kind: "training" or "evaluation"."""
        return self.logs[kind].summary()

    def on_substep_end(
        self, args: Arguments, state: State, control: Control, model: Model = None, **others: Any
    ) -> None:
        """After each micro-batch but the last one of a step."""
        self.add("training", model, statistics(model), backward=True)

    def on_step_end(
        self, args: Arguments, state: State, control: Control, model: Model = None, **others: Any
    ) -> None:
        """After the last micro-batch of a step."""
        self.add("training", model, statistics(model), backward=True)

    def on_prediction_step(
        self, args: Arguments, state: State, control: Control, model: Model = None, **others: Any
    ) -> None:
        """After each batch of an evaluation."""
        self.add("evaluation", model, statistics(model))

    def on_log(
        self,
        args: Arguments,
        state: State,
        control: Control,
        logs: dict[str, Any] | None = None,
        **others: Any,
    ) -> None:
        """Put the statistics into the entry: into what the later callbacks see, and into the
        history, where it stands already.
        """
        if logs is None:
            return
        # an evaluation's entry has its seconds under the name of the split
        prefix = next((name[: -len("runtime")] for name in logs if name.endswith("_runtime")), "")
        kind = "training" if "loss" in logs else "evaluation"
        if kind == "training" or prefix not in ("", "train_"):
            scalars = self._scalars(prefix, self.logs[kind].summary())
            self.logs[kind].clear()
            logs.update(scalars)
            state.log_history[-1].update(scalars)

    def add(
        self, kind: str, model: Model, solves: list[LayerBatch], backward: bool = False
    ) -> None:
        """Take in how the solves of a pass went, that of its gradient too if it had one."""
        log = self.logs[kind]
        log.fixed_steps = solver_log(model).fixed_steps
        log.add(solves, backward)

    def _scalars(self, prefix: str, layers: list[LayerSolves]) -> dict[str, float]:
        """The numbers of one entry."""
        parts = {"": layers}
        if self.by_layer:
            parts |= {f"_layer_{layer.layer}": [layer] for layer in layers}
        return {
            f"{prefix}{name}{suffix}": value
            for suffix, part in parts.items()
            for name, value in (
                _means("solver", part)
                | _means("adjoint", [layer.adjoint for layer in part if layer.adjoint is not None])
            ).items()
        }


def _means(name: str, solves: list[Any]) -> dict[str, float]:
    """Of the solves of some layers; nothing where there was none."""
    examples = sum(part.examples for part in solves)
    if not examples:
        return {}
    residuals = [math.inf if part.residual_max is None else part.residual_max for part in solves]
    return {
        f"{name}_evaluations": sum(part.evaluations_mean * part.examples for part in solves)
        / examples,
        f"{name}_unsolved": sum(part.failed_share * part.examples for part in solves) / examples,
        f"{name}_residual": max(residuals),
    }
