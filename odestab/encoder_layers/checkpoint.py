"""A checkpoint → encoder and tokenizer, every weight read and finite, or an error of one line."""

import contextlib
import functools
import logging
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from odestab.encoder_layers.bound_layer import KeepDouble
from odestab.encoder_layers.declared import declare_steps_of, plain_config
from odestab.encoder_layers.embedded_model import embedded_model_folder
from odestab.encoder_layers.families import (
    BERT_KIN,
    T5_KIN,
    is_decoder,
    position_limit,
    require_text_model,
)
from odestab.encoder_layers.weight_files import (
    INDEX,
    require_safe_name,
    shards,
    stored_types,
    weight_files,
)
from odestab.one_thread import ONE_THREAD

NO_LIMIT = 2**20  # tokens of a text for a model of relative positions
FLOATING = ("F", "BF")  # how safetensors names the types that are: F64, F32, F16, BF16, F8_E4M3, …

CLASSIFIER = "ForSequenceClassification"  # what the name of such an architecture ends with


def load_encoder(
    model: str | Path | None = None,
    dtype: torch.dtype = torch.float64,
    device: str | torch.device = "cpu",
    steps_of: str | Path | None = None,
    head: bool = False,
) -> tuple[nn.Module, Any]:
    """The bare encoder of a checkpoint, ready for analysis, and its tokenizer.

    Eager attention, eval mode, parameters without gradient, weights from safetensors only, never
    remote code. A checkpoint with a task head loads as its encoder; a pooler that the checkpoint
    lacks is the only part left at random values, and no layer reads it. In float64 the layers
    compute in float64 throughout, also where transformers rounds to float32 (ModernBERT: rotation
    and eager softmax). A checkpoint that declares steps (IM-BERT) loads as the plain encoder of its
    weights; `trace` takes the steps.

    Args:
        model: a checkpoint folder, or a Hugging Face hub id; None is the embedded model.
        dtype: floating-point type of the parameters.
        device: where the encoder is put.
        steps_of: a checkpoint whose declared steps the layers take, instead of what their own
            declares.
        head: keep the head of a sequence classifier, for `readout`; a checkpoint of anything else
            loads as its encoder all the same.

    Returns:
        The transformers `PreTrainedModel` and the tokenizer.

    Raises:
        ValueError: if the checkpoint is not found, is no encoder, has missing, unreadable or
            non-finite weights or no tokenizer, if `dtype` is not a floating-point type, or if the
            declared steps are not for such an encoder.

    >>> from analysis.config import default_model_folder
    >>> encoder, tokenizer = od.load_encoder(default_model_folder())
    >>> encoder.config.num_hidden_layers, encoder.dtype, encoder.training
    (6, torch.float64, False)
    """
    if model is None:
        model = embedded_model_folder()
    encoder, tokenizer = load_model(model, dtype, device, classifier=None if head else False)
    if steps_of is not None:
        with _required(steps_of, "declare steps that these layers can take"):
            require_folder_or_id(steps_of)
            declare_steps_of(encoder.config, steps_of)
    return encoder, tokenizer


def load_model(
    model: str | Path, dtype: torch.dtype, device: str | torch.device, classifier: bool | None
) -> tuple[Any, Any]:
    """The encoder, or the classifier, and its tokenizer; None is what the checkpoint says it is."""
    if not dtype.is_floating_point:
        raise ValueError(f"dtype must be a floating-point type, got {dtype}")
    require_folder_or_id(model)
    # what a checkpoint lacks, as a pooler, is drawn at random
    with ONE_THREAD, _silence(), torch.random.fork_rng(devices=[]):
        with_head = _has_head(model) if classifier is None else classifier
        loaded = _load_weights(model, dtype, with_head)
        tokenizer = _load_tokenizer(model)
        _agree(loaded, tokenizer)
    return _ready(loaded, dtype, device), tokenizer


def _agree(model: Any, tokenizer: Any) -> None:
    """Let a tokenizer pad and cut as its model takes it.

    Decoders often have no padding token, where any will do: padding on the right is behind all that
    a token attends to, and is masked. They count positions from the left, so padding on the left
    would move them.
    """
    limit = position_limit(model)
    tokenizer.model_max_length = min(tokenizer.model_max_length, limit or NO_LIMIT)
    if is_decoder(model.config):
        tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if getattr(model.config, "pad_token_id", None) is None:
        # by which a decoder's classifier finds the last token of a text
        model.config.pad_token_id = tokenizer.pad_token_id


def _ready(model: Any, dtype: torch.dtype, device: str | torch.device) -> Any:
    """A loaded model in eval mode on its device, parameters without gradient, computing in float64
    throughout where that is asked for.
    """
    if dtype == torch.float64 and model.config.model_type not in BERT_KIN:
        # A bound method survives a deep copy.
        model.forward = types.MethodType(_in_double(type(model).forward), model)
    return model.to(device).eval().requires_grad_(False)


def _in_double(forward: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(forward)
    def inside(model: nn.Module, *args: Any, **kwargs: Any) -> Any:
        with KeepDouble():
            return forward(model, *args, **kwargs)

    return inside


def require_folder_or_id(model: str | Path) -> None:
    """Tell a wrong folder from a hub id before the hub is asked: without a network that is slow."""
    name = str(model)
    path = Path(model)
    local = (
        isinstance(model, Path)
        or path.exists()
        or path.is_absolute()
        or name.startswith((".", "~"))
        or name.count("/") > 1
    )
    if local and not (path / "config.json").is_file():
        came = "a folder without it" if path.is_dir() else "no folder"
        raise ValueError(
            f"model {name!r} must be a hub id or a checkpoint folder with config.json, got {came}"
        )


def _load_weights(model: str | Path, dtype: torch.dtype, classifier: bool) -> Any:
    """The encoder, or the classifier, with every weight read from the checkpoint, or an error that
    names the fault.
    """
    from transformers import AutoConfig

    options = {"attn_implementation": "eager", "use_safetensors": True, "trust_remote_code": False}
    judged = {"output_loading_info": True, "ignore_mismatched_sizes": True}  # below
    with _required(
        model,
        "be a hub id or a checkpoint folder with a readable "
        "config.json (no network may be the cause)",
    ):
        config = plain_config(model) or AutoConfig.from_pretrained(model, trust_remote_code=False)
    require_text_model(config, f"model {str(model)!r}")
    architecture = _architecture(config, f"model {str(model)!r}", classifier)
    if config.model_type == "clip" and not classifier:
        config = config.text_config
    with _required(model, "have readable weights in model.safetensors"), warnings.catch_warnings():
        files = _safe_files(model, config)
        warnings.filterwarnings(
            "ignore", "Casting complex values", UserWarning
        )  # refused below, by name
        encoder, report = architecture.from_pretrained(
            model, config=config, dtype=dtype, **options, **judged
        )
    unread = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}
    if classifier:
        _require_head(model, unread)
    if bad := sorted(key for key in unread if classifier or "pooler" not in key):
        raise ValueError(
            f"model {str(model)!r} must have every weight in its shape, "
            f"{len(bad)} missing or misshapen: {', '.join(bad[:3])}"
        )
    with _required(model, "have readable weights in model.safetensors"):
        stored = stored_types(files or _cached_files(model))
    _require_floating(encoder, stored, set(report["unexpected_keys"]), model)
    if bad := [
        name for name, parameter in encoder.named_parameters() if not parameter.isfinite().all()
    ]:
        raise ValueError(
            f"model {str(model)!r} must have finite weights in "
            f"{dtype}, {len(bad)} are not: {', '.join(bad[:3])}"
        )
    return encoder.get_encoder() if config.is_encoder_decoder else encoder


def _architecture(config: Any, name: str, classifier: bool) -> Any:
    """The class that loads a configuration's encoder or decoder, or its classifier."""
    from transformers import (
        AutoModel,
        AutoModelForSequenceClassification,
        AutoModelForTextEncoding,
        CLIPTextModel,
    )

    if classifier and config.is_encoder_decoder:
        raise ValueError(
            f"{name} must be a classifier of its encoder's or decoder's states, got model_type "
            f"{config.model_type!r}, which reads a decoder behind its encoder"
        )
    if classifier:
        return AutoModelForSequenceClassification
    if config.model_type == "clip":
        return CLIPTextModel
    return AutoModelForTextEncoding if config.model_type in T5_KIN else AutoModel


def _has_head(model: str | Path) -> bool:
    """Whether a checkpoint says that it is a sequence classifier."""
    from transformers import PreTrainedConfig

    with _required(model, "have a readable config.json"):
        found, _ = PreTrainedConfig.get_config_dict(model)
    return any(str(name).endswith(CLASSIFIER) for name in found.get("architectures") or ())


def _require_head(model: str | Path, unread: set[str]) -> None:
    """Tell a bare encoder, whose head would be drawn at random, from a damaged classifier."""
    heads = ("classifier.", "score.", "pre_classifier.", "head.")
    if lacking := sorted(key for key in unread if key.startswith(heads)):
        raise ValueError(
            f"model {str(model)!r} must be a sequence classifier, got a checkpoint without the "
            f"weights of its head: {', '.join(lacking[:3])}"
        )


def _require_floating(
    encoder: Any, stored: Mapping[str, str], unused: set[str], model: str | Path
) -> None:
    """Raise ValueError if a stored weight that the encoder has is no floating-point number."""
    buffers = tuple(name for name, _ in encoder.named_buffers())
    others = {key for key, kind in stored.items() if not kind.startswith(FLOATING)} - unused
    if bad := sorted(key for key in others if not key.endswith(buffers)):
        came = ", ".join(f"{key} as {stored[key]}" for key in bad[:3])
        raise ValueError(
            f"model {str(model)!r} must have floating-point weights, {len(bad)} are not: {came}"
        )


def _safe_files(model: str | Path, config: Any) -> tuple[Path, ...]:
    """A folder's weights files, checked before any is opened; none for a hub id.

    Of a hub id, the names in its index are checked.
    """
    from transformers.utils import cached_file

    if Path(model).is_dir():
        return weight_files(model)
    if (chosen := getattr(config, "transformers_weights", None)) is not None:
        require_safe_name(str(chosen).removesuffix(".index.json"), f"model {str(model)!r}")
    asked = {
        "_raise_exceptions_for_missing_entries": False,
        "_raise_exceptions_for_connection_errors": False,
    }
    if (index := cached_file(model, INDEX, **asked)) is not None:
        shards(Path(index))
    return ()


def _cached_files(model: str | Path) -> tuple[Path, ...]:
    """The weights files of a hub id that has been loaded."""
    from transformers.utils import cached_file

    return weight_files(Path(str(cached_file(model, "config.json"))).parent)


def _load_tokenizer(model: str | Path) -> Any:
    """The tokenizer of a checkpoint, or an error of one line."""
    from transformers import AutoTokenizer

    with _required(model, "have a readable tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    files = sorted(
        {"tokenizer.json", *tokenizer.vocab_files_names.values()}
    )  # without them transformers makes up five tokens
    if Path(model).is_dir() and not any((Path(model) / file).is_file() for file in files):
        raise ValueError(
            f"model {str(model)!r} must have a readable tokenizer, got none of {', '.join(files)}"
        )
    return tokenizer


@contextlib.contextmanager
def _required(model: str | Path, requirement: str) -> Iterator[None]:
    """Turn any exception of the libraries below into a ValueError of one line."""
    try:
        yield
    except Exception as error:
        came = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ValueError(f"model {str(model)!r} must {requirement}, got {came}") from error


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """No log and no progress bar while a checkpoint loads; all as it was afterwards.

    Both are of the process: one thread at a time.
    """
    from transformers.utils import logging as bars  # first import: it sets its logger's level

    levels = {
        logger: logger.level
        for logger in map(logging.getLogger, ("transformers", "huggingface_hub"))
    }
    shown = bars.is_progress_bar_enabled()
    try:
        for logger in levels:
            logger.setLevel(logging.CRITICAL)
        if shown:
            bars.disable_progress_bar()
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
        if shown:
            bars.enable_progress_bar()
