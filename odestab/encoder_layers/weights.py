"""A layer's weights as a plain record, where the analytic linearisation knows its structure."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from odestab.encoder_layers.parts import arguments_by_name
from odestab.encoder_layers.structures import READERS
from odestab.fields.linearized_layer import LayerWeights


def layer_weights(
    module: nn.Module, arguments: tuple[Any, ...], keywords: Mapping[str, Any]
) -> LayerWeights | None:
    """The record of a layer whose structure is known; None for any other.

    Args:
        module: the layer.
        arguments: what the model passed it after the hidden state.
        keywords: likewise.
    """
    try:
        given = arguments_by_name(module, arguments, keywords)
    except TypeError:  # a forward that takes the state otherwise
        return None
    for read in READERS:
        try:
            return read(module, given)
        except torch.OutOfMemoryError:
            raise
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError):
            continue  # other modules, or sizes that do not fit together
    return None
