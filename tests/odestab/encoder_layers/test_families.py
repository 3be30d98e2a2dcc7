"""Every family of models: the states are the model's own, the layers lead from one to the next, and
products with their derivatives are right at every use.
"""

import pytest
import torch
from encoders import largest, tiny
from families import FAMILIES, TEXT, batch_of, part
from torch import nn

import odestab as od
from odestab.encoder_layers.bound_layer import KeepDouble


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(family: str) -> nn.Module:
    made = tiny(FAMILIES[family]())
    # Some families draw weights so small that every layer is nearly the identity.
    with torch.no_grad():
        for weight in made.parameters():
            if weight.ndim == 2:
                weight.mul_(3)
    return made


def test_the_states_are_the_models_own(family, model):
    batch = batch_of(family, model)
    trajectory = od.trace(model, batch)
    own = part(family, model)
    given = {name: batch[name] for name in batch if family != "fnet" or name == "input_ids"}
    # Outside, some families round to float32 within a layer.
    with KeepDouble():
        hidden = own(**given, output_hidden_states=True).hidden_states
    mask = trajectory.mask
    assert trajectory.depth == len(hidden) - 1 >= 3
    # The last one may be behind a norm.
    for state, reference in zip(trajectory.states[:-1], hidden[:-1], strict=True):
        assert largest((state - reference)[mask]) <= 1e-12 * largest(reference)
        assert not state[~mask].any()


def test_explicit_euler_is_the_model(family, model):
    trajectory = od.trace(model, batch_of(family, model))
    x = trajectory.states[0]
    for field, after in zip(trajectory.fields, trajectory.states[1:], strict=True):
        x = od.ExplicitEuler(1.0).step(field, x).state
        assert largest(x - after) <= 1e-12 * largest(after)


@pytest.mark.parametrize("model", [*TEXT], indirect=True, ids=str)
def test_a_padded_text_is_the_text_alone(family, model):
    if family not in TEXT:
        return
    batch = batch_of(family, model)
    together = od.trace(model, batch)
    real = together.mask[1]
    alone = od.trace(model, {name: value[1:, real] for name, value in batch.items()})
    for state, single in zip(together.states, alone.states, strict=True):
        assert largest(state[1, real] - single[0]) <= 1e-12 * largest(single)
