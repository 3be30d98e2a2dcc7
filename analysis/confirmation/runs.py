"""Fine-tuned and attacked runs, read from imbert's files as tests of a prediction. Knows imbert's files, not imbert."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

RESULT_SCHEMA = 1
STOPPED = ("GradientDescent",)


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


def read_runs(study: Path, attack: str, ahead: dict[str, Any], digest: str) -> tuple[list[Run], float]:
    """The attacked runs of a study's folder, each of which must be a test of the prediction, and their step size.

    Raises:
        ValueError: see `confirm`.
        OSError: likewise.
    """
    folders = sorted(path.parent for path in study.rglob("result.json"))
    if not folders:
        raise ValueError(f"{study}: expected runs with a result.json, got none")
    found, same, of = list[Run](), _Same(study), dict[tuple[tuple[int, ...], int], str]()
    steps: set[float] = set()
    for folder in folders:
        result, path = read_json(folder / "result.json"), folder / "attacks" / f"{attack}.json"
        _require(folder, result, ahead, digest)
        if not path.is_file():
            raise ValueError(f"{folder}: expected the attack {attack} in attacks/{attack}.json, got none; attack every run first")
        record = read_json(path)
        if (attacked := _entry(path, record, "of", "checkpoint")) != (final := _entry(folder, result, "meta", "checkpoints", "final")):
            raise ValueError(f"{path}: expected an attack on the run's checkpoint {final}, got one on {attacked}")
        layers, h = _placement(folder, _entry(folder, result, "run", "model"), ahead)
        seed = int(_entry(folder, result, "run", "train", "seed"))
        same.require("attack on the same examples", folder, [_entry(path, record, "of", "examples"), _entry(path, record, "of", "choice")])
        same.require("data", folder, _entry(folder, result, "run", "data"))
        same.require("training", folder, {**_entry(folder, result, "run", "train"), "seed": None})
        if layers:
            steps.add(h)
            same.require("implicit step", folder, {**_entry(folder, result, "run", "model"), "implicit_layers": None, "step_size": None})
        if len(steps) > 1:
            raise ValueError(f"{study}: expected implicit steps of one size, got {sorted(steps)}")
        if (other := of.setdefault((layers, seed), str(folder))) != str(folder):
            raise ValueError(f"{study}: expected one run for each placement and seed, got {other} and {folder}")
        rows = _entry(path, record, "per_example")
        right = np.array([bool(_entry(path, row, "right_before")) for row in rows], dtype=bool)
        flipped = right & ~np.array([bool(_entry(path, row, "right_after")) for row in rows], dtype=bool)
        dev = _entry(folder, result, "evaluation", "dev", "metrics")
        low, high = _entry(folder, result, "evaluation", "dev", "interval") or (float("nan"), float("nan"))
        clusters = np.array([int(row.get("cluster", i)) for i, row in enumerate(rows)])
        told = float(next(iter(dev.values()))), (float(low), float(high))
        found.append(Run(str(folder), layers, seed, *told, right, flipped, clusters))
    if not steps:
        raise ValueError(f"{study}: expected runs with implicit steps, got none")
    return found, next(iter(steps))


class _Same:
    """What must not differ between runs."""

    def __init__(self, study: Path) -> None:
        self.study = study
        self.first: dict[str, tuple[str, str]] = {}

    def require(self, what: str, folder: Path, value: Any) -> None:
        told, where = self.first.setdefault(what, (json.dumps(value, sort_keys=True), str(folder)))
        if told != json.dumps(value, sort_keys=True):
            raise ValueError(f"{self.study}: expected the same {what} in all runs, got others in {where} and {folder}")


def _entry(where: Path, record: Any, *names: str) -> Any:
    """An entry of a record, by its path."""
    for name in names:
        if not isinstance(record, dict) or name not in record:
            raise ValueError(f"{where}: expected an entry {'.'.join(names)}, got none")
        record = record[name]
    return record


def read_json(path: Path) -> Any:
    """The values of a JSON file.

    Raises:
        ValueError: if it is not a JSON object.
        OSError: if it cannot be read.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON, got {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(values).__name__}")
    return values


def _require(folder: Path, result: dict[str, Any], ahead: dict[str, Any], digest: str) -> None:
    """A result must be readable here, begin at the predicted checkpoint, and have named the prediction before it ran."""
    schema = _entry(folder, result, "meta", "schema")
    if schema != RESULT_SCHEMA:
        raise ValueError(f"{folder}: expected a result of schema {RESULT_SCHEMA}, got {schema!r}")
    start, wanted = _entry(folder, result, "meta", "checkpoints", "start"), ahead["config"]["checkpoint"]
    if start != wanted or start is None:
        raise ValueError(f"{folder}: expected a run from the predicted checkpoint {wanted or 'with a digest'}, got {start}")
    named = _entry(folder, result, "run", "evaluate").get("prediction")
    if named != digest:
        raise ValueError(f"{folder}: expected a run that names the prediction {digest} it tests, got {named}: predicted after the fact?")


def _placement(folder: Path, model: dict[str, Any], ahead: dict[str, Any]) -> tuple[tuple[int, ...], float]:
    """Which layers of a run are implicit, and h."""
    if model.get("kind") == "bert":
        return (), 1.0
    if model.get("kind") != "im-bert" or model.get("method") not in (None, "implicit_euler"):
        came = f"{model.get('kind')}, {model.get('method')}"
        raise ValueError(f"{folder}: expected runs of kind bert and im-bert, the latter with implicit steps, got {came}")
    if (solver := (model.get("solver") or {}).get("name")) in STOPPED:
        raise ValueError(f"{folder}: expected a solver that converges, got {solver}, which stops after a given number of steps")
    field, wanted = model.get("field") or "increment", ahead["config"]["field"]
    if field != wanted:
        raise ValueError(f"{folder}: expected runs with the field {wanted} that was predicted, got {field}")
    every, layers = range(ahead["config"]["encoder_depth"]), model.get("implicit_layers")
    return tuple(every if layers is None else layers), float(model.get("step_size") or 1.0)
