"""Batched generalised Davidson iteration for the smallest singular triplets.

It is inverse iteration with loose solves, kept in a subspace.
"""

import dataclasses
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odestab.krylov.orthogonalization import (
    Matvec,
    fresh_vectors,
    norm,
    orthogonalize,
    power_of_two,
    unit,
)
from odestab.krylov.projected import HOST, decomposed, transferred

PATIENCE = 16  # expansions that are usually enough: null vectors cost as many products as ten
SEARCHES = 3  # expansions from fresh vectors that must leave all wanted triplets as they are


@dataclasses.dataclass(frozen=True, eq=False)
class SingularTriplets:
    """A v = σ u with the smallest σ ≥ 0 over a subspace, per example, smallest first.

    Attributes:
        values: σ, upper bounds of the smallest singular values; NaN where the operator is not
            finite.
        right: v, unit.
        left: u = A v/σ, unit (zero where σ is).
        residuals: ‖Aᵀ u − σ v‖; A v = σ u holds to rounding.
        converged: residual ≤ rtol·σ, or one of them at the level of rounding.
        steps: the dimension of the subspace.
    """

    values: Float[Tensor, "batch k"]
    right: Float[Tensor, "batch k n"]
    left: Float[Tensor, "batch k n"]
    residuals: Float[Tensor, "batch k"]
    converged: Bool[Tensor, "batch k"]
    steps: int


def smallest_singular_triplets(
    matvec: Matvec,
    rmatvec: Matvec,
    approximate_inverse: Matvec,
    start: Float[Tensor, "batch n"],
    k: int = 1,
    rtol: float = 1e-4,
    max_dimension: int = 60,
    confirm: Float[Tensor, "batch n"] | None = None,
    stalled: Callable[[Bool[Tensor, " batch"]], Float[Tensor, "batch m n"]] | None = None,
) -> SingularTriplets:
    """The k smallest σ by Rayleigh–Ritz on AᵀA over a growing subspace (Morgan and Scott 1986).

    The subspace grows by (AᵀA)⁻¹ times the residual of the first triplet that has not converged,
    solved loosely: the projection uses exact products with A, so a loose solve costs iterations and
    never accuracy. A direct Lanczos process would miss small values by orders of magnitude. An
    example that has converged adds zeros from then on, so that batch mates change nothing.

    Args:
        matvec: A, on `(batch, n)`; the residuals of k triplets are taken one by one.
        rmatvec: Aᵀ.
        approximate_inverse: r ↦ about (AᵀA)⁻¹ r.
        start: first vectors.
        k: how many.
        rtol: tolerance on the residual, relative to σ.
        max_dimension: largest subspace.
        confirm: fresh random vectors. With them an example that has converged is expanded from a
            fresh vector SEARCHES times more, and goes on where that unsettles a triplet: what grew
            from one vector holds one vector of a multiple value.
        stalled: called once, when PATIENCE expansions have not been enough, with the examples that
            are open; it returns vectors to search among, rows of zeros for the other examples:
            null vectors, which solves with a singular operator do not find.
    """
    # Inverse iteration before anything is projected: a random vector holds little of what is
    # wanted.
    basis = unit(approximate_inverse(start))[0][:, None]
    image = matvec(basis[:, 0])[:, None]
    size = norm(matvec(unit(start)[0]))  # of A, roughly: what rounds
    searches = torch.zeros_like(start[:, 0])
    while True:
        triplets, residuals = _rayleigh_ritz(
            basis, image, size, rmatvec, min(k, basis.shape[1]), rtol
        )
        finite = triplets.values.isfinite().all(1)
        open_ = ~triplets.converged & finite[:, None]
        growing = open_.any(1) | (finite & (basis.shape[1] < k))
        searching = (
            torch.zeros_like(growing)
            if confirm is None
            else finite & ~growing & (searches < SEARCHES)
        )
        if basis.shape[1] >= k and (
            triplets.steps >= max_dimension or not bool((growing | searching).any())
        ):
            return triplets
        if stalled is not None and basis.shape[1] >= k + PATIENCE and bool(growing.any()):
            for vector in stalled(growing).unbind(1):
                basis, image = _grown(basis, image, matvec, vector)
            stalled = None
            continue
        # The smallest that is open; the last one where all have converged and are fewer than k.
        worst = torch.where(open_.any(1), open_.to(torch.int8).argmax(1), residuals.shape[1] - 1)
        target = residuals.gather(1, worst[:, None, None].expand(-1, 1, residuals.shape[2]))[:, 0]
        target = torch.where(growing[:, None], target, 0.0)
        if confirm is not None:
            # A search that unsettled a triplet proves nothing: counting begins anew.
            searches = torch.where(growing, 0.0, searches + searching)
            fresh = fresh_vectors(confirm, basis.shape[1])
            # A triplet without a vector has no residual to expand by: the space has fewer than k
            # directions yet.
            lacking = growing & ~(target.abs().amax(1) > 0)
            target = torch.where((searching | lacking)[:, None], fresh, target)
        expansion, _ = unit(approximate_inverse(target))
        basis, image = _grown(basis, image, matvec, expansion)


def _grown(
    basis: Tensor, image: Tensor, matvec: Matvec, expansion: Tensor
) -> tuple[Tensor, Tensor]:
    """The subspace and its image with one vector more, a row of zeros where that lies in it."""
    floor = 100 * torch.finfo(basis.dtype).eps
    direction, _ = unit(orthogonalize(basis, expansion)[0], floor)
    grown = torch.cat([basis, direction[:, None]], 1)
    return grown, torch.cat([image, matvec(direction)[:, None]], 1)


def _rayleigh_ritz(
    basis: Tensor, image: Tensor, norm_a: Tensor, rmatvec: Matvec, k: int, rtol: float
) -> tuple[SingularTriplets, Tensor]:
    """Minimise ‖A v‖ over unit v in the subspace; the triplets and Aᵀ u − σ v.

    Directions of zeros, which frozen examples have, are left out.
    """
    # Squares of very small and very large numbers leave the range.
    scale = power_of_two(image.abs().amax((1, 2), keepdim=True))
    gram, lengths = transferred(HOST, torch.bmm(image / scale, image.mT / scale), basis.norm(dim=2))
    finite = gram.isfinite().all(2).all(1)
    gram = torch.where(finite[:, None, None], gram, 0.0)  # LAPACK would refuse the whole batch
    largest = torch.diagonal(gram, 0, 1, 2).amax(1)
    # Rows of zeros get twice the largest entry: the smallest values must not be theirs.
    empty = ~(lengths > 0.5)
    _, vectors = decomposed(
        torch.linalg.eigh,
        gram + torch.diag_embed(empty.to(gram.dtype)) * 2 * largest[:, None, None],
    )
    known = torch.stack([finite.to(gram.dtype), largest], 1)
    coefficients, known = transferred(basis.device, vectors[:, :, :k].mT, known)
    finite = known[:, 0] > 0
    largest = known[:, 1]
    v = torch.bmm(coefficients, basis)
    w = torch.bmm(coefficients, image)
    left, value = (part.unflatten(0, w.shape[:2]) for part in unit(w.flatten(0, 1)))
    floor = (
        10
        * torch.finfo(value.dtype).eps
        * torch.maximum(largest.sqrt() * scale[:, 0, 0], norm_a)[:, None]
    )
    # A smaller σ is zero, and A v a random direction: it has no left vector, and its residual is σ.
    left = torch.where((value <= floor)[..., None], 0.0, left)
    back = torch.stack([rmatvec(left[:, i]) for i in range(k)], 1)
    residual = back - value[..., None] * v
    size = norm(residual)
    values = torch.where(finite[:, None], value, torch.nan)
    present = norm(v) > 0.5
    return SingularTriplets(
        values,
        v,
        left,
        size,
        present & ((size <= rtol * value + floor) | (value <= floor)),
        basis.shape[1],
    ), residual
