"""Every family of models: the states are the model's own, the layers lead from one to the next, and
products with their derivatives are right at every use.
"""

import copy
import functools

import pytest
import torch
from encoders import largest, tiny
from families import FAMILIES, TEXT, UNPADDED, batch_of, part
from torch import nn

import odestab as od
from odestab.encoder_layers.bound_layer import KeepDouble


@functools.cache
def model_of(family: str) -> nn.Module:
    model = tiny(FAMILIES[family]())
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.mul_(3)  # drawn weights make every layer nearly the identity
    return model


@functools.cache
def traced(family: str) -> od.Trajectory:
    model = model_of(family)
    return od.trace(model, batch_of(family, model))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_states_are_the_models_own(family):
    model = model_of(family)
    batch = batch_of(family, model)
    if family == "fnet":  # has no attention
        del batch["attention_mask"]
    # Outside, some families round to float32 within a layer.
    with KeepDouble():
        hidden = part(family, model)(**batch, output_hidden_states=True).hidden_states
    trajectory = traced(family)
    assert trajectory.depth == len(hidden) - 1 >= 3
    # The model's last one may be behind a norm.
    for state, own in zip(trajectory.states[:-1], hidden[:-1], strict=True):
        assert largest((state - own)[trajectory.mask]) <= 1e-12 * largest(own)
        assert not state[~trajectory.mask].any()


@pytest.mark.parametrize("family", FAMILIES)
def test_explicit_euler_is_the_model(family):
    trajectory = traced(family)
    x = trajectory.states[0]
    for field, after in zip(trajectory.fields, trajectory.states[1:], strict=True):
        x = od.ExplicitEuler(1.0).step(field, x).state
        assert largest(x - after) <= 1e-12 * largest(after)


@pytest.mark.parametrize("family", TEXT)
def test_a_padded_text_is_the_text_alone(family):
    model = model_of(family)
    batch = batch_of(family, model)
    together = traced(family)
    real = together.mask[1]
    alone = od.trace(model, {name: value[1:, real] for name, value in batch.items()})
    for state, single in zip(together.states, alone.states, strict=True):
        assert largest(state[1, real] - single[0]) <= 1e-12 * largest(single)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_layer_of_some_examples_is_the_layer_or_not_known(family):
    trajectory = traced(family)
    chosen = torch.tensor([1])
    for field, x in zip(trajectory.fields, trajectory.states, strict=False):
        cut = field.take(chosen)
        if cut is not None:
            assert largest(cut(x[chosen]) - field(x)[chosen]) <= 1e-12 * largest(field(x))


@pytest.mark.parametrize(
    ("family", "products"),
    [
        ("gpt2", 100),
        ("convbert", 2),  # looks like BERT, and computes something else
        pytest.param("llama", 100, marks=pytest.mark.slow),
        pytest.param("albert", 2, marks=pytest.mark.slow),
        pytest.param("t5", 2, marks=pytest.mark.slow),
        pytest.param("mpnet", 100, marks=pytest.mark.slow),  # works in place on a mask
        pytest.param("deberta", 100, marks=pytest.mark.slow),
        pytest.param("deberta-v2", 100, marks=pytest.mark.slow),
        pytest.param("falcon", 100, marks=pytest.mark.slow),
    ],
)
def test_products_are_those_of_automatic_differentiation_at_every_use(family, products, generator):
    trajectory = traced(family)
    field, x = trajectory.fields[1], trajectory.states[1]
    v = field.project(torch.randn(x.shape, generator=generator, dtype=x.dtype))
    with torch.enable_grad():
        primal = x.clone().requires_grad_()
        (pulled,) = torch.autograd.grad(field(primal), primal, v)
    jacobian = od.Jacobian(field, x)
    expected = torch.func.jvp(field, (x,), (v,))[1]
    assert largest(jacobian.rmv(v) - pulled) <= 1e-12 * largest(pulled)
    for _ in range(products):
        image = jacobian.mv(v)
        assert largest(image - expected) <= 1e-12 * largest(expected)


@pytest.mark.parametrize("family", UNPADDED)
def test_a_family_that_mixes_padding_into_texts_is_taken_without_padding_alone(family):
    model = model_of(family)
    assert not od.takes_padding(model)
    batch = batch_of("bert", model)
    with pytest.raises(ValueError, match=r"real tokens: trace texts of one length together, wi"):
        od.trace(model, batch)


@pytest.mark.parametrize("family", ["albert", "albert in groups"])
def test_a_shared_layer_is_one_module_and_a_field_for_each_run(family):
    trajectory = traced(family)
    layers = [field.layer for field in trajectory.fields]
    modules = {id(layer.module) for layer in layers}
    assert len({id(layer) for layer in layers}) == len(layers)
    assert (len(layers), len(modules)) == ((3, 1) if family == "albert" else (6, 6))


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
def test_a_decoder_attends_to_the_past_alone_and_keeps_no_cache(family, generator):
    trajectory = traced(family)
    for field, x in zip(trajectory.fields, trajectory.states, strict=False):
        changed = x.clone()
        changed[:, 3] += torch.randn(x.shape[-1], generator=generator, dtype=x.dtype)
        difference = field(changed) - field(x)
        assert not difference[:, :3].any()
        assert difference[0, 4:].any()
        assert torch.equal(field(x), field(x))


@pytest.mark.parametrize("family", ["gpt2", "llama", "vit"])
def test_half_precision_is_traced_as_the_model_runs_it(family):
    model = tiny(FAMILIES[family]()).bfloat16()
    batch = batch_of(family, model)
    trajectory = od.trace(model, batch)
    given = {
        name: value.bfloat16() if value.is_floating_point() else value
        for name, value in batch.items()
    }
    hidden = model(**given, output_hidden_states=True).hidden_states
    mask = trajectory.mask
    for state, own in zip(trajectory.states[:-1], hidden[:-1], strict=True):
        assert torch.equal(state[mask], own[mask])


@pytest.mark.slow
@pytest.mark.parametrize("family", ["gpt2", "llama", "vit"])
def test_products_in_half_precision_are_right_to_its_rounding(family, generator):
    model = tiny(FAMILIES[family]())
    batch = batch_of(family, model)
    exact = od.trace(model, batch).fields[1]
    trajectory = od.trace(copy.deepcopy(model).bfloat16(), batch)
    field, x = trajectory.fields[1], trajectory.states[1]
    v = field.project(torch.randn(x.shape, generator=generator).to(x))
    expected = torch.func.jvp(exact, (x.double(),), (v.double(),))[1]
    # Some tens of roundings of 2⁻⁸ each.
    assert largest(od.Jacobian(field, x).mv(v) - expected) <= 0.1 * largest(expected)


def test_the_half_of_clip_is_the_one_that_the_batch_is_for():
    model = model_of("clip")
    for family, width in (("clip", 7), ("clip images", 5)):
        assert od.trace(model, batch_of(family, model)).states[0].shape == (2, width, 16)
