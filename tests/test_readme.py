"""The code of README and how-tos runs: Python blocks as they stand, commands through the command
line, each once.
"""

import contextlib
import json
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from analysis.__main__ import main as odestab
from imbert import implicit_layers
from imbert.__main__ import main as imbert

ROOT = Path(__file__).parent.parent
ON_A_RUN = "read-a-run.md"  # tests/analysis/test_run.py runs it, on a small one
HOW_TO = sorted((ROOT / "docs" / "how-to").glob("*.md"))
PAGES = [ROOT / "README.md", *(page for page in HOW_TO if page.name != ON_A_RUN)]
BLOCKS = {
    path.name: re.findall(r"```(\w+)\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    for path in PAGES
}
PYTHON = [
    (name, block)
    for name, blocks in BLOCKS.items()
    for language, block in blocks
    if language == "python"
]
(STARTED,) = (block for _, block in PYTHON if "path-or-hub-id" in block)
OTHERS = [(name, block) for name, block in PYTHON[1:] if block != STARTED]
LINES = [
    line
    for blocks in BLOCKS.values()
    for language, block in blocks
    if language == "sh"
    for line in block.splitlines()
]
# what README shows of the output of a block's last command
SHOWN = {
    commands.splitlines()[-1].split("#")[0].strip(): output.splitlines()
    for commands, output in re.findall(
        r"```sh\n(.*?)```\s*```text\n(.*?)```", PAGES[0].read_text(encoding="utf-8"), re.DOTALL
    )
}
AFTER = ("calibrate", "condition", "confirm")  # take a model that was fine-tuned
MAIN: dict[str, Callable[[Sequence[str]], int]] = {"odestab": odestab, "imbert": imbert}


def commands(program: str) -> list[list[str]]:
    """What follows the program's name, each line once."""
    lines = dict.fromkeys(line.split("#")[0].strip() for line in LINES)
    return [shlex.split(line)[1:] for line in lines if line.split()[:1] == [program]]


def run(block: str) -> dict[str, Any]:
    scope: dict[str, Any] = {}
    exec(compile(block, "README.md", "exec"), scope)
    return scope


NUMBER = re.compile(r"[-−]?\d[\d.]*")


def masked(line: str) -> str:
    """A line without its numbers and its spaces."""
    return " ".join(NUMBER.sub("0", line).split())


def numbers(line: str) -> list[float]:
    """The numbers of a line."""
    return [float(each.replace("−", "-").rstrip(".")) for each in NUMBER.findall(line)]


def require_shown(program: str, command: Sequence[str], printed: str) -> None:
    """What README shows of a command's output is in it; a line ends where … stands. Numbers differ
    a little between machines; those of a model that was fine-tuned there are its own.
    """
    lines = printed.splitlines()
    for line in SHOWN.get(shlex.join([program, *command]).replace("'", '"'), ()):
        start, cut, _ = line.partition("…")
        words, shown = masked(start), pytest.approx(numbers(start), rel=0.02, abs=2e-3)
        likely = [
            each
            for each in lines
            if (masked(each).startswith(words) if cut else masked(each) == words)
        ]
        assert likely, line
        if command[0] not in AFTER:
            assert any(numbers(each)[: len(numbers(start))] == shown for each in likely), line


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    growth = run(PYTHON[0][1])["growth"]
    assert ((growth.measured - growth.predicted).abs() < 1e-3 * growth.predicted).all()
    assert "tensor" in capsys.readouterr().out


def test_the_classifier_loads(minilm_folder: Path) -> None:
    scope = run(STARTED.replace("path-or-hub-id", str(minilm_folder)))
    assert len(implicit_layers(scope["model"])) == 3


@pytest.mark.parametrize("block", [block for _, block in OTHERS], ids=[name for name, _ in OTHERS])
def test_the_code_of_a_how_to_runs(block: str) -> None:
    assert run(block)


def test_there_is_a_command_for_each_use() -> None:
    assert {command[0] for command in commands("odestab")} == {
        "analyze",
        "calibrate",
        "condition",
        "confirm",
        "edits",
        "predict",
        "propagate",
        "regions",
    }
    assert {command[0] for command in commands("imbert")} == {
        "attack",
        "evaluate",
        "finetune",
        "perturbations",
        "study",
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [command for command in commands("odestab") if command[0] not in AFTER], ids=" ".join
)
def test_a_command_draws(
    command: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert odestab(command) == 0
    require_shown("odestab", command, capsys.readouterr().out)
    assert any(folder.rglob("*.svg"))


def test_readme_shows_an_output_for_each_question() -> None:
    assert [line.split()[:2] for line in SHOWN] == [
        ["odestab", "condition"],
        ["odestab", "edits"],
        ["odestab", "predict"],
    ]
    assert set(SHOWN) <= {
        shlex.join(["odestab", *command]).replace("'", '"') for command in commands("odestab")
    }


PRINTED = """layer explicit implicit predicted converged
3 1.194 1.115 1 yes
all 1.37 1.12 yes"""


@pytest.mark.parametrize(
    ("printed", "is_shown"),
    [
        (PRINTED, True),
        (PRINTED.replace("explicit implicit", "implicit explicit"), False),
        (PRINTED.replace("1.194", "1.293"), False),
        (PRINTED.replace("all 1.37", "sum 1.37"), False),
    ],
    ids=["last digits of another machine", "other words", "another number", "another line"],
)
def test_an_output_that_is_not_printed_is_found(printed: str, is_shown: bool) -> None:
    edits = next(shlex.split(line)[1:] for line in SHOWN if " edits " in line)
    with contextlib.nullcontext() if is_shown else pytest.raises(AssertionError):
        require_shown("odestab", edits, printed)


@pytest.mark.slow
def test_a_model_is_finetuned_measured_and_attacked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in commands("imbert"):
        assert imbert(command) == 0, command
    for command in commands("odestab"):
        if command[0] in AFTER:
            capsys.readouterr()
            assert odestab(command) == 0, command
            require_shown("odestab", command, capsys.readouterr().out)
    assert len(json.loads((folder / "runs/condition/condition.json").read_text())["inputs"]) == 32
    fits = json.loads((folder / "runs/calibration/calibration.json").read_text())["fits"]
    assert {"gaussian", "worst", "attack"} == {row["kind"] for row in fits} and fits[0][
        "points"
    ] >= 6
    result = json.loads((folder / "runs/im-bert/result.json").read_text())
    assert result["evaluation"]["dev"]["metrics"]["accuracy"] > 0.8
    assert {path.name for path in (folder / "runs/attacks").glob("*.json")} == {
        "pgd.json",
        "pgd-0.3.json",
        "pgd-1.json",
        "characters.json",
    }
    flips = json.loads((folder / "runs/own/flips/flips.json").read_text())
    assert 0 < flips["rankings"][0]["inputs"] <= 8  # those of the attacked rows that are right
    assert "not run yet" in (folder / "runs/study/table.md").read_text()
