"""Several steps of one method in a row, each begun near where it ends."""

import torch
from jaxtyping import Float
from torch import Tensor

from odestab.adjoint import UnrolledAdjoint
from odestab.fields.from_anything import FieldLike, as_field
from odestab.solver.solution import choose
from odestab.steps.one_step import AbstractOneStepMethod, ImplicitEuler, Step, require_method


def march(
    method: AbstractOneStepMethod, field: FieldLike, x: Float[Tensor, "batch *event"], count: int
) -> list[Step]:
    """The steps y_{k+1} = y_k + h f(y_{k+1}) from y_0 = x, or those of another method.

    A solve of implicit Euler begins at y_k + h f(y_k), after two steps at y_k + 2 h f(y_k) − h
    f(y_{k−1}), which is y_{k+1} to second order, unless h f changes by more than itself: both are
    known of the solves before. Where such a start meets the tolerance the step costs one
    evaluation. What is differentiated as it iterates, or takes a given number of
    iterations, begins at y_k: there the start is part of the result.

    Args:
        method: of each step.
        field: f, whatever `od.field` takes.
        x: where the first step begins.
        count: how many steps.

    Raises:
        ValueError: if count < 1.

    >>> decay = od.LinearVectorField(-torch.eye(1).double())
    >>> method = od.ImplicitEuler(1 / 8, solver=od.Auto(rtol=1e-2))
    >>> steps = od.march(method, decay, torch.ones(1, 1).double(), 8)
    >>> [step.solution.evaluations.item() for step in steps]
    [3, 2, 1, 1, 1, 1, 1, 1]
    """
    require_method(method)
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"count must be an integer >= 1, got {count!r}")
    field = as_field(field, x)
    predicts = (
        isinstance(method, ImplicitEuler)
        and not isinstance(method.adjoint, UnrolledAdjoint)
        and method.solver.start == "state"
        and not method.solver.keeps_last
    )
    steps: list[Step] = []
    increments: list[Tensor] = []  # h f of the last two states
    state = x
    for _ in range(count):
        step = method.step(field, state, _predicted(state, increments))
        if predicts:
            increments = [*increments[-1:], _increment(state, step)]
        state = step.state
        steps.append(step)
    return steps


def _predicted(state: Tensor, increments: list[Tensor]) -> Tensor | None:
    """Where the next step ends, to the order that is known."""
    if not increments:
        return None
    if len(increments) == 1:
        return state.detach() + increments[0]
    before, now = increments
    change = now - before
    # h f that changes by more than itself, as in fast transients, is no ground to extrapolate from
    smooth = change.flatten(1).norm(dim=1) <= now.flatten(1).norm(dim=1)
    return choose(smooth, state.detach() + now + change, state.detach())


def _increment(state: Tensor, step: Step) -> Tensor:
    """h f at the end of a step of implicit Euler; 0 where it was not solved: that foretells
    nothing.
    """
    move = step.state.detach() - state.detach()
    remainder = None if step.solution is None else step.solution.remainder
    # a remainder of half precision is kept in single
    increment = move if remainder is None else move + remainder.to(move.dtype)
    if step.solution is None:
        return increment
    return choose(step.solution.converged, increment, torch.zeros_like(increment))
