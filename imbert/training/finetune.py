"""Fine-tune a model on a task into a run folder; a killed run continues to the same weights."""

import contextlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from msgspec import convert, structs

from analysis.ground.json_records import DamagedRecord
from imbert.data.tasks import Examples, Task
from imbert.model.choice import MODEL_OPTIONS
from imbert.model.classifier import longest_text, require_length
from imbert.model.loading import WEIGHTS, load_model, load_tokenizer, quiet
from imbert.model.solver_log import failures
from imbert.model.transformers_types import Model, Tokenizer
from imbert.records import (
    Checkpoints,
    LayerSolves,
    LogEntry,
    Losses,
    Result,
    ResultMeta,
    RunSolver,
    Seeds,
    Trained,
    Training,
    plain,
    read,
    read_result,
)
from imbert.records import Rows as RowsRecord
from imbert.result import (
    SCHEMA,
    Stopwatch,
    folder_lock,
    git_commit,
    open_folder,
    require_same,
    versions,
    write_record,
)
from imbert.training.evaluate import evaluate
from imbert.training.inputs import files_of, model_of, other_inputs, read_rows, start_of
from imbert.training.metrics import compute_metrics
from imbert.training.own_data import resolved
from imbert.training.processes import leave_group_at_exit
from imbert.training.regularizers.chance import no_better_than_chance
from imbert.training.regularizers.regularization import Regularization
from imbert.training.run_config import RunConfig, TrainChoice, run_config
from imbert.training.saved_states import last_state, remove_unusable, step_of
from imbert.training.trainer import (
    CRITERION,
    FineTuner,
    LastLog,
    Padding,
    Patience,
    Progress,
    Rows,
    WholeStates,
    criterion,
    is_exhausted,
)
from imbert.training.trainer_arguments import shown_by, trainer_arguments

Report = Callable[[str], None]
RESULT = "result.json"
CHECKPOINT = "checkpoint"
TRAINING = "training"
DESCRIBED = (  # what the record says of the model that was built
    "model_type",
    "num_hidden_layers",
    "hidden_size",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    *MODEL_OPTIONS,
)


def finetune(
    run: RunConfig, out: Path, data: Path = Path(), report: Report = lambda line: None
) -> Result | None:
    """Train, keep the best checkpoint by validation, evaluate it.

    Args:
        run: all choices.
        out: the run folder: result.json, checkpoint/, and training/ while it runs.
        data: where relative paths of the run start.
        report: takes a line about each evaluation.

    Returns:
        The result, at once where the folder holds it already and it is of this data and this
        checkpoint; None in all processes but the first.

    Raises:
        ValueError: if a choice or a row is wrong, or the folder belongs to another run, other data
            or another checkpoint, or is in use.
        FloatingPointError: if a loss or gradient is not finite; saved states are kept.
        OSError: if something cannot be read or written.
    """
    is_main = int(os.environ.get("RANK", "0")) == 0
    run = resolved(run, data)
    with folder_lock(out) if is_main else contextlib.nullcontext():
        if is_main and not (out / "run.json").exists():
            read_rows(run, data)  # a run whose rows are refused claims no folder
        if is_main:
            open_folder(out, "run.json", run.identity, lambda table: run_config(table).identity)
        # a finished folder answers at once: its record is held against the inputs of today
        if (out / RESULT).exists():
            try:
                return finished(run, out, data)
            except DamagedRecord as error:
                report(f"damaged record, measured again: {error}")
        if run.train.device == "cpu" or not torch.cuda.is_available():
            torch.set_num_threads(run.train.threads)
        files = files_of(run, data)
        examples = read_rows(run, data)
        if is_main:
            _require_inputs(run, out, data, examples)
        # a run killed between training and evaluation does not train again
        if not (out / "train.json").exists():
            _train(run, out, data, examples, report)
        if not is_main:
            return None
        write_record(out / RESULT, plain(_record(run, out, data, examples, files)))
        # only after the record is there: until then the states are all that a killed run has
        shutil.rmtree(out / TRAINING, ignore_errors=True)
        return read_result(out / RESULT)


def finished(run: RunConfig, out: Path, data: Path) -> Result:
    """The result of a finished run, if it is of these choices, this data and this checkpoint.

    Raises:
        ValueError: if the record is damaged, or of others, which are named.
        OSError: if something cannot be read.
    """
    record = read_result(out / RESULT)
    require_same(out, "belongs to another run", record.run.identity, run.identity)
    if other := other_inputs(record.meta, run, data):
        raise ValueError(
            f"{out} has the result of other inputs (not the same: "
            f"{', '.join(other)}); choose another folder"
        )
    return record


def _require_inputs(run: RunConfig, out: Path, data: Path, examples: dict[str, Examples]) -> None:
    """Write down what a run is made from, or hold it against what was written; older folders know
    less.
    """
    start = start_of(run, data)
    known = {"config": start.config, "tokenizer": start.tokenizer}
    digests = {name: rows.digest for name, rows in examples.items()}
    inputs = {**digests, "checkpoint": start.weights, **known}
    open_folder(out, "inputs.json", inputs, lambda recorded: {**known, **recorded})


def _train(
    run: RunConfig, out: Path, data: Path, examples: dict[str, Examples], report: Report
) -> None:
    """Train, or continue, and leave checkpoint/ and train.json."""
    folder = out / TRAINING
    is_main = int(os.environ.get("RANK", "0")) == 0
    if is_main:
        remove_unusable(folder, report)
    state = last_state(folder)
    stopwatch = Stopwatch.start(_spent(state))
    tuner = _tuner(run, folder, data, examples, stopwatch, report)
    leave_group_at_exit()
    # else one more step would change which state is the best
    if state is None or not _is_finished(state, run.train):
        with quiet():
            tuner.train(resume_from_checkpoint=str(state) if state else None)
    if is_main:
        training = _finish(out, tuner)
        trained = Trained(**structs.asdict(training), spent=stopwatch.read())
        write_record(out / "train.json", plain(trained))


def _spent(state: Path | None) -> tuple[float, float]:
    """Wall and processor seconds up to a saved state; what a killed process did after it is lost,
    and done again.
    """
    history = [] if state is None else _history(state).log_history
    logged = [entry for entry in history if "wall_seconds" in entry]
    return (logged[-1]["wall_seconds"], logged[-1]["cpu_seconds"]) if logged else (0.0, 0.0)


def _finish(out: Path, tuner: FineTuner) -> Training:
    """Keep the best state's model as checkpoint/; how training went."""
    folder = out / TRAINING
    model = tuner.accelerator.unwrap_model(tuner.model)
    last = last_state(folder)
    if last is None:
        raise ValueError(f"expected at least one saved state after training, got none in {folder}")
    history = _history(last)
    best = folder / f"checkpoint-{history.best_global_step}" if history.best_global_step else last
    _keep(best, out / CHECKPOINT, tuner.processing_class)
    return Training(
        log=_epochs(history.log_history),
        steps=history.global_step,
        best_step=step_of(best),
        stopped_early=history.global_step < history.max_steps,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        model={
            name: getattr(model.config, name) for name in DESCRIBED if hasattr(model.config, name)
        },
        device=str(tuner.args.device),
        processes=tuner.args.world_size,
    )


def _tuner(
    run: RunConfig,
    folder: Path,
    data: Path,
    examples: dict[str, Examples],
    stopwatch: Stopwatch,
    report: Report,
) -> FineTuner:
    """The trainer of a run, its model made and its rows tokenised."""
    what = run.data.learnt()
    tokenizer = load_tokenizer(run.model.checkpoint, data)
    model = load_model(run.model, what, run.train.seed, data)
    require_length(model, tokenizer, run.data.max_length)
    longest = longest_text(model, tokenizer, run.data.max_length, pair=len(what.keys) == 2)
    rows = Rows(examples["training"], tokenizer, longest)
    with quiet():
        return FineTuner(
            model=model,
            args=trainer_arguments(run, folder),
            train_dataset=rows,
            eval_dataset=Rows(examples["validation"], tokenizer, longest),
            data_collator=Padding(tokenizer),
            processing_class=tokenizer,
            compute_metrics=lambda predictions: _metrics(what, predictions),
            callbacks=[
                LastLog(),
                Patience(run.train.patience),
                WholeStates(),
                Progress(report),
                *shown_by(run.train, folder.parent),
            ],
            stopwatch=stopwatch,
            bias_correction=run.train.bias_correction,
            earliest=run.train.earliest,
            regularization=_regularization(run, model, rows),
            sort_by_length=run.train.sort_by_length,
        )


def _regularization(run: RunConfig, model: Model, rows: Rows) -> Regularization | None:
    """The regularizer of a run for its training rows; None of plain training.

    Raises:
        ValueError: if it cannot be used with the model.
    """
    if run.train.regularizer is None:
        return None
    regularizer = run.train.regularizer.regularizer()
    regularizer.require(model)
    return Regularization(regularizer, rows, run.train.seed)


def _metrics(what: Task, predictions: transformers.EvalPrediction) -> dict[str, float]:
    """The task's metrics, and the criterion by which a checkpoint is chosen."""
    logits = (
        predictions.predictions[0]
        if isinstance(predictions.predictions, tuple)
        else predictions.predictions
    )
    labels = np.asarray(predictions.label_ids)
    logits = np.asarray(logits, dtype=np.float64)
    metrics = compute_metrics(what, logits, labels)
    if what.labels == 1:
        loss = float(np.mean((logits.reshape(len(labels)) - labels) ** 2))
    else:
        shifted = logits - logits.max(axis=1, keepdims=True)
        loss = float(
            np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels])
        )
    return {**metrics, CRITERION: criterion(metrics[what.metrics[0]], loss)}


def _history(state: Path) -> transformers.TrainerState:
    return transformers.TrainerState.load_from_json(str(state / "trainer_state.json"))


def _is_finished(state: Path, choice: TrainChoice) -> bool:
    """Whether the run had ended when it was killed: another step would change what is best."""
    history = _history(state)
    return (
        is_exhausted(history.log_history, choice.patience)
        or history.global_step >= history.max_steps
    )


def _keep(best: Path, checkpoint: Path, tokenizer: Tokenizer) -> None:
    """Copy the best state's model to its place, which appears whole or not at all."""
    temporary = checkpoint.with_name(f".{checkpoint.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    for name in (WEIGHTS, "config.json"):
        shutil.copyfile(best / name, temporary / name)
    tokenizer.save_pretrained(temporary)
    shutil.rmtree(checkpoint, ignore_errors=True)
    # a rename is whole or not at all
    temporary.rename(checkpoint)


def _epochs(history: Sequence[Mapping[str, Any]]) -> list[LogEntry]:
    """One entry per evaluation, with the training loss of the steps before it."""
    entries: dict[object, LogEntry] = {}
    for logged in history:
        kind = "training" if "loss" in logged else "validation" if "eval_loss" in logged else None
        if kind is None:
            continue
        values = {name.removeprefix("eval_"): value for name, value in logged.items()}
        losses = {name: values[name] for name in Losses.__struct_fields__ if name in values}
        step = logged["step"]
        entry = entries.get(step, LogEntry(logged["step"], logged["epoch"]))
        entries[step] = structs.replace(entry, **{kind: convert(losses, Losses)})
    return list(entries.values())


def _record(
    run: RunConfig, out: Path, data: Path, examples: dict[str, Examples], files: dict[str, str]
) -> Result:
    """Evaluate the checkpoint and put the record together."""
    stopwatch = Stopwatch.start()
    trained = read(out / "train.json", Trained)
    evaluation = evaluate(out / CHECKPOINT, run, data)
    start = start_of(run, data)
    final = model_of(out / CHECKPOINT)
    last = trained.log[-1].training if trained.log else None
    rows = {name: RowsRecord(len(part), part.digest) for name, part in examples.items()}
    meta = ResultMeta(
        schema=SCHEMA,
        versions=versions(),
        commit=git_commit(),
        seeds=Seeds(run.train.seed, run.data.subset_seed),
        data=rows | (evaluation.data or {}),
        files=files,
        checkpoints=Checkpoints(start.weights, final.weights),
        start=start,
        final=final,
        threads=torch.get_num_threads(),
        training=trained.spent,
        evaluation=stopwatch.read(),
        solver=RunSolver(last.solver if last else [], evaluation.solver or []),
    )
    training = {name: getattr(trained, name) for name in Training.__struct_fields__}
    return Result(
        run=run,
        train=Training(**training),
        evaluation=structs.replace(evaluation, solver=None, data=None),
        meta=meta,
        warnings=[
            *_warnings(trained.log, evaluation.solver or [], run.train.failed_limit),
            *no_better_than_chance(run, trained, examples["validation"]),
        ],
    )


def _warnings(log: list[LogEntry], evaluation: list[LayerSolves], limit: float) -> list[str]:
    """Solves that failed too often, in training and in the evaluation after it."""
    lines = []
    for entry in log:
        if entry.training is not None:
            where = f"training up to step {entry.step}"
            lines += failures(where, entry.training.solver, limit)
    return lines + failures("evaluation", evaluation, limit)
