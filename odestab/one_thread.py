"""What torch and transformers keep once for the whole process, one thread at a time.

These are dual numbers, attention kernels, hooks and log levels.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

# One lock for all of it, so that no two threads can each hold one and wait for the other's. A
# thread may take it again.
ONE_THREAD = threading.RLock()


@contextlib.contextmanager
def forward_mode() -> Iterator[None]:
    """One thread at a time, and attention by the one torch kernel that has forward mode."""
    with ONE_THREAD, sdpa_kernel(SDPBackend.MATH):
        yield


def jvp(function: Callable[[Tensor], Tensor], x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """F(x) and ∂F(x) v by `torch.func.jvp`.

    Without the lock a second thread joins the first one's level of dual numbers, and loses its
    tangents when that level ends. Derivatives that a caller takes by torch itself in other threads
    are not held apart.
    """
    if torch.compiler.is_compiling():  # a lock would break the graph
        image, product, *_ = torch.func.jvp(function, (x,), (v,))
        return image, product
    with forward_mode():
        image, product, *_ = torch.func.jvp(function, (x,), (v,))
    return image, product
