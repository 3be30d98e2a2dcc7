"""Finite-time Lyapunov exponents of a stack of layers, and how much less it amplifies than its layers one by one."""

import dataclasses
import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odestab.krylov import golub_kahan
from odestab.krylov.orthogonalization import norm
from odestab.krylov.ritz import bidiagonal_ritz, first_failure, grow_until
from odestab.linear_operator import AbstractOperator, ComposedOperator, compose, inverse, solve
from odestab.one_step import AbstractOneStepMethod, ExplicitEuler, ThetaMethod
from odestab.propagation import Methods, Path, follow
from odestab.scaling import unit_scaled
from odestab.spectrum import Spectrum, record
from odestab.trajectory import Trajectory

# in units of rtol: the residual of the linear solves behind the Krylov space and behind the values, and of the Krylov space itself
LOOSE_SOLVE, EXACT_SOLVE, KRYLOV = 0.25, 0.03, 0.5
SEEN = 0.3  # relative residual of the vector after the wanted ones
DIGITS = 64  # binary ones that the norms of all layers may take up, together, before they are scaled
ROUNDINGS = 10  # of eps: a product of so much less than the product of the norms is zero to rounding


@dataclasses.dataclass(frozen=True, eq=False)
class LyapunovExponents:
    """(1/L) log σ_i(D_{L−1}⋯D_0), largest first (Mathematics, section 5).

    Attributes:
        values: nats per layer, `(batch, k)`.
        residuals: of the singular triplets, in nats per layer: ‖Aᵀu − σv‖/(σL). Some exponent lies that near to each value; of the leading
            one the error is of second order in it.
        converged: the residual before it is scaled is at most rtol·σ_1, and every layer was solved.
        right: unit perturbations of the first state that grow at these rates.
        left: what they become, unit.
        matvecs: products with the whole stack or its transpose; each is one product, or one linear solve, per layer.
        kind: "estimate".
    """

    values: Float[Tensor, "batch k"]
    residuals: Float[Tensor, "batch k"]
    converged: Bool[Tensor, "batch k"]
    right: Float[Tensor, "batch k *event"]
    left: Float[Tensor, "batch k *event"]
    matvecs: int
    kind: str = "estimate"


@dataclasses.dataclass(frozen=True, eq=False)
class AlignmentLoss:
    """Σ_l log σ_1(D_l) − log σ_1(D_{L−1}⋯D_0): what a stack amplifies less than its layers would if their worst directions met.

    Attributes:
        value: nats, `(batch,)`, never negative but for the residuals; infinite where the product is zero or below rounding
            though no layer is (`converged` only where it is zero exactly), NaN where a layer is zero.
        layers: log σ_1(D_l), nats, `(batch, L)`.
        product: log σ_1 of the whole stack, nats, `(batch,)`.
        residuals: ‖Aᵀu − σv‖/σ of the layers and, last, of the stack, `(batch, L + 1)`: nats, each value's error is of second order in it.
        converged: every residual is at most rtol, and every layer was solved.
        matvecs: products with one layer's derivative, or linear solves.
        kind: "estimate".
    """

    value: Float[Tensor, " batch"]
    layers: Float[Tensor, "batch layers"]
    product: Float[Tensor, " batch"]
    residuals: Float[Tensor, "batch levels"]
    converged: Bool[Tensor, " batch"]
    matvecs: int
    kind: str = "estimate"


def lyapunov_exponents(
    trajectory: Trajectory | Path,
    k: int = 1,
    methods: Methods | None = None,
    rtol: float = 1e-4,
    generator: torch.Generator | None = None,
    *,
    max_dimension: int = 200,
    work_dtype: torch.dtype | None = None,
) -> LyapunovExponents:
    """The k largest finite-time Lyapunov exponents, by Golub–Kahan on the product of all step derivatives.

    One pass of QR through the layers, the usual method for long orbits, is wrong for a dozen layers: its first vectors are still the
    random ones it began with.

    Args:
        trajectory: the fields, or a path that was followed already.
        k: how many.
        methods: one-step methods as `propagate` takes them; not with a path, which has its own.
        rtol: tolerance on the residuals relative to σ_1: rtol/L nats on the leading exponent. Linear solves are in proportion to it; those
            behind the values, whose error is theirs, to 3 % of it.
        generator: source of the start vector; None is a fixed seed.
        max_dimension: largest Krylov space.
        work_dtype: precision of the Krylov space; residuals are always taken in the state's own, which is the default.

    Raises:
        ValueError: if k is not in 1..n, methods do not fit the layers, or both a path and methods are given.
    """
    path = _path(trajectory, methods)
    *sides, logs = _derivatives(path, rtol)
    loose, exact = map(compose, sides)
    start = exact.random(generator)
    found = inexact_singular_values(loose, exact, start, k, rtol, max_dimension=max_dimension, work_dtype=work_dtype)
    assert found.right is not None and found.left is not None
    depth, solved = path.trajectory.depth, path.converged.all(1, keepdim=True)
    relative = _relative(found.residuals, found.values)
    values = (found.values.log() + logs.sum(1, keepdim=True)) / depth
    # Below rounding of σ_1 a singular value is zero for all that is known, and its logarithm a random number.
    told = (found.values > ROUNDINGS * torch.finfo(values.dtype).eps * found.values[:, :1]) | (found.values == 0)
    converged = found.converged & solved & told
    return LyapunovExponents(values, relative / depth, converged, found.right, found.left, found.matvecs + 1)


def alignment_loss(
    trajectory: Trajectory | Path,
    methods: Methods | None = None,
    rtol: float = 1e-3,
    generator: torch.Generator | None = None,
    *,
    work_dtype: torch.dtype | None = None,
) -> AlignmentLoss:
    """Σ_l log σ_1(D_l) − log σ_1(D_{L−1}⋯D_0) along a path: a product of layer norms says nothing about the stack.

    Args:
        trajectory: the fields, or a path that was followed already.
        methods: one-step methods as `propagate` takes them; not with a path.
        rtol: tolerance on every residual relative to its σ.
        generator: source of the start vectors.
        work_dtype: precision of the Krylov spaces.

    Raises:
        ValueError: if methods do not fit the layers, or both a path and methods are given.
    """
    path = _path(trajectory, methods)
    loose, exact, scales = _derivatives(path, rtol)
    start = exact[0].random(generator)
    parts = [*zip(loose, exact, strict=True), (compose(loose), compose(exact))]
    spectra = [inexact_singular_values(a, b, start, 1, rtol, work_dtype=work_dtype) for a, b in parts]
    values, residuals, converged = (torch.cat([getattr(s, name) for s in spectra], 1) for name in ("values", "residuals", "converged"))
    logs, solved = values.log(), path.converged.all(1)
    depth = path.trajectory.depth
    matvecs = sum(s.matvecs for s in spectra[:-1]) + spectra[-1].matvecs * depth + depth
    layers, product = logs[:, :-1].sum(1), logs[:, -1]
    # A product below rounding of what the norms multiply to is zero for all that is known: the loss is infinite, and
    # certain only where the product is zero exactly.
    lost = product <= layers + math.log(ROUNDINGS * depth * torch.finfo(logs.dtype).eps)
    converged = converged.all(1) & solved & (~lost | (product == -torch.inf)) & layers.isfinite()
    product = torch.where(lost, -torch.inf, product)
    relative = _relative(residuals, values)
    return AlignmentLoss(layers - product, logs[:, :-1] + scales, product + scales.sum(1), relative, converged, matvecs)


def inexact_singular_values(
    loose: AbstractOperator,
    exact: AbstractOperator,
    start: Float[Tensor, "batch *event"],
    k: int = 1,
    rtol: float = 1e-4,
    *,
    max_dimension: int = 200,
    work_dtype: torch.dtype | None = None,
) -> Spectrum:
    """The k largest singular values of an operator whose products cost linear solves: loose ones for the space, exact ones for the values.

    Golub–Kahan with loose products finds right vectors V; the values are those of A V with exact products, so that the leading one is of
    second order in what is wrong with V. One vector more than is wanted must have begun to converge: the tolerance is loose, and a space
    that has not seen a direction yet cannot tell.

    Args:
        loose: about A.
        exact: A; the same operator if its products are cheap.
        start: the first vectors, a random one or one that is known to be near.
        k: how many.
        rtol: tolerance on ‖Aᵀu − σv‖ relative to σ_1; A v = σ u holds to rounding.
        max_dimension: largest Krylov space.
        work_dtype: precision of the Krylov space.

    Raises:
        ValueError: if k is not in 1..n or above max_dimension.
    """
    record.check(exact, k, "LM", ("LM",), (max_dimension, "max_dimension", k))
    largest = min(max_dimension, max(exact.sizes))
    work = loose.cast(work_dtype or loose.like.dtype)
    flat, rflat, first = work.flat(work.mv), work.flat(work.rmv), start.flatten(1).to(work.like)
    wanted = min(k + 1, largest)
    limits = torch.full((wanted,), KRYLOV * rtol).index_fill(0, torch.arange(k, wanted), max(SEEN, rtol)).to(work.like.dtype)
    factorization, ritz = grow_until(
        lambda previous, steps: golub_kahan(flat, rflat, first, steps, previous),
        lambda f: bidiagonal_ritz(f, wanted),
        lambda r: limits * r.values[:, :1],
        (k + 2, 1, largest),
    )
    right = torch.bmm(ritz.right[:, :, :k].mT, factorization.right[:, :-1]).to(exact.like)
    found = rayleigh_ritz(exact, right.view(-1, k, *exact.like.shape[1:]), rtol)
    return dataclasses.replace(found, matvecs=2 * (factorization.steps + k), failed_at=first_failure(factorization.projected.mT))


def rayleigh_ritz(operator: AbstractOperator, right: Float[Tensor, "batch k *event"], rtol: float) -> Spectrum:
    """Singular triplets of A on the space of k orthonormal vectors per example: A v = σ u exactly, the residual is ‖Aᵀu − σv‖."""
    image = operator.mv(right.transpose(0, 1)).transpose(0, 1).flatten(2)
    finite = image.isfinite().flatten(1).all(1) & (right != 0).flatten(1).any(1)  # no vectors: padding alone
    left, values, rotation = torch.linalg.svd(torch.where(finite[:, None, None], image, 0.0).mT, full_matrices=False)
    right, left = torch.bmm(rotation, right.flatten(2)).view_as(right), left.mT.reshape(right.shape)
    back = operator.rmv(left.transpose(0, 1)).transpose(0, 1)
    residuals = norm((back - record.times(values, right)).flatten(2))
    values, residuals = (torch.where(finite[:, None], part, torch.nan) for part in (values, residuals))
    return Spectrum(values, residuals, residuals <= rtol * values[:, :1], 2 * right.shape[1], "estimate", right=right, left=left)


def _relative(residuals: Tensor, values: Tensor) -> Tensor:
    """Residuals relative to their values; 0 where both are 0."""
    return torch.where((values == 0) & (residuals == 0), 0.0, residuals / values)


def _path(trajectory: Trajectory | Path, methods: Methods | None) -> Path:
    if isinstance(trajectory, Path):
        if methods is not None:
            raise ValueError("methods must be None for a path, which has its own; got both")
        return trajectory
    declared: Methods = trajectory.methods if trajectory.methods is not None else ExplicitEuler(1.0)
    return follow(trajectory, declared if methods is None else methods)


def _derivatives(path: Path, rtol: float) -> tuple[list[AbstractOperator], list[AbstractOperator], Tensor]:
    """The derivatives along a path with loose and with exact linear solves, over the same linearisations.

    Each is divided by a power of two near its norm, so that no product of many leaves the range of the precision; their
    logarithms, `(batch, L)`, come along.
    """

    def no_tighter(method: AbstractOneStepMethod) -> AbstractOneStepMethod:
        if isinstance(method, ThetaMethod):
            return dataclasses.replace(method, linear_rtol=max(method.linear_rtol, EXACT_SOLVE * rtol))
        return method

    derivatives = dataclasses.replace(path, methods=tuple(map(no_tighter, path.methods))).derivatives()
    inside = [d.inverse_of if isinstance(d, ComposedOperator) else None for d in derivatives]
    pairs, logs = [], []
    for derivative, inverted in zip(derivatives, inside, strict=True):
        operator, scale = unit_scaled(derivative if inverted is None else inverted, DIGITS // len(derivatives))
        pairs.append((operator, operator) if inverted is None else inverses(operator, rtol))
        logs.append(scale.log() if inverted is None else -scale.log())
    return [loose for loose, _ in pairs], [exact for _, exact in pairs], torch.stack(logs, 1)


def inverses(operator: AbstractOperator, rtol: float) -> tuple[AbstractOperator, AbstractOperator]:
    """A⁻¹ by loose and by exact solves for values of tolerance rtol; where an exact solve fails its product is NaN, not a value."""

    def exact(transposed: bool) -> Callable[[Tensor], Tensor]:
        def apply(b: Tensor) -> Tensor:
            found = solve(operator, b, max(EXACT_SOLVE * rtol, 20 * torch.finfo(b.dtype).eps), transposed=transposed)
            return torch.where(found.converged[:, None], found.solution, torch.nan).view_as(b)

        return apply

    return inverse(operator, LOOSE_SOLVE * rtol), ComposedOperator(exact(False), exact(True), operator.like, operator.mask)
