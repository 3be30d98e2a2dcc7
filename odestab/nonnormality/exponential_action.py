"""e^A v by Arnoldi's method, one vector per example."""

import dataclasses
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from odestab.krylov import ArnoldiFactorization, arnoldi
from odestab.krylov.orthogonalization import norm

Product = Callable[[Tensor], Tensor]
STRIDE = 2  # products between two looks at the error estimate
MAX_HALVINGS = 40
OVERTAKEN = 1e3  # growth of a random vector over that of v, from where tolerances follow it


@dataclasses.dataclass(frozen=True, eq=False)
class ExponentialAction:
    """e^A v for one vector per example.

    Attributes:
        state: e^A v, `(batch, n)`; NaN where the budget ended first, or A or v is not finite.
        error: the estimated error relative to ‖e^A v‖, added up over the sub-steps.
        products: products with A spent while this example was open.
    """

    state: Float[Tensor, "batch n"]
    error: Float[Tensor, " batch"]
    products: Int[Tensor, " batch"]


def exponential_action(
    matvec: Product,
    v: Float[Tensor, "batch n"],
    rtol: float = 1e-8,
    dimension: int = 60,
    max_products: int = 10_000,
    growth: Float[Tensor, " batch"] | None = None,
) -> ExponentialAction:
    """e^A v by Arnoldi's method with the corrected scheme and its error estimate (Saad 1992,
    sections 2.3 and 5).

    The Krylov space grows until the estimate allows the whole step; at the largest dimension the
    step is halved instead. Each example has its own dimension and its own sub-steps, so that batch
    mates change nothing.

    Args:
        matvec: A, on `(batch, n)`; it must act on each example alone.
        v: the vectors.
        rtol: tolerance on the error relative to ‖e^A v‖; no less than rounding relative to the
            vector that a sub-step ends with, or to what `growth` makes of the one it began with.
            Where A is far from normal, later sub-steps may amplify the errors of earlier ones.
        dimension: of the largest Krylov space; memory is one state per dimension.
        max_products: budget per example.
        growth: about how much e^A makes of a random vector. What a space has not seen of A may grow
            by that, unlike v: where it is much more than v does, tolerances are tighter by as much,
            down to rounding.
    """
    state = v
    step = torch.ones_like(v[:, 0])
    left = torch.ones_like(step, dtype=torch.long)
    products = torch.zeros_like(step, dtype=torch.long)
    error = torch.zeros_like(step)
    while bool((left > 0).any()):
        open_ = left > 0
        inside = _sub_step(
            matvec,
            torch.where(open_[:, None], state, 0.0),
            step,
            _Tolerance(rtol, growth),
            min(dimension, v.shape[1]),
        )
        moved = torch.bmm(inside.coefficients[:, None], inside.basis)[:, 0] * norm(state)[:, None]
        products = products + torch.where(open_, inside.products, 0)
        error = error + torch.where(open_, inside.error, 0.0)
        step = step * 0.5**inside.halvings
        # What is left is counted in sub-steps of the present length, of which halving makes twice
        # as many.
        left = (left * 2**inside.halvings - 1).clamp(min=0)
        # Half-way states are no answer: what the budget does not finish is NaN.
        failed = open_ & (~moved.isfinite().all(1) | ((products >= max_products) & (left > 0)))
        state = torch.where(open_[:, None], torch.where(failed[:, None], torch.nan, moved), state)
        left = torch.where(failed, 0, left)
    return ExponentialAction(state, error, products)


@dataclasses.dataclass(frozen=True, eq=False)
class _Tolerance:
    """On the error of a sub-step relative to what it makes of the vector it begins with."""

    rtol: float
    growth: Tensor | None

    def of(self, size: Tensor) -> Tensor | float:
        """The tolerance where a unit vector becomes one of this size."""
        if self.growth is None:
            return self.rtol
        overtaken = self.growth > OVERTAKEN * size
        return torch.where(overtaken, self.rtol * size / self.growth, self.rtol)

    def floor(self, size: Tensor) -> Tensor:
        """What rounding is relative to, where a unit vector becomes one of this size: the size, or
        what e^A makes of any vector where that is more, but no more than the vector itself.
        """
        if self.growth is None:
            return size
        return torch.maximum(size, self.growth.clamp(max=1.0))


@dataclasses.dataclass(frozen=True, eq=False)
class _SubStep:
    """e^{sA} q_0 in an Arnoldi basis: its coefficients (NaN where that failed), error, cost, and
    how often s was halved.
    """

    basis: Tensor
    coefficients: Tensor
    error: Tensor
    products: Tensor
    halvings: Tensor


def _sub_step(
    matvec: Product, start: Tensor, step: Tensor, tolerance: _Tolerance, dimension: int
) -> _SubStep:
    """One step from `start`, at most `step` long; what an example has found within tolerance stays
    as it is.
    """
    size = min(STRIDE, dimension)
    factorization = arnoldi(matvec, start, size)
    error = torch.zeros_like(step)
    done = torch.zeros_like(step, dtype=torch.bool)
    coefficients = torch.zeros_like(factorization.basis[:, :, 0])
    products = torch.full_like(done, size, dtype=torch.long)
    halvings = torch.zeros_like(products)
    while True:
        now, estimate, good = _look(factorization, step * 0.5**halvings, tolerance)
        coefficients = torch.where(done[:, None], coefficients, now)
        error = torch.where(done, error, estimate)
        done = done | good
        if bool((done | (halvings >= MAX_HALVINGS)).all()):
            return _SubStep(
                factorization.basis,
                torch.where(done[:, None], coefficients, torch.nan),
                error,
                products,
                halvings,
            )
        if size < dimension:
            growth = min(STRIDE, dimension - size)
            factorization = arnoldi(matvec, start, growth, factorization)
            size = size + growth
            coefficients = torch.nn.functional.pad(coefficients, (0, growth))
            products = torch.where(done, products, size)
        else:
            halvings = halvings + ~done


def _look(
    factorization: ArnoldiFactorization, step: Tensor, tolerance: _Tolerance
) -> tuple[Tensor, Tensor, Tensor]:
    """Coefficients of e^{sA} q_0 in the basis, the estimated error relative to its norm, and which
    examples need look no further.

    The first column of exp(s [H 0]), H with its last row, is e^{sH} e_1 and below it s h e_mᵀ
    φ_1(sH) e_1: the correction, and the error of the scheme without it. Where that is about to
    change sign it says nothing, so the residual at the end of the step counts as well.
    """
    hessenberg = torch.nn.functional.pad(factorization.hessenberg, (0, 1)) * step[:, None, None]
    lost = ~hessenberg.isfinite().flatten(1).all(1)  # no smaller step will help
    column = torch.linalg.matrix_exp(torch.where(lost[:, None, None], 0.0, hessenberg))[:, :, 0]
    # An overflow of the small exponential is one of the large one.
    column = torch.where((lost | ~column.isfinite().all(1))[:, None], torch.nan, column)
    size = column.norm(dim=1)
    eps = torch.finfo(step.dtype).eps
    estimate = torch.maximum(column[:, -1].abs(), (hessenberg[:, -1, -2] * column[:, -2]).abs())
    allowed = tolerance.of(size) * step * size + 100 * eps * tolerance.floor(size)
    good = estimate <= allowed
    return column, estimate / size, good | lost | (factorization.basis[:, 0] == 0).all(1)
