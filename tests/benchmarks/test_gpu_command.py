"""The command that measures a GPU: what it keeps of parts that fail, hang or are cut off, and what
it carries to a bare machine.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import parcel, runner, tables
from benchmarks.gpu.part import halved

ROOT = Path(__file__).parents[2]
MACHINE = {"gpu": "a pretend GPU", "code": "c0de", "date": "2026-01-01"}
SCRIPT = """
import json, sys, time
path = sys.argv[sys.argv.index("--record") + 1]
def keep(**row):
    open(path, "w").write(json.dumps(row))
"""


def part(name: str, body: str) -> runner.Part:
    return runner.Part(name, f"what {name} is for", 1.0, (sys.executable, "-c", SCRIPT + body))


@pytest.mark.parametrize("work", [[], ["--work", "elsewhere/work"]])
def test_a_part_is_given_whole_paths(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch, work: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    says = (
        "keep(paths=[sys.argv[sys.argv.index(name) + 1] for name in "
        "('--record', '--out', '--work', '--plan')])"
    )
    monkeypatch.setattr(command, "PARTS", [part("says its paths", says)])
    monkeypatch.setattr(command, "save_picture", lambda record, out: None)
    assert command.main(["--rehearse", "--out", "here/out", *work]) == 0
    found = json.loads(Path("here/out", runner.RESULT).read_text())["parts"]["says its paths"][
        "numbers"
    ]["paths"]
    assert found and all(Path(path).is_absolute() for path in found)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"POLL": 0.05, "GRACE": 0.3, "LEAST": 0.0}.items():
        monkeypatch.setattr(runner, name, value)


def run(parts: list[runner.Part], folder: Path, seconds: float = 8.0) -> dict:
    told: list[str] = []
    found = runner.run_parts(
        parts, folder / "out", folder / "work", seconds / 60, [], MACHINE, {}, told.append
    )
    assert json.loads((folder / "out" / runner.RESULT).read_text()) == found
    return found["parts"]


def test_a_part_that_fails_and_one_that_hangs_leave_the_rest_whole(
    tmp_path: Path, quick: None
) -> None:
    parts = [
        part("fails", "keep(row=1); raise ArithmeticError('of this part')"),
        part("hangs", "keep(row=2); time.sleep(60)"),
        part("is right", "keep(row=3)"),
    ]
    found = run(parts, tmp_path)
    assert [found[one.name]["status"] for one in parts] == ["failed", "out of time", "finished"]
    assert [found[one.name]["numbers"]["row"] for one in parts] == [1, 2, 3]
    assert (
        "ArithmeticError: of this part" in found["fails"]["output"] and found["fails"]["exit"] == 1
    )
    assert "of this part" in (tmp_path / "out" / runner.LOG).read_text()


def test_an_interrupted_run_goes_on_with_what_is_not_finished(tmp_path: Path, quick: None) -> None:
    count = tmp_path / "count"
    counted = f"open({str(count)!r}, 'a').write('x'); keep(row=1)"
    fails = part("second", "sys.exit(3)")
    assert run([part("first", counted), fails], tmp_path)["second"]["exit"] == 3
    assert (
        run([part("first", counted), part("second", "keep(row=2)")], tmp_path)["second"]["status"]
        == "finished"
    )
    assert count.read_text() == "x"
    other = {**MACHINE, "code": "other"}  # code that has changed since begins anew
    runner.run_parts(
        [part("first", counted)],
        tmp_path / "out",
        tmp_path / "work",
        1,
        [],
        other,
        {},
        lambda line: None,
    )
    assert count.read_text() == "xx"


def test_a_part_without_time_is_not_begun(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "LEAST", 60.0)
    assert run([part("late", "keep(row=1)")], tmp_path)["late"]["status"] == "not begun"


def test_a_process_that_a_part_left_behind_ends_with_it(tmp_path: Path, quick: None) -> None:
    later = tmp_path / "later"
    child = f"import time; time.sleep(1.5); open({str(later)!r}, 'w')"
    run(
        [
            part(
                "forks", f"import subprocess; subprocess.Popen([sys.executable, '-c', {child!r}])"
            ),
            part("waits", "time.sleep(2.5)"),
        ],
        tmp_path,
    )
    assert not later.exists()


def test_too_little_memory_halves_the_size() -> None:
    def needs(size: int) -> str:
        if size > limit:
            raise torch.OutOfMemoryError("of the test")
        return "done"

    limit = 5
    assert halved(needs, 32) == ("done", 4)
    limit = 0
    with pytest.raises(torch.OutOfMemoryError):
        halved(needs, 4)


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    model, data = tmp_path / "model", tmp_path / "data"
    model.mkdir()
    weights = {
        "a": torch.randn(40, 50, generator=torch.Generator().manual_seed(0)),
        "b": torch.arange(3),
    }
    save_file(weights, model / "model.safetensors")
    (model / "config.json").write_text("{}")
    (model / "empty.txt").touch()
    (data / "glue").mkdir(parents=True)
    (data / "glue" / "sst2_dev.tsv.gz").write_bytes(b"rows")
    monkeypatch.setattr(parcel, "_wheels", lambda into: into.mkdir())
    return parcel.pack(tmp_path / "parcel", model, data, "1.0", limit=1500)


def test_what_imbert_needs_travels_as_wheels_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[str]] = []
    failing = {"torchdeq"}

    def pip(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        fails = any(name in " ".join(command) for name in failing)
        return subprocess.CompletedProcess(command, int(fails), "", "long\nno such wheel\n")

    monkeypatch.setattr(parcel.subprocess, "run", pip)
    parcel._wheels(tmp_path / "peers")
    assert "torchdeq==0.1.0, what needs them is left out there: no such wheel" in (
        capsys.readouterr().out
    )
    packages = [part for part in asked[-1] if "==" in part]
    assert packages == parcel.pinned(("msgspec", "filelock"))
    assert "--python-version=3.12" in asked[-1] and "--no-deps" in asked[-1]
    failing.add("msgspec")
    with pytest.raises(ValueError, match=r"expected wheels of msgspec, filelock .*no such wheel"):
        parcel._wheels(tmp_path / "needed")


def test_a_parcel_arrives_whole_in_any_order(tmp_path: Path, packed: list[Path]) -> None:
    assert len(packed) == 3
    assert all(
        sum(path.stat().st_size for path in piece.glob("chunk-*")) <= 1500 for piece in packed
    )
    for piece in (packed[2], packed[0], packed[1]):
        parcel.receive(piece, tmp_path / "received")
    for source in (tmp_path / "received", tmp_path / "parcel"):
        found = parcel.opened(source, tmp_path / source.name / "opened", "1.0")
        there = load_file(found["site"] / parcel.PACKAGE / "model" / "model.safetensors")
        here = load_file(tmp_path / "model" / "model.safetensors")
        assert torch.equal(there["a"], here["a"].half().float()) and torch.equal(
            there["b"], here["b"]
        )
        assert (found["data"] / "glue" / "sst2_dev.tsv.gz").read_bytes() == b"rows"


def test_a_parcel_of_another_version_in_part_or_damaged_is_refused(
    tmp_path: Path, packed: list[Path]
) -> None:
    with pytest.raises(ValueError, match=r"expected a parcel of version 2\.0, got one of 1\.0"):
        parcel.opened(tmp_path / "parcel", tmp_path / "a", "2.0")
    chunk = packed[1] / "chunk-0"
    chunk.write_bytes(chunk.read_bytes()[::-1])
    with pytest.raises(ValueError, match="whole, in 3 pieces, got it damaged or in part"):
        parcel.opened(tmp_path / "parcel", tmp_path / "b", "1.0")
    shutil.rmtree(packed[1])
    with pytest.raises(ValueError, match="whole, in 3 pieces, got it damaged or in part"):
        parcel.opened(tmp_path / "parcel", tmp_path / "c", "1.0")
    with pytest.raises(
        ValueError, match="expected pieces of a parcel, made by `make gpu-parcel`, got none"
    ):
        parcel.opened(tmp_path / "data", tmp_path / "d", "1.0")


def test_a_piece_cannot_write_outside_its_folder(tmp_path: Path, packed: list[Path]) -> None:
    head = json.loads((packed[0] / parcel.LIST).read_text())
    head["share"][0][0] = "../outside"
    (packed[0] / parcel.LIST).write_text(json.dumps(head))
    with pytest.raises(
        ValueError, match=r"expected files of the parcel's own folder, got \.\./outside"
    ):
        parcel.receive(packed[0], tmp_path / "received")
    assert not (tmp_path / "outside").exists()


def test_a_parcel_without_a_model_or_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"expected a checkpoint folder with model\.safetensors, got none"
    ):
        parcel.pack(tmp_path / "parcel", tmp_path, None, "1.0")


def test_pages_hold_what_the_committed_records_say() -> None:
    found = tables.records(ROOT)
    assert found
    for page, kind in tables.PAGES.items():
        text = (ROOT / page).read_text(encoding="utf-8")
        assert tables.with_block(text, kind, tables.block(kind, found), page) == text, (
            f"{page}: run `python -m benchmarks.gpu merge`"
        )


def copied_pages(root: Path) -> Path:
    (root / "docs").mkdir(parents=True)
    for page in tables.PAGES:
        shutil.copyfile(ROOT / page, root / page)
    return root


def test_a_merge_adds_to_the_parts_that_were_there(tmp_path: Path) -> None:
    root, (record, *_) = copied_pages(tmp_path / "root"), tables.records(ROOT)
    for kept in ("solver", "training"):
        folder = tmp_path / kept
        folder.mkdir()
        parts = {
            name: one if name == kept else {"target": "", "status": "not begun"}
            for name, one in record["parts"].items()
        }
        (folder / runner.RESULT).write_text(json.dumps({**record, "parts": parts}))
        assert command.main(["merge", str(folder), "--root", str(root)]) == 0
    (merged,) = tables.records(root)
    assert (
        merged["parts"]["solver"] == record["parts"]["solver"]
        and merged["parts"]["training"] == record["parts"]["training"]
    )
    text = (root / "docs" / "costs.md").read_text()
    assert "Anderson(5): kernels of an iteration" in text and "checks on the device" not in text


def test_without_records_the_pages_say_unmeasured() -> None:
    assert {tables.block(kind, []) for kind in tables.PAGES.values()} == {tables.UNMEASURED}


def test_bad_use_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / runner.RESULT).write_text(
        json.dumps({"machine": {"gpu": command.REHEARSAL}, "parts": {}})
    )
    cases = {
        (
            "--only",
            "speed",
        ): "--only: expected parts out of right, solver, spectra, training, study, got speed",
        ("--minutes", "-1"): "--minutes must be > 0, got -1.0",
        ("--minutes", "soon"): "--minutes: invalid float value: 'soon'",
        ("--min", "1"): "(see python -m benchmarks.gpu --help)",
        ("unpack",): "invalid choice: 'unpack'",
        ("merge", str(tmp_path)): "expected what a GPU measured, got a rehearsal",
        ("merge", str(tmp_path / "none")): "expected a folder with gpu.json, got none",
    }
    if torch.version.cuda is None:
        cases[("--out", str(tmp_path))] = "expected a GPU, got torch"
    for arguments, line in cases.items():
        assert command.main(list(arguments)) == 2
        told = capsys.readouterr().err
        assert line in told and told.count("\n") == 1
