"""The example of a classifier with its own labels runs as it stands."""

import json
import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_labels.py"


@pytest.mark.slow
def test_own_labels_are_learnt_ranked_and_followed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runpy.run_path(str(EXAMPLE))["main"](tmp_path)
    assert "classes complaint, praise, request" in capsys.readouterr().out
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert result["run"]["data"]["labels"] == ["complaint", "praise", "request"]
    assert result["evaluation"]["dev"]["metrics"]["accuracy"] > 0.5
    condition = json.loads((tmp_path / "condition/condition.json").read_text())
    assert condition["labels"] == ["complaint", "praise", "request"]
    assert condition["labels_given"] and len(condition["inputs"]) == 20
    dev, train = ((tmp_path / f"tables/{name}.tsv").read_text() for name in ("dev", "train"))
    measured = set(dev.splitlines()[1:])
    assert len(measured) == 20 and not measured & set(train.splitlines())  # none was trained on
    assert len(train.splitlines()) == 41
    assert (tmp_path / "edits/edits.html").exists()
