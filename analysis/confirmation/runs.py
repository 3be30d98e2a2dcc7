"""Fine-tuned and attacked runs, read from imbert's files as tests of a prediction.

Knows imbert's files, not imbert.
"""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import numpy as np

from analysis.ground.json_records import Within, read_record

RESULT_SCHEMA = 1
STOPPED = ("GradientDescent",)


class _Advantage(TypedDict):
    """With its interval over texts."""

    value: float | None
    low: float | None
    high: float | None


class _Placement(TypedDict):
    """Some layers implicit."""

    layers: list[Annotated[int, Within(0)]]
    step_size: float
    advantage: _Advantage


class _Config(TypedDict):
    """What a prediction was made of."""

    checkpoint: str | None
    field: str
    encoder_depth: Annotated[int, Within(1)]


class Prediction(TypedDict):
    """What is read of prediction.json."""

    config: _Config
    placements: list[_Placement]


@dataclasses.dataclass(frozen=True)
class Run:
    """One fine-tuned and attacked model.

    Attributes:
        folder: where it lies.
        layers: that take an implicit step; none for the explicit model.
        seed: of its training.
        dev: its metric on the dev split, which gives the rest its meaning.
        dev_interval: of that, 95 %.
        right: `(examples,)`, right before the attack.
        flipped: `(examples,)`, wrong after it.
        clusters: `(examples,)`, equal for examples of the same texts; None where each stands alone.
    """

    folder: str
    layers: tuple[int, ...]
    seed: int
    dev: float
    dev_interval: tuple[float, float]
    right: np.ndarray
    flipped: np.ndarray
    clusters: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Source:
    """The run of a study whose fine-tuned model a prediction was made from.

    Attributes:
        seed: of its training, whose runs are no test of the prediction.
        named: runs of the other seeds that name the prediction.
    """

    seed: int
    named: int


def read_runs(
    study: Path, attack: str, ahead: dict[str, Any], digest: str
) -> tuple[list[Run], float, Source | None]:
    """The attacked runs of a study's folder, each of which must be a test of the prediction, and
    their step size.

    A prediction from the fine-tuned explicit model of one seed is tested by the other seeds. Their
    runs need not name it: they may have been trained with its own.

    Raises:
        ValueError: see `confirm`.
        OSError: likewise.
    """
    folders = sorted(path.parent for path in study.rglob("result.json"))
    if not folders:
        raise ValueError(f"{study}: expected runs with a result.json, got none")
    found, same, of = list[Run](), _Same(study), dict[tuple[tuple[int, ...], int], str]()
    steps: set[float] = set()
    results = {
        folder: read_record(
            folder / "result.json", _Result, "a result", RESULT_SCHEMA, ("meta", "schema")
        )
        for folder in folders
    }
    source = _source(results.values(), ahead, digest)
    for folder, result in results.items():
        path = folder / "attacks" / f"{attack}.json"
        if source is None:
            _require(folder, result, ahead, digest)
        # what the prediction was made from does not test it
        elif result["run"]["train"]["seed"] == source.seed:
            continue
        else:
            same.require("checkpoint to start from", folder, result["meta"]["checkpoints"]["start"])
        if not path.is_file():
            raise ValueError(
                f"{folder}: expected the attack {attack} in "
                f"attacks/{attack}.json, got none; attack every run first"
            )
        record = read_record(path, _Attack)
        if (attacked := record["of"]["checkpoint"]) != (
            final := result["meta"]["checkpoints"]["final"]
        ):
            raise ValueError(
                f"{path}: expected an attack on the run's checkpoint {final}, got one on {attacked}"
            )
        run, seed = result["run"], result["run"]["train"]["seed"]
        for name, own in (
            result["meta"].get("final", {}).items()
        ):  # older records have the weights alone
            if name in record["of"] and record["of"][name] != own:
                raise ValueError(
                    f"{path}: expected an attack on the run's "
                    f"checkpoint, got one with another {name}"
                )
        layers, h = _placement(folder, run["model"], ahead)
        same.require(
            "attack on the same examples",
            folder,
            [record["of"]["examples"], record["of"]["choice"]],
        )
        same.require("data", folder, run["data"])
        same.require("training", folder, {**run["train"], "seed": None})
        if layers:
            steps.add(h)
            same.require(
                "implicit step",
                folder,
                {**run["model"], "implicit_layers": None, "step_size": None},
            )
        if len(steps) > 1:
            raise ValueError(f"{study}: expected implicit steps of one size, got {sorted(steps)}")
        if (other := of.setdefault((layers, seed), str(folder))) != str(folder):
            raise ValueError(
                f"{study}: expected one run for each placement and seed, got {other} and {folder}"
            )
        right = np.array([row["right_before"] for row in record["per_example"]], dtype=bool)
        flipped = right & ~np.array(
            [row["right_after"] for row in record["per_example"]], dtype=bool
        )
        same.require("number of examples", folder, len(right))
        dev = result["evaluation"]["dev"]
        metric, low, high = map(
            _number, (next(iter(dev["metrics"].values()), None), *(dev["interval"] or (None, None)))
        )
        clusters = np.array([row.get("cluster", i) for i, row in enumerate(record["per_example"])])
        found.append(Run(str(folder), layers, seed, metric, (low, high), right, flipped, clusters))
    if not steps:
        raise ValueError(f"{study}: expected runs with implicit steps, got none")
    return found, next(iter(steps)), source


class _Dev(TypedDict):
    """What a model gets right of the dev split."""

    metrics: dict[str, float | None]
    interval: tuple[float | None, float | None] | None


class _Evaluation(TypedDict):
    """What a model gets right."""

    dev: _Dev


class _Checkpoints(TypedDict):
    """Digests of the weights before and after training."""

    start: str | None
    final: str | None


class _Meta(TypedDict):
    """What a result is of."""

    schema: int
    checkpoints: _Checkpoints
    final: NotRequired[dict[str, str | None]]


class _Model(TypedDict):
    """The [model] table of a run."""

    kind: str
    method: NotRequired[str | None]
    field: NotRequired[str | None]
    implicit_layers: NotRequired[list[Annotated[int, Within(0)]] | None]
    step_size: NotRequired[float | None]
    solver: NotRequired[dict[str, Any] | None]


class _Train(TypedDict):
    """The [train] table of a run."""

    seed: Annotated[int, Within(0)]


class _Evaluate(TypedDict):
    """The [evaluate] table of a run."""

    prediction: NotRequired[str | None]


class _Choices(TypedDict):
    """All choices of a run."""

    model: _Model
    data: dict[str, Any]
    train: _Train
    evaluate: _Evaluate


class _Result(TypedDict):
    """What is read of result.json."""

    meta: _Meta
    run: _Choices
    evaluation: _Evaluation


class _Example(TypedDict):
    """One example under attack."""

    right_before: bool
    right_after: bool


class _Of(TypedDict):
    """What an attack's record belongs to."""

    checkpoint: str | None
    config: NotRequired[str | None]
    tokenizer: NotRequired[str | None]
    examples: str
    choice: dict[str, Any]


class _Attack(TypedDict):
    """What is read of an attack's record."""

    of: _Of
    per_example: list[_Example]


class _Same:
    """What must not differ between runs."""

    def __init__(self, study: Path) -> None:
        self.study = study
        self.first: dict[str, tuple[str, str]] = {}

    def require(self, what: str, folder: Path, value: Any) -> None:
        told, where = self.first.setdefault(what, (json.dumps(value, sort_keys=True), str(folder)))
        if told != json.dumps(value, sort_keys=True):
            raise ValueError(
                f"{self.study}: expected the same {what} in all "
                f"runs, got others in {where} and {folder}"
            )


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _source(results: Iterable[dict[str, Any]], ahead: dict[str, Any], digest: str) -> Source | None:
    """The explicit run whose fine-tuned weights were predicted from; None where none is."""
    results = list(results)
    wanted = ahead["config"]["checkpoint"]
    seeds = [
        result["run"]["train"]["seed"]
        for result in results
        if result["run"]["model"].get("kind") == "bert"
        and wanted is not None
        and result["meta"]["checkpoints"]["final"] == wanted
    ]
    if not seeds:
        return None
    others = [result["run"] for result in results if result["run"]["train"]["seed"] != seeds[0]]
    return Source(seeds[0], sum(run["evaluate"].get("prediction") == digest for run in others))


def _require(folder: Path, result: dict[str, Any], ahead: dict[str, Any], digest: str) -> None:
    """A result must be readable here, begin at the predicted checkpoint, and have named the
    prediction before it ran.
    """
    start, wanted = result["meta"]["checkpoints"]["start"], ahead["config"]["checkpoint"]
    if start != wanted or start is None:
        raise ValueError(
            f"{folder}: expected a run from the predicted checkpoint "
            f"{wanted or 'with a digest'}, got {start}"
        )
    named = result["run"]["evaluate"].get("prediction")
    if named != digest:
        raise ValueError(
            f"{folder}: expected a run that names the prediction {digest} "
            f"it tests, got {named}: predicted after the fact?"
        )


def _placement(
    folder: Path, model: dict[str, Any], ahead: dict[str, Any]
) -> tuple[tuple[int, ...], float]:
    """Which layers of a run are implicit, and h."""
    if model.get("kind") == "bert":
        return (), 1.0
    if model.get("kind") != "im-bert" or model.get("method") not in (None, "implicit_euler"):
        came = f"{model.get('kind')}, {model.get('method')}"
        raise ValueError(
            f"{folder}: expected runs of kind bert and im-bert, the "
            f"latter with implicit steps, got {came}"
        )
    if (solver := (model.get("solver") or {}).get("name")) in STOPPED:
        raise ValueError(
            f"{folder}: expected a solver that converges, got "
            f"{solver}, which stops after a given number of steps"
        )
    field, wanted = model.get("field") or "increment", ahead["config"]["field"]
    if field != wanted:
        raise ValueError(
            f"{folder}: expected runs with the field {wanted} that was predicted, got {field}"
        )
    every, layers = range(ahead["config"]["encoder_depth"]), model.get("implicit_layers")
    return tuple(every if layers is None else layers), float(model.get("step_size") or 1.0)
