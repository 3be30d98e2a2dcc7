"""What a fine-tuning run is: model, data, training and evaluation, read from TOML.

Knows neither torch nor transformers.
"""

import hashlib
import json
import re
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from analysis.ground.frozen_record import Choice
from analysis.ground.labelled_tables import ColumnNames, class_key
from imbert.data.read_examples import TableChoice
from imbert.data.split_files import SPLITS
from imbert.data.tasks import OWN, Task, own_task, task
from imbert.model.choice import DEFAULT_LENGTH, ModelChoice
from imbert.toml_tables import (
    MOST,
    Plain,
    Table,
    in_range,
    known_keys,
    named,
    one_of,
    read_toml,
    section,
)
from imbert.training.regularizers.choice import NO_REGULARIZER, RegularizerChoice

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("float32", "bfloat16")
SCHEDULES = ("linear", "constant", "cosine")
Names = Mapping[str, tuple[str, ...]]  # of the choices of some tables
MOST_THREADS = 1024  # more than any machine has use for; far more end the process


class DataChoice(Choice, frozen=True):
    """Which rows a model learns from.

    What is not given of the last eight stands in no record, so that those of earlier versions keep
    their digests.

    Attributes:
        task: a GLUE task, or "own"; own too where it is left out and one of the last eight is
            given.
        source: a folder or a file; relative paths start at the data folder of the command. Or
            "hub" for GLUE, "hub:owner/name" for another dataset of the hub.
        size: training rows, a stratified nested subset; None is all that are not held out.
        subset_seed: of the subset and of the held-out rows.
        validation: rows of the training file that are held out for early stopping and the choice of
            the checkpoint.
        max_length: tokens after which texts are cut. The default is less where the model takes
            less; a greater number than the model takes is refused when the model is loaded.
        final_period: False takes one away from every text, on which a model of the prepared MNLI
            subset, which lacks them, is measured.
        text_column: that holds the texts; else the usual names are looked for.
        pair_column: that holds the second texts of pairs.
        label_column: that holds the labels; else "label".
        labels: names of the classes of an own task, in the order of the model's outputs; else those
            that the training file has, sorted.
        regression: whether the labels of an own task are numbers to predict.
        dev_rows: rows of the one file that there is to train on which are the dev split.
        hub_config: of a dataset of the hub that has several.
        splits: what "train" and "dev" are called, of files in the folder or on the hub.

    Raises:
        ValueError: if there is no such task, a number is out of range, or a choice means nothing
            for the task.
    """

    task: str = "sst2"
    source: str = "glue"
    size: int | None = None
    subset_seed: int = 0
    validation: int = 500
    max_length: int = DEFAULT_LENGTH
    final_period: bool = True
    text_column: str | UnsetType = UNSET
    pair_column: str | UnsetType = UNSET
    label_column: str | UnsetType = UNSET
    labels: tuple[str, ...] | UnsetType = UNSET
    regression: bool | UnsetType = UNSET
    dev_rows: int | UnsetType = UNSET
    hub_config: str | UnsetType = UNSET
    splits: Mapping[str, str] | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.task == OWN:
            self._require_own()
        else:
            self._require_of_glue(task(self.task))
        for name in ("text_column", "pair_column", "label_column", "hub_config"):
            if getattr(self, name) == "":
                raise ValueError(f"data.{name} must be a name, got an empty one")
        for split, name in (self.splits or {}).items():
            one_of("data.splits", split, SPLITS)
            if not isinstance(name, str) or not name:
                raise ValueError(f"data.splits.{split} must be a name, got {name!r}")
        try:
            self.table()
        except ValueError as error:
            raise ValueError(f"data: {error}") from None
        if self.dev_rows is not UNSET:
            in_range("data.dev_rows", self.dev_rows, 1, MOST)
        in_range("data.size", self.size, 1, MOST)
        in_range("data.subset_seed", self.subset_seed, 0)
        in_range("data.validation", self.validation, 1, MOST)
        in_range("data.max_length", self.max_length, 4, MOST)

    def table(self) -> TableChoice:
        """How its tables are read."""
        names = ColumnNames(
            self.text_column or None, self.pair_column or None, self.label_column or None
        )
        return TableChoice(names, self.splits or {}, self.hub_config or None)

    def learnt(self) -> Task:
        """The task.

        Raises:
            ValueError: if it is one's own and its columns or classes are not known: see
                `imbert.training.own_data.resolved`.
        """
        if self.task != OWN:
            return task(self.task)
        if not self.text_column or not (self.labels or self.regression):
            raise ValueError("data: expected text_column and labels of an own task, got neither")
        keys = (self.text_column, *([self.pair_column] if self.pair_column else []))
        return own_task(keys, () if self.regression else self.labels or ())

    @property
    def is_regression(self) -> bool:
        """Whether labels are numbers to predict, as far as the choices say."""
        return bool(self.regression) if self.task == OWN else task(self.task).labels == 1

    def _require_own(self) -> None:
        """Raise ValueError unless the choices of an own task fit each other."""
        if self.regression and self.labels:
            raise ValueError(
                f"data.labels mean nothing for a regression, got {', '.join(self.labels)}"
            )
        if self.labels is not UNSET:
            names = [class_key(name) for name in self.labels]
            if len(names) < 2 or len(set(names)) < len(names) or not all(names):
                raise ValueError(
                    "data.labels must be at least 2 names, none of them empty or twice, got "
                    f"{list(self.labels)}"
                )

    def _require_of_glue(self, what: Task) -> None:
        """Raise ValueError if a choice means nothing for a task of GLUE."""
        for name in ("labels", "regression"):
            if getattr(self, name) is not UNSET:
                raise ValueError(
                    f"data.{name} is known of the task {self.task!r} of GLUE, expected it to be "
                    f'left out or task = "{OWN}", got {getattr(self, name)!r}'
                )
        given = [name for name in (self.text_column, self.pair_column) if name]
        if given and len(given) != len(what.keys):
            raise ValueError(
                f"data.text_column and pair_column: task {self.task!r} has {len(what.keys)} "
                f"texts, got {', '.join(given)}"
            )


OWN_FIELDS = (
    "text_column",
    "pair_column",
    "label_column",
    "labels",
    "regression",
    "dev_rows",
    "hub_config",
    "splits",
)


def data_table(table: object) -> object:
    """A [data] table, its task "own" where it names none and has columns or classes of its own."""
    if isinstance(table, Mapping) and "task" not in table and {*OWN_FIELDS} & {*table}:
        return {"task": OWN, **table}
    return table


class TrainChoice(Choice, frozen=True):
    """How a model is trained.

    Attributes:
        seed: of the classifier head, dropout and data order.
        epochs: at most.
        batch_size: examples of one optimiser step, over all processes and accumulated
            micro-batches.
        learning_rate: its largest value.
        weight_decay: decoupled; none on biases and LayerNorm.
        warmup_fraction: of all steps.
        schedule: of the learning rate after warm-up.
        bias_correction: of Adam's moments; off is the optimiser of the first BERT.
        max_gradient_norm: gradients are clipped to it.
        patience: evaluations without a better one after which training stops; 0 never stops.
        earliest: epochs before which no checkpoint is chosen, so that a lucky evaluation of a model
            not yet trained is not taken.
        gradient_accumulation: micro-batches of one step.
        sort_by_length: whether the examples of a step go to its micro-batches by length, which pads
            these to less; dropout is then drawn otherwise.
        save_steps: steps from one evaluation and saved state to the next; 0 is an epoch.
        threads: of torch on the CPU; it may change the last bits.
        device: "auto" takes a GPU if there is one.
        precision: "bfloat16" is autocast.
        failed_limit: share of examples on which a solver may fail before the record warns.
        report_to: where log entries go too, by transformers' names, such as "tensorboard".
        logging_dir: of TensorBoard's files; a relative path starts at the run's folder. None is
            "tensorboard" there.
        progress: whether a bar shows the steps; `imbert finetune` shows one on a terminal anyway.
        regularizer: what is added to the loss; None, or the kind "none", is nothing.

    Raises:
        ValueError: if a choice is out of range, or `logging_dir` is given without TensorBoard.
    """

    seed: int = 0
    epochs: int = 10
    batch_size: int = 16
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    warmup_fraction: float = 0.1
    schedule: str = "linear"
    bias_correction: bool = True
    max_gradient_norm: float = 1.0
    patience: int = 3
    earliest: int = 0
    gradient_accumulation: int = 1
    sort_by_length: bool = False
    save_steps: int = 0
    threads: int = 1
    device: str = "auto"
    precision: str = "float32"
    failed_limit: float = 0.05
    report_to: tuple[str, ...] = ()
    logging_dir: str | None = None
    progress: bool = False
    regularizer: RegularizerChoice | None = None

    def __post_init__(self) -> None:
        if self.regularizer is not None and self.regularizer.kind == NO_REGULARIZER:
            # a study's model without the shared one is as a run that never had one
            msgspec.structs.force_setattr(self, "regularizer", None)
        for name in ("epochs", "batch_size", "gradient_accumulation"):
            in_range(f"train.{name}", getattr(self, name), 1, MOST)
        in_range("train.threads", self.threads, 1, MOST_THREADS)
        for name in ("patience", "earliest", "save_steps"):
            in_range(f"train.{name}", getattr(self, name), 0, MOST)
        in_range("train.weight_decay", self.weight_decay, 0)
        in_range("train.seed", self.seed, 0, 2**32 - 1)  # what NumPy's generator takes
        in_range("train.learning_rate", self.learning_rate, 0, low_allowed=False)
        in_range("train.max_gradient_norm", self.max_gradient_norm, 0, low_allowed=False)
        in_range("train.warmup_fraction", self.warmup_fraction, 0, 1, high_allowed=False)
        in_range("train.failed_limit", self.failed_limit, 0, 1)
        if self.earliest > self.epochs:
            raise ValueError(
                f"train.earliest must be at most epochs = {self.epochs}, got {self.earliest}"
            )
        one_of("train.schedule", self.schedule, SCHEDULES)
        one_of("train.device", self.device, DEVICES)
        one_of("train.precision", self.precision, PRECISIONS)
        if self.regularizer is not None:
            self.regularizer.require_setting(self.precision)
        if self.logging_dir is not None and "tensorboard" not in self.report_to:
            raise ValueError(
                "train.logging_dir means nothing without TensorBoard: expected 'tensorboard' in "
                f"train.report_to, got {list(self.report_to)}"
            )
        if self.batch_size % self.gradient_accumulation:
            raise ValueError(
                "train.batch_size must be a multiple of gradient_accumulation, got "
                f"{self.batch_size} and {self.gradient_accumulation}"
            )
        if self.sort_by_length and self.gradient_accumulation == 1:
            raise ValueError("train.sort_by_length: expected gradient_accumulation > 1, got 1")


class EvaluateChoice(Choice, frozen=True):
    """On what a trained model is measured.

    Attributes:
        dev: whether on the task's dev split.
        advglue: the AdvGLUE file, found like `data.source`; None leaves it out.
        limit: the first so many dev examples; None is all.
        batch_size: examples at once.
        prediction: sha256 of the prediction file that the run is to test; it goes into the record,
            so that none is made afterwards.

    Raises:
        ValueError: if a number is out of range, the prediction no sha256, or AdvGLUE is asked for
            without dev, beside which alone it can be read.
    """

    dev: bool = True
    advglue: str | None = None
    limit: int | None = None
    batch_size: int = 32
    prediction: str | None = None

    def __post_init__(self) -> None:
        if self.prediction is not None and not re.fullmatch("[0-9a-f]{64}", self.prediction):
            raise ValueError(
                "evaluate.prediction must be a sha256 in 64 "
                f"hexadecimal digits, got {self.prediction!r}"
            )
        in_range("evaluate.limit", self.limit, 1, MOST)
        in_range("evaluate.batch_size", self.batch_size, 1, MOST)
        if self.advglue is not None and not self.dev:
            raise ValueError(
                "evaluate.dev must be true where evaluate.advglue is given: "
                "drift toward chance looks like robustness, got false"
            )


SECTIONS: Mapping[str, type[msgspec.Struct]] = types.MappingProxyType(
    {"model": ModelChoice, "data": DataChoice, "train": TrainChoice, "evaluate": EvaluateChoice}
)
# choices that show a run and change no number of it: they may be others when it goes on
SHOWN: Names = types.MappingProxyType({"train": ("report_to", "logging_dir", "progress")})
# choices that the first runs lack: left out at their defaults, so that old digests stay
LATER: Names = types.MappingProxyType({"train": (*SHOWN["train"], "regularizer", "sort_by_length")})


class RunConfig(Choice, frozen=True):
    """All choices of one fine-tuning run; equal configurations give equal weights on one
    machine.

    Raises:
        ValueError: if the regularizer means nothing for the task.
    """

    model: ModelChoice = ModelChoice()
    data: DataChoice = DataChoice()
    train: TrainChoice = TrainChoice()
    evaluate: EvaluateChoice = EvaluateChoice()

    def __post_init__(self) -> None:
        if self.train.regularizer is not None:
            self.train.regularizer.require_task(self.data.is_regression)

    def as_dict(self) -> dict[str, Plain]:
        """Plain JSON-ready values, without the `LATER` choices that have their defaults."""
        values = msgspec.json.decode(msgspec.json.encode(self))
        defaults = msgspec.json.decode(msgspec.json.encode(RunConfig()))
        for table, names in LATER.items():
            for name in names:
                if values[table][name] == defaults[table][name]:
                    del values[table][name]
        return values

    @property
    def identity(self) -> dict[str, Plain]:
        """The choices that make the result what it is: `as_dict` without those of `SHOWN`."""
        values: dict[str, Any] = self.as_dict()
        return {
            table: {
                name: value for name, value in entries.items() if name not in SHOWN.get(table, ())
            }
            for table, entries in values.items()
        }

    @property
    def digest(self) -> str:
        """Sha256 of `identity`."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()


def run_config(table: Table) -> RunConfig:
    """A run from nested tables, as TOML gives them.

    Raises:
        ValueError: if a section or key is unknown (the known ones are named), or a value is of the
            wrong type or out of range.
    """
    known_keys("a run", table, SECTIONS)
    return RunConfig(
        section("model", ModelChoice, table.get("model", {})),
        section("data", DataChoice, data_table(table.get("data", {}))),
        section("train", TrainChoice, table.get("train", {})),
        section("evaluate", EvaluateChoice, table.get("evaluate", {})),
    )


def read_run(path: Path) -> RunConfig:
    """A run from a TOML file.

    Raises:
        ValueError: if the file is not TOML or not a run.
        OSError: if it cannot be read.
    """
    return named(path, run_config, read_toml(path))
