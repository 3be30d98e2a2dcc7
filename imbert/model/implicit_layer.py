"""A transformer layer F as the vector field of one step, explicit or implicit."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint
from transformers.models.bert.modeling_bert import BertLayer
from transformers.models.distilbert.modeling_distilbert import TransformerBlock
from transformers.models.electra.modeling_electra import ElectraLayer
from transformers.models.mpnet.modeling_mpnet import MPNetLayer
from transformers.models.roberta.modeling_roberta import RobertaLayer

import odestab as od
from imbert.model.frozen_dropout import FrozenDropout
from imbert.model.step_choice import build_method
from imbert.model.transformers_types import Config
from odestab.fields.vector_field import AbstractWrappedField


class ImplicitStep:
    """Mixin before a transformer layer's class: `forward` is a step on the field of that layer, F =
    `super().forward`.

    Attributes:
        layer_index: where the layer stands.
        method: one of its `substeps` steps.
        solutions: of the last forward pass, one per substep, without states; empty for an explicit
            step.
    """

    layer_index: int
    kind: str
    substeps: int
    method: od.ExplicitEuler | od.ImplicitEuler
    solutions: tuple["Solve", ...]
    compiled: Callable[..., Tensor] | None
    recompute: bool
    log_step_size: nn.Parameter | None
    training: bool

    @classmethod
    def of(cls, layer: nn.Module, config: Config, index: int) -> Self:
        """Let a plain layer take steps from now on: its class changes, its weights stay.

        Args:
            layer: of the class that this one extends.
            config: says which steps.
            index: where the layer stands.
        """
        step: Any = layer
        step.__class__ = cls
        step.layer_index = index
        step.kind = config.field
        step.substeps = config.substeps
        step.method = build_method(config)
        step.solutions = ()
        step.compiled = None
        step.recompute = False
        step.log_step_size = (
            nn.Parameter(torch.tensor(math.log(config.step_size)))
            if config.learn_step_size
            else None
        )
        return step

    def plain(self, *args: Any, **kwargs: Any) -> Tensor:
        """F, the layer as transformers has it."""
        return super().forward(*args, **kwargs)  # type: ignore[misc]

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        *args: object,
        real_tokens: Tensor | None = None,
        **kwargs: object,
    ) -> Tensor:
        """One step, or `substeps` of them.

        Args:
            hidden_states: x, `(batch, tokens, hidden)`.
            attention_mask: as the encoder made it.
            args: as the encoder gives them to every layer.
            real_tokens: `(batch, tokens)`, True on real tokens; None is all.
            kwargs: likewise.
        """
        plain = self.compiled or self.plain
        implicit = isinstance(self.method, od.ImplicitEuler)
        # an explicit step has no norms: padding is treated as BERT treats it
        mask = real_tokens if implicit else None
        field: od.AbstractVectorField = od.LayerVectorField(
            _Bound(plain, (attention_mask, *args), kwargs, hidden_states.shape[0]), mask, self.kind
        )
        if self._draws and (implicit or self.substeps > 1):
            field = self._frozen(field, hidden_states)
        # only what autograd would keep is worth computing twice
        if self.recompute and self.training:
            field = _Recomputed(field)
        method = self._method_now()
        steps = od.march(method, field, hidden_states, self.substeps)
        # an explicit step solves nothing
        solutions = [step.solution for step in steps if step.solution is not None]
        adjoint = getattr(method, "adjoint", None)
        self.solutions = tuple(Solve.of(solution, field, adjoint) for solution in solutions)
        return steps[-1].state

    @property
    def gradient_checkpointing(self) -> bool:
        """False, whatever is set: a solve is not repeated in the backward pass, only the
        evaluations of F that have a graph are.
        """
        return False

    @gradient_checkpointing.setter
    def gradient_checkpointing(self, on: bool) -> None:
        self.recompute = on

    def compile_layer(self, **options: Any) -> None:
        """Compile F, which the solver evaluates; the solver's loop, which ends by what it finds,
        stays as it is.

        Args:
            options: of `torch.compile`.
        """
        self.compiled = torch.compile(self.plain, **options)

    def _frozen(self, field: od.AbstractVectorField, x: Tensor) -> od.AbstractVectorField:
        """One draw of dropout for all evaluations: masks kept on a processor, drawn again on a GPU
        and in a compiled layer.
        """
        return (
            FrozenDropout.draw(field)
            if x.device.type == "cpu" and self.compiled is None
            else od.FrozenRandomness.draw(field, x)
        )

    @property
    def _draws(self) -> bool:
        """Whether F draws random numbers."""
        modules = self.modules()  # type: ignore[attr-defined]
        dropouts = (module for module in modules if isinstance(module, nn.Dropout))
        return any(dropout.training and dropout.p > 0 for dropout in dropouts)

    def _method_now(self) -> od.ExplicitEuler | od.ImplicitEuler:
        """The method with the step size of now."""
        if self.log_step_size is None:
            return self.method
        return dataclasses.replace(self.method, step_size=self.log_step_size.exp() / self.substeps)


@dataclasses.dataclass(frozen=True, eq=False)
class Solve:
    """How one solve went, on its device; nothing is waited for.

    Attributes:
        status: per example.
        residual: RMS(y − x − hf(y)) / RMS(y) over real tokens.
        evaluations: of f.
        adjoint: whose `last` tells of the backward pass; None where there is none to tell.
    """

    status: Tensor
    residual: Tensor
    evaluations: Tensor
    adjoint: od.ImplicitAdjoint | None

    @classmethod
    def of(
        cls,
        solution: od.Solution,
        field: od.AbstractVectorField,
        adjoint: od.AbstractAdjoint | None,
    ) -> "Solve":
        """The record of a solution."""
        size = field.rms(solution.state.detach())
        residual = solution.residual.detach() / size.clamp(min=torch.finfo(size.dtype).tiny)
        return cls(
            solution.status,
            residual,
            solution.evaluations,
            adjoint if isinstance(adjoint, od.ImplicitAdjoint) else None,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class _Recomputed(AbstractWrappedField):
    """f, of which autograd keeps the argument alone: gradient checkpointing of each evaluation."""

    def __call__(self, x: Tensor) -> Tensor:
        return _checkpointed(self.field, x)

    def unsplit(self, x: Tensor) -> Tensor:
        return _checkpointed(self.field.unsplit, x)


def _checkpointed(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    # torch.func and checkpoints exclude each other
    if _transformed() or not torch.is_grad_enabled():
        return function(x)
    value: Tensor = checkpoint(function, x, use_reentrant=False)
    return value


@dataclasses.dataclass(frozen=True, eq=False)
class _Bound:
    """F(x): a layer with everything beside the hidden state fixed to what the encoder passed it."""

    function: Callable[..., Tensor]
    arguments: tuple[object, ...]
    keywords: Mapping[str, object]
    batch: int

    def __call__(self, x: Tensor) -> Tensor:
        with _kernel():
            return self.function(x, *self.arguments, **self.keywords)

    def take(self, examples: Tensor) -> "_Bound":
        """The layer for some examples of a batch: the attention mask, which has a row for each, is
        cut.
        """

        def cut(value: object) -> object:
            # a mask for attention is (batch, heads or 1, tokens, tokens); what has no batch is kept
            is_mask = isinstance(value, Tensor) and value.ndim > 2
            if isinstance(value, Tensor) and is_mask and value.shape[0] == self.batch > 1:
                return value[examples]
            return value

        keywords = {name: cut(value) for name, value in self.keywords.items()}
        return _Bound(self.function, tuple(map(cut, self.arguments)), keywords, len(examples))


def _kernel() -> contextlib.AbstractContextManager[None]:
    """Torch's fused attention has neither forward-mode derivatives nor second ones; its MATH kernel
    does.
    """
    # plain forward passes and training keep the fused kernel, which is faster
    return sdpa_kernel(SDPBackend.MATH) if _transformed() else contextlib.nullcontext()


def _transformed() -> bool:
    return (
        torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0
    )


class ImplicitBertLayer(ImplicitStep, BertLayer):
    """A BERT layer that takes a step; output capture counts it as the one layer that it is."""


class ImplicitRobertaLayer(ImplicitStep, RobertaLayer):
    """Likewise of RoBERTa."""


class ImplicitElectraLayer(ImplicitStep, ElectraLayer):
    """Likewise of ELECTRA."""


class ImplicitDistilBertLayer(ImplicitStep, TransformerBlock):
    """Likewise of DistilBERT."""


class ImplicitMPNetLayer(ImplicitStep, MPNetLayer):
    """Likewise of MPNet, whose layers return tuples and are not told which tokens are real."""

    def plain(self, *args: Any, **kwargs: Any) -> Tensor:
        return super().plain(*args, **kwargs)[0]

    def forward(  # type: ignore[override]
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, *args: Any, **kwargs: Any
    ) -> tuple[Tensor]:
        # the mask is added to the scores, (batch, 1, tokens, tokens), and 0 where a token is real
        real = None if attention_mask is None else attention_mask[:, 0, 0] == 0
        step = super().forward(hidden_states, attention_mask, *args, real_tokens=real, **kwargs)
        return (step,)
