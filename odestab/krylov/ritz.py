"""Ritz values of the projected matrices, and the loop that grows a space until they converge."""

import dataclasses
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from odestab.krylov.arnoldi import ArnoldiFactorization
from odestab.krylov.golub_kahan import GolubKahanFactorization
from odestab.krylov.lanczos import LanczosFactorization
from odestab.krylov.orthogonalization import norm
from odestab.krylov.projected import HOST, decomposed, transferred

Factorization = TypeVar(
    "Factorization", ArnoldiFactorization, GolubKahanFactorization, LanczosFactorization
)


@dataclasses.dataclass(frozen=True, eq=False)
class Ritz:
    """Wanted values of a projected matrix, their residual estimates, and vectors' coefficients.

    They are on the host, which decides by them, wherever the space is.
    """

    values: Tensor
    estimates: Tensor
    right: Tensor
    left: Tensor

    def to(self, device: torch.device) -> "Ritz":
        """The same on another device; real pairs only."""
        return Ritz(*transferred(device, self.values, self.estimates, self.right, self.left))


def grow_until(
    grow: Callable[[Factorization | None, int], Factorization],
    extract: Callable[[Factorization], Ritz],
    tolerance: Callable[[Ritz], Tensor],
    schedule: tuple[int, int, int],
) -> tuple[Factorization, Ritz]:
    """Grow a space until every residual estimate is below its tolerance, or it is the largest.

    An example whose estimates are all below tolerance is frozen: its pairs stay those of that
    dimension, whatever its batch mates need.

    Args:
        grow: (factorization or None, steps) ↦ the grown factorization.
        extract: factorization ↦ wanted Ritz pairs.
        tolerance: Ritz pairs ↦ what their estimates must not exceed.
        schedule: dimensions of the first space, of each growth, and of the largest space.
    """
    first, stride, largest = schedule
    dimension = min(first, largest)
    factorization = grow(None, dimension)
    ritz = extract(factorization)
    while True:
        # NaN, of an operator that is not finite, is done as well.
        done = ~(ritz.estimates > tolerance(ritz)).any(1)
        if dimension == largest or bool(done.all()):
            return factorization, ritz.to(factorization.device)
        steps = min(stride, largest - dimension)
        factorization = grow(factorization, steps)
        dimension = dimension + steps
        ritz = _frozen(done, ritz, extract(factorization))


def _frozen(done: Tensor, before: Ritz, after: Ritz) -> Ritz:
    """The later pairs, but the earlier ones where an example was done.

    Their coefficients of later basis vectors are zero.
    """

    def choose(old: Tensor, new: Tensor) -> Tensor:
        if new.ndim == 3:
            old = torch.cat(
                [old, old.new_zeros(len(old), new.shape[1] - old.shape[1], old.shape[2])], 1
            )
        return torch.where(done.view(-1, *(1,) * (new.ndim - 1)), old, new)

    return Ritz(
        *(
            choose(getattr(before, field.name), getattr(after, field.name))
            for field in dataclasses.fields(Ritz)
        )
    )


def arnoldi_ritz(
    hessenberg: Tensor, lengths: Tensor, k: int, rank: Callable[[Tensor], Tensor]
) -> Ritz:
    """The k best-ranked Ritz pairs of H.

    Those of a used-up space live on rows of Q whose length is zero and rank last.
    """
    h, finite = _finite(hessenberg)
    values, vectors = decomposed(torch.linalg.eig, h[:, :-1])
    alive = _alive(lengths).to(h.dtype)
    # A vector on rows of zeros is none of A: the weight on real rows tells them apart.
    real = torch.einsum("bmj,bm->bj", vectors.abs() ** 2, alive) > 0.5
    chosen = torch.where(real, rank(values), -torch.inf).argsort(dim=1, descending=True)[:, :k]
    s = vectors.gather(2, chosen[:, None].expand(-1, vectors.shape[1], -1))
    return Ritz(
        torch.where(finite, values.gather(1, chosen), torch.nan),
        # ‖A v − θ v‖ for the unit vector v = Qᵀs (Saad 2011, section 6.2).
        h[:, -1, -1:].abs() * s[:, -1].abs(),
        s,
        s,
    )


def lanczos_ritz(factorization: LanczosFactorization) -> Ritz:
    """The largest Ritz pair of a symmetric operator; zero rows of a used-up space do not rank."""
    lengths = factorization.basis.norm(dim=2)
    tridiagonal, lengths, beta = transferred(
        HOST, factorization.tridiagonal, lengths, factorization.beta
    )
    t, finite = _finite(tridiagonal)
    # Gershgorin: below every eigenvalue. Zeros would win where all of them are negative.
    below_all = -2 * t.abs().sum(2).amax(1) - torch.finfo(t.dtype).tiny
    used_up = ~_alive(lengths)
    values, vectors = decomposed(
        torch.linalg.eigh, t + torch.diag_embed(used_up * below_all[:, None])
    )
    estimates = torch.where(finite, beta.abs()[:, None] * vectors[:, -1, -1:].abs(), 0.0)
    return Ritz(
        torch.where(finite, values[:, -1:], torch.nan),
        estimates,
        vectors[:, :, -1:],
        vectors[:, :, -1:],
    )


def bidiagonal_ritz(factorization: GolubKahanFactorization, k: int) -> Ritz:
    """The k largest singular triplets: A v = σ u is exact, ‖Aᵀ u − σ v‖ = β |last entry of u|."""
    c, finite = _finite(*transferred(HOST, factorization.projected))
    p, values, qt = decomposed(torch.linalg.svd, c[:, :, :-1])
    estimates = c[:, -1, -1:].abs() * p[:, -1, :k].abs()
    return Ritz(
        torch.where(finite, values[:, :k], torch.nan), estimates, qt.mT[:, :, :k], p[:, :, :k]
    )


def condition_numbers(vectors: Tensor) -> Tensor:
    """κ(λ) = ‖x‖‖y‖/|y*x| from the unit right eigenvectors x of a matrix, its columns: left ones y
    are the rows of their inverse; infinite where defective.
    """
    # Without a check: a defective matrix is data, no exception for the batch.
    left, failed = torch.linalg.inv_ex(vectors)
    condition = norm(left.abs()).nan_to_num(torch.inf, posinf=torch.inf)
    return torch.where(failed[..., None] == 0, condition.clamp(min=1.0), torch.inf)


def _alive(lengths: Tensor) -> Tensor:
    """Which rows of a basis are unit vectors, `(batch, m)`; a used-up space has zeros."""
    return lengths > 0.5


def first_failure(matrix: Tensor) -> Tensor:
    """The first column of each projected matrix that is not finite, −1 where there is none."""
    finite = matrix.isfinite().all(1)
    return torch.where(finite.all(1), -1, finite.to(torch.int8).argmin(1))


def _finite(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The projected matrices, zero where not finite, and where they are finite, `(batch, 1)`.

    LAPACK would refuse the whole batch. A zero matrix has residual estimates of zero, so that such
    an example ends at once.
    """
    finite = matrix.isfinite().all(2).all(1)
    return torch.where(finite[:, None, None], matrix, 0.0), finite[:, None]
