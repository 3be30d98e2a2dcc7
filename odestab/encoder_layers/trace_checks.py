"""What a trace must hold: the model's own states, layers that do not round or write to them."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from odestab.encoder_layers.recording import Call, restarted
from odestab.encoder_layers.stacks import is_norm
from odestab.fields.vector_field import LayerVectorField

UNPADDED = "; padding reaches real tokens: trace texts of one length together, without padding"


def require_whole(model: nn.Module, calls: Sequence[Call], run: Any, mask: Tensor) -> None:
    """Require a chain of layers to pass through all of the model's states.

    What the model says of its hidden states decides, and what it returns, where that has the shape
    of a state: it is the last state, or a norm of it. No other layer of the same list may run.

    Args:
        model: that ran.
        calls: of the chain.
        run: in which they were recorded.
        mask: True on real tokens.
    """
    states = [*(call.before for call in calls), calls[-1].after]
    whole = f"{type(model).__name__} must be one chain of layers from its embeddings to its output"
    hidden = getattr(run.output, "hidden_states", None)
    if hidden is None:
        _require_no_others(model, calls, run, whole)
        leaves = tree_leaves(run.output)
        ends = [end for end in leaves if getattr(end, "shape", ()) == states[-1].shape]
    else:
        ends = [run.output[0]]
        if len(hidden) != len(states):
            raise ValueError(
                f"{whole}, got {len(calls)} layers in a row of a model with {len(hidden)} hidden "
                "states"
            )
        for l, (state, own) in enumerate(zip(states[:-1], hidden, strict=False)):
            if not _alike(state, own, mask):
                raise ValueError(
                    f"{whole}, got another state before layer {l} than the model's own"
                )
    inside = {part for call in calls for part in call.layer.module.modules()}
    normed = [
        call.after
        for call in run.calls
        if is_norm(call.layer.module)
        and call.layer.module not in inside
        and _alike(call.before, states[-1], mask)
    ]
    lasts = (states[-1], *normed)
    if ends and not any(_alike(last, end, mask) for last in lasts for end in ends):
        raise ValueError(f"{whole}, got another output than that of its last layer")


def _require_no_others(model: nn.Module, calls: Sequence[Call], run: Any, whole: str) -> None:
    """Refuse a chain that leaves out layers of the same list, which led from states to states."""
    chosen = {call.layer.module for call in calls}
    shape = calls[0].before.shape
    ran = {
        call.layer.module
        for call in run.calls
        if getattr(call.before, "shape", None) == getattr(call.after, "shape", None) == shape
    }
    for module in model.modules():
        if not isinstance(module, nn.ModuleList | nn.Sequential):
            continue
        stack = [layer for layer in module if layer in ran and not is_norm(layer)]
        taken = [layer for layer in stack if layer in chosen]
        if taken and len(taken) < len(stack):
            raise ValueError(f"{whole}, got {len(taken)} of {len(stack)} layers in a row")


def require_one_state(
    model: nn.Module, calls: list[Call], run: Callable[[], Any], fused: bool
) -> None:
    """Require all that layers are passed beside the state not to depend on it.

    It is fixed in F_l, whose derivative would lack what flows through it: the first state or values
    of an earlier layer, handed on beside the residual stream. Another first state must not change
    it, which costs one run more where layers are passed tensors.
    """
    passed = [_passed(call) for call in calls]
    if not any(passed):
        return
    first = calls[0].before
    other = restarted(run, calls, fused, first.flip(-1))
    for l, (given, call) in enumerate(zip(passed, other, strict=False)):
        is_first = [part.shape == first.shape and _close(part, first) for part in given]
        again = _passed(call)
        same = len(again) == len(given) and all(map(_close, given, again))
        if any(is_first) or not same:
            raise ValueError(
                f"{type(model).__name__} must pass its layers nothing else that depends on the "
                f"state, got some at layer {l}"
            )


def _passed(call: Call) -> list[Tensor]:
    """The tensors of numbers that a layer was passed beside its state."""
    leaves = tree_leaves((call.layer.arguments, dict(call.layer.keywords)))
    return [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.is_floating_point()]


def _close(part: Tensor, other: Tensor) -> bool:
    rtol = _rounding(part.dtype)
    alike = part.shape == other.shape and part.dtype == other.dtype
    return alike and torch.allclose(part, other, rtol, rtol, equal_nan=True)


def _alike(state: Any, other: Any, mask: Tensor) -> bool:
    """Whether two states are the same on real tokens, up to rounding."""
    if not isinstance(other, Tensor) or state.shape != other.shape or state.shape[:2] != mask.shape:
        return False
    state = state[mask]
    other = other[mask]
    finite = state.isfinite()
    close = (
        (state - other).abs() <= _rounding(state.dtype) * state[finite].abs().amax()
        if finite.any()
        else finite
    )
    return bool(torch.where(finite, close, ~other.isfinite()).all())


def _rounding(dtype: torch.dtype) -> float:
    """By how much equal states may differ, relative to the largest entry."""
    eps = torch.finfo(dtype).eps
    return float(min(100 * eps, eps**0.5))  # in bfloat16 100 eps is no bound at all


def require_chain(
    model: nn.Module, fields: Sequence[LayerVectorField], states: Sequence[Tensor]
) -> None:
    """Require x_{l+1} = F_l(x_l) on real tokens, in the precision of the state, which stays as it
    was.

    The first fails where padding reaches real tokens or something happens between the layers, the
    second where a layer casts, the third where it works in place.
    """
    name = type(model).__name__
    dtype = states[0].dtype
    watch = _WatchPrecision(dtype)
    autocast = torch.is_autocast_enabled(states[0].device.type)
    for l, field in enumerate(fields):
        given = states[l].clone()
        with contextlib.nullcontext() if autocast else watch:
            image = field.unsplit(given)
        if given._version:
            raise ValueError(
                f"{name} must have layers that leave their state as it is, got layer {l}, which "
                "works in place"
            )
        difference = float((image - states[l + 1]).abs().max())
        bound = _rounding(dtype) * float(states[l + 1].abs().max())
        if not difference <= bound and bool(states[l + 1].isfinite().all()):
            padded = field.mask is not None and not bool(field.mask.all())
            raise ValueError(
                f"{name} must be its layers one after the other on real tokens, got a difference "
                f"of {difference:.1e} in state {l + 1}{UNPADDED if padded else ''}"
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
