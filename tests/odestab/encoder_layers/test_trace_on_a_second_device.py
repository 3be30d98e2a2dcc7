"""An encoder loaded onto a second device is traced there: what comes out is what a CPU finds."""

import pathlib

import pytest
import torch
import transformers
from encoders import CONFIGS, padded, saved, tiny
from second_device import DEVICE, PretendTensor, SecondDevice

import odestab as od


def traced(folder: pathlib.Path, device: torch.device) -> tuple[od.Trajectory, od.Spectrum]:
    encoder, _ = od.load_encoder(folder, torch.float64, device)
    trajectory = od.trace(encoder, padded(encoder))
    assert od.position_limit(encoder) is not None
    assert od.takes_padding(encoder)
    return trajectory, od.eigenvalues(od.Jacobian(trajectory.fields[1], trajectory.states[1]), 3)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_a_loaded_encoder_is_traced_on_its_device(
    family: str, tokenizer, tmp_path: pathlib.Path
) -> None:
    folder = saved(tiny(CONFIGS[family]()), tokenizer, tmp_path)
    trajectory, spectrum = traced(folder, torch.device("cpu"))
    with SecondDevice():
        there, of_there = traced(folder, DEVICE)
        assert isinstance(there.mask, PretendTensor) and isinstance(of_there.values, PretendTensor)
        for state, expected in zip(there.states, trajectory.states, strict=True):
            torch.testing.assert_close(state.cpu(), expected, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(
            of_there.values.cpu().abs(), spectrum.values.abs(), rtol=1e-8, atol=1e-10
        )


def test_a_loaded_classifier_is_read_out_on_its_device(tokenizer, tmp_path: pathlib.Path) -> None:
    made = tiny(CONFIGS["bert"](), auto=transformers.AutoModelForSequenceClassification)
    folder = saved(made, tokenizer, tmp_path)

    def logits(device: torch.device) -> torch.Tensor:
        classifier, _ = od.load_classifier(folder, torch.float64, device)
        batch = padded(classifier)
        return od.readout(classifier, batch, od.trace(classifier, batch))

    expected = logits(torch.device("cpu"))
    with SecondDevice():
        there = logits(DEVICE)
        assert isinstance(there, PretendTensor)
        torch.testing.assert_close(there.cpu(), expected, rtol=1e-10, atol=1e-12)
