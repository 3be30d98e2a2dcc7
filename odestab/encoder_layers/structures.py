"""The readers of every structure of layers with written-out products: modules → a plain record.

A reader raises AttributeError or TypeError where a layer has other modules than it reads. Names
alone do not say what a layer computes: the record is held against the layer where it is used.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from odestab.encoder_layers.parts import (
    affine,
    attention,
    feed_forward,
    mask_of,
    norm_of_heads,
    post_norm,
    pre_norm,
    relative_scores,
    rotation,
    scaled,
    stacked,
)
from odestab.fields.linearized_attention import AttentionWeights
from odestab.fields.linearized_layer import HalfWeights, LayerWeights
from odestab.fields.linearized_maps import Affine

Given = Mapping[str, Any]  # what the model passed the layer, by name


def bert(layer: Any, given: Given) -> LayerWeights:
    """BERT, RoBERTa, ELECTRA and many more: post-norm."""
    own = layer.attention.self
    attend = attention(
        stacked(own.query, own.key, own.value),
        layer.attention.output.dense,
        own.num_attention_heads,
        biases=[mask_of(own, given)],
    )
    return LayerWeights(post_norm(attend, layer.attention.output.LayerNorm), _expansion(layer))


def mpnet(layer: Any, given: Given) -> LayerWeights:
    """MPNet: BERT with a bias by relative position, the same in all layers."""
    own = layer.attention.attn
    attend = attention(
        stacked(own.q, own.k, own.v),
        own.o,
        own.num_attention_heads,
        biases=[given.get("position_bias"), given.get("attention_mask")],
    )
    return LayerWeights(post_norm(attend, layer.attention.LayerNorm), _expansion(layer))


def deberta(layer: Any, given: Given) -> LayerWeights:
    """DeBERTa's first form: BERT with scores of content against relative positions."""
    own = layer.attention.self
    if own.talking_head:
        raise TypeError("expected attention without talking heads")
    heads = own.num_attention_heads
    # one after the other for each head: q, k, v
    weight = affine(own.in_proj).weight.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(0, 2)
    bias = torch.cat([own.q_bias, torch.zeros_like(own.q_bias), own.v_bias])
    reach = own.max_relative_positions if own.relative_attention else 0
    tokens = given["attention_mask"].shape[-1]
    return _disentangled(
        layer,
        given,
        Affine(weight, bias),
        span=min(tokens, reach),
        middle=reach,
        keys=getattr(own, "pos_proj", None),
        queries=getattr(own, "pos_q_proj", None),
    )


def deberta_v2(layer: Any, given: Given) -> LayerWeights:
    """DeBERTa's second and third form: distances in buckets, projections that may be shared."""
    own = layer.attention.self
    shared = own.share_att_key
    keys = own.key_proj if shared else getattr(own, "pos_key_proj", None)
    queries = own.query_proj if shared else getattr(own, "pos_query_proj", None)
    reach = own.pos_ebd_size if own.relative_attention else 0
    return _disentangled(
        layer,
        given,
        stacked(own.query_proj, own.key_proj, own.value_proj),
        span=reach,
        middle=reach,
        keys=keys if "c2p" in own.pos_att_type else None,
        queries=queries if "p2c" in own.pos_att_type else None,
    )


def distilbert(layer: Any, given: Given) -> LayerWeights:
    """DistilBERT: post-norm."""
    own = layer.attention
    attend = attention(
        stacked(own.q_lin, own.k_lin, own.v_lin),
        own.out_lin,
        own.n_heads,
        biases=[mask_of(own, given)],
    )
    feed = feed_forward(affine(layer.ffn.lin1), layer.ffn.lin2, layer.ffn.activation)
    return LayerWeights(
        post_norm(attend, layer.sa_layer_norm), post_norm(feed, layer.output_layer_norm)
    )


def albert(layer: Any, given: Given) -> LayerWeights:
    """ALBERT: post-norm; a group of one layer is that layer."""
    group = getattr(layer, "albert_layers", [layer])
    if len(group) != 1:
        raise TypeError(f"expected a group of one layer, got {len(group)}")
    own = group[0].attention
    attend = attention(
        stacked(own.query, own.key, own.value),
        own.dense,
        own.num_attention_heads,
        biases=[mask_of(own, given)],
    )
    feed = feed_forward(affine(group[0].ffn), group[0].ffn_output, group[0].activation)
    return LayerWeights(
        post_norm(attend, own.LayerNorm), post_norm(feed, group[0].full_layer_layer_norm)
    )


def gpt2(layer: Any, given: Given) -> LayerWeights:
    """GPT-2: pre-norm and causal, projections in one."""
    own = layer.attn
    attend = attention(
        affine(own.c_attn),
        own.c_proj,
        own.num_heads,
        biases=[mask_of(own, given)],
        scale=own.scaling,
    )
    feed = feed_forward(affine(layer.mlp.c_fc), layer.mlp.c_proj, layer.mlp.act)
    return LayerWeights(pre_norm(attend, layer.ln_1), pre_norm(feed, layer.ln_2))


def llama(layer: Any, given: Given) -> LayerWeights:
    """Llama, Mistral, Qwen2, Qwen3, Gemma: pre-norm, causal, rotary, gated, shared keys."""
    own = layer.self_attn
    projections = stacked(own.q_proj, own.k_proj, own.v_proj)
    heads = own.q_proj.out_features // own.head_dim
    key_heads = own.k_proj.out_features // own.head_dim
    normed = (
        (norm_of_heads((own.q_norm, heads), (own.k_norm, key_heads)),)
        if hasattr(own, "q_norm")
        else ()
    )
    attend = attention(
        projections,
        own.o_proj,
        heads,
        biases=[mask_of(own, given)],
        key_heads=key_heads,
        scale=own.scaling,
        turns=(*normed, rotation(given, projections.weight.dtype)),
    )
    mlp = layer.mlp
    feed = feed_forward(stacked(mlp.gate_proj, mlp.up_proj), mlp.down_proj, mlp.act_fn, gated=True)
    return LayerWeights(
        pre_norm(attend, layer.input_layernorm), pre_norm(feed, layer.post_attention_layernorm)
    )


def modernbert(layer: Any, given: Given) -> LayerWeights:
    """ModernBERT: pre-norm, rotary, gated; its first layer has no norm before attention."""
    own = layer.attn
    projections = affine(own.Wqkv)
    attend = attention(
        projections,
        own.Wo,
        own.Wo.in_features // own.head_dim,
        biases=[mask_of(own, given)],
        turns=(rotation(given, projections.weight.dtype),),
    )
    feed = feed_forward(affine(layer.mlp.Wi), layer.mlp.Wo, layer.mlp.act, gated=True)
    return LayerWeights(pre_norm(attend, layer.attn_norm), pre_norm(feed, layer.mlp_norm))


def vit(layer: Any, given: Given) -> LayerWeights:
    """ViT: pre-norm."""
    feed = feed_forward(affine(layer.mlp.fc1), layer.mlp.fc2, layer.mlp.activation_fn)
    return LayerWeights(
        pre_norm(_of_patches(layer, given), layer.layernorm_before),
        pre_norm(feed, layer.layernorm_after),
    )


def dinov2(layer: Any, given: Given) -> LayerWeights:
    """DINOv2: ViT with a factor for each entry of both branches."""
    attend = scaled(_of_patches(layer, given), layer.layer_scale1.lambda1)
    mlp = layer.mlp
    feed = (
        feed_forward(stacked(mlp.gate_proj, mlp.up_proj), mlp.down_proj, mlp.act_fn, gated=True)
        if hasattr(mlp, "gate_proj")
        else feed_forward(affine(mlp.fc1), mlp.fc2, mlp.activation_fn)
    )
    return LayerWeights(
        pre_norm(attend, layer.norm1),
        pre_norm(scaled(feed, layer.layer_scale2.lambda1), layer.norm2),
    )


def clip(layer: Any, given: Given) -> LayerWeights:
    """CLIP's text and image encoders: pre-norm."""
    own = layer.self_attn
    attend = attention(
        stacked(own.q_proj, own.k_proj, own.v_proj),
        own.out_proj,
        own.num_heads,
        biases=[mask_of(own, given)],
        scale=own.scale,
    )
    feed = feed_forward(affine(layer.mlp.fc1), layer.mlp.fc2, layer.mlp.activation_fn)
    return LayerWeights(pre_norm(attend, layer.layer_norm1), pre_norm(feed, layer.layer_norm2))


def t5(layer: Any, given: Given) -> LayerWeights:
    """T5's encoder: pre-norm with RMSNorm, a bias by relative position and no scale."""
    if layer.is_decoder:
        raise TypeError("expected a layer without attention to another text")
    half = layer.layer[0]
    own = half.SelfAttention
    bias: Tensor | Callable[[int], Tensor] | None = given.get("position_bias")
    if bias is None and own.has_relative_attention_bias:  # the first layer makes it for all
        bias = functools.partial(_t5_bias, own)
    attend = attention(
        stacked(own.q, own.k, own.v),
        own.o,
        own.n_heads,
        biases=[bias, given.get("attention_mask")],
        scale=own.scaling,
    )
    dense = layer.layer[-1].DenseReluDense
    gated = hasattr(dense, "wi_0")
    inner = stacked(dense.wi_0, dense.wi_1) if gated else affine(dense.wi)
    feed = feed_forward(inner, dense.wo, dense.act, gated)
    return LayerWeights(
        pre_norm(attend, half.layer_norm), pre_norm(feed, layer.layer[-1].layer_norm)
    )


READERS = (
    deberta,
    deberta_v2,
    bert,
    mpnet,
    distilbert,
    albert,
    gpt2,
    llama,
    modernbert,
    vit,
    dinov2,
    clip,
    t5,
)


def _of_patches(layer: Any, given: Given) -> AttentionWeights:
    """ViT's attention."""
    own = layer.attention
    return attention(
        stacked(own.q_proj, own.k_proj, own.v_proj),
        own.o_proj,
        own.num_attention_heads,
        biases=[mask_of(own, given)],
        scale=own.scaling,
    )


def _expansion(layer: Any) -> HalfWeights:
    """BERT's feed-forward half."""
    expanded = layer.intermediate
    feed = feed_forward(affine(expanded.dense), layer.output.dense, expanded.intermediate_act_fn)
    return post_norm(feed, layer.output.LayerNorm)


def _disentangled(
    layer: Any,
    given: Given,
    projections: Affine,
    span: int,
    middle: int,
    keys: Any,
    queries: Any,
) -> LayerWeights:
    """A layer with DeBERTa's attention; `span`, `middle`, `keys`, `queries` as in its scores."""
    own = layer.attention.self
    if given.get("query_states") is not None:
        raise TypeError("expected attention of one state")
    heads = own.num_attention_heads
    # In the precision in which the layer computes it.
    terms = 1 + len(own.pos_att_type)
    root = float(torch.sqrt(torch.tensor(own.attention_head_size, dtype=torch.float) * terms))
    relative = (
        relative_scores(given, heads, span, middle, root, keys, queries)
        if own.relative_attention
        else None
    )
    attend = attention(
        projections,
        layer.attention.output.dense,
        heads,
        biases=[given["attention_mask"].bool()],
        scale=1 / root,
        relative=relative,
    )
    return LayerWeights(post_norm(attend, layer.attention.output.LayerNorm), _expansion(layer))


def _t5_bias(own: Any, tokens: int) -> Tensor:
    bias: Tensor = own.compute_bias(tokens, tokens)
    return bias
