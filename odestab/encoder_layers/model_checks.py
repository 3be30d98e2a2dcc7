"""What a model must be to be traced: in eval mode, in numbers that are computed with."""

from typing import Any

import torch
from torch import nn

QUANTISING = (
    "bitsandbytes",
    "torchao",
    "torch.ao.nn",
    "auto_gptq",
    "gptqmodel",
    "awq",
    "optimum.quanto",
    "hqq",
    "compressed_tensors",
)
PRECISIONS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def require_traceable(model: nn.Module) -> None:
    """Refuse what cannot be traced.

    Raises:
        ValueError: if the model is in training mode, quantised, in a precision that the device does
            not compute in, on fused attention of a library, or takes states with tokens first.
    """
    _require_numbers(model)
    if any(module.training for module in model.modules()):
        raise ValueError(
            "model must be in eval mode, call model.eval(): got training mode, where dropout makes "
            "f random"
        )
    attention = getattr(getattr(model, "config", None), "_attn_implementation", None)
    if attention not in (None, "eager", "sdpa"):
        raise ValueError(
            f"model must use eager or sdpa attention, got {attention}: "
            "call model.set_attn_implementation('eager')"
        )
    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention) and not module.batch_first:
            raise ValueError(
                "model must take states (batch, tokens, hidden), make it with batch_first=True: "
                f"got tokens first in {name}"
            )


def _require_numbers(model: nn.Module) -> None:
    """Refuse quantised modules, by name."""
    for name, module in model.named_modules():
        place = f"{type(module).__name__} in {name or type(model).__name__}"
        parameters = [*module.parameters(recurse=False)]
        kinds = [type(part) for part in (module, *parameters, *module.buffers(recurse=False))]
        of_library = any(kind.__module__.startswith(QUANTISING) for kind in kinds)
        if of_library or any(weight.dtype not in PRECISIONS for weight in parameters):
            raise ValueError(
                f"model must have floating-point weights, got quantised {place}: load it without "
                "quantisation"
            )


def fused_attention(model: Any) -> bool:
    """Whether a model's attention may be a function of torch."""
    return getattr(getattr(model, "config", None), "_attn_implementation", None) != "eager"
