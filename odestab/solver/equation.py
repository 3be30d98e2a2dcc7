"""The implicit equation y = b + h f(y)."""

import dataclasses
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from odestab.fields.from_anything import FieldLike, as_field
from odestab.fields.vector_field import AbstractVectorField
from odestab.one_thread import jvp


@dataclasses.dataclass(frozen=True, eq=False, init=False)
class ImplicitEquation:
    """y = b + h f(y), one independent equation per example.

    Attributes:
        field: f; whatever `od.field` takes is made one.
        rhs: b, `(batch, ...)`; the state x for implicit Euler.
        step_size: h; for a theta method it stands for hθ.
        differentiable: gradients may be taken through the solver's products; False lets them use a
            cached linearisation of f.
        guessed: a solve begins near where it ends, as far as the caller knows.

    >>> import odestab as od
    >>> field = od.LinearVectorField(-0.5 * torch.eye(2))
    >>> equation = od.ImplicitEquation(field, torch.ones(1, 2), 1.0)
    >>> equation.residual(torch.ones(1, 2))
    tensor([[-0.5000, -0.5000]])
    """

    field: AbstractVectorField
    rhs: Float[Tensor, "batch *event"]
    step_size: float | Tensor
    differentiable: bool = True
    guessed: bool = False

    def __init__(
        self,
        field: FieldLike,
        rhs: Float[Tensor, "batch *event"],
        step_size: float | Tensor,
        differentiable: bool = True,
        guessed: bool = False,
    ) -> None:
        object.__setattr__(self, "field", as_field(field, rhs))
        object.__setattr__(self, "rhs", rhs)
        object.__setattr__(self, "step_size", step_size)
        object.__setattr__(self, "differentiable", differentiable)
        object.__setattr__(self, "guessed", guessed)

    @property
    def resolvent(self) -> float | Tensor:
        """1/(1 − hc): the inverse of the linear part that the field's split c declares."""
        return 1 / (1 - self.step_size * self.field.split)

    def residual(self, y: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch *event"]:
        """r = b + h f(y) − y."""
        return self.rhs + self.step_size * self.field(y) - y

    def linearized(self, y: Float[Tensor, "batch *event"]) -> Callable[[Tensor], Tensor]:
        """v ↦ M v = v − h J(y) v."""
        if self.differentiable:
            return lambda v: v - self.step_size * jvp(self.field, y, v)[1]
        linearization = self.field.linearize(y)
        if linearization.path == "torch.func":
            # It takes as long to build as several products that are not cached.
            return dataclasses.replace(self, differentiable=True).linearized(y)
        # The split is exact: F alone was linearised.
        return lambda v: (
            (1 - self.step_size * self.field.split) * v
            - self.step_size * self.field.project(linearization.mv(v))
        )

    def with_adjoint(
        self, y: Float[Tensor, "batch *event"]
    ) -> tuple[Float[Tensor, "batch *event"], Callable[[Tensor], Tensor]]:
        """r = b + h f(y) − y and u ↦ Mᵀ u = u − h J(y)ᵀ u from one evaluation."""
        image, pull, *_ = torch.func.vjp(self.field, y)
        return self.rhs + self.step_size * image - y, lambda u: u - self.step_size * pull(u)[0]

    def take(self, examples: Int[Tensor, " chosen"]) -> "ImplicitEquation | None":
        """The equations of some examples; None where the field cannot be cut."""
        field = self.field.take(examples)
        return (
            None
            if field is None
            else dataclasses.replace(self, field=field, rhs=self.rhs[examples])
        )

    def require_state(self, x: Tensor) -> None:
        """Raise ValueError unless b and the mask fit the state x."""
        if not x.is_floating_point() or x.ndim < 2:
            raise ValueError(
                "the state must be floating point of shape (batch, "
                f"...), got {x.dtype} of shape {tuple(x.shape)}"
            )
        if self.rhs.shape != x.shape:
            raise ValueError(
                "the right-hand side must have the state's shape "
                f"{tuple(x.shape)}, got {tuple(self.rhs.shape)}"
            )
        mask = self.field.mask
        if mask is not None and (
            mask.dtype != torch.bool or mask.shape != x.shape[:2] or x.ndim < 3
        ):
            raise ValueError(
                "mask must be bool of shape (batch, tokens) = "
                f"{tuple(x.shape[:2])} for a state (batch, tokens, hidden), "
                f"got {mask.dtype} of shape {tuple(mask.shape)} "
                f"for a state of shape {tuple(x.shape)}"
            )


def first_image(
    function: Callable[[Tensor], Tensor], y: Float[Tensor, "batch *event"], deterministic: bool
) -> Float[Tensor, "batch *event"]:
    """A field's image of y, the first of a solve.

    Raises:
        ValueError: if it has another shape than y, or the field drew random numbers though it is
            said to be deterministic.
    """
    before = _random_state(y)
    image = function(y)
    if image.shape != y.shape:
        raise ValueError(
            f"the field must keep the shape of the state {tuple(y.shape)}, got {tuple(image.shape)}"
        )
    if deterministic and before != _random_state(y):
        raise ValueError(
            "the field must be the same function at every evaluation, but it drew "
            "random numbers: freeze them, or say deterministic=False"
        )
    return image


def in_transform() -> bool:
    """Whether a torch.func transform is at work; inside one nothing tells whether a tensor is
    differentiated by somebody further out.
    """
    return torch._C._are_functorch_transforms_active()


def in_forward_mode() -> bool:
    """Whether a level of torch.autograd.forward_ad is open."""
    return torch.autograd.forward_ad._current_level >= 0


def _random_state(like: Tensor) -> tuple[object, ...]:
    """What changes when the generators of the processor and of the state's device are used; nothing
    is waited for.

    Unknown inside a transform of torch.func, where torch itself decides whether random numbers may
    be drawn.
    """
    if in_transform():
        return ()
    cpu = torch.default_generator.get_state().numpy().tobytes()
    if like.device.type != "cuda":
        return (cpu,)
    # The offset moves with every draw, and is on the host: nothing is waited for.
    return cpu, torch.cuda.default_generators[like.device.index or 0].get_offset()
