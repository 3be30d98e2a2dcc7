"""Cheap, biased gradients: a few iterations attached to the solution."""

import dataclasses
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from odestab.adjoint.base import (
    AbstractAdjoint,
    RefuseSecondDerivative,
    on_real_tokens,
    solve_untracked,
)
from odestab.outside_graphs import outside_graphs
from odestab.solver import AbstractImplicitSolver, ImplicitEquation, Solution

_REASON = (
    "a phantom gradient takes the solution for a constant, so that its "
    "own derivative would be wrong: use UnrolledAdjoint"
)


@dataclasses.dataclass(frozen=True)
class PhantomAdjoint(AbstractAdjoint):
    """The gradient of `steps` resolvent iterations attached to the solution: a truncated Neumann
    series (Geng et al. 2021).

    Forward mode gives the same biased derivative. Double backward is refused with a RuntimeError.

    Attributes:
        steps: how many.

    Raises:
        ValueError: if steps < 1.

    >>> import odestab as od
    >>> field, x = od.LinearVectorField(-0.5 * torch.eye(2)), torch.ones(1, 2, requires_grad=True)
    >>> method = od.ImplicitEuler(1.0, adjoint=od.PhantomAdjoint(3))
    >>> torch.autograd.grad(method.step(field, x).state.sum(), x)
    (tensor([[0.7500, 0.7500]]),)
    """

    steps: int = 5

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be >= 1, got {self.steps}")

    @outside_graphs
    def solve(
        self,
        solver: AbstractImplicitSolver,
        equation: ImplicitEquation,
        x: Float[Tensor, "batch *event"],
    ) -> Solution:
        """Solve without recording, then record `steps` iterations; the value stays the solver's."""
        solution = solve_untracked(solver, equation, x)
        y = solution.state.detach()
        # Without gradients they would change nothing: the value is the solver's.
        for _ in range(self.steps if torch.is_grad_enabled() else 0):
            y = y + equation.resolvent * equation.residual(y)
        state = _FirstDerivative.apply(y, solution.state)
        return dataclasses.replace(solution, state=on_real_tokens(equation.field, state))


@dataclasses.dataclass(frozen=True)
class OneStepAdjoint(AbstractAdjoint):
    """PhantomAdjoint(1): the gradient of one iteration at the solution (Bolte, Pauwels and Vaiter
    2023).

    >>> import odestab as od
    >>> field, x = od.LinearVectorField(-0.5 * torch.eye(2)), torch.ones(1, 2, requires_grad=True)
    >>> method = od.ImplicitEuler(1.0, adjoint=od.OneStepAdjoint())
    >>> torch.autograd.grad(method.step(field, x).state.sum(), x)
    (tensor([[1., 1.]]),)
    """

    @outside_graphs
    def solve(
        self,
        solver: AbstractImplicitSolver,
        equation: ImplicitEquation,
        x: Float[Tensor, "batch *event"],
    ) -> Solution:
        """Solve without recording, then record one iteration."""
        return PhantomAdjoint(1).solve(solver, equation, x)


class _FirstDerivative(torch.autograd.Function):
    """The solver's value with the first derivative of the iterations, and no second one."""

    @staticmethod
    def forward(iterated: Tensor, state: Tensor) -> Tensor:
        return state.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:
        (state,) = ctx.saved_tensors
        return (
            RefuseSecondDerivative.apply(cotangent, state, _REASON)
            if torch.is_grad_enabled()
            else cotangent
        ), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, of_state: Any) -> Tensor:
        (state,) = ctx.saved_tensors
        return RefuseSecondDerivative.apply(tangent, state, _REASON)
