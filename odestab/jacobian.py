"""The Jacobian of a vector field at a state, as an operator."""

import dataclasses
import functools

import torch
from jaxtyping import Float, Int
from torch import Tensor

from odestab.linear_operator import AbstractOperator
from odestab.vector_field import AbstractVectorField, Linearization


@dataclasses.dataclass(frozen=True, eq=False)
class Jacobian(AbstractOperator):
    """J = ∂f/∂x at a state, projected on the real tokens (Mathematics, section 1).

    Both products are linearised once, at first use; with the split f = F + c·x only F is differentiated and c is exact.

    Attributes:
        field: f.
        x: the state `(batch, ...)`.

    Raises:
        ValueError: if f changes the shape or dtype of the state.
    """

    field: AbstractVectorField
    x: Float[Tensor, "batch *event"]

    def __post_init__(self) -> None:
        with torch.no_grad():
            image = self.field(self.x)
        if image.shape != self.x.shape or image.dtype != self.x.dtype:
            raise ValueError(f"field must keep shape {tuple(self.x.shape)} and {self.x.dtype}, got {tuple(image.shape)} and {image.dtype}")

    @property
    def like(self) -> Tensor:  # type: ignore[override]
        """The state."""
        return self.x

    @property
    def mask(self) -> Tensor | None:  # type: ignore[override]
        """The field's mask."""
        return self.field.mask

    def mv(self, v: Float[Tensor, "*tangents"]) -> Float[Tensor, "*tangents"]:
        """J v, forward mode; a leading axis of K tangents costs less than K products."""
        return self._linearized.mv(v)

    def rmv(self, u: Float[Tensor, "*tangents"]) -> Float[Tensor, "*tangents"]:
        """Jᵀ u, reverse mode."""
        return self._linearized.rmv(u)

    def cast(self, dtype: torch.dtype) -> AbstractOperator:
        """The same linearisation in another precision, where its path can be cast."""
        return self if dtype == self.x.dtype else self._linearized.cast(dtype)

    def take(self, examples: Int[Tensor, " chosen"]) -> AbstractOperator:
        """The same linearisation of some of the examples, where its path can be cut."""
        return self._linearized.take(examples)

    @functools.cached_property
    def linearization(self) -> Linearization:
        """∂F at x; its `path` says which code runs."""
        return self.field.linearize(self.x)

    @property
    def _linearized(self) -> "_Linearized":
        return _Linearized(self.linearization, self.x.detach(), self.mask, self.field.split)


@dataclasses.dataclass(frozen=True, eq=False)
class _Linearized(AbstractOperator):
    """P (∂F + c) P from a linearisation alone: a Jacobian that was cast or cut."""

    linearization: Linearization
    like: Tensor
    mask: Tensor | None
    split: float

    @torch.no_grad()
    def mv(self, v: Tensor) -> Tensor:
        v = self.project(v)
        return self.project(torch.add(self.linearization.mv(v), v, alpha=self.split))

    @torch.no_grad()
    def rmv(self, u: Tensor) -> Tensor:
        u = self.project(u)
        return self.project(torch.add(self.linearization.rmv(u), u, alpha=self.split))

    def cast(self, dtype: torch.dtype) -> AbstractOperator:
        cast = self.linearization.cast
        if cast is None or dtype == self.like.dtype:
            return super().cast(dtype)
        return dataclasses.replace(self, linearization=cast(dtype), like=self.like.to(dtype))

    def take(self, examples: Tensor) -> AbstractOperator:
        if self.linearization.take is None:
            return super().take(examples)
        mask = None if self.mask is None else self.mask[examples]
        return dataclasses.replace(self, linearization=self.linearization.take(examples), like=self.like[examples], mask=mask)
