"""What every adjoint shares: an unrecorded solve, a state whose padding carries no gradient, a
refusal of second derivatives.
"""

import abc
import dataclasses
import functools
import inspect
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from odestab.fields.vector_field import AbstractVectorField
from odestab.solver import AbstractImplicitSolver, ImplicitEquation, Solution


class AbstractAdjoint(abc.ABC):
    """How the gradient of a solve's state is computed; the state's value depends on it by rounding
    at most.

    No adjoint sends a gradient into padding: what a loss makes of the state's padding is dropped.
    Under torch.compile a solve is a graph break, since its iteration ends by what it finds: compile
    the layer that the field evaluates.

    >>> import odestab as od
    >>> isinstance(od.ImplicitEuler(0.5).adjoint, od.AbstractAdjoint)
    True
    """

    @abc.abstractmethod
    def solve(
        self,
        solver: AbstractImplicitSolver,
        equation: ImplicitEquation,
        x: Float[Tensor, "batch *event"],
    ) -> Solution:
        """Solve from x, with a state that carries gradients to b, h and the field's parameters."""


def solve_untracked(
    solver: AbstractImplicitSolver,
    equation: ImplicitEquation,
    x: Tensor,
    image: Tensor | None = None,
) -> Solution:
    """Solve without recording, from F(x) where that is known; free to use the field's cached
    linearisation.
    """
    refuse_vmap(equation, x)
    h = equation.step_size
    h = h.detach() if isinstance(h, Tensor) else h
    known = {} if image is None else {"image": image.detach()}
    with torch.no_grad():
        return solver.solve(
            dataclasses.replace(
                equation, rhs=equation.rhs.detach(), step_size=h, differentiable=False
            ),
            x.detach(),
            **known,
        )


@functools.cache
def takes_image(solver: type[AbstractImplicitSolver]) -> bool:
    """Whether a solver's `solve` takes F(x) from its caller; one's own need not."""
    return "image" in inspect.signature(solver.solve).parameters


def refuse_vmap(equation: ImplicitEquation, x: Tensor) -> None:
    """Raise RuntimeError under torch.func.vmap: an iteration that ends by what it finds cannot run
    for several arguments at once.
    """
    if any(
        isinstance(t, Tensor) and torch._C._functorch.is_batchedtensor(t)
        for t in (x, equation.rhs, equation.step_size)
    ):
        raise RuntimeError(
            "an implicit step under torch.func.vmap must get a batch of "
            "its own: stack the examples, got a vmapped state"
        )


def on_real_tokens(field: AbstractVectorField, state: Tensor) -> Tensor:
    """The same values, bit for bit; gradients pass through real tokens only."""
    return (
        state if field.mask is None else torch.where(field.mask[..., None], state, state.detach())
    )


class RefuseSecondDerivative(torch.autograd.Function):
    """The gradient itself; to differentiate it once more is an error.

    `anchor` ties it to what it would be differentiated by.
    """

    @staticmethod
    def forward(gradient: Tensor, anchor: Tensor, reason: str) -> Tensor:
        """A copy of the gradient."""
        return gradient.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, str], output: Tensor) -> None:
        """Keep the reason."""
        ctx.reason = inputs[2]

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        """Refuse."""
        raise RuntimeError(ctx.reason)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """Refuse."""
        raise RuntimeError(ctx.reason)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], gradient: Tensor, anchor: Tensor, reason: str
    ) -> tuple[Tensor, int | None]:
        """The same under torch.func.vmap."""
        return RefuseSecondDerivative.apply(gradient, anchor, reason), in_dims[0]
