"""Checkpoints: loaded as encoders, whole and quietly, or refused."""

import contextlib
import json
import logging
import pathlib
import re
import threading

import pytest
import torch
import transformers
from encoders import CONFIGS, padded, saved, tiny
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.utils import logging as bars

from odestab.encoder_layers import load_encoder, trace


@pytest.fixture
def checkpoint(
    bert: nn.Module, tokenizer: transformers.PreTrainedTokenizerBase, tmp_path: pathlib.Path
) -> pathlib.Path:
    return saved(bert, tokenizer, tmp_path)


@pytest.mark.parametrize("family", ["bert", "distilbert", "modernbert"])
@pytest.mark.parametrize("head", ["AutoModelForMaskedLM", "AutoModelForSequenceClassification"])
def test_a_checkpoint_with_a_head_loads_as_its_encoder(family, head, tokenizer, tmp_path):
    model = tiny(CONFIGS[family](), auto=getattr(transformers, head))
    encoder, loaded = load_encoder(saved(model, tokenizer, tmp_path))
    assert type(encoder) is type(model.base_model)
    assert not encoder.training
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    expected = model.base_model.state_dict()
    assert all(
        torch.equal(tensor, expected[name])
        for name, tensor in encoder.state_dict().items()
        if name in expected
    )
    assert all("pooler" in name for name in encoder.state_dict().keys() ^ expected.keys())
    assert trace(
        encoder, loaded(["the small words", "word"], padding=True, return_tensors="pt")
    ).tokens == [6, 3]


def test_dtype_is_the_one_asked_for(checkpoint):
    encoder, _ = load_encoder(str(checkpoint), dtype=torch.float32)
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
    assert trace(encoder, padded(encoder)).states[-1].dtype == torch.float32


def test_loading_is_quiet_and_changes_no_global_state(bert, tokenizer, tmp_path, capfd):
    bert.pooler = None  # transformers reports it as missing and draws it at random
    saved(bert, tokenizer, tmp_path)
    loggers = [logging.getLogger(name) for name in ("transformers", "huggingface_hub")]
    before = (
        [logger.level for logger in loggers],
        bars.is_progress_bar_enabled(),
        torch.get_rng_state().tolist(),
    )
    capfd.readouterr()
    load_encoder(tmp_path)
    with contextlib.suppress(ValueError):
        load_encoder(tmp_path / "nowhere")
    assert capfd.readouterr() == ("", "")
    assert before == (
        [logger.level for logger in loggers],
        bars.is_progress_bar_enabled(),
        torch.get_rng_state().tolist(),
    )


def rewrite(folder: pathlib.Path, change) -> None:
    """Change the tensors of a checkpoint."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def truncate(folder: pathlib.Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def corrupt(folder: pathlib.Path) -> None:
    (folder / "model.safetensors").write_bytes(b"no safetensors at all")


def pickle_only(folder: pathlib.Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def forget_tokenizer(folder: pathlib.Path) -> None:
    for file in folder.glob("*token*"):
        file.unlink()


QUERY = "encoder.layer.1.attention.self.query.weight"
DAMAGE = {
    "without config": (
        lambda folder: (folder / "config.json").unlink(),
        "checkpoint folder with config.json, got a folder without it",
    ),
    "config no JSON": (
        lambda folder: (folder / "config.json").write_text("{"),
        "readable config.json .*OSError",
    ),
    "no weights": (
        lambda folder: (folder / "model.safetensors").unlink(),
        "readable weights in model.safetensors, got ValueError",
    ),
    "pickle only": (pickle_only, "readable weights in model.safetensors, got ValueError"),
    "truncated": (truncate, "readable weights in model.safetensors, got SafetensorError"),
    "corrupt": (corrupt, "readable weights in model.safetensors, got SafetensorError"),
    "nan": (
        lambda folder: rewrite(folder, lambda t: t[QUERY][0].fill_(torch.nan)),
        f"finite weights in torch.float64, 1 .*: {QUERY}",
    ),
    "missing": (
        lambda folder: rewrite(folder, lambda t: t.pop(QUERY)),
        f"1 missing or misshapen: {QUERY}",
    ),
    "misshapen": (
        lambda folder: rewrite(folder, lambda t: t.update({QUERY: torch.ones(2, 2)})),
        f"1 missing or misshapen: {QUERY}",
    ),
    "no tokenizer": (
        forget_tokenizer,
        "must have a readable tokenizer, got none of tokenizer.json, vocab.txt",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_refused(damage, checkpoint):
    change, message = DAMAGE[damage]
    change(checkpoint)
    with pytest.raises(ValueError, match=message) as caught:
        load_encoder(checkpoint)
    assert str(checkpoint) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_without_texts_is_refused(tokenizer, tmp_path):
    config = transformers.ViTConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        image_size=4,
        patch_size=2,
    )
    message = "must be a model of text such as bert, gpt2, t5 or clip, got model_type 'vit'"
    with pytest.raises(ValueError, match=message):
        load_encoder(saved(tiny(config), tokenizer, tmp_path))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "no-organisation/no-model",
            "'no-organisation/no-model' must be a hub id or .*no network may be the cause",
        ),
        (
            "./no/such/folder",
            "'./no/such/folder' must be a hub id or a checkpoint "
            "folder with config.json, got no folder",
        ),
        (
            pathlib.Path("folder"),
            "'folder' must be a hub id or a checkpoint folder with config.json, got no folder",
        ),
    ],
)
def test_a_model_that_is_not_there_is_refused(model, message):
    with pytest.raises(ValueError, match=message):
        load_encoder(model)


def test_a_dtype_that_is_not_floating_is_refused(checkpoint):
    with pytest.raises(ValueError, match=r"dtype must be a floating-point type, got torch.int64"):
        load_encoder(checkpoint, dtype=torch.int64)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool, torch.complex64])
def test_weights_that_are_no_real_numbers_are_refused(dtype, checkpoint):
    name = "encoder.layer.1.output.dense.weight"
    rewrite(checkpoint, lambda tensors: tensors.update({name: tensors[name].to(dtype)}))
    with pytest.raises(
        ValueError, match=rf"must have floating-point weights, 1 are not: {name} as"
    ):
        load_encoder(checkpoint)


def test_integers_that_are_no_weights_are_left_alone(checkpoint):
    extra = {"embeddings.position_ids": torch.arange(32)[None], "head.labels": torch.arange(3)}
    rewrite(checkpoint, lambda tensors: tensors.update(extra))
    load_encoder(checkpoint)


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (
            "pytorch_model.bin",
            "expected weights in safetensors files, got 'pytorch_model.bin', which is refused",
        ),
        ("../other/model.safetensors", "expected weights inside the checkpoint's folder"),
        ("/tmp/model.safetensors", "expected weights inside the checkpoint's folder"),
        ("..\\other\\model.safetensors", "expected weights inside the checkpoint's folder"),
    ],
)
@pytest.mark.parametrize("by", ["index", "configuration"])
def test_weights_named_elsewhere_or_pickled_are_refused_unread(named, said, by, checkpoint):
    tensors = load_file(checkpoint / "model.safetensors")
    torch.save(tensors, checkpoint / "pytorch_model.bin")
    if by == "index":
        (checkpoint / "model.safetensors").unlink()
        index = {"metadata": {}, "weight_map": dict.fromkeys(tensors, named)}
        (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    else:
        config = json.loads((checkpoint / "config.json").read_text())
        (checkpoint / "config.json").write_text(
            json.dumps(config | {"transformers_weights": named})
        )
    with pytest.raises(ValueError, match=re.escape(said)):
        load_encoder(checkpoint)


def test_threads_that_load_leave_the_log_level_as_it_was(checkpoint):
    loggers = [logging.getLogger(name) for name in ("transformers", "huggingface_hub")]
    before, errors, start = [logger.level for logger in loggers], [], threading.Barrier(4)

    def run():
        start.wait()
        try:
            load_encoder(checkpoint)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (errors, [logger.level for logger in loggers]) == ([], before)
