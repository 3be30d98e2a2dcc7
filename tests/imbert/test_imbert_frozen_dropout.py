"""Dropout whose masks stay: one function of the state, the same at every evaluation, and cut with
its batch.
"""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import odestab as od
from imbert.model.frozen_dropout import FrozenDropout


class Rows:
    """A layer for some examples of a batch: itself."""

    def __init__(self, p: float) -> None:
        self.dropout = nn.Dropout(p)

    def __call__(self, x: Tensor) -> Tensor:
        return torch.tanh(self.dropout(x)) + self.dropout(2 * x)

    def take(self, examples: Tensor) -> "Rows":
        return self


def field(p: float = 0.25) -> od.LayerVectorField:
    return od.LayerVectorField(Rows(p), torch.ones(3, 4, dtype=torch.bool))


@pytest.fixture
def x(generator: torch.Generator) -> Tensor:
    return torch.rand(3, 4, 500, generator=generator, dtype=torch.float64) + 1


def test_every_evaluation_is_the_same_and_every_draw_another(x: Tensor) -> None:
    torch.manual_seed(0)
    first, second = FrozenDropout.draw(field()), FrozenDropout.draw(field())
    state = torch.get_rng_state()
    assert torch.equal(first(x), first(x)) and torch.equal(first.unsplit(x) - x, first(x))
    assert not torch.equal(first(x), second(x)) and torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(0)
    assert torch.equal(FrozenDropout.draw(field())(x), first(x))


def test_masks_keep_the_mean(x: Tensor) -> None:
    frozen = FrozenDropout.draw(field(0.25))
    frozen(x)
    assert len(frozen.masks) == 2 and not torch.equal(*frozen.masks)
    for mask in frozen.masks:
        kept = (mask > 0).double().mean()
        assert (
            abs(float(kept) - 0.75) < 5 * (0.75 * 0.25 / mask.numel()) ** 0.5
        )  # five standard deviations
        assert torch.equal(mask, (mask > 0).double() / 0.75)


def test_some_examples_keep_their_masks(x: Tensor) -> None:
    frozen = FrozenDropout.draw(field())
    whole, examples = frozen(x), torch.tensor([2, 0])
    part = frozen.take(examples)
    assert part is not None and torch.equal(part(x[examples]), whole[examples])


def test_the_linearisation_is_that_of_the_same_function(x: Tensor) -> None:
    frozen = FrozenDropout.draw(field())
    v = torch.ones_like(x)
    eps = 1e-6
    expected = (frozen.unsplit(x + eps * v) - frozen.unsplit(x - eps * v)) / (2 * eps)
    assert torch.allclose(frozen.linearize(x).mv(v), expected, atol=1e-8)
    operator = od.Jacobian(frozen, x)
    assert float(od.check_adjoint(operator).max()) < 1e-12


@pytest.mark.parametrize("boolean", [False, True])
def test_fused_attention_has_its_dropout_frozen_too(
    generator: torch.Generator, boolean: bool
) -> None:
    q, k, v = (torch.randn(2, 3, 5, 4, generator=generator, dtype=torch.float64) for _ in range(3))
    real = torch.ones(2, 1, 1, 5, dtype=torch.bool)
    real[1, ..., 3:] = False
    mask = (
        real
        if boolean
        else torch.zeros(real.shape, dtype=q.dtype).masked_fill(~real, torch.finfo(q.dtype).min)
    )
    eager = torch.softmax((q @ k.mT / 2).masked_fill(~real, -torch.inf), -1)

    def attention(x: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, dropout_p=0.5
        ).flatten(1)

    frozen = FrozenDropout.draw(od.LayerVectorField(attention, None, "outer"))
    found = frozen(torch.zeros(2, 60))
    assert torch.allclose(found, (eager * frozen.masks[0] @ v).flatten(1), rtol=0, atol=1e-14)


def test_without_dropout_nothing_is_drawn(x: Tensor) -> None:
    plain = od.LayerVectorField(
        lambda y: functional.dropout(y, 0.5, False) + functional.dropout(y, 0.0, True), None
    )
    frozen = FrozenDropout.draw(plain)
    assert torch.equal(frozen(x), plain(x)) and frozen.masks == []
