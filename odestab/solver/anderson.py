"""Anderson acceleration of the resolvent fixed-point iteration."""

import dataclasses

import torch
from torch import Tensor

from odestab.precision import own_precision
from odestab.solver.base import AbstractImplicitSolver, Iterate
from odestab.solver.equation import ImplicitEquation
from odestab.solver.mixing import Mixing, coefficients


@dataclasses.dataclass(frozen=True, eq=False)
class _History:
    """Differences of iterates and of their moves, newest first; a row of zeros carries no
    information.
    """

    y: Tensor
    p: Tensor
    dy: Tensor  # (batch, m, n)
    dp: Tensor
    norm: Tensor  # (batch,)
    best: Tensor
    slow: Tensor
    count: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Anderson(AbstractImplicitSolver):
    """y ← y + p − (ΔY + ΔP) γ with γ = argmin ‖p − ΔP γ‖ and p = τ r/(1 − hc), per example (Walker
    and Ni 2011, type II).

    On linear problems with unbounded memory this is GMRES. The least-squares problem is solved by
    its equilibrated normal equations with a ridge relative to them, so that it does not depend on
    the scale of the residual.

    Attributes:
        memory: how many differences are kept.
        damping: τ.
        preconditioned: treat the split c of the field exactly; False mixes plain Picard steps.
        ridge: relative to the equilibrated Gram matrix, in units of eps.
        drop: differences this near to the span of newer ones are dropped, in units of eps, and
            older ones with them.
        cap: largest sum of the moduli of the mixing weights; beyond it the step is not mixed.
        period: mix at every so many-th iteration.
        rate: mix only where the residual fell to no less than this share in the last iteration; 0
            mixes always.
        growth_limit: forget the memory where the residual exceeds this multiple of the best one.

    Raises:
        ValueError: if memory < 1 or another option is outside what it means.
    """

    memory: int = 5
    damping: float = 1.0
    preconditioned: bool = True
    ridge: float = 10.0
    drop: float = 100.0
    cap: float = 1e4
    period: int = 1
    rate: float = 0.0
    growth_limit: float = 100.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.memory < 1:
            raise ValueError(f"memory must be >= 1, got {self.memory}")
        _ = self.mixing

    @property
    def mixing(self) -> Mixing:
        """The same options as the loop without gradients takes them."""
        names = (field.name for field in dataclasses.fields(Mixing))
        return Mixing(**{name: getattr(self, name) for name in names})

    def advance(
        self, equation: ImplicitEquation, iterate: Iterate, memory: object
    ) -> tuple[Tensor, Tensor, _History, int]:
        """One iteration, one evaluation."""
        factor = self.damping * (equation.resolvent if self.preconditioned else 1.0)
        y, p = iterate.y.flatten(1), factor * iterate.r.flatten(1)
        history = self._remember(
            memory if isinstance(memory, _History) else None, y, p, iterate.norm
        )
        y = (y + p - self._mixed(history)).view_as(iterate.y)
        return y, equation.residual(y), history, 1

    def _remember(self, old: _History | None, y: Tensor, p: Tensor, norm: Tensor) -> _History:
        """Put the newest differences in front; forget all where the residual has grown too much or
        is not finite.
        """
        if old is None:
            empty = y[:, None, :].new_zeros(y.shape[0], 0, y.shape[1])
            return _History(y, p, empty, empty, norm, norm, norm >= 0, 0)
        sane = (norm <= self.growth_limit * old.best)[:, None, None]
        dy = torch.cat([(y - old.y)[:, None], old.dy], 1)[:, : self.memory]
        dp = torch.cat([(p - old.p)[:, None], old.dp], 1)[:, : self.memory]
        best, slow = torch.minimum(old.best, norm), norm > self.rate * old.norm
        return _History(
            y,
            p,
            torch.where(sane, dy, 0.0),
            torch.where(sane, dp, 0.0),
            norm,
            best,
            slow,
            old.count + 1,
        )

    def _mixed(self, history: _History) -> Tensor:
        """(ΔY + ΔP) γ, zero where there is no history."""
        dp = history.dp
        if dp.shape[1] == 0 or history.count % self.period:
            return torch.zeros_like(history.p)
        with own_precision(dp):
            return self._combined(history)

    def _combined(self, history: _History) -> Tensor:
        dp = history.dp
        gram = torch.bmm(dp, dp.mT).double()
        target = torch.bmm(dp, history.p[..., None])[..., 0].double()
        known, own = torch.ones_like(target, dtype=torch.bool), torch.diagonal(gram, 0, 1, 2)
        gamma = coefficients(gram, target, known, own, torch.finfo(dp.dtype).eps, self.mixing).to(
            dp.dtype
        )
        gamma = torch.where(history.slow[:, None], gamma, 0.0)
        return torch.bmm(gamma[:, None], history.dy + dp)[:, 0]
