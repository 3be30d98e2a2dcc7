"""A model run once: what its layers were called with, and what they made of it."""

import contextlib
import dataclasses
import inspect
import threading
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from odestab.encoder_layers.bound_layer import (
    CASTS,
    BoundLayer,
    KeepDouble,
    first_output,
    plain_attention,
)


class Call(NamedTuple):
    """A layer, or a half of one, as the model called it: F, x_l and x_{l+1}."""

    layer: Any
    before: Any
    after: Any


class Run(NamedTuple):
    """A model's output, and the calls of some of its modules in the order in which they ended."""

    output: Any
    calls: list[Call]


def recorded(run: Callable[[], Any], modules: Collection[nn.Module], fused: bool) -> Run:
    """Run something once in float64 throughout, where it is in float64, and keep each call of the
    modules.

    Args:
        run: calls the model.
        modules: to watch.
        fused: attention is that of torch.
    """
    calls: list[Call] = []
    entered: list[Any] = []
    thread = threading.get_ident()
    before_run = CASTS.left_out

    def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if threading.get_ident() == thread:
            state = args[0] if args else kwargs.get(_state_name(module))
            # A layer may work in place on its state.
            entered.append(state.detach().clone() if isinstance(state, Tensor) else state)

    def leave(
        module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        if threading.get_ident() != thread:
            return
        before = entered.pop()
        name = _state_name(module)
        keywords = {key: value for key, value in kwargs.items() if args or key != name}
        batch = len(before) if isinstance(before, Tensor) and before.ndim else 0
        layer = BoundLayer(module, args[1:], keywords, batch, fused)
        after = first_output(output)
        calls.append(Call(layer, before, after.clone() if isinstance(after, Tensor) else after))

    with contextlib.ExitStack() as stack, plain_attention(fused), KeepDouble():
        for module in modules:
            stack.enter_context(module.register_forward_pre_hook(enter, with_kwargs=True))
            stack.enter_context(module.register_forward_hook(leave, with_kwargs=True))
        output = run()
    if CASTS.left_out > before_run:
        calls = [
            call._replace(layer=dataclasses.replace(call.layer, double=True)) for call in calls
        ]
    return Run(output, calls)


def restarted(run: Callable[[], Any], calls: list[Call], fused: bool, state: Tensor) -> list[Call]:
    """The calls of the same layers in a run whose first layer is given another state."""
    thread = threading.get_ident()
    begun = False

    def replace(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        nonlocal begun
        if begun or threading.get_ident() != thread:
            return None
        begun = True
        if args:
            return (state, *args[1:]), kwargs
        return args, {**kwargs, _state_name(module): state}

    # Hooks run in the order in which they are made: what is recorded is the other state.
    with calls[0].layer.module.register_forward_pre_hook(replace, with_kwargs=True):
        return recorded(run, {call.layer.module for call in calls}, fused).calls


def divided(call: Call) -> Call:
    """The call, its layer marked where it cannot be evaluated for some examples alone.

    What has a row for each example is told by its shape, which may deceive: positions by heads look
    like it where there are as many heads as examples.
    """
    last = call.layer.batch - 1
    if last < 1:
        return call
    cut = call.layer.take(torch.tensor([last], device=call.before.device))
    try:
        image = cut(call.before[last:])
        # What has a number for each example in a list or a vector is not cut, and may broadcast.
        whole = image.shape == call.after[last:].shape
        gap = (image - call.after[last:]).abs() if whole else torch.full((), torch.inf)
    except (RuntimeError, ValueError, IndexError, TypeError):
        gap = torch.full((), torch.inf)
    rounding = torch.finfo(call.after.dtype).eps
    bound = min(1e3 * rounding, rounding**0.5) * call.after[last:].abs().max()
    if bool((gap <= bound).all()) or not bool(call.after.isfinite().all()):
        return call
    return call._replace(layer=dataclasses.replace(call.layer, divisible=False))


def _state_name(module: nn.Module) -> str:
    """The name of a layer's first argument."""
    return next(iter(inspect.signature(module.forward).parameters), "")
