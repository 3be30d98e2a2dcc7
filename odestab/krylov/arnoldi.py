"""Batched Arnoldi: B Krylov spaces grown in lockstep."""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from odestab.krylov.orthogonalization import Matvec, continue_basis, orthogonalize, unit


@dataclasses.dataclass(frozen=True, eq=False)
class ArnoldiFactorization:
    """A Qᵀ = Qᵀ_{m+1} H: orthonormal rows Q and the (m+1) × m Hessenberg matrix H, one pair per example.

    Attributes:
        basis: `(batch, m + 1, n)`, orthonormal rows; a row of zeros where an example's space is used up.
        hessenberg: `(batch, m + 1, m)`.
    """

    basis: Float[Tensor, "batch m1 n"]
    hessenberg: Float[Tensor, "batch m1 m"]

    @property
    def steps(self) -> int:
        """m, the dimension of the Krylov space."""
        return self.hessenberg.shape[2]


def arnoldi(
    matvec: Matvec,
    start: Float[Tensor, "batch n"],
    steps: int,
    previous: ArnoldiFactorization | None = None,
) -> ArnoldiFactorization:
    """Grow an Arnoldi factorisation by `steps` products (Golub and Van Loan, section 10.5).

    Args:
        matvec: A, on `(batch, n)`.
        start: the start vectors; after an exact breakdown the space is continued from a rotated copy of them.
        steps: how many products with A to add.
        previous: the factorisation to grow; None begins one at `start`.

    Returns:
        The factorisation with `previous.steps + steps` columns.
    """
    done = previous.steps if previous else 0
    total = done + steps
    basis = start.new_zeros(start.shape[0], total + 1, start.shape[1])
    hessenberg = start.new_zeros(start.shape[0], total + 1, total)
    if previous:
        basis[:, : done + 1], hessenberg[:, : done + 1, :done] = previous.basis, previous.hessenberg
    else:
        basis[:, 0], _ = unit(start)
    for j in range(done, total):
        image = matvec(basis[:, j])
        w, hessenberg[:, : j + 1, j] = orthogonalize(basis[:, : j + 1], image)
        fresh = start * torch.cos(torch.arange(start.shape[1], dtype=start.dtype, device=start.device) * (j + 1))
        basis[:, j + 1], hessenberg[:, j + 1, j] = continue_basis(basis[:, : j + 1], w, image.norm(dim=1), fresh)
    return ArnoldiFactorization(basis, hessenberg)
