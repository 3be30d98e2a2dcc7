"""Each attack finds the condition of its model, in any order, and nothing else is taken."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from flips_records import a_condition, an_attack, an_input, some_edits, weights_of, written

from analysis.flips.reading import kind_of, read_files

RIGHT = [True, True, False, True]
FLIPPED = [True, False, False, False]


def inputs() -> list[Any]:
    return [an_input(i, right=right) for i, right in enumerate(RIGHT)]


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, Path]:
    records = {
        "condition": a_condition(inputs()),
        "attack": an_attack(RIGHT, FLIPPED),
        "edits": some_edits(np.ones((2, 3)), [1.0, 1.0], [True, False]),
        "prediction": {"schema": 1, "config": {}, "placements": []},
    }
    return {name: written(tmp_path, name, record) for name, record in records.items()}


def test_a_file_is_what_it_holds(paths: dict[str, Path], tmp_path: Path) -> None:
    assert {name: kind_of(path) for name, path in paths.items()} == {name: name for name in paths}
    masking = written(tmp_path, "masking", {"checks": [], "of": {}})
    for path in (masking, written(tmp_path, "list", {"inputs": []})):
        with pytest.raises(ValueError, match=rf"{path.name}: expected prediction.json, condition"):
            kind_of(path)


def test_the_order_does_not_matter(tmp_path: Path, paths: dict[str, Path]) -> None:
    other = written(tmp_path, "other", a_condition(inputs(), model=1))
    attack = written(tmp_path, "other-attack", an_attack(RIGHT, FLIPPED, model=1))
    given = [paths["attack"], other, paths["edits"], attack, paths["condition"]]
    found = read_files(given)
    assert [condition.model for condition in found.conditions] == ["models/1", "models/0"]
    by_path = {each.path: each.model for each in found.attacked}
    assert by_path == {paths["attack"]: 1, attack: 0}
    assert len(found.edits) == 1
    again = read_files([each for each in given if each != paths["edits"]], [paths["edits"]])
    assert again == found


def test_an_attack_on_the_first_rows_is_taken(tmp_path: Path, paths: dict[str, Path]) -> None:
    record = an_attack(RIGHT[:3], FLIPPED[:3])
    record["of"]["examples"] = "f" * 64  # three rows have a digest of their own
    found = read_files([paths["condition"], written(tmp_path, "three", record)])
    assert len(found.attacked[0].attack.per_example) == 3


def changed(record: dict[str, Any], *keys: Any, value: Any) -> dict[str, Any]:
    holder: Any = record
    for key in keys[:-1]:
        holder = holder[key]
    holder[keys[-1]] = value
    return record


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda record: changed(record, "of", "checkpoint", value=weights_of(7)),
            r"expected an attack on the weights of a condition \(000000000000\), got 777777777777",
        ),
        (
            lambda record: changed(record, "of", "checkpoint", value=None),
            "expected an attack on the weights of a condition .*, got none",
        ),
        (
            lambda record: changed(record, "of", "config", value="another"),
            "expected an attack on the config c of .*condition.json, got another",
        ),
        (
            lambda record: changed(record, "of", "tokenizer", value="another"),
            "expected an attack on the tokenizer t of",
        ),
        (
            lambda record: changed(record, "of", "examples", value="f" * 64),
            "expected an attack on the examples eeeeeeeeeeee of .*, got ffffffffffff",
        ),
        (
            lambda record: changed(record, "per_example", 1, "right_before", value=False),
            r"expected an attack on the first 4 of the 4 rows of .*, got other .* in 1 of them",
        ),
        (
            lambda record: changed(record, "per_example", 1, "index", value=2),
            "expected the rows of .* in their order, got index 2 and 1 at 1",
        ),
        (
            lambda record: changed(record, "per_example", value=[]),
            "expected an attack on 1 to 4 rows of .*, got 0",
        ),
        (
            lambda record: changed(record, "per_example", value=record["per_example"] * 2),
            "expected an attack on 1 to 4 rows of .*, got 8",
        ),
        (
            lambda record: changed(record, "per_example", 0, "right_after", value="no"),
            r"Expected `bool`, got `str` in per_example\[0\].right_after",
        ),
    ],
)
def test_an_attack_on_something_else_is_refused(
    tmp_path: Path,
    paths: dict[str, Path],
    change: Callable[[dict[str, Any]], dict[str, Any]],
    match: str,
) -> None:
    path = written(tmp_path, "wrong", change(an_attack(RIGHT, FLIPPED)))
    with pytest.raises(ValueError, match=f"{path}: {match}") as error:
        read_files([paths["condition"], path])
    assert "\n" not in str(error.value)


def test_files_that_do_not_belong_together_are_refused(
    tmp_path: Path, paths: dict[str, Path]
) -> None:
    condition, attack = paths["condition"], paths["attack"]
    twice = written(tmp_path, "twice", a_condition(inputs()))
    alone = written(tmp_path, "alone", a_condition(inputs(), model=3))
    nobody = written(tmp_path, "nobody", a_condition(inputs(), identity={"weights": None}))
    predicted = written(tmp_path, "predicted", a_condition(inputs(), labels_given=False))
    repeated = written(tmp_path, "repeated", an_attack(RIGHT, FLIPPED))
    bare = some_edits(np.ones((1, 3)), [1.0], [True])
    encoder = {**_plain(bare), "edits": [{**_plain(bare)["edits"][0], "answer": None}]}
    short = {**_plain(bare), "layers": 3}
    for files, edits, match in (
        ([attack], [], "expected at least 1 condition.json among the files, got none"),
        ([condition], [], "expected at least 1 record of an attack among the files, got none"),
        ([condition, twice, attack], [], "expected conditions of different models"),
        ([condition, alone, attack], [], "alone.json: expected an attack on the model of this"),
        ([nobody, attack], [], "expected a condition with a digest of the weights, got none"),
        ([predicted, attack], [], "expected a condition of rows with labels"),
        ([condition, attack, repeated], [], "expected an attack once for each model"),
        ([condition, attack, paths["prediction"]], [], "expected a prediction first"),
        ([condition, attack], [condition], "expected the record of edits, got that of a condition"),
        (
            [condition, attack, written(tmp_path, "encoder", encoder)],
            [],
            "expected edits under a classifier, got those of a bare encoder",
        ),
        (
            [condition, attack],
            [written(tmp_path, "other", some_edits(np.ones((1, 3)), [1.0], [True], model=4))],
            r"expected edits under the weights of a condition \(000000000000\), got 444444444444",
        ),
        (
            [condition, attack],
            [
                written(tmp_path, name, some_edits(np.ones((1, 3)), [1.0], [True]))
                for name in ("first", "second")
            ],
            "second.json: expected one record of edits for each model, got .*first.json too",
        ),
        (
            [condition, attack],
            [written(tmp_path, "short", short)],
            "expected 4 levels in size_whole of edit 0, got 3",
        ),
    ):
        with pytest.raises(ValueError, match=match) as error:
            read_files(files, edits)
        assert "\n" not in str(error.value)


def _plain(record: Any) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(record)
    return plain
