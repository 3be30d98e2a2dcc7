"""A layer with all but its state fixed, and the surroundings in which it is evaluated."""

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from odestab.one_thread import ONE_THREAD


class _Casts(threading.local):
    """How many casts of a thread `KeepDouble` has left out."""

    left_out = 0


CASTS = _Casts()


class KeepDouble(TorchFunctionMode):
    """Within it, casts from float64 to float32 leave float64.

    Norms and softmaxes of many families round to float32 on the way, which is meant for half
    precision.

    >>> with KeepDouble():
    ...     torch.ones(1).double().float().dtype
    torch.float64
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if args and isinstance(args[0], Tensor) and args[0].dtype == torch.float64:
            casts = func is Tensor.to or func is Tensor.type
            if func is Tensor.float or (casts and args[-1] is torch.float32):
                CASTS.left_out += 1
                return args[0]
            if kwargs.get("dtype") == torch.float32:
                CASTS.left_out += 1
                kwargs = {**kwargs, "dtype": torch.float64}
        return func(*args, **kwargs)


@contextlib.contextmanager
def plain_attention(fused: bool) -> Iterator[None]:
    """Within it, attention has forward-mode derivatives, for all threads: the choice is one of the
    process.

    Args:
        fused: it is computed by torch's own functions, of which only the MATH kernel has them.
    """
    if not fused:
        yield
        return
    with contextlib.ExitStack() as stack:
        if not torch.compiler.is_compiling():  # a lock would break the graph
            stack.enter_context(ONE_THREAD)
            stack.enter_context(_no_fast_path())
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        yield


@contextlib.contextmanager
def _no_fast_path() -> Iterator[None]:
    """Layers of torch.nn run their Python code, not one kernel for all of it."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


@dataclasses.dataclass(frozen=True, eq=False)
class BoundLayer:
    """F(x): a layer with everything beside the state fixed to what the model passed it.

    Attributes:
        module: the layer, or its forward alone.
        arguments: its positional arguments after the state.
        keywords: its keyword arguments.
        batch: the number of examples.
        sdpa: it uses torch's fused attention, which is run by its MATH kernel, the only one with
            forward-mode derivatives.
        double: it rounds float64 to float32 by casts, which are left out.
        divisible: some examples of what it was passed are those of some examples of a batch.
    """

    module: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    batch: int
    sdpa: bool = False
    double: bool = False
    divisible: bool = True

    def __call__(
        self, x: Float[Tensor, "batch tokens hidden"]
    ) -> Float[Tensor, "batch tokens hidden"]:
        """F(x)."""
        precision = KeepDouble() if self.double else contextlib.nullcontext()
        with plain_attention(self.sdpa), precision:
            return first_output(self.module(x, *self.arguments, **self.keywords))

    def take(self, examples: Int[Tensor, " chosen"]) -> "BoundLayer | None":
        """The layer for some examples of a batch; None where that is not known."""
        if not self.divisible:
            return None
        return dataclasses.replace(
            self,
            arguments=_cut(self.arguments, self.batch, examples),
            keywords=_cut(dict(self.keywords), self.batch, examples),
            batch=len(examples),
        )


def first_output(output: Any) -> Any:
    """What a layer returns first: its state."""
    return output[0] if isinstance(output, tuple | list) else output


def _cut(value: Any, batch: int, examples: Tensor) -> Any:
    """What a layer was passed, for some examples: what has a row for each is cut."""
    if isinstance(value, tuple):
        return tuple(_cut(part, batch, examples) for part in value)
    if isinstance(value, dict):
        return {name: _cut(part, batch, examples) for name, part in value.items()}
    rows = isinstance(value, Tensor) and value.ndim > 1 and value.shape[0] == batch > 1
    return value[examples] if rows else value
