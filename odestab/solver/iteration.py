"""The loop of every solver, recorded by autograd or in place.

A solve that nobody differentiates works in place, where its solver is a fixed-point iteration: one
pass over the state for each stage, the state and what is kept of earlier ones in float32 or
float64, f evaluated in the precision of the state that was given, or in that of autocast. It gives
the iterates of the recorded one, to rounding.
"""

import dataclasses
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from odestab.fields.vector_field import AbstractVectorField
from odestab.solver import kernels
from odestab.solver.equation import ImplicitEquation, first_image, in_forward_mode, in_transform
from odestab.solver.kernels import Task
from odestab.solver.ledger import Ledger, namespace
from odestab.solver.mixing import Mixing
from odestab.solver.solution import Solution, choose, history_of, scattered
from odestab.watch import Watch

if TYPE_CHECKING:
    from odestab.solver.base import AbstractImplicitSolver

# where one example in so many has ended, cutting the batch moves less than the evaluations that it
# saves
ENDED = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Iterate:
    """What the loop hands to a solver: y, its residual r, RMS(r), and which examples are still
    open.
    """

    y: Tensor
    r: Tensor
    norm: Tensor
    open: Tensor


class Iteration(Protocol):
    """What the loop turns."""

    @property
    def ledger(self) -> Ledger:
        """How each example stands."""

    def advance(self, running: Any) -> None:
        """One iteration of the running examples; the others stay as they are."""

    def outcome(self) -> Solution:
        """Where all examples stand, without a history."""


def iterate(
    solver: "AbstractImplicitSolver",
    equation: ImplicitEquation,
    x: Tensor,
    open_: Tensor | None,
    image: Tensor | None = None,
) -> Solution:
    """Iterate from x, where F(x) may be known, until every open example has ended."""
    iteration: Iteration
    if solver.mixing is not None and records_nothing(equation, x):
        iteration = InPlace(solver, solver.mixing, equation, x, open_, image)
    else:
        iteration = Recorded(solver, equation, x, open_, image)
    norms = [iteration.ledger.norm]
    watch = Watch(x.device)
    for _ in range(solver.stopping.max_iterations):
        running = iteration.ledger.running
        if watch.none(running):
            break
        iteration.advance(running)
        if solver.history:
            norm = iteration.ledger.norm
            norms.append(namespace(norm).where(running, norm, torch.nan))
    solution = iteration.outcome()
    if not solver.history:
        return solution
    tensors = [torch.as_tensor(norm) for norm in norms]
    return dataclasses.replace(solution, history=history_of(tensors, solution.iterations))


def records_nothing(equation: ImplicitEquation, x: Tensor) -> bool:
    """Whether a solve may work in place: nobody differentiates or transforms it, and h is one
    number.
    """
    h = equation.step_size
    one_number = not isinstance(h, Tensor) or h.numel() == 1
    return one_number and not (torch.is_grad_enabled() or in_transform() or in_forward_mode())


def worth_cutting(kept: int, batch: int) -> bool:
    """Whether evaluations of these examples alone are enough cheaper than those of the whole batch.

    >>> worth_cutting(14, 16), worth_cutting(15, 16)
    (True, False)
    """
    return ENDED * (batch - kept) >= batch


class Recorded:
    """Any solver's iteration, out of place, so that autograd and torch.func can follow it."""

    def __init__(
        self,
        solver: "AbstractImplicitSolver",
        equation: ImplicitEquation,
        x: Tensor,
        open_: Tensor | None,
        image: Tensor | None,
    ) -> None:
        self.solver = solver
        self.equation = equation
        field = equation.field
        first = _with_split(field, x, image)
        if first is None:
            first = first_image(field, x, solver.deterministic)
        self.eps = torch.finfo(first.dtype).eps
        step = equation.rhs + equation.step_size * first
        explicit = solver.start == "explicit"
        self.y = step if explicit else x
        self.r = equation.residual(step) if explicit else step - x
        self.best = self.y
        norm = field.rms(self.r)
        self.best_is_current = torch.ones_like(norm, dtype=torch.bool)
        size = field.rms(self.y)
        self.ledger = Ledger.begin(solver.stopping, norm, size, open_, 2 if explicit else 1)
        self.memory: object = None

    def advance(self, running: Tensor) -> None:
        """One iteration of the running examples."""
        before = self.ledger
        field = self.equation.field
        y, r, self.memory, cost = self.solver.advance(
            self.equation, Iterate(self.y, self.r, before.norm, running), self.memory
        )
        self.y = choose(running, y, self.y)
        self.r = choose(running, r, self.r)
        norm = field.rms(self.r)
        size = field.rms(self.y)
        self.ledger = before.after(self.solver.stopping, norm, size, cost)
        better = self.ledger.best < before.best
        self.best = choose(better, self.y, self.best)
        self.best_is_current = torch.where(running, better, self.best_is_current)

    def outcome(self) -> Solution:
        """Where all examples stand."""
        ledger = self.ledger
        last, norm, status = ledger.outcome(self.solver.stopping.keep_last)
        state = choose(last, self.y, self.best)
        floor = self.eps * self.equation.field.rms(state.detach())
        # r is that of the last iterate
        remainder = choose(last | self.best_is_current, self.r, torch.zeros_like(self.r))
        return Solution(
            state,
            status,
            norm,
            ledger.iterations,
            ledger.evaluations,
            floor,
            remainder=remainder.detach(),
        )


class InPlace:
    """The iteration of a fixed-point map g(y) = κ(b + h F(y)) + ω y on flat states, zero on
    padding; examples that have ended may leave the batch.
    """

    def __init__(
        self,
        solver: "AbstractImplicitSolver",
        mixing: Mixing,
        equation: ImplicitEquation,
        x: Tensor,
        open_: Tensor | None,
        image: Tensor | None,
    ) -> None:
        self.stopping = solver.stopping
        self.cuts_batch = getattr(solver, "compaction", False) and not solver.history
        self.x = x
        self.whole = self.field = equation.field  # the latter for the examples that are left
        self.cuts: list[tuple[Solution, Tensor]] = []
        field = self.field
        h = float(equation.step_size)
        # Iterates in half precision could not differ by as little as a tolerance asks.
        self.keep = torch.promote_types(x.dtype, torch.float32)
        low = None if x.dtype == self.keep else x.dtype
        y = field.project(x).to(self.keep)
        rhs = field.project(equation.rhs).to(self.keep)
        begun = 1
        if solver.start == "explicit":
            first = _with_split(field, y.to(x.dtype), image)
            if first is None:
                first = first_image(field, y.to(x.dtype), solver.deterministic)
            y = rhs + h * first
            image = field.unsplit(y.to(x.dtype))
            begun = 2
        elif image is None:
            image = first_image(field.unsplit, y.to(x.dtype), solver.deterministic)
        self.eps = torch.finfo(image.dtype).eps
        kappa = mixing.damping * (float(equation.resolvent) if mixing.preconditioned else 1.0)
        # What is left of y in y + κr: nothing where the split is solved for and τ = 1.
        drift = 1 - mixing.damping * (1 if mixing.preconditioned else 1 - h * field.split)
        # An example of padding alone has no entries, and residuals of 0 rather than 0/0.
        root = field.sizes(y).clamp(min=1).sqrt()
        task = Task(
            kappa * rhs.flatten(1),
            kappa,
            kappa * h,
            drift,
            root,
            mixing,
            solver.stopping,
            open_,
            begun,
        )
        with _unwarned():
            self.stages = kernels.stages(task, y.flatten(1), image.flatten(1), low)

    @property
    def ledger(self) -> Ledger:
        """How each example stands."""
        return self.stages.ledger

    def advance(self, running: Any) -> None:
        """One iteration of the running examples."""
        with _unwarned():
            if self.cuts_batch:
                self._cut(running)
            stages = self.stages
            stages.mix()
            argument = stages.argument.view(-1, *self.x.shape[1:])
            stages.take_in(self.field.unsplit(argument).flatten(1))

    def outcome(self) -> Solution:
        """Where all examples stand, in the shape and precision of x."""
        solution = self._standing(self.stages)
        # The last cut is the innermost: each is put back into the batch that it was cut from.
        for before, kept in reversed(self.cuts):
            solution = scattered(before, solution, kept)
        state = solution.state.view_as(self.x).to(self.x.dtype)
        # Padding was zero inside; it comes back as it was given.
        mask = self.whole.mask
        if mask is not None:
            state = torch.where(mask[..., None], state, self.x)
        floor = self.eps * self.whole.rms(state.to(self.keep))
        remainder = solution.remainder
        if remainder is not None:
            remainder = remainder.view_as(self.x)
        return dataclasses.replace(solution, state=state, floor=floor, remainder=remainder)

    def _standing(self, stages: kernels.Stages) -> Solution:
        """Where the examples of these stages stand; the floor is that of the whole state, later."""
        ledger = stages.ledger
        with _unwarned():
            last, *numbers = ledger.outcome(self.stopping.keep_last)
        norm, status = (torch.as_tensor(number) for number in numbers)
        iterations = torch.as_tensor(ledger.iterations)
        evaluations = torch.as_tensor(ledger.evaluations)
        state = stages.outcome(last)
        floor = torch.zeros_like(norm)
        remainder = stages.remainder(last) if isinstance(stages, kernels.PlainStages) else None
        return Solution(state, status, norm, iterations, evaluations, floor, remainder=remainder)

    def _cut(self, running: Any) -> None:
        """Go on with the running examples alone, in the same memory, where that is worth it and the
        field can be cut.
        """
        stages = self.stages
        if not isinstance(stages, kernels.PlainStages) or isinstance(running, Tensor):
            return  # an accelerator would have to be asked in every iteration
        kept = torch.as_tensor(running).nonzero()[:, 0]
        smaller: AbstractVectorField | None = None
        if worth_cutting(len(kept), len(running)):
            smaller = self.field.take(kept)
        if smaller is not None:
            self.cuts.append((self._standing(stages), kept))
            self.field = smaller
            self.stages = stages.take(kept)


def _with_split(field: AbstractVectorField, y: Tensor, image: Tensor | None) -> Tensor | None:
    """f(y) of F(y), where that is known."""
    return None if image is None else field.project(image + field.split * y)


def _unwarned() -> np.errstate:
    """What is not finite is a status, and no warning of NumPy's."""
    return np.errstate(all="ignore")
