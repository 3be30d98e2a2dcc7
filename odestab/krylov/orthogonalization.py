"""Gram–Schmidt of one new vector per example against B bases side by side."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Matvec = Callable[[Float[Tensor, "batch n"]], Float[Tensor, "batch n"]]


def orthogonalize(
    basis: Float[Tensor, "batch m n"], w: Float[Tensor, "batch n"]
) -> tuple[Float[Tensor, "batch n"], Float[Tensor, "batch m"]]:
    """Return w − Qᵀ(Q w) with the coefficients Q w, rows of Q orthonormal; classical Gram–Schmidt, twice.

    Twice is enough for orthogonality to working precision (Giraud, Langou and Rozložník 2005).
    """
    w, first = _pass(basis, w)
    w, second = _pass(basis, w)
    return w, first + second


def unit(w: Float[Tensor, "batch n"], floor: Tensor | float = 0.0) -> tuple[Float[Tensor, "batch n"], Float[Tensor, " batch"]]:
    """Return w/‖w‖ and ‖w‖ per example; both are zero where ‖w‖ ≤ floor."""
    norm = w.norm(dim=1)
    alive = norm > floor
    return torch.where(alive[:, None], w / norm.clamp(min=torch.finfo(w.dtype).tiny)[:, None], 0.0), norm * alive


def next_vector(
    basis: Float[Tensor, "batch m n"], image: Float[Tensor, "batch n"], fresh: Float[Tensor, "batch n"]
) -> tuple[Float[Tensor, "batch n"], Float[Tensor, "batch m"], Float[Tensor, " batch"]]:
    """The next basis vector q with A's image = Qᵀ c + β q; where the space is invariant, q continues from `fresh` and β is 0.

    The factorisation stays exact with that zero, and eigenvalues of multiplicity above one are found. In an example whose
    whole space is used up, or whose `fresh` is zero, q is zero. No decision leaves the device.

    Args:
        basis: rows found so far.
        image: A times the last of them.
        fresh: a random vector of the state space.

    Returns:
        q, c and β.
    """
    eps = torch.finfo(image.dtype).eps
    w, first = _pass(basis, image)
    invariant = w.norm(dim=1) <= 100 * eps * image.norm(dim=1)
    w = torch.where(invariant[:, None], fresh, w)
    w, second = _pass(basis, w)
    q, norm = unit(w, torch.where(invariant, 1e4 * eps * fresh.norm(dim=1), 0.0))
    return q, first + torch.where(invariant[:, None], 0.0, second), torch.where(invariant, 0.0, norm)


def fresh_vectors(start: Float[Tensor, "batch n"], step: int) -> Float[Tensor, "batch n"]:
    """Vectors that differ from step to step, zero where the start vectors are, at the price of no random numbers."""
    return start * torch.cos(torch.arange(start.shape[1], dtype=start.dtype, device=start.device) * step)


def _pass(basis: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    c = torch.bmm(w[:, None, :], basis.mT)  # row form: a single-column bmm runs several times slower on a CPU
    return torch.baddbmm(w[:, None, :], c, basis, alpha=-1)[:, 0], c[:, 0]
