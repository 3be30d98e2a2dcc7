"""The default solver: the cheapest method first, the robust ones for the examples that it leaves
open, a proof for those left.
"""

import dataclasses
from typing import Any

import torch
from torch import Tensor

from odestab.precision import rounding_unit
from odestab.solver.accelerated import records_nothing, worth_cutting
from odestab.solver.anderson import Anderson
from odestab.solver.base import AbstractImplicitSolver, Iterate
from odestab.solver.equation import ImplicitEquation
from odestab.solver.fixed_point import FixedPoint
from odestab.solver.ill_posed import well_posedness
from odestab.solver.newton_krylov import NewtonKrylov
from odestab.solver.solution import Solution, Status, choose, joined, scattered

FAST = 0.1  # where a fixed-point step leaves this share of the residual, mixing has nothing to add
# iterations without progress at which a solve in half precision has arrived at what rounding in f
# leaves
LOW_PATIENCE = 8
NEWTON_ITERATIONS = 20
SHOWABLE = (
    1e-4  # in a precision with a larger eps no derivative is known well enough to call it singular
)
SEEN = 1e-3  # eps·RMS(y) above this share of RMS(b): three digits of b are left in the residual


@dataclasses.dataclass(frozen=True, kw_only=True)
class Auto(AbstractImplicitSolver):
    """Fixed point, with Anderson mixing where the measured rate is poor; the fixed point alone from
    x; then Newton–GMRES.

    A stage runs for the examples that the stages before it left open. On real layers Anderson needs
    half the evaluations of the fixed point, but it and Newton's method can end in a local minimum
    of the residual from which the fixed point, begun anew, stays away. Where h is just beyond a
    fold of the solution, the fixed point passes its ghost in many iterations without progress: it
    may take all of them. What is open at the end is ILL_POSED where the derivative at the best
    iterate shows it (`well_posedness`). In half precision, that of the state or of autocast, an
    example whose residual is down to what rounding in f leaves ends there, STALLED and `at_floor`,
    unless it is polished.

    Attributes:
        max_iterations: bound on the iterations of each stage.
        diagnose: look for a proof of ill-posedness, in float32 or better; products with J, not
            counted as evaluations.
        polish: after a solve under autocast go on without it from the examples' states, in the
            precision that these have.
    """

    max_iterations: int = 200
    diagnose: bool = True
    polish: bool = False

    def advance(
        self, equation: ImplicitEquation, iterate: Iterate, memory: object
    ) -> tuple[Tensor, Tensor, object, int]:
        """Not a single iteration: `solve` chains whole solvers."""
        raise TypeError("Auto chains solvers and has no iteration of its own; call solve")

    def solve(self, equation: ImplicitEquation, x: Tensor, open_: Tensor | None = None) -> Solution:
        """Solve from x; see the base class."""
        wanted = torch.ones(len(x), dtype=torch.bool, device=x.device) if open_ is None else open_
        shared: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("rtol", "atol", "history", "deterministic", "compaction")
        }
        most, low = self.max_iterations, rounding_unit(x) > SHOWABLE
        mixed = Anderson(
            rate=FAST,
            start=self.start,
            max_iterations=most,
            patience=LOW_PATIENCE if low else self.patience,
            **shared,
        )
        solution = mixed.solve(equation, x, open_)
        if low:
            rounded = wanted & ~solution.converged & solution.at_floor
            wanted = wanted & ~rounded
            if self.polish and torch.is_autocast_enabled(x.device.type) and bool(rounded.any()):
                with torch.autocast(x.device.type, enabled=False):
                    again = dataclasses.replace(mixed, patience=self.patience).solve(
                        equation, solution.state, rounded
                    )
                solution = joined(solution, again, rounded)
        stages: tuple[tuple[AbstractImplicitSolver, bool], ...] = (
            (
                FixedPoint(start=self.start, max_iterations=most, patience=max(most, 1), **shared),
                True,
            ),
            (NewtonKrylov(max_iterations=min(NEWTON_ITERATIONS, most), **shared), False),
        )
        for stage, anew in stages:
            left = wanted & ~solution.converged
            if not bool(left.any()):
                break
            solution = joined(
                solution,
                self._staged(stage, equation, x if anew else solution.state, left, solution),
                left,
            )
        return self._diagnosed(equation, x, solution, wanted) if self.diagnose else solution

    def _staged(
        self,
        stage: AbstractImplicitSolver,
        equation: ImplicitEquation,
        guess: Tensor,
        left: Tensor,
        before: Solution,
    ) -> Solution:
        """A later stage for the examples left; for them alone with compaction, where that is worth
        it and nothing is recorded.
        """
        kept = left.nonzero()[:, 0]
        cut = (
            self.compaction
            and not self.history
            and records_nothing(equation, guess)
            and worth_cutting(len(kept), len(left))
        )
        part = equation.take(kept) if cut else None
        if part is None:
            return stage.solve(equation, guess, left)
        return scattered(before, stage.solve(part, guess[kept]), kept)

    def _diagnosed(
        self, equation: ImplicitEquation, x: Tensor, solution: Solution, wanted: Tensor
    ) -> Solution:
        """ILL_POSED where that is shown, of those that failed, and of those whose y is so large
        that its residual does not see b.

        The latter return x: their y is rounding times a null vector of M.
        """
        field, eps = equation.field, torch.finfo(solution.state.dtype).eps
        if eps > SHOWABLE:
            return solution
        blind = eps * field.rms(solution.state.detach()) > SEEN * field.rms(equation.rhs.detach())
        doubtful = wanted & (~solution.converged | blind) & solution.residual.isfinite()
        examples = doubtful.nonzero()[:, 0]
        if len(examples) == 0 or self.max_iterations == 0:
            return solution
        shown = torch.zeros_like(doubtful)
        shown[examples] = well_posedness(equation, solution.state, examples).ill_posed
        solution = dataclasses.replace(
            solution, status=torch.where(shown, int(Status.ILL_POSED), solution.status)
        )
        lost = shown & blind
        if not bool(lost.any()):
            return solution
        residual = torch.where(lost, field.rms(equation.residual(x)), solution.residual)
        return dataclasses.replace(
            solution, state=choose(lost, x, solution.state), residual=residual
        )
