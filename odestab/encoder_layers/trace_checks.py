"""What a trace must hold: a binary mask, the encoder's own states, layers that do not round."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from odestab.fields.vector_field import LayerVectorField


def require_binary(mask: Tensor) -> None:
    """Refuse a mask with other values than 0 and 1.

    An additive mask reads the wrong way round: −1 on padding counts as real.

    Raises:
        ValueError: with the values.
    """
    if not bool(((mask == 0) | (mask == 1)).all()):
        got = f"values from {mask.min().item():g} to {mask.max().item():g}"
        raise ValueError(f"attention_mask must be 1 on real tokens and 0 on padding, got {got}")


def require_whole(
    encoder: Any,
    states: Sequence[Tensor],
    norms: Sequence[tuple[Any, Any]],
    output: Any,
    mask: Tensor,
) -> None:
    """Require a chain of layers to pass through all of the encoder's hidden states.

    Args:
        encoder: for its name.
        states: of the chain, L + 1 of them.
        norms: input and output of each norm outside the layers.
        output: the encoder's, with its hidden states where it knows them.
        mask: True on real tokens.
    """
    hidden = output.hidden_states if output.get("hidden_states") is not None else states[:-1]
    whole = (
        f"{type(encoder).__name__} must be one chain of layers from its embeddings to its output"
    )
    if output.get("hidden_states") is not None and len(hidden) != len(states):
        raise ValueError(
            f"{whole}, got {len(states) - 1} layers in a row of an "
            f"encoder with {len(hidden)} hidden states"
        )
    for l, (state, own) in enumerate(zip(states[:-1], hidden, strict=False)):
        if not _alike(state, own, mask):
            raise ValueError(f"{whole}, got another state before layer {l} than the encoder's own")
    normed = [after for before, after in norms if _alike(before, states[-1], mask)]
    if not any(_alike(last, output[0], mask) for last in (states[-1], *normed)):
        raise ValueError(f"{whole}, got another output than that of its last layer")


def _alike(state: Any, other: Any, mask: Tensor) -> bool:
    """Whether two states are the same on real tokens, up to rounding."""
    if not isinstance(other, Tensor) or state.shape != other.shape or state.shape[:2] != mask.shape:
        return False
    state = state[mask]
    other = other[mask]
    finite = state.isfinite()
    close = (
        (state - other).abs() <= 100 * torch.finfo(state.dtype).eps * state[finite].abs().amax()
        if finite.any()
        else finite
    )
    return bool(torch.where(finite, close, ~other.isfinite()).all())


def require_chain(
    encoder: Any, fields: Sequence[LayerVectorField], states: Sequence[Tensor]
) -> None:
    """Require x_{l+1} = F_l(x_l) on real tokens, in the precision of the state.

    The first fails where padding reaches real tokens or something happens between the layers, the
    second where a layer casts.
    """
    name = type(encoder).__name__
    dtype = states[0].dtype
    watch = _WatchPrecision(dtype)
    for l, field in enumerate(fields):
        with (
            watch
            if not torch.is_autocast_enabled(states[l].device.type)
            else contextlib.nullcontext()
        ):
            image = field.unsplit(states[l])
        difference = float((image - states[l + 1]).abs().max())
        if not difference <= 100 * torch.finfo(dtype).eps * float(
            states[l + 1].abs().max()
        ) and bool(states[l + 1].isfinite().all()):
            came = f"a difference of {difference:.1e} in state {l + 1}"
            raise ValueError(
                f"{name} must be its layers one after the other on real tokens, got {came}"
            )
        if watch.rounded:
            advice = "; odestab.load_encoder keeps float64" if dtype == torch.float64 else ""
            raise ValueError(
                f"{name} must compute in {dtype} throughout, got "
                f"{watch.rounded} inside layer {l}{advice}"
            )


class _WatchPrecision(TorchDispatchMode):
    """Notes the first operation that makes numbers of lower precision out of those of a state's.

    Attributes:
        rounded: that lower precision; None where there was no such operation.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.rounded: torch.dtype | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if self.rounded is None and self._has(
            lambda dtype: dtype.itemsize >= self.dtype.itemsize, (args, kwargs)
        ):
            lower = self._has(lambda dtype: dtype.itemsize < self.dtype.itemsize, result)
            self.rounded = next(iter(lower), None)
        return result

    @staticmethod
    def _has(kind: Callable[[torch.dtype], bool], values: Any) -> set[torch.dtype]:
        """The floating-point types of one kind among tensors that are no single numbers."""
        tensors = [
            leaf
            for leaf in tree_leaves(values)
            if isinstance(leaf, Tensor) and leaf.ndim and leaf.is_floating_point()
        ]
        return {tensor.dtype for tensor in tensors if kind(tensor.dtype)}
