"""What does one product with a layer's Jacobian cost, in layer evaluations?

Side by side in one run: the analytic linearisation, and torch.func's jvp, linearize and cached vjp.
On one layer of the embedded model, with several tangents too; and on one layer of base size of each
family whose products are written out, with random weights, where the floating-point operations of
matrix products are counted as well.
"""

import dataclasses
import sys
from collections.abc import Callable
from typing import Any

import torch
from side_by_side import arguments, in_turns, publish, table, trajectory_of_passages
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import odestab as od
from odestab.encoder_layers.weights import layer_weights
from odestab.fields.linearized_layer import AnalyticLinearization
from odestab.fields.vector_field import linearize

BERT = {
    "vocab_size": 100,
    "hidden_size": 768,
    "num_hidden_layers": 2,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}
GATED = BERT | {"intermediate_size": 2048, "num_key_value_heads": 4}  # as many weights
IMAGE = {name: size for name, size in BERT.items() if name != "vocab_size"} | {"image_size": 80}
FAMILIES: dict[str, tuple[str, dict[str, Any], str]] = {  # configuration and place of a layer
    "BERT": ("BertConfig", BERT, "encoder.layer.1"),
    "MPNet": ("MPNetConfig", BERT, "encoder.layer.1"),
    "DeBERTa": (
        "DebertaConfig",
        BERT | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
        "encoder.layer.1",
    ),
    "DistilBERT": ("DistilBertConfig", {"vocab_size": 100, "n_layers": 2}, "transformer.layer.1"),
    "ALBERT": ("AlbertConfig", BERT, "encoder.albert_layer_groups.0"),
    "GPT-2": ("GPT2Config", {"vocab_size": 100, "n_layer": 2}, "h.1"),
    "Llama": ("LlamaConfig", GATED, "layers.1"),
    "Qwen3": ("Qwen3Config", GATED | {"head_dim": 64}, "layers.1"),
    "ModernBERT": (
        "ModernBertConfig",
        BERT | {"intermediate_size": 2048, "pad_token_id": 0},
        "layers.1",
    ),
    "ViT": ("ViTConfig", IMAGE, "layers.1"),
    "CLIP": ("CLIPTextConfig", BERT | {"eos_token_id": 2}, "encoder.layers.1"),
    "T5": (
        "T5Config",
        {"vocab_size": 100, "d_model": 768, "num_heads": 12, "d_ff": 3072, "num_layers": 2},
        "encoder.block.1",
    ),
}


def main() -> None:
    """Time every way to a product, print the tables, write the JSON file."""
    options = arguments(
        __doc__,
        sentences=8,
        tokens=64,
        layer=2,
        tangents=16,
        family_tokens=32,
        rounds=7,
        dtype="float32",
    )
    dtype = getattr(torch, options.dtype)
    trajectory = trajectory_of_passages(options.sentences, options.tokens, dtype, options.device)
    field, x = trajectory.fields[options.layer], trajectory.states[options.layer]
    path = od.Jacobian(field, x).linearization.path
    rows = several_tangents(field, x, options)
    print(table(rows))
    families = [one_tangent(name, dtype, options) for name in FAMILIES]
    print(table(families))
    named = ("sentences", "tokens", "layer", "family_tokens", "dtype", "rounds")
    setting = {key: getattr(options, key) for key in named}
    result = {"setting": setting, "path": path, "rows": rows, "families": families}
    print(publish("matvec_cost", result, options))


def several_tangents(field: Any, x: torch.Tensor, options: Any) -> list[dict[str, Any]]:
    """One layer of the embedded model: one tangent and many at once."""
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(x.shape, generator=generator).to(x)
    many = torch.randn(options.tangents, *x.shape, generator=generator).to(x)
    runs = alternatives(field, x, one) | of_many(field, x, many)
    counts = {name: options.tangents if "tangents" in name else 1 for name in runs}
    with torch.no_grad():
        times = in_turns(runs, options.rounds, options.device)
    layer = times["layer"]
    return [
        {
            "what": name,
            "tangents": counts[name],
            "cpu ms per tangent": 1e3 * spent["cpu"] / counts[name],
            "wall ms per tangent": 1e3 * spent["wall"] / counts[name],
            "layer evaluations (cpu)": spent["cpu"] / counts[name] / layer["cpu"],
            "layer evaluations (wall)": spent["wall"] / counts[name] / layer["wall"],
        }
        for name, spent in times.items()
    ]


def one_tangent(family: str, dtype: torch.dtype, options: Any) -> dict[str, Any]:
    """One layer of a family at base size: CPU seconds and operations, in layer evaluations."""
    field, x = layer_of(family, dtype, options)
    v = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).to(x)
    if (path := field.linearize(x).path) != "analytic":
        sys.exit(f"{family}: the layer must have an analytic path, got {path}")
    runs = alternatives(field, x, v)
    with torch.no_grad():
        # Short runs are noisy: each alternative takes a tenth of a second a round.
        times = in_turns(runs, options.rounds, options.device, at_least=0.1)
        operations = {name: counted(run) for name, run in runs.items() if "func" not in name}
    row: dict[str, Any] = {"family": family, "layer cpu ms": 1e3 * times["layer"]["cpu"]}
    for name in runs:
        if name != "layer":
            row[name] = times[name]["cpu"] / times["layer"]["cpu"]
    for name in ("analytic J v", "analytic Jᵀ u"):
        row[f"{name}, operations"] = operations[name] / operations["layer"]
    return row


def counted(run: Callable[[], Any]) -> int:
    """Floating-point operations of the matrix products."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def layer_of(family: str, dtype: torch.dtype, options: Any) -> tuple[Any, torch.Tensor]:
    """One layer as a field, and a state that its model gave it."""
    import transformers

    config, sizes, place = FAMILIES[family]
    auto = transformers.AutoModelForTextEncoding if family == "T5" else transformers.AutoModel
    torch.manual_seed(0)
    model = auto.from_config(getattr(transformers, config)(**sizes), attn_implementation="eager")
    model = model.to(options.device, dtype).eval().requires_grad_(False)
    batch: dict[str, Any] = {"pixel_values": torch.rand(options.sentences, 3, 80, 80, dtype=dtype)}
    if family != "ViT":
        ids = torch.randint(3, 100, (options.sentences, options.family_tokens))
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if family in ("GPT-2", "Llama", "Qwen3"):
        batch["use_cache"] = False
    inputs = {
        k: v.to(options.device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()
    }
    call = called(model, model.get_submodule(place), inputs)
    weights = layer_weights(call.module, call.arguments, call.keywords)
    assert weights is not None, family
    mask = torch.ones(call.x.shape[:2], dtype=torch.bool, device=call.x.device)
    return od.LayerVectorField(
        call, None, "outer", AnalyticLinearization(weights, call, mask)
    ), call.x


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """A layer with what its model passed it beside the state."""

    module: nn.Module
    x: torch.Tensor
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        output = self.module(x, *self.arguments, **self.keywords)
        return output[0] if isinstance(output, tuple) else output


def called(model: nn.Module, layer: nn.Module, inputs: dict[str, Any]) -> Call:
    """The first call of a layer by its model."""
    calls: list[Call] = []

    def keep(module: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        x, *arguments = args or (keywords.pop("hidden_states"),)
        calls.append(Call(module, x, tuple(arguments), keywords))

    handle = layer.register_forward_pre_hook(keep, with_kwargs=True)
    with torch.no_grad():
        model(**inputs)
    handle.remove()
    return calls[0]


def alternatives(field: Any, x: torch.Tensor, v: torch.Tensor) -> dict[str, Callable[[], Any]]:
    """Every way to a product, and the layer itself as the measure; what is cached between products
    is made before.
    """
    analytic, automatic = field.linearize(x), linearize(field.unsplit, x)
    layer = field.unsplit
    return {
        "layer": lambda: layer(x),
        "analytic: build": lambda: field.linearize(x),
        "analytic J v": lambda: analytic.mv(v),
        "analytic Jᵀ u": lambda: analytic.rmv(v),
        "func.jvp J v": lambda: torch.func.jvp(layer, (x,), (v,)),
        "func.linearize J v": lambda: automatic.mv(v),
        "cached func.vjp Jᵀ u": lambda: automatic.rmv(v),
    }


def of_many(field: Any, x: torch.Tensor, many: torch.Tensor) -> dict[str, Callable[[], Any]]:
    """The same for many tangents at once."""
    analytic, automatic = field.linearize(x), linearize(field.unsplit, x)
    k = len(many)
    return {
        f"analytic J v, {k} tangents": lambda: analytic.mv(many),
        f"analytic Jᵀ u, {k} tangents": lambda: analytic.rmv(many),
        f"func.linearize J v, {k} tangents": lambda: automatic.mv(many),
        f"cached func.vjp Jᵀ u, {k} tangents": lambda: automatic.rmv(many),
    }


if __name__ == "__main__":
    main()
