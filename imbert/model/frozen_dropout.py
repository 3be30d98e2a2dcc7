"""A layer in training mode as one function: its dropout masks are drawn once and used at every
evaluation.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from odestab.fields.vector_field import (
    AbstractVectorField,
    AbstractWrappedField,
    Linearization,
    linearize,
)


@dataclasses.dataclass(frozen=True, eq=False)
class FrozenDropout(AbstractWrappedField):
    """x ↦ f(x, ω) for one draw ω of the dropout masks.

    `odestab.FrozenRandomness` does the same for whatever a field draws, by drawing it again at
    every evaluation. On a processor that is half the time of a layer, and fewer examples would draw
    other numbers; masks are kept, and can be cut.

    Attributes:
        field: f, whose only random numbers are those of dropout and of the dropout inside
            `scaled_dot_product_attention`.
        generator: where ω comes from.
        masks: what each call of dropout is multiplied by, in the order of the calls: 0 or 1/(1 −
            p); empty before the first evaluation.
    """

    generator: torch.Generator
    masks: list[Tensor] = dataclasses.field(default_factory=list)

    @classmethod
    def draw(cls, field: AbstractVectorField) -> "FrozenDropout":
        """Draw ω from torch's default generator, which advances by one number."""
        return cls(field, torch.Generator().manual_seed(int(torch.randint(2**63 - 1, ()))))

    def __call__(self, x: Tensor) -> Tensor:
        """f(x, ω)."""
        with _Replay(self):
            return self.field(x)

    def unsplit(self, x: Tensor) -> Tensor:
        """F(x, ω)."""
        with _Replay(self):
            return self.field.unsplit(x)

    def linearize(self, x: Tensor) -> Linearization:
        """∂F at x."""
        return linearize(self.unsplit, x)

    def take(self, examples: Tensor) -> "FrozenDropout | None":
        """The same masks for some examples."""
        field = self.field.take(examples)
        return (
            None
            if field is None
            else FrozenDropout(field, self.generator, [mask[examples] for mask in self.masks])
        )


class _Replay(TorchFunctionMode):
    """One evaluation: each call of dropout gets its mask, drawn if it is the first evaluation."""

    def __init__(self, frozen: FrozenDropout) -> None:
        super().__init__()
        self.frozen = frozen
        self.calls = 0

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        kwargs = kwargs or {}
        # layers call dropout by this function, whichever module holds it
        if func is functional.dropout:
            return self._dropout(*args, **kwargs)
        if func is functional.scaled_dot_product_attention and kwargs.get("dropout_p", 0.0) > 0:
            return self._attention(*args, **kwargs)
        return func(*args, **kwargs)

    def _dropout(
        self, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        """Torch's dropout with the mask of this call."""
        if not training or p == 0:
            return x
        mask = self._mask(x, p)
        return x * mask if x.dtype == mask.dtype else (x * mask).to(x.dtype)

    def _attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        *,
        dropout_p: float,
        scale: float | None = None,
        **others: object,
    ) -> Tensor:
        """Torch's attention with the mask of this call on the probabilities."""
        if others.get("is_causal") or others.get("enable_gqa"):
            raise ValueError(
                "attention in an implicit layer must be "
                f"bidirectional and without groups, got {others}"
            )
        scores = query @ key.mT * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
        # torch takes a mask of booleans, or one that is added
        if attn_mask is not None:
            blocked = torch.finfo(scores.dtype).min
            scores = (
                scores.masked_fill(~attn_mask, blocked)
                if attn_mask.dtype == torch.bool
                else scores + attn_mask
            )
        return self._dropout(scores.softmax(-1), dropout_p).to(value.dtype) @ value

    def _mask(self, x: Tensor, p: float) -> Tensor:
        masks = self.frozen.masks
        # the first evaluation draws; the later ones, in the same order of calls, only read
        if self.calls == len(masks):
            # 1/(1 − p) is too coarse in half precision
            keep = torch.empty(x.shape, dtype=torch.promote_types(x.dtype, torch.float32))
            masks.append(
                keep.bernoulli_(1 - p, generator=self.frozen.generator).div_(1 - p).to(x.device)
            )
        self.calls += 1
        return masks[self.calls - 1]
