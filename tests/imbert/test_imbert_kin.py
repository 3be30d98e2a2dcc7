"""RoBERTa, ELECTRA, MPNet and DistilBERT with steps: the same promises as IM-BERT's."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers.utils import logging as bars

import imbert
import odestab as od

SHAPE: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
    "initializer_range": 0.2,
}
FAMILIES: dict[str, tuple[Any, dict[str, Any]]] = {
    "roberta": (imbert.ImRobertaForSequenceClassification, SHAPE),
    "electra": (imbert.ImElectraForSequenceClassification, {**SHAPE, "embedding_size": 8}),
    "mpnet": (imbert.ImMPNetForSequenceClassification, SHAPE),
    "distilbert": (
        imbert.ImDistilBertForSequenceClassification,
        {
            "vocab_size": 40,
            "dim": 16,
            "n_layers": 3,
            "n_heads": 2,
            "hidden_dim": 32,
            "max_position_embeddings": 32,
            "initializer_range": 0.2,
        },
    ),
}


@pytest.fixture(params=FAMILIES)
def family(request: Any, tmp_path: Path) -> Any:
    """The plain model in evaluation mode, the class with steps, and a folder with its weights."""
    stepping, shape = FAMILIES[request.param]
    bars.set_verbosity_error()
    bars.disable_progress_bar()
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(request.param, **shape)
    plain = transformers.AutoModelForSequenceClassification.from_config(config).eval()
    plain.save_pretrained(tmp_path / "plain")
    yield plain, stepping, tmp_path / "plain"
    bars.set_verbosity_warning()
    bars.enable_progress_bar()


@pytest.fixture
def batch(generator: torch.Generator) -> dict[str, Tensor]:
    ids = torch.randint(5, 40, (3, 7), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    return {
        "input_ids": ids.masked_fill(mask == 0, 1),
        "attention_mask": mask,
        "labels": torch.tensor([0, 1, 1]),
    }


@pytest.mark.parametrize("training", [False, True])
def test_an_explicit_step_of_the_increment_is_the_plain_model(
    family: Any, batch: Any, training: bool
) -> None:
    plain, stepping, folder = family
    model = stepping.from_pretrained(folder, method="explicit_euler")
    assert model.state_dict().keys() == plain.state_dict().keys()
    found = []
    for one in (plain, model):
        torch.manual_seed(1)
        found.append(one.train(training)(**batch).logits)
    assert torch.equal(*found)


def test_implicit_steps_survive_a_file_and_odestab_follows_them(
    family: Any, batch: Any, tmp_path: Path
) -> None:
    plain, stepping, folder = family
    options = {
        "solver": {"name": "Anderson", "rtol": 1e-12},
        "adjoint": {"name": "ImplicitAdjoint", "rtol": 1e-12},
    }
    model = stepping.from_pretrained(
        folder, implicit_layers=[1, 2], step_size=0.5, dtype=torch.float64, **options
    ).eval()
    model.save_pretrained(tmp_path / "saved")
    again = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "saved", dtype=torch.float64
    ).eval()
    assert type(again) is stepping
    with torch.no_grad():
        expected = model(**batch, output_hidden_states=True)
        assert torch.equal(again(**batch).logits, expected.logits)
    words = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 4, "[UNK]": 5}
    transformers.BertTokenizer(vocab=words).save_pretrained(tmp_path / "saved")
    encoder, _ = od.load_encoder(tmp_path / "saved")
    trajectory = od.trace(encoder, batch)
    assert encoder.config.model_type == plain.config.model_type and trajectory.methods is not None
    for found, state in zip(trajectory.states, expected.hidden_states, strict=True):
        assert torch.allclose(found, trajectory.fields[0].project(state), rtol=0, atol=1e-10)


def test_the_gradient_is_that_of_the_unrolled_iteration(family: Any, batch: Any) -> None:
    _, stepping, folder = family
    options = {
        "solver": {"name": "Anderson", "rtol": 1e-13},
        "adjoint": {"name": "ImplicitAdjoint", "rtol": 1e-12},
    }
    model = stepping.from_pretrained(
        folder, implicit_layers=[2], step_size=0.5, dtype=torch.float64, **options
    ).train()
    found = []
    for adjoint in (od.ImplicitAdjoint(1e-12), od.UnrolledAdjoint()):
        with imbert.stepping(model, adjoint=adjoint):
            torch.manual_seed(1)
            found.append(
                torch.autograd.grad(
                    model(**batch).loss,
                    # what stands before the step too: MPNet's layers share a bias of positions
                    [*model.base_model.parameters()],
                    allow_unused=True,
                )
            )
    used = [pair for pair in zip(*found, strict=True) if pair[1] is not None]
    assert len(used) > 20
    assert all(torch.allclose(a, b, rtol=1e-8, atol=1e-10) for a, b in used)


def test_a_checkpoint_of_bert_is_refused(tiny_folder: Path) -> None:
    with pytest.raises(ValueError, match="model_type 'roberta' or 'imroberta', got 'bert'"):
        imbert.ImRobertaModel.from_pretrained(tiny_folder)
