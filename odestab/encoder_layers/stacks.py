"""The layers of a model: named by its user, known by its family, or found."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from odestab.encoder_layers.families import LAYER_PATHS, shared_layers
from odestab.encoder_layers.recording import Call, Run, recorded

Layers = str | Sequence[nn.Module] | None


def layer_calls(
    model: nn.Module, layers: Layers, run: Callable[[], Any], fused: bool
) -> tuple[list[Call], Run]:
    """The calls of a model's layers, in order, and the run in which they were recorded, with the
    calls of norms beside them.

    Args:
        model: that is run.
        layers: a dotted path, a list of modules, or None.
        run: calls the model.
        fused: attention is that of torch.

    Raises:
        ValueError: if the layers are none of the model's, do not run once each in order, or do not
            lead from states to states of one shape.
    """
    named = _named(model, layers)
    stacks = _candidates(model)
    norms = {module for module in model.modules() if is_norm(module)}
    if named is None:
        done = recorded(run, norms.union(*stacks), fused)
        return _longest(model, stacks, done), done
    norms -= {part for layer in named for part in layer.modules()}
    # Whether a user's list is the whole of one is seen by the others of it that run.
    others = stacks if layers is not None else []
    done = recorded(run, norms.union(named, *others), fused)
    return _in_order(named, done), done


def _named(model: Any, layers: Layers) -> list[nn.Module] | None:
    """The layers that a user or a family names, checked; None where they must be found."""
    if layers is None:
        return _known(model)
    name = type(model).__name__
    if isinstance(layers, str):
        try:
            stack = model.get_submodule(layers)
        except AttributeError:
            stack = None
        if not isinstance(stack, nn.ModuleList | nn.Sequential) or not len(stack):
            came = "no module" if stack is None else type(stack).__name__
            raise ValueError(
                f"layers must be the path of a ModuleList or Sequential in {name}, got "
                f"{layers!r}: {came}"
            )
        return list(stack)
    listed = list(layers)
    own = set(model.modules())
    for place, layer in enumerate(listed):
        if not isinstance(layer, nn.Module) or layer not in own:
            raise ValueError(
                f"layers must be submodules of {name}, got {type(layer).__name__} at place "
                f"{place}, which is none"
            )
    if not listed:
        raise ValueError(f"layers must be at least one submodule of {name}, got none")
    return listed


def _known(model: Any) -> list[nn.Module] | None:
    """The layers of a known family."""
    kind = getattr(getattr(model, "config", None), "model_type", "")
    if kind == "albert":
        return shared_layers(model)
    try:
        return list(model.get_submodule(LAYER_PATHS[kind]))
    except (KeyError, AttributeError):
        return None


def _candidates(model: nn.Module) -> list[list[nn.Module]]:
    """Every list of modules in a model, less norms at its end."""
    stacks = []
    for module in model.modules():
        if isinstance(module, nn.ModuleList | nn.Sequential):
            stack = list(module)
            while stack and is_norm(stack[-1]):
                stack.pop()
            stacks.append(stack)
    return [stack for stack in stacks if stack]


def is_norm(module: nn.Module) -> bool:
    """Whether a module is a norm, by its name."""
    return "norm" in type(module).__name__.lower() and not [*module.children()]


def _in_order(layers: list[nn.Module], done: Run) -> list[Call]:
    """The calls of named layers, which must be these layers in this order, on states of one
    shape.
    """
    wanted = set(layers)
    calls = [call for call in done.calls if call.layer.module in wanted]
    ran = [call.layer.module for call in calls]
    if ran != layers:
        pairs = itertools.zip_longest(layers, ran)
        first = next(own or other for own, other in pairs if own is not other)
        raise ValueError(
            "layers must be listed in the order in which they run, each as often as it runs, got "
            f"{len(layers)} for {len(ran)} calls: {type(first).__name__} is listed "
            f"{layers.count(first)} times and runs {ran.count(first)} times"
        )
    shape = getattr(calls[0].before, "shape", None)
    if shape is None or len(shape) != 3 or not calls[0].before.is_floating_point():
        kind = type(calls[0].before).__name__
        raise ValueError(
            "layers must have states (batch, tokens, hidden), got "
            f"{kind if shape is None else tuple(shape)} before layer 0"
        )
    for place, call in enumerate(calls):
        for state in (call.before, call.after):
            came = getattr(state, "shape", None)
            if came != shape:
                told = type(state).__name__ if came is None else tuple(came)
                raise ValueError(
                    f"layers must keep the shape {tuple(shape)} of their state, got {told} at "
                    f"layer {place}"
                )
    return calls


def _longest(model: nn.Module, stacks: list[list[nn.Module]], done: Run) -> list[Call]:
    """The longest list of modules that run once each, in order, from states to states; of equally
    long ones that of which the others are parts.
    """
    chains = [chain for stack in stacks if (chain := _chain(stack, done))]
    longest = [chain for chain in chains if len(chain) == max(map(len, chains))]
    inner = [
        chain
        for chain in longest
        if any(_within(chain, other) for other in longest if other is not chain)
    ]
    outermost = [chain for chain in longest if chain not in inner]
    if len(outermost) != 1:
        raise ValueError(
            f"{type(model).__name__} must have one longest list of layers run once each in order, "
            f"from states (batch, tokens, hidden) to such states, got {len(outermost)}: name them "
            "by layers; the states (batch, features) of a plain network become (batch, 1, features)"
        )
    return outermost[0]


def _chain(layers: list[nn.Module], done: Run) -> list[Call]:
    """The calls of these layers if they ran in order on one shape of state; else none."""
    wanted = set(layers)
    calls = [call for call in done.calls if call.layer.module in wanted]
    if [call.layer.module for call in calls] != layers:
        return []
    shapes = {getattr(state, "shape", ()) for call in calls for state in (call.before, call.after)}
    floating = all(
        isinstance(call.before, Tensor) and call.before.is_floating_point() for call in calls
    )
    return calls if floating and len(shapes) == 1 and len(shapes.pop()) == 3 else []


def _within(chain: list[Call], other: list[Call]) -> bool:
    """Whether a chain runs inside the layers of another one."""
    inside = {module for call in other for module in call.layer.module.modules()}
    return all(call.layer.module in inside for call in chain)
