"""What torch and transformers keep once for the whole process, one thread at a time: dual numbers, attention kernels, hooks, log levels."""

import threading
from collections.abc import Callable

import torch
from torch import Tensor

# One lock for all of it, so that no two threads can each hold one and wait for the other's. A thread may take it again.
ONE_THREAD = threading.RLock()


def jvp(function: Callable[[Tensor], Tensor], x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """F(x) and ∂F(x) v by `torch.func.jvp`.

    Without the lock a second thread joins the first one's level of dual numbers, and loses its tangents when that level ends. Derivatives
    that a caller takes by torch itself in other threads are not held apart.
    """
    if torch.compiler.is_compiling():  # a lock would break the graph
        image, product, *_ = torch.func.jvp(function, (x,), (v,))
        return image, product
    with ONE_THREAD:
        image, product, *_ = torch.func.jvp(function, (x,), (v,))
    return image, product
