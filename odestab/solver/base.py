"""What every solver of the implicit equation shares: tolerances, the meaning of convergence, and
the one loop.
"""

import abc
import dataclasses
import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odestab.solver.accelerated import accelerate, records_nothing
from odestab.solver.equation import ImplicitEquation, first_image
from odestab.solver.ledger import Ledger, Rules
from odestab.solver.mixing import Mixing
from odestab.solver.solution import Solution, choose, history_of
from odestab.watch import Watch

STARTS = ("state", "explicit")


@dataclasses.dataclass(frozen=True, eq=False)
class Iterate:
    """What the loop hands to a solver: y, its residual r, RMS(r), and which examples are still
    open.
    """

    y: Tensor
    r: Tensor
    norm: Tensor
    open: Tensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class AbstractImplicitSolver(abc.ABC):
    """Solves y = b + h f(y).

    Convergence has one meaning: RMS(r) ≤ atol + rtol·RMS(y) over real tokens (Mathematics, section
    2).

    Attributes:
        rtol: relative tolerance.
        atol: absolute tolerance.
        max_iterations: bound on iterations; a solver stopped there is a polynomial, not the
            implicit method.
        start: begin at the first guess ("state") or at b + h f of it ("explicit").
        keep_last: return the last iterate whatever its residual, without stall or divergence
            detection. False keeps the best one.
        patience: so many iterations without one per cent of progress count as a stall.
        history: keep RMS(r) of every iteration.
        deterministic: refuse a field that draws random numbers. False lets it, at the price that
            nothing need converge.
        compaction: without gradients, on a CPU, go on with the running examples alone once an
            eighth of them has ended, if the field can be cut (`take`). Faster; results then depend
            on batch mates by rounding.

    Raises:
        ValueError: if a tolerance is negative or not finite, max_iterations is negative, or start
            is unknown.
    """

    rtol: float = 1e-6
    atol: float = 0.0
    max_iterations: int = 100
    start: str = "state"
    keep_last: bool = False
    patience: int = 50
    history: bool = False
    deterministic: bool = True
    compaction: bool = False

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and >= 0, got {value}")
        if self.max_iterations < 0:
            raise ValueError(f"max_iterations must be >= 0, got {self.max_iterations}")
        if self.start not in STARTS:
            raise ValueError(f"start must be one of {', '.join(STARTS)}, got {self.start!r}")

    @property
    def iteration_limit(self) -> int:
        """How often the loop runs at most."""
        return self.max_iterations

    @property
    def keeps_last(self) -> bool:
        """Whether the last iterate is returned whatever its residual."""
        return self.keep_last

    @property
    def rules(self) -> Rules:
        """The options as the loops take them."""
        limits = (self.rtol, self.atol, self.keeps_last, self.patience, self.iteration_limit)
        return Rules(*limits, self.start, self.history, self.deterministic, self.compaction)

    @property
    def mixing(self) -> Mixing | None:
        """How the iteration mixes images of the fixed-point map; None, as here, for one that does
        something else.
        """
        return None

    @abc.abstractmethod
    def advance(
        self, equation: ImplicitEquation, iterate: Iterate, memory: object
    ) -> tuple[Tensor, Tensor, object, int | Tensor]:
        """One iteration: the next y, its residual, the memory (None before the first), and how many
        evaluations of f it took.
        """

    def error_recursion(self, z: Tensor, step_size: float, split: float) -> tuple[Tensor, Tensor]:
        """(c, g) with e ← c·e for the error and g = (1 − c)/(1 − z), on a normal linear field with
        f(x) = λx, z = hλ.

        Raises:
            ValueError: for a solver whose iterates are no polynomial in z that is known beforehand.
        """
        raise ValueError(
            "solver must have a fixed polynomial (FixedPoint, "
            f"GradientDescent), got {type(self).__name__}"
        )

    def solve(
        self,
        equation: ImplicitEquation,
        x: Float[Tensor, "batch *event"],
        open_: Bool[Tensor, " batch"] | None = None,
    ) -> Solution:
        """Solve from x (or the explicit step from x).

        Examples are independent: one that has ended is frozen, whatever happens to its batch mates.

        Args:
            equation: b, h and f.
            x: first guess; the solution of a neighbouring equation is a warm start.
            open_: which examples to solve; the others return x. None is all.

        Raises:
            ValueError: if b, the mask or f do not fit x, or f draws random numbers although the
                solver is told that it is deterministic.
        """
        equation.require_state(x)
        field, rules, mixing, begun = equation.field, self.rules, self.mixing, 1
        if mixing is not None and records_nothing(equation, x):
            return accelerate(rules, mixing, equation, x, open_)
        y, first = x, first_image(field, x, self.deterministic)
        image = equation.rhs + equation.step_size * first
        r = image - y
        if self.start == "explicit":
            y, r, begun = image, equation.residual(image), 2
        best, ledger = y, Ledger.begin(rules, field.rms(r), field.rms(y), open_, begun)
        memory: object = None
        norms, watch = (
            [ledger.norm],
            Watch(x.device),
        )  # the norms of every iteration, where they are asked for
        for _ in range(self.iteration_limit):
            running = ledger.running
            if watch.none(running):
                break
            moved, image, memory, cost = self.advance(
                equation, Iterate(y, r, ledger.norm, running), memory
            )
            y, r = choose(running, moved, y), choose(running, image, r)
            before, ledger = ledger, ledger.after(rules, field.rms(r), field.rms(y), cost)
            best = choose(ledger.best < before.best, y, best)
            if rules.history:
                norms.append(torch.where(running, ledger.norm, torch.nan))
        last, norm, status = ledger.outcome(self.keeps_last)
        history = history_of(norms, ledger.iterations) if rules.history else None
        state = choose(last, y, best)
        floor = torch.finfo(first.dtype).eps * field.rms(state.detach())
        return Solution(state, status, norm, ledger.iterations, ledger.evaluations, floor, history)
