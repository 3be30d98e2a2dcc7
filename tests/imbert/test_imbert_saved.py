"""What a saved model tells those who have not imported imbert, and those who export it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import implicit
from torch import Tensor

pytestmark = pytest.mark.usefixtures("quiet")

LOAD = "from transformers import AutoModel; print(type(AutoModel.from_pretrained({!r})).__name__)"


def test_a_saved_model_says_what_to_import(tiny_folder: Path, tmp_path: Path) -> None:
    model = implicit(tiny_folder)
    model.save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert "import imbert\n" in card and "model type `imbert`" in card
    (tmp_path / "README.md").write_text("my own words")
    model.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "my own words"
    model.save_pretrained(tmp_path / "second", is_main_process=False)
    assert not (tmp_path / "second" / "README.md").exists()


@pytest.mark.slow
def test_without_the_import_transformers_names_the_model_type(
    tiny_folder: Path, tmp_path: Path
) -> None:
    implicit(tiny_folder).save_pretrained(tmp_path)

    def load(first: str) -> Any:
        program = f"{first}\n{LOAD.format(str(tmp_path))}"
        return subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            capture_output=True,
            text=True,
            timeout=300,
        )

    assert load("import imbert").stdout.strip() == "ImBertModel"
    without = load("")
    assert without.returncode == 1 and "has model type `imbert`" in without.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "steps", [{"implicit_layers": []}, {"method": "explicit_euler", "step_size": 0.5}]
)
def test_a_model_without_implicit_steps_is_exported(
    tiny_folder: Path, batch: dict[str, Tensor], steps: dict[str, Any]
) -> None:
    model = implicit(tiny_folder, **steps).eval()
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    rows, tokens = torch.export.Dim("rows", min=1), torch.export.Dim("tokens", min=2, max=32)
    sizes = {name: {0: rows, 1: tokens} for name in inputs}
    exported = torch.export.export(model, (), inputs, dynamic_shapes=sizes).module()
    for some in (inputs, {name: value[:2, :5] for name, value in inputs.items()}):
        with torch.no_grad():
            torch.testing.assert_close(exported(**some).logits, model(**some).logits)


def test_a_model_with_implicit_layers_is_not_exported(
    tiny_folder: Path, batch: dict[str, Tensor]
) -> None:
    model = implicit(tiny_folder, implicit_layers=[1]).eval()
    with pytest.raises(ValueError, match=r"^torch.export needs layers .*, got implicit .* \[1\]$"):
        torch.export.export(model, (), {"input_ids": batch["input_ids"]})
