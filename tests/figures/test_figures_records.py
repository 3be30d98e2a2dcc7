"""Records are read once into frozen types: newer and older files are read, damaged ones refused in
one line that names the entry.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from analysis.ground.frozen_record import PartialRecord
from figures import records
from figures.records import Calibration, Confirmation, Prediction, Study, read, typed

STUDIES = Path(__file__).parents[2] / "docs" / "studies"
PUBLISHED: list[tuple[str, type[PartialRecord]]] = [
    ("sst2-1000/study.json", Study),
    ("sst2-1000-controls/study.json", Study),
    ("placement/study.json", Study),
    ("placement/prediction.json", Prediction),
    ("placement/confirmation.json", Confirmation),
    ("calibration/bert.json", Calibration),
    ("calibration/ex-bert.json", Calibration),
    ("calibration/im-bert.json", Calibration),
]


def confirmation() -> dict[str, Any]:
    return {
        "attack": "characters",
        "outcomes": [],
        "correlations": [
            {"name": "Spearman", "value": 1, "low": None, "high": 1.0, "p_value": 0.5}
        ],
        "detectable": None,
        "sentence": "Confirmed.",
    }


@pytest.mark.parametrize(("name", "kind"), PUBLISHED, ids=[name for name, _ in PUBLISHED])
def test_every_published_record_is_read_as_it_is_written(
    name: str, kind: type[PartialRecord]
) -> None:
    written = json.loads((STUDIES / name).read_text(encoding="utf-8"))
    record = read(STUDIES / name, kind)
    assert_holds(msgspec.to_builtins(record, str_keys=True), written)


def assert_holds(part: Any, whole: Any) -> None:
    """What was read is a part of what was written; a default stands where nothing was."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key in whole:
                assert_holds(value, whole[key])
            else:
                assert value in (None, 1), f"{key} is not written"
    elif isinstance(part, list | tuple):
        assert len(part) == len(whole)
        for below, written in zip(part, whole, strict=True):
            assert_holds(below, written)
    else:
        assert part == whole


def test_a_record_is_frozen() -> None:
    record = typed(confirmation(), Confirmation, "here")
    with pytest.raises(AttributeError):
        record.sentence = "Another."  # type: ignore[misc]


def test_entries_of_a_newer_record_are_left_and_those_of_an_older_one_missed(
    tmp_path: Path,
) -> None:
    newer = {**confirmation(), "of tomorrow": [1], "powers": {"0.05": 0.8}, "noise": 0.01}
    path = tmp_path / "confirmation.json"
    path.write_text(json.dumps(newer), encoding="utf-8")
    record = read(path, Confirmation)
    assert record.powers == {0.05: 0.8} and record.noise == 0.01
    older = typed(confirmation(), Confirmation, "here")
    assert older.powers is None and older.correlations[0].value == 1.0


@pytest.mark.parametrize(
    ("entry", "value", "expected"),
    [
        ("sentence", 3, r"here: Expected `str`, got `int` in sentence"),
        ("sentence", None, r"here: Expected `str`, got `null` in sentence"),
        ("correlations", [{}], r"missing required field `name` in correlations\[0\]"),
        ("detectable", True, r"Expected `float \| null`, got `bool` in detectable"),
        ("schema", 2, r"here: Invalid enum value 2 in schema"),
        ("powers", {"few": 0.5}, r"Expected `float`, got `str`"),
    ],
)
def test_a_damaged_entry_is_named_in_one_line(entry: str, value: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=expected) as error:
        typed({**confirmation(), entry: value}, Confirmation, "here")
    assert "\n" not in str(error.value)


def test_a_long_damaged_entry_is_not_repeated_whole() -> None:
    study = json.loads((STUDIES / "sst2-1000" / "study.json").read_text(encoding="utf-8"))
    study["groups"][0]["models"][0]["role"] = "explicit\n" * 1_000
    with pytest.raises(ValueError, match="Invalid enum value") as error:
        typed(study, Study, "here")
    assert len(str(error.value)) < 400 and "\n" not in str(error.value)


def test_what_was_not_finite_is_drawn_as_not_a_number() -> None:
    assert records.not_a_number(None) != records.not_a_number(None)
    assert records.not_a_number(2.0) == 2.0
