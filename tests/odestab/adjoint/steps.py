"""One implicit step on a small nonlinear field with padding, as a function of everything that it is
differentiated by: x, W, U and h.
"""

import dataclasses
import functools
from collections.abc import Callable

import torch
from problems import DTYPE, MixingField, masked_state, normal_numbers, ragged_mask
from torch import Tensor, nn

from odestab.adjoint import AbstractAdjoint
from odestab.fields.vector_field import LayerVectorField
from odestab.solver import (
    AbstractImplicitSolver,
    Anderson,
    Auto,
    FixedPoint,
    GradientDescent,
    ImplicitEquation,
    NewtonKrylov,
)
from odestab.steps.one_step import ImplicitEuler

MASK = ragged_mask(3, 2)
FIELD = MixingField.random(MASK, hidden=2, seed=2, size=0.9, split=-0.5, fast=True)
EXACT = Anderson(rtol=1e-13, memory=8)  # quicker here than Newton
CONVERGED: dict[str, AbstractImplicitSolver] = {
    "fixed point": FixedPoint(rtol=1e-13, max_iterations=300),
    "Anderson": EXACT,
    "Newton": NewtonKrylov(rtol=1e-13),
    "gradient descent": GradientDescent(rtol=1e-13, steps=None, step_size=0.5, max_iterations=500),
    "auto": Auto(rtol=1e-13),
}
TRUNCATED: dict[str, AbstractImplicitSolver] = {
    "fixed point": FixedPoint(max_iterations=3, rtol=0.0, keep_last=True),
    "Anderson": Anderson(max_iterations=4, memory=2, rtol=0.0, keep_last=True),
    "gradient descent": GradientDescent(steps=3, step_size=0.2, rtol=0.0),
    "auto": Auto(rtol=1e-4),
}


def leaves() -> tuple[Tensor, ...]:
    """(x, W, U, h); x has numbers on padding too, which nothing may see."""
    x = masked_state(MASK, hidden=2) + 7.0 * ~MASK[..., None]
    return tuple(
        t.clone().requires_grad_() for t in (x, FIELD.w, FIELD.u, torch.tensor(0.6, dtype=DTYPE))
    )


def field_of(w: Tensor, u: Tensor) -> MixingField:
    return dataclasses.replace(FIELD, w=w, u=u)


def state(
    adjoint: AbstractAdjoint,
    solver: AbstractImplicitSolver,
    x: Tensor,
    w: Tensor,
    u: Tensor,
    h: Tensor,
) -> Tensor:
    """The state after one step, padding included."""
    return ImplicitEuler(h, solver=solver, adjoint=adjoint).step(field_of(w, u), x).state


def step(adjoint: AbstractAdjoint, solver: AbstractImplicitSolver = EXACT) -> Callable[..., Tensor]:
    """(x, W, U, h) ↦ the state on real tokens."""
    return lambda *tensors: FIELD.project(state(adjoint, solver, *tensors))


def gradients(
    adjoint: AbstractAdjoint, solver: AbstractImplicitSolver = EXACT, scale: float = 1.0
) -> list[Tensor]:
    """Of a linear loss that looks at padding too."""
    inputs = leaves()
    weights = normal_numbers(*inputs[0].shape, seed=11)
    return list(
        torch.autograd.grad(scale * (weights * state(adjoint, solver, *inputs)).sum(), inputs)
    )


@functools.cache
def exact_gradients() -> tuple[Tensor, ...]:
    """The same by dense matrices: v solves (I − hJ)ᵀ v = g per example, then the gradient of vᵀ(b +
    h f) with the state held fixed.
    """
    x, w, u, h = leaves()
    with torch.no_grad():
        y = EXACT.solve(ImplicitEquation(field_of(w, u), x, h), x).state
        v = torch.zeros_like(y)
        weights = normal_numbers(*x.shape, seed=11)
        for i, real in enumerate(MASK):
            jacobian = field_of(w, u).matrix(y, i)
            identity = torch.eye(len(jacobian), dtype=DTYPE)
            v[i, real] = torch.linalg.solve(
                (identity - h * jacobian).T, weights[i, real].flatten()
            ).view(-1, 2)
    image = x + h * field_of(w, u)(y)
    return torch.autograd.grad((v * image).sum(), (x, w, u, h))


def relative_gap(got, want) -> float:
    """The largest relative error of a tensor, in its norm."""
    return max(float((a - b).norm() / b.norm()) for a, b in zip(got, want, strict=True))


class ImplicitLayer(nn.Module):
    """A module as a model has it: its own parameters, one implicit step."""

    def __init__(self, adjoint: AbstractAdjoint, compiled: str | None = None) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 2, dtype=torch.float64)
        self.method = ImplicitEuler(0.5, solver=EXACT, adjoint=adjoint)
        self.layer = (
            self.squash if compiled is None else torch.compile(self.squash, backend=compiled)
        )
        with torch.no_grad():
            self.inner.weight.copy_(FIELD.w / 2)
            self.inner.bias.fill_(0.1)

    def squash(self, x: Tensor) -> Tensor:
        return torch.tanh(self.inner(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.method.step(LayerVectorField(self.layer, MASK), x).state


def gradients_of(module: nn.Module, x: Tensor) -> list[Tensor]:
    inputs = [x.requires_grad_(), *module.parameters()]
    return list(torch.autograd.grad(module(x).square().sum(), inputs))
