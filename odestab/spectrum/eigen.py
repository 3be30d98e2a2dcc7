"""Eigenvalues of an operator: all of them by dense LAPACK, leading ones by Krylov–Schur."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from odestab.krylov import Wanted, krylov_schur
from odestab.linear_operator import AbstractOperator, affine, factorized_inverse, inverse
from odestab.spectrum import record
from odestab.spectrum.record import Spectrum, check, times

WHICH = ("LM", "LR", "SM")


def full_spectrum(operator: AbstractOperator, limit: int = 1600) -> Spectrum:
    """All eigenvalues of each example's matrix by dense LAPACK, largest |λ| first; NaN beyond a shorter example's dimension.

    Args:
        operator: A.
        limit: largest dimension for which the dense matrix is formed.

    Raises:
        ValueError: if an example's dimension is above the limit.
    """
    if max(operator.sizes) > limit:
        raise ValueError(f"full_spectrum forms dense matrices up to dimension {limit}, got {max(operator.sizes)}; raise limit")
    spectrum = _dense_eigenvalues(operator, max(operator.sizes), torch.abs)
    return dataclasses.replace(spectrum, complete=True, right=None)


def eigenvalues(
    operator: AbstractOperator,
    k: int = 8,
    which: str = "LM",
    sigma: float | None = None,
    rtol: float = 1e-6,
    generator: torch.Generator | None = None,
    *,
    center: float = 0.0,
    dimension: int | None = None,
    max_matvecs: int = 600,
    confirm: bool = True,
    work_dtype: torch.dtype | None = None,
) -> Spectrum:
    """The k leading eigenvalues of each example: dense where the matrix is small, else by Krylov–Schur (Arnoldi with thick restart).

    Args:
        operator: A.
        k: how many; a complex pair may be cut in two.
        which: "LM" largest |λ − center|, "LR" largest real part, "SM" smallest |λ| (the same as sigma = 0).
        sigma: find the eigenvalues nearest to this shift instead, by solves with A − σI: dense LU up to dimension 1600, else GMRES, which
            a shift amid many eigenvalues can defeat; what then does not converge is flagged.
        rtol: tolerance on the residual, relative to the largest |λ − center| found (to |λ − σ| with a shift).
        generator: source of the start vector; None is a fixed seed.
        center: Krylov spaces do not change when A is shifted, so ranking around a center costs nothing.
        dimension: of the Krylov space before a restart, by default max(40, 3k); memory is about this many states and 4k more.
        max_matvecs: budget of products; what has not converged by then is flagged.
        confirm: search the complement of what was found from a second start vector, as one Krylov space may hold one vector of a multiple
            eigenvalue or of a tight cluster; about a sixth more products.
        work_dtype: precision of the Krylov space, by default the operator's own; residuals are always taken in that.

    Raises:
        ValueError: if `which` is unknown, k is not in 1..n, or the dimension or the budget is too small for k.
    """
    dimension = max(40, 3 * k) if dimension is None else dimension
    check(operator, k, which, WHICH, (dimension, "dimension", 2 * k), (max_matvecs, "max_matvecs", k))
    if sigma is not None or which == "SM":
        shifted = affine(operator, -(sigma or 0.0), 1.0)
        inverted = factorized_inverse(shifted) if max(operator.sizes) <= record.FACTORIZED_LIMIT else inverse(shifted, rtol=rtol / 10)
        options: dict[str, Any] = {"dimension": dimension, "max_matvecs": max_matvecs, "confirm": confirm, "work_dtype": work_dtype}
        return _shifted_back(operator, eigenvalues(inverted, k, "LM", None, rtol, generator, **options), sigma or 0.0, rtol)

    def rank(values: Tensor) -> Tensor:
        return values.real if which == "LR" else (values - center).abs()

    known = center if which == "LM" else None
    if max(operator.sizes) <= record.DENSE_LIMIT:
        return _dense_eigenvalues(operator, k, rank, known)
    generator = generator or torch.Generator().manual_seed(0)
    work = operator.cast(work_dtype or operator.like.dtype)
    start, again = (operator.random(generator).flatten(1).to(work.like) for _ in range(2))

    def tolerance(values: Tensor) -> Tensor:
        return rtol * (values - center).abs().amax(1, keepdim=True)

    found = krylov_schur(
        work.flat(work.mv),
        start,
        Wanted(k, rank, tolerance),
        dimension=dimension,
        max_products=max_matvecs,
        confirm=again if confirm else None,
        narrow=lambda examples: (some := work.take(examples)).flat(some.mv),
    )
    right = found.vectors.view(-1, k, *operator.like.shape[1:]).to(_complex(operator.like.dtype))
    values = found.values.to(right.dtype)
    residuals, spent = _eigen_residuals(operator, values, right)
    converged = (residuals <= tolerance(values)) & found.converged[:, None]
    return Spectrum(values, residuals, converged, found.total + spent, "estimate", known, right=right, failed_at=found.failed_at)


def _shifted_back(operator: AbstractOperator, outer: Spectrum, sigma: float, rtol: float) -> Spectrum:
    """Eigenvalues nearest to sigma, λ = σ + 1/θ with θ leading eigenvalues of (A − σI)⁻¹; residuals are those of A."""
    assert outer.right is not None
    values = sigma + 1 / outer.values
    residuals, spent = _eigen_residuals(operator, values, outer.right)
    converged = residuals <= rtol * (values - sigma).abs().clamp(min=rtol)
    found = dataclasses.replace(outer, values=values, residuals=residuals, converged=converged, kind="estimate", center=None)
    return dataclasses.replace(found, matvecs=outer.matvecs + spent)


def _dense_eigenvalues(operator: AbstractOperator, k: int, rank: Callable[[Tensor], Tensor], center: float | None = None) -> Spectrum:
    """The k best-ranked eigenpairs of dense matrices, NaN where an example has fewer."""
    like = operator.like
    values = torch.full((like.shape[0], k), complex("nan"), dtype=_complex(like.dtype), device=like.device)
    residuals = like.new_full((like.shape[0], k), torch.nan)
    right = torch.zeros(like.shape[0], k, like[0].numel(), dtype=values.dtype, device=like.device)
    for example, (matrix, real) in enumerate(zip(operator.dense(), operator.real_entries(), strict=True)):
        if not matrix.isfinite().all():
            continue  # stays NaN: one such example is data, not an exception for the batch
        found, vectors = torch.linalg.eig(matrix)
        chosen = rank(found).argsort(descending=True)[:k]
        found, vectors = found[chosen], vectors[:, chosen]
        values[example, : len(found)] = found
        residuals[example, : len(found)] = (matrix.to(vectors) @ vectors - vectors * found).norm(dim=0)
        right[example, : len(found)][:, real.to(like.device)] = vectors.T
    right = right.view(-1, k, *like.shape[1:])
    return Spectrum(values, residuals, residuals.isfinite(), max(operator.sizes), "exact", center=center, right=right)


def _eigen_residuals(operator: AbstractOperator, values: Tensor, right: Tensor) -> tuple[Tensor, int]:
    """‖A v − θ v‖ for unit Ritz vectors, and the products that it took: two of a conjugate pair, one of a real value.

    One tangent at a time, its part of the residual added up, as k complex vectors more would be as large as a Krylov space.
    """
    k, examples = values.shape[1], torch.arange(len(values), device=values.device)
    conjugate = (values[:, :, None] == values[:, None].conj()) & (values.imag[:, :, None] < 0)  # (batch, j, its partner)
    own = ~conjugate.any(2)
    needed = torch.cat([own, own & (values.imag.abs() > 0)], 1).to(torch.int8)
    order = needed.argsort(dim=1, descending=True, stable=True)[:, : int(needed.sum(1).max())]
    squares = right.real.new_zeros(values.shape)
    for column in order.unbind(1):
        chosen, imaginary = column % k, (column >= k).view(-1, *(1 for _ in right.shape[2:]))
        v, theta = right[examples, chosen], values[examples, chosen]
        tangent, other = torch.where(imaginary, v.imag, v.real), torch.where(imaginary, -v.real, v.imag)
        residual = operator.mv(tangent) - times(theta.real, tangent) + times(theta.imag, other)
        squares.scatter_add_(1, chosen[:, None], residual.flatten(1).square().sum(1, keepdim=True))
    partner = torch.where(own, torch.arange(k, device=values.device), conjugate.to(torch.int8).argmax(2))
    return squares.gather(1, partner).sqrt(), order.shape[1]


def _complex(dtype: torch.dtype) -> torch.dtype:
    return torch.complex64 if dtype == torch.float32 else torch.complex128
