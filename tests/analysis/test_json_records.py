"""Records are strict JSON whose fields are as declared; numbers are plain digits; files are whole
or not there.
"""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
import numpy as np
import pytest

from analysis.ground import files
from analysis.ground.files import HOST, sweep
from analysis.ground.json_records import (
    DamagedRecord,
    Within,
    Written,
    finite,
    parse_json,
    read_record,
    require,
    sealed,
    write_record,
)
from analysis.ground.plain_numbers import decimal_number, whole_number
from analysis.record import Cell, DamagedCell, read_cell, write_cell


class Inner(TypedDict):
    """Below."""

    share: Annotated[float, Within(0, 1)]
    bits: NotRequired[Annotated[str, Written("[01]*", "a string of 0 and 1")]]


class Outer(TypedDict):
    """Above."""

    inner: Inner
    kind: Literal["a", "b"]
    rows: Annotated[list[Inner], Within(1)]
    ends: tuple[float | None, float | None] | None
    counts: dict[str, Annotated[int, Within(0)]]


GOOD: dict[str, Any] = {
    "inner": {"share": 1},
    "kind": "a",
    "rows": [{"share": 0.5, "bits": "01"}],
    "ends": [None, 2],
    "counts": {"x": 3},
}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"a": NaN}', "NaN, which is no number"),
        (b'{"a": [-Infinity]}', "-Infinity, which is no number"),
        (b'{"a": 1e999}', "a number too large, 1e999"),
        (b'{"a": 123456789012345678901234567890}', "a whole number too large, 1234567890"),
        (b'{"a": 1, "b": {"c": 2, "c": 3}}', "the key 'c' twice in one object"),
        (b'{"a": "\\ud83d"}', "half of a surrogate pair in '\\ud83d'"),
        (b'{"\\udc00": 1}', "half of a surrogate pair"),
        (b'{"a": "\xff"}', "expected JSON in UTF-8, got byte 0xff at 7"),
        (b"[" * 33 + b"]" * 33, "expected at most 32 levels, got more"),
        (b"[" * 100_000 + b"]" * 100_000, "here: expected JSON, got"),
        (b"{} {}", "here: expected JSON, got Extra data"),
        (b"", "here: expected JSON, got Expecting value"),
    ],
)
def test_what_is_not_strict_json_is_refused_in_one_line(content: bytes, said: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse_json(content, "here")
    assert (
        said in str(raised.value)
        and str(raised.value).startswith("here: ")
        and "\n" not in str(raised.value)
    )


def test_strict_json_is_what_it_says() -> None:
    assert parse_json('{"a": [1, 2.5, null, true, "ü 😀"], "b": {}}', "here") == {
        "a": [1, 2.5, None, True, "ü 😀"],
        "b": {},
    }
    assert parse_json(b"[" * 32 + b"]" * 32, "here")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"inner": {}}, "expected an entry inner.share, got none"),
        ({"inner": None}, "expected an object in inner, got null"),
        ({"inner": {"share": True}}, "expected a number in inner.share, got true"),
        ({"inner": {"share": 1.5}}, "expected 0 to 1 in inner.share, got 1.5"),
        ({"kind": "c"}, "expected 'a' or 'b' in kind, got \"c\""),
        ({"rows": []}, "expected a list of at least 1 in rows, got []"),
        (
            {"rows": [{"share": 0}, {"share": 0, "bits": "2"}]},
            'expected a string of 0 and 1 in rows[1].bits, got "2"',
        ),
        ({"ends": [1]}, "expected a list of 2 in ends, got [1]"),
        ({"ends": [1, "x"]}, 'expected a number in ends[1], got "x"'),
        ({"counts": {"x": 1.0}}, "expected a whole number in counts.x, got 1.0"),
        ({"counts": {"x": -1}}, "expected a number from 0 on in counts.x, got -1"),
        ({"counts": []}, "expected an object in counts, got []"),
    ],
)
def test_the_first_wrong_field_is_named(change: dict[str, Any], said: str) -> None:
    require(GOOD | {"more": object()}, Outer, "here")
    with pytest.raises(ValueError) as raised:
        require(GOOD | change, Outer, "here")
    assert str(raised.value) == f"here: {said}"


def test_what_lacks_a_record_is_named_by_its_first_entry() -> None:
    with pytest.raises(ValueError, match=r"^here: expected an entry inner\.share, got none$"):
        require({name: value for name, value in GOOD.items() if name != "inner"}, Outer, "here")


def test_a_sealed_record_is_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(sealed(GOOD)))
    assert read_record(path, Outer)["kind"] == "a"
    path.write_text(json.dumps(dict(reversed(sealed(GOOD).items())), indent=3))
    assert read_record(path, Outer)["kind"] == "a", "the order of entries says nothing"
    path.write_text(json.dumps(sealed(GOOD)).replace('"x": 3', '"x": 4'))
    with pytest.raises(DamagedRecord, match="the file was changed"):
        read_record(path, Outer)


@pytest.mark.parametrize("found", [2, None, True, 1.0, "1"])
def test_another_schema_is_said_before_anything_else(found: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"meta": {"schema": found}}))
    with pytest.raises(ValueError, match=f"expected a thing of schema 1, got {found!r}"):
        read_record(path, Outer, "a thing", 1, ("meta", "schema"))


@pytest.mark.parametrize(
    "text", ["0_1", " 1", "1 ", "１", "٣", "1.0", "", "0x1", "1e3", "--1", "9" * 30]
)
def test_whole_numbers_are_digits(text: str) -> None:
    with pytest.raises(ValueError, match="expected a whole number in digits"):
        whole_number(text)
    assert (whole_number("007"), whole_number("-3"), whole_number("+4")) == (7, -3, 4)


@pytest.mark.parametrize(
    "text", ["1_0.5", "nan", "inf", "-Infinity", "1e999", " 1", "１.5", "", ".", "1,5"]
)
def test_decimal_numbers_are_digits(text: str) -> None:
    with pytest.raises(ValueError, match="expected a finite number in digits"):
        decimal_number(text)
    assert [decimal_number(one) for one in ("1", "-.5", "2.", "1e-3")] == [1.0, -0.5, 2.0, 1e-3]


def test_what_killed_processes_left_is_swept(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = [
        f".study.json.{HOST}.{ended.pid}",
        f".layer-l00.safetensors.{HOST}.{ended.pid}",
        f".a.b.{HOST}.9999999999",
    ]
    stays = [f".study.json.{HOST}.{os.getpid()}", f".study.json.another.{ended.pid}"]
    stays += [".lock", ".hidden.txt", "study.json.1", ".study.json.old"]
    for name in (*left, *stays):
        (tmp_path / name).touch()
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(stays)


def test_a_flipped_byte_of_a_cell_is_found_wherever_it_is(tmp_path: Path) -> None:
    cell = Cell(
        "a",
        {"kind": "layer", "texts": [0]},
        {"x": np.arange(5.0), "y": np.ones((2, 3), dtype=np.float32)},
    )
    write_cell(tmp_path, cell)
    path = tmp_path / "a.safetensors"
    content = path.read_bytes()
    assert read_cell(path).header == cell.header
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        try:
            found = read_cell(path)
        except DamagedCell:
            continue
        assert at in range(content.index(b"digest"), content.index(b"digest") + 6), (
            "its own name alone, as older cells have no digest"
        )
        assert all(np.array_equal(found.arrays[name], array) for name, array in cell.arrays.items())


def test_a_temporary_file_of_this_hour_stays_where_processes_cannot_be_asked(tmp_path, monkeypatch):
    """On Windows, where signal 0 would be Ctrl-C."""
    path = tmp_path / f".a.{HOST}.1"
    path.touch()
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("a signal was sent"))
    with monkeypatch.context() as windows:
        windows.setattr(os, "name", "nt")
        young = files._in_use(path, 1)
        os.utime(path, (0, 0))
        old = files._in_use(path, 1)
    assert (young, old) == (True, False)


class Measured(msgspec.Struct):
    """A typed record."""

    value: float
    row: list[float]


def test_typed_records_are_written_like_plain_ones():
    record = {"one": Measured(math.nan, [1.0, math.inf]), "many": [Measured(0.5, [])]}
    assert finite(record) == {
        "one": {"value": None, "row": [1.0, None]},
        "many": [{"value": 0.5, "row": []}],
    }


def test_a_record_is_written_sorted_or_as_it_is(tmp_path):
    path = tmp_path / "a.json"
    write_record(path, {"b": np.float64("nan"), "a": (np.int64(1), [np.inf])})
    assert [*json.loads(path.read_text())] == ["b", "a", "digest"]
    assert read_record(path, dict[str, Any])["a"] == [1, [None]]
    write_record(path, {"b": None, "a": [1, [None]]}, sort_keys=True)
    assert [*json.loads(path.read_text())] == ["a", "b", "digest"]
