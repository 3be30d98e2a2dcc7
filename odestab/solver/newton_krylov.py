"""Newton's method with GMRES for the linear systems: the fallback where fixed-point iterations
fail.
"""

import dataclasses

import torch
from torch import Tensor

from odestab.krylov import gmres
from odestab.solver.base import AbstractImplicitSolver
from odestab.solver.equation import ImplicitEquation
from odestab.solver.iteration import Iterate
from odestab.solver.stopping import Stopping
from odestab.watch import Watch

BACKTRACKS = 10  # each at least halves the step: what helps below 1/1000 of it is no Newton step
SUFFICIENT_DECREASE = 1e-4  # Armijo's constant, as in Kelley 2003, section 1.6


@dataclasses.dataclass(frozen=True, init=False)
class NewtonKrylov(AbstractImplicitSolver):
    """y ← y + λ δ with (I − hJ(y)) δ ≈ r by GMRES (Knoll and Keyes 2004), λ by backtracking on
    RMS(r).

    Forward mode passes through the iteration; reverse mode does not (torch raises RuntimeError):
    use ImplicitAdjoint. The linear tolerance follows Eisenstat and Walker 1996, choice 2: η = 0.9
    (‖r_k‖/‖r_{k−1}‖)², at most `forcing`.

    Attributes:
        forcing: largest relative tolerance of a linear solve.
        max_inner: bound on the products in one linear solve.
        stopping: as every solver's; the patience is short, since Newton's method either makes
            progress or repeats itself.

    >>> import odestab as od
    >>> x = torch.ones(1, 2)
    >>> equation = od.ImplicitEquation(od.LinearVectorField(-0.5 * torch.eye(2)), x, 1.0)
    >>> od.NewtonKrylov().solve(equation, x).iterations
    tensor([1])
    """

    stopping: Stopping = Stopping(max_iterations=20, patience=2)
    forcing: float = 0.1
    max_inner: int = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.forcing < 1:
            raise ValueError(f"forcing must be in (0, 1), got {self.forcing}")
        if self.max_inner < 1:
            raise ValueError(f"max_inner must be >= 1, got {self.max_inner}")

    def advance(
        self, equation: ImplicitEquation, iterate: Iterate, memory: object
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One Newton step; every product with J and every trial of the line search counts one
        evaluation.
        """
        previous = (
            memory if isinstance(memory, Tensor) else torch.full_like(iterate.norm, torch.inf)
        )
        wanted = 0.9 * (iterate.norm / previous) ** 2
        # A linear solve below 1e-6 gains nothing that the next Newton step does not.
        forcing = wanted.nan_to_num(self.forcing).clamp(1e-6, self.forcing)
        # The first step has no rate to go by.
        forcing = torch.where(previous.isinf(), self.forcing, forcing)
        shape = iterate.y.shape
        open_ = iterate.open.view(-1, *(1 for _ in shape[1:]))
        # An example that has ended asks GMRES for nothing.
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
    y = iterate.y
    r = iterate.r
    image = iterate.r
    scale = torch.ones_like(iterate.norm)
    square = iterate.norm**2
    searching = iterate.open
    trials = torch.zeros_like(iterate.norm, dtype=torch.long)
    watch = Watch(step.device)
    for _ in range(BACKTRACKS):
        trial = torch.where(searching.view(expand), iterate.y + scale.view(expand) * step, y)
        image = equation.residual(trial)
        trials = trials + searching
        norm = equation.field.rms(image)
        accepted = searching & (norm <= (1 - SUFFICIENT_DECREASE * scale) * iterate.norm)
        y = torch.where(accepted.view(expand), trial, y)
        r = torch.where(accepted.view(expand), image, r)
        searching = searching & ~accepted
        if watch.none(searching):
            break
        bend = norm**2 - square + 2 * square * scale
        share = square * scale / bend.clamp(min=torch.finfo(bend.dtype).tiny)
        # Within a tenth and a half of the last step (Kelley 2003): a parabola is not trusted
        # further.
        scale = scale * share.nan_to_num(0.1).clamp(0.1, 0.5)
    lost = (searching & ~equation.field.rms(image).isfinite()).view(expand)  # for the loop to see
    return y, torch.where(lost, image, r), trials
