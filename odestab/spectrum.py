"""Eigenvalues, singular values and logarithmic norms of an operator, each with its residual."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float, Inexact
from torch import Tensor

from odestab.krylov import ArnoldiFactorization, GolubKahanFactorization, LanczosFactorization, arnoldi, golub_kahan, lanczos
from odestab.linear_operator import AbstractOperator, affine, inverse, symmetric_part

DENSE_LIMIT = 256  # up to this dimension a matrix is cheaper than a Krylov space
WHICH_EIGENVALUES = ("LM", "LR", "SM")
WHICH_SINGULAR = ("LM", "SM")


@dataclasses.dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigen- or singular values per example, most wanted first, with what is known about their accuracy.

    Attributes:
        values: `(batch, k)`, complex for eigenvalues and real otherwise; NaN beyond an example's dimension.
        residuals: ‖A v − θ v‖ with ‖v‖ = 1 (for singular values the larger of ‖A v − σ u‖ and ‖Aᵀ u − σ v‖), recomputed from the vectors.
            For non-normal A an eigenvalue's error is up to its condition number times this.
        converged: residual ≤ rtol × the largest value found.
        matvecs: products of A or Aᵀ with the whole batch; those inside linear solves are not counted.
        kind: "exact" (dense LAPACK), "estimate" (Ritz values) or "bound".
        center: eigenvalues that are not listed satisfy |λ − center| ≤ |values[:, −1] − center| where which = "LM".
        complete: all eigenvalues are listed.
        right: unit right vectors `(batch, k, ...)` where they were computed: the input directions.
        left: unit left singular vectors: the output directions.
    """

    values: Inexact[Tensor, "batch k"]
    residuals: Float[Tensor, "batch k"]
    converged: Bool[Tensor, "batch k"]
    matvecs: int
    kind: str
    center: float | None = None
    complete: bool = False
    right: Inexact[Tensor, "batch k ..."] | None = None
    left: Inexact[Tensor, "batch k ..."] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class _Ritz:
    """Wanted values of a projected matrix, their residual estimates, and coefficients of right (and left) vectors."""

    values: Tensor
    estimates: Tensor
    right: Tensor
    left: Tensor | None = None


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
    max_dimension: int = 240,
) -> Spectrum:
    """The k leading eigenvalues of each example: dense where the matrix is small, else by Arnoldi without restart.

    Args:
        operator: A.
        k: how many; a complex pair may be cut in two.
        which: "LM" largest |λ − center|, "LR" largest real part, "SM" smallest |λ| (the same as sigma = 0).
        sigma: find the eigenvalues nearest to this shift instead, through GMRES on A − σI.
        rtol: tolerance on the residual, relative to the largest |λ − center| found (to |λ − σ| with a shift).
        generator: source of the start vector; None is a fixed seed.
        center: Krylov spaces do not change when A is shifted, so ranking around a center costs nothing.
        max_dimension: largest Krylov space; what has not converged by then is flagged.

    Raises:
        ValueError: if `which` is unknown, or k is not in 1..n.
    """
    _check(operator, k, which, WHICH_EIGENVALUES)
    if sigma is not None or which == "SM":
        return _shift_invert(operator, k, sigma or 0.0, rtol, generator, max_dimension)

    def rank(values: Tensor) -> Tensor:
        return values.real if which == "LR" else (values - center).abs()

    known = center if which == "LM" else None
    if max(operator.sizes) <= DENSE_LIMIT:
        return _dense_eigenvalues(operator, k, rank, known)
    start, flat = operator.random(generator).flatten(1), operator.flat(operator.mv)
    factorization, ritz = _grow_until(
        lambda previous, steps: arnoldi(flat, start, steps, previous),
        lambda f: _arnoldi_ritz(f, k, rank),
        lambda r: rtol * (r.values - center).abs().amax(1, keepdim=True),
        (k + 20, 20, min(max_dimension, *operator.sizes)),
    )
    right = torch.bmm(ritz.right.mT, factorization.basis[:, :-1].to(ritz.right)).view(-1, k, *operator.like.shape[1:])
    residuals = _eigen_residuals(operator, ritz.values, right)
    converged = residuals <= rtol * (ritz.values - center).abs().amax(1, keepdim=True)
    return Spectrum(ritz.values, residuals, converged, factorization.steps + 2 * k, "estimate", known, right=right)


def singular_values(
    operator: AbstractOperator,
    k: int = 1,
    which: str = "LM",
    rtol: float = 1e-6,
    generator: torch.Generator | None = None,
    *,
    max_dimension: int = 200,
) -> Spectrum:
    """The k largest singular values by Golub–Kahan, or the k smallest by Golub–Kahan on the inverse.

    Args:
        operator: A.
        k: how many.
        which: "LM" largest or "SM" smallest. A direct process misses small values by orders of magnitude, so "SM" solves
            with A and Aᵀ by GMRES.
        rtol: tolerance on the residual relative to the largest value (to each value itself for "SM"); the value's own error is of second
            order in it.
        generator: source of the start vector; None is a fixed seed.
        max_dimension: largest number of steps.

    Raises:
        ValueError: if `which` is unknown, or k is not in 1..n.
    """
    _check(operator, k, which, WHICH_SINGULAR)
    smallest = which == "SM"
    iterated = inverse(operator, rtol=min(rtol / 10, 1e-2)) if smallest else operator
    start, flat, rflat = operator.random(generator).flatten(1), operator.flat(iterated.mv), operator.flat(iterated.rmv)
    factorization, ritz = _grow_until(
        lambda previous, steps: golub_kahan(flat, rflat, start, steps, previous),
        lambda f: _bidiagonal_ritz(f, k),
        lambda r: rtol * r.values[:, :1],
        (k + 2 if smallest else k + 6, 2 if smallest else 4, min(max_dimension, *operator.sizes)),
    )
    shape = (-1, k, *operator.like.shape[1:])
    assert ritz.left is not None
    v = torch.bmm(ritz.right.mT, factorization.right[:, :-1]).view(shape)
    u = torch.bmm(ritz.left.mT, factorization.left).view(shape)
    values = 1 / ritz.values if smallest else ritz.values
    right, left = (u, v) if smallest else (v, u)
    residuals = _singular_residuals(operator, values, right, left)
    tolerance = rtol * (values if smallest else values[:, :1])
    return Spectrum(
        values, residuals, residuals <= tolerance, 2 * (factorization.steps + k), "estimate", right=right, left=left
    )


def logarithmic_norm(operator: AbstractOperator, rtol: float = 1e-6, generator: torch.Generator | None = None) -> Spectrum:
    """μ₂(A) = λ_max((A + Aᵀ)/2), the Euclidean logarithmic norm, by Lanczos: a Spectrum with k = 1.

    The value is a lower bound, and an eigenvalue of the symmetric part lies within the residual of it. Source: Dahlquist 1958;
    Mathematics, section 4.
    """
    symmetric = symmetric_part(operator)
    start, flat = operator.random(generator).flatten(1), operator.flat(symmetric.mv)
    factorization, ritz = _grow_until(
        lambda previous, steps: lanczos(flat, start, steps, previous),
        _lanczos_ritz,
        lambda r: rtol * r.values.abs(),
        (20, 10, min(200, *operator.sizes)),
    )
    right = torch.bmm(ritz.right.mT, factorization.basis).view(-1, 1, *operator.like.shape[1:])
    image = symmetric.mv(right.transpose(0, 1)).transpose(0, 1)
    residuals = (image - _times(ritz.values, right)).flatten(2).norm(dim=2)
    converged = residuals <= rtol * ritz.values.abs()
    matvecs = 2 * (factorization.arnoldi.steps + 1)
    return Spectrum(ritz.values, residuals, converged, matvecs, "estimate", right=right)


def _grow_until(
    grow: Callable[[Any, int], Any],
    extract: Callable[[Any], _Ritz],
    tolerance: Callable[[_Ritz], Tensor],
    schedule: tuple[int, int, int],
) -> tuple[Any, _Ritz]:
    """The one Krylov loop: grow by the schedule (first, stride, largest) until every estimate is below tolerance."""
    first, stride, largest = schedule
    dimension = min(first, largest)
    factorization = grow(None, dimension)
    while True:
        ritz = extract(factorization)
        if dimension == largest or bool((ritz.estimates <= tolerance(ritz)).all()):
            return factorization, ritz
        steps = min(stride, largest - dimension)
        factorization, dimension = grow(factorization, steps), dimension + steps


def _arnoldi_ritz(factorization: ArnoldiFactorization, k: int, rank: Callable[[Tensor], Tensor]) -> _Ritz:
    """The k best-ranked Ritz pairs. Those of a used-up space live on zero rows of the basis and rank last."""
    h = factorization.hessenberg
    values, vectors = torch.linalg.eig(h[:, :-1])
    alive = (factorization.basis[:, :-1].norm(dim=2) > 0.5).to(h.dtype)
    real = torch.einsum("bmj,bm->bj", vectors.abs() ** 2, alive) > 0.5
    chosen = torch.where(real, rank(values), -torch.inf).argsort(dim=1, descending=True)[:, :k]
    s = vectors.gather(2, chosen[:, None].expand(-1, vectors.shape[1], -1))
    return _Ritz(values.gather(1, chosen), h[:, -1, -1:].abs() * s[:, -1].abs(), s)


def _lanczos_ritz(factorization: LanczosFactorization) -> _Ritz:
    """The largest Ritz pair of a symmetric operator."""
    values, vectors = torch.linalg.eigh(factorization.tridiagonal)
    return _Ritz(values[:, -1:], (factorization.beta.abs() * vectors[:, -1, -1].abs())[:, None], vectors[:, :, -1:])


def _bidiagonal_ritz(factorization: GolubKahanFactorization, k: int) -> _Ritz:
    """The k largest singular triplets: A v = σ u holds exactly, ‖Aᵀ u − σ v‖ is β times the last entry of u."""
    c = factorization.projected
    p, values, qt = torch.linalg.svd(c[:, :, :-1])
    estimates = c[:, -1, -1:].abs() * p[:, -1, :k].abs()
    return _Ritz(values[:, :k], estimates, qt.mT[:, :, :k], p[:, :, :k])


def _shift_invert(
    operator: AbstractOperator, k: int, sigma: float, rtol: float, generator: torch.Generator | None, max_dimension: int
) -> Spectrum:
    """Eigenvalues nearest to sigma: λ = σ + 1/θ with θ leading eigenvalues of (A − σI)⁻¹; residuals are those of A."""
    inverted = inverse(affine(operator, -sigma, 1.0), rtol=rtol / 10)
    outer = eigenvalues(inverted, k, "LM", None, rtol, generator, max_dimension=max_dimension)
    assert outer.right is not None
    values = sigma + 1 / outer.values
    residuals = _eigen_residuals(operator, values, outer.right)
    converged = residuals <= rtol * (values - sigma).abs().clamp(min=rtol)
    return dataclasses.replace(outer, values=values, residuals=residuals, converged=converged, kind="estimate", center=None)


def _dense_eigenvalues(operator: AbstractOperator, k: int, rank: Callable[[Tensor], Tensor], center: float | None = None) -> Spectrum:
    """The k best-ranked eigenpairs of dense matrices, NaN where an example has fewer."""
    like = operator.like
    values = torch.full((like.shape[0], k), complex("nan"), dtype=_complex(like.dtype), device=like.device)
    residuals = like.new_full((like.shape[0], k), torch.nan)
    right = torch.zeros(like.shape[0], k, like[0].numel(), dtype=values.dtype, device=like.device)
    for example, (matrix, real) in enumerate(zip(operator.dense(), operator.real_entries(), strict=True)):
        found, vectors = torch.linalg.eig(matrix)
        chosen = rank(found).argsort(descending=True)[:k]
        found, vectors = found[chosen], vectors[:, chosen]
        values[example, : len(found)] = found
        residuals[example, : len(found)] = (matrix.to(vectors) @ vectors - vectors * found).norm(dim=0)
        right[example, : len(found)][:, real.to(like.device)] = vectors.T
    right = right.view(-1, k, *like.shape[1:])
    return Spectrum(values, residuals, residuals.isfinite(), max(operator.sizes), "exact", center=center, right=right)


def _eigen_residuals(operator: AbstractOperator, values: Tensor, right: Tensor) -> Tensor:
    """‖A v − θ v‖ for unit Ritz vectors, real and imaginary parts as tangents of one product."""
    tangents = torch.cat([right.real, right.imag], dim=1).transpose(0, 1)
    real, imaginary = operator.mv(tangents).transpose(0, 1).chunk(2, dim=1)
    return (torch.complex(real, imaginary) - _times(values, right)).flatten(2).norm(dim=2)


def _singular_residuals(operator: AbstractOperator, values: Tensor, right: Tensor, left: Tensor) -> Tensor:
    """max(‖A v − σ u‖, ‖Aᵀ u − σ v‖)."""
    forward = operator.mv(right.transpose(0, 1)).transpose(0, 1) - _times(values, left)
    backward = operator.rmv(left.transpose(0, 1)).transpose(0, 1) - _times(values, right)
    return torch.maximum(forward.flatten(2).norm(dim=2), backward.flatten(2).norm(dim=2))


def _times(values: Tensor, vectors: Tensor) -> Tensor:
    """values[b, k] · vectors[b, k, ...]."""
    return values.view(*values.shape, *(1 for _ in vectors.shape[2:])) * vectors


def _complex(dtype: torch.dtype) -> torch.dtype:
    return torch.complex64 if dtype == torch.float32 else torch.complex128


def _check(operator: AbstractOperator, k: int, which: str, allowed: tuple[str, ...]) -> None:
    if which not in allowed:
        raise ValueError(f"which must be one of {', '.join(allowed)}, got {which!r}")
    if not 1 <= k <= min(operator.sizes):
        raise ValueError(f"k must be in 1..{min(operator.sizes)}, the smallest example's dimension, got {k}")
