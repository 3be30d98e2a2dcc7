"""The two halves of a layer as fields of their own: F = F_F ∘ F_A and ∂F = ∂F_F ∂F_A."""

import copy
import dataclasses

import pytest
import torch
import transformers
from encoders import CONFIGS, LENGTHS, largest, padded, tiny
from torch import nn
from torch.func import jvp, vjp

from odestab.encoder_layers import trace
from odestab.fields.trajectory import Trajectory
from odestab.operators.jacobian import Jacobian
from odestab.operators.linear_operator import affine, check_adjoint, compose

KIN = ("bert", "roberta", "electra", "xlm-roberta")
SIDES = pytest.mark.parametrize("side", ["right", "left"])


@pytest.fixture(
    scope="module",
    params=[(kin, torch.float64) for kin in KIN] + [("bert", torch.float32)],
    ids=lambda p: f"{p[0]}-{p[1]}",
)
def encoder(request: pytest.FixtureRequest) -> nn.Module:
    family, dtype = request.param
    return tiny(CONFIGS[family]()).to(dtype)


def eps(trajectory: Trajectory) -> float:
    return torch.finfo(trajectory.states[0].dtype).eps


@SIDES
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_layer_is_the_composition_of_its_halves(encoder, side, attention):
    changed, batch = copy.deepcopy(encoder), padded(encoder, side)
    changed.set_attn_implementation(attention)
    whole, halves = trace(changed, batch), trace(changed, batch, sublayers=True)
    assert halves.depth == 2 * whole.depth
    assert halves.tokens == list(LENGTHS)
    for l, x in enumerate(whole.states):
        assert torch.equal(halves.states[2 * l], x)
    for l, field in enumerate(whole.fields):
        attend, feed = halves.fields[2 * l : 2 * l + 2]
        z = attend.unsplit(whole.states[l])
        assert largest(z - halves.states[2 * l + 1]) <= 100 * eps(whole) * largest(z)
        value = field.unsplit(whole.states[l])
        assert largest(feed.unsplit(z) - value) <= 100 * eps(whole) * largest(value)


@SIDES
def test_the_derivative_is_the_product_of_those_of_the_halves(encoder, side, generator):
    batch = padded(encoder, side)
    whole, halves = trace(encoder, batch), trace(encoder, batch, sublayers=True)
    for l, field in enumerate(whole.fields):
        parts = [Jacobian(halves.fields[i], halves.states[i]) for i in (2 * l, 2 * l + 1)]
        assert [part.linearization.path for part in parts] == ["analytic", "analytic"]
        layer = affine(Jacobian(field, whole.states[l]), 1.0, 1.0)  # ∂F = I + J, for increments
        product = compose([affine(part, 1.0, 1.0) for part in parts])
        v = torch.randn((2, *layer.like.shape), generator=generator, dtype=torch.float64).to(
            layer.like.dtype
        )
        for name in ("mv", "rmv"):
            expected = getattr(layer, name)(v)
            assert largest(getattr(product, name)(v) - expected) <= 1e3 * eps(whole) * largest(
                expected
            )


@SIDES
def test_each_half_is_linearised_as_automatic_differentiation_does(encoder, side, generator):
    halves = trace(encoder, padded(encoder, side), sublayers=True)
    for field, x in list(zip(halves.fields, halves.states, strict=False))[:2]:
        jacobian = Jacobian(field, x)
        v = jacobian.project(
            torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.dtype)
        )
        expected = jvp(field, (x,), (v,))[1], vjp(field, x)[1](v)[0]
        for found, reference in zip((jacobian.mv(v), jacobian.rmv(v)), expected, strict=True):
            assert largest(found - reference) <= 1e3 * eps(halves) * largest(reference)
        assert check_adjoint(jacobian).max() <= 1e3 * eps(halves)


@pytest.mark.parametrize("kind", ["increment", "outer"])
@SIDES
def test_the_halves_of_a_padded_batch_are_those_of_its_examples_alone(bert, side, kind, generator):
    batch = padded(bert, side)
    together = trace(bert, batch, kind, sublayers=True)
    for row in range(len(LENGTHS)):
        real = together.mask[row]
        alone = trace(
            bert,
            {name: value[row : row + 1, real] for name, value in batch.items()},
            kind,
            sublayers=True,
        )
        for i, (field, single) in enumerate(zip(together.fields, alone.fields, strict=True)):
            pair = Jacobian(field, together.states[i]), Jacobian(single, alone.states[i])
            assert largest(together.states[i][row, real] - alone.states[i][0]) <= 1e-10
            assert largest(field(pair[0].x)[row, real] - single(pair[1].x)[0]) <= 1e-10
            v = torch.randn(together.states[i].shape, generator=generator, dtype=torch.float64)
            for name in ("mv", "rmv"):
                image, expected = (
                    getattr(pair[0], name)(v),
                    getattr(pair[1], name)(v[row : row + 1, real]),
                )
                assert largest(image[row, real] - expected[0]) <= 1e-10
                assert not image[~together.mask].any()


def test_the_feed_forward_half_does_not_mix_tokens(bert, generator):
    halves = trace(bert, padded(bert), sublayers=True)
    reaches = []
    for field, x in zip(halves.fields, halves.states, strict=False):
        v = torch.zeros_like(x)
        v[:, 0] = torch.randn(x.shape[-1], generator=generator, dtype=x.dtype)
        reaches.append(bool(Jacobian(field, x).mv(v)[:, 1:].any()))
    assert reaches == [True, False] * 3


@pytest.mark.parametrize("half", [0, 1])
def test_a_half_that_its_record_does_not_reproduce_is_differentiated_automatically(bert, half):
    halves = trace(bert, padded(bert), sublayers=True)
    field, x = halves.fields[half], halves.states[half]
    scaled = dataclasses.replace(field, layer=lambda state: 2 * field.layer(state))
    scaled = dataclasses.replace(
        scaled, analytic=dataclasses.replace(field.analytic, function=scaled.layer)
    )
    assert field.linearize(x).path == "analytic"
    assert scaled.linearize(x).path == "torch.func"
    expected = 2 * field.linearize(x).mv(x)
    assert largest(field.project(scaled.linearize(x).mv(x) - expected)) <= 1e3 * eps(
        halves
    ) * largest(expected)


@pytest.mark.parametrize("family", ["distilbert", "modernbert"])
def test_halves_that_are_not_known_are_refused(family):
    encoder = tiny(CONFIGS[family]())
    message = (
        "must have layers with known halves, as bert, roberta, electra "
        f"have, for sublayers, got model_type '{family}'"
    )
    with pytest.raises(ValueError, match=message):
        trace(encoder, padded(encoder), sublayers=True)


def test_a_layer_that_looks_like_berts_and_computes_something_else_has_no_record(bert):
    class Doubled(nn.Module):
        def __init__(self, linear):
            super().__init__()
            self.weight, self.bias, self.linear = linear.weight, linear.bias, linear

        def forward(self, x):
            return 2 * self.linear(x)

    for layer in bert.encoder.layer:
        layer.intermediate.dense = Doubled(layer.intermediate.dense).eval()
    whole = trace(bert, padded(bert))
    assert whole.fields[0].linearize(whole.states[0]).path == "torch.func"
    with pytest.raises(ValueError, match="must have layers with known halves"):
        trace(bert, padded(bert), sublayers=True)


def test_a_layer_that_is_not_the_composition_of_its_halves_is_refused(bert):
    layer = bert.encoder.layer[1]
    forward = layer.forward
    layer.forward = lambda *args, **kwargs: 2 * forward(*args, **kwargs)
    with pytest.raises(
        ValueError, match=r"BertModel must be its layers one after the other .* in state 4"
    ):
        trace(bert, padded(bert), sublayers=True)


def test_a_model_with_a_head_has_the_halves_of_its_encoder():
    model = tiny(CONFIGS["electra"](), auto=transformers.AutoModelForSequenceClassification)
    whole, bare = (
        trace(encoder, padded(model), sublayers=True) for encoder in (model, model.electra)
    )
    assert all(torch.equal(x, y) for x, y in zip(whole.states, bare.states, strict=True))
