"""What a classifier makes of the state that leaves its last layer."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from odestab.encoder_layers.bound_layer import BoundLayer, KeepDouble
from odestab.encoder_layers.inputs import model_inputs
from odestab.fields.trajectory import Trajectory
from odestab.one_thread import ONE_THREAD


def readout(
    classifier: nn.Module,
    batch: Mapping[str, Any],
    trajectory: Trajectory,
    state: Float[Tensor, "batch tokens hidden"] | None = None,
) -> Float[Tensor, "batch outputs"]:
    """Logits of a classifier whose last layer is left by a given state: its final norm, pooler and
    head, whatever they are, applied to it.

    It costs a forward of the model, whose layers run and are not looked at.

    Args:
        classifier: a transformers model with a sequence classifier's head, as `load_encoder` gives
            it with `head=True`.
        batch: that was traced.
        trajectory: of the batch.
        state: that leaves the last layer; None is the trajectory's own last state, also where steps
            are declared.

    Raises:
        ValueError: if the model gives no logits, or the trajectory is not of a model.

    >>> from transformers import BertConfig, BertForSequenceClassification
    >>> config = BertConfig(hidden_size=8, num_hidden_layers=2, num_attention_heads=2)
    >>> model = BertForSequenceClassification(config).double().eval()
    >>> text = {"input_ids": torch.tensor([[5, 6, 7]]), "attention_mask": torch.ones(1, 3)}
    >>> torch.equal(od.readout(model, text, od.trace(model, text)), model(**text).logits)
    True
    """
    layer = getattr(trajectory.fields[-1], "layer", None)
    if not (isinstance(layer, BoundLayer) and isinstance(layer.module, nn.Module)):
        raise ValueError(
            f"trajectory must be of whole layers of a model, got {type(trajectory.fields[-1])}"
        )
    given = trajectory.states[-1] if state is None else state
    inputs = model_inputs(classifier, batch)
    keywords = inputs.keywords | {"output_hidden_states": False}

    def replaced(module: nn.Module, arguments: Any, output: Any) -> Any:
        return (given, *output[1:]) if isinstance(output, tuple) else given

    # A hook is seen by all threads.
    with ONE_THREAD, torch.no_grad(), KeepDouble():
        hook = layer.module.register_forward_hook(replaced)
        try:
            logits = getattr(classifier(**keywords), "logits", None)
        finally:
            hook.remove()
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        raise ValueError(
            f"classifier must return logits (batch, outputs), got {type(classifier).__name__}"
        )
    return logits
