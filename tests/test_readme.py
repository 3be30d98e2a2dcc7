"""The README's code runs: its Python block as it stands, its commands through the command line."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from analysis.__main__ import main
from imbert import implicit_layers
from imbert.__main__ import main as imbert

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
LINES = [shlex.split(line, comments=True) for language, block in BLOCKS if language == "sh" for line in block.splitlines()]
COMMANDS = [line[1:] for line in LINES if line[:1] == ["odestab"]]


def test_the_python_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    example = next(block for language, block in BLOCKS if language == "python")
    scope: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), scope)
    growth = scope["growth"]
    assert ((growth.measured - growth.predicted).abs() < 1e-3 * growth.predicted).all()  # type: ignore[attr-defined]
    assert "tensor" in capsys.readouterr().out


def test_there_is_a_command_for_each_use() -> None:
    assert [command[0] for command in COMMANDS] == ["propagate", "regions", "analyze"]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_command_runs(command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(command) == 0
    assert any(tmp_path.rglob("*.svg"))


def test_a_model_is_finetuned_and_attacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    assert [imbert(line[1:]) for line in LINES if line[:1] == ["imbert"]] == [0, 0]
    result = json.loads((tmp_path / "runs/im-bert/result.json").read_text())
    assert result["evaluation"]["dev"]["metrics"]["accuracy"] > 0.8
    assert {path.name for path in (tmp_path / "runs/attacks").glob("*.json")} == {"pgd.json", "characters.json"}


def test_the_classifier_loads(minilm_folder: Path) -> None:
    example = [block for language, block in BLOCKS if language == "python"][1].replace("path-or-hub-id", str(minilm_folder))
    scope: dict[str, Any] = {}
    exec(compile(example, "README.md", "exec"), scope)
    assert len(implicit_layers(scope["model"])) == 3
