"""Singular values of an operator whose products cost linear solves: loose ones for the space, exact
ones for the values.
"""

import dataclasses
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from odestab.krylov import SingularSearch, largest_singular_triplets
from odestab.krylov.orthogonalization import norm
from odestab.operators.algebra import inverse, solve
from odestab.operators.linear_operator import AbstractOperator, ComposedOperator
from odestab.spectrum import record
from odestab.spectrum.record import Spectrum

# in units of rtol: the residual of the linear solves behind the Krylov space and behind the values,
# and of the Krylov space itself
LOOSE_SOLVE = 0.25
EXACT_SOLVE = 0.03
KRYLOV = 0.5
SEEN = 0.3  # relative residual of the vector after the wanted ones


def inexact_singular_values(
    loose: AbstractOperator,
    exact: AbstractOperator,
    start: Float[Tensor, "batch *event"],
    k: int = 1,
    rtol: float = 1e-4,
    *,
    again: Float[Tensor, "batch *event"] | None = None,
    max_dimension: int = 200,
    work_dtype: torch.dtype | None = None,
) -> Spectrum:
    """The k largest singular values of an operator whose products cost linear solves: loose ones
    for the space, exact ones for the values.

    Golub–Kahan with loose products finds right vectors V; the values are those of A V with exact
    products, so that the leading one is of second order in what is wrong with V. One vector more
    than is wanted must have begun to converge: the tolerance is loose, and a space that has not
    seen a direction yet cannot tell.

    Args:
        loose: about A.
        exact: A; the same operator if its products are cheap.
        start: the first vectors, a random one or one that is known to be near.
        k: how many.
        again: fresh random vectors, with which the complement of k > 1 vectors is searched until a
            search finds nothing better; without them no such value counts as converged.
        rtol: tolerance on ‖Aᵀu − σv‖ relative to σ_1; A v = σ u holds to rounding.
        max_dimension: largest Krylov space.
        work_dtype: precision of the Krylov space.

    Raises:
        ValueError: if k is not in 1..n or above max_dimension.
    """
    record.check(exact, k, "LM", ("LM",), (max_dimension, "max_dimension", k))
    largest = min(max_dimension, max(exact.sizes))
    work = loose.cast(work_dtype or loose.like.dtype)
    triplets = largest_singular_triplets(
        work.flat(work.mv),
        work.flat(work.rmv),
        start.flatten(1).to(work.like),
        SingularSearch(k, KRYLOV * rtol, (k + 2, 1, largest), SEEN),
        None if again is None else again.flatten(1).to(work.like),
    )
    right = triplets.right.to(exact.like).view(-1, k, *exact.like.shape[1:])
    spectrum = rayleigh_ritz(exact, right, rtol)
    return dataclasses.replace(
        spectrum,
        converged=spectrum.converged & triplets.settled[:, None],
        matvecs=2 * (triplets.steps + k),
        failed_at=triplets.failed_at,
    )


def rayleigh_ritz(
    operator: AbstractOperator, right: Float[Tensor, "batch k *event"], rtol: float
) -> Spectrum:
    """Singular triplets of A on the space of k orthonormal vectors per example: A v = σ u exactly,
    the residual is ‖Aᵀu − σv‖.
    """
    image = operator.mv(right.transpose(0, 1)).transpose(0, 1).flatten(2)
    # An example of padding alone has no vectors.
    finite = image.isfinite().flatten(1).all(1) & (right != 0).flatten(1).any(1)
    left, values, rotation = torch.linalg.svd(
        torch.where(finite[:, None, None], image, 0.0).mT, full_matrices=False
    )
    # Both sides turn alike, so that A v = σ u stays exact and only Aᵀu can be wrong.
    right = torch.bmm(rotation, right.flatten(2)).view_as(right)
    left = left.mT.reshape(right.shape)
    back = operator.rmv(left.transpose(0, 1)).transpose(0, 1)
    residuals = norm((back - record.times(values, right)).flatten(2))
    values, residuals = (
        torch.where(finite[:, None], part, torch.nan) for part in (values, residuals)
    )
    return Spectrum(
        values,
        residuals,
        residuals <= rtol * values[:, :1],
        2 * right.shape[1],
        "estimate",
        right=right,
        left=left,
        path=operator.path,
    )


def inverses(operator: AbstractOperator, rtol: float) -> tuple[AbstractOperator, AbstractOperator]:
    """A⁻¹ by loose and by exact solves for values of tolerance rtol; where an exact solve fails its
    product is NaN, not a value.
    """

    def exact(transposed: bool) -> Callable[[Tensor], Tensor]:
        def apply(b: Tensor) -> Tensor:
            solved = solve(
                operator,
                b,
                # GMRES gets no residual below some roundings, and would spend its budget in vain.
                max(EXACT_SOLVE * rtol, 20 * torch.finfo(b.dtype).eps),
                transposed=transposed,
            )
            return torch.where(solved.converged[:, None], solved.solution, torch.nan).view_as(b)

        return apply

    return inverse(operator, LOOSE_SOLVE * rtol), ComposedOperator(
        exact(False), exact(True), operator.like, operator.mask, parts=(operator,)
    )
