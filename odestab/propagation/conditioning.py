"""Conditioning of a classifier's answers: how far an input is from a flip, to first order."""

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from odestab.krylov.orthogonalization import norm
from odestab.one_thread import ONE_THREAD

NOT_PASSED = ("input_ids", "special_tokens_mask", "labels")  # what a batch may hold for others


@dataclasses.dataclass(frozen=True, eq=False)
class Conditioning:
    """How easily each input's answer flips (Mathematics, section 12).

    NaN where the logits or the gradient of an example are not finite.

    Attributes:
        margin: m, the logit of the label less the largest other one: negative where the model
            answers otherwise.
        gradient: g = ‖∇_e m‖ at the word embeddings e, in logits per unit of the embeddings.
        distance: |m|/g, the length of the embeddings' first-order way to a flip; infinite where the
            gradient vanishes, 0 where the margin does.
        relative: g‖e‖/|m|, the relative condition number of the margin; infinite where the margin
            vanishes.
        labels: the labels that the margins are of.
        flat: the gradient vanishes: first order says nothing about this input.
        by_token: ‖∇_{e_t} m‖ at each token t, whose squares sum to g²; 0 at tokens that do not
            count.

    Example:
        >>> import torch, odestab as od
        >>> one, label = torch.ones(1), torch.zeros(1, dtype=torch.long)
        >>> one_token = one[:, None]
        >>> od.Conditioning(2 * one, one, 2 * one, one, label, label > 0, one_token).distance
        tensor([2.])
    """

    margin: Float[Tensor, " batch"]
    gradient: Float[Tensor, " batch"]
    distance: Float[Tensor, " batch"]
    relative: Float[Tensor, " batch"]
    labels: Int[Tensor, " batch"]
    flat: Bool[Tensor, " batch"]
    by_token: Float[Tensor, "batch tokens"]


def conditioning(
    model: nn.Module, batch: Mapping[str, Any], labels: Tensor | None = None
) -> Conditioning:
    """Margin m, gradient g = ‖∇_e m‖ at the word embeddings, |m|/g and g‖e‖/|m| of each example, by
    one forward and one backward (Demmel 1987 on the distance to ill-posedness; Mathematics,
    section 12).

    Embeddings and gradient are taken over real tokens; where the batch has a `special_tokens_mask`,
    as a tokenizer makes it, over those that are not special. A model that counts positions from its
    padding token on, as RoBERTa does, is given those that it would count itself, unless the batch
    has `position_ids`: from embeddings alone it would count padding too.

    Args:
        model: a classifier in eval mode: `get_input_embeddings()` gives its word embeddings, and
            called with `input_ids` or, where it does not take them, `inputs_embeds`, with
            `attention_mask` and what else the batch holds, it gives `logits`, `(batch, outputs)`.
        batch: `input_ids` and `attention_mask`, `(batch, tokens)`; moved to the model's device.
        labels: `(batch,)`, whole numbers; None is what the model predicts.

    Raises:
        ValueError: if the model is in training mode, has one output, or logits of another shape; if
            the batch lacks an entry, or its texts have no token; if labels are not one output for
            each example.

    Example:
        >>> import torch, transformers, odestab as od
        >>> config = transformers.BertConfig(hidden_size=8, num_attention_heads=2)
        >>> model = transformers.BertForSequenceClassification(config).eval()
        >>> batch = {"input_ids": torch.tensor([[3, 5, 4]]), "attention_mask": torch.ones(1, 3)}
        >>> bool(od.conditioning(model, batch).margin > 0)
        True
    """
    if any(module.training for module in model.modules()):
        raise ValueError(
            "model must be in eval mode, call model.eval(): got training mode, where dropout makes "
            "margins random"
        )
    embed = model.get_input_embeddings()  # type: ignore[operator]
    ids, words, rest = _inputs(model, batch)
    if not len(ids):
        # Attention of most models has no shape for a batch of nothing.
        return _of_nothing(embed(ids), labels)
    with torch.enable_grad():
        embeddings = embed(ids).detach().requires_grad_()
        logits = getattr(_answer(model, embed, ids, embeddings, rest), "logits", None)
        if not isinstance(logits, Tensor):
            raise ValueError(f"model must return logits, as classifiers do: {type(model).__name__}")
        chosen = _labels(logits, labels, len(ids))
        margin = logit_margin(logits, chosen)
        gradient = torch.zeros_like(embeddings)
        if margin.requires_grad:  # constant logits have no graph
            # Examples do not meet in a model: the gradient of the sum is that of each.
            slope = torch.autograd.grad(margin.sum(), embeddings, allow_unused=True)[0]
            gradient = gradient if slope is None else slope
    margin = margin.detach()
    # What a model makes of padding alone is about no text.
    margin = margin.masked_fill(~rest["attention_mask"].bool().any(1), torch.nan)
    return _conditioning(margin, gradient, embeddings.detach(), words, chosen)


def _inputs(model: nn.Module, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Token ids, which of them count, and what the model is called with beside their embeddings."""
    for name in ("input_ids", "attention_mask"):
        if not isinstance(batch.get(name), Tensor):
            raise ValueError(
                f"batch must have {name} as a tensor (tokenize with return_tensors='pt'), got "
                f"{type(batch.get(name)).__name__}"
            )
    weight = next(iter(model.parameters()), None)
    device = batch["input_ids"].device if weight is None else weight.device
    moved = {
        name: value.to(device) if isinstance(value, Tensor) else value
        for name, value in batch.items()
    }
    ids = moved["input_ids"]
    mask = moved["attention_mask"]
    if ids.ndim != 2 or mask.shape != ids.shape:
        raise ValueError(
            "input_ids and attention_mask must be (batch, tokens), alike, got "
            f"{tuple(ids.shape)} and {tuple(mask.shape)}"
        )
    if len(ids) and not ids.shape[1]:
        raise ValueError(f"input_ids must hold at least one token a text, got {tuple(ids.shape)}")
    words = mask.bool()
    special = moved.get("special_tokens_mask")
    if special is not None:
        if special.shape != ids.shape:
            raise ValueError(
                f"special_tokens_mask must be of shape {tuple(ids.shape)}, got "
                f"{tuple(special.shape)}"
            )
        words = words & ~special.bool()
    rest = {name: value for name, value in moved.items() if name not in NOT_PASSED}
    return ids, words, _positions(model, ids) | rest


def _answer(
    model: nn.Module, embed: nn.Module, ids: Tensor, embeddings: Tensor, rest: dict[str, Any]
) -> Any:
    """What a model returns for embeddings; where it takes token ids, for those, whose embeddings
    are replaced: a decoder's classifier reads the last token that is no padding, by its id.
    """
    accepted = inspect.signature(model.forward).parameters
    takes_any = any(part.kind is part.VAR_KEYWORD for part in accepted.values())
    if "attention_mask" not in accepted and not takes_any:
        rest = {name: value for name, value in rest.items() if name != "attention_mask"}
    if "input_ids" not in accepted:
        return model(inputs_embeds=embeddings, **rest)

    def replaced(module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
        # GPT-2 embeds segments by the same table.
        of_tokens = arguments[0].shape == ids.shape and torch.equal(arguments[0], ids)
        return embeddings if of_tokens else output

    with ONE_THREAD:  # a hook is seen by all threads
        hook = embed.register_forward_hook(replaced)
        try:
            return model(input_ids=ids, **rest)
        finally:
            hook.remove()


def _positions(model: nn.Module, ids: Tensor) -> dict[str, Tensor]:
    """`position_ids` of a model whose positions depend on what is padding; else nothing."""
    if "position_ids" not in inspect.signature(model.forward).parameters:
        return {}
    for module in model.modules():
        table = getattr(module, "position_embeddings", None)
        if isinstance(table, nn.Embedding) and table.padding_idx is not None:
            real = ids != table.padding_idx
            return {"position_ids": real.cumsum(1) * real + table.padding_idx}
    return {}


def _of_nothing(embeddings: Tensor, labels: Tensor | None) -> Conditioning:
    """That of a batch without examples."""
    logits = embeddings.new_zeros(0, 2)
    chosen = _labels(logits, labels, 0)
    margin = logit_margin(logits, chosen)
    words = torch.zeros(embeddings.shape[:2], dtype=torch.bool, device=embeddings.device)
    return _conditioning(margin, embeddings, embeddings, words, chosen)


def _labels(logits: Tensor, labels: Tensor | None, count: int) -> Tensor:
    """The labels, checked against the logits; what is predicted where there are none."""
    if logits.ndim != 2 or logits.shape[0] != count:
        raise ValueError(
            f"logits must be (batch, outputs) with {count} rows, got {tuple(logits.shape)}"
        )
    outputs = logits.shape[1]
    if outputs < 2:
        raise ValueError(
            f"model must have at least 2 outputs, got {outputs}: a regression has no margin"
        )
    if labels is None:
        return logits.detach().argmax(1)
    labels = torch.as_tensor(labels)
    if labels.is_floating_point() or labels.shape != (count,):
        raise ValueError(
            f"labels must be whole numbers of shape ({count},), got {labels.dtype} of "
            f"{tuple(labels.shape)}"
        )
    wrong = (labels < 0) | (labels >= outputs)
    if bool(wrong.any()):
        raise ValueError(
            f"labels must be in 0..{outputs - 1}, got {labels[wrong].unique().tolist()}"
        )
    return labels.to(logits.device, torch.long)


def logit_margin(
    logits: Float[Tensor, "batch outputs"], labels: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """m, the logit of the label less the largest other one, in float32 at least (Mathematics,
    section 12).

    Args:
        logits: of two outputs or more.
        labels: index of an output for each example.

    Example:
        >>> import torch, odestab as od
        >>> od.logit_margin(torch.tensor([[1.0, 3.0, 2.5]]), torch.tensor([1])).tolist()
        [0.5]
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    own = torch.arange(wide.shape[1], device=wide.device) == labels[:, None]
    right = wide.gather(1, labels[:, None])[:, 0]
    return right - wide.masked_fill(own, -torch.inf).amax(1)


def _conditioning(
    margin: Tensor, gradient: Tensor, embeddings: Tensor, words: Tensor, labels: Tensor
) -> Conditioning:
    def real(vectors: Tensor) -> Tensor:
        return vectors.masked_fill(~words[..., None], 0.0).to(margin.dtype)

    slope = norm(real(gradient).flatten(1))
    size = norm(real(embeddings).flatten(1))
    by_token = norm(real(gradient))
    distance = margin.abs()
    known = margin.isfinite() & slope.isfinite()
    flat = known & (slope == 0)
    # 0/0 is a margin of 0 that no direction changes: on the boundary, and nothing else is known.
    way = torch.where(distance == 0, 0.0, distance / slope)
    number = torch.where(flat & (distance > 0), 0.0, slope * size / distance)
    margin, slope, way, number = (
        torch.where(known, values, torch.nan) for values in (margin, slope, way, number)
    )
    by_token = torch.where(known[:, None], by_token, torch.nan)
    return Conditioning(margin, slope, way, number, labels, flat, by_token)
