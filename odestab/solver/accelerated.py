"""The loop of fixed-point iterations where no gradient is recorded: everything in place, one pass over the state for each stage."""

import math

import torch
from torch import Tensor

from odestab.solver.equation import ImplicitEquation, first_image
from odestab.solver.kernels import PlainStages
from odestab.solver.ledger import Ledger, Rules
from odestab.solver.mixing import Mixing
from odestab.solver.solution import Solution


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
    """Solve from x, with the ledger of the recorded loop."""
    field, h = equation.field, float(equation.step_size)
    kappa = mixing.damping / (1 - h * field.split) if mixing.preconditioned else mixing.damping
    drift = 1 - mixing.damping * (1 if mixing.preconditioned else 1 - h * field.split)
    y, rhs, image, begun = field.project(x), field.project(equation.rhs), None, 1
    if rules.start == "explicit":
        y, begun = rhs + h * first_image(field, y, rules.deterministic), 2
    else:
        image = first_image(field.unsplit, y, rules.deterministic)
    stages = PlainStages(y.flatten(1), kappa * rhs.flatten(1), mixing, (kappa, kappa * h, drift))
    root = field.sizes(x).clamp(min=1).sqrt()
    ledger, norms = None, []
    for iteration in range(rules.iteration_limit + 1):
        image = field.unsplit(stages.y.view_as(x)) if image is None else image
        norm, size = (length / root for length in stages.measure(image.flatten(1)))
        image = None
        running = ledger.running if ledger is not None else torch.ones_like(norm, dtype=torch.bool)
        if ledger is None:
            ledger = Ledger.begin(rules, norm, size, open_, begun)
        else:
            before, ledger = ledger, ledger.after(rules, norm, size, 1)
            forget = running & ~(ledger.norm <= mixing.growth_limit * before.best)
            stages.judge(running, ledger.best < before.best, forget)
        norms.append(torch.where(running, ledger.norm, math.nan))
        if iteration == rules.iteration_limit or not bool(ledger.running.any()):
            break
        stages.mix(ledger.running)
    assert ledger is not None
    last, norm, status = ledger.outcome(rules.keeps_last)
    state = stages.outcome(last).view_as(x)
    if field.mask is not None:
        state = torch.where(field.mask[..., None], state, x)
    return Solution(state, status, norm, ledger.iterations, ledger.evaluations, torch.stack(norms, 1) if rules.history else None)
