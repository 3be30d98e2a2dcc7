"""Hugging Face encoders: checkpoint → encoder, encoder and tokens → Trajectory. transformers, slow to import, is known here alone."""

import contextlib
import dataclasses
import inspect
import logging
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from odestab.trajectory import Trajectory
from odestab.vector_field import LayerVectorField

# Where each family keeps its layers. Any other encoder is searched for them, and what is found is checked against its own forward.
LAYER_PATHS = dict.fromkeys(("bert", "roberta", "electra"), "encoder.layer") | {"distilbert": "transformer.layer", "modernbert": "layers"}
DOUBLE_THROUGHOUT = ("bert", "roberta", "electra", "distilbert")  # others may round to float32 inside a layer, as ModernBERT does
INPUT_NAMES = ("input_ids", "attention_mask", "token_type_ids", "position_ids")


def load_encoder(model: str | Path, dtype: torch.dtype = torch.float64, device: str | torch.device = "cpu") -> tuple[nn.Module, Any]:
    """The bare encoder of a checkpoint, ready for analysis, and its tokenizer.

    Eager attention, eval mode, parameters without gradient, weights from safetensors only, never remote code. A checkpoint with a task
    head loads as its encoder; a pooler that the checkpoint lacks is the only part left at random values, and no layer reads it. In float64
    the layers compute in float64 throughout, also where transformers rounds to float32 (ModernBERT: rotation and eager softmax).

    Args:
        model: a checkpoint folder, or a Hugging Face hub id.
        dtype: floating-point type of the parameters.
        device: where the encoder is put.

    Returns:
        The transformers `PreTrainedModel` and the tokenizer.

    Raises:
        ValueError: if the checkpoint is not found, is no encoder, has missing, unreadable or non-finite weights or no tokenizer,
            or if `dtype` is not a floating-point type.
    """
    if not dtype.is_floating_point:
        raise ValueError(f"dtype must be a floating-point type, got {dtype}")
    _require_folder_or_id(model)
    with _silence():
        encoder = _load_weights(model, dtype)
        tokenizer = _load_tokenizer(model)
    if dtype == torch.float64 and encoder.config.model_type not in DOUBLE_THROUGHOUT:
        for layer in {layer for layers in encoder.modules() if isinstance(layers, nn.ModuleList) for layer in layers}:
            layer.forward = types.MethodType(_forward_in_double, layer)  # a bound method survives a deep copy
    return encoder.to(device).eval().requires_grad_(False), tokenizer


def trace(encoder: nn.Module, batch: Mapping[str, Any], field: str = "increment") -> Trajectory:
    """The states x_0, …, x_L of a batch through an encoder and the layers' vector fields f_0, …, f_{L−1} (Mathematics, sections 1 and 5).

    The encoder runs once. Each layer F_l is bound to what the encoder passed it beside the state (masks, position embeddings), so
    x_{l+1} = F_l(x_l) on real tokens. A norm after the last layer is not part of the trajectory.

    Args:
        encoder: a transformers encoder in eval mode, bare or with a task head, on eager or sdpa attention.
        batch: `input_ids` and `attention_mask`, `(batch, tokens)`, padded on either side, and `token_type_ids` and `position_ids` where
            the encoder takes them; other entries are ignored. Moved to the encoder's device.
        field: "increment", f = F − id, or "outer", f = F.

    Returns:
        The trajectory, without gradient, in the encoder's dtype.

    Raises:
        ValueError: if the encoder is no encoder, is in training mode or has no chain of layers from hidden states to hidden states; if
            the batch lacks an entry or does not fit the encoder; if the field is unknown.
    """
    bare = _bare_encoder(encoder)
    inputs = _inputs(bare, batch)
    with torch.inference_mode(False), torch.no_grad():  # tensors of a caller's inference_mode could not enter autograd later
        mask = batch["attention_mask"].to(bare.device).bool()
        steps = _layer_steps(bare, inputs)
        fields = tuple(LayerVectorField(step.layer, mask, field, step.layer.module) for step in steps)
        states = tuple(fields[0].project(state) for state in (*(step.before for step in steps), steps[-1].after))
        if bare.config.model_type not in LAYER_PATHS:
            _require_chain(bare, fields, states)
    return Trajectory(states, mask, fields)


@dataclasses.dataclass(frozen=True, eq=False)
class BoundLayer:
    """F(x): an encoder's layer with everything beside the hidden state fixed to what the encoder passed it.

    Attributes:
        module: the layer.
        arguments: its positional arguments after the hidden state.
        keywords: its keyword arguments.
        sdpa: run torch's fused attention by its MATH kernel, the only one with forward-mode derivatives.
    """

    module: nn.Module
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    sdpa: bool = False

    def __call__(self, x: Float[Tensor, "batch tokens hidden"]) -> Float[Tensor, "batch tokens hidden"]:
        """F(x)."""
        with _attention_kernel(self.sdpa):
            output = self.module(x, *self.arguments, **self.keywords)
        return output[0] if isinstance(output, tuple) else output


class _KeepDouble(TorchFunctionMode):
    """Casts from float64 to float32 leave float64."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if args and isinstance(args[0], Tensor) and args[0].dtype == torch.float64:
            if func is Tensor.float:
                return args[0]
            if kwargs.get("dtype") == torch.float32:
                kwargs = {**kwargs, "dtype": torch.float64}
        return func(*args, **kwargs)


def _forward_in_double(layer: nn.Module, *args: Any, **kwargs: Any) -> Any:
    with _KeepDouble():
        return type(layer).forward(layer, *args, **kwargs)


class _LayerStep(NamedTuple):
    """One layer as the encoder called it: F, x_l and x_{l+1}."""

    layer: BoundLayer
    before: Tensor
    after: Tensor


def _attention_kernel(sdpa: bool) -> contextlib.AbstractContextManager[Any]:
    return sdpa_kernel(SDPBackend.MATH) if sdpa else contextlib.nullcontext()


def _bare_encoder(encoder: Any) -> Any:
    """The encoder under a task head, checked."""
    from transformers import PreTrainedModel

    if not isinstance(encoder, PreTrainedModel):
        raise ValueError(f"encoder must be a transformers PreTrainedModel, got {type(encoder).__name__}")
    _require_encoder(encoder.config, f"encoder {type(encoder).__name__}")
    bare: Any = encoder.base_model
    if any(module.training for module in bare.modules()):
        raise ValueError("encoder must be in eval mode, call encoder.eval(): got training mode, where dropout makes f random")
    if (attention := bare.config._attn_implementation) not in ("eager", "sdpa"):
        raise ValueError(f"encoder must use eager or sdpa attention, got {attention}: call encoder.set_attn_implementation('eager')")
    return bare


def _inputs(encoder: Any, batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """What the encoder is called with, checked and on its device."""
    for name in ("input_ids", "attention_mask"):
        if not isinstance(came := batch.get(name), Tensor):
            raise ValueError(f"batch must have {name} as a tensor (tokenize with return_tensors='pt'), got {type(came).__name__}")
    ids, shapes = batch["input_ids"], [tuple(batch[name].shape) for name in ("input_ids", "attention_mask")]
    if ids.ndim != 2 or shapes[0] != shapes[1] or not ids.numel():
        raise ValueError(f"input_ids and attention_mask must be (batch, tokens), alike and not empty, got {shapes[0]} and {shapes[1]}")
    size = encoder.config.get_text_config().vocab_size
    if not 0 <= int(ids.min()) <= int(ids.max()) < size:
        raise ValueError(f"input_ids must be in [0, {size}), the encoder's vocabulary, got {int(ids.min())} to {int(ids.max())}")
    named = [module for name, module in encoder.named_modules() if name.split(".")[-1] == "position_embeddings"]
    for positions in (module for module in named if isinstance(module, nn.Embedding)):
        first = 0 if positions.padding_idx is None else positions.padding_idx + 1  # where RoBERTa starts to count
        if ids.shape[1] > (limit := positions.num_embeddings - first):
            raise ValueError(f"batch must have at most {limit} tokens (tokenize with truncation=True), got {ids.shape[1]}")
    accepted = inspect.signature(encoder.forward).parameters
    return {name: batch[name].to(encoder.device) for name in INPUT_NAMES if name in batch and name in accepted}


def _layer_steps(encoder: Any, inputs: dict[str, Tensor]) -> list[_LayerStep]:
    """The longest list of modules that the encoder runs once each, in order, from hidden states to hidden states."""
    path = LAYER_PATHS.get(encoder.config.model_type)
    lists = [encoder.get_submodule(path)] if path else [module for module in encoder.modules() if isinstance(module, nn.ModuleList)]
    steps = _record(encoder, {layer for layers in lists for layer in layers}, inputs)
    chains = [chain for layers in lists if (chain := _chain(list(layers), steps, inputs["input_ids"].shape))]
    longest = [chain for chain in chains if len(chain) == max(map(len, chains))]
    if len(longest) != 1:
        came = f"{len(longest)} such of {len(lists)} lists"
        raise ValueError(f"encoder {type(encoder).__name__} must have one longest list of layers that run once each, in order, got {came}")
    return longest[0]


def _record(encoder: Any, modules: set[nn.Module], inputs: dict[str, Tensor]) -> list[_LayerStep]:
    """Run the encoder once and keep each call of the modules, in order."""
    sdpa = encoder.config._attn_implementation == "sdpa"
    steps: list[_LayerStep] = []

    def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        before, *arguments = args or (kwargs.get("hidden_states"),)
        keywords = {name: value for name, value in kwargs.items() if name != "hidden_states"}
        after = output[0] if isinstance(output, tuple) else output
        steps.append(_LayerStep(BoundLayer(module, tuple(arguments), keywords, sdpa), before, after))

    handles = [module.register_forward_hook(keep, with_kwargs=True) for module in modules]
    try:
        with _attention_kernel(sdpa):
            encoder(**inputs)
    finally:
        for handle in handles:
            handle.remove()
    return steps


def _chain(layers: list[nn.Module], steps: list[_LayerStep], shape: torch.Size) -> list[_LayerStep]:
    """The steps of these layers if each ran once, in order, on states of one shape `(batch, tokens, hidden)`; else nothing."""
    own = [step for step in steps if step.layer.module in layers]
    sizes = {getattr(state, "shape", ()) for step in own for state in (step.before, step.after)}
    fits = len(sizes) == 1 and all(len(size) == 3 and size[:2] == shape for size in sizes)
    return own if fits and [step.layer.module for step in own] == layers else []


def _require_chain(encoder: Any, fields: Sequence[LayerVectorField], states: Sequence[Tensor]) -> None:
    """Require x_{l+1} = F_l(x_l) on real tokens; it fails where padding reaches them or something happens between the layers."""
    for l, field in enumerate(fields):
        difference = float((field.unsplit(states[l]) - states[l + 1]).abs().max())
        if not difference <= 100 * torch.finfo(states[l].dtype).eps * float(states[l + 1].abs().max()):
            came = f"a difference of {difference:.1e} after layer {l}"
            raise ValueError(f"encoder {type(encoder).__name__} must be its layers one after the other on real tokens, got {came}")


def _require_folder_or_id(model: str | Path) -> None:
    """Tell a wrong folder from a hub id before the hub is asked, which takes long where there is no network."""
    name, path = str(model), Path(model)
    local = isinstance(model, Path) or path.exists() or path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1
    if local and not (path / "config.json").is_file():
        came = "a folder without it" if path.is_dir() else "no folder"
        raise ValueError(f"model {name!r} must be a hub id or a checkpoint folder with config.json, got {came}")


def _require_encoder(config: Any, name: str) -> None:
    """An encoder of transformers is one that has a masked-language-model head; a model type from elsewhere is taken at its word."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_MASKED_LM_MAPPING_NAMES

    kind = config.model_type
    unmasked = kind in CONFIG_MAPPING_NAMES and kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    encoder_decoder = getattr(config, "is_encoder_decoder", False)
    decoder = getattr(config, "is_decoder", False) or (unmasked and kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    if encoder_decoder or decoder or unmasked:
        came = "an encoder-decoder" if encoder_decoder else "a decoder" if decoder else "no text encoder"
        families = ", ".join(LAYER_PATHS)
        raise ValueError(f"{name} must be an encoder ({families}, or one alike with a masked-LM head), got model_type {kind!r}, {came}")


def _load_weights(model: str | Path, dtype: torch.dtype) -> Any:
    """The encoder with every weight read from the checkpoint, or an error that names what is wrong."""
    from transformers import AutoConfig, AutoModel

    options = {"attn_implementation": "eager", "use_safetensors": True, "trust_remote_code": False}
    judged = {"output_loading_info": True, "ignore_mismatched_sizes": True}  # below
    with _required(model, "be a hub id or a checkpoint folder with a readable config.json (no network may be the cause)"):
        config = AutoConfig.from_pretrained(model, trust_remote_code=False)
    _require_encoder(config, f"model {str(model)!r}")
    with _required(model, "have readable weights in model.safetensors"):
        encoder, report = AutoModel.from_pretrained(model, config=config, dtype=dtype, **options, **judged)
    unread = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}
    if bad := sorted(key for key in unread if "pooler" not in key):
        raise ValueError(f"model {str(model)!r} must have every weight in its shape, {len(bad)} missing or misshapen: {', '.join(bad[:3])}")
    if bad := [name for name, parameter in encoder.named_parameters() if not parameter.isfinite().all()]:
        raise ValueError(f"model {str(model)!r} must have finite weights in {dtype}, {len(bad)} are not: {', '.join(bad[:3])}")
    return encoder


def _load_tokenizer(model: str | Path) -> Any:
    from transformers import AutoTokenizer

    with _required(model, "have a readable tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    files = sorted({"tokenizer.json", *tokenizer.vocab_files_names.values()})  # without them transformers makes up five tokens
    if Path(model).is_dir() and not any((Path(model) / file).is_file() for file in files):
        raise ValueError(f"model {str(model)!r} must have a readable tokenizer, got none of {', '.join(files)}")
    return tokenizer


@contextlib.contextmanager
def _required(model: str | Path, requirement: str) -> Iterator[None]:
    """Turn any exception into a ValueError of one line: the libraries below transformers each have their own."""
    try:
        yield
    except Exception as error:
        came = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ValueError(f"model {str(model)!r} must {requirement}, got {came}") from error


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """No log, progress bar or use of torch's global generator while a checkpoint loads; all as it was afterwards."""
    from transformers.utils import logging as bars  # first import: it sets its logger's level

    levels = {logger: logger.level for logger in map(logging.getLogger, ("transformers", "huggingface_hub"))}
    shown = bars.is_progress_bar_enabled()
    try:
        for logger in levels:
            logger.setLevel(logging.CRITICAL)
        if shown:
            bars.disable_progress_bar()
        with torch.random.fork_rng(devices=[]):  # a missing pooler is drawn at random
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
        if shown:
            bars.enable_progress_bar()
