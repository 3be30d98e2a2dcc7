"""Records of conditioning, attacks, edits, runs and plans, told apart by what they hold, each
attack beside the condition of its model.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.conditioning.records import LAST, Condition
from analysis.edits.records import Edits
from analysis.flips.arms import (
    arms_of,
    require_one_plan_each,
    require_runs_of_studies,
    unmeasured,
)
from analysis.flips.files import Attack, Attacked, Files, Run, StudyPlan
from analysis.ground.json_records import read_record
from analysis.ground.typed_records import typed

KINDS = {  # of each record: entries that no other has together
    "prediction": ("placements", "config"),
    "condition": ("inputs", "families"),
    "attack": ("attack", "per_example"),
    "edits": ("edits", "left_out"),
    "run": ("run", "train", "meta"),
    "plan": ("plan", "question"),
}
EXPECTED = (
    "prediction.json, condition.json, edits.json, result.json, plan.json or the record of an attack"
)
DISAGREEING = 0.01  # share of the rows that two records of one model may not agree on


def kind_of(path: Path, values: Any = None) -> str:
    """Which record is in a file, by its entries; `values` are the file's where it was read.

    Raises:
        ValueError: if it is none of those in `KINDS`, or no strict JSON.
        OSError: if it cannot be read.
    """
    entries = read_record(path, Any) if values is None else values
    for kind, names in KINDS.items():
        if isinstance(entries, dict) and all(name in entries for name in names):
            return kind
    raise ValueError(f"{path}: expected {EXPECTED}, got a file with other entries")


def read_files(paths: Sequence[Path], edits: Sequence[Path] = ()) -> Files:
    """Read conditions, attacks, edits, results of runs and a plan in any order, and match attacks
    and runs to conditions by the weights of the model.

    Results say which task, kind of model and seed a condition is of; without them all models of a
    task are of one kind.

    Args:
        paths: of all records.
        edits: of records that must be of edits.

    Raises:
        ValueError: if a file is another record; if a condition has no labels of its own, no attack
            or the weights of another one; if an attack has no condition or is on other rows than
            its condition; if edits are of no classifier that has a condition, or of one twice; or
            if results are of some conditions alone, two of one model, or two runs of one task and
            kind differ in more than the seed; or several plans cover one model.
        OSError: if a file cannot be read.
    """
    conditions: dict[Path, Condition] = {}
    attacks: dict[Path, Attack] = {}
    edited: dict[Path, Edits] = {}
    runs: dict[Path, Run] = {}
    plans: dict[Path, StudyPlan] = {}
    for path in dict.fromkeys([*paths, *edits]):
        values = read_record(path, Any)
        kind = kind_of(path, values)
        if path in edits and kind != "edits":
            raise ValueError(f"{path}: expected the record of edits, got that of {_named(kind)}")
        if kind == "condition":
            conditions[path] = _labelled(path, typed(values, Condition, path))
        elif kind == "attack":
            attacks[path] = typed(values, Attack, path)
        elif kind == "edits":
            edited[path] = _answered(path, typed(values, Edits, path))
        elif kind == "run":
            runs[path] = typed(values, Run, path)
        elif kind == "plan":
            plans[path] = typed(values, StudyPlan, path)
        else:
            raise ValueError(
                f"{path}: expected a prediction first and the folder of its study after it, "
                "got it among other records"
            )
    if not conditions or not attacks:
        lacking = "condition.json" if not conditions else "record of an attack"
        raise ValueError(f"expected at least 1 {lacking} among the files, got none")
    places = _places(conditions)
    attacked = _matched(conditions, places, attacks)
    _require_one_of_each_model(edited, places)
    require_runs_of_studies(runs)
    arms = arms_of(conditions, [(each.model, each.attack) for each in attacked], runs)
    require_one_plan_each(arms, plans)
    return Files(
        conditions=tuple(conditions.values()),
        attacked=attacked,
        edits=tuple(edited.values()),
        arms=arms,
        missing=tuple(unmeasured(conditions.values(), runs.values())),
        plans=tuple(plans.values()),
    )


def _named(kind: str) -> str:
    return f"an {kind}" if kind == "attack" else f"a {kind}"


def _labelled(path: Path, condition: Condition) -> Condition:
    if not condition.labels_given:
        raise ValueError(
            f"{path}: expected a condition of rows with labels, got one where the predicted ones "
            "stand for them"
        )
    return condition


def _answered(path: Path, edits: Edits) -> Edits:
    if edits.edits and all(edit.answer is None for edit in edits.edits):
        raise ValueError(f"{path}: expected edits under a classifier, got those of a bare encoder")
    for edit in edits.edits:
        for name in ("size_whole", "size_first", "size_read"):
            if len(edit[name]) != edits.layers + 1:
                raise ValueError(
                    f"{path}: expected {edits.layers + 1} levels in {name} of edit {edit.index}, "
                    f"got {len(edit[name])}"
                )
    return edits


def _places(conditions: dict[Path, Condition]) -> dict[str, int]:
    """The index of each condition by the weights of its model."""
    places: dict[str, int] = {}
    for index, (path, condition) in enumerate(conditions.items()):
        weights = condition.identity.get("weights")
        if weights is None:
            raise ValueError(f"{path}: expected a condition with a digest of the weights, got none")
        if weights in places:
            raise ValueError(
                f"{path}: expected conditions of different models, got the weights of "
                f"{list(conditions)[places[weights]]} again"
            )
        places[weights] = index
    return places


def _place_of(path: Path, what: str, weights: str | None, places: dict[str, int]) -> int:
    """The index of the condition of some weights."""
    if weights is None or weights not in places:
        known = ", ".join(each[:12] for each in places)
        raise ValueError(
            f"{path}: expected {what} the weights of a condition ({known}), "
            f"got {(weights or 'none')[:12]}"
        )
    return places[weights]


def _require_one_of_each_model(edited: dict[Path, Edits], places: dict[str, int]) -> None:
    """Records of edits are of the models that have a condition."""
    of_model: dict[int, Path] = {}
    for path, record in edited.items():
        model = _place_of(path, "edits under", record.identity.get("weights"), places)
        twice = of_model.setdefault(model, path)
        if twice != path:
            raise ValueError(
                f"{path}: expected one record of edits for each model, got {twice} too; one file "
                "of pairs can hold all kinds"
            )


def _matched(
    conditions: dict[Path, Condition], places: dict[str, int], attacks: dict[Path, Attack]
) -> tuple[Attacked, ...]:
    """Each attack with the condition of its weights; no condition is left alone."""
    paths = list(conditions)
    attacked = []
    first: dict[tuple[int, str, str], Path] = {}
    for path, attack in attacks.items():
        model = _place_of(path, "an attack on", attack.of.checkpoint, places)
        disagreeing = _same_rows(path, attack, paths[model], conditions[paths[model]])
        twice = first.setdefault((model, attack.attack, attack.choice), path)
        if twice != path:
            raise ValueError(
                f"{path}: expected an attack once for each model, got it in {twice} too"
            )
        attacked.append(Attacked(model, path, attack, disagreeing))
    for model, path in enumerate(paths):
        if model not in {each.model for each in attacked}:
            raise ValueError(f"{path}: expected an attack on the model of this condition, got none")
    return tuple(attacked)


def _same_rows(path: Path, attack: Attack, of: Path, condition: Condition) -> tuple[int, ...]:
    """The attack must have seen the model of the condition, on its first rows; the rows that only
    one of the two has right.

    A batch of other texts moves logits in their last digits, and implicit steps within the
    tolerance of their solver.
    """
    for name in ("config", "tokenizer"):
        own, other = getattr(attack.of, name), condition.identity.get(name)
        if own is not None and other is not None and own != other:
            raise ValueError(
                f"{path}: expected an attack on the {name} {other[:12]} of {of}, got {own[:12]}"
            )
    _require_same_text(path, attack, condition)
    _require_same_tokens(path, attack, of, condition)
    rows = attack.per_example
    if not rows or len(rows) > len(condition.inputs):
        raise ValueError(
            f"{path}: expected an attack on 1 to {len(condition.inputs)} rows of {of}, "
            f"got {len(rows)}"
        )
    # The first N rows have a digest of their own, which nothing here can know.
    if len(rows) == len(condition.inputs) and attack.of.examples != condition.examples:
        raise ValueError(
            f"{path}: expected an attack on the examples {condition.examples[:12]} of {of}, "
            f"got {attack.of.examples[:12]}"
        )
    disagreeing = []
    for place, (row, measured) in enumerate(zip(rows, condition.inputs, strict=False)):
        if row.index != place or measured.index != place:
            raise ValueError(
                f"{path}: expected the rows of {of} in their order, got index {row.index} "
                f"and {measured.index} at {place}"
            )
        if row.right_before != measured.right:
            disagreeing.append(place)
    if len(disagreeing) > DISAGREEING * len(rows):
        raise ValueError(
            f"{path}: expected an attack on the first {len(rows)} of the {len(condition.inputs)} "
            f"rows of {of}, got other answers before it in {len(disagreeing)} of them (first in "
            f"row {disagreeing[0]}): if these are other rows, measure the condition of those that "
            "were attacked"
        )
    return tuple(disagreeing)


def _require_same_text(path: Path, attack: Attack, condition: Condition) -> None:
    """Of a pair the attack must have edited the text that the drafts edit."""
    texts = max(len(condition.columns) - 1, 1)  # the last column is the label
    part = attack.options.get("part", LAST)
    if part not in (LAST, texts - 1):
        raise ValueError(
            f"{path}: expected an attack on the last text of a pair, part {LAST}, as drafts edit "
            f"it, got part {part}"
        )


def _require_same_tokens(path: Path, attack: Attack, of: Path, condition: Condition) -> None:
    """Attack and condition must have read as much of each text."""
    most = attack.of.max_length
    if most is None:
        return
    rows = condition.inputs[: len(attack.per_example)]
    longest = max((row.tokens for row in rows), default=0)
    is_cut_shorter = condition.max_tokens and condition.max_tokens < most
    if longest > most or (is_cut_shorter and any(row.truncated for row in rows)):
        raise ValueError(
            f"{path}: expected an attack on as much of each text as {of} has read, got texts cut "
            f"after {most} tokens; measure the condition with --max-tokens {most}"
        )
