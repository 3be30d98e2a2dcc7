"""Encoders as vector fields: the layers themselves, padding, derivatives, and what is refused."""

import contextlib
import copy
import logging
import pathlib

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.func import jvp, linearize, vjp, vmap
from transformers.utils import logging as bars

from odestab.encoder_layers import load_encoder, trace

VOCABULARY = 60
LENGTHS = (13, 9, 4)  # the longest is longer than ModernBERT's local window below, 4 tokens to either side
SIZES = {"vocab_size": VOCABULARY, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24, "initializer_range": 0.3}
LAYERS = {"num_hidden_layers": 3, "max_position_embeddings": 32}
CONFIGS = {
    "bert": lambda: transformers.BertConfig(**SIZES, **LAYERS),
    "roberta": lambda: transformers.RobertaConfig(**SIZES, **LAYERS),
    "electra": lambda: transformers.ElectraConfig(**SIZES, **LAYERS, embedding_size=8),
    "distilbert": lambda: transformers.DistilBertConfig(
        vocab_size=VOCABULARY, dim=16, n_heads=2, hidden_dim=24, n_layers=3, max_position_embeddings=32, initializer_range=0.3
    ),
    "modernbert": lambda: transformers.ModernBertConfig(
        **SIZES,
        num_hidden_layers=4,
        global_attn_every_n_layers=3,
        local_attention=8,
        **{f"{name}_token_id": index for index, name in enumerate(("pad", "bos", "eos", "cls", "sep"))},
    ),
    "xlm-roberta": lambda: transformers.XLMRobertaConfig(**SIZES, **LAYERS),
}
LAYER_PATHS = {"distilbert": "transformer.layer", "modernbert": "layers"}
EPS = torch.finfo(torch.float64).eps


def tiny(config: transformers.PretrainedConfig, attention: str = "eager", auto: type = transformers.AutoModel) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return auto.from_config(config, attn_implementation=attention).double().eval().requires_grad_(False)


def layers_of(encoder: nn.Module) -> nn.ModuleList:
    return encoder.get_submodule(LAYER_PATHS.get(encoder.config.model_type, "encoder.layer"))


def padded(encoder: nn.Module, side: str = "right", lengths: tuple[int, ...] = LENGTHS) -> dict[str, Tensor]:
    """Random tokens. Left-padded examples count their positions from their own first token (RoBERTa always does)."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.full((len(lengths), max(lengths)), encoder.config.pad_token_id)
    mask = torch.zeros_like(ids)
    for row, length in enumerate(lengths):
        real = slice(length) if side == "right" else slice(max(lengths) - length, None)
        ids[row, real] = torch.randint(5, VOCABULARY, (length,), generator=generator)
        mask[row, real] = 1
    batch = {"input_ids": ids, "attention_mask": mask}
    if side == "left" and "roberta" not in encoder.config.model_type:
        batch["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
    return batch


@pytest.fixture(scope="module", params=CONFIGS)
def encoder(
    request: pytest.FixtureRequest, tokenizer: transformers.PreTrainedTokenizerBase, tmp_path_factory: pytest.TempPathFactory
) -> nn.Module:
    return load_encoder(saved(tiny(CONFIGS[request.param]()), tokenizer, tmp_path_factory.mktemp(request.param)))[0]


@pytest.fixture
def bert() -> nn.Module:
    return tiny(CONFIGS["bert"]())


@pytest.fixture(scope="module")
def tokenizer() -> transformers.PreTrainedTokenizerBase:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "small", "word", "##s"]
    return transformers.BertTokenizer(vocab={word: index for index, word in enumerate(words)})


@pytest.fixture
def checkpoint(bert: nn.Module, tokenizer: transformers.PreTrainedTokenizerBase, tmp_path: pathlib.Path) -> pathlib.Path:
    return saved(bert, tokenizer, tmp_path)


def saved(model: nn.Module, tokenizer: transformers.PreTrainedTokenizerBase, folder: pathlib.Path) -> pathlib.Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def explicit_states(trajectory, step_size: float = 1.0) -> list[Tensor]:
    """Explicit Euler over the layers, written (1 + hc)x + hF(x)."""
    states = [trajectory.states[0]]
    for field in trajectory.fields:
        states.append((1 + step_size * field.split) * states[-1] + step_size * field.unsplit(states[-1]))
    return states


def layer_outputs(encoder: nn.Module, batch: dict[str, Tensor]) -> list[Tensor]:
    outputs: list[Tensor] = []
    handles = [layer.register_forward_hook(lambda module, args, output: outputs.append(output)) for layer in layers_of(encoder)]
    encoder(**batch)
    for handle in handles:
        handle.remove()
    return [output[0] if isinstance(output, tuple) else output for output in outputs]


def largest(difference: Tensor) -> float:
    return float(difference.abs().max())


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
    compared = len(hidden) - (encoder.config.model_type == "modernbert")  # its last one is behind the final norm
    for step, state in zip(steps[:compared], hidden[:compared], strict=True):
        assert largest((step - state)[mask]) <= 1e-12


@pytest.mark.parametrize("kind", ["increment", "outer"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_a_padded_batch_is_its_examples_alone(encoder, side, kind):
    batch = padded(encoder, side)
    trajectory = trace(encoder, batch, kind)
    for row in range(len(LENGTHS)):
        real = trajectory.mask[row]
        alone = trace(encoder, {name: value[row : row + 1, real] for name, value in batch.items()}, kind)
        for state, single in zip(trajectory.states, alone.states, strict=True):
            assert largest(state[row, real] - single[0]) <= 1e-10
        for field, x, single_field, single in zip(trajectory.fields, trajectory.states, alone.fields, alone.states, strict=False):
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
    assert reaches == [kind == "full_attention" for kind in encoder.config.layer_types] == [True, False, False, True]


def test_a_modernbert_from_elsewhere_is_traced_as_it_is_and_a_loaded_one_without_rounding_to_float32(tokenizer, tmp_path):
    elsewhere = tiny(CONFIGS["modernbert"]())
    loaded, _ = load_encoder(saved(elsewhere, tokenizer, tmp_path))
    batch = padded(elsewhere, lengths=(9, 9))
    rounded, exact = trace(elsewhere, batch).states[1:], trace(loaded, batch).states[1:]
    assert all(torch.equal(x, y) for x, y in zip(rounded, layer_outputs(elsewhere, batch), strict=True))
    for x, y in zip(rounded, exact, strict=True):
        assert 0 < largest(x - y) <= 100 * torch.finfo(torch.float32).eps * largest(y)


def test_jvp_is_the_central_difference(encoder, generator):
    trajectory = trace(encoder, padded(encoder))
    step = 1e-5
    for field, x in zip(trajectory.fields, trajectory.states, strict=False):
        v = field.project(torch.randn(x.shape, generator=generator, dtype=x.dtype))
        exact = jvp(field, (x,), (v,))[1]
        difference = (field(x + step * v) - field(x - step * v)) / (2 * step)
        # truncation O(step²) and rounding O(eps / step), both about 1e-10 times the size and curvature of the layer
        assert largest(exact - difference) <= 1e-6 * largest(exact)


def test_vjp_is_the_adjoint_of_jvp(encoder, generator):
    trajectory = trace(encoder, padded(encoder))
    for field, x in zip(trajectory.fields, trajectory.states, strict=False):
        u, v = torch.randn((2, *x.shape), generator=generator, dtype=x.dtype)
        image, preimage = jvp(field, (x,), (v,))[1], vjp(field, x)[1](u)[0]
        scale = float(u.norm() * image.norm() + preimage.norm() * v.norm())
        assert abs(float((u * image).sum() - (preimage * v).sum())) <= 100 * EPS * scale


def test_derivatives_batch_over_directions(encoder, generator):
    trajectory = trace(encoder, padded(encoder))
    field, x = trajectory.fields[1], trajectory.states[1]
    directions = torch.randn((3, *x.shape), generator=generator, dtype=x.dtype)
    forward, (_, pullback) = linearize(field, x)[1], vjp(field, x)
    one_by_one = torch.stack([jvp(field, (x,), (v,))[1] for v in directions])
    bound = 100 * EPS * largest(one_by_one)
    assert largest(vmap(forward)(directions) - one_by_one) <= bound
    assert largest(vmap(lambda v: jvp(field, (x,), (v,))[1])(directions) - one_by_one) <= bound
    assert largest(vmap(lambda u: pullback(u)[0])(directions) - torch.stack([pullback(u)[0] for u in directions])) <= bound


def test_sdpa_attention_gives_the_eager_fields(encoder, generator):
    batch, changed = padded(encoder, "left"), copy.deepcopy(encoder)
    changed.set_attn_implementation("sdpa")
    eager, fused = trace(encoder, batch), trace(changed, batch)
    assert fused.fields[0].layer.sdpa
    for l, x in enumerate(eager.states[:-1]):
        v = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        assert largest(fused.states[l] - x) <= 1e-12 * largest(x)
        for transform in (lambda f, x, v: jvp(f, (x,), (v,))[1], lambda f, x, v: vjp(f, x)[1](v)[0]):
            expected = transform(eager.fields[l], x, v)
            assert largest(transform(fused.fields[l], x, v) - expected) <= 1e-12 * largest(expected)


def test_a_model_with_a_head_is_traced_as_its_encoder():
    model = tiny(CONFIGS["electra"](), auto=transformers.AutoModelForSequenceClassification)
    batch = padded(model)
    whole, bare = trace(model, batch), trace(model.electra, batch)
    assert all(torch.equal(x, y) for x, y in zip(whole.states, bare.states, strict=True))


def test_trace_reads_segments_and_ignores_labels(bert):
    batch = padded(bert)
    segments = {"token_type_ids": torch.ones_like(batch["input_ids"]), "labels": torch.zeros(3), "special_tokens_mask": None}
    states = trace(bert, batch | segments).states
    assert torch.equal(states[0][0], bert.embeddings(batch["input_ids"], segments["token_type_ids"])[0])


def test_trace_leaves_no_hook_even_when_the_encoder_fails(bert):
    batch = padded(bert)
    bert.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        trace(bert, batch)
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in layers_of(bert))


def test_states_traced_under_inference_mode_enter_autograd(bert):
    with torch.inference_mode():
        trajectory = trace(bert, padded(bert))
    x = trajectory.states[1].requires_grad_()
    assert torch.autograd.grad(trajectory.fields[1](x).sum(), x)[0].isfinite().all()


def test_minilm_is_explicit_euler_on_increments(minilm_folder):
    encoder, tokenizer = load_encoder(minilm_folder)
    batch = tokenizer(["A bridge hums in the wind.", "Two words", "No."], padding=True, return_tensors="pt")
    trajectory = trace(encoder, batch)
    hidden = encoder(**batch, output_hidden_states=True).hidden_states
    assert trajectory.depth == 6
    assert trajectory.states[0].dtype == torch.float64
    for state, reference in zip(explicit_states(trajectory), hidden, strict=True):
        assert largest((state - reference)[trajectory.mask]) <= 1e-12


@pytest.mark.parametrize("family", ["bert", "distilbert", "modernbert"])
@pytest.mark.parametrize("head", ["AutoModelForMaskedLM", "AutoModelForSequenceClassification"])
def test_a_checkpoint_with_a_head_loads_as_its_encoder(family, head, tokenizer, tmp_path):
    model = tiny(CONFIGS[family](), auto=getattr(transformers, head))
    encoder, loaded = load_encoder(saved(model, tokenizer, tmp_path))
    assert type(encoder) is type(model.base_model)
    assert not encoder.training
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    expected = model.base_model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in encoder.state_dict().items() if name in expected)
    assert all("pooler" in name for name in encoder.state_dict().keys() ^ expected.keys())
    assert trace(encoder, loaded(["the small words", "word"], padding=True, return_tensors="pt")).tokens == [6, 3]


def test_dtype_is_the_one_asked_for(checkpoint):
    encoder, _ = load_encoder(str(checkpoint), dtype=torch.float32)
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
    assert trace(encoder, padded(encoder)).states[-1].dtype == torch.float32


def test_loading_is_quiet_and_changes_no_global_state(bert, tokenizer, tmp_path, capfd):
    bert.pooler = None  # transformers reports it as missing and draws it at random
    saved(bert, tokenizer, tmp_path)
    loggers = [logging.getLogger(name) for name in ("transformers", "huggingface_hub")]
    before = [logger.level for logger in loggers], bars.is_progress_bar_enabled(), torch.get_rng_state().tolist()
    capfd.readouterr()
    load_encoder(tmp_path)
    with contextlib.suppress(ValueError):
        load_encoder(tmp_path / "nowhere")
    assert capfd.readouterr() == ("", "")
    assert before == ([logger.level for logger in loggers], bars.is_progress_bar_enabled(), torch.get_rng_state().tolist())


def rewrite(folder: pathlib.Path, change) -> None:
    """Change the tensors of a checkpoint."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def truncate(folder: pathlib.Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def corrupt(folder: pathlib.Path) -> None:
    (folder / "model.safetensors").write_bytes(b"no safetensors at all")


def pickle_only(folder: pathlib.Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def forget_tokenizer(folder: pathlib.Path) -> None:
    for file in folder.glob("*token*"):
        file.unlink()


QUERY = "encoder.layer.1.attention.self.query.weight"
DAMAGE = {
    "without config": (lambda folder: (folder / "config.json").unlink(), "checkpoint folder with config.json, got a folder without it"),
    "config no JSON": (lambda folder: (folder / "config.json").write_text("{"), "readable config.json .*OSError"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "readable weights in model.safetensors, got OSError"),
    "pickle only": (pickle_only, "readable weights in model.safetensors, got OSError"),
    "truncated": (truncate, "readable weights in model.safetensors, got SafetensorError"),
    "corrupt": (corrupt, "readable weights in model.safetensors, got SafetensorError"),
    "nan": (lambda folder: rewrite(folder, lambda t: t[QUERY][0].fill_(torch.nan)), f"finite weights in torch.float64, 1 .*: {QUERY}"),
    "missing": (lambda folder: rewrite(folder, lambda t: t.pop(QUERY)), f"1 missing or misshapen: {QUERY}"),
    "misshapen": (lambda folder: rewrite(folder, lambda t: t.update({QUERY: torch.ones(2, 2)})), f"1 missing or misshapen: {QUERY}"),
    "no tokenizer": (forget_tokenizer, "must have a readable tokenizer, got none of tokenizer.json, vocab.txt"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_refused(damage, checkpoint):
    change, message = DAMAGE[damage]
    change(checkpoint)
    with pytest.raises(ValueError, match=message) as caught:
        load_encoder(checkpoint)
    assert str(checkpoint) in str(caught.value)
    assert "\n" not in str(caught.value)


NO_ENCODERS = {
    "gpt2": (lambda: transformers.GPT2Config(vocab_size=9, n_embd=8, n_layer=1, n_head=2), "a decoder"),
    "t5": (lambda: transformers.T5Config(vocab_size=9, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2), "an encoder-decoder"),
    "vit": (
        lambda: transformers.ViTConfig(
            hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, image_size=4, patch_size=2
        ),
        "no text encoder",
    ),
    "bert": (lambda: transformers.BertConfig(**SIZES, num_hidden_layers=1, is_decoder=True), "a decoder"),
}


@pytest.mark.parametrize("kind", NO_ENCODERS)
def test_a_model_that_is_no_encoder_is_refused(kind, tokenizer, tmp_path):
    config, came = NO_ENCODERS[kind]
    model = tiny(config())
    message = f"must be an encoder such as bert, .*got model_type '{kind}', {came}"
    with pytest.raises(ValueError, match=message):
        load_encoder(saved(model, tokenizer, tmp_path))
    with pytest.raises(ValueError, match=message):
        trace(model, {})


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("no-organisation/no-model", "'no-organisation/no-model' must be a hub id or .*no network may be the cause"),
        ("./no/such/folder", "'./no/such/folder' must be a hub id or a checkpoint folder with config.json, got no folder"),
        (pathlib.Path("folder"), "'folder' must be a hub id or a checkpoint folder with config.json, got no folder"),
    ],
)
def test_a_model_that_is_not_there_is_refused(model, message):
    with pytest.raises(ValueError, match=message):
        load_encoder(model)


def test_a_dtype_that_is_not_floating_is_refused(checkpoint):
    with pytest.raises(ValueError, match=r"dtype must be a floating-point type, got torch.int64"):
        load_encoder(checkpoint, dtype=torch.int64)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            transformers.AlbertConfig(**SIZES, num_hidden_layers=2, embedding_size=8),
            "longest list of layers run once each in order, got 0",
        ),
        (transformers.ConvBertConfig(**SIZES, num_hidden_layers=1, embedding_size=8), "its layers one after the other on real tokens"),
    ],
    ids=["layers shared", "padding reaches real tokens"],
)
def test_an_encoder_that_is_no_chain_of_layers_is_refused(config, message):
    encoder = tiny(config)
    with pytest.raises(ValueError, match=message):
        trace(encoder, padded(encoder))


BATCHES = {
    "no mask": (lambda batch: {"input_ids": batch["input_ids"]}, "batch must have attention_mask as a tensor .*, got NoneType"),
    "lists": (lambda batch: {**batch, "input_ids": [[1]]}, "batch must have input_ids as a tensor .*, got list"),
    "shapes": (lambda batch: {**batch, "attention_mask": batch["attention_mask"][:, 1:]}, r"got \(3, 13\) and \(3, 12\)"),
    "vocabulary": (lambda batch: {**batch, "input_ids": batch["input_ids"] + 50}, r"input_ids must be in \[0, 60\)"),
    "too long": (lambda batch: {name: value.repeat(1, 3) for name, value in batch.items()}, "at most 32 tokens .*, got 39"),
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
    with pytest.raises(ValueError, match="encoder must be a transformers PreTrainedModel, got Linear"):
        trace(nn.Linear(2, 2), batch)
    bert.encoder.layer[1].train()
    with pytest.raises(ValueError, match="encoder must be in eval mode"):
        trace(bert, batch)
