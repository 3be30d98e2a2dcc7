"""Fixed-point iterations: plain, damped, with the resolvent of the field's linear part, and with
memory (Anderson).
"""

import dataclasses
from typing import ClassVar

import torch
from torch import Tensor

from odestab.precision import own_precision
from odestab.solver.base import AbstractImplicitSolver
from odestab.solver.equation import ImplicitEquation
from odestab.solver.iteration import Iterate
from odestab.solver.mixing import Memory, Mixing


@dataclasses.dataclass(frozen=True, eq=False)
class _Past:
    """An iterate and its move with the differences before them, newest first; a row of zeros
    carries no information.
    """

    # `PlainStages` keeps images and moves in rings instead, and shares no more than `Memory` with
    # this. Differences kept in rings would be written once more and their terms read once more in
    # every iteration, and autograd follows no ring that is written to. Rings copied for autograd
    # would give differences of products here, whose rounding is that of whole moves: near
    # convergence they lose what differences taken first still tell.
    y: Tensor
    p: Tensor
    dy: Tensor  # (batch, m, n)
    dp: Tensor
    norm: Tensor  # (batch,)
    best: Tensor
    memory: Memory


@dataclasses.dataclass(frozen=True, init=False)
class AbstractFixedPointIteration(AbstractImplicitSolver):
    """y ← y + p − (ΔY + ΔP) γ with p = τ r/(1 − hc) and γ = argmin ‖p − ΔP γ‖ over the last
    `memory` differences; without memory y ← y + p.

    Attributes:
        mixing: the moves and how they are mixed.
        compaction: without gradients, on a CPU, go on with the running examples alone once an
            eighth of them has ended, if the field can be cut (`take`). Faster; results then depend
            on batch mates by rounding.
    """

    mixing: Mixing = Mixing(memory=0)
    compaction: bool = False

    def advance(
        self, equation: ImplicitEquation, iterate: Iterate, memory: object
    ) -> tuple[Tensor, Tensor, object, int]:
        """One iteration, one evaluation."""
        kappa = self.mixing.damping * (equation.resolvent if self.mixing.preconditioned else 1.0)
        y = iterate.y.flatten(1)
        p = (kappa * iterate.r).flatten(1)
        past = None
        if self.mixing.memory:
            past = self._remember(memory if isinstance(memory, _Past) else None, y, p, iterate.norm)
        following = y + p if past is None else y + p - self._mixed(past)
        following = following.view_as(iterate.y)
        return following, equation.residual(following), past, 1

    def _remember(self, old: _Past | None, y: Tensor, p: Tensor, norm: Tensor) -> _Past:
        """Put the newest differences in front, or forget all."""
        if old is None:
            empty = y[:, None, :].new_zeros(y.shape[0], 0, y.shape[1])
            return _Past(y, p, empty, empty, norm, norm, Memory.begin(norm))
        memory = old.memory.after(self.mixing, norm, old.norm, old.best)
        dy = torch.cat([(y - old.y)[:, None], old.dy], 1)[:, : self.mixing.memory]
        dp = torch.cat([(p - old.p)[:, None], old.dp], 1)[:, : self.mixing.memory]
        # what is forgotten may not be finite, which no weight of 0 would hide
        kept = (memory.remembered > 0)[:, None, None]
        dy = torch.where(kept, dy, 0.0)
        dp = torch.where(kept, dp, 0.0)
        return _Past(y, p, dy, dp, norm, torch.minimum(old.best, norm), memory)

    def _mixed(self, past: _Past) -> Tensor:
        """(ΔY + ΔP) γ, zero where there is no history."""
        dp = past.dp
        # at the start, and between two mixed iterations, there is nothing to compute
        if dp.shape[1] == 0 or past.memory.iteration % self.mixing.period:
            return torch.zeros_like(past.p)
        with own_precision(dp):
            # In double, so that the elimination adds no rounding to that of the products.
            gram = torch.bmm(dp, dp.mT).double()
            target = torch.bmm(dp, past.p[..., None])[..., 0].double()
            # A difference that was taken before it was multiplied rounds like its own length.
            noise = torch.diagonal(gram, 0, 1, 2)
            eps = torch.finfo(dp.dtype).eps
            gamma = past.memory.coefficients(gram, target, noise, eps, self.mixing).to(dp.dtype)
            return torch.bmm(gamma[:, None], past.dy + dp)[:, 0]


@dataclasses.dataclass(frozen=True, init=False)
class FixedPoint(AbstractFixedPointIteration):
    """y ← y + τ r/(1 − hc) with r = b + hf(y) − y: for τ = 1 this is y ← (b + hF(y))/(1 − hc).

    Converges locally where |1 − τ(1 − hλ)/(1 − hc)| < 1 for all λ. The options are those of
    `Stopping`, and the two of `Mixing` that mean something without memory:

    - damping: τ.
    - preconditioned: treat the split c of the field exactly (resolvent Picard); False is plain
      Picard, c = 0.

    >>> import odestab as od
    >>> x = torch.ones(1, 2)
    >>> equation = od.ImplicitEquation(od.LinearVectorField(-0.5 * torch.eye(2)), x, 1.0)
    >>> od.FixedPoint(rtol=1e-3).solve(equation, x).state
    tensor([[0.6670, 0.6670]])
    """

    without: ClassVar[frozenset[str]] = frozenset(
        field.name for field in dataclasses.fields(Mixing)
    ) - {"damping", "preconditioned"}

    def error_recursion(self, z: Tensor, step_size: float, split: float) -> tuple[Tensor, Tensor]:
        """(c, g) with e ← c·e for the error and (1 − c)/(1 − z) = g, on f(x) = λx, z = hλ."""
        damping = self.mixing.damping
        g = damping / (1 - step_size * split) if self.mixing.preconditioned else damping
        return 1 - g * (1 - z), torch.full_like(z, g)


@dataclasses.dataclass(frozen=True, init=False)
class Anderson(AbstractFixedPointIteration):
    """y ← y + p − (ΔY + ΔP) γ with γ = argmin ‖p − ΔP γ‖ and p = τ r/(1 − hc), per example (Walker
    and Ni 2011, type II).

    On linear problems with unbounded memory this is GMRES. The least-squares problem is solved by
    its equilibrated normal equations with a ridge relative to them, so that it does not depend on
    the scale of the residual. The options are those of `Stopping` and `Mixing`, given flat.

    Raises:
        ValueError: if memory < 1 or another option is outside what it means.

    >>> import odestab as od
    >>> x = torch.ones(1, 2)
    >>> equation = od.ImplicitEquation(od.LinearVectorField(-0.5 * torch.eye(2)), x, 1.0)
    >>> od.Anderson(memory=2).solve(equation, x).iterations
    tensor([2])
    """

    mixing: Mixing = Mixing(memory=5)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mixing.memory < 1:
            raise ValueError(f"memory must be >= 1, got {self.mixing.memory}")
