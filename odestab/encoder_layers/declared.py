"""Checkpoints that declare a one-step method for each layer: plain weights, and in their
configuration which layers take which step.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from odestab.fields.vector_field import FIELD_KINDS
from odestab.steps.declared import declared_method
from odestab.steps.one_step import AbstractOneStepMethod, ExplicitEuler

# model_type ↦ that of the same weights without steps
PLAIN_KINDS = {
    "imbert": "bert",
    "imroberta": "roberta",
    "imelectra": "electra",
    "immpnet": "mpnet",
    "imdistilbert": "distilbert",
}
STEP_KEYS = (
    "implicit_layers",
    "method",
    "field",
    "step_size",
    "substeps",
    "learn_step_size",
    "solver",
    "adjoint",
)
DECLARED = "declared_steps"  # what the plain configuration keeps them under
# the name of a layer's learnt step size among its weights, as a logarithm
STEP_SIZE = "log_step_size"

Steps = tuple[str, tuple[AbstractOneStepMethod, ...]]


def plain_config(model: str | Path) -> Any:
    """The configuration of a declaring checkpoint's plain encoder, with the declaration; None for
    any other checkpoint.

    Raises:
        ValueError: if what is declared cannot be built.
    """
    from transformers import AutoConfig, PreTrainedConfig

    written, _ = PreTrainedConfig.get_config_dict(model)
    if written.get("model_type") not in PLAIN_KINDS:
        return None
    declared = {key: written[key] for key in STEP_KEYS if key in written}
    others = {
        key: value
        for key, value in written.items()
        if key not in (*STEP_KEYS, "model_type", "architectures")
    }
    config = AutoConfig.for_model(PLAIN_KINDS[written["model_type"]], **others)
    if declared.get("learn_step_size"):
        declared["step_sizes"] = _learnt(Path(model))
    setattr(config, DECLARED, declared)
    declared_steps(config)
    return config


def declare_steps_of(config: Any, model: str | Path) -> None:
    """Let an encoder's layers take the steps that another checkpoint declares; those of a plain one
    are none.

    Raises:
        ValueError: if that checkpoint has another number of layers, or what it declares cannot be
            built.
    """
    other = plain_config(model)
    if other is not None and other.num_hidden_layers != config.num_hidden_layers:
        raise ValueError(
            f"steps must be declared for {config.num_hidden_layers} layers, "
            f"got those of {other.num_hidden_layers} in {model}"
        )
    setattr(config, DECLARED, None if other is None else getattr(other, DECLARED))


def declared_steps(config: Any) -> tuple[Steps, ...] | None:
    """The field and the methods, one per substep, of each layer; None where a configuration
    declares nothing.

    A layer without a declared step is F: an explicit step of the field `increment` with h = 1.
    """
    declared: Mapping[str, Any] | None = getattr(config, DECLARED, None)
    if declared is None:
        return None
    depth = config.num_hidden_layers
    chosen = declared.get("implicit_layers")
    taking = range(depth) if chosen is None else chosen
    try:
        return tuple(
            _steps(declared, layer) if layer in taking else (FIELD_KINDS[0], (ExplicitEuler(1.0),))
            for layer in range(depth)
        )
    except (AttributeError, TypeError, KeyError) as error:
        raise ValueError(
            f"the checkpoint must declare steps that odestab knows, got {dict(declared)}: {error}"
        ) from error


def _steps(declared: Mapping[str, Any], layer: int) -> Steps:
    """The field and the methods of one layer that takes steps."""
    substeps = int(declared.get("substeps", 1))
    own = declared.get("step_sizes", {}).get(layer, declared.get("step_size", 1.0))
    method = declared_method(
        declared["method"], own / substeps, declared.get("solver"), declared.get("adjoint")
    )
    return declared.get("field", FIELD_KINDS[0]), (method,) * substeps


def _learnt(folder: Path) -> dict[int, float]:
    """The step sizes among the weights, by layer."""
    from safetensors import safe_open

    step_sizes = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 -- not a mapping
                if name.endswith(STEP_SIZE):
                    step_sizes[int(name.split(".")[-2])] = math.exp(float(weights.get_tensor(name)))
    return step_sizes
