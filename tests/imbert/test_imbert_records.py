"""Records are read once, into types; what is wrong is one line with its place, and older records
are read as they were written.
"""

import copy
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from analysis.ground.json_records import DIGEST, DamagedRecord, sealed
from imbert.attack_records import Attack, read_attack
from imbert.records import Result, as_written, plain, read, read_result
from imbert.schemas import KINDS, schema
from imbert.study.study_record import read_study_record

DOCS = Path(__file__).parents[2] / "docs"
RUN = DOCS / "studies" / "placement" / "runs" / "layers-0"
RESULTS = sorted(DOCS.glob("studies/*/runs/*/result.json"))
ATTACKS = sorted(DOCS.glob("studies/*/runs/*/attacks/*.json"))
STUDIES = sorted(DOCS.glob("studies/*/study.json"))


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def lacking(written: Any, read_back: Any, place: str = "") -> list[str]:
    """The entries of a file that are not in the record read from it, or are others there."""
    if isinstance(written, dict):
        return [
            fault
            for key, value in written.items()
            if (value is not None or key in read_back)
            for fault in lacking(value, read_back.get(key, "nothing"), f"{place}.{key}")
        ]
    if isinstance(written, list) and len(written) == len(read_back):
        pairs = enumerate(zip(written, read_back, strict=True))
        return [fault for i, pair in pairs for fault in lacking(*pair, f"{place}[{i}]")]
    return [] if written == read_back else [place]


@pytest.mark.parametrize("path", [*RESULTS, *ATTACKS, *STUDIES], ids=lambda path: path.parts[-2])
def test_no_entry_of_a_published_record_is_lost(path: Path) -> None:
    reader = {"result": read_result, "study": read_study_record}.get(path.stem, read_attack)
    written = {key: value for key, value in load(path).items() if key != DIGEST}
    assert lacking(written, plain(reader(path))) == []


def test_a_record_of_this_version_read_back_is_the_record() -> None:
    result = read_result(RUN / "result.json")
    assert as_written(result) == result
    assert msgspec.convert(plain(result), Result) == result


def changed(path: Path, place: str, value: Any, into: Path) -> Path:
    """A copy of a record with another value, or none, at a place."""
    record = copy.deepcopy(load(path))
    holder = record
    *steps, last = [int(step) if step.isdigit() else step for step in place.split("/")]
    for step in steps:
        holder = holder[step]
    if value is None:
        del holder[last]
    else:
        holder[last] = value
    into.write_text(json.dumps(record), encoding="utf-8")
    return into


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("meta/threads", "1", r'expected a whole number .*in meta\.threads, got "1"$'),
        ("meta/training/wall_seconds", [], r"expected a number in meta\.training\.wall_seconds, "),
        ("meta/commit", None, r"expected an entry meta\.commit, got none$"),
        ("train/moon", 1, r"expected only known entries in train, got 'moon'$"),
        ("moon", 1, r"expected only known entries in the record, got 'moon'$"),
        (
            "evaluation/advglue/sst2/original_accuracy",
            1.5,
            r"in evaluation\.advglue\.sst2\.original_accuracy, got 1\.5$",
        ),
        ("evaluation/dev/right", "0120", r"in evaluation\.dev\.right, got \"0120\"$"),
        ("train/log/1/step", -1, r"in train\.log\[1\]\.step, got -1$"),
        ("run/train/epochs", 0, r"run: train\.epochs must be >= 1, got 0$|train\.epochs must be"),
        ("warnings", "none", r'expected a list in warnings, got "none"$'),
    ],
)
def test_the_first_fault_of_a_result_is_named(
    place: str, value: Any, said: str, tmp_path: Path
) -> None:
    path = changed(RUN / "result.json", place, value, tmp_path / "result.json")
    with pytest.raises(ValueError, match=said) as raised:
        read_result(path)
    assert str(raised.value).startswith(f"{path}: ") and "\n" not in str(raised.value)


def test_a_byte_that_changed_is_a_damaged_record(tmp_path: Path) -> None:
    path = tmp_path / "characters.json"
    whole = json.dumps(sealed(load(RUN / "attacks" / "characters.json")))
    path.write_text(whole)
    assert read(path, Attack) == read(RUN / "attacks" / "characters.json", Attack)
    path.write_text(whole.replace('"queries_max": ', '"queries_max": 1'))
    with pytest.raises(DamagedRecord, match="the file was changed"):
        read(path, Attack)


@pytest.mark.parametrize("name", KINDS)
def test_the_published_schemas_are_those_of_the_types(name: str) -> None:
    path = DOCS / "schemas" / f"{name}.schema.json"
    assert path.read_text(encoding="utf-8") == schema(name), (
        "write them again: python -m imbert.schemas docs/schemas"
    )


def test_every_schema_is_published_and_nothing_else() -> None:
    published = {path.name for path in (DOCS / "schemas").iterdir()}
    assert published == {f"{name}.schema.json" for name in KINDS}
