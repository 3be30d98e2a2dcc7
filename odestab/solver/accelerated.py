"""The loop of fixed-point iterations where no gradient is recorded: everything in place, one pass
over the state for each stage.

The state and what is kept of earlier ones are float32 or float64; f is evaluated in the precision
of the state that was given, or in that of autocast.
"""

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor

from odestab.fields.vector_field import AbstractVectorField
from odestab.solver import kernels
from odestab.solver.equation import ImplicitEquation, first_image, in_forward_mode, in_transform
from odestab.solver.kernels import Task
from odestab.solver.ledger import Rules, namespace
from odestab.solver.mixing import Mixing
from odestab.solver.solution import Solution, history_of, scattered
from odestab.watch import Watch

# where one example in so many has ended, cutting the batch moves less than the evaluations that it
# saves
ENDED = 8


def records_nothing(equation: ImplicitEquation, x: Tensor) -> bool:
    """Whether a solve may work in place: nobody differentiates or transforms it, and h is one
    number.
    """
    h = equation.step_size
    one_number = not isinstance(h, Tensor) or h.numel() == 1
    return one_number and not (torch.is_grad_enabled() or in_transform() or in_forward_mode())


def worth_cutting(kept: int, batch: int) -> bool:
    """Whether evaluations of these examples alone are enough cheaper than those of the whole
    batch.
    """
    return ENDED * (batch - kept) >= batch


def accelerate(
    rules: Rules, mixing: Mixing, equation: ImplicitEquation, x: Tensor, open_: Tensor | None
) -> Solution:
    """Solve from x: the same iterates as those of the loop that records, to rounding."""
    field, h, begun = equation.field, float(equation.step_size), 1
    keep = torch.promote_types(x.dtype, torch.float32)
    low = None if x.dtype == keep else x.dtype
    y, rhs = field.project(x).to(keep), field.project(equation.rhs).to(keep)
    if rules.start == "explicit":
        y, begun = rhs + h * first_image(field, y.to(x.dtype), rules.deterministic), 2
        image = field.unsplit(y.to(x.dtype))
    else:
        image = first_image(field.unsplit, y.to(x.dtype), rules.deterministic)
    kappa = mixing.damping * (float(equation.resolvent) if mixing.preconditioned else 1.0)
    drift = 1 - mixing.damping * (1 if mixing.preconditioned else 1 - h * field.split)
    root = field.sizes(y).clamp(min=1).sqrt()
    task = Task(kappa * rhs.flatten(1), kappa, kappa * h, drift, root, mixing, rules, open_, begun)
    with np.errstate(all="ignore"):  # what is not finite is a status
        found = _iterate(rules, field, x, kernels.stages(task, y.flatten(1), image.flatten(1), low))
    state = found.state.view_as(x).to(x.dtype)
    if field.mask is not None:
        state = torch.where(field.mask[..., None], state, x)
    return dataclasses.replace(
        found, state=state, floor=torch.finfo(image.dtype).eps * field.rms(state.to(keep))
    )


def _iterate(
    rules: Rules, field: AbstractVectorField, x: Tensor, stages: kernels.Stages
) -> Solution:
    """Iterate to the end of every example; the state is flat, and zero on padding."""
    norms, watch, shape = [stages.ledger.norm], Watch(x.device), x.shape[1:]
    cuts: list[tuple[Solution, Tensor]] = []
    for _ in range(rules.iteration_limit):
        running = stages.ledger.running
        if watch.none(running):
            break
        cut = _compacted(field, running, stages) if rules.compaction and not rules.history else None
        if cut is not None:
            kept, field, whole = cut
            cuts.append((_solution(rules, whole, norms), kept))
            stages = whole.take(kept)  # in the same memory
        stages.mix()
        stages.take_in(field.unsplit(stages.argument.view(-1, *shape)).flatten(1))
        if rules.history:
            norms.append(namespace(running).where(running, stages.ledger.norm, torch.nan))
    found = _solution(rules, stages, norms)
    for before, kept in reversed(cuts):
        found = scattered(before, found, kept)
    return found


def _solution(rules: Rules, stages: kernels.Stages, norms: list[Any]) -> Solution:
    ledger = stages.ledger
    last, norm, status = ledger.outcome(rules.keeps_last)
    numbers = (
        torch.as_tensor(one) for one in (status, norm, ledger.iterations, ledger.evaluations)
    )
    status, norm, iterations, evaluations = numbers
    history = (
        history_of([torch.as_tensor(one) for one in norms], iterations) if rules.history else None
    )
    unknown = torch.zeros_like(norm)  # the floor is that of the state in its own precision
    return Solution(stages.outcome(last), status, norm, iterations, evaluations, unknown, history)


def _compacted(
    field: AbstractVectorField, running: Any, stages: kernels.Stages
) -> tuple[Tensor, AbstractVectorField, kernels.PlainStages] | None:
    """Which examples are running, and the field for them alone, where it is worth going on with
    these and the field can be cut.
    """
    if not isinstance(stages, kernels.PlainStages) or isinstance(running, Tensor):
        return None  # an accelerator would have to be asked in every iteration
    kept = torch.as_tensor(running).nonzero()[:, 0]
    smaller = field.take(kept) if worth_cutting(len(kept), len(running)) else None
    return None if smaller is None else (kept, smaller, stages)
