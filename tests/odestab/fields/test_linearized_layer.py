"""The analytic linearisation of layers and their halves against automatic differentiation, on the
embedded default model.
"""

import copy
import dataclasses
import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.func import jvp, vjp

import odestab as od
from odestab.fields.linearized_layer import analytic_linearization

TEXTS = ["Hello there", "The ferry leaves at noon."]


def traced(encoder: tuple[Any, Any], sublayers: bool) -> od.Trajectory:
    model, tokenizer = encoder
    return od.trace(model, tokenizer(TEXTS, padding=True, return_tensors="pt"), sublayers=sublayers)


@pytest.fixture(scope="module", params=[torch.float64, torch.float32], ids=str)
def encoder(minilm_folder: Path, request: pytest.FixtureRequest) -> tuple[Any, Any]:
    return od.load_encoder(minilm_folder, dtype=request.param)


@pytest.fixture(scope="module", params=[False, True], ids=["layers", "halves"])
def trajectory(encoder: tuple[Any, Any], request: pytest.FixtureRequest) -> od.Trajectory:
    return traced(encoder, request.param)


@pytest.mark.parametrize("layer", [0, 5])
def test_both_products_are_those_of_automatic_differentiation(
    trajectory: od.Trajectory, layer: int, generator: torch.Generator
) -> None:
    field, x = trajectory.fields[layer], trajectory.states[layer]
    fast, pullback = field.linearize(x), vjp(field.unsplit, x)[1]
    assert fast.path == "analytic"
    tangents = field.project(torch.randn(3, *x.shape, generator=generator, dtype=x.dtype))
    kept = tangents.clone()
    reference = {
        "mv": torch.stack([jvp(field.unsplit, (x,), (v,))[1] for v in tangents]),
        "rmv": torch.stack([pullback(u)[0] for u in tangents]),
    }
    for product, expected in reference.items():
        found = field.project(getattr(fast, product)(tangents))
        assert (found - expected).abs().max() < 1e3 * torch.finfo(
            x.dtype
        ).eps * expected.abs().max()
        one = field.project(getattr(fast, product)(tangents[1]))
        assert (found[1] - one).abs().max() < 1e2 * torch.finfo(x.dtype).eps * one.abs().max()
        again = field.project(getattr(fast, product)(tangents))
        assert torch.equal(tangents, kept) and torch.equal(
            again, found
        )  # no product overwrites what it does not own


@pytest.mark.parametrize("layer", [2, 3])
def test_the_transpose_is_the_adjoint(trajectory: od.Trajectory, layer: int) -> None:
    jacobian = od.Jacobian(trajectory.fields[layer], trajectory.states[layer])
    assert jacobian.linearization.path == "analytic"
    assert od.check_adjoint(jacobian).max() < 1e2 * torch.finfo(jacobian.x.dtype).eps


@pytest.mark.parametrize("layer", [2, 3])
def test_a_record_that_does_not_reproduce_its_function_is_not_used(
    trajectory: od.Trajectory, layer: int
) -> None:
    field, x = trajectory.fields[layer], trajectory.states[layer]
    other = trajectory.fields[layer + 2].analytic.weights
    mismatched = functools.partial(analytic_linearization, other, field.layer, trajectory.mask)
    assert isinstance(field, od.LayerVectorField)
    assert dataclasses.replace(field, analytic=mismatched).linearize(x).path == "torch.func"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("sublayers", [False, True], ids=["layers", "halves"])
def test_products_in_half_precision_are_those_of_float64(
    minilm_folder: Path, dtype: torch.dtype, sublayers: bool, generator: torch.Generator
) -> None:
    """On the same weights and state, so that only the arithmetic differs: it rounds about ten
    times, ε/2 each and unrelated.
    """
    half, tokenizer = od.load_encoder(minilm_folder, dtype=dtype)
    exact = copy.deepcopy(half).double()
    rounded, reference = (traced((model, tokenizer), sublayers) for model in (half, exact))
    for layer in (0, 1):
        x = rounded.states[layer]
        low, high = (
            od.Jacobian(rounded.fields[layer], x),
            od.Jacobian(reference.fields[layer], x.double()),
        )
        assert low.linearization.path == high.linearization.path == "analytic"
        v = low.project(
            torch.randn(2, *x.shape, generator=generator, dtype=torch.float64).to(dtype)
        )
        for product in ("mv", "rmv"):
            found, expected = getattr(low, product)(v), getattr(high, product)(v.double())
            assert found.dtype == dtype
            assert (
                (found - expected).flatten(2).norm(dim=2) / expected.flatten(2).norm(dim=2)
            ).max() < 4 * torch.finfo(dtype).eps


def test_a_record_of_another_layer_is_not_used_in_bfloat16_either(minilm_folder: Path) -> None:
    trajectory = traced(od.load_encoder(minilm_folder, dtype=torch.bfloat16), False)
    field, other = trajectory.fields[2], trajectory.fields[3]
    weights = other.analytic.weights
    assert (
        analytic_linearization(weights, field.layer, trajectory.mask, trajectory.states[2]) is None
    )


def test_a_cast_linearization_is_that_of_the_cast_record(
    trajectory: od.Trajectory, generator: torch.Generator
) -> None:
    linearization, x = trajectory.fields[2].linearize(trajectory.states[2]), trajectory.states[2]
    assert linearization.cast is not None
    other = {torch.float64: torch.float32, torch.float32: torch.float64}[x.dtype]
    cast, v = (
        linearization.cast(other),
        torch.randn(x.shape, generator=generator, dtype=torch.float64),
    )
    for product in ("mv", "rmv"):
        found, expected = (
            getattr(cast, product)(v.to(other)),
            getattr(linearization, product)(v.to(x.dtype)),
        )
        assert found.dtype == other
        assert (found - expected).abs().max() < 1e2 * torch.finfo(
            torch.float32
        ).eps * expected.abs().max()


def test_products_carry_no_gradient_and_are_the_same_under_inference_mode(
    trajectory: od.Trajectory, generator: torch.Generator
) -> None:
    field, x = trajectory.fields[2], trajectory.states[2]
    v = torch.randn(2, *x.shape, generator=generator, dtype=x.dtype)
    learnt = field.linearize(x.clone().requires_grad_())
    with torch.inference_mode():
        inferred = field.linearize(x.clone())
    assert learnt.path == inferred.path == "analytic"
    for product in ("mv", "rmv"):
        expected = getattr(field.linearize(x), product)(v)
        with torch.inference_mode():
            inside = getattr(inferred, product)(v)
        outside = [
            getattr(learnt, product)(v.clone().requires_grad_()),
            getattr(inferred, product)(v),
        ]
        assert all(
            torch.equal(found, expected) and not found.requires_grad for found in (inside, *outside)
        )


def test_a_choice_of_examples_is_cut_from_what_is_kept(
    trajectory: od.Trajectory, generator: torch.Generator
) -> None:
    linearization, x = trajectory.fields[2].linearize(trajectory.states[2]), trajectory.states[2]
    assert linearization.take is not None
    chosen = torch.tensor([len(x) - 1, 0])
    cut, v = (
        linearization.take(chosen),
        torch.randn(3, *x.shape, generator=generator, dtype=x.dtype),
    )
    for product in ("mv", "rmv"):
        found, expected = (
            getattr(cut, product)(v[:, chosen]),
            getattr(linearization, product)(v)[:, chosen],
        )
        assert (found - expected).abs().max() < 1e2 * torch.finfo(
            x.dtype
        ).eps * expected.abs().max()
