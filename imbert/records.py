"""Everything that `imbert` writes as JSON, as frozen types, and the one place where it is read.

msgspec holds a file against its type in one strict pass (no field unknown, none of another type),
says the place of the first fault in one line, exports the types as JSON schema, and imports in a
hundredth of a second. The bytes are read by `analysis.ground.json_records`. A field that may be
None and has that default is lacking in records of earlier versions. A number that was not finite
is null in the file and None here.
"""

import math
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from analysis.ground.frozen_record import Record
from analysis.ground.json_records import DIGEST, read_record
from imbert.record_faults import Json, require_type
from imbert.result import SCHEMA, Spent, finite
from imbert.toml_tables import Plain
from imbert.training.run_config import RunConfig

Number = float | None
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
MaybeShare = Share | None
Count = Annotated[int, msgspec.Meta(ge=0)]
Bits = Annotated[str, msgspec.Meta(pattern="^[01]*$", description="a 0 or 1 for each example")]
Digests = dict[str, str]
R = TypeVar("R")


class Solves(Record, frozen=True):
    """How the solves of a layer, or of its adjoint, went over many batches."""

    examples: Count
    statuses: dict[str, Count]
    failed_share: Share
    evaluations_mean: Number
    evaluations_max: Count
    residual_max: Number
    residual_median_mean: Number


class LayerSolves(Solves, frozen=True):
    """The same of one implicit layer, with the linear solves of its gradient."""

    layer: Count
    adjoint: Solves | None


class Regularized(Record, frozen=True, omit_defaults=True):
    """Of a regularizer, means over the steps since the last entry: the penalty before it is
    multiplied by its strength (of FreeLB how far the loss rose), the share of examples that had an
    edit to compare, and passes over a batch beside those of plain training.
    """

    value: Number
    forward_passes: Count
    backward_passes: Count
    edited: MaybeShare = None


class Losses(Record, frozen=True, omit_defaults=True):
    """Of the steps since the last entry of a log, or of an evaluation during training."""

    loss: Number
    solver: list[LayerSolves]
    wall_seconds: float
    cpu_seconds: float
    grad_norm: Number = None
    learning_rate: Number = None
    criterion: Number = None
    accuracy: Number = None
    f1: Number = None
    matthews: Number = None
    pearson: Number = None
    spearman: Number = None
    regularizer: Regularized | None = None


class LogEntry(Record, frozen=True, omit_defaults=True):
    """Of one evaluation during training."""

    step: Count
    epoch: Number
    training: Losses | None = None
    validation: Losses | None = None


class Training(Record, frozen=True):
    """How a model was trained."""

    log: Annotated[list[LogEntry], msgspec.Meta(min_length=1)]
    steps: Count
    best_step: Count
    stopped_early: bool
    parameters: Count
    model: dict[str, Plain]
    device: str
    processes: Count


class Trained(Training, frozen=True):
    """The same before the evaluation: train.json."""

    spent: Spent


class SplitScore(Record, frozen=True):
    """What a model gets right of a split."""

    count: Count
    metrics: dict[str, Number]
    right: Bits
    interval: tuple[Number, Number] | None = None

    @property
    def in_words(self) -> str:
        """The metrics that are known: "accuracy 0.5417"."""
        known = {name: value for name, value in self.metrics.items() if value is not None}
        return ", ".join(f"{name} {value:.4f}" for name, value in known.items())


class Rates(Record, frozen=True):
    """What a model gets right of pairs of an original and an adversarial text."""

    count: Count
    original_right: Count
    adversarial_right: Count
    both_right: Count
    original_accuracy: MaybeShare
    adversarial_accuracy: MaybeShare
    conditional_accuracy: MaybeShare


class Unpaired(Record, frozen=True):
    """What a model gets right of items without an original."""

    count: Count
    right: Count
    accuracy: MaybeShare


class Scored(Record, frozen=True):
    """All adversarial items of a task."""

    count: Count
    right: Count
    metrics: dict[str, Number]


class PairScores(Rates, frozen=True):
    """What a model gets right of one of AdvGLUE's tasks."""

    unpaired: Unpaired
    all: Scored
    kinds: dict[str, Rates]
    right_original: Bits
    right_adversarial: Bits
    right_unpaired: Bits
    clusters: list[Count] | None = None


class Rows(Record, frozen=True, omit_defaults=True):
    """The rows of one split; of AdvGLUE's the originals and the items without one, too."""

    rows: Count
    digest: str
    originals: str | None = None
    unpaired: str | None = None


class Evaluation(Record, frozen=True, omit_defaults=True):
    """What a model gets right; the last two stand in the `meta` of a run's result."""

    dev: SplitScore | None = None
    advglue: dict[str, PairScores] | None = None
    solver: list[LayerSolves] | None = None
    data: dict[str, Rows] | None = None


class Seeds(Record, frozen=True):
    """Of training, and of the choice of rows."""

    train: Count
    subset: Count


class Checkpoints(Record, frozen=True):
    """Digests of the weights before and after training; None where there was none to take."""

    start: str | None
    final: str | None


class ModelDigests(Record, frozen=True):
    """Digests of what a checkpoint is made of; None where it is not on this machine."""

    weights: str | None
    config: str | None
    tokenizer: str | None


class RunSolver(Record, frozen=True):
    """Statistics of the solvers in the last epoch of a training, and in its evaluation."""

    training: list[LayerSolves]
    evaluation: list[LayerSolves]


class ResultMeta(Record, frozen=True, kw_only=True):
    """What is needed to read a result years later."""

    schema: Literal[1]
    versions: dict[str, str]
    commit: str | None
    seeds: Seeds
    data: dict[str, Rows]
    files: Digests | None = None
    checkpoints: Checkpoints
    start: ModelDigests | None = None
    final: ModelDigests | None = None
    threads: Count
    training: Spent
    evaluation: Spent
    solver: RunSolver


class Result(Record, frozen=True):
    """A finished run: result.json."""

    run: RunConfig
    train: Training
    evaluation: Evaluation
    meta: ResultMeta
    warnings: list[str]


class MeasuredMeta(Record, frozen=True):
    """What `imbert evaluate` measured, with what."""

    schema: Literal[1]
    checkpoint: str | None
    model: ModelDigests
    commit: str | None
    versions: dict[str, str]
    files: Digests


class Measured(Record, frozen=True):
    """What `imbert evaluate --out` writes."""

    run: RunConfig
    evaluation: Evaluation
    meta: MeasuredMeta


class Failure(Record, frozen=True):
    """Why a stage of a run failed: failed-STAGE.json."""

    error: str
    kind: str | None = None


def read(path: Path, kind: type[R]) -> R:
    """A record of a file.

    Raises:
        DamagedRecord: if it is not strict JSON, or its digest is not that of its entries.
        ValueError: naming the file and the first entry that is unknown, missing or wrong.
        OSError: if it cannot be read.
    """
    return _typed(read_record(path, Any), kind, path)


def read_result(path: Path) -> Result:
    """The result of a run; see `read`, and of another schema it is refused too."""
    return _typed(read_record(path, Any, "a record", SCHEMA, ("meta", "schema")), Result, path)


def as_written(record: R) -> R:
    """The record as it would be read from its file: None for what is not finite."""
    return msgspec.convert(finite(record), type(record))


def plain(record: object) -> dict[str, Plain]:
    """The entries of a record as JSON has them; None for what is not finite, and of a run what
    `as_dict` keeps of it.
    """
    values = finite(record)
    run = getattr(record, "run", None)
    return {**values, "run": run.as_dict()} if isinstance(run, RunConfig) else values


def number(value: Number) -> float:
    """A measured number; NaN where there is none."""
    return math.nan if value is None else value


def _typed(values: Json, kind: type[R], path: Path) -> R:
    """The entries without their digest, which was compared."""
    if isinstance(values, dict):
        values.pop(DIGEST, None)
    return require_type(values, kind, path)
