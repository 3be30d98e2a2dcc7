"""The default solver: the cheapest method first, the robust ones for the examples that it leaves
open, a proof for those left.
"""

import contextlib
import dataclasses
import enum
from typing import Any, ClassVar

import torch
from torch import Tensor

from odestab.precision import own_precision, rounding_unit
from odestab.solver.base import AbstractImplicitSolver
from odestab.solver.equation import ImplicitEquation
from odestab.solver.fixed_point import Anderson, FixedPoint
from odestab.solver.ill_posed import well_posedness
from odestab.solver.iteration import Iterate, records_nothing, worth_cutting
from odestab.solver.newton_krylov import NewtonKrylov
from odestab.solver.solution import Solution, Status, choose, joined, scattered
from odestab.solver.stopping import Stopping

FAST = 0.1  # where a fixed-point step leaves this share of the residual, mixing has nothing to add
# iterations without progress at which a solve in half precision has arrived at what rounding in f
# leaves
LOW_PATIENCE = 8
NEWTON_ITERATIONS = 20
# in a precision with a larger eps no derivative is known well enough to call it singular
SHOWABLE = 1e-4
SEEN = 1e-3  # eps·RMS(y) above this share of RMS(b): three digits of b are left in the residual


class Examples(enum.Enum):
    """For which examples a stage runs."""

    ALL = "all that are to be solved"
    ROUNDED = "those that end at the rounding of f in half precision"
    OPEN = "those of the others that no stage so far has solved"


@dataclasses.dataclass(frozen=True)
class Stage:
    """One solver of a chain.

    Attributes:
        solver: what runs.
        examples: for whom.
        anew: begin at the first guess; False goes on from where the examples stand.
        autocast: False turns autocast off.

    >>> [type(stage.solver).__name__ for stage in Auto().stages()]
    ['Anderson', 'FixedPoint', 'NewtonKrylov']
    """

    solver: AbstractImplicitSolver
    examples: Examples
    anew: bool
    autocast: bool = True


@dataclasses.dataclass(frozen=True, init=False)
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
        stopping: of each stage; it has no keep_last, since a stage goes on from the best iterate.
        compaction: as of the fixed-point iterations; later stages likewise run for the examples
            left alone.
        diagnose: look for a proof of ill-posedness, in float32 or better; products with J, not
            counted as evaluations.
        polish: after a solve under autocast go on without it from the examples' states, in the
            precision that these have.

    >>> import odestab as od
    >>> x = torch.ones(1, 2)
    >>> equation = od.ImplicitEquation(od.LinearVectorField(-0.5 * torch.eye(2)), x, 1.0)
    >>> od.Auto(rtol=1e-4).solve(equation, x).converged
    tensor([True])
    """

    stopping: Stopping = Stopping(max_iterations=200)
    compaction: bool = False
    diagnose: bool = True
    polish: bool = False

    without: ClassVar[frozenset[str]] = frozenset({"keep_last"})

    def stages(self, low: bool = False, polished: bool = False) -> tuple[Stage, ...]:
        """The chain.

        Args:
            low: whether f is evaluated in half precision.
            polished: whether what ends at its rounding is polished.
        """
        most = self.stopping.max_iterations
        shared: dict[str, Any] = {"history": self.history, "deterministic": self.deterministic}
        cheap = shared | {"start": self.start, "compaction": self.compaction}
        # The fixed point passes the ghost of a fold without progress, and may take all iterations.
        patient = dataclasses.replace(self.stopping, patience=max(most, 1))
        impatient = dataclasses.replace(self.stopping, patience=LOW_PATIENCE)
        mixed = Anderson(stopping=self.stopping, rate=FAST, **cheap)
        # In half precision rounding in f ends the progress, and waiting for more is in vain.
        first = dataclasses.replace(mixed, stopping=impatient) if low else mixed
        # Its patience stays its own: Newton's method makes progress or repeats itself.
        newton = NewtonKrylov(
            rtol=self.stopping.rtol,
            atol=self.stopping.atol,
            max_iterations=min(NEWTON_ITERATIONS, most),
            **shared,
        )
        polish = Stage(mixed, Examples.ROUNDED, anew=False, autocast=False)
        return (
            Stage(first, Examples.ALL, anew=True),
            *([polish] if polished else []),
            Stage(FixedPoint(stopping=patient, **cheap), Examples.OPEN, anew=True),
            Stage(newton, Examples.OPEN, anew=False),
        )

    def advance(
        self, equation: ImplicitEquation, iterate: Iterate, memory: object
    ) -> tuple[Tensor, Tensor, object, int]:
        """Not a single iteration: `solve` chains whole solvers."""
        raise TypeError("Auto chains solvers and has no iteration of its own; call solve")

    def solve(
        self,
        equation: ImplicitEquation,
        x: Tensor,
        open_: Tensor | None = None,
        image: Tensor | None = None,
    ) -> Solution:
        """Solve from x; see the base class."""
        wanted = torch.ones(len(x), dtype=torch.bool, device=x.device) if open_ is None else open_
        low = rounding_unit(x) > SHOWABLE
        polished = low and self.polish and torch.is_autocast_enabled(x.device.type)
        first, *later = self.stages(low, polished)
        solution = first.solver.solve(equation, x, open_, image)
        rounded = torch.zeros_like(wanted)
        if low:  # no later stage can do better, and the search for a proof is not asked either
            rounded = wanted & ~solution.converged & solution.at_floor
            wanted = wanted & ~rounded
        for stage in later:
            of_rounded = stage.examples is Examples.ROUNDED
            chosen = rounded if of_rounded else wanted & ~solution.converged
            if bool(chosen.any()):
                part = self._staged(stage, equation, x, chosen, solution)
                solution = joined(solution, part, chosen)
            elif not of_rounded:
                break  # nobody is left for those after it
        return self._diagnosed(equation, x, solution, wanted) if self.diagnose else solution

    def _staged(
        self, stage: Stage, equation: ImplicitEquation, x: Tensor, chosen: Tensor, before: Solution
    ) -> Solution:
        """A later stage for the examples chosen; for them alone with compaction, where that is
        worth it and nothing is recorded.
        """
        guess = x if stage.anew else before.state
        kept = chosen.nonzero()[:, 0]
        cut = (
            self.compaction
            and stage.autocast
            and not self.history
            and records_nothing(equation, guess)
            and worth_cutting(len(kept), len(chosen))
        )
        part = equation.take(kept) if cut else None
        if part is not None:
            return scattered(before, stage.solver.solve(part, guess[kept]), kept)
        with contextlib.nullcontext() if stage.autocast else own_precision(x):
            return stage.solver.solve(equation, guess, chosen)

    def _diagnosed(
        self, equation: ImplicitEquation, x: Tensor, solution: Solution, wanted: Tensor
    ) -> Solution:
        """ILL_POSED where that is shown, of those that failed, and of those whose y is so large
        that its residual does not see b.

        The latter return x: their y is rounding times a null vector of M.
        """
        field = equation.field
        eps = torch.finfo(solution.state.dtype).eps
        if eps > SHOWABLE:
            return solution
        # A huge y can meet the tolerance while b is below the rounding of its residual.
        blind = eps * field.rms(solution.state.detach()) > SEEN * field.rms(equation.rhs.detach())
        doubtful = wanted & (~solution.converged | blind) & solution.residual.isfinite()
        examples = doubtful.nonzero()[:, 0]
        if len(examples) == 0 or self.stopping.max_iterations == 0:
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
        # what is known of h f(y) is not of x
        remainder = solution.remainder
        if remainder is not None:
            remainder = choose(lost, torch.zeros_like(remainder), remainder)
        return dataclasses.replace(
            solution,
            state=choose(lost, x, solution.state),
            residual=residual,
            remainder=remainder,
        )
