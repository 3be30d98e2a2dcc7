"""A checkpoint → sequence classifier and tokenizer, ready for analysis."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from odestab.encoder_layers.bound_layer import BoundLayer
from odestab.encoder_layers.checkpoint import load_model
from odestab.encoder_layers.declared import Steps, declared_steps
from odestab.encoder_layers.families import LAYER_PATHS
from odestab.fields.vector_field import FIELD_KINDS, LayerVectorField
from odestab.steps.one_step import AbstractOneStepMethod, ExplicitEuler, Step


def load_classifier(
    model: str | Path,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> tuple[nn.Module, Any]:
    """The sequence classifier of a checkpoint, loaded as `load_encoder` loads encoders, and its
    tokenizer.

    Where the checkpoint declares steps (IM-BERT) its layers take them when it is called, and its
    attribute `solved` says of each example of the last batch whether all of them were solved; None
    where none had to be. Its encoder alone stays plain: `trace` takes the steps of either.

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
    classifier, tokenizer = load_model(model, dtype, device, classifier=True)
    steps = declared_steps(classifier.config)
    if steps is not None:
        _take_steps(classifier, steps)
    return classifier, tokenizer


@dataclasses.dataclass
class _Forward:
    """A forward of the classifier, whose layers take steps; outside of one they are plain, as
    `trace` expects them.

    Attributes:
        running: whether there is one.
        mask: which tokens of its batch are real; None is all.
        solved: which of its examples had all their steps solved; None before the first one.
    """

    running: bool = False
    mask: Tensor | None = None
    solved: Tensor | None = None

    def begin(self, classifier: nn.Module, args: tuple[Any, ...]) -> None:
        self.running = True
        self.solved = None

    def keep(self, encoder: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        mask = kwargs.get("attention_mask")
        self.mask = None if mask is None else mask.bool()

    def end(self, classifier: Any, args: tuple[Any, ...], output: Any) -> None:
        self.running = False
        classifier.solved = self.solved

    def note(self, method: AbstractOneStepMethod, made: Step) -> None:
        """Remember what was not solved; a solver that stops where it is told to has not failed."""
        by_design = getattr(getattr(method, "solver", None), "keeps_last", False)
        if made.solution is None or by_design:
            return
        converged = made.solution.converged
        self.solved = converged if self.solved is None else self.solved & converged


def _take_steps(classifier: Any, steps: tuple[Steps, ...]) -> None:
    """Let the layers take the steps that the checkpoint declares."""
    forward = _Forward()
    classifier.solved = None
    classifier.register_forward_pre_hook(forward.begin)
    classifier.base_model.register_forward_pre_hook(forward.keep, with_kwargs=True)
    classifier.register_forward_hook(forward.end, always_call=True)
    layers = classifier.base_model.get_submodule(LAYER_PATHS[classifier.config.model_type])
    for layer, (kind, methods) in zip(layers, steps, strict=True):
        if not _is_plain(kind, methods):
            plain = functools.partial(type(layer).forward, layer)
            layer.forward = functools.partial(_step, plain, kind, methods, forward)


def _is_plain(kind: str, methods: tuple[Any, ...]) -> bool:
    """Whether the step is the layer itself: explicit, of the increment, h = 1."""
    only = methods[0]
    explicit = isinstance(only, ExplicitEuler) and float(only.step_size) == 1
    return kind == FIELD_KINDS[0] and len(methods) == 1 and explicit


def _step(
    plain: Any,
    kind: str,
    methods: tuple[Any, ...],
    forward: _Forward,
    hidden_states: Tensor,
    *args: Any,
    **kwargs: Any,
) -> Tensor:
    """The state after the steps of one layer."""
    if not forward.running:
        return plain(hidden_states, *args, **kwargs)
    bound = BoundLayer(plain, args, kwargs, len(hidden_states))
    # padding has no equation of its own; an explicit step treats it as the layer does
    mask = None if all(isinstance(method, ExplicitEuler) for method in methods) else forward.mask
    field = LayerVectorField(bound, mask, kind)
    state = hidden_states
    for method in methods:
        made = method.step(field, state)
        forward.note(method, made)
        state = made.state
    return state
