"""Which checkpoints an IM-BERT is made of, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tiny_models import implicit, plain, run

import imbert

pytestmark = pytest.mark.usefixtures("quiet")


def test_every_weight_is_loaded_and_none_is_added(tiny_folder: Path) -> None:
    encoder, report = imbert.ImBertModel.from_pretrained(tiny_folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    expected = transformers.BertModel.from_pretrained(tiny_folder).state_dict()
    assert encoder.state_dict().keys() == expected.keys()
    assert all(torch.equal(encoder.state_dict()[name], weight) for name, weight in expected.items())
    assert [*implicit(tiny_folder).state_dict()] == [*plain(tiny_folder).state_dict()]


def test_equal_seeds_give_equal_new_weights(tiny_folder: Path) -> None:
    config = imbert.ImBertConfig.from_pretrained(tiny_folder)
    torch.manual_seed(3)
    expected = transformers.BertForSequenceClassification(
        transformers.AutoConfig.from_pretrained(tiny_folder)
    ).state_dict()
    torch.manual_seed(3)
    found = imbert.ImBertForSequenceClassification(config).state_dict()
    assert all(torch.equal(found[name], weight) for name, weight in expected.items())


def test_a_saved_model_is_found_by_the_auto_classes(
    tiny_folder: Path, batch: Any, tmp_path: Path
) -> None:
    model = implicit(
        tiny_folder,
        implicit_layers=[2, 1],
        field="increment",
        solver={"name": "Auto", "rtol": 1e-4},
    ).eval()
    model.save_pretrained(tmp_path)
    again = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert type(
        again
    ) is imbert.ImBertForSequenceClassification and again.config.implicit_layers == [1, 2]
    assert transformers.AutoConfig.from_pretrained(tmp_path).solver == {
        "name": "Auto",
        "rtol": 1e-4,
    }
    assert type(transformers.AutoModel.from_pretrained(tmp_path)) is imbert.ImBertModel
    assert torch.equal(run(again, batch).logits, run(model, batch).logits)


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    config = transformers.DistilBertConfig(
        vocab_size=20, dim=8, n_layers=1, n_heads=1, hidden_dim=8
    )
    transformers.DistilBertModel(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="model_type 'bert' or 'imbert', got 'distilbert'"):
        imbert.ImBertModel.from_pretrained(tmp_path)


def test_pickled_weights_are_refused(tiny_folder: Path, tmp_path: Path) -> None:
    transformers.AutoConfig.from_pretrained(tiny_folder).save_pretrained(tmp_path)
    torch.save(
        transformers.BertModel.from_pretrained(tiny_folder).state_dict(),
        tmp_path / "pytorch_model.bin",
    )
    with pytest.raises(ValueError, match="weights in safetensors"):
        imbert.ImBertModel.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="pickled weights are refused"):
        imbert.ImBertModel.from_pretrained(tiny_folder, use_safetensors=False)


def test_a_configuration_of_bert_is_refused(tiny_folder: Path) -> None:
    with pytest.raises(ValueError, match="config must be an ImBertConfig, got BertConfig"):
        imbert.ImBertModel(transformers.AutoConfig.from_pretrained(tiny_folder))


def test_attention_and_masks_that_cannot_be_had_are_refused(tiny_folder: Path, batch: Any) -> None:
    model = implicit(tiny_folder)
    with pytest.raises(
        ValueError, match=r"attention_mask must be \(batch, tokens\), got shape \(4, 1, 1, 8\)"
    ):
        model(batch["input_ids"][:, :8], attention_mask=torch.ones(4, 1, 1, 8))
    with pytest.raises(ValueError, match="output_attentions must be False"):
        run(model, batch, output_attentions=True)
