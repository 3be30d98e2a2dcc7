"""The loop of fixed-point iterations where no gradient is recorded: everything in place, one pass over the state for each stage."""

import numpy as np
import torch
from torch import Tensor

from odestab.solver import kernels
from odestab.solver.equation import ImplicitEquation, first_image
from odestab.solver.kernels import Task
from odestab.solver.ledger import Rules, namespace
from odestab.solver.mixing import Mixing
from odestab.solver.solution import Solution
from odestab.vector_field import AbstractVectorField


def records_nothing(equation: ImplicitEquation, x: Tensor) -> bool:
    """Whether a solve may work in place: nobody differentiates or transforms it, and h is one number."""
    h = equation.step_size
    return not (
        torch.is_grad_enabled()
        or torch._C._are_functorch_transforms_active()
        or torch.autograd.forward_ad._current_level >= 0
        or (isinstance(h, Tensor) and h.numel() > 1)
        or x.dtype not in (torch.float32, torch.float64)
    )


def accelerate(rules: Rules, mixing: Mixing, equation: ImplicitEquation, x: Tensor, open_: Tensor | None) -> Solution:
    """Solve from x: the same iterates as those of the loop that records, to rounding."""
    field, h = equation.field, float(equation.step_size)
    y, rhs, begun = field.project(x), field.project(equation.rhs), 1
    if rules.start == "explicit":
        y, begun = rhs + h * first_image(field, y, rules.deterministic), 2
        image = field.unsplit(y)
    else:
        image = first_image(field.unsplit, y, rules.deterministic)
    kappa = mixing.damping / (1 - h * field.split) if mixing.preconditioned else mixing.damping
    drift = 1 - mixing.damping * (1 if mixing.preconditioned else 1 - h * field.split)
    root = field.sizes(x).clamp(min=1).sqrt()
    task = Task(kappa * rhs.flatten(1), kappa, kappa * h, drift, root, mixing, rules, open_, begun)
    with np.errstate(all="ignore"):  # what is not finite is a status
        return _iterate(task, field, x, y, image)


def _iterate(task: Task, field: AbstractVectorField, x: Tensor, y: Tensor, image: Tensor) -> Solution:
    rules, stages = task.rules, kernels.stages(task, y.flatten(1), image.flatten(1))
    norms = [stages.ledger.norm]
    for _ in range(rules.iteration_limit):
        running = stages.ledger.running
        if not bool(running.any()):
            break
        stages.mix()
        stages.take_in(field.unsplit(stages.y.view_as(x)).flatten(1))
        if rules.history:
            norms.append(namespace(running).where(running, stages.ledger.norm, torch.nan))
    last, norm, status = stages.ledger.outcome(rules.keeps_last)
    state = stages.outcome(last).view_as(x)
    if field.mask is not None:
        state = torch.where(field.mask[..., None], state, x)
    ledger = stages.ledger
    status, norm, iterations, evaluations = (torch.as_tensor(one) for one in (status, norm, ledger.iterations, ledger.evaluations))
    history = torch.stack([torch.as_tensor(one) for one in norms], 1) if rules.history else None
    return Solution(state, status, norm, iterations, evaluations, history)
