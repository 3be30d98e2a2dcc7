"""The default solver: the cheapest method first, the robust ones for the examples that it leaves open, a proof for those left."""

import dataclasses

import torch
from torch import Tensor

from odestab.solver.anderson import Anderson
from odestab.solver.base import AbstractImplicitSolver, Iterate
from odestab.solver.equation import ImplicitEquation
from odestab.solver.fixed_point import FixedPoint
from odestab.solver.ill_posed import well_posedness
from odestab.solver.newton_krylov import NewtonKrylov
from odestab.solver.solution import Solution, Status, joined

FIRST_ITERATIONS = 3  # enough where the contraction is strong; Anderson wins elsewhere
NEWTON_ITERATIONS = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Auto(AbstractImplicitSolver):
    """Resolvent fixed point for a few iterations, Anderson(5), the fixed point again from x and to its end, then Newton–GMRES.

    A stage runs for the examples that the stages before it left open. On real layers Anderson needs half the evaluations of the fixed
    point, but it and Newton's method can end in a local minimum of the residual from which the fixed point, begun anew, stays away.
    What is open at the end is ILL_POSED where the derivative at the best iterate shows it (`well_posedness`).

    Attributes:
        max_iterations: bound on the iterations of each stage.
        diagnose: look for a proof of ill-posedness; products with J, not counted as evaluations.
    """

    max_iterations: int = 200
    diagnose: bool = True

    def advance(self, equation: ImplicitEquation, iterate: Iterate, memory: object) -> tuple[Tensor, Tensor, object, int]:
        """Not a single iteration: `solve` chains whole solvers."""
        raise TypeError("Auto chains solvers and has no iteration of its own; call solve")

    def solve(self, equation: ImplicitEquation, x: Tensor, open_: Tensor | None = None) -> Solution:
        """Solve from x; see the base class."""
        wanted = torch.ones(len(x), dtype=torch.bool, device=x.device) if open_ is None else open_
        solution = self._stage(FixedPoint, min(FIRST_ITERATIONS, self.max_iterations)).solve(equation, x, open_)
        stages = ((Anderson, self.max_iterations), (FixedPoint, self.max_iterations), (NewtonKrylov, min(NEWTON_ITERATIONS, self.max_iterations)))
        for kind, most in stages:
            left = wanted & ~solution.converged
            if not bool(left.any()):
                return solution
            anew = kind is FixedPoint
            stage = self._stage(kind, most, self.start if anew else "state")
            solution = joined(solution, stage.solve(equation, x if anew else solution.state, left), left)
        return self._diagnosed(equation, solution, wanted) if self.diagnose else solution

    def _stage(self, kind: type[AbstractImplicitSolver], most: int, start: str | None = None) -> AbstractImplicitSolver:
        options = {"history": self.history, "deterministic": self.deterministic, "start": self.start if start is None else start}
        return kind(rtol=self.rtol, atol=self.atol, max_iterations=most, **options)

    def _diagnosed(self, equation: ImplicitEquation, solution: Solution, wanted: Tensor) -> Solution:
        failed = wanted & ~solution.converged & solution.residual.isfinite()
        examples = failed.nonzero()[:, 0]
        if len(examples) == 0 or self.max_iterations == 0:
            return solution
        status = solution.status.clone()
        shown = well_posedness(equation, solution.state, examples).ill_posed
        status[examples[shown]] = int(Status.ILL_POSED)
        return dataclasses.replace(solution, status=status)
