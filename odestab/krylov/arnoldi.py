"""Batched Arnoldi: B Krylov spaces grown in lockstep."""

import dataclasses
import functools

import torch
from jaxtyping import Float
from torch import Tensor

from odestab.krylov.orthogonalization import Matvec, fresh_by_step, next_vector, unit


@dataclasses.dataclass(frozen=True, eq=False)
class ArnoldiFactorization:
    """A Qᵀ = Qᵀ_{m+1} H per example: orthonormal rows Q and the (m+1) × m Hessenberg matrix H.

    Attributes:
        basis: `(batch, m + 1, n)`, orthonormal rows; a row of zeros where an example's space is
            used up.
        hessenberg: `(batch, m + 1, m)`.
    """

    basis: Float[Tensor, "batch m1 n"]
    hessenberg: Float[Tensor, "batch m1 m"]

    @property
    def steps(self) -> int:
        """m, the dimension of the Krylov space."""
        return self.hessenberg.shape[2]

    @property
    def device(self) -> torch.device:
        """Where the space is."""
        return self.basis.device


def arnoldi(
    matvec: Matvec,
    start: Float[Tensor, "batch n"],
    steps: int,
    previous: ArnoldiFactorization | None = None,
) -> ArnoldiFactorization:
    """Grow an Arnoldi factorisation by `steps` products (Golub and Van Loan, section 10.5).

    Args:
        matvec: A, on `(batch, n)`.
        start: the start vectors; after an exact breakdown the space is continued from a rotated
            copy of them.
        steps: how many products with A to add.
        previous: the factorisation to grow; None begins one at `start`.

    Returns:
        The factorisation with `previous.steps + steps` columns.
    """
    done = previous.steps if previous else 0
    total = done + steps
    # One tensor has room for all rows, as Gram–Schmidt is one product with those before.
    basis = start.new_zeros(start.shape[0], total + 1, start.shape[1])
    hessenberg = start.new_zeros(start.shape[0], total + 1, total)
    if previous:
        basis[:, : done + 1] = previous.basis
        hessenberg[:, : done + 1, :done] = previous.hessenberg
    else:
        basis[:, 0], _ = unit(start)
    extend(matvec, basis, hessenberg, range(done, total), start)
    return ArnoldiFactorization(basis, hessenberg)


def extend(
    matvec: Matvec,
    basis: Float[Tensor, "batch rows n"],
    hessenberg: Float[Tensor, "batch rows columns"],
    columns: range,
    start: Float[Tensor, "batch n"],
) -> None:
    """Fill some columns of H and the rows of Q after them, in place: the one Arnoldi loop."""
    fresh = fresh_by_step(start, range(columns.start + 1, columns.stop + 1))
    for j in columns:
        q, coefficients, below = next_vector(
            basis[:, : j + 1], matvec(basis[:, j]), functools.partial(fresh, j + 1)
        )
        # Where the space is used up q is zero, and so is every row and column from here on.
        basis[:, j + 1] = q
        hessenberg[:, : j + 1, j] = coefficients
        hessenberg[:, j + 1, j] = below
