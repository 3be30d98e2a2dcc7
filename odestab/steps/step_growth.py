"""Worst growth over one step of a theta method at many step sizes, from one space.

J is multiplied once for all of them.
"""

import dataclasses

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odestab.krylov import gmres
from odestab.krylov.orthogonalization import norm
from odestab.nonnormality.joint_range import JointRange
from odestab.operators.coercion import OperatorLike, as_operator
from odestab.operators.linear_operator import AbstractOperator

# of the solves behind new directions and residuals; the values themselves come from exact products
LOOSE_SOLVE = 0.05


@dataclasses.dataclass(frozen=True, eq=False)
class StepGrowth:
    """σ_max(R(hJ)) over a list of step sizes, per example.

    Attributes:
        step_sizes: h.
        values: lower bounds of σ_max, of second order in the residual; NaN where the operator is
            not finite.
        residuals: ‖R(hJ)ᵀ u − σ v‖ for the unit vectors found (to about 5 % where θ > 0); R(hJ) v =
            σ u holds to rounding.
        converged: residual ≤ rtol·σ.
        matvecs: products with J or Jᵀ, those inside linear solves not counted.
        kind: "estimate".
        path: which code computed the products, as `Linearization` names it.

    >>> f = od.LinearVectorField(-3 * torch.eye(2).double())
    >>> J, h = od.Jacobian(f, torch.zeros(1, 2).double()), torch.tensor([0.5, 1.0]).double()
    >>> growth = od.step_growth(J, h)
    >>> growth.values.round(decimals=6).tolist(), growth.converged.tolist()  # |1 − 3h|
    ([[0.5, 2.0]], [[True, True]])
    """

    step_sizes: Float[Tensor, " steps"]
    values: Float[Tensor, "batch steps"]
    residuals: Float[Tensor, "batch steps"]
    converged: Bool[Tensor, "batch steps"]
    matvecs: int
    kind: str = "estimate"
    path: str | None = None


def step_growth(
    operator: OperatorLike,
    step_sizes: Float[Tensor, " steps"],
    theta: float = 0.0,
    rtol: float = 1e-3,
    generator: torch.Generator | None = None,
    *,
    max_dimension: int = 200,
) -> StepGrowth:
    """σ_max((I + h(1 − θ)J)(I − hθJ)⁻¹) for every h of a list, J the same for all.

    Explicit Euler is θ = 0, implicit Euler θ = 1. On a subspace V with JV both factors are known
    for every h, so a generalised Rayleigh quotient of small matrices gives all values at once; the
    space grows by the residual of the step size that is worst off (generalised Davidson, Morgan and
    Scott 1986). For a nonlinear field an implicit step is linearised where it ends, which depends
    on h: `worst_growth` does that; here J stays frozen.

    Args:
        operator: J, an operator or a matrix of any kind.
        step_sizes: h.
        theta: θ of the theta method.
        rtol: tolerance on the residual relative to the value.
        generator: source of the start vector.
        max_dimension: largest space; what has not converged by then is flagged.

    Raises:
        ValueError: if a step size is not positive and finite, or θ is not in [0, 1].

    >>> f = od.LinearVectorField(torch.diag(torch.tensor([-3.0, 0.5])).double())
    >>> J, h = od.Jacobian(f, torch.zeros(1, 2).double()), torch.tensor([0.5, 1.0]).double()
    >>> od.step_growth(J, h, theta=1.0).values.round(decimals=4).tolist()  # 1/(1 − ½h)
    [[1.3333, 2.0]]
    """
    operator = as_operator(operator)
    if not bool((step_sizes.isfinite() & (step_sizes > 0)).all()) or step_sizes.numel() == 0:
        raise ValueError(f"step_sizes must be > 0 and finite, got {step_sizes.tolist()}")
    if not 0 <= theta <= 1:
        raise ValueError(f"theta must be in [0, 1], got {theta}")
    space = _FactorSpace(operator, theta, step_sizes.to(operator.like), generator)
    largest = min(max_dimension, max(operator.sizes))
    grown = True
    while True:
        values, coefficients = space.rayleigh_ritz()
        residual = space.residuals(values, coefficients)
        error = torch.where(values.isnan(), 0.0, norm(residual) / values)
        open_ = error.amax(1) > 0.5 * rtol
        if not grown or space.dimension >= largest or not bool(open_.any()):
            break
        # Each example grows by the step size that needs it most; all others gain by it too.
        worst = error.argmax(1)
        target = residual.gather(1, worst[:, None, None].expand(-1, 1, residual.shape[2]))[:, 0]
        grown = space.grow(torch.where(open_[:, None], target, 0.0), worst)
    residuals = norm(space.pulled_back(residual))
    return StepGrowth(
        step_sizes,
        values,
        residuals,
        residuals <= rtol * values,
        4 * space.dimension + 1,
        path=operator.path,
    )


class _FactorSpace:
    """V, JV, JᵀV and JᵀJV of a `JointRange`: both factors and all residuals at every h."""

    def __init__(
        self, operator: AbstractOperator, theta: float, h: Tensor, generator: torch.Generator | None
    ) -> None:
        self.space = JointRange(operator, generator, 0, whole=False)
        own = self.space.scale[:, None] * h  # (batch, steps), as the space is of J/s
        self.a = own * (1 - theta)
        self.b = own * theta
        self.implicit = theta > 0

    @property
    def dimension(self) -> int:
        return self.space.dimension

    def grow(self, residual: Tensor, step: Tensor) -> bool:
        """Grow by a residual of each example's own step size; whether that was anything new."""
        before = self.dimension
        self.space.grow(self.preconditioned(residual, step)[:, None])
        return self.dimension > before

    def rayleigh_ritz(self) -> tuple[Tensor, Tensor]:
        """The largest σ of ‖(I + aJ)w‖ = σ‖(I − bJ)w‖ for every h, and w's coefficients.

        They are scaled to ‖(I − bJ)w‖ = 1.
        """
        v = self.space.v
        jv = self.space.jv
        alive = torch.diag_embed((v.norm(dim=2) > 0.5).to(v.dtype))[:, None]
        mixed = torch.bmm(v, jv.mT)
        square = torch.bmm(jv, jv.mT)
        finite = square.isfinite().all(2).all(1)[:, None]
        symmetric, square = (
            (torch.where(finite[..., None], part, 0.0))[:, None]
            for part in (mixed + mixed.mT, square)
        )
        a = self.a[:, :, None, None]
        b = self.b[:, :, None, None]
        above = alive + a * symmetric + a**2 * square
        # Rows of zeros get the identity below, which factorises, and 0 above, which never wins.
        below = (
            alive
            - b * symmetric
            + b**2 * square
            + (1 - alive) * torch.eye(v.shape[1], dtype=v.dtype, device=v.device)
        )
        factor, failed = torch.linalg.cholesky_ex(below)
        # cholesky_ex does not raise: one example's loss is data.
        finite = finite & (failed == 0)  # I − bJ has lost rank to rounding
        factor = torch.where(
            finite[..., None, None], factor, torch.eye(v.shape[1], dtype=v.dtype, device=v.device)
        )
        above = torch.where(finite[..., None, None], above, 0.0)
        left = torch.linalg.solve_triangular(factor, above, upper=False)
        squared, vectors = torch.linalg.eigh(
            torch.linalg.solve_triangular(factor, left.mT, upper=False)
        )
        coefficients = torch.linalg.solve_triangular(factor.mT, vectors[..., -1:], upper=True)[
            ..., 0
        ]
        return torch.where(finite, squared[..., -1].clamp(min=0).sqrt(), torch.nan), coefficients

    def residuals(self, values: Tensor, coefficients: Tensor) -> Tensor:
        """(I + aJᵀ)u − σ(I − bJᵀ)v with v = (I − bJ)w, u = (I + aJ)w/σ, `(batch, steps, n)`."""
        space = self.space
        w, jw, tw, tjw = (
            torch.bmm(coefficients, part) for part in (space.v, space.jv, space.tv, space.tjv)
        )
        a = self.a[..., None]
        b = self.b[..., None]
        sigma = values[..., None]
        return (w + a * jw + a * (tw + a * tjw)) / sigma - sigma * (w - b * jw - b * (tw - b * tjw))

    def preconditioned(self, residual: Tensor, step: Tensor) -> Tensor:
        """(MᵀM)⁻¹ times a residual, M = I − bJ at each example's own step size; the residual itself
        for an explicit method.
        """
        if not self.implicit:
            return residual
        b = self.b.gather(1, step[:, None])
        half = gmres(
            lambda u: u - b * self.space.product(u, adjoint=True), residual, LOOSE_SOLVE
        ).solution
        return gmres(lambda v: v - b * self.space.product(v), half, LOOSE_SOLVE).solution

    def pulled_back(self, residual: Tensor) -> Tensor:
        """M⁻ᵀ times the residual of every step size: what is missing in Rᵀu = σv."""
        if not self.implicit:
            return residual
        steps = residual.shape[1]
        b = self.b.T[..., None]
        rows = residual.nan_to_num(0.0).transpose(0, 1)  # steps are tangents, examples the batch
        shape = rows.shape

        def product(u: Tensor) -> Tensor:
            return u - (b * self.space.product(u, adjoint=True).reshape(shape)).reshape(u.shape)

        solved = gmres(product, rows.reshape(-1, shape[2]), LOOSE_SOLVE).solution
        return solved.view(steps, -1, shape[2]).transpose(0, 1)
