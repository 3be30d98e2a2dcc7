"""Fine-tuned and attacked runs, read from imbert's files as tests of a prediction. Knows imbert's files, not imbert."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

RESULT_SCHEMA = 1


@dataclasses.dataclass(frozen=True)
class Run:
    """One fine-tuned and attacked model.

    Attributes:
        folder: where it lies.
        layers: that take an implicit step; none for the explicit model.
        seed: of its training.
        dev: its metric on the dev split, which gives the rest its meaning.
        right: `(examples,)`, right before the attack.
        flipped: `(examples,)`, wrong after it.
    """

    folder: str
    layers: tuple[int, ...]
    seed: int
    dev: float
    right: np.ndarray
    flipped: np.ndarray


def read_runs(study: Path, attack: str, ahead: dict[str, Any], digest: str) -> tuple[list[Run], float]:
    """The attacked runs of a study's folder, each of which must be a test of the prediction, and their step size.

    Raises:
        ValueError: see `confirm`.
        OSError: likewise.
    """
    folders = sorted(path.parent for path in study.rglob("result.json"))
    if not folders:
        raise ValueError(f"{study}: expected runs with a result.json, got none")
    found, examples, steps = list[Run](), dict[str, str](), dict[float, str]()
    for folder in folders:
        result = read_json(folder / "result.json")
        _require(folder, result, ahead, digest)
        path = folder / "attacks" / f"{attack}.json"
        if not path.is_file():
            raise ValueError(f"{folder}: expected the attack {attack} in attacks/{attack}.json, got none; attack every run first")
        record = read_json(path)
        examples.setdefault(json.dumps([record["of"]["examples"], record["of"]["choice"]], sort_keys=True), str(folder))
        model, rows = result["run"]["model"], record["per_example"]
        layers, h = _placement(model, ahead)
        if layers:
            steps.setdefault(h, str(folder))
        right = np.array([row["right_before"] for row in rows], dtype=bool)
        flipped = right & ~np.array([row["right_after"] for row in rows], dtype=bool)
        dev = float(next(iter(result["evaluation"]["dev"]["metrics"].values())))
        found.append(Run(str(folder), layers, int(result["run"]["train"]["seed"]), dev, right, flipped))
    if len(examples) > 1:
        raise ValueError(
            f"{study}: expected the same attack on the same examples in all runs, got others in {' and '.join(list(examples.values())[:2])}"
        )
    if len(steps) != 1:
        raise ValueError(f"{study}: expected implicit steps of one size, got {sorted(steps) or 'none'}")
    return found, next(iter(steps))


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
    schema = result.get("meta", {}).get("schema")
    if schema != RESULT_SCHEMA:
        raise ValueError(f"{folder}: expected a result of schema {RESULT_SCHEMA}, got {schema!r}")
    start, wanted = result["meta"]["checkpoints"]["start"], ahead["config"]["checkpoint"]
    if start != wanted:
        raise ValueError(f"{folder}: expected a run from the predicted checkpoint {wanted}, got {start}")
    named = result["run"]["evaluate"].get("prediction")
    if named != digest:
        raise ValueError(f"{folder}: expected a run that names the prediction {digest} it tests, got {named}: predicted after the fact?")


def _placement(model: dict[str, Any], ahead: dict[str, Any]) -> tuple[tuple[int, ...], float]:
    """Which layers of a run are implicit, and h."""
    if model["kind"] == "bert":
        return (), 1.0
    if model["kind"] != "im-bert" or model["method"] not in (None, "implicit_euler"):
        raise ValueError(f"expected runs of kind bert and im-bert, the latter with implicit steps, got {model['kind']}, {model['method']}")
    field, wanted = model["field"] or "increment", ahead["config"]["field"]
    if field != wanted:
        raise ValueError(f"expected runs with the field {wanted} that was predicted, got {field}")
    every = range(ahead["config"]["encoder_depth"])
    return tuple(every if model["implicit_layers"] is None else model["implicit_layers"]), float(model["step_size"] or 1.0)
