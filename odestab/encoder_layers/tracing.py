"""An encoder and tokens → the trajectory of states, with each layer as a vector field."""

import contextlib
import dataclasses
import functools
import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from odestab.encoder_layers.declared import Steps, declared_steps
from odestab.encoder_layers.families import BERT_KIN, LAYER_PATHS, position_limit, require_encoder
from odestab.encoder_layers.trace_checks import require_binary, require_chain, require_whole
from odestab.encoder_layers.weights import layer_weights
from odestab.fields.linearized_layer import AnalyticLinearization, HalfWeights, LayerWeights
from odestab.fields.trajectory import Trajectory
from odestab.fields.vector_field import FIELD_KINDS, LayerVectorField
from odestab.one_thread import ONE_THREAD

INPUT_NAMES = ("input_ids", "attention_mask", "token_type_ids", "position_ids")


def trace(
    encoder: nn.Module, batch: Mapping[str, Any], field: str | None = None, sublayers: bool = False
) -> Trajectory:
    """The states x_0, …, x_L of a batch through an encoder, and its layers' fields f_0, …, f_{L−1}.

    The encoder runs once. Each layer F_l is bound to what the encoder passed it beside the state
    (masks, position embeddings), so x_{l+1} = F_l(x_l) on real tokens (Mathematics, section 1 and
    Mathematics, section 5). A norm after the last layer is not part of the trajectory. Where the
    checkpoint declares steps, as IM-BERT's does, the states are those that these steps take, one
    entry per substep, and the methods are given with them.

    What is returned is checked, which costs as much as the encoder's layers once more: the states
    are the encoder's own hidden states, each layer gives the next one, and the last one is the
    encoder's output, but for a norm. No layer computes in less than the precision of its state,
    autocast apart. Threads may trace one encoder: they take turns.

    Args:
        encoder: a transformers encoder in eval mode, bare or with a task head, on eager or sdpa
            attention.
        batch: `input_ids` and `attention_mask`, `(batch, tokens)`, padded on either side, and
            `token_type_ids` and `position_ids` where the encoder takes them; other entries are
            ignored. Moved to the encoder's device.
        field: "increment", f = F − id, or "outer", f = F; None is what the checkpoint declares for
            each layer, else "increment". Another field than the declared one has no declared
            methods.
        sublayers: take the two halves of each layer, F = F_F ∘ F_A, as fields of their own: the
            attention half F_A(x) = LN₁(W_o attention(x) + x), then the feed-forward half F_F(z) =
            LN₂(W₂ act(W₁ z) + z).

    Returns:
        The trajectory, without gradient, in the encoder's dtype; with `sublayers` of 2L fields and
        2L + 1 states.

    Raises:
        ValueError: if the encoder is no encoder, is in training mode or has no chain of layers from
            hidden states to hidden states; if the batch lacks an entry, does not fit the encoder or
            has a mask that is not 0 and 1; if the field is unknown; if `sublayers` is asked for
            where the halves of the layers are not known; if the layers do not reproduce the
            encoder, or one rounds to a lower precision.

    >>> from transformers import BertConfig, BertModel
    >>> small = BertConfig(hidden_size=8, num_hidden_layers=2, num_attention_heads=2)
    >>> text = {"input_ids": torch.tensor([[5, 6, 7]]), "attention_mask": torch.ones(1, 3)}
    >>> stack = od.trace(BertModel(small).double().eval(), text)
    >>> torch.allclose(stack.states[1], stack.states[0] + stack.fields[0](stack.states[0]))
    True
    """
    bare = _bare_encoder(encoder)
    inputs = _inputs(bare, batch)
    # Hooks are seen by all threads; tensors of a caller's inference_mode could not enter autograd
    # later.
    with ONE_THREAD, torch.inference_mode(False), torch.no_grad():
        mask = batch["attention_mask"].to(bare.device).bool()
        steps = _layer_steps(bare, inputs)
        declared = declared_steps(bare.config)
        kind = field or FIELD_KINDS[0]
        halved = sublayers and declared is None
        parts = (
            [half for step in steps for half in _halves(bare, step)]
            if halved
            else [(step, _weights(step)) for step in steps]
        )
        fields = tuple(_field(step.layer, mask, kind, weights) for step, weights in parts)
        states = tuple(
            fields[0].project(state)
            for state in (*(step.before for step, _ in parts), steps[-1].after)
        )
        require_chain(bare, fields, states)
        if declared is not None:
            return _follow_steps(steps, declared, mask, field, sublayers)
    return Trajectory(states, mask, fields)


def _follow_steps(
    layers: Sequence["_Step"],
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
        for method in taken:
            states.append(own.project(method.step(own, states[-1]).state))
            fields.append(own if kind is None else dataclasses.replace(own, kind=kind))
            methods.append(method)
    kept = kind is None or all(own_kind == kind for own_kind, _ in declared)
    return Trajectory(tuple(states), mask, tuple(fields), tuple(methods) if kept else None)


@dataclasses.dataclass(frozen=True, eq=False)
class BoundLayer:
    """F(x): a layer with everything beside the hidden state fixed to what the encoder passed it.

    Attributes:
        module: the layer, or its forward alone.
        arguments: its positional arguments after the hidden state.
        keywords: its keyword arguments.
        batch: the number of examples.
        sdpa: run torch's fused attention by its MATH kernel, the only one with forward-mode
            derivatives.
    """

    module: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    batch: int
    sdpa: bool = False

    def __call__(
        self, x: Float[Tensor, "batch tokens hidden"]
    ) -> Float[Tensor, "batch tokens hidden"]:
        """F(x)."""
        with _attention_kernel(self.sdpa):
            output = self.module(x, *self.arguments, **self.keywords)
        return output[0] if isinstance(output, tuple) else output

    def take(self, examples: Int[Tensor, " chosen"]) -> "BoundLayer":
        """The layer for some examples of a batch: what has a row for each is cut."""

        def cut(value: Any) -> Any:
            return (
                value[examples]
                if isinstance(value, Tensor) and value.ndim > 2 and value.shape[0] == self.batch > 1
                else value
            )

        keywords = {name: cut(value) for name, value in self.keywords.items()}
        return dataclasses.replace(
            self, arguments=tuple(map(cut, self.arguments)), keywords=keywords, batch=len(examples)
        )


@contextlib.contextmanager
def _attention_kernel(sdpa: bool) -> Iterator[None]:
    """The MATH kernel within, for all threads: the choice is one of the process."""
    with contextlib.ExitStack() as stack:
        if sdpa and not torch.compiler.is_compiling():  # a lock would break the graph
            stack.enter_context(ONE_THREAD)
        if sdpa:
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        yield


_Weights = LayerWeights | HalfWeights


def _field(
    layer: Callable[[Tensor], Tensor], mask: Tensor, kind: str, weights: _Weights | None
) -> LayerVectorField:
    """A layer or a half as a vector field, with the fast linearisation where it is known."""
    analytic = None if weights is None else AnalyticLinearization(weights, layer, mask)
    return LayerVectorField(layer, mask, kind, analytic)


def _bare_encoder(encoder: Any) -> Any:
    """The encoder under a task head, checked."""
    from transformers import PreTrainedModel

    if not isinstance(encoder, PreTrainedModel):
        raise ValueError(
            f"encoder must be a transformers PreTrainedModel, got {type(encoder).__name__}"
        )
    require_encoder(encoder.config, f"encoder {type(encoder).__name__}")
    bare: Any = encoder.base_model
    if any(module.training for module in bare.modules()):
        raise ValueError(
            "encoder must be in eval mode, call encoder.eval(): got "
            "training mode, where dropout makes f random"
        )
    if (attention := bare.config._attn_implementation) not in ("eager", "sdpa"):
        raise ValueError(
            f"encoder must use eager or sdpa attention, got {attention}: "
            "call encoder.set_attn_implementation('eager')"
        )
    return bare


def _inputs(encoder: Any, batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """What the encoder is called with, checked and on its device."""
    for name in ("input_ids", "attention_mask"):
        if not isinstance(came := batch.get(name), Tensor):
            raise ValueError(
                f"batch must have {name} as a tensor (tokenize with "
                f"return_tensors='pt'), got {type(came).__name__}"
            )
    require_binary(batch["attention_mask"])
    ids, shapes = (
        batch["input_ids"],
        [tuple(batch[name].shape) for name in ("input_ids", "attention_mask")],
    )
    if ids.ndim != 2 or shapes[0] != shapes[1] or not ids.numel():
        raise ValueError(
            "input_ids and attention_mask must be (batch, tokens), alike "
            f"and not empty, got {shapes[0]} and {shapes[1]}"
        )
    size = encoder.config.get_text_config().vocab_size
    if not 0 <= int(ids.min()) <= int(ids.max()) < size:
        raise ValueError(
            f"input_ids must be in [0, {size}), the encoder's "
            f"vocabulary, got {int(ids.min())} to {int(ids.max())}"
        )
    if (limit := position_limit(encoder)) is not None and ids.shape[1] > limit:
        raise ValueError(
            f"batch must have at most {limit} tokens (tokenize "
            f"with truncation=True), got {ids.shape[1]}"
        )
    accepted = inspect.signature(encoder.forward).parameters
    return {
        name: batch[name].to(encoder.device)
        for name in INPUT_NAMES
        if name in batch and name in accepted
    }


class _Step(NamedTuple):
    """A layer, or a half of one, as the encoder called it: F, x_l and x_{l+1}."""

    layer: Any
    before: Tensor
    after: Tensor


def _layer_steps(encoder: Any, inputs: dict[str, Tensor]) -> list[_Step]:
    """The longest list of modules that run once each, in order, from states to states."""
    path, sdpa = (
        LAYER_PATHS.get(encoder.config.model_type),
        encoder.config._attn_implementation == "sdpa",
    )
    lists = (
        [encoder.get_submodule(path)]
        if path
        else [module for module in encoder.modules() if isinstance(module, nn.ModuleList)]
    )
    within = {layer for layers in lists for layer in layers}
    norms = {
        module
        for module in encoder.modules()
        if "norm" in type(module).__name__.lower() and not [*module.children()]
    }
    norms -= {module for layer in within for module in layer.modules()}
    outputs: list[Any] = []
    asked = {"output_hidden_states": True, "return_dict": True}
    calls = _record(lambda: outputs.append(encoder(**inputs, **asked)), within | norms, sdpa)
    steps = [call for call in calls if call.layer.module in within]
    chains = [
        chain
        for layers in lists
        if (chain := _chain(list(layers), steps, inputs["input_ids"].shape))
    ]
    longest = [chain for chain in chains if len(chain) == max(map(len, chains))]
    if len(longest) != 1:
        raise ValueError(
            f"{type(encoder).__name__} must have one longest list of "
            f"layers run once each in order, got {len(longest)}"
        )
    states = [*(step.before for step in longest[0]), longest[0][-1].after]
    normed = [(call.before, call.after) for call in calls if call.layer.module in norms]
    require_whole(encoder, states, normed, outputs[0], inputs["attention_mask"].bool())
    return longest[0]


def _weights(step: _Step) -> LayerWeights | None:
    return layer_weights(step.layer.module, step.layer.arguments, step.layer.keywords)


def _halves(encoder: Any, step: _Step) -> list[tuple[_Step, _Weights]]:
    """The attention half and the feed-forward half of a layer, by the layer's own modules."""
    weights = _weights(step)
    module = step.layer.module
    if weights is None:
        known = f"have layers with known halves, as {', '.join(BERT_KIN)} have, for sublayers"
        raise ValueError(
            f"{type(encoder).__name__} must {known}, got model_type {encoder.config.model_type!r}"
        )
    (attention,) = _record(lambda: step.layer(step.before), {module.attention}, step.layer.sdpa)
    feed_forward = _Step(functools.partial(_feed_forward, module), attention.after, step.after)
    return [(attention, weights.attention), (feed_forward, weights.feed_forward)]


def _feed_forward(layer: Any, z: Tensor) -> Tensor:
    """F_F(z)."""
    output: Tensor = layer.output(layer.intermediate(z), z)
    return output


def _record(run: Callable[[], Any], modules: set[nn.Module], sdpa: bool) -> list[_Step]:
    """Run something once and keep each call of the modules, in order."""
    steps: list[_Step] = []
    thread = threading.get_ident()

    def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if threading.get_ident() != thread:
            return
        before, *arguments = args or (kwargs.get("hidden_states"),)
        keywords = {name: value for name, value in kwargs.items() if name != "hidden_states"}
        after = output[0] if isinstance(output, tuple) else output
        steps.append(
            _Step(BoundLayer(module, tuple(arguments), keywords, len(before), sdpa), before, after)
        )

    with contextlib.ExitStack() as stack, _attention_kernel(sdpa):
        for module in modules:
            stack.enter_context(module.register_forward_hook(keep, with_kwargs=True))
        run()
    return steps


def _chain(layers: list[nn.Module], steps: list[_Step], shape: torch.Size) -> list[_Step]:
    """The steps of these layers if each ran once, in order, on one shape of state; else none."""
    own = [step for step in steps if step.layer.module in layers]
    sizes = {getattr(state, "shape", ()) for step in own for state in (step.before, step.after)}
    fits = len(sizes) == 1 and all(len(size) == 3 and size[:2] == shape for size in sizes)
    return own if fits and [step.layer.module for step in own] == layers else []
