"""A tiny random BERT, and a study of it that is finished once."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_study import STUDY, TEXTS, Command, saved, tiny_config
from transformers.utils import logging as bars

import figures.report
from analysis.__main__ import main


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers of hidden size 16; texts of at most 12 tokens."""
    bars.disable_progress_bar()
    config = tiny_config(initializer_range=0.1)
    folder = saved(tmp_path_factory.mktemp("checkpoint") / "bert", config)
    bars.enable_progress_bar()
    return folder


@pytest.fixture
def desk(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the model and the texts, where no report is drawn."""
    return _laid(checkpoint, tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def finished(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a finished study."""
    with pytest.MonkeyPatch.context() as patch:
        folder = _laid(checkpoint, tmp_path_factory.mktemp("finished"), patch)
        assert main(["analyze", "bert", *STUDY]) == 0
        return folder / "run"


@pytest.fixture
def run_folder(finished: Path, desk: Path) -> Path:
    """A copy of the finished run at `desk`/run, to be damaged."""
    return Path(shutil.copytree(finished, desk / "run"))


@pytest.fixture
def odestab(desk: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    yield Command(capsys)


def _laid(checkpoint: Path, folder: Path, patch: pytest.MonkeyPatch) -> Path:
    (folder / "bert").symlink_to(checkpoint)
    (folder / "texts.tsv").write_text(TEXTS, encoding="utf-8")
    patch.chdir(folder)
    patch.setattr(
        figures.report, "write_report", lambda summary, out, told=None: out / "report.html"
    )
    return folder
