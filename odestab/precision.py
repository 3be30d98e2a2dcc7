"""In which precision something is computed, autocast considered."""

import contextlib

import torch
from torch import Tensor


def own_precision(like: Tensor) -> contextlib.AbstractContextManager[object]:
    """Products are computed in the precision of their factors, also under autocast."""
    kind = like.device.type
    return (
        torch.autocast(kind, enabled=False)
        if torch.is_autocast_enabled(kind)
        else contextlib.nullcontext()
    )


def rounding_unit(state: Tensor) -> float:
    """ε of the precision in which a field is evaluated at a state: its own, or autocast's."""
    kind = state.device.type
    dtypes = [
        state.dtype,
        *([torch.get_autocast_dtype(kind)] if torch.is_autocast_enabled(kind) else []),
    ]
    return max(torch.finfo(dtype).eps for dtype in dtypes)
