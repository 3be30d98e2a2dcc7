"""The default solver: the cheapest method first, the robust ones for the examples that it leaves open."""

import dataclasses

import torch
from torch import Tensor

from odestab.solver.anderson import Anderson
from odestab.solver.base import AbstractImplicitSolver, Iterate
from odestab.solver.equation import ImplicitEquation
from odestab.solver.fixed_point import FixedPoint
from odestab.solver.newton_krylov import NewtonKrylov
from odestab.solver.solution import Solution, joined

FIRST_ITERATIONS = 3  # enough where the contraction is strong; Anderson wins elsewhere
NEWTON_ITERATIONS = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Auto(AbstractImplicitSolver):
    """Resolvent fixed point for a few iterations, Anderson(5), the fixed point again from x and to its end, then Newton–GMRES.

    A stage runs for the examples that the stages before it left open. On real layers Anderson needs half the evaluations of the fixed
    point, but it and Newton's method can end in a local minimum of the residual from which the fixed point, begun anew, stays away.

    Attributes:
        max_iterations: bound on the iterations of each stage.
    """

    max_iterations: int = 200

    def advance(self, equation: ImplicitEquation, iterate: Iterate, memory: object) -> tuple[Tensor, Tensor, object, int]:
        """Not a single iteration: `solve` chains whole solvers."""
        raise TypeError("Auto chains solvers and has no iteration of its own; call solve")

    def solve(self, equation: ImplicitEquation, x: Tensor, open_: Tensor | None = None) -> Solution:
        """Solve from x; see the base class."""
        rtol, atol, start, most = self.rtol, self.atol, self.start, self.max_iterations
        solution = FixedPoint(rtol=rtol, atol=atol, start=start, max_iterations=min(FIRST_ITERATIONS, most)).solve(equation, x, open_)
        stages: tuple[tuple[AbstractImplicitSolver, bool], ...] = (
            (Anderson(rtol=rtol, atol=atol, max_iterations=most), False),
            (FixedPoint(rtol=rtol, atol=atol, start=start, max_iterations=most), True),
            (NewtonKrylov(rtol=rtol, atol=atol, max_iterations=min(NEWTON_ITERATIONS, most)), False),
        )
        for stage, anew in stages:
            open_ = ~solution.converged & (True if open_ is None else open_)
            if not bool(open_.any()):
                break
            solution = joined(solution, stage.solve(equation, x if anew else solution.state, open_), open_)
        return solution
