"""The implicit equation y = b + h f(y), the one loop that every solver runs in, and what a solve reports."""

import abc
import dataclasses
import enum
import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from odestab.vector_field import AbstractVectorField

STARTS = ("state", "explicit")
DIVERGENCE_FACTOR = 1e4  # a residual this many times the first one counts as divergence
_RUNNING = -1


class Status(enum.IntEnum):
    """How the solve of one example ended."""

    CONVERGED = 0
    MAX_ITERATIONS = 1
    STALLED = 2
    DIVERGED = 3
    NON_FINITE = 4


class SolveError(RuntimeError):
    """Raised by `Solution.raise_for_status`."""


@dataclasses.dataclass(frozen=True, eq=False)
class ImplicitEquation:
    """y = b + h f(y), one independent equation per example.

    Attributes:
        field: f.
        rhs: b, `(batch, ...)`; the state x for implicit Euler.
        step_size: h; for a theta method it stands for hθ.
        differentiable: gradients may be taken through the solver's products; False lets them use a cached linearisation of f.
    """

    field: AbstractVectorField
    rhs: Float[Tensor, "batch *event"]
    step_size: float | Tensor
    differentiable: bool = True

    @property
    def resolvent(self) -> float | Tensor:
        """1/(1 − hc): the inverse of the linear part that the field's split c declares."""
        return 1 / (1 - self.step_size * self.field.split)

    def residual(self, y: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch *event"]:
        """r = b + h f(y) − y."""
        return self.rhs + self.step_size * self.field(y) - y

    def linearized(self, y: Float[Tensor, "batch *event"]) -> Callable[[Tensor], Tensor]:
        """v ↦ M v = v − h J(y) v."""
        if self.differentiable:
            return lambda v: v - self.step_size * torch.func.jvp(self.field, (y,), (v,))[1]
        linearization = self.field.linearize(y)
        if linearization.path == "torch.func":  # it takes as long to build as several products that are not cached
            return dataclasses.replace(self, differentiable=True).linearized(y)
        return lambda v: (1 - self.step_size * self.field.split) * v - self.step_size * self.field.project(linearization.mv(v))

    def adjoint(self, y: Float[Tensor, "batch *event"], u: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch *event"]:
        """Mᵀ u = u − h J(y)ᵀ u."""
        return u - self.step_size * torch.func.vjp(self.field, y)[1](u)[0]


@dataclasses.dataclass(frozen=True, eq=False)
class Solution:
    """The outcome of a solve, per example.

    Attributes:
        state: y, `(batch, ...)`: the converged iterate, else the best one (the last one of a solver that keeps the last).
        status: a `Status` value each.
        residual: RMS(b + h f(y) − y) over real tokens at the returned y, unpreconditioned.
        iterations: steps of the solver while the example was open.
        evaluations: of f while the example was open; a product with J or Jᵀ counts one.
    """

    state: Float[Tensor, "batch *event"]
    status: Int[Tensor, " batch"]
    residual: Float[Tensor, " batch"]
    iterations: Int[Tensor, " batch"]
    evaluations: Int[Tensor, " batch"]

    @property
    def converged(self) -> Bool[Tensor, " batch"]:
        """status = CONVERGED."""
        return self.status == Status.CONVERGED

    def raise_for_status(self) -> None:
        """Raise SolveError, naming the examples, unless all converged."""
        failed = (~self.converged).nonzero()[:, 0].tolist()
        if failed:
            listed = ", ".join(f"{i}: {Status(int(self.status[i])).name} (residual {self.residual[i]:.1e})" for i in failed[:8])
            raise SolveError(f"{len(failed)} of {len(self.status)} implicit solves did not converge: {listed}")


@dataclasses.dataclass(frozen=True, eq=False)
class Iterate:
    """What the loop hands to a solver: y, its residual r, RMS(r), and which examples are still open."""

    y: Tensor
    r: Tensor
    norm: Tensor
    open: Tensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class AbstractImplicitSolver(abc.ABC):
    """Solves y = b + h f(y). Convergence has one meaning: RMS(r) ≤ atol + rtol·RMS(y) over real tokens (Mathematics, section 2).

    Attributes:
        rtol: relative tolerance.
        atol: absolute tolerance.
        max_iterations: bound on iterations; a solver stopped there is a polynomial, not the implicit method.
        start: begin at the state x ("state") or at b + h f(x) ("explicit").
        keep_last: return the last iterate whatever its residual, without stall or divergence detection. False keeps the best one.
        patience: so many iterations without one per cent of progress count as a stall.

    Raises:
        ValueError: if a tolerance is negative or not finite, max_iterations is negative, or start is unknown.
    """

    rtol: float = 1e-6
    atol: float = 0.0
    max_iterations: int = 100
    start: str = "state"
    keep_last: bool = False
    patience: int = 50

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

    @abc.abstractmethod
    def advance(self, equation: ImplicitEquation, iterate: Iterate, memory: object) -> tuple[Tensor, Tensor, object, int | Tensor]:
        """One iteration: the next y, its residual, the memory (None before the first), and how many evaluations of f it took."""

    def error_recursion(self, z: Tensor, step_size: float, split: float) -> tuple[Tensor, Tensor]:
        """(c, g) with e ← c·e for the error and g = (1 − c)/(1 − z), on a normal linear field with f(x) = λx, z = hλ.

        Raises:
            ValueError: for a solver whose iterates are no polynomial in z that is known beforehand.
        """
        raise ValueError(f"solver must have a fixed polynomial (FixedPoint, GradientDescent), got {type(self).__name__}")

    def solve(self, equation: ImplicitEquation, x: Float[Tensor, "batch *event"], open_: Bool[Tensor, " batch"] | None = None) -> Solution:
        """Solve from x (or the explicit step from x).

        Examples are independent: one that has ended is frozen, whatever happens to its batch mates.

        Args:
            equation: b, h and f.
            x: first guess.
            open_: which examples to solve; the others return x. None is all.
        """
        progress = _Progress.begin(self, equation, x, open_)
        memory: object = None
        for _ in range(self.iteration_limit):
            if not bool(progress.open.any()):
                break
            iterate = Iterate(progress.y, progress.r, progress.norm, progress.open)
            y, r, memory, cost = self.advance(equation, iterate, memory)
            progress = progress.after(self, equation, y, r, cost)
        return progress.solution(self)


@dataclasses.dataclass(frozen=True, eq=False)
class _Progress:
    """The loop's state: current and best iterate, and how each example stands."""

    y: Tensor
    r: Tensor
    norm: Tensor
    best: Tensor
    best_norm: Tensor
    first_norm: Tensor
    since_progress: Tensor
    status: Tensor
    iterations: Tensor
    evaluations: Tensor

    @property
    def open(self) -> Tensor:
        return self.status == _RUNNING

    @classmethod
    def begin(cls, solver: AbstractImplicitSolver, equation: ImplicitEquation, x: Tensor, open_: Tensor | None) -> "_Progress":
        y = x if solver.start == "state" else equation.rhs + equation.step_size * equation.field(x)
        r = equation.residual(y)
        norm = equation.field.rms(r)
        status = torch.full(norm.shape, _RUNNING, device=x.device)
        if open_ is not None:
            status = torch.where(open_, status, int(Status.MAX_ITERATIONS))
        zero = torch.zeros_like(status)
        start = cls(y, r, norm, y, norm, norm, zero, status, zero, zero + (1 if solver.start == "state" else 2))
        return start._judged(solver, equation)

    def after(self, solver: AbstractImplicitSolver, equation: ImplicitEquation, y: Tensor, r: Tensor, cost: int | Tensor) -> "_Progress":
        """The loop's state after one iteration; examples that have ended stay as they are, bit for bit."""
        open_ = self.open
        y, r = _where(open_, y, self.y), _where(open_, r, self.r)
        norm = equation.field.rms(r)
        progressed = norm < 0.99 * self.best_norm
        better = open_ & (norm < self.best_norm)
        moved = dataclasses.replace(
            self,
            y=y,
            r=r,
            norm=norm,
            best=_where(better, y, self.best),
            best_norm=torch.where(better, norm, self.best_norm),
            since_progress=torch.where(progressed, 0, self.since_progress + 1),
            iterations=self.iterations + open_,
            evaluations=self.evaluations + open_ * cost,
        )
        return moved._judged(solver, equation)

    def _judged(self, solver: AbstractImplicitSolver, equation: ImplicitEquation) -> "_Progress":
        """End the examples that have converged or failed."""
        within = self.norm <= solver.atol + solver.rtol * equation.field.rms(self.y)
        ends = [(within & self.norm.isfinite(), Status.CONVERGED)]
        if not solver.keeps_last:
            ends += [
                (~self.norm.isfinite(), Status.NON_FINITE),
                (self.norm > DIVERGENCE_FACTOR * self.first_norm, Status.DIVERGED),
                (self.since_progress >= solver.patience, Status.STALLED),
            ]
        status = self.status
        for ended, name in ends:
            status = torch.where((status == _RUNNING) & ended, int(name), status)
        return dataclasses.replace(self, status=status)

    def solution(self, solver: AbstractImplicitSolver) -> Solution:
        """The converged iterate where there is one, else the best (or the last)."""
        last = (self.status == Status.CONVERGED) | solver.keeps_last
        norm = torch.where(last, self.norm, self.best_norm)
        unended = torch.where(norm.isfinite(), int(Status.MAX_ITERATIONS), int(Status.NON_FINITE))
        status = torch.where(self.open, unended, self.status)
        return Solution(_where(last, self.y, self.best), status, norm, self.iterations, self.evaluations)


def _where(condition: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Per example: new where the condition holds, else old."""
    return torch.where(condition.view(-1, *(1 for _ in new.shape[1:])), new, old)
