"""A checkpoint → sequence classifier and tokenizer, ready for analysis."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from odestab.encoder_layers.checkpoint import (
    load_tokenizer,
    load_weights,
    ready,
    require_folder_or_id,
    silence,
)
from odestab.encoder_layers.declared import Steps, declared_steps
from odestab.encoder_layers.families import LAYER_PATHS
from odestab.encoder_layers.tracing import BoundLayer
from odestab.fields.vector_field import FIELD_KINDS, LayerVectorField
from odestab.one_thread import ONE_THREAD
from odestab.steps.one_step import ExplicitEuler


def load_classifier(
    model: str | Path,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> tuple[nn.Module, Any]:
    """The sequence classifier of a checkpoint, loaded as `load_encoder` loads encoders, and its
    tokenizer.

    Where the checkpoint declares steps (IM-BERT) its layers take them.

    Args:
        model: a checkpoint folder, or a Hugging Face hub id.
        dtype: floating-point type of the parameters.
        device: where the classifier is put.

    Returns:
        The transformers `PreTrainedModel` and the tokenizer.

    Raises:
        ValueError: if the checkpoint is not found, is no encoder, has no head for a sequence,
            missing, unreadable or non-finite weights or no tokenizer, if its declared steps cannot
            be built, or if `dtype` is not a floating-point type.

    >>> folder = od.embedded_model_folder()  # of a bare encoder
    >>> try:
    ...     classifier, tokenizer = od.load_classifier(folder)
    ... except ValueError as error:
    ...     print(str(error).split(", got ")[1])
    a checkpoint without the weights of its head: classifier.bias, classifier.weight
    """
    if not dtype.is_floating_point:
        raise ValueError(f"dtype must be a floating-point type, got {dtype}")
    require_folder_or_id(model)
    # what a checkpoint lacks is drawn at random before it is refused
    with ONE_THREAD, silence(), torch.random.fork_rng(devices=[]):
        classifier = load_weights(model, dtype, classifier=True)
        tokenizer = load_tokenizer(model)
    steps = declared_steps(classifier.config)
    if steps is not None:
        _take_steps(classifier, steps)
    return ready(classifier, dtype, device), tokenizer


@dataclasses.dataclass
class _RealTokens:
    """Which tokens of the batch that is in the model are real; None is all."""

    mask: Tensor | None = None

    def keep(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        mask = kwargs.get("attention_mask")
        self.mask = None if mask is None else mask.bool()


def _take_steps(classifier: Any, steps: tuple[Steps, ...]) -> None:
    """Let the layers take the steps that the checkpoint declares."""
    real = _RealTokens()
    classifier.base_model.register_forward_pre_hook(real.keep, with_kwargs=True)
    layers = classifier.base_model.get_submodule(LAYER_PATHS[classifier.config.model_type])
    for layer, (kind, methods) in zip(layers, steps, strict=True):
        if not _is_plain(kind, methods):
            plain = functools.partial(type(layer).forward, layer)
            layer.forward = functools.partial(_step, plain, kind, methods, real)


def _is_plain(kind: str, methods: tuple[Any, ...]) -> bool:
    """Whether the step is the layer itself: explicit, of the increment, h = 1."""
    only = methods[0]
    explicit = isinstance(only, ExplicitEuler) and float(only.step_size) == 1
    return kind == FIELD_KINDS[0] and len(methods) == 1 and explicit


def _step(
    plain: Any,
    kind: str,
    methods: tuple[Any, ...],
    real: _RealTokens,
    hidden_states: Tensor,
    *args: Any,
    **kwargs: Any,
) -> Tensor:
    """The state after the steps of one layer."""
    bound = BoundLayer(plain, args, kwargs, len(hidden_states))
    # padding has no equation of its own; an explicit step treats it as the layer does
    mask = None if all(isinstance(method, ExplicitEuler) for method in methods) else real.mask
    field = LayerVectorField(bound, mask, kind)
    state = hidden_states
    for method in methods:
        state = method.step(field, state).state
    return state
