"""A model is known by what it is made of: weights of every shard, configuration, tokenizer."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from analysis.ground.identity import file_digest, model_identity


def checkpoint(folder: Path, shards: int = 1) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_act": "gelu"}))
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    names = (
        ["model.safetensors"] if shards == 1 else [f"model-{i}.safetensors" for i in range(shards)]
    )
    for number, name in enumerate(names):
        save_file({f"weight.{number}": np.full(3, float(number), np.float32)}, folder / name)
    if shards > 1:
        index = {
            "metadata": {},
            "weight_map": {f"weight.{i}": name for i, name in enumerate(names)},
        }
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def test_the_weights_of_one_file_are_its_sha256(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    assert model_identity(folder).weights == file_digest(folder / "model.safetensors")


@pytest.mark.parametrize("shards", [1, 3])
def test_a_copy_is_the_same_model_and_any_changed_part_is_another(
    tmp_path: Path, shards: int
) -> None:
    copy = checkpoint(tmp_path / "b", shards)
    whole = model_identity(checkpoint(tmp_path / "a", shards))
    assert whole.digest is not None and whole == model_identity(copy)
    last = sorted(copy.glob("*.safetensors"))[-1]
    save_file({f"weight.{shards - 1}": np.full(3, 7.0, np.float32)}, last)
    other = model_identity(copy)
    assert (other.weights != whole.weights, other.config, other.tokenizer) == (
        True,
        whole.config,
        whole.tokenizer,
    )
    checkpoint(copy, shards)
    (copy / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_act": "relu"}))
    assert (
        model_identity(copy).config != whole.config,
        model_identity(copy).digest != whole.digest,
    ) == (True, True)
    checkpoint(copy, shards)
    (copy / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    assert (
        model_identity(copy).tokenizer != whole.tokenizer,
        model_identity(copy).digest != whole.digest,
    ) == (True, True)


def test_what_changes_no_number_leaves_the_model_itself(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    before = model_identity(folder)
    (folder / "config.json").write_text(
        json.dumps(
            {
                "hidden_act": "gelu",
                "transformers_version": "5.0",
                "_name_or_path": "elsewhere",
                "model_type": "bert",
            },
            indent=3,
        )
    )
    (folder / "README.md").write_text("a model card")
    assert model_identity(folder) == before


def test_a_hub_id_is_the_snapshot_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    snapshot = checkpoint(tmp_path / "models--some--encoder" / "snapshots" / "abc", shards=2)
    (tmp_path / "models--some--encoder" / "refs").mkdir()
    (tmp_path / "models--some--encoder" / "refs" / "main").write_text("abc")
    assert model_identity("some/encoder") == model_identity(snapshot)


def test_without_a_digest_there_is_a_reason(tmp_path: Path) -> None:
    pickled = checkpoint(tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    bare = checkpoint(tmp_path / "bare")
    (bare / "config.json").unlink()
    leaving = checkpoint(tmp_path / "leaving", shards=2)
    (leaving / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"weight.0": "../pickled/x.safetensors"}})
    )
    for model, said in (
        (tmp_path / "nowhere", "no such folder"),
        ("some/unknown-encoder", "no snapshot"),
        (pickled, "pickled weights"),
        (bare, "no config.json"),
        (leaving, "inside the checkpoint's folder"),
    ):
        identity = model_identity(model)
        assert identity.digest is None and said in str(identity.reason)
