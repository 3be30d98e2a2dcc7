"""A layer's weights as a plain record, where the analytic linearisation knows its structure.

Each structure has one reader. A reader is tried by the names of a layer's modules alone: whether
the record computes what the layer does is checked on the state, where it is used.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from odestab.encoder_layers.parts import (
    affine,
    arguments_by_name,
    attention,
    feed_forward,
    mask_of,
    post_norm,
    stacked,
)
from odestab.fields.linearized_layer import HalfWeights, LayerWeights


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
        except (AttributeError, TypeError):
            continue
    return None


def _bert(layer: Any, given: Mapping[str, Any]) -> LayerWeights:
    """BERT, RoBERTa, ELECTRA and many more."""
    own = layer.attention.self
    projections = stacked((own.query, own.key, own.value))
    heads = own.num_attention_heads
    attend = attention(
        projections, layer.attention.output.dense, heads, biases=[mask_of(own, given)]
    )
    return LayerWeights(post_norm(attend, layer.attention.output.LayerNorm), _expansion(layer))


def _mpnet(layer: Any, given: Mapping[str, Any]) -> LayerWeights:
    own = layer.attention.attn
    projections = stacked((own.q, own.k, own.v))
    biases = [given.get("position_bias"), given.get("attention_mask")]
    attend = attention(projections, own.o, own.num_attention_heads, biases)
    return LayerWeights(post_norm(attend, layer.attention.LayerNorm), _expansion(layer))


def _expansion(layer: Any) -> HalfWeights:
    """BERT's feed-forward half."""
    expanded = layer.intermediate
    feed = feed_forward(affine(expanded.dense), layer.output.dense, expanded.intermediate_act_fn)
    return post_norm(feed, layer.output.LayerNorm)


READERS = (_bert, _mpnet)
