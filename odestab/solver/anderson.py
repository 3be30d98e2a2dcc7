"""Anderson acceleration of the resolvent fixed-point iteration."""

import dataclasses

import torch
from torch import Tensor

from odestab.solver.base import AbstractImplicitSolver, ImplicitEquation, Iterate


@dataclasses.dataclass(frozen=True, eq=False)
class _History:
    """Differences of iterates and of preconditioned residuals, newest last; a row of zeros carries no information."""

    y: Tensor
    p: Tensor
    dy: Tensor  # (batch, m, n)
    dp: Tensor
    best: Tensor  # (batch,)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Anderson(AbstractImplicitSolver):
    """y ← y + p − (ΔY + ΔP) γ with γ = argmin ‖p − ΔP γ‖ and p = r/(1 − hc), per example (Walker and Ni 2011, type II).

    On linear problems with unbounded memory this is GMRES. The least-squares problem is solved by its equilibrated normal equations
    with a ridge relative to them, so that it does not depend on the scale of the residual.

    Attributes:
        memory: how many differences are kept.
        preconditioned: treat the split c of the field exactly; False mixes plain Picard steps.
        growth_limit: forget the memory where the residual exceeds this multiple of the best one.

    Raises:
        ValueError: if memory < 1.
    """

    memory: int = 5
    preconditioned: bool = True
    growth_limit: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.memory < 1:
            raise ValueError(f"memory must be >= 1, got {self.memory}")

    def advance(self, equation: ImplicitEquation, iterate: Iterate, memory: object) -> tuple[Tensor, Tensor, _History, int]:
        """One iteration, one evaluation."""
        y, p = iterate.y.flatten(1), (equation.resolvent if self.preconditioned else 1.0) * iterate.r.flatten(1)
        history = self._remember(memory if isinstance(memory, _History) else None, y, p, iterate.norm)
        y = (y + p - _mixing(history)).view_as(iterate.y)
        return y, equation.residual(y), history, 1

    def _remember(self, old: _History | None, y: Tensor, p: Tensor, norm: Tensor) -> _History:
        """Append the newest differences; forget all where the residual has grown too much or is not finite."""
        if old is None:
            empty = y[:, None, :].new_zeros(y.shape[0], 0, y.shape[1])
            return _History(y, p, empty, empty, norm)
        sane = (norm <= self.growth_limit * old.best)[:, None, None]
        dy = torch.cat([old.dy, (y - old.y)[:, None]], 1)[:, -self.memory :]
        dp = torch.cat([old.dp, (p - old.p)[:, None]], 1)[:, -self.memory :]
        return _History(y, p, torch.where(sane, dy, 0.0), torch.where(sane, dp, 0.0), torch.minimum(old.best, norm))


def _mixing(history: _History) -> Tensor:
    """(ΔY + ΔP) γ, zero where there is no history."""
    dp = history.dp
    if dp.shape[1] == 0:
        return torch.zeros_like(history.p)
    gram = torch.bmm(dp, dp.mT).double()
    target = torch.bmm(dp, history.p[..., None]).double()
    size = torch.diagonal(gram, 0, 1, 2)
    scale = torch.where(size > 0, torch.where(size > 0, size, 1.0).rsqrt(), 0.0)  # twice: the gradient of rsqrt at 0 is not finite
    ridge = 10 * torch.finfo(dp.dtype).eps * torch.eye(dp.shape[1], dtype=gram.dtype, device=gram.device)
    solved, _ = torch.linalg.solve_ex(scale[:, :, None] * gram * scale[:, None, :] + ridge, scale[..., None] * target)
    gamma = (scale[..., None] * solved).to(dp.dtype)
    return torch.bmm(gamma.mT, history.dy + dp)[:, 0]
