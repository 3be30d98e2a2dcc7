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
    coefficients = w.new_zeros(basis.shape[:2])
    for _ in range(2):
        # Row form: a single-column bmm runs several times slower on a CPU.
        c = torch.bmm(w[:, None, :], basis.mT)
        w = w - torch.bmm(c, basis)[:, 0]
        coefficients = coefficients + c[:, 0]
    return w, coefficients


def unit(w: Float[Tensor, "batch n"], floor: Tensor | float = 0.0) -> tuple[Float[Tensor, "batch n"], Float[Tensor, " batch"]]:
    """Return w/‖w‖ and ‖w‖ per example; both are zero where ‖w‖ ≤ floor."""
    norm = w.norm(dim=1)
    alive = norm > floor
    return torch.where(alive[:, None], w / norm.clamp(min=torch.finfo(w.dtype).tiny)[:, None], 0.0), norm * alive


def continue_basis(
    basis: Float[Tensor, "batch m n"], w: Float[Tensor, "batch n"], scale: Float[Tensor, " batch"], fresh: Float[Tensor, "batch n"]
) -> tuple[Float[Tensor, "batch n"], Float[Tensor, " batch"]]:
    """Normalise the next basis vector; where the space is invariant (w ≈ 0), continue from `fresh` and report norm 0.

    The factorisation stays exact with that zero, and eigenvalues of multiplicity above one are found. In an example whose
    whole space is used up the new vector is zero.

    Args:
        basis: rows found so far; w is orthogonal to them.
        w: the next vector, not yet normalised.
        scale: the size of the operator on this vector; w below 10 eps × scale counts as zero.
        fresh: a random vector of the state space.
    """
    eps = torch.finfo(w.dtype).eps
    q, norm = unit(w, 10 * eps * scale)
    if bool((norm == 0).any()):
        replacement, _ = orthogonalize(basis, fresh)
        replacement, _ = unit(replacement, 1e4 * eps * fresh.norm(dim=1))
        q = torch.where((norm == 0)[:, None], replacement, q)
    return q, norm
