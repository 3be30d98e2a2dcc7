"""Eigenvalues, singular values and logarithmic norms of an operator, each with its residual."""

import dataclasses
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Inexact
from torch import Tensor

from odestab.krylov import arnoldi, golub_kahan, lanczos, smallest_singular_triplet
from odestab.krylov.ritz import arnoldi_ritz, bidiagonal_ritz, grow_until, lanczos_ritz
from odestab.linear_operator import AbstractOperator, ComposedOperator, affine, inverse, symmetric_part

DENSE_LIMIT = 256  # up to this dimension a matrix is cheaper than a Krylov space
LOOSE_SOLVE = 0.05  # relative residual of the solves inside inverse iteration; least products on real layers
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
        ValueError: if `which` is unknown, or k is not in 1..n or above max_dimension.
    """
    _check(operator, k, which, WHICH_EIGENVALUES, max_dimension)
    if sigma is not None or which == "SM":
        return _shift_invert(operator, k, sigma or 0.0, rtol, generator, max_dimension)

    def rank(values: Tensor) -> Tensor:
        return values.real if which == "LR" else (values - center).abs()

    known = center if which == "LM" else None
    if max(operator.sizes) <= DENSE_LIMIT:
        return _dense_eigenvalues(operator, k, rank, known)
    start, flat = operator.random(generator).flatten(1), operator.flat(operator.mv)
    factorization, ritz = grow_until(
        lambda previous, steps: arnoldi(flat, start, steps, previous),
        lambda f: arnoldi_ritz(f, k, rank),
        lambda r: rtol * (r.values - center).abs().amax(1, keepdim=True),
        (k + 20, 20, min(max_dimension, max(operator.sizes))),
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
    """The k largest singular values by Golub–Kahan, or the smallest one by inverse iteration in a growing subspace (Davidson).

    For an operator made by `inverse`, the largest value is one over the smallest of what was inverted, and is computed as that.

    Args:
        operator: A.
        k: how many; 1 for "SM".
        which: "LM" largest or "SM" smallest. A direct process misses small values by orders of magnitude, so "SM" solves
            with A and Aᵀ by GMRES, loosely: accuracy comes from exact products with A.
        rtol: tolerance on the residual relative to the largest value (to the value itself for "SM"); the value's own error is of second
            order in it.
        generator: source of the start vector; None is a fixed seed.
        max_dimension: largest number of steps.

    Raises:
        ValueError: if `which` is unknown, k is not in 1..n or above max_dimension, or k > 1 for "SM".
    """
    _check(operator, k, which, WHICH_SINGULAR, max_dimension)
    if which == "SM":
        return _smallest_singular_value(operator, k, rtol, generator, min(max_dimension, max(operator.sizes)))
    if k == 1 and isinstance(operator, ComposedOperator) and operator.inverse_of is not None:
        return _inverted(singular_values(operator.inverse_of, 1, "SM", rtol, generator, max_dimension=max_dimension))
    start, flat, rflat = operator.random(generator).flatten(1), operator.flat(operator.mv), operator.flat(operator.rmv)
    factorization, ritz = grow_until(
        lambda previous, steps: golub_kahan(flat, rflat, start, steps, previous),
        lambda f: bidiagonal_ritz(f, k),
        lambda r: rtol * r.values[:, :1],
        (k + 5, 2, min(max_dimension, max(operator.sizes))),
    )
    shape = (-1, k, *operator.like.shape[1:])
    right = torch.bmm(ritz.right.mT, factorization.right[:, :-1]).view(shape)
    left = torch.bmm(ritz.left.mT, factorization.left).view(shape)
    residuals = _singular_residuals(operator, ritz.values, right, left)
    converged = residuals <= rtol * ritz.values[:, :1]
    return Spectrum(ritz.values, residuals, converged, 2 * (factorization.steps + k), "estimate", right=right, left=left)


def logarithmic_norm(operator: AbstractOperator, rtol: float = 1e-6, generator: torch.Generator | None = None) -> Spectrum:
    """μ₂(A) = λ_max((A + Aᵀ)/2), the Euclidean logarithmic norm, by Lanczos: a Spectrum with k = 1.

    The value is a lower bound, and an eigenvalue of the symmetric part lies within the residual of it. Source: Dahlquist 1958;
    Mathematics, section 4.
    """
    symmetric = symmetric_part(operator)
    start, flat = operator.random(generator).flatten(1), operator.flat(symmetric.mv)
    factorization, ritz = grow_until(
        lambda previous, steps: lanczos(flat, start, steps, previous),
        lanczos_ritz,
        lambda r: rtol * r.values.abs(),
        (20, 10, min(200, max(operator.sizes))),
    )
    right = torch.bmm(ritz.right.mT, factorization.basis).view(-1, 1, *operator.like.shape[1:])
    image = symmetric.mv(right.transpose(0, 1)).transpose(0, 1)
    residuals = (image - _times(ritz.values, right)).flatten(2).norm(dim=2)
    converged = residuals <= rtol * ritz.values.abs()
    matvecs = 2 * (factorization.arnoldi.steps + 1)
    return Spectrum(ritz.values, residuals, converged, matvecs, "estimate", right=right)


def _smallest_singular_value(
    operator: AbstractOperator, k: int, rtol: float, generator: torch.Generator | None, max_dimension: int
) -> Spectrum:
    """The smallest singular triplet by Davidson, its expansions solved to LOOSE_SOLVE."""
    if k != 1:
        raise ValueError(f'k must be 1 for which="SM", got {k}')
    loose = inverse(operator, LOOSE_SOLVE)
    triplet = smallest_singular_triplet(
        operator.flat(operator.mv),
        operator.flat(operator.rmv),
        operator.flat(lambda r: loose.mv(loose.rmv(r))),
        operator.random(generator).flatten(1),
        rtol,
        max_dimension,
    )
    values, residuals = triplet.value[:, None], triplet.residual[:, None]
    shape = (-1, 1, *operator.like.shape[1:])
    return Spectrum(
        values,
        residuals,
        residuals <= rtol * values,
        2 * triplet.steps,
        "estimate",
        right=triplet.right.view(shape),
        left=triplet.left.view(shape),
    )


def _inverted(smallest: Spectrum) -> Spectrum:
    """The largest singular value of A⁻¹ from the smallest of A: 1/σ, residual scaled to it, left and right exchanged."""
    values = 1 / smallest.values
    return dataclasses.replace(smallest, values=values, residuals=smallest.residuals * values**2, right=smallest.left, left=smallest.right)


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


def _check(operator: AbstractOperator, k: int, which: str, allowed: tuple[str, ...], max_dimension: int) -> None:
    if which not in allowed:
        raise ValueError(f"which must be one of {', '.join(allowed)}, got {which!r}")
    if not 1 <= k <= min(operator.sizes):
        raise ValueError(f"k must be in 1..{min(operator.sizes)}, the smallest example's dimension, got {k}")
    if max_dimension < k:
        raise ValueError(f"max_dimension must be at least k = {k}, got {max_dimension}")
