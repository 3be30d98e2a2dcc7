import dataclasses

import pytest
import torch
from problems import (
    EPS,
    Decay,
    MixingField,
    central_difference,
    masked_state,
    normal_numbers,
    ragged_mask,
)

from odestab.fields.vector_field import AbstractVectorField, LayerVectorField
from odestab.operators.algebra import check_adjoint
from odestab.operators.jacobian import Jacobian

MASK = ragged_mask(4, 2, 3)


@pytest.mark.parametrize("split", [0.0, -1.0])
@pytest.mark.parametrize("fast", [False, True], ids=["torch.func", "analytic"])
def test_dense_equals_the_analytic_jacobian(split: float, fast: bool) -> None:
    field, x = MixingField.random(MASK, split=split, fast=fast), masked_state(MASK)
    jacobian = Jacobian(field, x)
    assert jacobian.linearization.path == ("analytic" if fast else "torch.func")
    assert (check_adjoint(jacobian) < 100 * EPS).all()
    for example, matrix in enumerate(jacobian.dense()):
        torch.testing.assert_close(matrix, field.matrix(x, example), rtol=0, atol=100 * EPS)


def test_diagonal_field() -> None:
    x = normal_numbers(2, 5)
    for matrix, row in zip(Jacobian(Decay(), x).dense(), x, strict=True):
        assert torch.equal(matrix, torch.diag(-2 * row))


def test_layer_field_has_the_layers_jacobian_plus_the_split() -> None:
    x = normal_numbers(1, 2, 3)
    slopes = torch.diag(1 - torch.tanh(x.flatten()) ** 2)
    identity = torch.eye(6, dtype=x.dtype)
    for kind, c in (("increment", -1.0), ("outer", 0.0)):
        (matrix,) = Jacobian(LayerVectorField(torch.tanh, None, kind), x).dense()
        torch.testing.assert_close(matrix, slopes + c * identity, rtol=0, atol=10 * EPS)


def test_product_against_central_differences() -> None:
    field, x, v = MixingField.random(MASK), masked_state(MASK), masked_state(MASK, seed=5)
    torch.testing.assert_close(
        Jacobian(field, x).mv(v), central_difference(field, x, v), rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("leading", [(1,), (5,), (2, 3)])
def test_leading_axes_of_tangents_are_products_side_by_side(leading: tuple[int, ...]) -> None:
    field, x = MixingField.random(MASK, split=-0.5), masked_state(MASK)
    jacobian, v = Jacobian(field, x), normal_numbers(*leading, *x.shape)
    for product in (jacobian.mv, jacobian.rmv):
        one_by_one = torch.stack([product(t) for t in v.reshape(-1, *x.shape)]).view(v.shape)
        torch.testing.assert_close(product(v), one_by_one, rtol=0, atol=100 * EPS)


def test_padding_is_no_part_of_the_state() -> None:
    field, x = MixingField.random(MASK, split=-1.0), masked_state(MASK)
    jacobian = Jacobian(field, x)
    for example, length in enumerate(MASK.sum(1).tolist()):
        alone = dataclasses.replace(field, mask=torch.ones(1, length, dtype=torch.bool))
        (matrix,) = Jacobian(alone, x[example : example + 1, :length]).dense()
        torch.testing.assert_close(jacobian.dense()[example], matrix, rtol=0, atol=1e-12)
    v = normal_numbers(*x.shape)  # not zero on padding
    for product in (jacobian.mv, jacobian.rmv):
        assert torch.equal(product(v), product(field.project(v))) and (product(v)[~MASK] == 0).all()


def test_reverse_is_the_adjoint_of_forward() -> None:
    gap = check_adjoint(Jacobian(MixingField.random(MASK, split=-1.0), masked_state(MASK)))
    assert (gap < 100 * EPS).all()


def test_to_scipy_agrees_with_dense() -> None:
    jacobian = Jacobian(MixingField.random(MASK), masked_state(MASK))
    for example, matrix in enumerate(jacobian.dense()):
        linear = jacobian.to_scipy(example)
        torch.testing.assert_close(
            torch.from_numpy(linear @ torch.eye(len(matrix)).double().numpy()),
            matrix,
            rtol=0,
            atol=100 * EPS,
        )


def test_products_carry_no_gradient_even_for_a_field_with_parameters() -> None:
    field, x = MixingField.random(MASK), masked_state(MASK).requires_grad_()
    field.w.requires_grad_()
    jacobian, v = Jacobian(field, x), masked_state(MASK, seed=1)
    assert not jacobian.mv(v).requires_grad and not jacobian.rmv(v).requires_grad


def test_a_field_that_changes_the_state_is_refused() -> None:
    class Single(AbstractVectorField):
        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            return x.float()

    with pytest.raises(
        ValueError,
        match=r"field must keep shape \(1, 2\) and torch.float64, got \(1, 2\) and torch.float32",
    ):
        Jacobian(Single(), normal_numbers(1, 2))
