"""A model and a batch → the trajectory of states, with each layer as a vector field."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from odestab.encoder_layers.declared import Steps, declared_steps
from odestab.encoder_layers.families import BERT_KIN
from odestab.encoder_layers.inputs import Batch, bare_model, model_inputs
from odestab.encoder_layers.model_checks import fused_attention, require_traceable
from odestab.encoder_layers.recording import Call, divided, recorded
from odestab.encoder_layers.stacks import Layers, layer_calls
from odestab.encoder_layers.trace_checks import require_chain, require_one_state, require_whole
from odestab.encoder_layers.weights import layer_weights
from odestab.fields.linearized_layer import AnalyticLinearization, HalfWeights, LayerWeights
from odestab.fields.trajectory import Trajectory
from odestab.fields.vector_field import FIELD_KINDS, LayerVectorField
from odestab.one_thread import ONE_THREAD
from odestab.steps.march import march


def trace(
    model: nn.Module,
    batch: Batch,
    field: str | None = None,
    sublayers: bool = False,
    layers: Layers = None,
) -> Trajectory:
    """The states x_0, …, x_L of a batch through a model, and its layers' fields f_0, …, f_{L−1}.

    The model runs once, without gradient. Each layer F_l is bound to what the model passed it
    beside the state (masks, position embeddings), so x_{l+1} = F_l(x_l) on real tokens
    (Mathematics, section 1 and Mathematics, section 5). A norm after the last layer is not part of
    the trajectory. A model of transformers is traced without its task head; of an encoder-decoder,
    the encoder; of CLIP, the half that the batch is for. A decoder's causal mask is fixed, and it
    keeps no cache. Where the checkpoint declares steps, as IM-BERT's does, the states are those
    that these steps take, one entry per substep, and the methods are given with them.

    In float64 everything is float64: casts to float32 on the way, as norms and softmaxes of many
    families have them, are left out, in the run and in the fields.

    What is returned is checked, which costs as much as the model two or three times more: the
    states are the model's own hidden states, each layer gives the next one, leaves its state alone
    and is passed nothing else that depends on it, and the last one, or a norm of it, is the model's
    output. No layer computes in less than the
    precision of its state, autocast apart. Threads may trace one model: they take turns.

    Args:
        model: any module in eval mode; of transformers, on eager or sdpa attention.
        batch: its keyword arguments, as a tokenizer or an image processor makes them; of a plain
            module also a tensor, or a tuple of them. Padding on either side is told by an
            `attention_mask` of 0 and 1, `(batch, tokens)`, or by torch's `src_key_padding_mask`;
            without one every token is real. Entries that a model of transformers does not take are
            ignored. Moved to the model's device and precision.
        field: "increment", f = F − id, or "outer", f = F; None is what the checkpoint declares for
            each layer, else "increment". Another field than the declared one has no declared
            methods.
        sublayers: take the two halves of each layer, F = F_F ∘ F_A, as fields of their own: the
            attention half F_A(x) = LN₁(W_o attention(x) + x), then the feed-forward half F_F(z) =
            LN₂(W₂ act(W₁ z) + z).
        layers: the dotted path of a ModuleList or Sequential, as "encoder.layer", or a list of
            submodules, one that runs several times as often as it runs; None finds them.

    Returns:
        The trajectory, without gradient, in the model's dtype; with `sublayers` of 2L fields and
        2L + 1 states.

    Raises:
        ValueError: if the model is in training mode or quantised; if the layers are none of its
            own, run in another way, are no chain from states `(batch, tokens, hidden)` to such
            states, are passed something else that depends on the state, or do not cover the model;
            if the batch lacks an entry,
            does not fit the model or has a mask that is not 0 and 1; if the field is unknown; if
            `sublayers` is asked for where the halves of the layers are not known; if the layers do
            not reproduce the model, or one rounds to a lower precision.

    >>> layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    >>> model = torch.nn.TransformerEncoder(layer, 2).double().eval()
    >>> stack = od.trace(model, torch.randn(1, 3, 8))
    >>> torch.allclose(stack.states[1], stack.states[0] + stack.fields[0](stack.states[0]))
    True
    """
    bare = bare_model(model, batch)
    require_traceable(bare)
    inputs = model_inputs(bare, batch)
    # Hooks are seen by all threads; tensors of a caller's inference_mode could not enter autograd
    # later.
    with ONE_THREAD, torch.inference_mode(False), torch.no_grad():
        fused = fused_attention(bare)
        forward = functools.partial(bare, *inputs.arguments, **inputs.keywords)
        calls, run = layer_calls(bare, layers, forward, fused)
        mask = _mask(inputs.mask, calls[0].before)
        require_whole(bare, calls, run, mask)
        require_one_state(bare, calls, forward, fused)
        calls = [divided(call) for call in calls]
        declared = declared_steps(getattr(bare, "config", None))
        kind = field or FIELD_KINDS[0]
        halved = sublayers and declared is None
        parts = (
            [half for call in calls for half in _halves(bare, call)]
            if halved
            else [(call, _weights(call)) for call in calls]
        )
        fields = tuple(_field(call.layer, mask, kind, weights) for call, weights in parts)
        states = tuple(
            fields[0].project(state)
            for state in (*(call.before for call, _ in parts), calls[-1].after)
        )
        require_chain(bare, fields, states)
        if declared is not None:
            return _follow_steps(calls, declared, mask, field, sublayers)
    return Trajectory(states, mask, fields)


def _mask(given: Tensor | None, state: Tensor) -> Tensor:
    """True on real tokens; all are where the batch has no mask of tokens."""
    if given is not None and given.shape == state.shape[:2]:
        return given.bool()
    if given is not None and not bool(given.all()):
        raise ValueError(
            f"attention_mask must be (batch, tokens) of states {tuple(state.shape)}, got "
            f"{tuple(given.shape)}"
        )
    return torch.ones(state.shape[:2], dtype=torch.bool, device=state.device)


def _follow_steps(
    layers: Sequence[Call],
    declared: Sequence[Steps],
    mask: Tensor,
    kind: str | None,
    sublayers: bool,
) -> Trajectory:
    """The trajectory of the steps that a checkpoint declares."""
    if sublayers:
        raise ValueError(
            "sublayers must be False for a checkpoint that declares "
            "steps: half a layer takes none, got True"
        )
    fields: list[LayerVectorField] = []
    methods: list[Any] = []
    states: list[Tensor] = []
    for layer, (own_kind, taken) in zip(layers, declared, strict=True):
        own = _field(layer.layer, mask, own_kind, _weights(layer))
        states = states or [own.project(layer.before)]
        # as the model takes them: the substeps of a layer are of one method
        steps = march(taken[0], own, states[-1], len(taken))
        states += [own.project(step.state) for step in steps]
        fields += [own if kind is None else dataclasses.replace(own, kind=kind)] * len(taken)
        methods += taken
    kept = kind is None or all(own_kind == kind for own_kind, _ in declared)
    return Trajectory(tuple(states), mask, tuple(fields), tuple(methods) if kept else None)


_Weights = LayerWeights | HalfWeights


def _field(
    layer: Callable[[Tensor], Tensor], mask: Tensor, kind: str, weights: _Weights | None
) -> LayerVectorField:
    """A layer or a half as a vector field, with the fast linearisation where it is known."""
    analytic = None if weights is None else AnalyticLinearization(weights, layer, mask)
    return LayerVectorField(layer, mask, kind, analytic)


def _weights(call: Call) -> LayerWeights | None:
    return layer_weights(call.layer.module, call.layer.arguments, call.layer.keywords)


def _halves(model: Any, call: Call) -> list[tuple[Call, _Weights]]:
    """The attention half and the feed-forward half of a layer, by the layer's own modules."""
    weights = _weights(call)
    module = call.layer.module
    parts = ("attention", "intermediate", "output")
    if not isinstance(weights, LayerWeights) or not all(hasattr(module, part) for part in parts):
        kind = getattr(getattr(model, "config", None), "model_type", None)
        raise ValueError(
            f"{type(model).__name__} must have layers with known halves, as {', '.join(BERT_KIN)} "
            f"have, for sublayers, got model_type {kind!r}"
        )
    run = recorded(lambda: call.layer(call.before), {module.attention}, call.layer.sdpa)
    (attention,) = run.calls
    feed_forward = Call(functools.partial(_feed_forward, module), attention.after, call.after)
    return [(attention, weights.attention), (feed_forward, weights.feed_forward)]


def _feed_forward(layer: Any, z: Tensor) -> Tensor:
    """F_F(z)."""
    output: Tensor = layer.output(layer.intermediate(z), z)
    return output
