"""The analytic linearisation against automatic differentiation, on the embedded default model."""

import dataclasses
from pathlib import Path

import pytest
import torch

import odestab as od
from odestab.vector_field import linearize


@pytest.fixture(scope="module", params=[torch.float64, torch.float32], ids=str)
def trajectory(minilm_folder: Path, request: pytest.FixtureRequest) -> od.Trajectory:
    model, tokenizer = od.load_encoder(minilm_folder, dtype=request.param)
    return od.trace(model, tokenizer(["Hello there", "The ferry leaves at noon."], padding=True, return_tensors="pt"))


@pytest.mark.parametrize("layer", [0, 5])
def test_both_products_are_those_of_automatic_differentiation(trajectory: od.Trajectory, layer: int, generator: torch.Generator) -> None:
    field, x = trajectory.fields[layer], trajectory.states[layer]
    fast, reference = field.linearize(x), linearize(field.unsplit, x)
    assert (fast.path, reference.path) == ("analytic", "torch.func")
    tangents = field.project(torch.randn(3, *x.shape, generator=generator, dtype=x.dtype))
    for product in ("mv", "rmv"):
        found, expected = (field.project(getattr(path, product)(tangents)) for path in (fast, reference))
        assert (found - expected).abs().max() < 1e3 * torch.finfo(x.dtype).eps * expected.abs().max()
        one = field.project(getattr(fast, product)(tangents[1]))
        assert (found[1] - one).abs().max() < 1e2 * torch.finfo(x.dtype).eps * one.abs().max()


def test_the_transpose_is_the_adjoint(trajectory: od.Trajectory) -> None:
    jacobian = od.Jacobian(trajectory.fields[2], trajectory.states[2])
    assert jacobian.linearization.path == "analytic"
    assert od.check_adjoint(jacobian).max() < 1e2 * torch.finfo(jacobian.x.dtype).eps


def test_a_record_that_does_not_reproduce_its_layer_is_not_used(trajectory: od.Trajectory) -> None:
    field, x = trajectory.fields[2], trajectory.states[2]
    assert isinstance(field, od.LayerVectorField)
    mismatched = dataclasses.replace(field, analytic=lambda state: _of_another_layer(trajectory, state))
    assert mismatched.linearize(x).path == "torch.func"


def _of_another_layer(trajectory: od.Trajectory, x: torch.Tensor) -> od.Linearization | None:
    """The weights of layer 3 offered for layer 2."""
    from odestab.linearized_layer import analytic_linearization

    weights = trajectory.fields[3].analytic.args[0]  # type: ignore[attr-defined]
    return analytic_linearization(weights, trajectory.fields[2].layer, trajectory.mask, x)  # type: ignore[attr-defined]
