"""A state that solves y = b + h f(y), with the derivative of the exact solution."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from odestab.adjoint.base import RefuseSecondDerivative
from odestab.adjoint.linear_solve import Product
from odestab.fields.vector_field import AbstractVectorField
from odestab.one_thread import jvp
from odestab.solver import ImplicitEquation
from odestab.solver.equation import first_image, in_transform

Invert = Callable[[Product, Tensor], Tensor]
_REASON = (
    "the gradient of an implicit step by the implicit function "
    "theorem has no derivative of its own: use UnrolledAdjoint"
)


@dataclasses.dataclass(frozen=True, eq=False)
class _Derivative:
    """K = hJ at the solution, for where no graph of the evaluation of f is at hand.

    Attributes:
        scaled: h f.
        invert: (P, g) ↦ (I − P)⁻¹ g for P = K or Kᵀ.
    """

    scaled: Callable[[Tensor], Tensor]
    invert: Invert

    def push(self, y: Tensor) -> Product:
        """V ↦ K v."""
        return lambda v: jvp(self.scaled, y, v)[1]

    def pull(self, y: Tensor) -> Product:
        """U ↦ Kᵀ u."""
        product = torch.func.vjp(self.scaled, y)[1]
        return lambda u: product(u)[0]


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """F at a state of its own, with a graph."""

    y: Tensor
    image: Tensor

    @classmethod
    def of(cls, field: AbstractVectorField, state: Tensor, deterministic: bool) -> "Evaluation":
        """One evaluation of F, of the split field, at the state's value."""
        y = state.detach().requires_grad_()
        return cls(y, first_image(field.unsplit, y, deterministic))


def with_gradient(
    equation: ImplicitEquation,
    state: Tensor,
    invert: Invert,
    evaluation: Evaluation | None = None,
) -> Tensor:
    """The state's value with the derivative (I − K)⁻¹ ∂(b + h f) of a solution.

    Args:
        equation: b, h and f, with their graphs.
        state: the solution, without.
        invert: (P, g) ↦ (I − P)⁻¹ g.
        evaluation: of f at the state, where there is one with a graph; None makes it.
    """

    def scaled(y: Tensor) -> Tensor:
        return (equation.step_size * equation.field(y)).to(y.dtype)

    if evaluation is not None:
        y = evaluation.y
        field = equation.field
        increment = equation.step_size * field.project(evaluation.image + field.split * y)
        image = equation.rhs + increment.to(y.dtype)
        return _ImplicitGradient.apply(image, y, state, _Derivative(scaled, invert))
    y = state.detach()
    # Nothing inside a transform may be declared to require a gradient.
    recorded = not in_transform()
    if recorded:
        y.requires_grad_()
    return _ImplicitGradient.apply(
        equation.rhs + scaled(y), y if recorded else None, state, _Derivative(scaled, invert)
    )


class _ImplicitGradient(torch.autograd.Function):
    """The solution's value forward, (I − Kᵀ)⁻¹ backward, (I − K)⁻¹ in forward mode."""

    @staticmethod
    def forward(image: Tensor, y: Tensor | None, state: Tensor, derivative: _Derivative) -> Tensor:
        return state.detach().clone()

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Tensor, Tensor | None, Tensor, _Derivative], output: Tensor
    ) -> None:
        image, y, _, ctx.derivative = inputs
        ctx.save_for_backward(output, y)
        # The image's graph is needed, its value is not.
        ctx.edge = None if y is None else get_gradient_edge(image)
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None, None, None]:
        solution, y = ctx.saved_tensors
        if y is None:
            product = ctx.derivative.pull(solution.detach())
        else:
            edge = ctx.edge

            def product(v: Tensor) -> Tensor:
                # One recorded evaluation serves every product of the linear solve.
                return torch.autograd.grad((edge,), y, v, retain_graph=True)[0]

        v = ctx.derivative.invert(product, cotangent)
        return (
            (RefuseSecondDerivative.apply(v, solution, _REASON) if torch.is_grad_enabled() else v),
            None,
            None,
            None,
        )

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> Tensor:
        (solution,) = ctx.saved_tensors
        v = ctx.derivative.invert(ctx.derivative.push(solution.detach()), tangent)
        return RefuseSecondDerivative.apply(v, solution, _REASON)
