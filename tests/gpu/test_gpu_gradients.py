"""Gradients across a solve on the device, under autocast too, and a training of a few steps."""

import pytest
import torch
from layers import SHAPE, both, copied
from torch import Tensor

import odestab as od
from imbert import ImBertConfig, ImBertForSequenceClassification

ADJOINTS = {"implicit": od.ImplicitAdjoint(rtol=1e-8), "unrolled": od.UnrolledAdjoint()}


def gradient(
    field: od.AbstractVectorField, x: Tensor, adjoint: od.AbstractAdjoint, rtol: float
) -> Tensor:
    """Of ⟨w, y⟩ with respect to x, w fixed."""
    x = x.clone().requires_grad_()
    y = od.ImplicitEuler(0.5, od.Anderson(rtol=rtol), adjoint).step(field, x).state
    w = torch.cos(torch.arange(y.numel(), dtype=torch.float64)).view_as(y).to(y)
    return torch.autograd.grad((w * y).sum(), x)[0]


@pytest.mark.parametrize("name", ADJOINTS)
@pytest.mark.parametrize(
    ("dtype", "rtol"), [(torch.float64, 1e-7), (torch.float32, 2e-3)], ids=["float64", "float32"]
)
def test_the_gradient_is_that_of_the_processor(
    device: str, name: str, dtype: torch.dtype, rtol: float
) -> None:
    (field, x), (exact_field, exact_x) = both(device, dtype)
    exact = gradient(exact_field, exact_x, od.ImplicitAdjoint(rtol=1e-11), 1e-12)
    found = gradient(field, x, ADJOINTS[name], rtol / 100)
    assert found.device == x.device
    torch.testing.assert_close(
        found.cpu().double(), exact, rtol=0, atol=rtol * float(exact.abs().max()) * 10
    )


def classifier(**steps: object) -> ImBertForSequenceClassification:
    torch.manual_seed(0)
    chosen = {
        "implicit_layers": [1],
        "solver": {"name": "Auto", "rtol": 1e-2},
        "adjoint": {"name": "ImplicitAdjoint", "rtol": 1e-1},
    }
    return ImBertForSequenceClassification(ImBertConfig(**SHAPE, **{**chosen, **steps}))


def batch(device: str) -> dict[str, Tensor]:
    ids = torch.randint(10, 500, (8, 12), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[::2, 9:] = 0
    labels = (ids[:, 0] > 250).long()
    return {
        name: value.to(device)
        for name, value in {"input_ids": ids, "attention_mask": mask, "labels": labels}.items()
    }


def test_a_loss_and_its_gradients_are_those_of_the_processor(device: str) -> None:
    tight = {
        "solver": {"name": "Anderson", "rtol": 1e-5},
        "adjoint": {"name": "ImplicitAdjoint", "rtol": 1e-5},
    }
    here = classifier(**tight).eval()
    there = copied(here, device)
    losses = [model(**batch(place)).loss for model, place in ((here, "cpu"), (there, device))]
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(losses[1].cpu(), losses[0], rtol=1e-4, atol=1e-4)
    for (name, one), other in zip(here.named_parameters(), there.parameters(), strict=True):
        if one.grad is not None:
            scale = float(one.grad.abs().max())
            torch.testing.assert_close(
                other.grad.cpu(),
                one.grad,
                rtol=0,
                atol=2e-3 * scale + 1e-6,
                msg=lambda text, name=name: f"{name}: {text}",
            )


@pytest.mark.parametrize(
    "precision", [torch.float32, torch.bfloat16], ids=["float32", "bf16 autocast"]
)
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_twenty_training_steps_learn_the_batch(
    device: str, precision: torch.dtype, compiled: bool
) -> None:
    model = classifier().to(device).train()
    if compiled:
        for layer in model.bert.encoder.layer[1:]:
            layer.compile_layer(**({} if device == "cuda" else {"backend": "eager"}))
    optimizer, data = torch.optim.AdamW(model.parameters(), lr=2e-3), batch(device)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        with torch.autocast(device, precision, enabled=precision != torch.float32):
            loss = model(**data).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    (statistics,) = model.solver_statistics()
    assert (
        statistics["statuses"].get("CONVERGED", 0) + statistics["statuses"].get("STALLED", 0) == 8
    )
