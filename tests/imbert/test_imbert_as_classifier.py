"""The library's own loader of classifiers takes the steps that an IM-BERT declares."""

from pathlib import Path

import pytest
import torch
from tiny import save_tiny, tiny_config

import odestab as od
from imbert import ImBertConfig, ImBertForSequenceClassification

SOLVER = {"name": "Anderson", "rtol": 1e-6, "max_iterations": 200}
CHOICES = (
    {"implicit_layers": [1, 2], "step_size": 0.5},
    {"implicit_layers": [0], "field": "outer", "substeps": 2, "step_size": 0.5},
    {"implicit_layers": [2], "learn_step_size": True, "step_size": 0.25},
    {"implicit_layers": []},
)


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_it_answers_and_is_conditioned_as_the_model_itself(tmp_path: Path, choice: dict) -> None:
    save_tiny(tmp_path)  # for its tokenizer
    options = {**tiny_config().to_dict(), **choice}
    options.pop("model_type")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ImBertForSequenceClassification(ImBertConfig(**options, solver=SOLVER))
    model.eval().requires_grad_(False).save_pretrained(tmp_path)
    found, tokenizer = od.load_classifier(tmp_path)
    texts = ["the film is very good", "a dull story"]
    batch = dict(tokenizer(texts, padding=True, return_tensors="pt"))
    own, others = od.conditioning(found, batch), od.conditioning(model, batch)
    torch.testing.assert_close(own.margin, others.margin, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(own.gradient, others.gradient, rtol=1e-3, atol=1e-4)
    states = found(**batch, output_hidden_states=True).hidden_states
    expected = model(**batch, output_hidden_states=True).hidden_states
    for state, other in zip(states, expected, strict=True):
        real = batch["attention_mask"].bool()
        torch.testing.assert_close(state[real], other[real], rtol=1e-3, atol=1e-3)
