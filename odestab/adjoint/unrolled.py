"""The gradient of the iteration that ran."""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from odestab.adjoint.base import AbstractAdjoint, on_real_tokens, refuse_vmap
from odestab.fields.vector_field import AbstractWrappedField
from odestab.outside_graphs import outside_graphs
from odestab.solver import AbstractImplicitSolver, ImplicitEquation, Solution
from odestab.solver.equation import in_transform


@dataclasses.dataclass(frozen=True)
class UnrolledAdjoint(AbstractAdjoint):
    """The exact gradient of the map that ran: autograd through every iteration.

    Memory grows with the iterations.

    Derivatives of any order and forward mode pass where the solver's own operations have them;
    NewtonKrylov has no reverse mode. A second derivative of GradientDescent takes third ones of f,
    of which torch gets that of `layer_norm` wrong without a word (pytorch issue 175754).

    Attributes:
        recompute: keep the state of each evaluation of f and evaluate f again in the backward pass.
            Memory is then some states an iteration and one evaluation, at the price of a second
            evaluation each. A solver that multiplies by J (NewtonKrylov, GradientDescent) cannot be
            had with it: torch.func and checkpoints exclude each other, and RuntimeError says so.

    >>> import odestab as od
    >>> field, x = od.LinearVectorField(-0.5 * torch.eye(2)), torch.ones(1, 2, requires_grad=True)
    >>> method = od.ImplicitEuler(1.0, adjoint=od.UnrolledAdjoint())
    >>> torch.autograd.grad(method.step(field, x).state.sum(), x)
    (tensor([[0.6667, 0.6667]]),)
    """

    recompute: bool = False

    @outside_graphs
    def solve(
        self,
        solver: AbstractImplicitSolver,
        equation: ImplicitEquation,
        x: Float[Tensor, "batch *event"],
    ) -> Solution:
        """Solve with autograd recording."""
        refuse_vmap(equation, x)
        recorded = equation
        if self.recompute and torch.is_grad_enabled():
            recorded = dataclasses.replace(equation, field=_Recomputed(equation.field))
        solution = solver.solve(recorded, x)
        return dataclasses.replace(solution, state=on_real_tokens(equation.field, solution.state))


@dataclasses.dataclass(frozen=True, eq=False)
class _Recomputed(AbstractWrappedField):
    """f, of which autograd keeps the argument alone."""

    def __call__(self, x: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch *event"]:
        if in_transform():
            raise RuntimeError(
                "UnrolledAdjoint(recompute=True) cannot be used inside "
                "torch.func, nor with a solver that multiplies by J"
            )
        return checkpoint(self.field, x, use_reentrant=False)

    def unsplit(self, x: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch *event"]:
        return checkpoint(self.field.unsplit, x, use_reentrant=False)
