"""Cells are read back as they were written, or named as damaged; a file is written whole or not at
all.
"""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from analysis import record
from analysis.record import (
    Cell,
    DamagedCell,
    read_cell,
    read_config,
    read_run,
    write_bytes,
    write_cell,
    write_json,
)

CONFIG = {"model": "m", "field": "outer", "step_sizes": [1.0], "map_step_sizes": [1.0]}
CELL = Cell(
    "layer-l00",
    {"kind": "layer", "layer": 0, "texts": [2, 1], "step_size": 0.1},
    {"a": np.arange(6.0).reshape(2, 3)},
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_cell(tmp_path, CELL)
    return tmp_path / "layer-l00.safetensors"


def test_a_cell_comes_back_with_its_types_shapes_and_header(tmp_path):
    arrays = {
        "double": np.array([[1.5, np.nan, -np.inf]]),
        "single": np.ones((2, 1), dtype=np.float32),
        "flags": np.array([True, False]),
        "counts": np.array([-3, 7]),
        "bytes": np.array([255], dtype=np.uint8),
        "number": np.array(2.5),
        "nothing": np.zeros((0, 3)),
        "strided": np.arange(12.0).reshape(3, 4).T[::2],
    }
    header = {
        "kind": "layer",
        "texts": [3, 0],
        "step_size": 0.1,
        "perturbation": "ß \"' 文",
        "units": {"double": "1/h"},
    }
    write_cell(tmp_path, Cell("some-cell", header, arrays))
    found = read_cell(tmp_path / "some-cell.safetensors")
    assert (found.name, found.header) == ("some-cell", header)
    assert found.arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found.arrays[name].dtype == array.dtype and found.arrays[name].shape == array.shape
        np.testing.assert_array_equal(found.arrays[name], array)


def test_equal_cells_are_equal_bytes(path, tmp_path):
    before = path.read_bytes()
    write_cell(tmp_path, Cell(CELL.name, dict(reversed(CELL.header.items())), CELL.arrays))
    assert path.read_bytes() == before


def test_every_truncation_is_found(path):
    whole = path.read_bytes()
    for length in (*range(0, len(whole), 7), len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedCell, match="layer-l00"):
            read_cell(path)


def test_bytes_of_something_else_are_found(path):
    generator = np.random.default_rng(0)
    contents = [generator.bytes(length) for length in (1, 8, 100, 5000)] + [
        b"\xff" * 8,
        b'{"not": "safetensors"}',
        b"\0" * 64,
    ]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(DamagedCell):
            read_cell(path)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"other": "{}"},
        *({"odestab": text} for text in ("{", "[]", "3", "null", '"text"', "{}")),
    ],
)
def test_a_header_of_something_else_is_found(path, metadata):
    path.write_bytes(save({"a": np.zeros(1)}, metadata))
    with pytest.raises(DamagedCell):
        read_cell(path)


def test_another_schema_is_found(path, tmp_path, monkeypatch):
    monkeypatch.setattr(record, "SCHEMA", record.SCHEMA + 1)
    with pytest.raises(
        DamagedCell, match=f"expected schema {record.SCHEMA}, got {record.SCHEMA - 1}"
    ):
        read_cell(path)


def test_what_is_not_finite_becomes_null_in_json(tmp_path):
    content = {
        "b": np.array([1.0, np.nan]),
        "a": (float("inf"), np.float64(2), np.int64(3), np.bool_(True), None, "ü"),
    }
    write_json(tmp_path / "x.json", content)
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"a": [None, 2.0, 3, True, None, "ü"], "b": [1.0, None]}
    assert text.index('"a"') < text.index('"b"') and "ü" in text and text.endswith("}\n")


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_alone(tmp_path, monkeypatch, name):
    path = tmp_path / "x.json"
    path.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, name, full)
    with pytest.raises(OSError, match="No space left on device") as failed:
        write_bytes(path, b"new")
    assert failed.value.errno == errno.ENOSPC and failed.value.filename == str(path)
    assert path.read_bytes() == b"old" and [*tmp_path.iterdir()] == [path]


def test_a_write_below_a_file_names_it(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="x"):
        write_bytes(tmp_path / "file" / "x.json", b"")


def test_a_run_is_the_cells_that_its_configuration_lists(path, tmp_path):
    (tmp_path / "cells").mkdir()
    path.rename(tmp_path / "cells" / path.name)
    (tmp_path / "cells" / "stray.safetensors").write_bytes(b"stray")
    write_json(tmp_path / "config.json", {**CONFIG, "cells": ["layer-l00"]})
    run = read_run(tmp_path)
    assert run.config == CONFIG and [cell.name for cell in run.cells] == ["layer-l00"]
    assert run.of_kind("layer") == list(run.cells) and run.of_kind("dense") == []
    write_json(tmp_path / "config.json", {**CONFIG, "cells": ["dense-l00", "layer-l00"]})
    with pytest.raises(
        FileNotFoundError,
        match="lacks 1 of 2 cells, one is dense-l00; run the command that made it again",
    ):
        read_run(tmp_path)
    write_json(tmp_path / "config.json", {**CONFIG, "cells": ["layer-l00", "stray"]})
    with pytest.raises(
        DamagedCell, match=r"stray.*: not a readable cell .*; run the command that made it again"
    ):
        read_run(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe", b'{"model": "m"}']
)
def test_a_configuration_of_something_else_is_named(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"config\.json is not"):
        read_config(tmp_path)


def test_a_folder_without_configuration_is_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="is no run folder"):
        read_run(tmp_path)
