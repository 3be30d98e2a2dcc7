"""Newton's method with GMRES for the linear systems: the fallback where fixed-point iterations
fail.
"""

import dataclasses

import torch
from torch import Tensor

from odestab.krylov import gmres
from odestab.solver.base import AbstractImplicitSolver, Iterate
from odestab.solver.equation import ImplicitEquation
from odestab.watch import Watch

BACKTRACKS = 10
SUFFICIENT_DECREASE = 1e-4


@dataclasses.dataclass(frozen=True, kw_only=True)
class NewtonKrylov(AbstractImplicitSolver):
    """y ← y + λ δ with (I − hJ(y)) δ ≈ r by GMRES (Knoll and Keyes 2004), λ by backtracking on
    RMS(r).

    Forward mode passes through the iteration; reverse mode does not (torch raises RuntimeError):
    use ImplicitAdjoint. The linear tolerance follows Eisenstat and Walker 1996, choice 2: η = 0.9
    (‖r_k‖/‖r_{k−1}‖)², at most `forcing`.

    Attributes:
        forcing: largest relative tolerance of a linear solve.
        max_inner: bound on the products in one linear solve.
        patience: Newton's method either makes progress or repeats itself.
    """

    max_iterations: int = 20
    patience: int = 2
    forcing: float = 0.1
    max_inner: int = 200

    def advance(
        self, equation: ImplicitEquation, iterate: Iterate, memory: object
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One Newton step; every product with J and every trial of the line search counts one
        evaluation.
        """
        previous = (
            memory if isinstance(memory, Tensor) else torch.full_like(iterate.norm, torch.inf)
        )
        forcing = (
            (0.9 * (iterate.norm / previous) ** 2)
            .nan_to_num(self.forcing)
            .clamp(1e-6, self.forcing)
        )
        forcing = torch.where(previous.isinf(), self.forcing, forcing)
        shape, open_ = iterate.y.shape, iterate.open.view(-1, *(1 for _ in iterate.y.shape[1:]))
        rhs = torch.where(open_, iterate.r, 0.0).flatten(1)
        product = equation.linearized(iterate.y)
        solved = gmres(lambda v: product(v.view(shape)).flatten(1), rhs, forcing, self.max_inner)
        y, r, trials = _line_search(equation, iterate, solved.solution.view(shape))
        return y, r, iterate.norm, solved.iterations + trials


def _line_search(
    equation: ImplicitEquation, iterate: Iterate, step: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Shorten the step until RMS(r) falls; an example without such a step stays where it is, and
    the loop sees it stall.

    Each trial goes to the minimum of the parabola through ‖r‖² at the ends, with the slope −2‖r‖²
    of a Newton step at its beginning (Kelley 2003, section 1.6): where there is no solution that is
    how a local minimum of the residual is found.
    """
    expand = (-1, *(1 for _ in iterate.y.shape[1:]))
    y, r, scale, square = iterate.y, iterate.r, torch.ones_like(iterate.norm), iterate.norm**2
    searching, trials, image = (
        iterate.open,
        torch.zeros_like(iterate.norm, dtype=torch.long),
        iterate.r,
    )
    watch = Watch(step.device)
    for _ in range(BACKTRACKS):
        trial = torch.where(searching.view(expand), iterate.y + scale.view(expand) * step, y)
        image = equation.residual(trial)
        trials = trials + searching
        norm = equation.field.rms(image)
        accepted = searching & (norm <= (1 - SUFFICIENT_DECREASE * scale) * iterate.norm)
        y, r = (
            torch.where(accepted.view(expand), trial, y),
            torch.where(accepted.view(expand), image, r),
        )
        searching = searching & ~accepted
        if watch.none(searching):
            break
        bend = norm**2 - square + 2 * square * scale
        share = (
            (square * scale / bend.clamp(min=torch.finfo(bend.dtype).tiny))
            .nan_to_num(0.1)
            .clamp(0.1, 0.5)
        )
        scale = scale * share
    lost = (searching & ~equation.field.rms(image).isfinite()).view(expand)  # for the loop to see
    return y, torch.where(lost, image, r), trials
