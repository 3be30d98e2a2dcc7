"""What every model with implicit steps has: its layers' arguments, how its solves went, other
solvers for a while.
"""

import contextlib
import dataclasses
import math
import os
from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec
import torch
from torch import Tensor, nn

import odestab as od
from imbert.model.implicit_layer import ImplicitStep, Solve
from imbert.model.solver_log import BatchSolves, LayerBatch
from imbert.model.step_choice import require_steps
from imbert.model.transformers_types import Config, Model
from imbert.toml_tables import Plain


class SteppingEncoder:
    """Mixin before a transformers encoder class: a list of layers, some of which take a step.

    Attributes:
        plain: the layer's class.
        step: that of one that takes a step.
    """

    plain: ClassVar[type]
    step: ClassVar[type]

    def __init__(self, config: Config) -> None:
        nn.Module.__init__(self)  # type: ignore[arg-type]
        self.config = config
        steps = config.stepping_layers
        kinds = [self.step if i in steps else self.plain for i in range(config.num_hidden_layers)]
        self.layer = nn.ModuleList([kind(config, layer_idx=i) for i, kind in enumerate(kinds)])


class SteppingBase:
    """Mixin before the bare encoder model of a family, after `SteppingModel`."""

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """As the plain model's.

        Raises:
            ValueError: if `attention_mask` is not `(batch, tokens)`, so that no one knows which
                tokens are real, or attentions are asked for.
        """
        config = self.config  # type: ignore[attr-defined]
        if kwargs.get("output_attentions", config.output_attentions) and config.stepping_layers:
            raise ValueError(
                "output_attentions must be False: a step evaluates its layer many times, got True"
            )
        inputs = {
            "token_type_ids": token_type_ids,
            "position_ids": position_ids,
            "inputs_embeds": inputs_embeds,
        }
        return super().forward(  # type: ignore[misc]
            input_ids,
            attention_mask=attention_mask,
            **inputs,
            **_layer_arguments(attention_mask),
            **kwargs,
        )


def _layer_arguments(attention_mask: Tensor | None) -> dict[str, Tensor]:
    """What the layers need beside what the encoder passes them: which tokens are real; nothing
    where all are.
    """
    # without a mask every token is real
    if attention_mask is None:
        return {}
    if attention_mask.ndim != 2:
        raise ValueError(
            f"attention_mask must be (batch, tokens), got shape {tuple(attention_mask.shape)}"
        )
    mask = attention_mask.bool()
    return (
        {} if mask.device.type == "cpu" and bool(mask.all()) else {"real_tokens": mask}
    )  # a GPU is not waited for


class SteppingModel:
    """Mixin before a transformers model class."""

    # else Trainer inflates the loss of accumulated micro-batches (transformers issue 47688)
    accepts_loss_kwargs = False
    _supports_flash_attn = False
    _supports_flex_attn = False

    config_class: type

    def require_config(self, config: Config) -> None:
        """Raise ValueError unless the configuration is of the kind that says which steps are
        taken.
        """
        if not isinstance(config, self.config_class):
            raise ValueError(
                f"config must be an {self.config_class.__name__}, got {type(config).__name__}"
            )
        require_steps(config)  # attributes may have been set since

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        *args: object,
        **kwargs: object,
    ) -> Model:
        """As transformers does, from safetensors alone.

        Raises:
            ValueError: if pickled weights are asked for or are all there is, or the checkpoint is
                of another architecture.
        """
        if not kwargs.setdefault("use_safetensors", True):
            raise ValueError("use_safetensors must be True: pickled weights are refused, got False")
        try:
            return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)  # type: ignore[misc]
        except OSError as error:
            # transformers raises the same OSError for a folder that is not there
            if "safetensors" in str(error):
                raise ValueError(
                    f"checkpoint {str(pretrained_model_name_or_path)!r} must "
                    f"have its weights in safetensors: {error}"
                ) from error
            raise

    def layer_solves(self) -> list[LayerBatch]:
        """How the solves of the last forward pass went, and the linear solves of the last backward
        pass, per implicit layer; empty where no layer is implicit or none has run.

        Residuals are relative: RMS(y − x − hf(y)) / RMS(y), and that of the adjoint to the
        cotangent.
        """
        return [
            _layer_batch(layer.layer_index, layer.solutions)
            for layer in implicit_layers(self)
            if layer.solutions
        ]

    def solver_statistics(self) -> list[dict[str, Plain]]:
        """`layer_solves` as plain values."""
        return [msgspec.to_builtins(layer) for layer in self.layer_solves()]

    def _init_weights(self, module: nn.Module) -> None:
        """As the base model does, and log h of a learnt step size."""
        super()._init_weights(module)  # type: ignore[misc]
        # a checkpoint of the plain model has no step size: transformers asks for its start here
        if isinstance(module, ImplicitStep) and module.log_step_size is not None:
            nn.init.constant_(module.log_step_size, math.log(self.config.step_size))  # type: ignore[attr-defined]


def implicit_layers(model: Model) -> list[ImplicitStep]:
    """The layers of a model that take a step, in order.

    >>> from imbert import ImBertConfig, ImBertModel
    >>> small = ImBertConfig(hidden_size=8, num_attention_heads=2, implicit_layers=[1, 2])
    >>> len(implicit_layers(ImBertModel(small)))
    2
    """
    return [module for module in model.modules() if isinstance(module, ImplicitStep)]


@contextlib.contextmanager
def stepping(
    model: Model,
    solver: od.AbstractImplicitSolver | None = None,
    adjoint: od.AbstractAdjoint | None = None,
) -> Iterator[None]:
    """Another solver or adjoint in every implicit layer of a model while inside.

    Each layer has an adjoint of its own.

    >>> from imbert import ImBertConfig, ImBertModel
    >>> small = ImBertConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1)
    >>> model = ImBertModel(small).eval()
    >>> with stepping(model, solver=od.NewtonKrylov(rtol=1e-5)):
    ...     print(type(implicit_layers(model)[0].method.solver).__name__)
    NewtonKrylov
    """
    layers = [
        layer for layer in implicit_layers(model) if isinstance(layer.method, od.ImplicitEuler)
    ]
    before = [layer.method for layer in layers]
    try:
        for layer in layers:
            assert isinstance(layer.method, od.ImplicitEuler)
            own = layer.method
            fresh = dataclasses.replace(own.adjoint if adjoint is None else adjoint)  # type: ignore[type-var]
            layer.method = dataclasses.replace(own, solver=solver or own.solver, adjoint=fresh)
        yield
    finally:
        for layer, method in zip(layers, before, strict=True):
            layer.method = method


def _layer_batch(index: int, solves: tuple[Solve, ...]) -> LayerBatch:
    """Substeps as one: the status of the last, the largest residual, all evaluations."""
    statuses = torch.stack([solve.status for solve in solves])
    # one failed substep spoils the layer, whatever the later ones say
    failed = (statuses != od.Status.CONVERGED).any(0)
    worst = torch.where(failed, statuses.amax(0), statuses[-1])
    counts = {status.name: int((worst == status).sum()) for status in od.Status}
    residual = torch.stack([solve.residual for solve in solves]).amax(0)
    evaluations = torch.stack([solve.evaluations for solve in solves]).sum(0)
    adjoints = [
        solve.adjoint.last
        for solve in solves
        if solve.adjoint is not None and solve.adjoint.last is not None
    ]
    return LayerBatch(
        layer=index,
        examples=len(worst),
        statuses={name: count for name, count in counts.items() if count},
        residual_max=float(residual.max()),
        residual_median=float(residual.median()),
        evaluations_mean=float(evaluations.double().mean()),
        evaluations_max=int(evaluations.max()),
        adjoint=_adjoint_batch(adjoints[-1]) if adjoints else None,
    )


def _adjoint_batch(record: od.AdjointRecord) -> BatchSolves:
    converged = int(record.converged.sum())
    counts = {"CONVERGED": converged, "MAX_ITERATIONS": len(record.converged) - converged}
    return BatchSolves(
        examples=len(record.converged),
        statuses={name: count for name, count in counts.items() if count},
        residual_max=float(record.residual.max()),
        residual_median=float(record.residual.median()),
        evaluations_mean=float(record.iterations.double().mean()),
        evaluations_max=int(record.iterations.max()),
    )
