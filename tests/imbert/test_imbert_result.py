"""A record is written whole or not at all, can be read again, and a folder belongs to one run and
one process.
"""

import errno
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from imbert import records, result


def test_what_is_not_finite_becomes_null(tmp_path: Path) -> None:
    values = {
        "a": math.nan,
        "b": [math.inf, 1.5],
        "c": np.array([1, 2]),
        "d": np.float64(0.5),
        "e": result.Spent(1.0, 2.0, 3.0),
    }
    result.write_json(tmp_path / "a.json", values)
    spent = {
        "wall_seconds": 1.0,
        "cpu_seconds": 2.0,
        "peak_memory_mib": 3.0,
        "device_memory_mib": None,
    }
    assert result.read_json(tmp_path / "a.json") == {
        "a": None,
        "b": [None, 1.5],
        "c": [1, 2],
        "d": 0.5,
        "e": spent,
    }


def test_a_full_disk_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.json"
    result.write_json(file, {"old": 1})

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        result.write_json(file, {"new": 2})
    assert caught.value.filename == str(file)
    assert json.loads(file.read_text()) == {"old": 1} and [
        one.name for one in tmp_path.iterdir()
    ] == ["a.json"]


def test_a_record_of_another_schema_is_refused(tmp_path: Path) -> None:
    result.write_json(tmp_path / "a.json", {"meta": {"schema": 99}})
    with pytest.raises(ValueError, match="expected a record of schema 1, got 99"):
        records.read_result(tmp_path / "a.json")
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(ValueError, match=r"b.json: expected JSON"):
        records.read_result(tmp_path / "b.json")


def test_a_folder_belongs_to_one_run(tmp_path: Path) -> None:
    result.open_folder(tmp_path / "run", "run.json", {"train": {"seed": 0, "epochs": 3}})
    result.open_folder(tmp_path / "run", "run.json", {"train": {"seed": 0, "epochs": 3}})
    with pytest.raises(ValueError, match=r"belongs to another run \(not the same: train.seed\)"):
        result.open_folder(tmp_path / "run", "run.json", {"train": {"seed": 1, "epochs": 3}})


def test_a_folder_of_an_older_version_is_completed(tmp_path: Path) -> None:
    result.open_folder(tmp_path, "run.json", {"seed": 0})
    result.open_folder(
        tmp_path, "run.json", {"seed": 0, "new": 3}, lambda found: {"new": 3, **found}
    )


def test_a_folder_is_held_once_and_released(tmp_path: Path) -> None:
    with (
        result.folder_lock(tmp_path / "run"),
        pytest.raises(result.FolderInUseError, match="in use by another process"),
        result.folder_lock(tmp_path / "run"),
    ):
        pass
    with result.folder_lock(tmp_path / "run"):
        pass


def test_versions_and_bits() -> None:
    assert {"python", "torch", "transformers", "accelerate", "odestab"} <= result.versions().keys()
    assert result.bits(np.array([True, False, True])) == "101"


def test_the_commit_has_no_path() -> None:
    commit = result.git_commit()
    assert commit is None or len(commit.removesuffix("+")) == 40


def test_a_peak_from_before_does_not_count() -> None:
    np.ones(60_000_000)  # 458 MiB, and gone
    before = result.Stopwatch().read().peak_memory_mib
    watch = result.Stopwatch.start()
    if watch.read().peak_memory_mib > before - 300:
        pytest.skip("this system does not begin the peak of memory anew")
    held = np.ones(30_000_000)
    assert 200 < watch.read().peak_memory_mib - (before - 458) < 400 and held[0] == 1


def test_time_that_was_spent_before_counts() -> None:
    found = result.Stopwatch.start((50.0, 40.0)).read()
    assert 50 <= found.wall_seconds < 60 and 40 <= found.cpu_seconds < 50
