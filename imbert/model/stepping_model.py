"""What every model with implicit steps has: its layers' arguments, how its solves went, other
solvers for a while.
"""

import contextlib
import dataclasses
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import torch
from torch import Tensor
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    initialization,
)

import odestab as od
from imbert.model.implicit_layer import ImplicitStep, Solve
from imbert.model.solver_log import BatchSolves, LayerBatch
from imbert.model.step_choice import require_steps
from imbert.model.transformers_types import Config, Model
from imbert.toml_tables import Plain

AUTO = (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoModelForQuestionAnswering,
    AutoModelForMaskedLM,
)
CARD = """---
library_name: transformers
tags: [odestab, {kind}]
---

Some layers of this model are steps of a differential equation. Without `import imbert`, which comes
with the package odestab, transformers does not know the model type `{kind}`:

```python
import imbert
from transformers import AutoModel

model = AutoModel.from_pretrained("this folder or id")
```
"""


class SteppingModel:
    """Mixin before a transformers model class, bare or with a head: that class makes the model,
    then some of its layers become steps.

    Attributes:
        step: the class of a layer that takes steps.
    """

    # else Trainer inflates the loss of accumulated micro-batches (transformers issue 47688)
    accepts_loss_kwargs = False
    _supports_flash_attn = False
    _supports_flex_attn = False

    config_class: type
    step: ClassVar[type[ImplicitStep]]
    layers: ClassVar[str] = "encoder.layer"  # where the list of layers is in the base model

    def __init__(self, config: Config, *arguments: object, **options: object) -> None:
        self.require_config(config)
        super().__init__(config, *arguments, **options)  # type: ignore[call-arg]
        base: Model = self.base_model  # type: ignore[attr-defined]
        layers = base.get_submodule(self.layers)
        for index in config.stepping_layers:
            self.step.of(layers[index], config, index)
        base.register_forward_pre_hook(_tell_real_tokens, with_kwargs=True)

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

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], *args: object, **kwargs: object
    ) -> None:
        """As transformers does, with a README.md that says what to import, where there is none.

        A checkpoint could name code of its own for transformers to run (`auto_map`); then everyone
        who has not imported `imbert` is asked to trust that code.
        """
        super().save_pretrained(save_directory, *args, **kwargs)  # type: ignore[misc]
        card = Path(save_directory) / "README.md"
        if kwargs.get("is_main_process", True) and not card.exists():
            card.write_text(CARD.format(kind=self.config.model_type), encoding="utf-8")  # type: ignore[attr-defined]

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

    def initialize_weights(self) -> None:
        """As transformers does, and log h of a learnt step size, which a checkpoint of the plain
        model lacks.
        """
        super().initialize_weights()  # type: ignore[misc]
        start = math.log(self.config.step_size)  # type: ignore[attr-defined]
        for layer in implicit_layers(self):
            if layer.log_step_size is not None:
                initialization.constant_(layer.log_step_size, start)  # not what was loaded


def _tell_real_tokens(
    base: Model, arguments: tuple[Any, ...], options: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Before a bare encoder runs: its layers are told which tokens are real, and what a step cannot
    give is refused.

    Raises:
        ValueError: if `attention_mask` is not `(batch, tokens)`, so that no one knows which tokens
            are real, attentions are asked for, or the model is exported.
    """
    config = base.config
    wanted = options.get("output_attentions")
    if (config.output_attentions if wanted is None else wanted) and config.stepping_layers:
        raise ValueError(
            "output_attentions must be False: a step evaluates its layer many times, got True"
        )
    # other layers treat padding as the plain model does
    if config.method != "implicit_euler" or not config.stepping_layers:
        return arguments, options
    if torch.compiler.is_exporting():
        raise ValueError(
            "torch.export needs layers whose work does not depend on their input, "
            f"got implicit layers {config.stepping_layers}"
        )
    mask = options.get("attention_mask", arguments[1] if len(arguments) > 1 else None)
    return arguments, {**options, **_layer_arguments(mask)}


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
    # a GPU is not waited for
    return {} if mask.device.type == "cpu" and bool(mask.all()) else {"real_tokens": mask}


def implicit_layers(model: Model) -> list[ImplicitStep]:
    """The layers of a model that take a step, in order.

    >>> from imbert import ImBertConfig, ImBertModel
    >>> small = ImBertConfig(hidden_size=8, num_attention_heads=2, implicit_layers=[1, 2])
    >>> len(implicit_layers(ImBertModel(small)))
    2
    """
    return [module for module in model.modules() if isinstance(module, ImplicitStep)]


def register(config: type, *models: type) -> None:
    """Let transformers' Auto classes know the models of a configuration, in the order of `AUTO`."""
    for auto, model in zip(AUTO, models, strict=True):
        auto.register(config, model)


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
