"""Batched generalised Davidson iteration for the smallest singular triplets: inverse iteration with loose solves, kept in a subspace."""

import dataclasses

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odestab.krylov.orthogonalization import Matvec, orthogonalize, unit
from odestab.krylov.projected import HOST, decomposed, transferred


@dataclasses.dataclass(frozen=True, eq=False)
class SingularTriplets:
    """A v = σ u with the smallest σ ≥ 0 over a subspace, per example, smallest first.

    Attributes:
        values: σ, upper bounds of the smallest singular values; NaN where the operator is not finite.
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
) -> SingularTriplets:
    """The k smallest singular values by Rayleigh–Ritz on AᵀA over a growing subspace (Morgan and Scott 1986).

    The subspace grows by (AᵀA)⁻¹ times the residual of the first triplet that has not converged, solved loosely: the projection uses exact
    products with A, so a loose solve costs iterations and never accuracy. A direct Lanczos process would miss small values by orders of
    magnitude. An example that has converged adds zeros from then on, so that batch mates change nothing.

    Args:
        matvec: A, on `(batch, n)`; the residuals of k triplets are taken one by one.
        rmatvec: Aᵀ.
        approximate_inverse: r ↦ about (AᵀA)⁻¹ r.
        start: first vectors.
        k: how many.
        rtol: tolerance on the residual, relative to σ.
        max_dimension: largest subspace.
    """
    basis = unit(approximate_inverse(start))[0][:, None]
    image = matvec(basis[:, 0])[:, None]
    while True:
        triplets, residuals = _rayleigh_ritz(basis, image, rmatvec, min(k, basis.shape[1]), rtol)
        open_ = ~triplets.converged & triplets.values.isfinite()
        if basis.shape[1] >= k and (triplets.steps >= max_dimension or not bool(open_.any())):
            return triplets
        worst = torch.where(open_.any(1), open_.to(torch.int8).argmax(1), residuals.shape[1] - 1)
        target = residuals.gather(1, worst[:, None, None].expand(-1, 1, residuals.shape[2]))[:, 0]
        wanting = open_.any(1) | (triplets.values.isfinite().all(1) & (basis.shape[1] < k))
        expansion, _ = unit(approximate_inverse(torch.where(wanting[:, None], target, 0.0)))
        direction, _ = unit(orthogonalize(basis, expansion)[0], 100 * torch.finfo(basis.dtype).eps)
        basis = torch.cat([basis, direction[:, None]], 1)
        image = torch.cat([image, matvec(direction)[:, None]], 1)


def _rayleigh_ritz(basis: Tensor, image: Tensor, rmatvec: Matvec, k: int, rtol: float) -> tuple[SingularTriplets, Tensor]:
    """Minimise ‖A v‖ over unit v in the subspace, directions of zeros (frozen examples) left out; the triplets and Aᵀ u − σ v."""
    gram, lengths = transferred(HOST, torch.bmm(image, image.mT), basis.norm(dim=2))
    finite = gram.isfinite().all(2).all(1)
    gram = torch.where(finite[:, None, None], gram, 0.0)  # LAPACK would refuse the whole batch
    largest = torch.diagonal(gram, 0, 1, 2).amax(1)
    empty = ~(lengths > 0.5)
    _, vectors = decomposed(torch.linalg.eigh, gram + torch.diag_embed(empty.to(gram.dtype)) * 2 * largest[:, None, None])
    known = torch.stack([finite.to(gram.dtype), largest], 1)
    coefficients, known = transferred(basis.device, vectors[:, :, :k].mT, known)
    finite, largest = known[:, 0] > 0, known[:, 1]
    v, w = torch.bmm(coefficients, basis), torch.bmm(coefficients, image)
    left, value = (part.unflatten(0, w.shape[:2]) for part in unit(w.flatten(0, 1)))
    back = torch.stack([rmatvec(left[:, i]) for i in range(k)], 1)
    residual = back - value[..., None] * v
    size = residual.norm(dim=2)
    floor = 10 * torch.finfo(value.dtype).eps * largest.sqrt()[:, None]  # a smaller σ is zero, and has no left vector
    values = torch.where(finite[:, None], value, torch.nan)
    return SingularTriplets(values, v, left, size, (size <= rtol * value + floor) | (value <= floor), basis.shape[1]), residual
