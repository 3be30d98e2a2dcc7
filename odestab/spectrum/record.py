"""The record of eigen- and singular values, and what all computations of them share."""

import dataclasses

import torch
from jaxtyping import Bool, Float, Inexact, Int
from torch import Tensor

from odestab.operators.linear_operator import AbstractOperator

DENSE_LIMIT = 256  # up to this dimension a matrix is cheaper than a Krylov space
# and up to this one LU factors are cheaper than GMRES for every product with an inverse
FACTORIZED_LIMIT = 1600
ROUNDINGS = 10  # of eps·κ(λ)·‖A‖_F: what rounding may do to an eigenvalue of a dense matrix
CONDITION = 10  # stands for κ(λ) where only residuals are known, or where less is known of it


@dataclasses.dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues or singular values per example, most wanted first, with their errors.

    Attributes:
        values: `(batch, k)`, complex for eigenvalues and real otherwise; NaN beyond an example's
            dimension.
        residuals: ‖A v − θ v‖ with ‖v‖ = 1 (for singular values the larger of ‖A v − σ u‖ and ‖Aᵀ u
            − σ v‖), recomputed from the vectors. For non-normal A an eigenvalue's error is up to
            its condition number times this.
        converged: residual ≤ rtol × the largest value found.
        matvecs: products of A or Aᵀ with the whole batch; those inside linear solves are not
            counted.
        kind: "exact" (dense LAPACK), "estimate" (Ritz values) or "bound".
        center: eigenvalues that are not listed satisfy |λ − center| ≤ |values[:, −1] − center|
            where which = "LM".
        complete: all eigenvalues are listed.
        right: unit right vectors `(batch, k, ...)` where they were computed: the input directions.
        left: unit left singular vectors: the output directions.
        uncertainty: how far from each eigenvalue one of A may lie, to first order:
            ROUNDINGS·eps·κ(λ)·‖A‖_F for dense matrices; of a Krylov space κ(θ) residuals, with the
            condition number of the projected matrix, which is a lower bound of κ(λ), and CONDITION
            residuals at least. None where nobody computed it, see `reach`.
        path: which code computed the products, as `Linearization` names it ("analytic",
            "torch.func", or a way to take them anew); several where layers differ; None where no
            derivative is behind them.
        failed_at: per example the product that first gave numbers that are not finite, −1 where
            none did; None where nobody looked.

    >>> f = od.LinearVectorField(torch.tensor([[0.0, 3.0], [-3.0, 0.0]]).double())
    >>> spectrum = od.full_spectrum(od.Jacobian(f, torch.zeros(1, 2).double()))
    >>> spectrum.values.imag.round(decimals=6).tolist(), spectrum.kind, spectrum.complete
    ([[3.0, -3.0]], 'exact', True)
    >>> bool((spectrum.residuals < 1e-14).all() and (spectrum.reach < 1e-13).all())
    True
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
    failed_at: Int[Tensor, " batch"] | None = None
    uncertainty: Float[Tensor, "batch k"] | None = None
    path: str | None = None

    @property
    def absent(self) -> Bool[Tensor, "batch k"]:
        """Entries beyond an example's dimension.

        An example whose first entry is NaN has failed, and none of it is absent.
        """
        missing = self.values.isnan()
        return missing & ~missing[:, :1] if self.complete else torch.zeros_like(missing)

    @property
    def reach(self) -> Float[Tensor, "batch k"]:
        """How far from each eigenvalue one of A may lie.

        It is `uncertainty`, or CONDITION residuals where κ(λ) is not known.
        """
        if self.uncertainty is not None:
            return self.uncertainty
        size = self.values.abs().nan_to_num(0.0).amax(1, keepdim=True)
        return CONDITION * (self.residuals + torch.finfo(self.residuals.dtype).eps * size)


def times(values: Tensor, vectors: Tensor) -> Tensor:
    """Each value times its vector, which has further axes."""
    return values.view(*values.shape, *(1 for _ in vectors.shape[values.ndim :])) * vectors


def check(
    operator: AbstractOperator,
    k: int,
    which: str,
    allowed: tuple[str, ...],
    *limits: tuple[int, str, int],
) -> None:
    """Limits are (given, name, least)."""
    if which not in allowed:
        raise ValueError(f"which must be one of {', '.join(allowed)}, got {which!r}")
    smallest = min(size for size in operator.sizes if size)  # an example of padding alone gets NaN
    if not 1 <= k <= smallest:
        raise ValueError(f"k must be in 1..{smallest}, the smallest example's dimension, got {k}")
    for given, name, least in limits:
        if given < least:
            raise ValueError(f"{name} must be at least {least} for k = {k}, got {given}")
