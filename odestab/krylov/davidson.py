"""Batched generalised Davidson iteration for the smallest singular triplet: inverse iteration with loose solves, kept in a subspace."""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from odestab.krylov.orthogonalization import Matvec, orthogonalize, unit


@dataclasses.dataclass(frozen=True, eq=False)
class SingularTriplet:
    """A v = σ u with σ > 0 the smallest over a subspace, per example.

    Attributes:
        value: σ, an upper bound of the smallest singular value.
        right: v, `(batch, n)`, unit.
        left: u = A v/σ, unit.
        residual: ‖Aᵀ u − σ v‖; A v = σ u holds to rounding.
        steps: the dimension of the subspace.
    """

    value: Float[Tensor, " batch"]
    right: Float[Tensor, "batch n"]
    left: Float[Tensor, "batch n"]
    residual: Float[Tensor, " batch"]
    steps: int


def smallest_singular_triplet(
    matvec: Matvec,
    rmatvec: Matvec,
    approximate_inverse: Matvec,
    start: Float[Tensor, "batch n"],
    rtol: float = 1e-4,
    max_dimension: int = 60,
) -> SingularTriplet:
    """The smallest singular value by Rayleigh–Ritz on AᵀA over a growing subspace (Morgan and Scott 1986).

    The subspace grows by (AᵀA)⁻¹ times the residual, solved loosely: the projection uses exact products with A, so a loose solve costs
    iterations and never accuracy. A direct Lanczos process would miss small values by orders of magnitude.

    Args:
        matvec: A, on `(batch, n)`.
        rmatvec: Aᵀ.
        approximate_inverse: r ↦ about (AᵀA)⁻¹ r.
        start: first vectors.
        rtol: tolerance on the residual, relative to σ.
        max_dimension: largest subspace.
    """
    basis, _ = unit(approximate_inverse(start))
    basis = basis[:, None]
    image = matvec(basis[:, 0])[:, None]
    while True:
        triplet, residual = _rayleigh_ritz(basis, image, rmatvec)
        open_ = triplet.residual > rtol * triplet.value
        if triplet.steps >= max_dimension or not bool(open_.any()):
            return triplet
        expansion, _ = unit(approximate_inverse(torch.where(open_[:, None], residual, 0.0)))
        direction, _ = unit(orthogonalize(basis, expansion)[0], 100 * torch.finfo(basis.dtype).eps)
        basis = torch.cat([basis, direction[:, None]], 1)
        image = torch.cat([image, matvec(direction)[:, None]], 1)


def _rayleigh_ritz(basis: Tensor, image: Tensor, rmatvec: Matvec) -> tuple[SingularTriplet, Tensor]:
    """Minimise ‖A v‖ over unit v in the subspace, directions of zeros (frozen examples) left out; the triplet and Aᵀ u − σ v."""
    gram = torch.bmm(image, image.mT)
    gram = torch.where(gram.isfinite().all(2).all(1)[:, None, None], gram, 0.0)  # LAPACK would refuse the whole batch
    empty = ~(basis.norm(dim=2) > 0.5)
    gram = gram + torch.diag_embed(empty.to(gram.dtype)) * torch.diagonal(gram, 0, 1, 2).amax(1)[:, None, None]
    _, vectors = torch.linalg.eigh(gram)
    coefficients = vectors[:, :, :1].mT
    v, w = torch.bmm(coefficients, basis)[:, 0], torch.bmm(coefficients, image)[:, 0]
    left, value = unit(w)
    residual = rmatvec(left) - value[:, None] * v
    return SingularTriplet(value, v, left, residual.norm(dim=1), basis.shape[1]), residual
