"""Pseudospectra {z : σ_min(zI − A) ≤ ε}: σ_min at the points of a grid."""

import dataclasses

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float, Inexact
from torch import Tensor

from odestab.krylov import arnoldi
from odestab.nonnormality.resolvent import CHUNK_BYTES, Resolvent, resolvent
from odestab.operators.coercion import OperatorLike, as_operator
from odestab.operators.linear_operator import AbstractOperator
from odestab.operators.scaling import unit_scaled
from odestab.operators.schur_form import SchurForm, ShiftedTriplets

METHODS = ("auto", "dense", "inverse", "projected")
KINDS = {"dense": "exact", "inverse": "estimate", "projected": "bound"}


@dataclasses.dataclass(frozen=True, eq=False)
class Pseudospectrum:
    """σ_min(zI − A) on a grid (Mathematics, section 4).

    Its level line at ε bounds the ε-pseudospectrum.

    Attributes:
        grid: z, any shape.
        sigma_min: `(batch, *grid)`, NaN where A is not finite. Never too small but for rounding, so
            that every point where it is ≤ ε does belong to the ε-pseudospectrum.
        residuals: ‖(zI − A)* u − σ v‖ with (zI − A) v = σ u, or an equivalent of it: some singular
            value lies this near to `sigma_min`.
        converged: residual ≤ rtol·σ, or at the level of rounding.
        matvecs: products of A or Aᵀ with the whole batch, those inside linear solves included.
        kind: "exact" (from Schur forms), "estimate" (inverse iteration) or "bound": values from a
            projection are too large, so the drawn pseudospectra are too small.
        path: which code computed the products, as `Linearization` names it.

    >>> f = od.LinearVectorField(torch.diag(torch.tensor([1.0, -1.0])).double())  # normal
    >>> z = torch.tensor([0.0, 1.5, 1 + 2j])
    >>> sigma = od.pseudospectrum(od.Jacobian(f, torch.zeros(1, 2).double()), z)
    >>> sigma.sigma_min.round(decimals=6).tolist(), sigma.kind  # distances to eigenvalues
    ([[1.0, 0.5, 2.0]], 'exact')
    """

    grid: Complex[Tensor, "*grid"]
    sigma_min: Float[Tensor, "batch *grid"]
    residuals: Float[Tensor, "batch *grid"]
    converged: Bool[Tensor, "batch *grid"]
    matvecs: int
    kind: str
    path: str | None = None


def pseudospectrum(
    operator: OperatorLike,
    grid: Inexact[Tensor, "*grid"] | np.ndarray,
    method: str = "auto",
    *,
    rtol: float = 1e-4,
    steps: int = 60,
    generator: torch.Generator | None = None,
    prepared: Resolvent | None = None,
) -> Pseudospectrum:
    """σ_min(zI − A) on a grid.

    Points that mirror each other at the real axis are computed once, as A is real.

    * "dense": one Schur form, then inverse Lanczos at all points side by side (Trefethen 1999).
      1125 points at n = 1536 take some 15 s.
    * "inverse": inverse iteration in a growing subspace with GMRES, matrix-free; hundreds of
      products per point.
    * "projected": one Arnoldi process for all points, σ_min of its rectangular Hessenberg matrix
      (Toh and Trefethen 1996). Cheap and too large, by a factor of a few with a random start: a
      first look.

    Args:
        operator: A, an operator or a matrix of any kind.
        grid: points z, any shape, complex or real, a tensor or a NumPy array.
        method: "auto" is "dense" up to dimension 1600 and "inverse" above.
        rtol: tolerance on the residuals relative to σ; the error of a value is of second order in
            it.
        steps: dimension of the Krylov space of "projected".
        generator: source of the start vectors; None is a fixed seed.
        prepared: what `resolvent` made of the operator, to share one Schur form between calls; it
            decides the method but for "projected".

    Raises:
        ValueError: if the grid is empty or not finite, the method is unknown, rtol is not in (0,
            1), or steps is below 1.

    >>> f = od.LinearVectorField(torch.tensor([[0.0, 4.0], [0.0, 0.0]]).double())
    >>> grid = od.complex_grid(torch.tensor([0.2, 5**0.5]), torch.tensor([0.0]))
    >>> sigma = od.pseudospectrum(od.Jacobian(f, torch.zeros(1, 2).double()), grid)
    >>> sigma.sigma_min.round(decimals=4).tolist()  # 0.2 from λ: σ is 0.01
    [[[0.01, 1.0]]]
    """
    operator = as_operator(operator)
    grid = torch.as_tensor(grid)
    if grid.numel() == 0 or not grid.isfinite().all():
        raise ValueError(
            f"grid must hold at least one point and be finite, got shape {tuple(grid.shape)}"
        )
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    z = grid.to(operator.like.device, torch.complex128)
    # σ_min is the same at z and its conjugate: the upper half plane is computed, each point once.
    points, where = torch.stack([z.real.flatten(), z.imag.flatten().abs()], 1).unique(
        dim=0, return_inverse=True
    )
    points = torch.complex(*points.T.contiguous()).expand(len(operator.sizes), -1)
    if method == "projected":
        unit, scale = unit_scaled(operator)
        factor = scale.double()[:, None]
        triplets, spent = _projected(unit, points / factor, steps, rtol, generator)
        triplets = dataclasses.replace(
            triplets, values=factor * triplets.values, residuals=factor * triplets.residuals
        )
    else:
        level = (
            dataclasses.replace(prepared, rtol=rtol)
            if prepared
            else resolvent(operator, method, rtol, generator)
        )
        method = "dense" if level.forms else "inverse"
        triplets = level.triplets(points)
        spent = level.matvecs
    values, residuals, converged = (
        part[:, where].reshape(-1, *grid.shape)
        for part in (triplets.values, triplets.residuals, triplets.converged)
    )
    dtype = operator.like.dtype
    return Pseudospectrum(
        z, values.to(dtype), residuals.to(dtype), converged, spent, KINDS[method], operator.path
    )


def _projected(
    operator: AbstractOperator,
    z: Tensor,
    steps: int,
    rtol: float,
    generator: torch.Generator | None,
) -> tuple[ShiftedTriplets, int]:
    """σ_min(z Ĩ − H̃) of the rectangular Hessenberg matrix of one Arnoldi process an example."""
    space = arnoldi(
        operator.flat(operator.mv),
        operator.random(generator).flatten(1),
        min(steps, max(operator.sizes)),
    )
    images = (
        operator.rmv(space.basis.transpose(0, 1).reshape(-1, *operator.like.shape))
        .flatten(2)
        .transpose(0, 1)
    )
    rows = []
    for example in range(len(z)):
        basis, hessenberg, image = (
            part[example].double() for part in (space.basis, space.hessenberg, images)
        )
        if hessenberg.isfinite().all() and image.isfinite().all():
            chunk = max(1, CHUNK_BYTES // (64 * hessenberg.numel()))
            parts = [
                _projected_triplets(basis, hessenberg, image, part, rtol)
                for part in z[example].split(chunk)
            ]
            rows.append(ShiftedTriplets.stack(parts, "cat"))
        else:
            rows.append(
                SchurForm(z.new_full((1, 1), torch.nan)).smallest_singular(
                    z[example], z.real.new_ones(1), rtol
                )
            )
    return ShiftedTriplets.stack(rows), 2 * space.steps + 1


def _projected_triplets(
    basis: Tensor, hessenberg: Tensor, image: Tensor, z: Tensor, rtol: float
) -> ShiftedTriplets:
    """Triplets of one example: v = Qᵀy, u = Q̃ᵀp with (z Ĩ − H̃) y = σ p, and their residual.

    (zI − A) v = σ u is exact. (zI − A)* u − σ v has a part in the space and the part R p outside of
    it, so that nothing cancels.
    """
    scale = torch.linalg.matrix_norm(hessenberg) + z.abs()
    m = hessenberg.shape[1]
    shifted = z[:, None, None] * torch.eye(m + 1, m, dtype=z.dtype, device=z.device) - hessenberg
    # Rows of a used-up space are zero: their columns would give a singular value |z|.
    used_up = (basis[:-1].norm(dim=1) < 0.5).to(z.dtype)
    shifted.diagonal(dim1=1, dim2=2).add_(used_up * 3 * scale[:, None])
    p, values, y = torch.linalg.svd(shifted, full_matrices=False)
    p = p[:, :, -1]
    y = y[:, -1].conj()
    within = image @ basis.T
    # Only lengths outside of the space are needed: R has them, and Q is as large as the space.
    outside = torch.linalg.qr((image - within @ basis).T, mode="r")[1].to(z.dtype)
    inside = (
        z.conj()[:, None] * p
        - p @ within.to(z.dtype)
        - values[:, -1:] * torch.nn.functional.pad(y, (0, 1))
    )
    residual = torch.hypot(inside.norm(dim=1), (p @ outside.T).norm(dim=1))
    slopes = (y.conj() * p[:, :-1]).sum(1)
    rounding = 10 * torch.finfo(residual.dtype).eps * scale
    return ShiftedTriplets(
        values[:, -1], slopes, residual, rounding, residual <= rtol * values[:, -1] + rounding
    )
