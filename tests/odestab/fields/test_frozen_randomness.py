import pytest
import torch
from problems import DTYPE, ragged_mask
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import odestab as od
from odestab.fields.frozen_randomness import FrozenRandomness
from odestab.fields.vector_field import LayerVectorField

MASK = ragged_mask(4, 3)


def layer() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Linear(6, 6), nn.Tanh(), nn.Dropout(0.5), nn.Linear(6, 6), nn.Dropout(0.2)
        ).to(DTYPE)


@pytest.fixture
def field() -> LayerVectorField:
    return LayerVectorField(layer(), MASK)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(
        2, 4, 6, dtype=DTYPE, generator=torch.Generator().manual_seed(1)
    ).masked_fill(~MASK[..., None], 0.0)


def test_one_draw_is_one_function_and_the_next_another(field: LayerVectorField, x: Tensor) -> None:
    frozen, other = FrozenRandomness.draw(field, x), FrozenRandomness.draw(field, x)
    assert not torch.equal(field(x), field(x))
    assert torch.equal(frozen(x), frozen(x)) and not torch.equal(frozen(x), other(x))
    assert torch.equal(frozen(x), (frozen.unsplit(x) - x).masked_fill(~MASK[..., None], 0.0))
    assert frozen.split == -1.0 and frozen.mask is MASK


def test_the_outer_stream_advances_once_whatever_f_draws(
    field: LayerVectorField, x: Tensor
) -> None:
    def next_number(evaluations: int) -> Tensor:
        torch.manual_seed(3)
        frozen = FrozenRandomness.draw(field, x)
        for _ in range(evaluations):
            frozen(x)
        return torch.rand(3)

    torch.manual_seed(3)
    untouched = torch.rand(3)
    assert torch.equal(next_number(0), next_number(7)) and not torch.equal(
        next_number(0), untouched
    )


def test_a_generator_of_ones_own(field: LayerVectorField, x: Tensor) -> None:
    before = torch.get_rng_state()
    one, two = (FrozenRandomness.draw(field, x, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(one(x), two(x)) and torch.equal(torch.get_rng_state(), before)


def test_an_error_inside_leaves_the_outer_stream_alone(field: LayerVectorField, x: Tensor) -> None:
    frozen = FrozenRandomness.draw(field, x)
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        frozen(x[..., :5])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "adjoint",
    [od.ImplicitAdjoint(1e-12), od.UnrolledAdjoint(), od.UnrolledAdjoint(recompute=True)],
    ids=str,
)
def test_a_step_with_dropout_is_differentiable(
    field: LayerVectorField, x: Tensor, adjoint: od.AbstractAdjoint
) -> None:
    """Central differences see the function that the adjoint differentiates, with dropout on."""
    frozen = FrozenRandomness.draw(field, x)
    method = od.ImplicitEuler(0.4, solver=od.Anderson(rtol=1e-12), adjoint=adjoint)
    step = method.step(frozen, x)
    assert step.solution is not None and step.solution.converged.all()
    run = lambda y: frozen.project(method.step(frozen, y).state)  # noqa: E731
    assert torch.autograd.gradcheck(run, x.requires_grad_(), atol=1e-5, rtol=1e-5, fast_mode=True)


def test_checkpoints_recompute_the_same_function(field: LayerVectorField, x: Tensor) -> None:
    """Around one evaluation, and around a whole step that draws inside."""
    frozen, weight = FrozenRandomness.draw(field, x), next(field.layer.parameters())
    method = od.ImplicitEuler(0.4, solver=od.Anderson(rtol=1e-10))
    for run in (frozen, lambda y: method.step(FrozenRandomness.draw(field, y), y).state):
        found = []
        for around in (run, lambda y, run=run: checkpoint(run, y, use_reentrant=False)):
            torch.manual_seed(2)
            found.append(torch.autograd.grad(around(x).square().sum(), weight)[0])
        assert torch.equal(*found)


def test_products_are_those_of_the_frozen_function(field: LayerVectorField, x: Tensor) -> None:
    frozen, v = (
        FrozenRandomness.draw(field, x),
        torch.ones_like(x).masked_fill(~MASK[..., None], 0.0),
    )
    step = 1e-6
    difference = (frozen.unsplit(x + step * v) - frozen.unsplit(x - step * v)) / (2 * step)
    linear = frozen.linearize(x)
    for product in (
        torch.func.jvp(frozen.unsplit, (x,), (v,))[1],
        linear.mv(v),
        linear.mv(torch.stack([v, 2 * v]))[0],
    ):
        torch.testing.assert_close(product, difference, rtol=1e-7, atol=1e-8)
    u = torch.linspace(-1, 1, x.numel(), dtype=DTYPE).view_as(x)
    pulled = torch.func.vjp(frozen.unsplit, x)[1](u)[0]
    torch.testing.assert_close(linear.rmv(u), pulled)
    torch.testing.assert_close(linear.rmv(torch.stack([u, -u]))[1], -pulled)
    torch.testing.assert_close((u * difference).sum(), (pulled * v).sum(), rtol=1e-6, atol=0)
    assert od.check_adjoint(od.Jacobian(frozen, x)).max() < 1e-12


def test_vmap_without_leave_is_refused(field: LayerVectorField, x: Tensor) -> None:
    frozen = FrozenRandomness.draw(field, x)
    with pytest.raises(RuntimeError, match="randomness"):
        torch.func.vmap(frozen)(torch.stack([x, x]))
    both = torch.func.vmap(frozen, randomness="same")(torch.stack([x, x]))
    assert torch.equal(both[0], both[1])


def test_a_compiled_layer(x: Tensor) -> None:
    torch.compiler.reset()
    frozen = FrozenRandomness.draw(
        LayerVectorField(torch.compile(layer(), backend="aot_eager"), MASK), x
    )
    assert torch.equal(frozen(x), frozen(x)) and frozen(x).isfinite().all()
    torch.compiler.reset()
