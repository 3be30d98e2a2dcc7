"""Classifiers: loaded with their head, whole, or refused."""

import re

import pytest
import torch
import transformers
from encoders import CONFIGS, saved, tiny

from odestab.encoder_layers import load_classifier


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "modernbert"])
def test_a_classifier_answers_as_it_was_saved(family, tokenizer, tmp_path):
    model = tiny(CONFIGS[family](), auto=transformers.AutoModelForSequenceClassification)
    classifier, loaded = load_classifier(saved(model, tokenizer, tmp_path), torch.float64)
    assert type(classifier) is type(model) and not classifier.training
    assert not any(parameter.requires_grad for parameter in classifier.parameters())
    batch = loaded(["the small words", "word"], padding=True, return_tensors="pt")
    batch.pop("token_type_ids", None)
    model = model.double().eval()
    with torch.no_grad():
        found, expected = classifier(**batch).logits, model(**batch).logits
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)  # attention is another one's


def test_a_bare_encoder_is_refused_in_one_line(bert, tokenizer, tmp_path):
    folder = saved(bert, tokenizer, tmp_path)
    message = "must be a sequence classifier, got a checkpoint without the weights of its head"
    with pytest.raises(ValueError, match=f"{message}: classifier.bias, classifier.weight") as error:
        load_classifier(folder)
    assert "\n" not in str(error.value)


def test_other_faults_are_those_of_encoders(tmp_path):
    with pytest.raises(ValueError, match=re.escape("must be a hub id or a checkpoint folder")):
        load_classifier(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"dtype must be a floating-point type, got torch\.int64"):
        load_classifier(tmp_path, torch.int64)
