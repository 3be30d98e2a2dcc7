"""Batched Golub–Kahan bidiagonalisation, with full reorthogonalisation of both bases."""

import dataclasses
import functools

import torch
from jaxtyping import Float
from torch import Tensor

from odestab.krylov.orthogonalization import Matvec, fresh_by_step, next_vector, unit


@dataclasses.dataclass(frozen=True, eq=False)
class GolubKahanFactorization:
    """A Vᵀ = Uᵀ C and Aᵀ Uᵀ = Vᵀ Cᵀ + β v eᵀ: orthonormal rows V, U and the upper bidiagonal C.

    Attributes:
        right: V, `(batch, m + 1, n)`.
        left: U, `(batch, m, n)`.
        projected: C = U A Vᵀ, `(batch, m, m + 1)`, bidiagonal up to rounding; its last column holds
            β.
    """

    right: Float[Tensor, "batch m1 n"]
    left: Float[Tensor, "batch m n"]
    projected: Float[Tensor, "batch m m1"]

    @property
    def steps(self) -> int:
        """m, how many products with A (and as many with Aᵀ) were made."""
        return self.left.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the space is."""
        return self.right.device


def golub_kahan(
    matvec: Matvec,
    rmatvec: Matvec,
    start: Float[Tensor, "batch n"],
    steps: int,
    previous: GolubKahanFactorization | None = None,
) -> GolubKahanFactorization:
    """Grow a bidiagonalisation by `steps` pairs of products (Golub and Van Loan, section 10.4).

    Args:
        matvec: A, on `(batch, n)`.
        rmatvec: Aᵀ.
        start: the first right vectors.
        steps: how many pairs of products to add.
        previous: the factorisation to grow.
    """
    done = previous.steps if previous else 0
    total = done + steps
    batch, n = start.shape
    right = start.new_zeros(batch, total + 1, n)
    left = start.new_zeros(batch, total, n)
    projected = start.new_zeros(batch, total, total + 1)
    if previous:
        right[:, : done + 1] = previous.right
        left[:, :done] = previous.left
        projected[:, :done, : done + 1] = previous.projected
    else:
        right[:, 0], _ = unit(start)
    # Either basis may need a fresh vector at a step: odd numbers are left ones.
    fresh = fresh_by_step(start, range(2 * done + 1, 2 * total + 1))
    for j in range(total)[done:]:
        image = matvec(right[:, j])
        # What Gram–Schmidt removes is β of the column before, which is known, and rounding.
        left[:, j], _, projected[:, j, j] = next_vector(
            left[:, :j], image, functools.partial(fresh, 2 * j + 1)
        )
        image = rmatvec(left[:, j])
        right[:, j + 1], _, projected[:, j, j + 1] = next_vector(
            right[:, : j + 1], image, functools.partial(fresh, 2 * j + 2)
        )
    return GolubKahanFactorization(right, left, projected)
