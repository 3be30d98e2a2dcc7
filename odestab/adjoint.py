"""Gradients across an implicit step: by the implicit function theorem, through the iteration that ran, or cheaper and biased."""

import abc
import dataclasses
import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from odestab.krylov import gmres
from odestab.solver import AbstractImplicitSolver, ImplicitEquation, Solution, SolveError


class AbstractAdjoint(abc.ABC):
    """How the gradient of a solve's state is computed; the state's value depends on it by rounding at most."""

    @abc.abstractmethod
    def solve(self, solver: AbstractImplicitSolver, equation: ImplicitEquation, x: Float[Tensor, "batch *event"]) -> Solution:
        """Solve from x, with a state that carries gradients to x, h and the field's parameters."""


@dataclasses.dataclass(frozen=True)
class UnrolledAdjoint(AbstractAdjoint):
    """The exact gradient of the map that ran: autograd through every iteration. Memory grows with the iterations."""

    def solve(self, solver: AbstractImplicitSolver, equation: ImplicitEquation, x: Float[Tensor, "batch *event"]) -> Solution:
        """Solve with autograd recording."""
        return solver.solve(equation, x)


@dataclasses.dataclass(frozen=True)
class ImplicitAdjoint(AbstractAdjoint):
    """The implicit function theorem: (I − hJᵀ) v = g, dL/dx = v, dL/dθ = h (∂f/∂θ)ᵀ v (Mathematics, section 6).

    Exact at a converged solution, else wrong by the order of the residual. Memory is that of one evaluation of f.
    Double backward is refused with a RuntimeError.

    Attributes:
        rtol: tolerance of the linear solve, relative to the cotangent of each example.
        max_iterations: bound on its products.

    Raises:
        SolveError: in the backward pass, if the linear solve of an example did not reach rtol.
        ValueError: if rtol is not positive.
    """

    rtol: float = 1e-6
    max_iterations: int = 500

    def __post_init__(self) -> None:
        if not (math.isfinite(self.rtol) and self.rtol > 0):
            raise ValueError(f"rtol must be finite and > 0, got {self.rtol}")

    def solve(self, solver: AbstractImplicitSolver, equation: ImplicitEquation, x: Float[Tensor, "batch *event"]) -> Solution:
        """Solve without recording, then attach one evaluation of f whose cotangent is transformed."""
        solution = _untracked(solver, equation, x)
        if not torch.is_grad_enabled() or not _image(equation, solution.state).requires_grad:
            return solution
        y = solution.state.detach().requires_grad_()
        image = _image(equation, y)
        return dataclasses.replace(solution, state=_ImplicitGradient.apply(image, y, solution.state, self))


@dataclasses.dataclass(frozen=True)
class PhantomAdjoint(AbstractAdjoint):
    """The gradient of `steps` resolvent iterations attached to the solution: a truncated Neumann series (Geng et al. 2021).

    Attributes:
        steps: how many.

    Raises:
        ValueError: if steps < 1.
    """

    steps: int = 5

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be >= 1, got {self.steps}")

    def solve(self, solver: AbstractImplicitSolver, equation: ImplicitEquation, x: Float[Tensor, "batch *event"]) -> Solution:
        """Solve without recording, then record `steps` iterations; the value stays the solver's."""
        solution = _untracked(solver, equation, x)
        y = solution.state.detach()
        for _ in range(self.steps if torch.is_grad_enabled() else 0):
            y = y + equation.resolvent * equation.residual(y)
        return dataclasses.replace(solution, state=solution.state + (y - y.detach()))


@dataclasses.dataclass(frozen=True)
class OneStepAdjoint(AbstractAdjoint):
    """PhantomAdjoint(1): the gradient of one iteration at the solution (Bolte, Pauwels and Vaiter 2023)."""

    def solve(self, solver: AbstractImplicitSolver, equation: ImplicitEquation, x: Float[Tensor, "batch *event"]) -> Solution:
        """Solve without recording, then record one iteration."""
        return PhantomAdjoint(1).solve(solver, equation, x)


class _ImplicitGradient(torch.autograd.Function):
    """The solution's value forward, (I − hJᵀ)⁻¹ backward."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, y: Tensor, state: Tensor, adjoint: ImplicitAdjoint) -> Tensor:
        ctx.save_for_backward(image, y)
        ctx.adjoint = adjoint
        return state.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None, None, None]:
        image, y = ctx.saved_tensors

        def product(v: Tensor) -> Tensor:
            (jv,) = torch.autograd.grad(image, y, v.view_as(y), retain_graph=True)
            return v - jv.flatten(1)

        solved = gmres(product, cotangent.flatten(1), ctx.adjoint.rtol, ctx.adjoint.max_iterations)
        if not bool(solved.converged.all()):
            worst = float(solved.residual.max())
            raise SolveError(f"adjoint solve: relative residual {worst:.1e} is above rtol {ctx.adjoint.rtol:.1e}")
        return solved.solution.view_as(y), None, None, None


def _image(equation: ImplicitEquation, y: Tensor) -> Tensor:
    """b + h f(y), which is y at a solution."""
    return equation.rhs + equation.step_size * equation.field(y)


def _untracked(solver: AbstractImplicitSolver, equation: ImplicitEquation, x: Tensor) -> Solution:
    h = equation.step_size
    h = h.detach() if isinstance(h, Tensor) else h
    with torch.no_grad():
        return solver.solve(ImplicitEquation(equation.field, equation.rhs.detach(), h, differentiable=False), x.detach())
