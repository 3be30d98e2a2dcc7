"""Anderson's least-squares problem, one small one per example."""

import dataclasses
import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Mixing:
    """How the iterates of an accelerated fixed-point iteration are mixed.

    Attributes:
        memory: how many differences are kept; 0 is the fixed-point iteration itself.
        damping: τ in g = y + τ r/(1 − hc).
        preconditioned: treat the split c of the field exactly; False is g = y + τ r.
        ridge: added to the unit diagonal of the equilibrated Gram matrix, in units of eps of the state.
        drop: a difference whose squared distance from the span of the newer ones, relative to its length, is below this many eps is
            left out, and all older ones with it.
        cap: largest Σ|α| of the weights of the mixed iterates; beyond it the step is that of the fixed point.
        period: mix at every so many-th iteration, with fixed-point steps between (Pratapa, Suryanarayana and Pask 2016).
        rate: mix only where the residual fell to no less than this share in the last iteration; 0 mixes always.
        growth_limit: forget the memory where the residual exceeds this multiple of the best one.

    Raises:
        ValueError: if a number is outside what it means.
    """

    memory: int
    damping: float = 1.0
    preconditioned: bool = True
    ridge: float = 10.0
    drop: float = 100.0
    cap: float = 1e4
    period: int = 1
    rate: float = 0.0
    growth_limit: float = 10.0

    def __post_init__(self) -> None:
        for name, least in (("memory", 0), ("period", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be >= {least}, got {getattr(self, name)}")
        for name, least in (("damping", 0.0), ("cap", 1.0), ("growth_limit", 1.0)):
            if not getattr(self, name) > least:
                raise ValueError(f"{name} must be > {least:g}, got {getattr(self, name)}")
        for name in ("ridge", "drop", "rate"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name} must be finite and >= 0, got {getattr(self, name)}")


def coefficients(
    gram: Float[Tensor, "batch m m"], target: Float[Tensor, "batch m"], known: Bool[Tensor, "batch m"], eps: float, mixing: Mixing
) -> Float[Tensor, "batch m"]:
    """γ = argmin ‖p − ΔPᵀ γ‖ from the Gram matrix ΔP ΔPᵀ and ΔP p, newest difference first; 0 for those that are left out.

    Args:
        gram: inner products of the differences.
        target: those with p.
        known: which rows hold a difference.
        eps: of the precision in which the inner products were taken.
        mixing: ridge, drop and cap.
    """
    size = torch.diagonal(gram, 0, 1, 2)
    used = known & (size > 0)
    scale = torch.where(used, torch.where(used, size, 1.0).rsqrt(), 0.0)  # twice: the gradient of rsqrt at 0 is not finite
    eye = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    equilibrated = scale[:, :, None] * gram * scale[:, None, :]
    used = _independent(equilibrated.detach(), used, eye, eps, mixing)
    kept = used[:, :, None] & used[:, None, :]
    matrix = torch.where(kept, equilibrated, 0.0) + eye * torch.where(used, mixing.ridge * eps, 1.0)[:, None]
    solved, _ = torch.linalg.solve_ex(matrix, torch.where(used, scale * target, 0.0)[..., None])
    gamma = scale * solved[..., 0]
    within = weights(gamma).abs().sum(1, keepdim=True) <= mixing.cap  # False for NaN as well
    return torch.where(used & within, gamma, 0.0)


def weights(gamma: Float[Tensor, "batch m"]) -> Float[Tensor, "batch images"]:
    """α with Σ αᵢ gᵢ = g₀ − Σ γᵢ (gᵢ − gᵢ₊₁), newest first; Σ α = 1."""
    zero = torch.zeros_like(gamma[:, :1])
    return torch.cat([zero + 1, gamma], 1) - torch.cat([gamma, zero], 1)


def _independent(equilibrated: Tensor, used: Tensor, eye: Tensor, eps: float, mixing: Mixing) -> Tensor:
    """Which differences are left: the newest ones up to the first that depends on newer ones, seen in the pivots of Cholesky."""
    matrix = torch.where(used[:, :, None] & used[:, None, :], equilibrated, 0.0) + eye * torch.where(used, eps, 1.0)[:, None]
    factor, _ = torch.linalg.cholesky_ex(matrix)
    enough = (torch.diagonal(factor, 0, 1, 2) ** 2 > mixing.drop * eps) | ~used
    return used & enough.cummin(1).values
