"""A pretend accelerator: tensors that say that they live on a second device, for tests without a
GPU.

A `PretendTensor` is a CPU tensor behind the device "pretend". As on a GPU an operation that mixes
it with a CPU tensor fails, and the host is kept waiting by some operations. `SecondDevice` counts
these and the launches. It is PyTorch's own interface for devices written in Python
(`torch.utils.backend_registration`), so that generators, autograd and torch.func treat the device
as any other.
"""

import collections
import unittest.mock
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental import proxy_tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)


class _Backend(_DummyBackendModule):
    """The functions by which torch knows the device; its default generator is the processor's."""

    def get_amp_supported_dtype(
        self,
    ) -> list[torch.dtype]:  # checkpoints ask for it, also where nothing is on the device
        return [torch.bfloat16, torch.float16]

    def get_rng_state(self, device: Any = None) -> Tensor:
        return torch.get_rng_state()

    def set_rng_state(self, state: Tensor, device: Any = None) -> None:
        torch.set_rng_state(state)


_setup_privateuseone_for_python_backend("pretend", _Backend())
DEVICE = torch.device("pretend", 0)
LATENCY = 3  # launches after which an asynchronous copy has arrived

aten = torch.ops.aten
COPIES = (aten.copy_, aten._to_copy, aten._copy_from)
INDEXING = (aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_)
# what a GPU makes the host wait for, beside copies: the size of the result or an error code is read
# there
WAITING = {
    aten._local_scalar_dense: "item",
    aten.nonzero: "nonzero",
    aten.masked_select: "boolean mask",
    aten.equal: "equal",
    aten._unique2: "unique",
    aten.unique_consecutive: "unique",
    aten.unique_dim: "unique",
    aten.bincount: "bincount",
    aten.repeat_interleave: "repeat_interleave",
    aten.linalg_eig: "factorization",
    aten._linalg_eigvals: "factorization",
    aten.linalg_eigvals: "factorization",
    aten._linalg_eigh: "factorization",
    aten._linalg_svd: "factorization",
    aten._linalg_check_errors: "factorization",
    aten.linalg_lu_factor: "factorization",
    aten.linalg_matrix_exp: "factorization",
    aten.linalg_lstsq: "factorization",
}
SILENT = (  # neither views nor kernels
    aten.empty,
    aten.empty_like,
    aten.empty_strided,
    aten.new_empty,
    aten.new_empty_strided,
    aten._unsafe_view,
    aten._reshape_alias,
    aten.lift_fresh,
    aten._local_scalar_dense,
    aten._efficientzerotensor,
)
MATERIAL = {  # what torch does by a mark on a tensor, which a wrapper does not carry
    aten._efficientzerotensor: aten.zeros.default,  # the tangents of forward mode
    aten._conj: aten.conj_physical.default,
    aten._neg_view: aten.neg.default,
}


class PretendTensor(torch.Tensor):
    """A CPU tensor that says that it is on the device "pretend"."""

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor, requires_grad: bool = False) -> "PretendTensor":
        place = {
            "strides": inner.stride(),
            "storage_offset": inner.storage_offset(),
            "dtype": inner.dtype,
            "device": DEVICE,
        }
        return torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, requires_grad=requires_grad, **place
        )

    def __init__(self, inner: Tensor, requires_grad: bool = False) -> None:
        self.inner = inner

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"PretendTensor({self.inner})"

    def requires_grad_(self, requires_grad: bool = True) -> "PretendTensor":
        if self.requires_grad == requires_grad:  # as torch.nn.Parameter finds it inside a transform
            return self
        return super().requires_grad_(requires_grad)

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, *, force: bool = False) -> Any:
        if not force:
            raise TypeError(
                f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() first."
            )
        return self.detach().cpu().numpy()

    def __array__(self, *_: Any, **__: Any) -> Any:
        return self.numpy()

    @classmethod
    def __torch_dispatch__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _run(function, args, kwargs or {}, _ENTERED[-1] if _ENTERED else None)


class PretendGenerator(torch.Generator):
    """A generator of either device; numbers of both come from the processor's own."""

    on_it: bool

    def __new__(cls, device: Any = "cpu") -> "PretendGenerator":
        made = super().__new__(cls, "cpu")
        made.on_it = torch.device(device).type == DEVICE.type
        return made


class SecondDevice(TorchDispatchMode):
    """Counts what happens on the second device within it, and gives page-locked memory.

    Attributes:
        syncs: how often the host waited for the device, by reason.
        launches: operations that are no views, by name; of most of them a GPU makes one kernel, of
            some several.
        asynchronous: copies to the host that nobody waited for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.syncs: collections.Counter[str] = collections.Counter()
        self.launches: collections.Counter[str] = collections.Counter()
        self.asynchronous = 0
        self._under_way: list[Callable[[], None]] = []

    def __enter__(self) -> "SecondDevice":
        self._patches = (
            unittest.mock.patch.object(torch, "Event", type("Event", (_Event,), {"owner": self})),
            unittest.mock.patch.object(torch, "Generator", PretendGenerator),
            unittest.mock.patch.object(
                proxy_tensor, "HANDLED_TYPES", (*proxy_tensor.HANDLED_TYPES, PretendTensor)
            ),  # for linearize
        )
        for patch in self._patches:
            patch.start()
        _ENTERED.append(self)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        _ENTERED.remove(self)
        for patch in self._patches:
            patch.stop()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if not any(isinstance(leaf, Tensor) for leaf in tree_leaves((args, kwargs))):
            target = kwargs.get("device")
            if target is not None and torch.device(target).type == DEVICE.type:
                return _run(function, args, kwargs, self)  # a factory
        page_locked = bool(kwargs.get("pin_memory"))
        out = function(*args, **({**kwargs, "pin_memory": False} if page_locked else kwargs))
        if page_locked:
            out.page_locked = True
        return out

    @property
    def waited(self) -> int:
        """How often the host waited in all."""
        return self.syncs.total()

    @property
    def launched(self) -> int:
        """How many launches there were in all."""
        return self.launches.total()

    def clear(self) -> None:
        """Count from zero."""
        self.syncs.clear()
        self.launches.clear()
        self.asynchronous = 0

    def copy_later(self, target: Tensor, source: Tensor) -> None:
        """Into page-locked memory, seen there once an event that is recorded afterwards has been
        reached.
        """
        self.asynchronous += 1
        kept = source.inner.clone() if isinstance(source, PretendTensor) else source
        self._under_way.append(lambda: target.copy_(kept))


_ENTERED: list[SecondDevice] = []


class _Event(torch.Event):
    """An event of the second device: reached LATENCY launches after it was recorded."""

    owner: SecondDevice

    def __init__(self, *_: Any, **__: Any) -> None:
        self.at = 0
        self.copies: list[Callable[[], None]] = []

    def record(self, stream: Any = None) -> None:
        self.at, self.copies = self.owner.launched, self.owner._under_way
        self.owner._under_way = []

    def query(self) -> bool:
        if self.owner.launched < self.at + LATENCY:
            return False
        for copy in self.copies:
            copy()
        self.copies = []
        return True

    def synchronize(self) -> None:
        self.owner.syncs["event"] += 1
        self.at = -LATENCY
        self.query()


def _run(function: Any, args: Any, kwargs: dict[str, Any], device: SecondDevice | None) -> Any:
    """An operation on what is inside; the result is on the second device where a GPU's would be."""
    packet = function.overloadpacket
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    theirs = [
        tensor for tensor in tensors if not isinstance(tensor, PretendTensor) and tensor.dim() > 0
    ]
    target = kwargs.get("device")
    if (
        target is not None and torch.device(target).type == "meta"
    ):  # forward mode asks for the shape of a product with zeros
        return function(*tree_map(_inner, args), **kwargs)
    if packet in COPIES:
        return _copied(function, args, kwargs, device)
    generator = kwargs.get("generator")
    if generator is not None and not getattr(generator, "on_it", False):
        raise RuntimeError(
            f"Expected a '{DEVICE.type}' device type for "
            f"generator but found '{generator.device.type}'"
        )
    if theirs and packet not in INDEXING:
        shapes = [tuple(tensor.shape) for tensor in theirs]
        raise RuntimeError(
            "Expected all tensors to be on the same device, but "
            f"{function} found {DEVICE} and cpu {shapes}"
        )
    if device is not None:
        _count(device, function, args, theirs)
    bare = tree_map(_inner, (args, {**kwargs, "device": "cpu"} if "device" in kwargs else kwargs))
    bare[1].pop("pin_memory", None)
    out = MATERIAL.get(packet, function)(*bare[0], **bare[1])
    out = tree_map(lambda leaf: PretendTensor(leaf) if isinstance(leaf, Tensor) else leaf, out)
    resized = [
        tensor
        for tensor in tensors
        if isinstance(tensor, PretendTensor) and tensor.shape != tensor.inner.shape
    ]
    if resized:
        raise NotImplementedError(
            f"{function} changed the shape of an argument, which a PretendTensor cannot follow"
        )
    return return_and_correct_aliasing(function, args, kwargs, out)


def _count(device: SecondDevice, function: Any, args: Any, theirs: list[Tensor]) -> None:
    """The launch of an operation, and what the host waits for on account of it."""
    packet = function.overloadpacket
    if not (function.is_view or packet in SILENT):
        device.launches[packet.__name__] += 1
    if packet in WAITING:
        device.syncs[WAITING[packet]] += 1
    if packet not in INDEXING:
        return
    indices = [index for index in args[1] if index is not None]
    device.syncs["copy to the device"] += len(theirs)
    masks = sum(index.dtype in (torch.bool, torch.uint8) for index in indices)
    fills = (
        packet is not aten.index and len(indices) == 1 and args[2].numel() == 1
    )  # done by masked_fill
    device.syncs["boolean mask"] += 0 if fills else masks
    device.syncs = +device.syncs


def _copied(function: Any, args: Any, kwargs: dict[str, Any], device: SecondDevice | None) -> Any:
    """A copy: the one operation that may leave a device, or come to it."""
    packet = function.overloadpacket
    if packet is aten._to_copy:
        to_here = kwargs.get("device") is None or torch.device(kwargs["device"]).type == DEVICE.type
        if device is not None:
            _count_copy(device, True, to_here, False)
        out = function(_inner(args[0]), **{**kwargs, "device": "cpu", "pin_memory": None})
        return PretendTensor(out) if to_here else out
    target, source = (args[1], args[0]) if packet is aten._copy_from else args[:2]
    from_here, to_here = isinstance(source, PretendTensor), isinstance(target, PretendTensor)
    non_blocking = bool(args[2] if len(args) > 2 else kwargs.get("non_blocking", False))
    later = non_blocking and from_here and not to_here and getattr(target, "page_locked", False)
    if device is not None:
        _count_copy(
            device, from_here, to_here, later or (non_blocking and to_here)
        )  # what goes there is taken at once
        if later:
            device.copy_later(target, source)
            return target
    _inner(target).copy_(_inner(source))
    return target


def _count_copy(device: SecondDevice, from_here: bool, to_here: bool, later: bool) -> None:
    if from_here or to_here:
        device.launches["copy"] += 1
    if from_here != to_here and not later:
        device.syncs["copy to the host" if from_here else "copy to the device"] += 1


def _inner(leaf: Any) -> Any:
    return leaf.inner if isinstance(leaf, PretendTensor) else leaf


def _register() -> torch.library.Library:
    """The operations by which tensors come to be on the device where no argument is on it yet."""
    library = torch.library.Library("aten", "IMPL")

    def empty(
        size: Any,
        dtype: Any = None,
        layout: Any = None,
        device: Any = None,
        pin_memory: Any = None,
        format_: Any = None,
    ) -> Tensor:
        return PretendTensor(torch.empty(size, dtype=dtype))

    def empty_strided(
        size: Any,
        stride: Any,
        dtype: Any = None,
        layout: Any = None,
        device: Any = None,
        pin_memory: Any = None,
    ) -> Tensor:
        return PretendTensor(torch.empty_strided(size, stride, dtype=dtype))

    def zeros(
        size: Any, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: Any = None
    ) -> Tensor:
        return PretendTensor(torch.zeros(size, dtype=dtype))

    def copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
        if _ENTERED:
            _count_copy(
                _ENTERED[-1],
                isinstance(source, PretendTensor),
                isinstance(target, PretendTensor),
                False,
            )
        _inner(target).copy_(_inner(source))
        return target

    library.impl("empty.memory_format", empty, "PrivateUse1")
    library.impl("empty_strided", empty_strided, "PrivateUse1")
    library.impl("_efficientzerotensor", zeros, "PrivateUse1")
    library.impl("_copy_from", copy_from, "PrivateUse1")
    return library


LIBRARY = _register()
