"""A layer's weights as a plain record, where the analytic linearisation knows its structure."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from odestab.fields.linearized_layer import (
    Affine,
    AttentionWeights,
    FeedForwardWeights,
    LayerWeights,
    Norm,
)


def layer_weights(
    module: nn.Module, arguments: tuple[Any, ...], keywords: Mapping[str, Any]
) -> LayerWeights | None:
    """The record of a layer of BERT's structure (BERT, RoBERTa, ELECTRA); None for any other.

    Args:
        module: the layer.
        arguments: what the encoder passed it after the hidden state; the attention mask is the
            first.
        keywords: likewise.
    """
    layer: Any = module
    mask = keywords.get("attention_mask", arguments[0] if arguments else None)
    try:
        attention, joined, expanded, output = (
            layer.attention.self,
            layer.attention.output,
            layer.intermediate,
            layer.output,
        )
        projections = [
            _affine(projection) for projection in (attention.query, attention.key, attention.value)
        ]
        stacked = Affine(
            torch.cat([p.weight for p in projections]), torch.cat([p.bias for p in projections])
        )
        bias = _additive(mask, stacked.weight.dtype)
        return LayerWeights(
            AttentionWeights(
                stacked,
                _affine(joined.dense),
                _norm(joined.LayerNorm),
                attention.num_attention_heads,
                bias,
            ),
            FeedForwardWeights(
                _affine(expanded.dense),
                _affine(output.dense),
                _norm(output.LayerNorm),
                expanded.intermediate_act_fn,
            ),
        )
    except (AttributeError, TypeError):
        return None


def _affine(linear: Any) -> Affine:
    if not isinstance(linear, nn.Linear):  # quantised or adapted layers compute something else
        raise TypeError(f"expected a Linear, got {type(linear).__name__}")
    return Affine(linear.weight, linear.bias)


def _norm(norm: Any) -> Norm:
    if not isinstance(norm, nn.LayerNorm):
        raise TypeError(f"expected a LayerNorm, got {type(norm).__name__}")
    return Norm(norm.weight, norm.bias, norm.eps)


def _additive(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """What is added to the scores; False of a boolean mask becomes the lowest finite number."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(
        ~mask, torch.finfo(dtype).min
    )
