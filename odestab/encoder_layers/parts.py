"""Modules of a layer as the plain records of the analytic linearisation.

A module that is not what it looks like raises TypeError: an adapted or quantised linear layer
computes something else than its weights say.
"""

import dataclasses
import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from odestab.fields.linearized_attention import AttentionWeights, ScoreBias
from odestab.fields.linearized_feed_forward import FeedForwardWeights
from odestab.fields.linearized_layer import HalfWeights
from odestab.fields.linearized_maps import Affine, Norm, Rotation
from odestab.fields.relative_scores import RelativeScores
from odestab.fields.shared_copies import SharedCopies


def arguments_by_name(
    module: nn.Module, arguments: tuple[Any, ...], keywords: Mapping[str, Any]
) -> dict[str, Any]:
    """What a layer was passed after its state, by the names in its forward."""
    signature = inspect.signature(type(module).forward)
    bound = signature.bind(module, None, *arguments, **keywords).arguments
    extra = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.kind.name == "VAR_KEYWORD"
    ]
    return {**bound, **{key: value for name in extra for key, value in bound.get(name, {}).items()}}


def require_plain(module: Any) -> None:
    """Refuse a module that hooks or a forward of its own may change."""
    if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):
        raise TypeError(f"expected a module without hooks, got a {type(module).__name__} with some")


def affine(linear: Any) -> Affine:
    """A Linear, or transformers' Conv1D, whose weight is transposed."""
    require_plain(linear)
    if type(linear) is nn.Linear:
        return Affine(linear.weight, linear.bias)
    if type(linear).__name__ == "Conv1D" and linear.weight.ndim == 2:
        return Affine(linear.weight.T, linear.bias)
    raise TypeError(f"expected a Linear, got {type(linear).__name__}")


def stacked(*linears: Any) -> Affine:
    """Linear layers of one input, their outputs one after the other.

    Traces of one model share the copy, as long as its weights stay what they are.
    """
    maps = [affine(linear) for linear in linears]
    weights = [weight for part in maps for weight in (part.weight, part.bias) if weight is not None]
    return _STACKED.get(linears[0], "stacked", weights, lambda: _stacked(maps))


_STACKED: SharedCopies[Affine] = SharedCopies()  # by the first layer of a stack


def _stacked(maps: Sequence[Affine]) -> Affine:
    if all(part.bias is None for part in maps):
        return Affine(torch.cat([part.weight for part in maps]))
    biases = [
        part.weight.new_zeros(len(part.weight)) if part.bias is None else part.bias for part in maps
    ]
    return Affine(torch.cat([part.weight for part in maps]), torch.cat(biases))


def norm(module: Any) -> Norm | None:
    """A LayerNorm or an RMSNorm; None for the identity."""
    require_plain(module)
    name = type(module).__name__
    if type(module) is nn.Identity:
        return None
    if type(module) is nn.LayerNorm:
        return Norm(module.weight, module.bias, module.eps)
    if name == "DebertaLayerNorm":
        return Norm(module.weight, module.bias, module.variance_epsilon)
    if name.endswith("RMSNorm") or name == "T5LayerNorm":
        epsilon = module.eps if hasattr(module, "eps") else module.variance_epsilon
        gain = 1 + module.weight if name.startswith("Gemma") else module.weight
        return Norm(gain, None, epsilon, centered=False)
    raise TypeError(f"expected a norm, got {name}")


def attention(
    query_key_value: Affine,
    output: Any,
    heads: int,
    biases: Sequence[ScoreBias | None] = (),
    key_heads: int | None = None,
    scale: float | None = None,
    turns: tuple[Norm | Rotation, ...] = (),
    relative: RelativeScores | None = None,
) -> AttentionWeights:
    """Attention of projections that are stacked; the scale is 1/√(head size) by default."""
    mixed = affine(output)
    return AttentionWeights(
        query_key_value,
        mixed,
        heads,
        key_heads or heads,
        1 / math.sqrt(mixed.weight.shape[1] // heads) if scale is None else scale,
        tuple(additive(bias, mixed.weight.dtype) for bias in biases if bias is not None),
        turns,
        relative,
    )


def feed_forward(
    intermediate: Affine, output: Any, activation: Any, gated: bool = False
) -> FeedForwardWeights:
    """The feed-forward map; of a gated one the gate stands first in the intermediate map."""
    if not callable(activation):
        raise TypeError(f"expected an activation, got {type(activation).__name__}")
    return FeedForwardWeights(intermediate, affine(output), activation, gated)


Branch = TypeVar("Branch", AttentionWeights, FeedForwardWeights)


def scaled(branch: Branch, factor: Tensor) -> Branch:
    """A branch with each entry of its output times a factor."""
    output = branch.output
    bias = None if output.bias is None else factor * output.bias
    return dataclasses.replace(branch, output=Affine(factor[:, None] * output.weight, bias))


def post_norm(branch: AttentionWeights | FeedForwardWeights, module: Any) -> HalfWeights:
    """N(x + g(x))."""
    return HalfWeights(branch, norm_after=norm(module))


def pre_norm(branch: AttentionWeights | FeedForwardWeights, module: Any) -> HalfWeights:
    """x + g(N(x))."""
    return HalfWeights(branch, norm_before=norm(module))


def additive(bias: ScoreBias, dtype: torch.dtype) -> ScoreBias:
    """What is added to the scores; False of a boolean mask becomes the lowest finite number."""
    if not isinstance(bias, Tensor) or bias.dtype != torch.bool:
        return bias
    return torch.zeros(bias.shape, dtype=dtype, device=bias.device).masked_fill(
        ~bias, torch.finfo(dtype).min
    )


def mask_of(module: Any, given: Mapping[str, Any]) -> ScoreBias | None:
    """The attention mask of a layer, by its attention module.

    Fused attention without a mask is causal where the module says so.
    """
    mask: Tensor | None = given.get("attention_mask")
    if mask is not None:
        return mask
    causal = given.get("is_causal")
    causal = getattr(module, "is_causal", False) if causal is None else causal
    fused = getattr(module.config, "_attn_implementation", None) == "sdpa"
    return causal_bias if causal and fused else None


def causal_bias(tokens: int) -> Tensor:
    """−∞ where a key comes after its query."""
    return torch.full((tokens, tokens), -torch.inf).triu(1)


def norm_of_heads(*parts: tuple[Any, int]) -> Norm:
    """One norm for the heads of several kinds: modules, and how many heads each is for."""
    gains: list[Tensor] = []
    epsilon = 0.0
    for module, heads in parts:
        of_head = norm(module)
        if of_head is None or of_head.centered or of_head.shift is not None:
            raise TypeError(f"expected an RMSNorm of heads, got {type(module).__name__}")
        gains.append(of_head.gain.expand(heads, -1))
        epsilon = of_head.epsilon
    return Norm(torch.cat(gains), None, epsilon, centered=False)


def rotation(given: Mapping[str, Any], dtype: torch.dtype) -> Rotation:
    """Rotary positions as the model passed them."""
    cosine, sine = (part.to(dtype)[:, :, None] for part in given["position_embeddings"])
    return Rotation(cosine, sine)


def relative_scores(
    given: Mapping[str, Any],
    heads: int,
    span: int,
    middle: int,
    root: float,
    keys: Any,
    queries: Any,
) -> RelativeScores:
    """DeBERTa's scores of content against relative positions.

    Args:
        given: what the layer was passed: the distance of each key from each query, and the
            embeddings of distances.
        heads: number of heads.
        span: distances are cut to [−span, span).
        middle: the embedding of distance 0.
        root: what scores are divided by.
        keys: the projection of embeddings to keys; None is no such term.
        queries: likewise to queries.
    """
    distance = given["relative_pos"].long().flatten(0, -3)[0]  # (tokens, tokens), i − j
    by_distance = torch.cat([distance[:, 0].flip(0), distance[0, 1:]])  # from n − 1 to 1 − n
    embeddings = given["rel_embeddings"][by_distance.clamp(-span, span - 1) + middle]

    def table(projection: Any, embeddings: Tensor) -> Tensor | None:
        if projection is None:
            return None
        projected = affine(projection)(embeddings) / root
        return projected.unflatten(-1, (heads, -1)).transpose(0, 1)

    return RelativeScores(table(keys, embeddings), table(queries, embeddings.flip(0)))
