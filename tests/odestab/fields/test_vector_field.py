import math

import pytest
import torch
from problems import DTYPE, EPS, MixingField, masked_state, normal_numbers, ragged_mask

from odestab.fields.vector_field import LayerVectorField, LinearVectorField
from odestab.steps.one_step import ExplicitEuler


def layer(x: torch.Tensor) -> torch.Tensor:
    return torch.tanh(x) + 0.3  # 0.3 on padding too: projecting is the field's task


@pytest.mark.parametrize("kind, c", [("increment", -1.0), ("outer", 0.0)])
def test_layer_field_is_layer_plus_split_on_real_tokens_and_zero_on_padding(
    kind: str, c: float
) -> None:
    mask = ragged_mask(4, 2)
    x = normal_numbers(2, 4, 3)
    field = LayerVectorField(layer, mask, kind)
    assert field.split == c
    assert torch.equal(field(x)[mask], (layer(x) + c * x)[mask])
    assert torch.equal(field.unsplit(x)[mask], layer(x)[mask])
    assert (field(x)[~mask] == 0).all() and (field.unsplit(x)[~mask] == 0).all()


def test_explicit_step_of_one_on_the_increment_is_the_layer_bit_for_bit() -> None:
    mask = ragged_mask(4, 2)
    x = 1e3 * masked_state(mask)
    assert torch.equal(
        ExplicitEuler(1.0).step(LayerVectorField(layer, mask), x).state[mask], layer(x)[mask]
    )


def test_unsplit_by_default_is_what_is_left_of_f_without_the_linear_part() -> None:
    x = normal_numbers(2, 3, 2)
    a = normal_numbers(6, 6, seed=1)
    field = LinearVectorField(a, split=-0.7)
    torch.testing.assert_close(
        field.unsplit(x),
        LinearVectorField(a + 0.7 * torch.eye(6, dtype=DTYPE))(x),
        rtol=0,
        atol=100 * EPS,
    )


def test_linear_field_multiplies_each_example_by_its_own_matrix() -> None:
    matrices, x = normal_numbers(3, 6, 6), normal_numbers(3, 2, 3, seed=1)
    image = LinearVectorField(matrices)(x)
    for b in range(3):
        torch.testing.assert_close(
            image[b].flatten(), matrices[b] @ x[b].flatten(), rtol=0, atol=100 * EPS
        )


def test_norm_sizes_and_projection_count_real_entries_only() -> None:
    mask = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])
    field = MixingField.random(mask, hidden=2)
    x = normal_numbers(3, 3, 2)
    assert field.sizes(x).tolist() == [6, 2, 0]
    expected = [x[0].norm().item() / math.sqrt(6), x[1, 0].norm().item() / math.sqrt(2), 0.0]
    assert field.rms(x).tolist() == pytest.approx(expected, rel=1e-14)
    stacked = field.project(x.expand(5, 3, 3, 2))  # a leading axis of tangents
    assert (
        torch.equal(stacked[4], field.project(x))
        and (stacked[:, ~mask] == 0).all()
        and torch.equal(stacked[0][mask], x[mask])
    )


def test_norm_without_mask_is_the_plain_root_mean_square() -> None:
    x = normal_numbers(2, 5, 7)
    rms = LinearVectorField(torch.eye(35, dtype=DTYPE)).rms(x)
    torch.testing.assert_close(rms, (x**2).mean((1, 2)).sqrt(), rtol=1e-14, atol=0)


def test_norm_of_padding_that_is_not_finite_is_ignored() -> None:
    mask = ragged_mask(3, 1)
    field, x = MixingField.random(mask), masked_state(mask)
    dirty = x.masked_fill(~mask[..., None], torch.nan)
    assert torch.equal(field.rms(dirty), field.rms(x))


def test_wrong_input() -> None:
    with pytest.raises(ValueError, match=r"field must be one of increment, outer, got 'inner'"):
        LayerVectorField(layer, None, "inner")
    with pytest.raises(
        ValueError, match=r"matrix must be \(n, n\) or \(batch, n, n\), got \(1, 1, 2, 2\)"
    ):
        LinearVectorField(torch.ones(1, 1, 2, 2, dtype=DTYPE))
