"""What holds for every quantity of a step or a stack: padding alone is marked, layouts change
nothing, an empty batch is refused in one line.
"""

from collections.abc import Callable

import pytest
import torch
from problems import DTYPE, MixingField, masked_state, normal_numbers, ragged_mask
from torch import Tensor

import odestab as od
from odestab.fields.trajectory import Trajectory
from odestab.fields.vector_field import AbstractVectorField

Measured = tuple[Tensor, Tensor | None]
Quantity = Callable[[AbstractVectorField, Tensor, Tensor], Measured]
CANDIDATES = torch.tensor([0.25, 1.0], dtype=DTYPE)
SOLVER = od.Anderson(rtol=1e-9, max_iterations=200)


def propagated(method: od.AbstractOneStepMethod) -> Quantity:
    def of(field: AbstractVectorField, x: Tensor, delta: Tensor) -> Measured:
        mask = field.mask
        assert mask is not None
        path = od.propagate(Trajectory((x, x, x), mask, (field, field)), delta, method)
        return torch.cat([path.measured[:, 1:], path.predicted[:, 1:]], 1), None

    return of


def worst(method: od.AbstractOneStepMethod) -> Quantity:
    def of(field: AbstractVectorField, x: Tensor, delta: Tensor) -> Measured:
        found = od.worst_growth(method, field, x, 1e-6)
        return found.values, found.converged[:, 0]

    return of


def advantage(field: AbstractVectorField, x: Tensor, delta: Tensor) -> Measured:
    found = od.implicit_advantage(field, x, torch.stack([delta, delta.flip(0)]), 0.5)
    return found.mean[:, None], None


def stable(method: od.AbstractOneStepMethod) -> Quantity:
    def of(field: AbstractVectorField, x: Tensor, delta: Tensor) -> Measured:
        spectrum = od.eigenvalues(od.Jacobian(field, x), 2)
        found = od.stable_step_sizes(method, spectrum, CANDIDATES)
        return found.growth, found.certain.any(1) | found.stable.any(1)

    return of


def refined(field: AbstractVectorField, x: Tensor, delta: Tensor) -> Measured:
    found = od.refinement_control(field, x, 0.5, (1, 2), 1e-3, solver=SOLVER)
    values = torch.cat([found.explicit, found.implicit, found.flow[:, None]], 1)
    good = found.explicit_converged.any(1) | found.implicit_converged.any(1) | found.flow_converged
    return values, good


EXPLICIT, IMPLICIT = od.ExplicitEuler(0.5), od.ImplicitEuler(0.5, solver=SOLVER)
QUANTITIES: dict[str, Quantity] = {
    "explicit growth": propagated(EXPLICIT),
    "implicit growth": propagated(IMPLICIT),
    "explicit worst growth": worst(EXPLICIT),
    "implicit worst growth": worst(IMPLICIT),
    "advantage": advantage,
    "explicit step sizes": stable(EXPLICIT),
    "implicit step sizes": stable(IMPLICIT),
    "refinement": refined,
}


@pytest.mark.parametrize("name", QUANTITIES)
def test_an_example_of_padding_alone_is_marked(name: str) -> None:
    mask = ragged_mask(2, 0, 2)
    field = MixingField.random(mask, fast=True)
    x, delta = masked_state(mask), 1e-3 * masked_state(mask, seed=1)
    values, good = QUANTITIES[name](field, x, delta)
    assert values[1].isnan().all()
    assert good is None or not bool(good[1])
    real = torch.tensor([0, 2])
    alone = MixingField(field.w, field.v, field.u, mask[real], fast=True)
    expected, sure = QUANTITIES[name](alone, x[real], delta[real])
    torch.testing.assert_close(values[real], expected, rtol=1e-6, atol=0)
    assert good is None or sure is None or torch.equal(good[real], sure)


@pytest.mark.parametrize("layout", ["expanded", "transposed"])
@pytest.mark.parametrize("name", QUANTITIES)
def test_states_need_not_be_contiguous(name: str, layout: str) -> None:
    mask = torch.ones(2, 3, dtype=torch.bool)
    field = MixingField.random(mask, fast=True)
    if layout == "expanded":
        x = normal_numbers(1, 3, 3).expand(2, 3, 3)
        delta = 1e-3 * normal_numbers(1, 3, 3, seed=1).expand(2, 3, 3)
    else:
        x = normal_numbers(3, 3, 2).permute(2, 1, 0)
        delta = (1e-3 * normal_numbers(3, 3, 2, seed=1)).permute(2, 1, 0)
    assert not x.is_contiguous()
    values, _ = QUANTITIES[name](field, x, delta)
    expected, _ = QUANTITIES[name](field, x.contiguous(), delta.contiguous())
    torch.testing.assert_close(values, expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", QUANTITIES)
@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_nothing_to_measure_is_refused_in_one_line(name: str, shape: tuple[int, int]) -> None:
    mask = torch.ones(shape, dtype=torch.bool)
    field = MixingField.random(mask, fast=True)
    x = torch.zeros(*shape, 3, dtype=DTYPE)
    with pytest.raises(ValueError, match=r"batch must hold at least one real entry, got a state"):
        QUANTITIES[name](field, x, x)


@pytest.mark.parametrize("name", QUANTITIES)
def test_a_batch_of_padding_alone_is_refused_or_marked(name: str) -> None:
    mask = torch.zeros(2, 3, dtype=torch.bool)
    field = MixingField.random(mask, fast=True)
    x = torch.zeros(2, 3, 3, dtype=DTYPE)
    try:
        values, good = QUANTITIES[name](field, x, x)
    except ValueError as error:
        assert "batch must hold at least one real entry" in str(error)
    else:
        assert values.isnan().all() and (good is None or not good.any())
