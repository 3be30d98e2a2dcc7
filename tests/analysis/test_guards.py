"""Inputs that read as texts and are none, bytes that flipped, files of killed runs, and streams
that are not there.
"""

import contextlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from analysis.__main__ import main
from analysis.config import Pair, StudyConfig, read_texts
from analysis.ground.commands import ready_streams
from analysis.ground.files import sweep
from analysis.ground.interrupts import kept_interrupts, raise_interrupt
from analysis.record import Cell, DamagedCell, read_cell, read_config, write_cell, write_config

TABLES = {
    "labels by number": ("a fine film\t1\nno film at all\t0\n", "line 1: '1' is a label"),
    "scores": ("one cat\t2.5\nanother\t-1e3\n", "line 1: '2.5' is a label"),
    "labels first": ("1\ta fine film\n0\tno film at all\n", "line 1: '1' is a label"),
    "labels by name": ("a\tgood\nb\tbad\nc\tgood\nd\tbad\ne\tgood\n", "line 1: 'good' is a label"),
    "rows with an index": ("17\ta fine film\t1\n18\tno film\t0\n", "line 1: '1' is a label"),
    "a CSV header": ('text,label\n"a film, fine",1\n', "line 1 is the header of a CSV table"),
    "a semicolon": (
        "premise;hypothesis;gold_label\na;b;c\n",
        "line 1 is the header of a CSV table",
    ),
    "JSON lines": ('{"sentence": "a film", "label": 1}\n', "line 1 is JSON"),
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_is_not_read_as_texts(kind: str, tmp_path: Path) -> None:
    content, said = TABLES[kind]
    (tmp_path / "texts.tsv").write_text(content)
    with pytest.raises(ValueError, match=f"{said}.*expected one text a line"):
        read_texts(tmp_path / "texts.tsv")


def test_a_csv_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "texts.csv").write_text('"a film, fine",1\n')
    with pytest.raises(
        ValueError, match=r"expected a column sentence or text.*got a film, fine, 1"
    ):
        read_texts(tmp_path / "texts.csv")


def test_a_txt_has_no_header_of_one_column(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("Sentence\na fine film\n")
    with pytest.raises(ValueError, match="line 1 is the header of a TSV table"):
        read_texts(tmp_path / "texts.txt")


def test_texts_and_pairs_that_look_a_little_like_tables_are_read(tmp_path: Path) -> None:
    lines = [
        "a first line",
        "label",
        "1",
        "a text, with a comma",
        "good\tgood.",
        "it cost 3 pounds\tit cost 4 pounds",
    ]
    (tmp_path / "texts.tsv").write_text("\n".join([*lines, "typo\tcat\tcta", "[CLS] is a token"]))
    texts, pairs = read_texts(tmp_path / "texts.tsv")
    assert (len(texts), len(pairs)) == (8, 3)


@pytest.mark.parametrize("kind", ["ty\0po", "x" * 500, "a\nb"])
def test_a_kind_of_edit_is_a_short_word(kind: str) -> None:
    with pytest.raises(
        ValueError, match="kind of an edit must be at most 400 printable characters"
    ):
        Pair(kind, "a cat", "a cta")


def test_half_a_character_is_no_text() -> None:
    for arguments in (
        {"texts": ("good \ud83d film",)},
        {"texts": ("a",), "pairs": (Pair("typo", "a", "\udc00"),)},
    ):
        with pytest.raises(ValueError, match="texts must be Unicode, got a lone surrogate"):
            StudyConfig(**arguments)


@pytest.mark.parametrize("option", ["--workers", "--limit", "--dense-limit"])
def test_a_number_beyond_all_reason_is_refused(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["analyze", option, "9" * 5000]) == 2
    assert "expected" in capsys.readouterr().err


def test_one_text_is_refused_before_anything_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "nowhere", "--limit", "1", "--out", str(tmp_path / "out")]) == 2
    assert "a prediction needs at least 2" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_backend_that_does_not_exist_is_told_before_measuring(tmp_path: Path) -> None:
    environment = os.environ | {"MPLBACKEND": "nonsense"}
    command = [
        sys.executable,
        "-m",
        "analysis",
        "analyze",
        "nowhere",
        "--out",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (
        done.returncode == 2
        and "matplotlib cannot draw" in done.stderr
        and done.stderr.count("\n") == 1
    )
    assert not (tmp_path / "out").exists()


def test_every_flipped_byte_of_a_cell_is_found(tmp_path: Path) -> None:
    cell = Cell(
        "layer",
        {"kind": "layer", "texts": [1], "step_size": 0.1},
        {"a": np.arange(3.0), "b": np.array([True])},
    )
    write_cell(tmp_path, cell)
    path = tmp_path / "layer.safetensors"
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(bytes(flipped))
        try:
            again = read_cell(path)
        except DamagedCell:
            continue
        assert (
            again.header == cell.header
        )  # white space between the entries of the file's own header
        assert all(np.array_equal(again.arrays[name], array) for name, array in cell.arrays.items())


def test_a_flipped_value_of_a_configuration_is_found(tmp_path: Path) -> None:
    config = {
        "model": "m",
        "field": "outer",
        "step_sizes": [1.0],
        "map_step_sizes": [1.0],
        "seed": 3,
    }
    write_config(tmp_path, config)
    assert read_config(tmp_path) == config
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace('"seed": 3', '"seed": 2'))
    with pytest.raises(ValueError, match="the file was changed"):
        read_config(tmp_path)


def test_temporary_files_of_the_dead_are_swept_and_those_of_the_living_stay(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host = socket.gethostname()
    writers = (f"{host}.{ended.pid}", f"{host}.{os.getpid()}", f"not-{host}.{ended.pid}")
    dead, alive, elsewhere = (tmp_path / f".cell.{writer}" for writer in writers)
    for path in (dead, alive, elsewhere):
        path.touch()
    sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([alive, elsewhere])


@pytest.fixture
def default_interrupts() -> Iterator[None]:
    """Python's own answer to Ctrl-C, also where the tests run in the background, which ignores
    it.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_that_a_callback_swallows_is_raised_later(default_interrupts: None) -> None:
    with pytest.raises(KeyboardInterrupt), kept_interrupts():
        with contextlib.suppress(KeyboardInterrupt):  # as Python does in a finaliser
            signal.raise_signal(signal.SIGINT)
        raise_interrupt()
    with kept_interrupts():
        raise_interrupt()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_streams_that_are_closed_or_narrow_are_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    monkeypatch.setattr(sys, "stderr", None)
    ready_streams()
    narrow.write("report: \u6587/\udcff.html\n")
    narrow.flush()
    with sys.stderr as made:
        made.write("a warning")
    assert narrow.buffer.getvalue() == b"report: \\u6587/\\udcff.html\n"  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize("part", ["config.json", "tokenizer.json"])
def test_a_run_does_not_go_on_after_its_model_changed(
    odestab, desk: Path, checkpoint: Path, part: str
) -> None:
    (desk / "bert").unlink()
    shutil.copytree(checkpoint, desk / "bert")
    assert odestab.analyze().code == 0
    path = Path("bert") / part
    content = json.loads(path.read_text())
    if part == "config.json":
        content["hidden_act"] = "relu"
    else:
        content["post_processor"] = None
    path.write_text(json.dumps(content))
    outcome = odestab.analyze()
    name = {"config.json": "model_config", "tokenizer.json": "tokenizer"}[part]
    assert outcome.code == 2 and f"another configuration (not the same: {name})" in outcome.err[-1]


@pytest.mark.slow
def test_a_flipped_cell_is_named_and_measured_again(odestab, run_folder: Path) -> None:
    path = sorted((run_folder / "cells").glob("layer-*.safetensors"))[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:-3] + bytes([whole[-3] ^ 4]) + whole[-2:])
    outcome = odestab.analyze()
    assert outcome.code == 0 and any(
        "damaged cell, measured again" in line and path.name in line for line in outcome.err
    )
    assert path.read_bytes() == whole
