"""The tutorials run from their first block to their last, each in one folder and one scope."""

import glob
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from analysis.__main__ import main as odestab
from imbert.__main__ import main as imbert

ROOT = Path(__file__).parent.parent
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MAIN: dict[str, Callable[[Sequence[str]], int]] = {"odestab": odestab, "imbert": imbert}
each_tutorial = pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda page: page.stem)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone, as far as tutorials read one."""
    for name in ("docs", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def arguments(line: str) -> list[str]:
    """The words of a command after its name, as a shell expands them."""
    words = shlex.split(line)[1:]
    return [match for word in words for match in (sorted(glob.glob(word)) or [word])]


@pytest.mark.slow
@each_tutorial
def test_a_tutorial_runs(tutorial: Path, folder: Path) -> None:
    scope: dict[str, Any] = {}
    text = tutorial.read_text(encoding="utf-8")
    with matplotlib.rc_context({"backend": "agg"}):
        for language, block in BLOCK.findall(text):
            if language == "python":
                exec(compile(block, tutorial.name, "exec"), scope)
            if language == "sh":
                for line in block.replace("\\\n", " ").splitlines():
                    assert MAIN[line.split()[0]](arguments(line)) == 0, line
    assert scope


@each_tutorial
def test_a_tutorial_is_short_and_ends_with_what_is_next(tutorial: Path) -> None:
    text = tutorial.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    last = re.split(r"^## ", text, flags=re.MULTILINE)[-1]
    assert last.startswith("What to look at next\n") and last.count("](") >= 3


@each_tutorial
def test_every_block_of_a_tutorial_runs_or_is_text(tutorial: Path) -> None:
    languages = {language for language, _ in BLOCK.findall(tutorial.read_text(encoding="utf-8"))}
    assert languages <= {"python", "sh", "text"}


def test_there_is_a_tutorial_for_each_use() -> None:
    assert {tutorial.stem for tutorial in TUTORIALS} == {
        "own-field",
        "own-classifier",
        "reproduce-a-study",
    }
