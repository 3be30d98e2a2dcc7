"""The default solver: the cheapest method first, the robust ones for the examples that it leaves open."""

import dataclasses

import torch
from torch import Tensor

from odestab.solver.anderson import Anderson
from odestab.solver.base import AbstractImplicitSolver, ImplicitEquation, Iterate, Solution
from odestab.solver.fixed_point import FixedPoint
from odestab.solver.newton_krylov import NewtonKrylov

FIXED_POINT_ITERATIONS = 3  # enough where the contraction is strong; Anderson wins elsewhere
NEWTON_ITERATIONS = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Auto(AbstractImplicitSolver):
    """Resolvent fixed point, then Anderson(5), then Newton–GMRES, each from the best iterate of the one before.

    A stage runs for the examples that the stages before it left open.

    Attributes:
        max_iterations: bound on the iterations of the Anderson stage.
    """

    max_iterations: int = 200

    def advance(self, equation: ImplicitEquation, iterate: Iterate, memory: object) -> tuple[Tensor, Tensor, object, int]:
        """Not a single iteration: `solve` chains whole solvers."""
        raise TypeError("Auto chains solvers and has no iteration of its own; call solve")

    def solve(self, equation: ImplicitEquation, x: Tensor, open_: Tensor | None = None) -> Solution:
        """Solve from x; see the base class."""
        rtol, atol, most = self.rtol, self.atol, self.max_iterations
        stages = (
            FixedPoint(rtol=rtol, atol=atol, start=self.start, max_iterations=min(FIXED_POINT_ITERATIONS, most)),
            Anderson(rtol=rtol, atol=atol, max_iterations=most),
            NewtonKrylov(rtol=rtol, atol=atol, max_iterations=min(NEWTON_ITERATIONS, most)),
        )
        solution = stages[0].solve(equation, x, open_)
        for stage in stages[1:]:
            open_ = ~solution.converged & (True if open_ is None else open_)
            if not bool(open_.any()):
                break
            solution = _continue(solution, stage.solve(equation, solution.state, open_), open_)
        return solution


def _continue(before: Solution, after: Solution, open_: Tensor) -> Solution:
    """The later stage's outcome where it ran; its cost is added."""
    expand = open_.view(-1, *(1 for _ in before.state.shape[1:]))
    return Solution(
        torch.where(expand, after.state, before.state),
        torch.where(open_, after.status, before.status),
        torch.where(open_, after.residual, before.residual),
        before.iterations + torch.where(open_, after.iterations, 0),
        before.evaluations + torch.where(open_, after.evaluations, 0),
    )
