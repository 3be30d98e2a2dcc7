"""Classifiers: loaded with their head, whole, or refused."""

import dataclasses
import re

import pytest
import torch
import transformers
from encoders import CONFIGS, saved, tiny

import imbert
import odestab as od
from odestab.encoder_layers import load_classifier

CLASSIFIER = transformers.AutoModelForSequenceClassification


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


def declaring(tokenizer, folder, **steps):
    """A tiny classifier whose layers take implicit steps of ½, as a checkpoint."""
    chosen = {"method": "implicit_euler", "step_size": 0.5, **steps}
    made = tiny(imbert.ImBertConfig(**CONFIGS["bert"]().to_dict(), **chosen), auto=CLASSIFIER)
    return made, saved(made, tokenizer, folder)


def test_a_trace_takes_declared_steps_once_whoever_loaded_them(tokenizer, tmp_path):
    made, folder = declaring(tokenizer, tmp_path)
    classifier, loaded = load_classifier(folder, torch.float64)
    encoder, _ = od.load_encoder(folder, head=True)
    for texts in (["word"], ["the small words", "word"]):
        batch = loaded(texts, padding=True, return_tensors="pt")
        before = classifier(**batch).logits
        torch.testing.assert_close(before, made.double()(**batch).logits, rtol=1e-8, atol=1e-9)
        traced, expected = od.trace(classifier, batch), od.trace(encoder, batch)
        torch.testing.assert_close(traced.states, expected.states, rtol=0, atol=0)
        assert traced.methods is not None
        logits = od.readout(classifier, batch, traced)
        torch.testing.assert_close(logits, before, rtol=1e-8, atol=1e-9)
        torch.testing.assert_close(classifier(**batch).logits, before, rtol=0, atol=0)


def test_a_forward_that_fails_leaves_the_layers_plain(tokenizer, tmp_path):
    _, folder = declaring(tokenizer, tmp_path)
    classifier, loaded = load_classifier(folder, torch.float64)
    batch = loaded(["word"], return_tensors="pt")
    expected = od.trace(classifier, batch).states
    with pytest.raises(RuntimeError, match="size"):
        classifier(**batch, position_ids=torch.zeros(1, 9, dtype=torch.long))
    torch.testing.assert_close(od.trace(classifier, batch).states, expected, rtol=0, atol=0)


def test_steps_that_were_not_solved_are_marked_by_example(tokenizer, tmp_path, monkeypatch):
    _, folder = declaring(tokenizer, tmp_path)
    classifier, loaded = load_classifier(folder, torch.float64)
    assert classifier.solved is None
    batch = loaded(["the small words", "word"], padding=True, return_tensors="pt")
    classifier(**batch)
    assert classifier.solved.tolist() == [True, True]
    step = od.ImplicitEuler.step
    failed = torch.tensor([False, True])

    def half_solved(method, field, x, guess=None):
        made = step(method, field, x, guess)
        solution = dataclasses.replace(
            made.solution, status=torch.where(failed, int(od.Status.MAX_ITERATIONS), 0)
        )
        return dataclasses.replace(made, solution=solution)

    monkeypatch.setattr(od.ImplicitEuler, "step", half_solved)
    classifier(**batch)
    assert classifier.solved.tolist() == [True, False]
