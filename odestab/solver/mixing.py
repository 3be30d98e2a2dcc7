"""Anderson's least-squares problem, one small one per example."""

import dataclasses
import math
import numbers
from typing import Any

from odestab.solver.ledger import Array, namespace


@dataclasses.dataclass(frozen=True)
class Mixing:
    """How the iterates of an accelerated fixed-point iteration are mixed.

    Attributes:
        memory: how many differences are kept; 0 is the fixed-point iteration itself.
        damping: τ in g = y + τ r/(1 − hc).
        preconditioned: treat the split c of the field exactly; False is g = y + τ r.
        ridge: added to the unit diagonal of the equilibrated Gram matrix, in units of eps of the
            state.
        drop: a difference whose squared distance from the span of the newer ones, relative to its
            length, is below this many eps is left out, and all older ones with it.
        cap: largest Σ|α| of the weights of the mixed iterates; beyond it the step is that of the
            fixed point.
        period: mix at every so many-th iteration, with fixed-point steps between (Pratapa,
            Suryanarayana and Pask 2016).
        rate: mix only where the residual fell to no less than this share in the last iteration; 0
            mixes always.
        growth_limit: forget the memory where the residual exceeds this multiple of the best one.

    Raises:
        ValueError: if a number is outside what it means.

    >>> Mixing(memory=5).period
    1
    """

    memory: int
    damping: float = 1.0
    preconditioned: bool = True
    ridge: float = 10.0
    drop: float = 100.0
    cap: float = 1e4
    period: int = 1
    rate: float = 0.0
    growth_limit: float = 100.0

    def __post_init__(self) -> None:
        for name, first in (("memory", 0), ("period", 1)):
            count = getattr(self, name)
            if not isinstance(count, numbers.Integral):
                raise ValueError(f"{name} must be a whole number, got {count!r}")
            if count < first:
                raise ValueError(f"{name} must be >= {first}, got {count}")
        for name, least in (("damping", 0.0), ("cap", 1.0), ("growth_limit", 1.0)):
            if not getattr(self, name) > least:
                raise ValueError(f"{name} must be > {least:g}, got {getattr(self, name)}")
        for name in ("ridge", "drop", "rate"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name} must be finite and >= 0, got {getattr(self, name)}")


@dataclasses.dataclass(frozen=True, eq=False)
class Memory:
    """What of an example's last iterations may be mixed; all `(batch,)`, tensors or NumPy arrays.

    Attributes:
        slow: whether the last iteration left so much of RMS(r) that the next step is to be mixed.
        remembered: how many differences may be used.
        iteration: how many iterations there were, the same for all.
    """

    slow: Any
    remembered: Any
    iteration: int

    @classmethod
    def begin(cls, norm: Array) -> "Memory":
        """Before the first iteration, from RMS(r)."""
        nothing = namespace(norm).zeros_like(norm, dtype=namespace(norm).int64)
        return cls(nothing == 0, nothing, 0)

    def after(self, mixing: Mixing, norm: Array, before: Array, best: Array) -> "Memory":
        """One iteration later: all is forgotten where the residual has grown too much or is not
        finite.

        Args:
            mixing: rate and growth_limit.
            norm: RMS(r) now.
            before: RMS(r) before the iteration.
            best: the least RMS(r) before it.
        """
        # False for NaN as well, so that nothing that is not finite is mixed.
        kept = norm <= mixing.growth_limit * best
        remembered = namespace(norm).where(kept, self.remembered + 1, 0)
        return Memory(norm > mixing.rate * before, remembered, self.iteration + 1)

    def coefficients(
        self, gram: Array, target: Array, noise: Array, eps: float, mixing: Mixing
    ) -> Any:
        """γ of the differences that may be used, 0 where this step is not to be mixed."""
        xp = namespace(gram)
        age = xp.cumsum(xp.ones_like(target), 1) - 1
        known = self.remembered[:, None] > age
        mixed = self.slow & (self.iteration % mixing.period == 0)
        gamma = coefficients(gram, target, known, noise, eps, mixing)
        return xp.where(mixed[:, None], gamma, 0.0)


def coefficients(
    gram: Array, target: Array, known: Array, noise: Array, eps: float, mixing: Mixing
) -> Any:
    """γ = argmin ‖p − ΔPᵀ γ‖ from the Gram matrix ΔP ΔPᵀ and ΔP p, newest difference first; 0 for
    those that are left out.

    Gaussian elimination of the equilibrated normal equations from the newest difference on: a pivot
    is the squared distance of a difference from the span of the newer ones, and the first that is
    lost in noise ends the elimination.

    Args:
        gram: inner products of the differences, `(batch, m, m)`.
        target: those with p, `(batch, m)`.
        known: which rows hold a difference, `(batch, m)`.
        noise: the squared lengths whose rounding is in a squared length of a difference, `(batch,
            m)`.
        eps: of the precision in which the inner products were taken.
        mixing: ridge, drop and cap.

    >>> gram = torch.tensor([[[4.0]]])
    >>> coefficients(gram, torch.tensor([[2.0]]), gram[0] > 0, gram[0], 1e-16, Mixing(1))
    tensor([[0.5000]])
    """
    xp = namespace(gram)
    count = gram.shape[1]
    size = xp.diagonal(gram, 0, 1, 2)
    used = known & (size > 0)
    # `where` twice: the gradient of a root at 0 is not finite
    scale = xp.where(used, 1 / xp.where(used, size, 1.0) ** 0.5, 0.0)
    # In units of the diagonal of the equilibrated matrix, which is 1.
    rounding = eps * xp.where(used, noise * scale**2, 1.0)
    rows = scale[:, :, None] * gram * scale[:, None, :]
    rhs = scale * target
    # True for all, of the kind and on the device of the others.
    independent = known[:, 0] | True
    eliminated = []
    for i in range(count):
        pivot = rows[:, i, i] + mixing.ridge * rounding[:, i]
        # one that is lost in noise ends it for the older ones too; an unknown one is passed over
        independent = independent & (
            (pivot > (mixing.drop + mixing.ridge) * rounding[:, i]) | ~used[:, i]
        )
        take = independent & used[:, i]
        inverse = xp.where(take, 1 / xp.where(take, pivot, 1.0), 0.0)
        row = rows[:, i] * inverse[:, None]
        solved = rhs[:, i] * inverse
        # Finished rows change with the others: nothing looks at them again.
        rhs = rhs - rows[:, i] * solved[:, None]
        rows = rows - rows[:, :, i, None] * row[:, None, :]
        eliminated.append((row, solved))
    gamma: list[Any] = []  # back substitution, from the oldest
    for i, (row, solved) in zip(reversed(range(count)), reversed(eliminated), strict=True):
        for j, older in zip(range(count - 1, i, -1), gamma, strict=True):
            solved = solved - row[:, j] * older
        gamma.append(solved)
    combined = scale * xp.stack(gamma[::-1], 1)
    within = abs(weights(combined)).sum(1) <= mixing.cap  # False for NaN as well
    return xp.where(within[:, None], combined, 0.0)


def weights(gamma: Array) -> Any:
    """α with Σ αᵢ gᵢ = g₀ − Σ γᵢ (gᵢ − gᵢ₊₁), newest first; Σ α = 1.

    Args:
        gamma: `(batch, m)`; α is `(batch, m + 1)`.

    >>> weights(torch.tensor([[0.25]]))
    tensor([[0.7500, 0.2500]])
    """
    xp = namespace(gamma)
    zero = xp.zeros_like(gamma[:, :1])
    return xp.concatenate([zero + 1, gamma], 1) - xp.concatenate([gamma, zero], 1)
