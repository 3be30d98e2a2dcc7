"""Batched Lanczos for symmetric operators, with full reorthogonalisation."""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from odestab.krylov.arnoldi import ArnoldiFactorization, arnoldi
from odestab.krylov.orthogonalization import Matvec


@dataclasses.dataclass(frozen=True, eq=False)
class LanczosFactorization:
    """A Qᵀ = Qᵀ T + β q eᵀ per example: orthonormal rows Q and the symmetric tridiagonal T.

    Attributes:
        arnoldi: the factorisation; for a symmetric operator its Hessenberg matrix is tridiagonal up
            to rounding.
    """

    arnoldi: ArnoldiFactorization

    @property
    def basis(self) -> Float[Tensor, "batch m n"]:
        """Q, the m orthonormal rows."""
        return self.arnoldi.basis[:, :-1]

    @property
    def tridiagonal(self) -> Float[Tensor, "batch m m"]:
        """T, symmetrised."""
        h = self.arnoldi.hessenberg[:, :-1]
        below = torch.diagonal(h, -1, 1, 2)
        return (
            torch.diag_embed(torch.diagonal(h, 0, 1, 2))
            + torch.diag_embed(below, 1)
            + torch.diag_embed(below, -1)
        )

    @property
    def beta(self) -> Float[Tensor, " batch"]:
        """The norm of the remainder."""
        return self.arnoldi.hessenberg[:, -1, -1]

    @property
    def device(self) -> torch.device:
        """Where the space is."""
        return self.arnoldi.device


def lanczos(
    matvec: Matvec,
    start: Float[Tensor, "batch n"],
    steps: int,
    previous: LanczosFactorization | None = None,
) -> LanczosFactorization:
    """Grow a Lanczos factorisation by `steps` products (Golub and Van Loan, section 10.1).

    Full reorthogonalisation makes it the Arnoldi process on a symmetric operator, so the loop is
    that one.

    Args:
        matvec: a symmetric A, on `(batch, n)`.
        start: the start vectors.
        steps: how many products to add.
        previous: the factorisation to grow.
    """
    return LanczosFactorization(
        arnoldi(matvec, start, steps, previous.arnoldi if previous else None)
    )
