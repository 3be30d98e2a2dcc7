"""A classifier's head: kept when it is asked for, and applied to any last state."""

import re

import pytest
import torch
import transformers
from encoders import CONFIGS, padded, saved, tiny
from safetensors.torch import load_file, save_file

import imbert
import odestab as od

CLASSIFIER = transformers.AutoModelForSequenceClassification
IMPLICIT = {
    "method": "implicit_euler",
    "step_size": 0.5,
    "solver": {"name": "Anderson", "rtol": 1e-10, "max_iterations": 200},
}


@pytest.mark.parametrize("family", CONFIGS)
def test_the_readout_of_a_trajectory_is_what_the_classifier_says(family, tokenizer, tmp_path):
    made = tiny(CONFIGS[family](), auto=CLASSIFIER)
    model, _ = od.load_encoder(saved(made, tokenizer, tmp_path), head=True)
    batch = padded(model)
    trajectory = od.trace(model, batch)
    expected = model(**batch).logits
    torch.testing.assert_close(
        od.readout(model, batch, trajectory), expected, rtol=1e-12, atol=1e-13
    )
    # Of another state it says something else, and the model is as it was.
    moved = od.readout(model, batch, trajectory, 2 * trajectory.states[1])
    assert not torch.allclose(moved, expected)
    torch.testing.assert_close(model(**batch).logits, expected, rtol=0, atol=0)


def test_declared_steps_are_those_of_the_fine_tuned_model(tokenizer, tmp_path):
    config = imbert.ImBertConfig(**CONFIGS["bert"]().to_dict(), **IMPLICIT)
    made = tiny(config, auto=CLASSIFIER)
    model, _ = od.load_encoder(saved(made, tokenizer, tmp_path), head=True)
    assert type(model) is transformers.BertForSequenceClassification
    batch = padded(model)
    logits = od.readout(model, batch, od.trace(model, batch))
    torch.testing.assert_close(logits, made(**batch).logits, rtol=1e-8, atol=1e-9)
    assert not torch.allclose(logits, model(**batch).logits, atol=1e-3)


def test_a_checkpoint_without_a_head_stays_an_encoder(bert, tokenizer, tmp_path):
    model, _ = od.load_encoder(saved(bert, tokenizer, tmp_path), head=True)
    assert type(model) is transformers.BertModel
    batch = padded(model)
    with pytest.raises(ValueError, match=r"classifier must return logits .* got BertModel"):
        od.readout(model, batch, od.trace(model, batch))


@pytest.mark.parametrize("lost", ["classifier.weight", "bert.pooler.dense.weight"])
def test_a_head_that_lacks_a_weight_is_refused(lost, tokenizer, tmp_path):
    saved(tiny(CONFIGS["bert"](), auto=CLASSIFIER), tokenizer, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights[lost]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"(misshapen|of its head): {re.escape(lost)}"):
        od.load_encoder(tmp_path, head=True)


def test_halves_of_layers_have_no_readout(bert):
    batch = padded(bert)
    with pytest.raises(ValueError, match="trajectory must be of whole layers of a model"):
        od.readout(bert, batch, od.trace(bert, batch, sublayers=True))
