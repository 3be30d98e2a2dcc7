"""Eigenvalues of an operator: all of them by dense LAPACK, leading ones by Krylov–Schur."""

import dataclasses
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from odestab.krylov import Wanted, krylov_schur
from odestab.krylov.orthogonalization import norm
from odestab.krylov.ritz import condition_numbers
from odestab.operators.algebra import affine, inverse
from odestab.operators.coercion import OperatorLike, as_operator
from odestab.operators.factorized_inverse import factorized_inverse
from odestab.operators.linear_operator import AbstractOperator, ComposedOperator
from odestab.spectrum import record
from odestab.spectrum.record import Spectrum, check, times

SpectrumLike: TypeAlias = Spectrum | OperatorLike  # what `as_spectrum` takes

WHICH = ("LM", "LR", "SM")
# relative residual above which a solve with a shifted operator says that the shift is an eigenvalue
SOLVED = 0.1
ROUNDINGS = 10  # eps·‖A − σI‖_F: a residual below is rounding


def full_spectrum(operator: OperatorLike, limit: int = 1600) -> Spectrum:
    """All eigenvalues of each example's matrix by dense LAPACK, largest |λ| first.

    Rows of shorter examples end with NaN.

    Args:
        operator: A, an operator or a matrix of any kind.
        limit: largest dimension for which the dense matrix is formed.

    Raises:
        ValueError: if an example's dimension is above the limit.

    >>> f = od.LinearVectorField(torch.tensor([[-1.0, 8.0], [0.0, -2.0]]).double())
    >>> od.full_spectrum(od.Jacobian(f, torch.zeros(1, 2).double())).values.real.tolist()
    [[-2.0, -1.0]]
    """
    operator = as_operator(operator)
    if max(operator.sizes) > limit:
        raise ValueError(
            "full_spectrum forms dense matrices up to dimension "
            f"{limit}, got {max(operator.sizes)}; raise limit"
        )
    spectrum = _dense_eigenvalues(operator, max(operator.sizes), torch.abs)
    return dataclasses.replace(spectrum, right=None)


def as_spectrum(spectrum: SpectrumLike) -> Spectrum:
    """A spectrum itself, or the full one of an operator or a matrix of any kind.

    >>> as_spectrum([[0.0, 1.0], [-1.0, 0.0]]).values.abs().tolist()
    [[1.0, 1.0]]
    """
    return spectrum if isinstance(spectrum, Spectrum) else full_spectrum(spectrum)


def eigenvalues(
    operator: OperatorLike,
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
    """The k leading eigenvalues of each example: A v = λ v.

    Small matrices are formed and given to LAPACK. Larger ones are searched by Krylov–Schur, which
    is Arnoldi's method with thick restarts (Stewart 2001).

    Args:
        operator: A, an operator or a matrix of any kind.
        k: how many; a complex pair may be cut in two.
        which: "LM" largest |λ − center|, "LR" largest real part, "SM" smallest |λ| (the same as
            sigma = 0).
        sigma: find the eigenvalues nearest to this shift instead: dense where the matrix is small,
            else by solves with A − σI: dense LU up to dimension 1600, else GMRES, which a shift
            amid many eigenvalues can defeat; what then does not converge is flagged. A shift that
            is an eigenvalue is moved a little.
        rtol: tolerance on the residual, relative to the largest |λ − center| found; with a shift to
            |λ − σ| or, where that is less, to rtol·‖A − σI‖_F.
        generator: source of the start vector; None is a fixed seed.
        center: Krylov spaces do not change when A is shifted, so ranking around a center costs
            nothing.
        dimension: of the Krylov space before a restart, by default max(40, 3k); memory is about
            this many states and 4k more.
        max_matvecs: budget of products; what has not converged by then is flagged.
        confirm: search the complement of what was found from another start vector, as one Krylov
            space may hold one vector of a multiple eigenvalue or of a tight cluster, and again
            until a search finds nothing better; 30 to 60 % more products on random matrices.
        work_dtype: precision of the Krylov space, by default the operator's own; residuals are
            always taken in that.

    Raises:
        ValueError: if `which` is unknown, k is not in 1..n, or the dimension or the budget is too
            small for k.

    >>> f = od.LinearVectorField(torch.diag(torch.arange(-300.0, 0.0)).double())  # −300, …, −1
    >>> J = od.Jacobian(f, torch.zeros(1, 300).double())
    >>> stiff = od.eigenvalues(J, k=2)  # of largest modulus, matrix-free
    >>> stiff.values.real.round(decimals=3).tolist(), stiff.converged.tolist(), stiff.kind
    ([[-300.0, -299.0]], [[True, True]], 'estimate')
    """
    operator = as_operator(operator)
    dimension = max(40, 3 * k) if dimension is None else dimension
    check(
        operator, k, which, WHICH, (dimension, "dimension", 2 * k), (max_matvecs, "max_matvecs", k)
    )
    search = _Search(
        k,
        dimension,
        max_matvecs,
        confirm,
        generator or torch.Generator().manual_seed(0),
        work_dtype,
    )
    if sigma is not None or which == "SM":
        return _nearest(operator, search, sigma or 0.0, rtol)

    def rank(values: Tensor) -> Tensor:
        return values.real if which == "LR" else (values - center).abs()

    known = center if which == "LM" else None
    if max(operator.sizes) <= record.DENSE_LIMIT:
        return _dense_eigenvalues(operator, k, rank, known)
    spectrum, _ = search.run(
        operator, rank, lambda values: rtol * (values - center).abs().amax(1, keepdim=True)
    )
    return dataclasses.replace(spectrum, center=known)


@dataclasses.dataclass(frozen=True, eq=False)
class _Search:
    """The options of a Krylov–Schur search; see `eigenvalues`."""

    k: int
    dimension: int
    max_matvecs: int
    confirm: bool
    generator: torch.Generator
    work_dtype: torch.dtype | None

    def run(
        self,
        operator: AbstractOperator,
        rank: Callable[[Tensor], Tensor],
        tolerance: Callable[[Tensor], Tensor],
    ) -> tuple[Spectrum, Tensor]:
        """The k best-ranked eigenpairs, converged where the residual is below its tolerance; and
        the condition numbers of their values in the Krylov space.
        """
        work = operator.cast(self.work_dtype or operator.like.dtype)
        start, again = (operator.random(self.generator).flatten(1).to(work.like) for _ in range(2))
        pairs = krylov_schur(
            work.flat(work.mv),
            start,
            Wanted(self.k, rank, tolerance),
            dimension=self.dimension,
            max_products=self.max_matvecs,
            confirm=again if self.confirm else None,
            narrow=lambda examples: (some := work.take(examples)).flat(some.mv),
        )
        right = pairs.vectors.view(-1, self.k, *operator.like.shape[1:]).to(
            _complex(operator.like.dtype)
        )
        values = pairs.values.to(right.dtype)
        residuals, spent = _eigen_residuals(operator, values, right)
        converged = (residuals <= tolerance(values)) & pairs.converged[:, None]
        matvecs = pairs.total + spent
        spectrum = Spectrum(
            values,
            residuals,
            converged,
            matvecs,
            "estimate",
            right=right,
            failed_at=pairs.failed_at,
            uncertainty=_uncertainty(values, residuals, pairs.conditions),
            path=operator.path,
        )
        return spectrum, pairs.conditions


def _nearest(operator: AbstractOperator, search: _Search, sigma: float, rtol: float) -> Spectrum:
    """Eigenvalues nearest to sigma: λ = s + 1/θ with θ leading eigenvalues of (A − sI)⁻¹.

    Residuals are those of A.

    The shift s is σ, or beside it for an example of which σ is an eigenvalue to about half the
    digits: there the inverse does not exist, or drowns all other eigenvalues in its rounding.
    """

    def distance(values: Tensor) -> Tensor:
        return (values - sigma).abs()

    if max(operator.sizes) <= record.DENSE_LIMIT:
        return _dense_eigenvalues(operator, search.k, lambda values: -distance(values))
    shift, scale = _regular_shift(operator, sigma, rtol)
    inverted = _inverse(_minus(operator, shift), rtol)
    outer, conditions = search.run(inverted, torch.abs, lambda values: rtol * values.abs())
    assert outer.right is not None
    values = shift[:, None] + 1 / outer.values
    # The search ranked by the distance from s, which is not σ where the shift was moved.
    order = distance(values).argsort(dim=1, stable=True)
    values = values.gather(1, order)
    right = outer.right[torch.arange(len(order), device=order.device)[:, None], order]
    residuals, spent = _eigen_residuals(operator, values, right)
    rounding = ROUNDINGS * torch.finfo(residuals.dtype).eps * scale[:, None]
    # At σ itself the distance is rounding: there ‖A − σI‖ is what residuals are held against.
    converged = residuals <= rtol * distance(values).maximum(rtol * scale[:, None]) + rounding
    # Eigenvectors of the inverse are those of A, and so are their condition numbers.
    return dataclasses.replace(
        outer,
        values=values,
        residuals=residuals,
        converged=converged,
        right=right,
        matvecs=outer.matvecs + spent,
        uncertainty=_uncertainty(values, residuals, conditions.gather(1, order)),
    )


def _uncertainty(values: Tensor, residuals: Tensor, conditions: Tensor) -> Tensor:
    """How far an eigenvalue may lie, to first order: the condition number times the residual, and
    no less than CONDITION times, as the one of a Krylov space is a lower bound of the operator's.
    """
    size = values.abs().nan_to_num(0.0).amax(1, keepdim=True)
    rounding = torch.finfo(residuals.dtype).eps * size
    return conditions.to(residuals).clamp(min=record.CONDITION) * (residuals + rounding)


def _regular_shift(operator: AbstractOperator, sigma: float, rtol: float) -> tuple[Tensor, Tensor]:
    """σ moved by 10 √eps of ‖A − σI‖ where it is an eigenvalue; and ‖A − σI‖_F, roughly.

    One solve with a random vector tells: it is as long as the inverse is large.
    """
    like = operator.like
    probe = operator.random()
    shifted = affine(operator, -sigma, 1.0)
    length = norm(probe.flatten(1))
    size = norm(shifted.mv(probe).flatten(1)) / length
    solution = _inverse(shifted, rtol).mv(probe)
    lost = norm((shifted.mv(solution) - probe).flatten(1)) > SOLVED * length
    gain = norm(solution.flatten(1)) / length
    near = torch.finfo(like.dtype).eps ** 0.5
    # Written so that NaN counts as singular too.
    singular = lost | ~(gain * size * near < 1)
    size = torch.where(size > 0, size, 1.0)  # of A = σI too
    shift = torch.where(singular & size.isfinite(), sigma + 10 * near * size, sigma)
    dimensions = torch.tensor(operator.sizes, dtype=like.dtype, device=like.device)
    return shift, size * dimensions.sqrt()


def _inverse(operator: AbstractOperator, rtol: float) -> AbstractOperator:
    """A⁻¹ by LU factors where they fit, else by GMRES."""
    small = max(operator.sizes) <= record.FACTORIZED_LIMIT
    return factorized_inverse(operator) if small else inverse(operator, rtol=rtol / 10)


def _minus(operator: AbstractOperator, shift: Tensor) -> AbstractOperator:
    """A − sI with a shift per example."""
    # One shift for all joins the operator's own, and costs no pass over the state.
    if bool((shift == shift[0]).all()):
        return affine(operator, -float(shift[0]), 1.0)
    shifts = shift.view(-1, *(1 for _ in operator.like.shape[1:]))

    def minus(product: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda v: product(v) - shifts * operator.project(v)

    return ComposedOperator(
        minus(operator.mv), minus(operator.rmv), operator.like, operator.mask, parts=(operator,)
    )


def _dense_eigenvalues(
    operator: AbstractOperator,
    k: int,
    rank: Callable[[Tensor], Tensor],
    center: float | None = None,
) -> Spectrum:
    """The k best-ranked eigenpairs of dense matrices, NaN where an example has fewer."""
    like = operator.like
    values = torch.full(
        (like.shape[0], k), complex("nan"), dtype=_complex(like.dtype), device=like.device
    )
    residuals = like.new_full((like.shape[0], k), torch.nan)
    uncertainty = residuals.clone()
    right = torch.zeros(like.shape[0], k, like[0].numel(), dtype=values.dtype, device=like.device)
    for example, (matrix, real) in enumerate(
        zip(operator.dense(), operator.real_entries(), strict=True)
    ):
        if not matrix.isfinite().all():
            continue  # stays NaN: one such example is data, not an exception for the batch
        every, vectors = torch.linalg.eig(matrix)
        chosen = rank(every).argsort(descending=True)[:k]
        rounding = record.ROUNDINGS * torch.finfo(like.dtype).eps * norm(matrix.flatten(), 0)
        uncertainty[example, : len(chosen)] = rounding * condition_numbers(vectors)[chosen]
        every = every[chosen]
        vectors = vectors[:, chosen]
        values[example, : len(every)] = every
        residuals[example, : len(every)] = norm(matrix.to(vectors) @ vectors - vectors * every, 0)
        right[example, : len(every)][:, real.to(like.device)] = vectors.T
    right = right.view(-1, k, *like.shape[1:])
    n = max(operator.sizes)
    converged = residuals.isfinite()
    return Spectrum(
        values,
        residuals,
        converged,
        n,
        "exact",
        center=center,
        right=right,
        uncertainty=uncertainty,
        path=operator.path,
        complete=k >= n,
    )


def _eigen_residuals(
    operator: AbstractOperator, values: Tensor, right: Tensor
) -> tuple[Tensor, int]:
    """‖A v − θ v‖ for unit Ritz vectors, and the products that it took.

    One tangent at a time, its part of the residual added up, as k complex vectors more would be as
    large as a Krylov space.
    """
    # For real A the residuals of θ and of its conjugate are equal: one of a pair is computed.
    k = values.shape[1]
    examples = torch.arange(len(values), device=values.device)
    conjugate = (values[:, :, None] == values[:, None].conj()) & (
        values.imag[:, :, None] < 0
    )  # (batch, j, its partner)
    own = ~conjugate.any(2)
    # A real value needs one tangent and a complex one two: examples that need fewer go along.
    needed = torch.cat([own, own & (values.imag.abs() > 0)], 1).to(torch.int8)
    order = needed.argsort(dim=1, descending=True, stable=True)[:, : int(needed.sum(1).max())]
    sizes = right.real.new_zeros(values.shape)
    for column in order.unbind(1):
        chosen = column % k
        imaginary = (column >= k).view(-1, *(1 for _ in right.shape[2:]))
        v = right[examples, chosen]
        theta = values[examples, chosen]
        tangent = torch.where(imaginary, v.imag, v.real)
        # For v = a + ib, θ = x + iy: A a − x a + y b is the real part, A b − x b − y a the other.
        other = torch.where(imaginary, -v.real, v.imag)
        residual = operator.mv(tangent) - times(theta.real, tangent) + times(theta.imag, other)
        size = torch.hypot(sizes.gather(1, chosen[:, None]), norm(residual.flatten(1))[:, None])
        sizes.scatter_(1, chosen[:, None], size)
    partner = torch.where(
        own, torch.arange(k, device=values.device), conjugate.to(torch.int8).argmax(2)
    )
    return sizes.gather(1, partner), order.shape[1]


def _complex(dtype: torch.dtype) -> torch.dtype:
    return torch.complex64 if dtype == torch.float32 else torch.complex128
