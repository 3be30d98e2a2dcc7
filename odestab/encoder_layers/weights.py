"""A layer's weights as a plain record, where its structure is the one that the analytic linearisation knows."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from odestab.linearized_layer import Affine, LayerWeights, Norm


def layer_weights(module: nn.Module, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> LayerWeights | None:
    """The record of a layer of BERT's structure (BERT, RoBERTa, ELECTRA and their kin); None for any other.

    Args:
        module: the layer.
        arguments: what the encoder passed it after the hidden state; the attention mask is the first.
        keywords: likewise.
    """
    layer: Any = module
    bias = keywords.get("attention_mask", arguments[0] if arguments else None)
    try:
        attention, output = layer.attention.self, layer.attention.output
        projections = (attention.query, attention.key, attention.value)
        record = LayerWeights(
            query_key_value=Affine(torch.cat([p.weight for p in projections]), torch.cat([p.bias for p in projections])),
            attention_output=Affine(output.dense.weight, output.dense.bias),
            attention_norm=_norm(output.LayerNorm),
            intermediate=Affine(layer.intermediate.dense.weight, layer.intermediate.dense.bias),
            output=Affine(layer.output.dense.weight, layer.output.dense.bias),
            output_norm=_norm(layer.output.LayerNorm),
            heads=attention.num_attention_heads,
            activation=layer.intermediate.intermediate_act_fn,
            attention_bias=_additive(bias),
        )
    except (AttributeError, TypeError):
        return None
    return record


def _norm(norm: nn.LayerNorm) -> Norm:
    return Norm(norm.weight, norm.bias, norm.eps)


def _additive(mask: Tensor | None) -> Tensor | None:
    """What is added to the scores; a boolean mask becomes the lowest finite number where it is False."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    lowest = torch.finfo(torch.float32).min
    return torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, lowest)
