"""The parts of a layer's linearisation against automatic differentiation or a plain formula."""

import math

import pytest
import torch
from torch import Tensor
from torch.func import jvp, vjp

from odestab.encoder_layers.parts import stacked
from odestab.fields.linearized_attention import AttentionWeights
from odestab.fields.linearized_feed_forward import FeedForwardWeights
from odestab.fields.linearized_maps import Affine, Norm, Rotation
from odestab.fields.relative_scores import RelativeScores

BATCH, TOKENS, HIDDEN, SIZE = 2, 5, 12, 4
GAIN, SHIFT = torch.linspace(0.5, 2, HIDDEN).double(), torch.linspace(-1, 1, HIDDEN).double()


def random(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def close(image: Tensor, expected: Tensor) -> bool:
    return bool((image - expected).abs().max() <= 1e-12 * expected.abs().max())


def assert_linearized(linearized, function, x: Tensor) -> None:
    v, u = random(3, *x.shape)[0], random(7, *function(x).shape)[0]
    assert close(linearized.mv(v), jvp(function, (x,), (v,))[1])
    assert close(linearized.rmv(u), vjp(function, x)[1](u)[0])


@pytest.mark.parametrize(
    "norm",
    [
        Norm(GAIN, SHIFT, 1e-5),
        Norm(GAIN, None, 1e-5),
        Norm(GAIN, None, 1e-5, centered=False),
        Norm(GAIN, SHIFT, 1e-5, centered=False),
    ],
    ids=["LayerNorm", "without shift", "RMSNorm", "RMSNorm with shift"],
)
def test_norms(norm):
    x = random(BATCH, TOKENS, HIDDEN)
    shape = (HIDDEN,)
    expected = (
        torch.nn.functional.layer_norm(x, shape, norm.gain, norm.shift, norm.epsilon)
        if norm.centered
        else torch.nn.functional.rms_norm(x, shape, norm.gain, norm.epsilon)
        + (0.0 if norm.shift is None else norm.shift)
    )
    value, linearized = norm.linearize(x)
    assert close(value, expected)
    assert_linearized(linearized, lambda x: norm.linearize(x)[0], x)


def rotation(tokens: int) -> Rotation:
    angles = torch.outer(torch.arange(tokens).double(), torch.tensor([1.0, 0.3]).double())
    angles = torch.cat([angles, angles], -1)[None, :, None]
    return Rotation(angles.cos(), angles.sin())


def test_a_rotation_is_orthogonal_and_turns_pairs():
    x = random(BATCH, TOKENS, 3, SIZE)
    turn = rotation(TOKENS)
    assert close(turn.rmv(turn.mv(x)), x)
    pairs = torch.complex(x[..., :2], x[..., 2:])  # a + ib turns by θ
    turned = pairs * torch.polar(
        torch.ones(TOKENS, 1, 2).double(),
        torch.outer(torch.arange(TOKENS).double(), torch.tensor([1.0, 0.3]).double())[:, None],
    )
    assert close(turn.mv(x), torch.cat([turned.real, turned.imag], -1))


@pytest.mark.parametrize("tokens", [1, 2, TOKENS])
def test_relative_scores_are_those_of_each_pair(tokens):
    heads, distances = 3, 2 * tokens - 1
    keys, queries = random(heads, distances, SIZE), 2 * random(heads, distances, SIZE)
    scores = RelativeScores(keys, queries)
    q, k = random(BATCH, heads, tokens, SIZE), 3 * random(BATCH, heads, tokens, SIZE)
    expected = torch.zeros(BATCH, heads, tokens, tokens).double()
    for i in range(tokens):
        for j in range(tokens):
            by_key = (q[:, :, i] * keys[:, j - i + tokens - 1]).sum(-1)
            by_query = (k[:, :, j] * queries[:, i - j + tokens - 1]).sum(-1)
            expected[:, :, i, j] = by_key + by_query
    assert close(scores.mv(q, k), expected)
    cotangent = random(BATCH, heads, tokens, tokens)
    pulled = vjp(scores.mv, q, k)[1](cotangent)
    for image, reference in zip(scores.rmv(cotangent), pulled, strict=True):
        assert close(image, reference)


@pytest.mark.parametrize("key_heads", [1, 2, 4])
@pytest.mark.parametrize("of_heads", [1, 4])
@pytest.mark.parametrize("of_rows", [1, TOKENS])
def test_heads_that_share_keys_are_heads_with_equal_keys(key_heads, of_heads, of_rows):
    heads = 4
    weight = random((heads + 2 * key_heads) * SIZE, HIDDEN) / math.sqrt(HIDDEN)
    output = random(HIDDEN, heads * SIZE)
    bias = random(BATCH, of_heads, of_rows, TOKENS)
    turns = (rotation(TOKENS), Norm(1 + random(heads + key_heads, SIZE), None, 1e-3))
    weights = AttentionWeights(
        Affine(weight), Affine(output), heads, key_heads, 0.7, (bias, lambda n: bias[0, 0]), turns
    )

    def plain(x: Tensor) -> Tensor:
        parts = (x @ weight.T).unflatten(-1, (-1, SIZE))
        turned = parts[..., : heads + key_heads, :]
        for turn in turns:
            turned = turn.linearize(turned)[0]
        q, k = turned.transpose(1, 2).split([heads, key_heads], 1)
        v = parts[..., heads + key_heads :, :].transpose(1, 2)
        k, v = (part.repeat_interleave(heads // key_heads, 1) for part in (k, v))
        scores = 0.7 * q @ k.mT + bias + bias[0, 0]
        return (scores.softmax(-1) @ v).transpose(1, 2).flatten(-2) @ output.T

    x = random(BATCH, TOKENS, HIDDEN)
    linearized = weights.linearize(x)
    assert close(linearized.value, plain(x))
    assert_linearized(linearized, plain, x)


@pytest.mark.parametrize("gated", [False, True])
def test_feed_forward_maps(gated):
    inner = Affine(random(14, HIDDEN), random(14))
    output = Affine(random(HIDDEN, 7 if gated else 14))
    weights = FeedForwardWeights(inner, output, torch.nn.functional.silu, gated)

    def plain(z: Tensor) -> Tensor:
        state = inner(z)
        if gated:
            return output(torch.nn.functional.silu(state[..., :7]) * state[..., 7:])
        return output(torch.nn.functional.silu(state))

    z = random(BATCH, TOKENS, HIDDEN)
    linearized = weights.linearize(z)
    assert close(linearized.value, plain(z))
    assert_linearized(linearized, plain, z)


def test_casts_of_a_weight_are_one_copy_until_the_weight_changes() -> None:
    layer = torch.nn.Linear(3, 2).double()
    of_layer = Affine(layer.weight, layer.bias)
    cast = of_layer.to(torch.float32)
    again = Affine(layer.weight).to(torch.float32)
    assert cast.weight is again.weight and cast.weight.dtype == torch.float32
    with torch.no_grad():
        layer.weight.mul_(2)
    changed = of_layer.to(torch.float32)
    assert torch.equal(changed.weight, layer.weight.float())
    assert torch.equal(changed.bias, cast.bias)
    assert of_layer.to(torch.float64).weight is layer.weight


def test_stacked_weights_are_one_copy_until_a_weight_changes() -> None:
    query, key = (torch.nn.Linear(3, 2).double() for _ in range(2))
    joined = stacked(query, key)
    assert stacked(query, key) is joined
    with torch.no_grad():
        key.weight.mul_(2)
    changed = stacked(query, key)
    assert torch.equal(changed.weight, torch.cat([query.weight, key.weight]))
    key.weight = torch.nn.Parameter(torch.zeros(2, 3).double())
    assert torch.equal(stacked(query, key).weight[2:], key.weight)
    assert stacked(query, query).weight.shape == (4, 3)
