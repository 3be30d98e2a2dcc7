"""What `imbert` reads of its own records, as types that the files are held against.

Declared is what somebody reads; a record holds more. A number that was not finite is null.
"""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from analysis.ground.json_records import Within, Written

Number = float | None
Share = Annotated[float, Within(0, 1)]
MaybeShare = Share | None
Count = Annotated[int, Within(0)]
Bits = Annotated[str, Written("[01]*", "a string of 0 and 1")]


class SolverStatistics(TypedDict):
    """Of the solves of one implicit layer."""

    layer: Count
    examples: Count
    statuses: dict[str, Count]
    failed_share: Share
    evaluations_mean: Number


class Losses(TypedDict):
    """Of the steps since the last entry of a log."""

    loss: Number
    solver: list[SolverStatistics]


class LogEntry(TypedDict):
    """Of one evaluation during training."""

    step: Count
    epoch: Number
    training: NotRequired[Losses]
    validation: NotRequired[Losses]


class Spent(TypedDict):
    """Time and memory."""

    wall_seconds: Annotated[float, Within(0)]
    cpu_seconds: Annotated[float, Within(0)]


class Training(TypedDict):
    """How a model was trained."""

    log: Annotated[list[LogEntry], Within(1)]
    steps: Count


class Trained(Training):
    """The same before the evaluation: train.json."""

    spent: Spent


class Split(TypedDict):
    """What a model gets right of a split."""

    count: Count
    metrics: dict[str, Number]
    right: Bits
    interval: NotRequired[tuple[Number, Number] | None]


class Scored(TypedDict):
    """All adversarial items of a task."""

    metrics: dict[str, Number]


class Pairs(TypedDict):
    """What a model gets right of one of AdvGLUE's tasks."""

    count: Count
    original_accuracy: MaybeShare
    adversarial_accuracy: MaybeShare
    conditional_accuracy: MaybeShare
    right_original: Bits
    right_adversarial: Bits
    all: Scored


class Evaluation(TypedDict):
    """What a model gets right."""

    dev: NotRequired[Split]
    advglue: NotRequired[dict[str, Pairs]]


class Checkpoints(TypedDict):
    """Digests of the weights before and after training; null where there was none to take."""

    start: str | None
    final: str | None


class Data(TypedDict):
    """Of one split."""

    digest: str


class SolverMeta(TypedDict):
    """Statistics of the solvers in a whole run."""

    training: list[SolverStatistics]


class ResultMeta(TypedDict):
    """What is needed to read a result years later."""

    schema: Literal[1]
    versions: dict[str, str]
    commit: str | None
    data: dict[str, Data]
    checkpoints: Checkpoints
    training: Spent
    solver: SolverMeta


class DataTable(TypedDict):
    """The [data] table of a run."""

    task: str


class RunTables(TypedDict):
    """All choices of a run."""

    data: DataTable


class Result(TypedDict):
    """A finished run: result.json."""

    meta: ResultMeta
    run: RunTables
    train: Training
    evaluation: Evaluation
    warnings: list[str]


class Attacked(TypedDict):
    """One example under attack."""

    index: Count
    right_before: bool
    right_after: bool
    queries: Count
    edits: Count


class Of(TypedDict):
    """What an attack's record belongs to."""

    checkpoint: str | None
    examples: str
    choice: dict[str, Any]


class Attack(TypedDict):
    """One attack on one checkpoint: attacks/NAME.json."""

    attack: str
    options: dict[str, Any]
    examples: Count
    clean_accuracy: Share
    robust_accuracy: Share
    success_rate: MaybeShare
    queries: Annotated[float, Within(0)]
    queries_max: Count
    changed: list[Count]
    per_example: list[Attacked]
    statistics: dict[str, Any]
    warnings: NotRequired[list[str]]
    texts_digest: NotRequired[str]
    of: Of


class Checked(TypedDict):
    """One masking check."""

    name: str
    passed: bool | None


class Masking(TypedDict):
    """The masking checks: attacks/masking.json."""

    checks: list[Checked]
    warnings: NotRequired[list[str]]
    of: dict[str, Any]


class OneWay(TypedDict):
    """What broke one model, put to another."""

    rate: MaybeShare


class BothWays(TypedDict):
    """Between a run and the baseline."""

    to_baseline: OneWay
    from_baseline: OneWay


class Transfers(TypedDict):
    """Of each attack on texts: attacks/transfer.json."""

    transfers: dict[str, BothWays]
    warnings: NotRequired[list[str]]
    of: dict[str, Any]


class Failure(TypedDict):
    """Why a stage of a run failed: failed-STAGE.json."""

    error: str


def attack_kind(name: str) -> Any:
    """The type of attacks/NAME.json."""
    return {"masking": Masking, "transfer": Transfers}.get(name, Attack)
