"""R3F: strength 0 is plain training to the bit, and the penalty is the symmetric divergence."""

from pathlib import Path

import numpy as np
import pytest
import torch
from regularized import batch_of, exact_model, gradients, penalised, regularization
from regularized import require_gradient as require
from tiny_models import plain
from torch.nn import functional

from imbert.training.regularizers.r3f import symmetric_divergence


@pytest.mark.parametrize("kind", ["bert", "im-bert"])
def test_strength_0_is_plain_training(kind: str, tiny_folder: Path, quiet: None) -> None:
    model = exact_model(tiny_folder, kind)
    working = regularization(tiny_folder, "r3f", strength=0.0)
    loss = penalised(working, model)
    found = gradients(model, loss)
    state = torch.get_rng_state()
    model.zero_grad()
    torch.manual_seed(1)
    plain_loss = model(**batch_of(working.rows, list(range(4)))).loss
    expected = gradients(model, plain_loss)
    assert torch.equal(loss, plain_loss) and torch.equal(state, torch.get_rng_state())
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize("kind", ["bert", "im-bert"])
def test_the_gradient_is_that_of_differences(kind: str, tiny_folder: Path, quiet: None) -> None:
    """Of all weights but the table of word embeddings, into which the noisy pass sends none."""
    model = exact_model(tiny_folder, kind)
    model.get_input_embeddings().requires_grad_(False)
    learnt = torch.nn.ParameterList([p for p in model.parameters() if p.requires_grad])
    working = regularization(tiny_folder, "r3f", scale=0.1, noise="normal")
    require(learnt, lambda: penalised(working, model))


def test_the_noisy_pass_sends_no_gradient_into_the_word_embeddings(
    tiny_folder: Path, quiet: None
) -> None:
    """Written out once more without dropout, the noisy embeddings cut from their table or not."""
    model = plain(tiny_folder).double().eval()
    working = regularization(tiny_folder, "r3f", scale=0.3, noise="normal")
    found = gradients(model, penalised(working, model))
    batch = batch_of(working.rows, list(range(4)))
    rest = {name: value for name, value in batch.items() if name not in ("input_ids", "labels")}
    table = model.get_input_embeddings()
    noise = torch.zeros_like(table(batch["input_ids"]))
    for row, mask in enumerate(batch["attention_mask"].bool()):
        drawn = np.random.default_rng((5, 3, row)).normal(0.0, 0.3, noise[row, mask].shape)
        noise[row, mask] = torch.from_numpy(drawn)
    expected = []
    for cut in (True, False):
        model.zero_grad()
        embeddings = table(batch["input_ids"])
        embeddings = (embeddings.detach() if cut else embeddings) + noise.detach()
        noised = model(inputs_embeds=embeddings, **rest).logits
        output = model(**batch)
        divergence = symmetric_divergence(output.logits, noised).mean()
        expected.append(gradients(model, output.loss + divergence))
    name = "bert.embeddings.word_embeddings.weight"
    torch.testing.assert_close(found, expected[0], rtol=1e-9, atol=1e-12)
    assert (found[name] - expected[1][name]).abs().max() > 1e-3


def test_without_noise_and_dropout_there_is_no_divergence(tiny_folder: Path, quiet: None) -> None:
    working = regularization(tiny_folder, "r3f", scale=0.0)
    penalised(working, plain(tiny_folder).double().eval())
    assert working.summary().value == pytest.approx(0.0, abs=1e-24)


def test_the_divergence_is_that_of_torch() -> None:
    torch.manual_seed(0)
    z, w = torch.randn(5, 3).double(), torch.randn(5, 3).double()
    p, q = z.log_softmax(1), w.log_softmax(1)
    both = sum(
        functional.kl_div(a, b, reduction="none", log_target=True).sum(1)
        for a, b in ((p, q), (q, p))
    )
    torch.testing.assert_close(symmetric_divergence(z, w), both)


@pytest.mark.parametrize("noise", ["uniform", "normal"])
def test_the_noise_is_of_its_kind(noise: str, tiny_folder: Path) -> None:
    working = regularization(tiny_folder, "r3f", noise=noise, scale=2.0)
    drawn = working.regularizer._drawn(np.random.default_rng(0), (200, 50))
    # of 10,000 draws the deviation is known to one part in a hundred
    expected = 2.0 if noise == "normal" else 2.0 / np.sqrt(3)
    assert drawn.std() == pytest.approx(expected, rel=0.03)
    assert noise == "normal" or np.abs(drawn).max() <= 2.0
