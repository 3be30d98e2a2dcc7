"""The Jacobian of a vector field at a state, as an operator."""

import dataclasses
import functools
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from odestab.fields import from_anything
from odestab.fields.from_anything import FieldLike
from odestab.fields.vector_field import AbstractVectorField, Linearization
from odestab.krylov.orthogonalization import power_of_two
from odestab.operators.checked_linearization import checked_linearization
from odestab.operators.linear_operator import AbstractOperator


@dataclasses.dataclass(frozen=True, eq=False, init=False)
class Jacobian(AbstractOperator):
    """J = ∂f/∂x at a state, projected on the real tokens (Mathematics, section 1).

    Both products are linearised once, at first use. With the split f = F + c·x only F is
    differentiated and c is exact. The products are checked then, and again while they are used
    (`checked_linearization`). Threads may share a Jacobian. In half precision the field stays what
    it is and the operator is one of float32: its state `like`, and every quantity that is computed
    from its products, are float32. Tangents of another precision have products in that.

    Attributes:
        field: f; whatever `od.field` takes is made one.
        x: the state `(batch, ...)`.

    Raises:
        TypeError: if the state is no tensor.
        ValueError: if f changes the shape or dtype of the state, or what the state holds, or the
            state is not of floating point. At first use, and later, if f is no
            differentiable function of the state alone.

    >>> swing = lambda x: torch.stack([x[:, 1], -x[:, 0].sin()], 1)  # a pendulum
    >>> J = od.Jacobian(swing, torch.zeros(1, 2).double())
    >>> J.mv(torch.tensor([[1.0, 0.0]]).double()).tolist()
    [[0.0, -1.0]]
    """

    field: AbstractVectorField
    x: Float[Tensor, "batch *event"]

    def __init__(self, field: FieldLike, x: Float[Tensor, "batch *event"]) -> None:
        if not isinstance(x, Tensor):
            raise TypeError(f"state must be a tensor (batch, ...), got {type(x).__name__}")
        if not x.is_floating_point():
            raise ValueError(f"state must be of floating point, got {x.dtype}")
        if not x.numel():
            raise ValueError(
                f"batch must hold at least one real entry, got a state of shape {tuple(x.shape)}"
            )
        object.__setattr__(self, "field", from_anything.field(field, x))
        object.__setattr__(self, "x", x.contiguous())
        self._require_a_field()

    def __repr__(self) -> str:
        """The field, and the shape of its state."""
        return f"{type(self).__name__}({self.field!r}, x={tuple(self.x.shape)} {self.x.dtype})"

    def _require_a_field(self) -> None:
        """Raise ValueError unless f keeps the state's shape, its dtype and what it holds."""
        # The field gets a copy, so that one which works in place is found out and does no harm.
        own = self.x.detach().clone()
        with torch.no_grad():
            image = self.field(own)
        if image.shape != self.x.shape or image.dtype != self.x.dtype:
            raise ValueError(
                f"field must keep shape {tuple(self.x.shape)} and "
                f"{self.x.dtype}, got {tuple(image.shape)} and {image.dtype}"
            )
        if not torch.equal(own.nan_to_num(), self.x.nan_to_num()):
            raise ValueError(
                "field must leave the state that it is given as it "
                "is, got one that it changes in place"
            )

    @property
    def like(self) -> Tensor:  # type: ignore[override]
        """The state, in float32 at least."""
        return self.x.to(torch.promote_types(self.x.dtype, torch.float32))

    @property
    def mask(self) -> Tensor | None:  # type: ignore[override]
        """The field's mask."""
        return self.field.mask

    @property
    def path(self) -> str:
        """That of the linearisation, which is made where it is not known yet."""
        return self.linearization.path

    def mv(self, v: Float[Tensor, "*tangents"]) -> Float[Tensor, "*tangents"]:
        """J v, forward mode; a leading axis of K tangents costs less than K products."""
        return self._linearized.mv(self.tangents(v)).to(v.dtype)

    def rmv(self, u: Float[Tensor, "*tangents"]) -> Float[Tensor, "*tangents"]:
        """Jᵀ u, reverse mode."""
        return self._linearized.rmv(self.tangents(u)).to(u.dtype)

    def cast(self, dtype: torch.dtype) -> AbstractOperator:
        """The same linearisation in another precision, where its path can be cast."""
        return self if dtype == self.like.dtype else self._linearized.cast(dtype)

    def take(self, examples: Int[Tensor, " chosen"]) -> AbstractOperator:
        """The same linearisation of some of the examples, where its path can be cut."""
        return self._linearized.take(examples)

    def affine(self, identity: float, factor: float) -> AbstractOperator:
        """a·P + b·J in one pass: the shift joins the split."""
        return self._linearized.affine(identity, factor)

    @functools.cached_property
    def linearization(self) -> Linearization:
        """∂F at x, checked; its `path` says which code runs."""
        return checked_linearization(self.field, self.x)

    @functools.cached_property
    def _linearized(self) -> "_Linearized":
        # A mask of nothing but True would cost two passes over the state a product.
        padded = self.mask is not None and not bool(self.mask.all())
        like = self.like.detach()
        products = self.linearization
        if like.dtype != self.x.dtype:
            products = products.cast(like.dtype) if products.cast else _rounded(products, self.x)
        return _Linearized(products, like, self.mask if padded else None, self.field.split)


def _rounded(linearization: Linearization, x: Tensor) -> Linearization:
    """Products in a field's own half precision, on float32 tangents scaled to its range."""
    event = tuple(range(1 - x.ndim, 0))

    def wide(product: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def apply(v: Tensor) -> Tensor:
            # The range of half precision is small, and a product is linear in its tangent.
            scale = power_of_two(v.abs().amax(event, keepdim=True))
            return product((v / scale).to(x.dtype)).to(v.dtype) * scale

        return apply

    return Linearization(wide(linearization.mv), wide(linearization.rmv), linearization.path)


@dataclasses.dataclass(frozen=True, eq=False)
class _Linearized(AbstractOperator):
    """P (b ∂F + c) P from a linearisation: a Jacobian that was cast, cut, shifted or scaled."""

    linearization: Linearization
    like: Tensor
    mask: Tensor | None
    shift: float
    scale: float = 1.0

    @property
    def path(self) -> str:
        return self.linearization.path

    @torch.no_grad()
    def mv(self, v: Tensor) -> Tensor:
        return self._combined(self.linearization.mv, self.tangents(v))

    @torch.no_grad()
    def rmv(self, u: Tensor) -> Tensor:
        return self._combined(self.linearization.rmv, self.tangents(u))

    def cast(self, dtype: torch.dtype) -> AbstractOperator:
        cast = self.linearization.cast
        if cast is None or dtype == self.like.dtype:
            return super().cast(dtype)
        return dataclasses.replace(self, linearization=cast(dtype), like=self.like.to(dtype))

    def take(self, examples: Tensor) -> AbstractOperator:
        if self.linearization.take is None:
            return super().take(examples)
        mask = None if self.mask is None else self.mask[examples]
        return dataclasses.replace(
            self,
            linearization=self.linearization.take(examples),
            like=self.like[examples],
            mask=mask,
        )

    def affine(self, identity: float, factor: float) -> AbstractOperator:
        return dataclasses.replace(
            self, shift=identity + factor * self.shift, scale=factor * self.scale
        )

    def _combined(self, product: Callable[[Tensor], Tensor], v: Tensor) -> Tensor:
        v = self.project(v)
        image = product(v)
        if self.scale != 1 or self.shift != 0:
            image = torch.add(self.shift * v, image, alpha=self.scale)
        if self.mask is None:
            return image
        # An example of padding alone has no products: NaN marks it in whatever is computed from
        # them.
        return torch.where(self.mask[..., None], image, self._padding.to(image.dtype))

    @functools.cached_property
    def _padding(self) -> Tensor:
        """What stands on padding, `(batch, 1, 1)`."""
        assert self.mask is not None
        return torch.where(self.mask.any(1), 0.0, torch.nan)[:, None, None]
