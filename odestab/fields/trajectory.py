"""The path of a batch through an encoder: the states between layers, and a field for each layer."""

import dataclasses
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odestab.fields.from_anything import FieldLike, as_field
from odestab.fields.vector_field import AbstractVectorField


@dataclasses.dataclass(frozen=True, eq=False, init=False)
class Trajectory:
    """States x_0, …, x_L of an encoder with L layers, and the fields f_0, …, f_{L−1} between them.

    Attributes:
        states: L + 1 tensors `(batch, tokens, hidden)`, zero on padding; `states[l]` enters layer
            l, `states[L]` leaves the last one.
        mask: `(batch, tokens)`, True on real tokens.
        fields: one vector field per layer, or two where layers are traced in halves, bound to this
            batch; whatever `od.field` takes is made one.
        methods: one one-step method per layer where the checkpoint declares them, else None: the
            model takes explicit steps.

    >>> f = od.LinearVectorField(torch.diag(torch.tensor([0.0, -3.0])).double())
    >>> x = torch.tensor([[[1.0, 0.0]]]).double()  # one text, one token, at rest: f(x) = 0
    >>> stack = od.Trajectory((x, x, x), torch.ones(1, 1).bool(), (f, f))
    >>> stack
    Trajectory(depth=2, states=(1, 1, 2) torch.float64, tokens=[1], fields=LinearVectorField)
    """

    states: tuple[Float[Tensor, "batch tokens hidden"], ...]
    mask: Bool[Tensor, "batch tokens"]
    fields: tuple[AbstractVectorField, ...]
    methods: tuple[Any, ...] | None = None

    def __init__(
        self,
        states: tuple[Float[Tensor, "batch tokens hidden"], ...],
        mask: Bool[Tensor, "batch tokens"],
        fields: tuple[FieldLike, ...],
        methods: tuple[Any, ...] | None = None,
    ) -> None:
        object.__setattr__(self, "states", states)
        object.__setattr__(self, "mask", mask)
        object.__setattr__(self, "methods", methods)
        like = states[0] if states else None
        object.__setattr__(self, "fields", tuple(as_field(f, like) for f in fields))
        self._require_a_stack()

    def __repr__(self) -> str:
        """Sizes alone: states and weights would fill screens."""
        x = self.states[0]
        return (
            f"{type(self).__name__}(depth={self.depth}, states={tuple(x.shape)} {x.dtype}, "
            f"tokens={self.tokens}, fields={type(self.fields[0]).__name__})"
        )

    def _require_a_stack(self) -> None:
        """Raise ValueError unless states, mask, fields and methods are of one depth and shape."""
        if not self.fields:
            raise ValueError("fields must be at least one, got none")
        if len(self.states) != len(self.fields) + 1:
            raise ValueError(
                "states must be one more than fields, got "
                f"{len(self.states)} states and {len(self.fields)} fields"
            )
        if self.methods is not None and len(self.methods) != len(self.fields):
            raise ValueError(
                f"methods must be one per layer ({len(self.fields)}), got {len(self.methods)}"
            )
        if self.mask.shape != self.states[0].shape[:2] or self.mask.dtype != torch.bool:
            raise ValueError(
                f"mask must be bool of shape {tuple(self.states[0].shape[:2])}, got "
                f"{self.mask.dtype} of shape {tuple(self.mask.shape)}"
            )

    @property
    def depth(self) -> int:
        """L, the number of fields: layers, or twice as many halves."""
        return len(self.fields)

    @property
    def tokens(self) -> list[int]:
        """The number of real tokens of each example."""
        return self.mask.sum(1).tolist()
