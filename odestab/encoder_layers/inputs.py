"""What is run of a model, and what it is called with."""

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from odestab.encoder_layers.families import T5_KIN, position_limit

# What a batch may hold for others, or what decides about the output alone.
NOT_PASSED = frozenset(
    (
        "labels",
        "past_key_values",
        "use_cache",
        "output_attentions",
        "output_hidden_states",
        "return_dict",
    )
)
TOWERS = {"input_ids": "text_model", "pixel_values": "vision_model"}
Batch = Mapping[str, Any] | Tensor | tuple[Any, ...]


class Inputs(NamedTuple):
    """A model's arguments, and the mask of its tokens where there is one."""

    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    mask: Tensor | None


def is_transformers(model: Any) -> bool:
    """Whether a model is one of transformers, which need not be imported to know it."""
    return any(
        kind.__name__ == "PreTrainedModel" and kind.__module__.startswith("transformers.")
        for kind in type(model).__mro__
    )


def bare_model(model: Any, batch: Any) -> Any:
    """The part of a model that is run: without its task head, the encoder of an encoder-decoder,
    the text or the image half of a model of both.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if not is_transformers(model):
        return model
    bare: Any = model.base_model
    config = bare.config
    if config.model_type in T5_KIN or getattr(config, "is_encoder_decoder", False):
        bare = bare.get_encoder()
    for entry, tower in TOWERS.items():
        if all(hasattr(bare, name) for name in TOWERS.values()) and entry in batch:
            bare = getattr(bare, tower)
    return bare


def model_inputs(model: Any, batch: Any) -> Inputs:
    """What a model is called with, checked, on its device and in its precision."""
    if is_transformers(model):
        return _of_transformers(model, batch)
    if isinstance(batch, Mapping):
        keywords = {name: _moved(model, value) for name, value in batch.items()}
        return Inputs((), keywords, _mask_of_tokens(keywords))
    arguments = batch if isinstance(batch, tuple) else (batch,)
    if not any(isinstance(value, Tensor) for value in arguments):
        raise ValueError(
            "batch must be a mapping of keyword arguments, a tensor or a tuple of tensors, got "
            f"{type(batch).__name__}"
        )
    return Inputs(tuple(_moved(model, value) for value in arguments), {}, None)


def _mask_of_tokens(keywords: Mapping[str, Any]) -> Tensor | None:
    """The mask of a plain module's tokens, by the names that say how it is read."""
    padding = keywords.get("src_key_padding_mask")
    if isinstance(padding, Tensor):
        # torch adds a mask of numbers to the scores, where −∞ is padding.
        return ~padding if padding.dtype == torch.bool else padding != -torch.inf
    mask = keywords.get("attention_mask")
    if not isinstance(mask, Tensor) or mask.ndim != 2:
        return None
    require_binary(mask)
    return mask


def _of_transformers(model: Any, batch: Any) -> Inputs:
    if not isinstance(batch, Mapping):
        raise ValueError(
            f"batch must be a mapping of {type(model).__name__}'s arguments, got "
            f"{type(batch).__name__}"
        )
    main = model.main_input_name
    if not isinstance(batch.get(main), Tensor) and not isinstance(
        batch.get("inputs_embeds"), Tensor
    ):
        advice = " (tokenize with return_tensors='pt')" if main == "input_ids" else ""
        raise ValueError(
            f"batch must have {main} as a tensor{advice}, got {type(batch.get(main)).__name__}"
        )
    mask = batch.get("attention_mask")
    if isinstance(batch.get("input_ids"), Tensor):
        _require_tokens(model, batch["input_ids"], mask)
    if mask is not None:
        require_binary(mask)
    accepted = inspect.signature(type(model).forward).parameters
    keywords = {
        name: _moved(model, value)
        for name, value in batch.items()
        if name in accepted and name not in NOT_PASSED and value is not None
    }
    if "use_cache" in accepted:
        keywords["use_cache"] = False
    keywords |= {"output_hidden_states": True, "return_dict": True}
    return Inputs((), keywords, None if mask is None else mask.to(_like(model).device))


def _require_tokens(model: Any, ids: Tensor, mask: Any) -> None:
    """Raise ValueError unless token ids fit the model, and the mask fits them."""
    padding = getattr(model.config, "pad_token_id", None)
    padded = isinstance(padding, int) and bool((ids == padding).any())
    if not isinstance(mask, Tensor) and (mask is not None or padded):
        raise ValueError(
            "batch must have attention_mask as a tensor (tokenize with return_tensors='pt'), got "
            f"{type(mask).__name__}"
        )
    shape = tuple(ids.shape)
    masked = tuple(mask.shape) if isinstance(mask, Tensor) else shape
    if len(shape) != 2 or shape != masked or not ids.numel():
        raise ValueError(
            "input_ids and attention_mask must be (batch, tokens), alike and not empty, got "
            f"{shape} and {masked}"
        )
    size = model.config.get_text_config().vocab_size
    if not 0 <= int(ids.min()) <= int(ids.max()) < size:
        raise ValueError(
            f"input_ids must be in [0, {size}), the model's vocabulary, got {int(ids.min())} to "
            f"{int(ids.max())}"
        )
    limit = position_limit(model)
    if limit is not None and shape[1] > limit:
        raise ValueError(
            f"batch must have at most {limit} tokens (tokenize with truncation=True), got "
            f"{shape[1]}"
        )


def require_binary(mask: Tensor) -> None:
    """Refuse a mask with other values than 0 and 1.

    An additive mask reads the wrong way round: −1 on padding counts as real.

    Raises:
        ValueError: with the values.
    """
    if not bool(((mask == 0) | (mask == 1)).all()):
        got = f"values from {mask.min().item():g} to {mask.max().item():g}"
        raise ValueError(f"attention_mask must be 1 on real tokens and 0 on padding, got {got}")


def _moved(model: nn.Module, value: Any) -> Any:
    """A tensor on the model's device; one of numbers in its precision."""
    if not isinstance(value, Tensor):
        return value
    like = _like(model)
    return value.to(like.device, like.dtype) if value.is_floating_point() else value.to(like.device)


def _like(model: nn.Module) -> Tensor:
    """A tensor on a model's device in its precision."""
    floating = (weight for weight in model.parameters() if weight.is_floating_point())
    return next(floating, torch.empty(0))
