"""Projected matrices: the small matrices of a Krylov space by which the host decides.

They are read in one copy and decomposed by LAPACK there.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

HOST = torch.device("cpu")


def transferred(device: torch.device, *parts: Tensor) -> tuple[Tensor, ...]:
    """Tensors of one dtype and one leading axis on another device, in one copy.

    Tensors that are there already are returned as they are.
    """
    if parts[0].device == device:
        return parts
    # Every copy to the host waits for the device once: one for all parts.
    sizes = [part[0].numel() for part in parts]
    whole = torch.cat([part.reshape(len(part), -1) for part in parts], 1)
    # The host waits only for what it reads.
    whole = whole.to(device, non_blocking=device.type != "cpu")
    return tuple(
        piece.reshape(part.shape) for piece, part in zip(whole.split(sizes, 1), parts, strict=True)
    )


def decomposed(
    decompose: Callable[[Tensor], Sequence[Tensor]], matrices: Tensor
) -> tuple[Tensor, ...]:
    """A decomposition of every matrix of a batch, shared among torch's threads.

    LAPACK itself takes one matrix after the other.
    """
    workers = min(torch.get_num_threads(), len(matrices))
    if workers <= 1:
        return tuple(decompose(matrices))
    # torch lets other Python threads run while LAPACK works.
    with ThreadPoolExecutor(workers) as pool:
        parts = list(pool.map(decompose, matrices.tensor_split(workers)))
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))
