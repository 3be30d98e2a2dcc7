"""Singular values by Golub–Kahan, the smallest ones by inverse iteration in a subspace, and the
logarithmic norm by Lanczos.
"""

import dataclasses
from typing import Any

import torch
from torch import Tensor

from odestab.krylov import (
    SingularSearch,
    SingularTriplets,
    lanczos,
    largest_singular_triplets,
    smallest_singular_triplets,
)
from odestab.krylov.orthogonalization import norm, unit
from odestab.krylov.ritz import first_failure, grow_until, lanczos_ritz
from odestab.operators.algebra import inverse, symmetric_part
from odestab.operators.coercion import OperatorLike, as_operator
from odestab.operators.factorized_inverse import factorized_inverse
from odestab.operators.linear_operator import AbstractOperator, ComposedOperator
from odestab.spectrum import record
from odestab.spectrum.null_space import null_space
from odestab.spectrum.record import Spectrum, check, times

# relative residual of the solves inside inverse iteration; least products on real layers
LOOSE_SOLVE = 0.05
WHICH = ("LM", "SM")


def singular_values(
    operator: OperatorLike,
    k: int = 1,
    which: str = "LM",
    rtol: float = 1e-6,
    generator: torch.Generator | None = None,
    *,
    max_dimension: int = 200,
    work_dtype: torch.dtype | None = None,
) -> Spectrum:
    """The k largest or smallest singular values, A v = σ u and Aᵀ u = σ v.

    The largest come from Golub–Kahan bidiagonalisation, the smallest from inverse iteration in a
    growing subspace (Davidson). For an operator made by `inverse`, the largest values are one over
    the smallest of what was inverted, and are computed as that.

    One Krylov space has one vector of a multiple singular value. For k > 1 the complement of what
    was found is therefore searched from another vector, and again until a search finds nothing
    better: 1.4 to 1.9 times the products of one search on random matrices. Where the last search
    could not tell, nothing counts as converged.

    Args:
        operator: A, an operator or a matrix of any kind.
        k: how many.
        which: "LM" largest or "SM" smallest. A direct process misses small values by orders of
            magnitude, so "SM" solves with A and Aᵀ by GMRES, loosely: accuracy comes from exact
            products with A.
        rtol: tolerance on the residual relative to the largest value (to the value itself for
            "SM"); the value's own error is of second order in it.
        generator: source of the start vector; None is a fixed seed.
        max_dimension: largest number of steps.
        work_dtype: precision of the Krylov spaces ("LM") or of the loose solves ("SM"); residuals
            are always taken in the operator's own. None is the operator's own.

    Raises:
        ValueError: if `which` is unknown, or k is not in 1..n or above max_dimension.

    >>> f = od.LinearVectorField(torch.tensor([[3.0, 0.0], [4.0, 5.0]]).double())
    >>> A = od.Jacobian(f, torch.zeros(1, 2).double())
    >>> largest, smallest = od.singular_values(A), od.singular_values(A, which="SM")
    >>> round(largest.values.item() ** 2, 6), round(smallest.values.item() ** 2, 6)  # of AᵀA
    (45.0, 5.0)
    """
    operator = as_operator(operator)
    check(operator, k, which, WHICH, (max_dimension, "max_dimension", k))
    if which == "SM":
        if k > 1 and max(operator.sizes) <= record.DENSE_LIMIT:
            # All copies of a multiple value are in the SVD, and k > 1 of them would cost many
            # solves.
            return _dense_smallest(operator, k)
        largest = min(max_dimension, max(operator.sizes))
        return _smallest_singular_values(
            operator, k, rtol, generator, largest, work_dtype or operator.like.dtype
        )
    if isinstance(operator, ComposedOperator) and operator.inverse_of is not None:
        # A Krylov space of A⁻¹ would need an exact solve a product; small values of B need loose
        # ones.
        options: dict[str, Any] = {"max_dimension": max_dimension, "work_dtype": work_dtype}
        return _inverted(singular_values(operator.inverse_of, k, "SM", rtol, generator, **options))
    return _largest_singular_values(operator, k, rtol, generator, max_dimension, work_dtype)


def _largest_singular_values(
    operator: AbstractOperator,
    k: int,
    rtol: float,
    generator: torch.Generator | None,
    max_dimension: int,
    work_dtype: torch.dtype | None,
) -> Spectrum:
    """The largest singular triplets by Golub–Kahan; for k > 1 the complement is searched too."""
    own = operator.like.dtype
    work = operator.cast(work_dtype or own)
    generator = generator or torch.Generator().manual_seed(0)
    start = operator.random(generator).flatten(1).to(work.like)
    again = operator.random(generator).flatten(1).to(work.like) if k > 1 else None
    # A look costs the SVD of a small matrix, and a step two products: every second step.
    schedule = (k + 5, 2, min(max_dimension, max(operator.sizes)))
    triplets = largest_singular_triplets(
        work.flat(work.mv),
        work.flat(work.rmv),
        start,
        SingularSearch(k, rtol, schedule),
        again,
    )
    shape = (-1, k, *operator.like.shape[1:])
    right = triplets.right.view(shape).to(own)
    left = triplets.left.view(shape).to(own)
    values = triplets.values.to(own)
    residuals = _singular_residuals(operator, values, right, left)
    converged = (residuals <= rtol * values[:, :1]) & triplets.settled[:, None]
    return Spectrum(
        values,
        residuals,
        converged,
        2 * (triplets.steps + k),
        "estimate",
        right=right,
        left=left,
        failed_at=triplets.failed_at,
        path=operator.path,
    )


def logarithmic_norm(
    operator: OperatorLike,
    rtol: float = 1e-6,
    generator: torch.Generator | None = None,
    *,
    work_dtype: torch.dtype | None = None,
) -> Spectrum:
    """μ₂(A) = λ_max((A + Aᵀ)/2), the Euclidean logarithmic norm, by Lanczos: a Spectrum with k = 1.

    It bounds growth: ‖e^{tA}‖ ≤ e^{tμ₂}. The value is a lower bound of μ₂, and an eigenvalue of the
    symmetric part lies within the residual of it. The space is built in `work_dtype`, by default
    the operator's own; the residual is always taken in that. Source: Dahlquist 1958; Mathematics,
    section 4.

    >>> f = od.LinearVectorField(torch.tensor([[-1.0, 4.0], [0.0, -1.0]]).double())
    >>> mu = od.logarithmic_norm(od.Jacobian(f, torch.zeros(1, 2).double()))  # λ = −1, twice
    >>> round(mu.values.item(), 6)  # positive: the norm grows at first though both λ decay
    1.0
    """
    operator = as_operator(operator)
    symmetric = symmetric_part(operator)
    work = symmetric.cast(work_dtype or operator.like.dtype)
    start = operator.random(generator).flatten(1).to(work.like)
    flat = work.flat(work.mv)
    factorization, ritz = grow_until(
        lambda previous, steps: lanczos(flat, start, steps, previous),
        lanczos_ritz,
        lambda r: rtol * r.values.abs(),
        (20, 10, min(200, max(operator.sizes))),
    )
    right = (
        torch.bmm(ritz.right.mT, factorization.basis)
        .view(-1, 1, *operator.like.shape[1:])
        .to(operator.like.dtype)
    )
    values = ritz.values.to(operator.like.dtype)
    image = symmetric.mv(right.transpose(0, 1)).transpose(0, 1)
    residuals = norm((image - times(values, right)).flatten(2))
    converged = residuals <= rtol * values.abs()
    matvecs = 2 * (factorization.arnoldi.steps + 1)
    failed = first_failure(factorization.arnoldi.hessenberg)
    return Spectrum(
        values,
        residuals,
        converged,
        matvecs,
        "estimate",
        right=right,
        failed_at=failed,
        path=operator.path,
    )


def _smallest_singular_values(
    operator: AbstractOperator,
    k: int,
    rtol: float,
    generator: torch.Generator | None,
    max_dimension: int,
    work_dtype: torch.dtype,
) -> Spectrum:
    """The smallest singular triplets by Davidson, its expansions solved to LOOSE_SOLVE in the
    working precision.

    Small matrices are solved for by LU factors: GMRES takes long where many singular values are
    small. Of a singular matrix it finds none, as residuals hold nothing of the null space: where
    the search stalls, null vectors are looked for.
    """
    own = operator.like.dtype
    work = operator.cast(work_dtype)
    generator = generator or torch.Generator().manual_seed(0)
    start = operator.random(generator).flatten(1)
    again = operator.random(generator).flatten(1)
    factorize = max(operator.sizes) <= record.FACTORIZED_LIMIT
    inverted = factorized_inverse(work, regular=True) if factorize else inverse(work, LOOSE_SOLVE)

    def expansion(r: Tensor) -> Tensor:
        """About (AᵀA)⁻¹ r but for its length."""
        # Of unit length between the solves, as the inverse of a nearly singular A may overflow.
        half, _ = unit(inverted.flat(inverted.rmv)(r.to(work_dtype)))
        return inverted.flat(inverted.mv)(half).to(own)

    def null_vectors(examples: Tensor) -> Tensor:
        """Null vectors of the examples; expansions are solved for beside them from now on."""
        nonlocal inverted
        space = null_space(operator, examples, k)
        if space.right.shape[1]:
            inverted = inverse(space.filled(work), LOOSE_SOLVE)
        return space.right

    triplets = smallest_singular_triplets(
        operator.flat(operator.mv),
        operator.flat(operator.rmv),
        expansion,
        start,
        k,
        rtol,
        max_dimension,
        again if k > 1 else None,
        None if factorize else null_vectors,
    )
    return _of_triplets(operator, triplets)


def _of_triplets(operator: AbstractOperator, triplets: SingularTriplets) -> Spectrum:
    """The record of what Davidson's iteration found."""
    k = triplets.values.shape[1]
    shape = (-1, k, *operator.like.shape[1:])
    return Spectrum(
        triplets.values,
        triplets.residuals,
        triplets.converged,
        (1 + k) * triplets.steps + 1,
        "estimate",
        right=triplets.right.view(shape),
        left=triplets.left.view(shape),
        path=operator.path,
    )


def _dense_smallest(operator: AbstractOperator, k: int) -> Spectrum:
    """The k smallest singular triplets of dense matrices, NaN where one is not finite."""
    like = operator.like
    values, residuals = like.new_full((2, like.shape[0], k), torch.nan)
    right, left = like.new_zeros(2, like.shape[0], k, like[0].numel())
    for example, (matrix, real) in enumerate(
        zip(operator.dense(), operator.real_entries(), strict=True)
    ):
        if not matrix.isfinite().all():
            continue
        u, s, vt = torch.linalg.svd(matrix)
        # smallest first
        u = u.flip(1)[:, :k]
        s = s.flip(0)[:k]
        v = vt.flip(0)[:k].T
        entries = real.to(like.device)
        values[example, : len(s)] = s
        residuals[example, : len(s)] = torch.maximum(
            norm(matrix @ v - u * s, 0), norm(matrix.T @ u - v * s, 0)
        )
        right[example, : len(s)][:, entries] = v.T
        left[example, : len(s)][:, entries] = u.T
    shape = (-1, k, *like.shape[1:])
    n = max(operator.sizes)
    return Spectrum(
        values,
        residuals,
        residuals.isfinite(),
        n,
        "exact",
        right=right.view(shape),
        left=left.view(shape),
        path=operator.path,
    )


def _inverted(smallest: Spectrum) -> Spectrum:
    """The largest singular value of A⁻¹ from the smallest of A: 1/σ, residual scaled to it, left
    and right exchanged.
    """
    values = 1 / smallest.values
    # d(1/σ) = −dσ/σ².
    residuals = smallest.residuals * values * values
    return dataclasses.replace(
        smallest, values=values, residuals=residuals, right=smallest.left, left=smallest.right
    )


def _singular_residuals(
    operator: AbstractOperator, values: Tensor, right: Tensor, left: Tensor
) -> Tensor:
    """max(‖A v − σ u‖, ‖Aᵀ u − σ v‖)."""
    forward = operator.mv(right.transpose(0, 1)).transpose(0, 1) - times(values, left)
    backward = operator.rmv(left.transpose(0, 1)).transpose(0, 1) - times(values, right)
    return torch.maximum(norm(forward.flatten(2)), norm(backward.flatten(2)))
