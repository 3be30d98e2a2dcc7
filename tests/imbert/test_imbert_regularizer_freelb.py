"""FreeLB: radius 0 is plain training, the ball holds, and gradients are those of all its steps."""

from pathlib import Path

import numpy as np
import pytest
import torch
from regularized import batch_of, exact_model, gradients, penalised, regularization
from torch import Tensor

from imbert.training.regularizers.freelb import FreeLB


@pytest.mark.parametrize("kind", ["bert", "im-bert"])
def test_radius_0_is_plain_training(kind: str, tiny_folder: Path, quiet: None) -> None:
    """The mean of equal losses of equal dropout, up to rounding and the adjoint's tolerance."""
    model = exact_model(tiny_folder, kind)
    working = regularization(tiny_folder, "freelb", radius=0.0)
    loss = penalised(working, model)
    found = gradients(model, loss)
    state = torch.get_rng_state()
    model.zero_grad()
    torch.manual_seed(1)
    plain_loss = model(**batch_of(working.rows, list(range(4)))).loss
    expected = gradients(model, plain_loss)
    torch.testing.assert_close(loss, plain_loss, rtol=1e-10, atol=0)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)
    assert torch.equal(state, torch.get_rng_state()) and working.summary().value == 0.0


def test_the_steps_are_those_of_the_algorithm(tiny_folder: Path, quiet: None) -> None:
    """Written out once more, with one graph for all steps."""
    model = exact_model(tiny_folder, "bert")
    working = regularization(tiny_folder, "freelb", step_size=0.2, radius=0.25)
    loss = penalised(working, model)
    found = gradients(model, loss)
    model.zero_grad()
    batch = batch_of(working.rows, list(range(4)))
    ids = batch.pop("input_ids")
    mask = batch["attention_mask"].bool()
    hidden = model.get_input_embeddings().weight.shape[1]
    delta = torch.zeros(*ids.shape, hidden).double()
    for row in range(4):
        draw = np.random.default_rng((5, 3, row))
        size = 0.25 / np.sqrt(int(mask[row].sum()) * hidden)
        drawn = draw.uniform(-size, size, (int(mask[row].sum()), hidden))
        delta[row, mask[row]] = torch.from_numpy(drawn)
    losses: list[Tensor] = []
    for _ in range(3):
        delta.requires_grad_()
        torch.manual_seed(1)
        losses.append(model(inputs_embeds=model.get_input_embeddings()(ids) + delta, **batch).loss)
        slope = torch.autograd.grad(losses[-1], delta, retain_graph=True)[0]
        for row in range(4):
            moved = delta[row].detach() + 0.2 * slope[row] / slope[row].norm()
            slope[row] = moved * min(1.0, 0.25 / float(moved.norm()))
        delta = slope
    mean = torch.stack(losses).mean()
    expected = gradients(model, mean)
    torch.testing.assert_close(loss, mean, rtol=1e-12, atol=0)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert working.summary().value == pytest.approx(float((losses[-1] - losses[0]).detach()))


def test_the_ball_holds_and_padding_is_never_perturbed(tiny_folder: Path, quiet: None) -> None:
    torch.manual_seed(0)
    gradient = torch.randn(3, 5, 4)
    regularizer = FreeLB(steps=3, step_size=1.0, radius=0.5)
    moved = regularizer._climbed(torch.zeros(3, 5, 4), gradient)
    torch.testing.assert_close(moved.flatten(1).norm(dim=1), torch.full((3,), 0.5))
    short = FreeLB(steps=3, step_size=0.1, radius=0.5)._climbed(torch.zeros(3, 5, 4), gradient)
    torch.testing.assert_close(short.flatten(1).norm(dim=1), torch.full((3,), 0.1))
    assert not regularizer._climbed(torch.zeros(3, 5, 4), torch.zeros(3, 5, 4)).any()


def test_one_step_has_no_ascent(tiny_folder: Path, quiet: None) -> None:
    working = regularization(tiny_folder, "freelb", steps=1)
    loss = penalised(working, exact_model(tiny_folder, "bert"), backward=_never)
    summary = working.summary()
    assert loss.requires_grad and summary.value == 0.0 and summary.forward_passes == 0


def _never(part: Tensor) -> None:
    raise AssertionError("accumulated a part of one step")
