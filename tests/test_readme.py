"""The README's code runs: its Python block as it stands, its commands through the command line."""

import re
import shlex
from pathlib import Path

import pytest

from analysis.__main__ import main

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
COMMANDS = [line for language, block in BLOCKS if language == "sh" for line in block.splitlines() if line.startswith("odestab ")]


def test_the_python_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = [block for language, block in BLOCKS if language == "python"]
    scope: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), scope)
    growth = scope["growth"]
    assert ((growth.measured - growth.predicted).abs() < 1e-3 * growth.predicted).all()  # type: ignore[attr-defined]
    assert "tensor" in capsys.readouterr().out


def test_there_is_a_command_for_each_use() -> None:
    assert [shlex.split(command)[1] for command in COMMANDS] == ["analyze", "propagate", "regions"]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: shlex.split(command)[1])
def test_a_command_runs(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command, comments=True)[1:]) == 0
    assert any(tmp_path.rglob("*.svg"))
