"""A training step of IM-BERT on a second device is that on a CPU: no tensor is left behind, and
solves and adjoints wait for nothing.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from second_device import DEVICE, PretendTensor, SecondDevice
from tiny import tokenized

import imbert

pytestmark = pytest.mark.usefixtures("quiet")


def step(folder: Path, device: torch.device, **options: Any) -> dict[str, torch.Tensor]:
    """Gradients and weights after one step of AdamW, dropout off."""
    torch.manual_seed(0)
    model = (
        imbert.ImBertForSequenceClassification.from_pretrained(
            folder, num_labels=2, dtype=torch.float64, **options
        )
        .to(device)
        .eval()
    )
    batch = {name: value.to(device) for name, value in tokenized(folder, 3).items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, foreach=False)
    loss = model(**batch).loss
    loss.backward()
    optimizer.step()
    found = {
        "loss": loss.detach(),
        **{name: parameter.detach() for name, parameter in model.named_parameters()},
    }
    return {
        **found,
        **{f"gradient of {name}": parameter.grad for name, parameter in model.named_parameters()},
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {
            "solver": {"name": "Auto", "rtol": 1e-2},
            "adjoint": {"name": "ImplicitAdjoint", "rtol": 1e-2},
        },
        {"solver": {"name": "FixedPoint", "rtol": 1e-1}, "adjoint": {"name": "UnrolledAdjoint"}},
        {"method": "explicit_euler"},
    ],
    ids=["implicit", "unrolled", "explicit"],
)
def test_a_training_step_is_that_of_a_cpu(tiny_folder: Path, options: dict[str, Any]) -> None:
    here = step(tiny_folder, torch.device("cpu"), **options)
    with SecondDevice():
        there = step(tiny_folder, DEVICE, **options)
        for name, expected in here.items():
            assert isinstance(there[name], PretendTensor)
            torch.testing.assert_close(there[name].cpu(), expected, rtol=1e-6, atol=1e-8, msg=name)
