"""Encoders as vector fields: the layers themselves, padding, derivatives, and what is refused."""

import copy
import threading

import pytest
import torch
import transformers
from encoders import CONFIGS, LENGTHS, VOCABULARY, largest, layers_of, padded, saved, tiny
from torch import Tensor, nn
from torch.func import jvp, linearize, vjp, vmap

from odestab.encoder_layers import load_encoder, position_limit, trace
from odestab.encoder_layers.inputs import bare_model

EPS = torch.finfo(torch.float64).eps


@pytest.fixture(scope="module", params=CONFIGS)
def encoder(
    request: pytest.FixtureRequest,
    tokenizer: transformers.PreTrainedTokenizerBase,
    tmp_path_factory: pytest.TempPathFactory,
) -> nn.Module:
    return load_encoder(
        saved(tiny(CONFIGS[request.param]()), tokenizer, tmp_path_factory.mktemp(request.param))
    )[0]


def explicit_states(trajectory, step_size: float = 1.0) -> list[Tensor]:
    """Explicit Euler over the layers, written (1 + hc)x + hF(x)."""
    states = [trajectory.states[0]]
    for field in trajectory.fields:
        states.append(
            (1 + step_size * field.split) * states[-1] + step_size * field.unsplit(states[-1])
        )
    return states


def layer_outputs(encoder: nn.Module, batch: dict[str, Tensor]) -> list[Tensor]:
    outputs: list[Tensor] = []
    handles = [
        layer.register_forward_hook(lambda module, args, output: outputs.append(output))
        for layer in layers_of(encoder)
    ]
    encoder(**batch)
    for handle in handles:
        handle.remove()
    return [output[0] if isinstance(output, tuple) else output for output in outputs]


@pytest.mark.parametrize("side", ["right", "left"])
def test_explicit_steps_of_one_are_the_model(encoder, side):
    batch = padded(encoder, side)
    trajectory = trace(encoder, batch)
    outputs = layer_outputs(encoder, batch)
    assert trajectory.depth == len(outputs) == len(layers_of(encoder))
    assert trajectory.tokens == list(LENGTHS)
    steps, mask = explicit_states(trajectory), trajectory.mask
    for step, state, output in zip(steps[1:], trajectory.states[1:], outputs, strict=True):
        assert largest((step - output)[mask]) <= 1e-12
        assert torch.equal(state[mask], output[mask])
    hidden = encoder(**batch, output_hidden_states=True).hidden_states
    compared = len(hidden) - (
        encoder.config.model_type == "modernbert"
    )  # its last one is behind the final norm
    for step, state in zip(steps[:compared], hidden[:compared], strict=True):
        assert largest((step - state)[mask]) <= 1e-12


@pytest.mark.parametrize("kind", ["increment", "outer"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_a_padded_batch_is_its_examples_alone(encoder, side, kind):
    batch = padded(encoder, side)
    trajectory = trace(encoder, batch, kind)
    for row in range(len(LENGTHS)):
        real = trajectory.mask[row]
        alone = trace(
            encoder, {name: value[row : row + 1, real] for name, value in batch.items()}, kind
        )
        for state, single in zip(trajectory.states, alone.states, strict=True):
            assert largest(state[row, real] - single[0]) <= 1e-10
        for field, x, single_field, single in zip(
            trajectory.fields, trajectory.states, alone.fields, alone.states, strict=False
        ):
            assert largest(field(x)[row, real] - single_field(single)[0]) <= 1e-10


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_rows_are_zero(encoder, side, generator):
    trajectory = trace(encoder, padded(encoder, side))
    padding = ~trajectory.mask
    for field, x in zip(trajectory.fields, trajectory.states, strict=False):
        cotangent = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        assert not x[padding].any()
        assert not field(x)[padding].any()
        assert not field.unsplit(x)[padding].any()
        assert not vjp(field, x)[1](cotangent)[0][padding].any()


@pytest.mark.parametrize("encoder", ["modernbert"], indirect=True)
def test_modernbert_mixes_global_and_local_layers(encoder, generator):
    trajectory = trace(encoder, padded(encoder))
    x = trajectory.states[0]
    far = torch.zeros_like(x)
    far[0, -1] = torch.randn(x.shape[-1], generator=generator, dtype=x.dtype)
    reaches = [bool(jvp(field, (x,), (far,))[1][0, 0].any()) for field in trajectory.fields]
    assert (
        reaches
        == [kind == "full_attention" for kind in encoder.config.layer_types]
        == [True, False, False, True]
    )


def test_a_modernbert_from_elsewhere_is_in_float64_throughout_as_a_loaded_one(tokenizer, tmp_path):
    loaded, _ = load_encoder(saved(tiny(CONFIGS["modernbert"]()), tokenizer, tmp_path))
    elsewhere = copy.deepcopy(loaded)
    del elsewhere.forward  # what keeps a loaded model's own outputs in float64
    batch = padded(elsewhere, lengths=(9, 9))
    traced = trace(elsewhere, batch)
    for x, y in zip(traced.states, trace(loaded, batch).states, strict=True):
        assert largest(x - y) <= 100 * torch.finfo(torch.float64).eps * largest(y)
    for x, y in zip(layer_outputs(elsewhere, batch), traced.states[1:], strict=True):
        assert 0 < largest(x - y) <= 100 * torch.finfo(torch.float32).eps * largest(y)
    single = trace(elsewhere.float(), batch).states[1:]
    assert all(
        torch.equal(x, y) for x, y in zip(single, layer_outputs(elsewhere, batch), strict=True)
    )


def test_jvp_is_the_central_difference(encoder, generator):
    trajectory = trace(encoder, padded(encoder))
    step = 1e-5
    for field, x in zip(trajectory.fields, trajectory.states, strict=False):
        v = field.project(torch.randn(x.shape, generator=generator, dtype=x.dtype))
        exact = jvp(field, (x,), (v,))[1]
        difference = (field(x + step * v) - field(x - step * v)) / (2 * step)
        # truncation O(step²) and rounding O(eps / step), both about 1e-10 times the size and
        # curvature of the layer
        assert largest(exact - difference) <= 1e-6 * largest(exact)


def test_vjp_is_the_adjoint_of_jvp(encoder, generator):
    trajectory = trace(encoder, padded(encoder))
    for field, x in zip(trajectory.fields, trajectory.states, strict=False):
        u, v = torch.randn((2, *x.shape), generator=generator, dtype=x.dtype)
        image, preimage = jvp(field, (x,), (v,))[1], vjp(field, x)[1](u)[0]
        scale = float(u.norm() * image.norm() + preimage.norm() * v.norm())
        assert abs(float((u * image).sum() - (preimage * v).sum())) <= 100 * EPS * scale


@pytest.mark.slow
def test_derivatives_batch_over_directions(encoder, generator):
    trajectory = trace(encoder, padded(encoder))
    field, x = trajectory.fields[1], trajectory.states[1]
    directions = torch.randn((3, *x.shape), generator=generator, dtype=x.dtype)
    forward, (_, pullback) = linearize(field, x)[1], vjp(field, x)
    one_by_one = torch.stack([jvp(field, (x,), (v,))[1] for v in directions])
    bound = 100 * EPS * largest(one_by_one)
    assert largest(vmap(forward)(directions) - one_by_one) <= bound
    assert largest(vmap(lambda v: jvp(field, (x,), (v,))[1])(directions) - one_by_one) <= bound
    assert (
        largest(
            vmap(lambda u: pullback(u)[0])(directions)
            - torch.stack([pullback(u)[0] for u in directions])
        )
        <= bound
    )


def test_sdpa_attention_gives_the_eager_fields(encoder, generator):
    batch, changed = padded(encoder, "left"), copy.deepcopy(encoder)
    changed.set_attn_implementation("sdpa")
    eager, fused = trace(encoder, batch), trace(changed, batch)
    assert fused.fields[0].layer.sdpa
    for l, x in enumerate(eager.states[:-1]):
        v = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        assert largest(fused.states[l] - x) <= 1e-12 * largest(x)
        for transform in (
            lambda f, x, v: jvp(f, (x,), (v,))[1],
            lambda f, x, v: vjp(f, x)[1](v)[0],
        ):
            expected = transform(eager.fields[l], x, v)
            assert largest(transform(fused.fields[l], x, v) - expected) <= 1e-12 * largest(expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_the_fast_linearisation_reads_the_boolean_mask_of_sdpa(bert, dtype, generator):
    eager, fused = bert.to(dtype), copy.deepcopy(bert).to(dtype)
    fused.set_attn_implementation("sdpa")
    pair = [trace(model, padded(model, "left")) for model in (eager, fused)]
    x = pair[0].states[0]
    v = (
        pair[0]
        .fields[0]
        .project(torch.randn(x.shape, generator=generator, dtype=torch.float64).to(dtype))
    )
    expected, found = (trajectory.fields[0].linearize(x) for trajectory in pair)
    assert expected.path == found.path == "analytic"
    for one, other in ((expected.mv(v), found.mv(v)), (expected.rmv(v), found.rmv(v))):
        assert largest(pair[0].fields[0].project(one - other)) <= 16 * torch.finfo(
            dtype
        ).eps * largest(one)


def test_a_model_with_a_head_is_traced_as_its_encoder():
    model = tiny(CONFIGS["electra"](), auto=transformers.AutoModelForSequenceClassification)
    batch = padded(model)
    whole, bare = trace(model, batch), trace(model.electra, batch)
    assert all(torch.equal(x, y) for x, y in zip(whole.states, bare.states, strict=True))


def test_trace_reads_segments_and_ignores_labels(bert):
    batch = padded(bert)
    segments = {
        "token_type_ids": torch.ones_like(batch["input_ids"]),
        "labels": torch.zeros(3),
        "special_tokens_mask": None,
    }
    states = trace(bert, batch | segments).states
    assert torch.equal(
        states[0][0], bert.embeddings(batch["input_ids"], segments["token_type_ids"])[0]
    )


def test_trace_leaves_no_hook_even_when_the_encoder_fails(bert):
    batch = padded(bert)
    bert.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        trace(bert, batch)
    hooks = [
        hook
        for layer in layers_of(bert)
        for hook in (*layer._forward_hooks.values(), *layer._forward_pre_hooks.values())
    ]
    assert all(
        hook.__module__.startswith("transformers.") for hook in hooks
    )  # its own, which record hidden states


def test_states_traced_under_inference_mode_enter_autograd(bert):
    with torch.inference_mode():
        trajectory = trace(bert, padded(bert))
    x = trajectory.states[1].requires_grad_()
    assert torch.autograd.grad(trajectory.fields[1](x).sum(), x)[0].isfinite().all()


def test_minilm_is_explicit_euler_on_increments(minilm_folder):
    encoder, tokenizer = load_encoder(minilm_folder)
    batch = tokenizer(
        ["A bridge hums in the wind.", "Two words", "No."], padding=True, return_tensors="pt"
    )
    trajectory = trace(encoder, batch)
    hidden = encoder(**batch, output_hidden_states=True).hidden_states
    assert trajectory.depth == 6
    assert trajectory.states[0].dtype == torch.float64
    for state, reference in zip(explicit_states(trajectory), hidden, strict=True):
        assert largest((state - reference)[trajectory.mask]) <= 1e-12


BATCHES = {
    "no mask": (
        lambda batch: {"input_ids": batch["input_ids"]},
        "batch must have attention_mask as a tensor .*, got NoneType",
    ),
    "lists": (
        lambda batch: {**batch, "input_ids": [[1]]},
        "batch must have input_ids as a tensor .*, got list",
    ),
    "shapes": (
        lambda batch: {**batch, "attention_mask": batch["attention_mask"][:, 1:]},
        r"got \(3, 13\) and \(3, 12\)",
    ),
    "vocabulary": (
        lambda batch: {**batch, "input_ids": batch["input_ids"] + 50},
        r"input_ids must be in \[0, 60\)",
    ),
    "too long": (
        lambda batch: {name: value.repeat(1, 3) for name, value in batch.items()},
        "at most 32 tokens .*, got 39",
    ),
}


@pytest.mark.parametrize("case", BATCHES)
def test_a_batch_that_does_not_fit_is_refused(case, bert):
    change, message = BATCHES[case]
    with pytest.raises(ValueError, match=message):
        trace(bert, change(padded(bert)))


def test_an_encoder_or_field_out_of_order_is_refused(bert):
    batch = padded(bert)
    with pytest.raises(ValueError, match="field must be one of increment, outer, got 'sideways'"):
        trace(bert, batch, "sideways")
    with pytest.raises(ValueError, match=r"model must be a torch.nn.Module, got dict"):
        bare_model(batch, batch)
    bert.encoder.layer[1].train()
    with pytest.raises(ValueError, match="model must be in eval mode"):
        trace(bert, batch)


@pytest.mark.parametrize(
    ("family", "limit"),
    [
        ("bert", 32),
        ("electra", 32),
        ("distilbert", 32),
        ("roberta", 30),
        ("xlm-roberta", 30),
        ("modernbert", 8192),
    ],
)
def test_the_position_limit_is_that_of_the_table_or_of_the_configuration(family, limit):
    encoder = tiny(CONFIGS[family]())
    assert position_limit(encoder) == limit
    if limit < 100:
        assert trace(encoder, padded(encoder, lengths=(limit,))).tokens == [limit]
        with pytest.raises(ValueError, match=f"at most {limit} tokens"):
            trace(encoder, padded(encoder, lengths=(limit + 1,)))


def test_an_encoder_that_declares_no_limit_has_none(bert):
    bert.embeddings.position_embeddings = nn.Identity()
    bert.config = transformers.PretrainedConfig()
    assert position_limit(bert) is None


@pytest.mark.parametrize("rounding", ["a cast", "a mean", "a copy"])
def test_a_layer_that_rounds_on_the_way_is_refused(bert, rounding):
    def rounded(module, args, output):
        if rounding == "a cast":
            return output.bfloat16().to(output.dtype)
        if rounding == "a mean":
            return output + output.mean(-1, keepdim=True, dtype=torch.bfloat16)
        return output + torch.empty(output.shape).copy_(output)

    layers_of(bert)[1].output.dense.register_forward_hook(rounded)
    with pytest.raises(
        ValueError,
        match=r"must compute in torch.float64 throughout, got "
        r"torch.(bfloat16|float32) inside layer 1",
    ):
        trace(bert, padded(bert))


def test_a_part_of_an_encoder_is_not_taken_for_the_whole():
    sizes = {"d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 24, "vocab_size": VOCABULARY}
    config = transformers.FunnelConfig(
        **sizes, block_sizes=[3, 1, 1], num_decoder_layers=2, attn_implementation="eager"
    )
    funnel = transformers.FunnelModel(config).double().eval()
    with pytest.raises(
        ValueError,
        match="must be one chain of layers from its embeddings "
        "to its output, got 3 layers in a row",
    ):
        trace(
            funnel,
            {"input_ids": torch.arange(5, 21).view(2, 8), "attention_mask": torch.ones(2, 8)},
        )


def test_something_after_the_layers_that_is_no_norm_is_refused(bert):
    bert.encoder.register_forward_hook(
        lambda module, args, output: setattr(
            output, "last_hidden_state", 2 * output.last_hidden_state
        )
    )
    with pytest.raises(ValueError, match="got another output than that of its last layer"):
        trace(bert, padded(bert))


def test_something_before_a_layer_is_refused(bert):
    layers_of(bert)[1].register_forward_pre_hook(lambda module, args: (1.01 * args[0], *args[1:]))
    with pytest.raises(ValueError, match=r"got another state before layer 1|a difference of"):
        trace(bert, padded(bert))


@pytest.mark.parametrize(
    "mask",
    [
        lambda m: (1 - m.double()) * -1e4,
        lambda m: 2 * m - 1,
        lambda m: 2 * m,
        lambda m: m * float("nan"),
    ],
)
def test_a_mask_of_other_values_is_refused(bert, mask):
    batch = padded(bert)
    with pytest.raises(
        ValueError,
        match="attention_mask must be 1 on real tokens and 0 on padding, got values from",
    ):
        trace(bert, batch | {"attention_mask": mask(batch["attention_mask"])})


@pytest.mark.parametrize("dtype", [torch.bool, torch.int32, torch.float32])
def test_a_mask_of_0_and_1_may_have_any_type(bert, dtype):
    batch = padded(bert)
    assert trace(
        bert, batch | {"attention_mask": batch["attention_mask"].to(dtype)}
    ).tokens == list(LENGTHS)


def test_threads_may_trace_one_encoder(bert):
    batches = [padded(bert, lengths=(length, 3)) for length in (13, 7, 5, 11)]
    expected = [trace(bert, batch) for batch in batches]
    start, found = threading.Barrier(4), {}

    def run(number):
        start.wait()
        found[number] = [trace(bert, batches[number]) for _ in range(3)]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, alone in enumerate(expected):
        for trajectory in found[number]:
            assert trajectory.depth == alone.depth
            assert all(
                torch.equal(x, y) for x, y in zip(trajectory.states, alone.states, strict=True)
            )
