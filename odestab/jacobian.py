"""The Jacobian of a vector field at a state, as an operator."""

import dataclasses
import functools
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from odestab.linear_operator import AbstractOperator, ComposedOperator
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
        return self._shifted(self.linearization.mv, v)

    def rmv(self, u: Float[Tensor, "*tangents"]) -> Float[Tensor, "*tangents"]:
        """Jᵀ u, reverse mode."""
        return self._shifted(self.linearization.rmv, u)

    def cast(self, dtype: torch.dtype) -> AbstractOperator:
        """The same linearisation in another precision, where its path can be cast."""
        cast = self.linearization.cast
        if dtype == self.x.dtype or cast is None:
            return super().cast(dtype)
        found = cast(dtype)
        return ComposedOperator(
            lambda v: self._shifted(found.mv, v), lambda u: self._shifted(found.rmv, u), self.x.detach().to(dtype), self.mask
        )

    @functools.cached_property
    def linearization(self) -> Linearization:
        """∂F at x; its `path` says which code runs."""
        return self.field.linearize(self.x)

    def _shifted(self, product: Callable[[Tensor], Tensor], v: Tensor) -> Tensor:
        """P (∂F + c) P v."""
        v = self.project(v)
        return self.project(product(v) + self.field.split * v)
