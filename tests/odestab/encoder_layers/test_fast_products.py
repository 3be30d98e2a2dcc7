"""The written-out products of every structure that has a reader, against automatic differentiation.

Each layer is recorded as its own model calls it, and computes in float64 throughout.
"""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from encoders import CONFIGS, LAYERS, SIZES, largest, padded, tiny
from torch import Tensor, nn
from torch.func import jvp, vjp
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from odestab.encoder_layers.weights import layer_weights
from odestab.fields.linearized_layer import AnalyticLinearization
from odestab.fields.vector_field import LayerVectorField

EPS = torch.finfo(torch.float64).eps
DECODER = SIZES | LAYERS | {"num_key_value_heads": 1, "num_attention_heads": 4, "pad_token_id": 0}
IMAGE = {**SIZES, "num_hidden_layers": 2, "image_size": 12, "patch_size": 4}
IMAGE.pop("vocab_size")
T5 = {
    "vocab_size": 60,
    "d_model": 16,
    "d_kv": 6,
    "d_ff": 24,
    "num_layers": 2,
    "num_heads": 2,
    "pad_token_id": 0,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 12,
    "initializer_factor": 4.0,
}
DEBERTA = SIZES | LAYERS | {"relative_attention": True, "pad_token_id": 0}
FAMILIES: dict[str, tuple[Callable[[], Any], str]] = {
    "bert": (CONFIGS["bert"], "encoder.layer.1"),
    "mpnet": (lambda: transformers.MPNetConfig(**SIZES, **LAYERS), "encoder.layer.1"),
    "distilbert": (CONFIGS["distilbert"], "transformer.layer.1"),
    "albert": (
        lambda: transformers.AlbertConfig(**SIZES, **LAYERS, embedding_size=8),
        "encoder.albert_layer_groups.0",
    ),
    "deberta": (
        lambda: transformers.DebertaConfig(**DEBERTA, pos_att_type=["c2p", "p2c"]),
        "encoder.layer.1",
    ),
    "deberta-few-distances": (
        lambda: transformers.DebertaConfig(
            **DEBERTA, pos_att_type=["p2c"], max_relative_positions=4
        ),
        "encoder.layer.1",
    ),
    "deberta-v2": (
        lambda: transformers.DebertaV2Config(
            **DEBERTA, pos_att_type=["c2p", "p2c"], position_buckets=4
        ),
        "encoder.layer.1",
    ),
    "deberta-v3": (
        lambda: transformers.DebertaV2Config(
            **DEBERTA, pos_att_type=["p2c", "c2p"], share_att_key=True, position_buckets=6
        ),
        "encoder.layer.1",
    ),
    "gpt2": (
        lambda: transformers.GPT2Config(
            vocab_size=60,
            n_embd=16,
            n_head=2,
            n_layer=2,
            n_positions=32,
            initializer_range=0.3,
            pad_token_id=0,
        ),
        "h.1",
    ),
    "llama": (lambda: transformers.LlamaConfig(**DECODER), "layers.1"),
    "qwen2": (lambda: transformers.Qwen2Config(**DECODER), "layers.1"),
    "qwen3": (
        lambda: transformers.Qwen3Config(**DECODER | {"num_key_value_heads": 2}, head_dim=6),
        "layers.1",
    ),
    "mistral": (lambda: transformers.MistralConfig(**DECODER, sliding_window=4), "layers.1"),
    "gemma": (lambda: transformers.GemmaConfig(**DECODER, head_dim=4), "layers.1"),
    "modernbert": (CONFIGS["modernbert"], "layers.1"),
    "modernbert-first": (CONFIGS["modernbert"], "layers.0"),
    "vit": (lambda: transformers.ViTConfig(**IMAGE), "layers.1"),
    "dinov2": (lambda: transformers.Dinov2Config(**IMAGE, layerscale_value=0.7), "encoder.layer.1"),
    "dinov2-gated": (
        lambda: transformers.Dinov2Config(**IMAGE, layerscale_value=0.7, use_swiglu_ffn=True),
        "encoder.layer.1",
    ),
    "clip-text": (
        lambda: transformers.CLIPTextConfig(
            **SIZES, **LAYERS, pad_token_id=0, bos_token_id=1, eos_token_id=2
        ),
        "encoder.layers.1",
    ),
    "clip-image": (lambda: transformers.CLIPVisionConfig(**IMAGE), "encoder.layers.1"),
    "t5": (lambda: transformers.T5Config(**T5), "encoder.block.1"),
    "t5-first": (
        lambda: transformers.T5Config(**T5, feed_forward_proj="gated-gelu"),
        "encoder.block.0",
    ),
}
DECODERS = (
    *("gpt2", "llama", "qwen2", "qwen3", "mistral", "gemma"),
    *("gemma2", "granite", "olmo2", "stablelm"),
)
IMAGES = ("vit", "dinov2", "dinov2-gated", "clip-image")
WITHOUT_SDPA = ("mpnet", "deberta", "deberta-few-distances", "deberta-v2", "deberta-v3")


class KeepDouble(TorchFunctionMode):
    """Casts from float64 to float32 leave float64."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if args and isinstance(args[0], Tensor) and args[0].dtype == torch.float64:
            if func is Tensor.float or (func is Tensor.to and args[-1] is torch.float32):
                return args[0]
            if kwargs.get("dtype") == torch.float32:
                kwargs = {**kwargs, "dtype": torch.float64}
        return func(*args, **kwargs)


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """A layer as its model called it; `batch` is cut as a traced layer is."""

    module: nn.Module
    x: Tensor
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]

    def __call__(self, x: Tensor) -> Tensor:
        with KeepDouble(), sdpa_kernel(SDPBackend.MATH):
            output = self.module(x, *self.arguments, **self.keywords)
        return output[0] if isinstance(output, tuple) else output

    def take(self, examples: Tensor) -> "Call":
        def cut(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(cut(part) for part in value)
            per_example = isinstance(value, Tensor) and value.ndim > 2 and len(value) == len(self.x)
            return value[examples] if per_example else value

        keywords = {name: cut(value) for name, value in self.keywords.items()}
        return Call(self.module, self.x[examples], cut(self.arguments), keywords)

    def field(self, mask: Tensor) -> LayerVectorField:
        weights = layer_weights(self.module, self.arguments, self.keywords)
        analytic = None if weights is None else AnalyticLinearization(weights, self, mask)
        return LayerVectorField(self, mask, "outer", analytic)


def called(model: nn.Module, layer: nn.Module, batch: dict[str, Tensor]) -> Call:
    """The first call of a layer by its model."""
    calls = []

    def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        before, *arguments = args or (kwargs.get("hidden_states"),)
        keywords = {name: value for name, value in kwargs.items() if name != "hidden_states"}
        calls.append(Call(module, before, tuple(arguments), keywords))

    handle = layer.register_forward_pre_hook(keep, with_kwargs=True)
    with torch.no_grad(), KeepDouble():
        model(**batch)
    handle.remove()
    return calls[0]


CASES = [(family, "eager") for family in FAMILIES] + [
    (family, "sdpa") for family in FAMILIES if family not in WITHOUT_SDPA
]


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """One layer of a small model on a padded batch."""

    model: nn.Module
    layer: nn.Module
    batch: dict[str, Tensor]
    call: Call
    field: LayerVectorField

    @property
    def x(self) -> Tensor:
        return self.call.x

    def random(self, generator: torch.Generator, *leading: int) -> Tensor:
        v = torch.randn(*leading, *self.x.shape, generator=generator, dtype=torch.float64)
        return self.field.project(v)


def batch_of(family: str, model: nn.Module) -> dict[str, Any]:
    """Texts of several lengths, or images."""
    if family in IMAGES:
        generator = torch.Generator().manual_seed(0)
        return {"pixel_values": torch.rand(3, 3, 12, 12, generator=generator).double()}
    return padded(model) | ({"use_cache": False} if family in DECODERS else {})


def one_of(batch: dict[str, Any], row: int, real: Tensor) -> dict[str, Any]:
    """One example alone, without padding."""

    def cut(name: str, value: Any) -> Any:
        if name == "use_cache":
            return value
        return value[row : row + 1] if name == "pixel_values" else value[row : row + 1, real]

    return {name: cut(name, value) for name, value in batch.items()}


def made(family: str, attention: str) -> Case:
    config, path = (FAMILIES | ALIKE)[family]
    auto = (
        transformers.AutoModelForTextEncoding if family.startswith("t5") else transformers.AutoModel
    )
    model = tiny(config(), attention, auto)
    layer = model.get_submodule(path)
    batch = batch_of(family, model)
    call = called(model, layer, batch)
    mask = batch.get("attention_mask", torch.ones(call.x.shape[:2]))
    return Case(model, layer, batch, call, call.field(mask.bool()))


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def case(request: pytest.FixtureRequest) -> Case:
    return made(*request.param)


@pytest.fixture(scope="module", params=FAMILIES)
def eager(request: pytest.FixtureRequest) -> Case:
    return made(request.param, "eager")


def forward(case: Case, v: Tensor) -> Tensor:
    return jvp(case.field.unsplit, (case.x,), (v,))[1]


def test_both_products_are_those_of_automatic_differentiation(case, generator):
    fast, pull = case.field.linearize(case.x), vjp(case.field.unsplit, case.x)[1]
    assert fast.path == "analytic"
    tangents = case.random(generator, 3)
    mv = torch.stack([forward(case, v) for v in tangents])
    rmv = torch.stack([pull(u)[0] for u in tangents])
    for product, expected in ((fast.mv, mv), (fast.rmv, rmv)):
        batched = case.field.project(product(tangents))
        assert largest(batched - expected) <= 1e-12 * largest(expected)
        single = case.field.project(product(tangents[1]))
        assert largest(single - expected[1]) <= 1e-12 * largest(expected)


def test_the_hundredth_product_is_the_first(eager, generator):
    """A kept constant that a product changes would drift (PyTorch issue 107538)."""
    fast, v = eager.field.linearize(eager.x), eager.random(generator)
    tangent = v.clone()
    for _ in range(50):
        fast.mv(v), fast.rmv(v)
    assert torch.equal(v, tangent)
    hundredth, expected = eager.field.project(fast.mv(v)), forward(eager, v)
    assert largest(hundredth - expected) <= 1e-12 * largest(expected)
    hundredth, expected = (
        eager.field.project(fast.rmv(v)),
        vjp(eager.field.unsplit, eager.x)[1](v)[0],
    )
    assert largest(hundredth - expected) <= 1e-12 * largest(expected)


def test_the_transpose_is_the_adjoint(eager, generator):
    fast = eager.field.linearize(eager.x)
    u, v = eager.random(generator, 2)
    difference = (u * fast.mv(v)).sum() - (v * fast.rmv(u)).sum()
    assert difference.abs() <= 1e3 * EPS * u.norm() * fast.mv(v).norm()


def test_padded_is_alone(case, generator):
    fast, v = case.field.linearize(case.x), case.random(generator)
    for row, real in enumerate(case.field.mask):
        batch = one_of(case.batch, row, real)
        call = called(case.model, case.layer, batch)
        alone = call.field(case.field.mask[row : row + 1, real]).linearize(call.x)
        assert alone.path == "analytic"
        for product in ("mv", "rmv"):
            expected = getattr(alone, product)(v[row : row + 1, real])[0]
            image = case.field.project(getattr(fast, product)(v))[row, real]
            assert largest(image - expected) <= 1e-11 * largest(expected)


def test_a_cut_field_keeps_its_fast_products(eager, generator):
    fast, v = eager.field.linearize(eager.x), eager.random(generator)
    chosen = torch.tensor([2, 0])
    cut = eager.field.take(chosen).linearize(eager.x[chosen])
    assert cut.path == "analytic"
    for part in (cut, fast.take(chosen)):
        for product in ("mv", "rmv"):
            expected = getattr(fast, product)(v)[chosen]
            assert largest(getattr(part, product)(v[chosen]) - expected) <= 1e-12 * largest(
                expected
            )


def test_a_cast_linearization_is_that_of_the_cast_record(eager, generator):
    fast, v = eager.field.linearize(eager.x), eager.random(generator)
    low = fast.cast(torch.float32)
    for product in ("mv", "rmv"):
        expected, image = getattr(fast, product)(v), getattr(low, product)(v.float())
        assert image.dtype == torch.float32
        assert largest(image - expected) <= 1e2 * torch.finfo(torch.float32).eps * largest(expected)


ALIKE: dict[str, tuple[Callable[[], Any], str]] = {
    "convbert": (lambda: transformers.ConvBertConfig(**SIZES, **LAYERS), "encoder.layer.1"),
    "gemma2": (lambda: transformers.Gemma2Config(**DECODER, head_dim=4), "layers.1"),
    "granite": (
        lambda: transformers.GraniteConfig(**DECODER, residual_multiplier=0.5),
        "layers.1",
    ),
    "olmo2": (lambda: transformers.Olmo2Config(**DECODER), "layers.1"),
    "stablelm": (lambda: transformers.StableLmConfig(**DECODER), "layers.1"),
}


@pytest.mark.parametrize("family", ALIKE)
def test_a_layer_of_like_names_that_computes_something_else_is_differentiated_automatically(family):
    case = made(family, "eager")
    assert case.field.linearize(case.x).path == "torch.func"


class Adapted(nn.Linear):
    """A Linear that computes something else, as adapted and quantised ones do."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).round()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_linear_layer_that_is_adapted_or_hooked_is_not_read(family):
    case = made(family, "eager")
    arguments = case.call.arguments, case.call.keywords
    assert layer_weights(case.layer, *arguments) is not None
    names = [
        name
        for name, part in case.layer.named_modules()
        if hasattr(part, "weight") and not isinstance(part, nn.Embedding)
    ]
    for name in names:
        changed = copy.deepcopy(case.layer)
        part = changed.get_submodule(name)
        handle = part.register_forward_hook(lambda module, inputs, output: 2 * output)
        assert layer_weights(changed, *arguments) is None, name
        handle.remove()
        part.forward = type(part).forward.__get__(part)
        assert layer_weights(changed, *arguments) is None, name
        del part.forward
        assert layer_weights(changed, *arguments) is not None
        part.__class__ = Adapted
        assert layer_weights(changed, *arguments) is None, name
