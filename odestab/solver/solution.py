"""What a solve reports, per example."""

import dataclasses
import enum
from collections.abc import Mapping
from types import MappingProxyType

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Status(enum.IntEnum):
    """How the solve of one example ended.

    >>> Status(2).name, Status(2).sentence
    ('STALLED', 'The residual no longer falls.')
    """

    CONVERGED = 0
    MAX_ITERATIONS = 1
    STALLED = 2
    DIVERGED = 3
    NON_FINITE = 4
    ILL_POSED = 5

    @property
    def sentence(self) -> str:
        """What happened."""
        return _WORDS[self][0]

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return _WORDS[self][1]


_WORDS: Mapping[Status, tuple[str, str]] = MappingProxyType(
    {
        Status.CONVERGED: ("The residual is within the tolerance.", "Nothing is to be done."),
        Status.MAX_ITERATIONS: (
            "The iterations ran out before the residual was within the tolerance.",
            "Allow more max_iterations, or take Auto.",
        ),
        Status.STALLED: (
            "The residual no longer falls.",
            "Loosen rtol or compute in a higher precision where `at_floor` holds; take Auto "
            "elsewhere.",
        ),
        Status.DIVERGED: (
            "The residual grew to more than ten thousand times the first one.",
            "Take Auto, or a smaller step size.",
        ),
        Status.NON_FINITE: (
            "The residual is not a finite number.",
            "Look for NaN and infinity in the state and in f; else take a smaller step size.",
        ),
        Status.ILL_POSED: (
            "No solution near the best iterate depends smoothly on the right-hand side; one may "
            "lie elsewhere.",
            "Take a smaller step size, or begin elsewhere (`guess`); another solver helps only if "
            "it leaves this neighbourhood.",
        ),
    }
)


class SolveError(RuntimeError):
    """Raised by `Solution.raise_for_status`.

    >>> import odestab as od
    >>> issubclass(od.SolveError, RuntimeError)
    True
    """


@dataclasses.dataclass(frozen=True, eq=False)
class Solution:
    """The outcome of a solve, per example.

    Attributes:
        state: y, `(batch, ...)`: the converged iterate, else the best one (the last one of a solver
            that keeps the last).
        status: a `Status` value each.
        residual: RMS(b + h f(y) − y) over real tokens at the returned y, unpreconditioned.
        iterations: steps of the solver while the example was open.
        evaluations: of f while the example was open; a product with J or Jᵀ counts one.
        floor: eps·RMS(y) with the eps of what f returned: a residual that stalls near it is
            rounding in f, no failure of the solver.
        history: RMS(r) of the start and after every iteration, NaN once an example has ended; None
            unless it was asked for.
        remainder: b + h f(y) − y at the returned y, as the last evaluation left it, so that h f(y)
            is known without another; 0 for an example that returns an earlier iterate, None where
            fused kernels ran.

    >>> import odestab as od
    >>> x = torch.ones(1, 2)
    >>> equation = od.ImplicitEquation(od.LinearVectorField(-0.5 * torch.eye(2)), x, 1.0)
    >>> od.FixedPoint(max_iterations=1).solve(equation, x).status
    tensor([1])
    """

    state: Float[Tensor, "batch *event"]
    status: Int[Tensor, " batch"]
    residual: Float[Tensor, " batch"]
    iterations: Int[Tensor, " batch"]
    evaluations: Int[Tensor, " batch"]
    floor: Float[Tensor, " batch"]
    history: Float[Tensor, "batch iterations"] | None = None
    remainder: Float[Tensor, "batch *event"] | None = None

    @property
    def converged(self) -> Bool[Tensor, " batch"]:
        """status = CONVERGED."""
        return self.status == Status.CONVERGED

    @property
    def at_floor(self) -> Bool[Tensor, " batch"]:
        """Whether the residual is within ten times what rounding in f can leave."""
        return self.residual <= 10 * self.floor

    def raise_for_status(self) -> None:
        """Raise SolveError, naming the examples, unless all converged."""
        failed = (~self.converged).nonzero()[:, 0].tolist()
        if failed:
            listed = ", ".join(
                f"{i}: {Status(int(self.status[i])).name} (residual {self.residual[i]:.1e})"
                for i in failed[:8]
            )
            kinds = [Status(status) for status in sorted(set(self.status[failed].tolist()))]
            words = " ".join(f"{kind.name}: {kind.sentence} {kind.remedy}" for kind in kinds)
            raise SolveError(
                f"{len(failed)} of {len(self.status)} implicit solves did not converge: {listed}. "
                f"{words}"
            )


# what every solution has, with a row for each example
PER_EXAMPLE = ("state", "status", "residual", "iterations", "evaluations", "floor")


def choose(condition: Bool[Tensor, " batch"], new: Tensor, old: Tensor) -> Tensor:
    """Per example: new where the condition holds, else old."""
    return torch.where(condition.view(-1, *(1 for _ in new.shape[1:])), new, old)


def history_of(
    norms: list[Tensor], iterations: Int[Tensor, " batch"]
) -> Float[Tensor, "batch iterations"]:
    """The residuals of the start and of every iteration side by side, without iterations in which
    nothing ran any more.
    """
    return torch.stack(norms[: 1 + int(iterations.max())] if len(iterations) else norms, 1)


def scattered(whole: Solution, part: Solution, kept: Int[Tensor, " chosen"]) -> Solution:
    """A solution with some of its examples replaced; its history is kept."""
    replaced = {name: _put(getattr(whole, name), kept, getattr(part, name)) for name in PER_EXAMPLE}
    remainder = None
    if whole.remainder is not None and part.remainder is not None:
        remainder = _put(whole.remainder, kept, part.remainder)
    return dataclasses.replace(whole, **replaced, remainder=remainder)


def _put(values: Tensor, kept: Tensor, part: Tensor) -> Tensor:
    """Some rows replaced; stages of a solver may work in precisions of their own."""
    return values.index_copy(0, kept, part.to(values.dtype))


def joined(before: Solution, after: Solution, open_: Bool[Tensor, " batch"]) -> Solution:
    """The later stage's outcome where it ran, with the better of the two states; its cost is
    added.
    """
    better = open_ & ~(after.residual > before.residual)
    parts = [stage.history for stage in (before, after) if stage.history is not None]
    remainder = None
    if before.remainder is not None and after.remainder is not None:
        remainder = choose(better, after.remainder, before.remainder)
    return Solution(
        choose(better, after.state, before.state),
        torch.where(open_, after.status, before.status),
        torch.where(better, after.residual, before.residual),
        before.iterations + torch.where(open_, after.iterations, 0),
        before.evaluations + torch.where(open_, after.evaluations, 0),
        torch.where(better, after.floor, before.floor),
        torch.cat(parts, 1) if parts else None,
        remainder,
    )
