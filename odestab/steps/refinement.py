"""Step-size refinement: a layer taken in smaller steps, beside the flow of its linearisation."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odestab.fields.from_anything import FieldLike, as_field
from odestab.nonnormality.matrix_exponential import counted, exponential
from odestab.operators.algebra import affine, compose
from odestab.operators.coercion import OperatorLike, as_operator
from odestab.operators.jacobian import Jacobian
from odestab.operators.linear_operator import AbstractOperator
from odestab.solver import AbstractImplicitSolver, Auto
from odestab.spectrum import Spectrum
from odestab.spectrum.inexact import EXACT_SOLVE, LOOSE_SOLVE, inexact_singular_values, inverses
from odestab.steps.one_step import ExplicitEuler, ImplicitEuler, check_step_size

# of a random vector in a start vector that is known to be near, so that nothing is out of reach
MIXED_IN = 0.1


@dataclasses.dataclass(frozen=True, eq=False)
class Refinement:
    """Worst growth over one layer taken as m steps of h/m (Mathematics, section 8).

    What vanishes as m grows is discretisation error.

    Attributes:
        parts: m, ascending.
        explicit: σ_max of the product of m explicit derivatives, `(batch, parts)`.
        implicit: the same of implicit ones, `(batch, parts)`.
        flow: σ_max(e^{hJ(x)}), J frozen where the layer begins, `(batch,)`.
        explicit_residuals: ‖Aᵀu − σv‖ of the unit vectors found, `(batch, parts)`; values are of
            second order in them.
        implicit_residuals: the same.
        flow_residuals: the same, `(batch,)`.
        explicit_converged: residual ≤ rtol·σ.
        implicit_converged: the same, and every implicit step was solved.
        flow_converged: residual ≤ rtol·σ.
        matvecs: products with a Jacobian or its transpose, those inside linear solves and
            exponentials included.
        kind: "estimate".
        path: which code computed the products, as `Linearization` names it.

    >>> f = od.LinearVectorField(-3 * torch.eye(1).double())
    >>> control = od.frozen_refinement(od.Jacobian(f, torch.zeros(1, 1).double()))
    >>> control.parts, control.implicit.round(decimals=4).tolist()  # 1/(1 + 3/m)^m
    ((1, 2, 4), [[0.25, 0.16, 0.1066]])
    >>> round(control.flow.item(), 4)  # e⁻³
    0.0498
    """

    parts: tuple[int, ...]
    explicit: Float[Tensor, "batch parts"]
    implicit: Float[Tensor, "batch parts"]
    flow: Float[Tensor, " batch"]
    explicit_residuals: Float[Tensor, "batch parts"]
    implicit_residuals: Float[Tensor, "batch parts"]
    flow_residuals: Float[Tensor, " batch"]
    explicit_converged: Bool[Tensor, "batch parts"]
    implicit_converged: Bool[Tensor, "batch parts"]
    flow_converged: Bool[Tensor, " batch"]
    matvecs: int
    kind: str = "estimate"
    path: str | None = None


# (implicit, h, m) ↦ the Jacobians of m steps of h, each taken where its method needs it, and where
# all steps were solved
Walk = Callable[[bool, float, int], tuple[list[AbstractOperator], Tensor]]


def refinement_control(
    field: FieldLike,
    x: Float[Tensor, "batch *event"],
    step_size: float = 1.0,
    parts: Sequence[int] = (1, 2, 4),
    rtol: float = 1e-2,
    *,
    solver: AbstractImplicitSolver | None = None,
    generator: torch.Generator | None = None,
    work_dtype: torch.dtype | None = None,
) -> Refinement:
    """Worst growth of one step of h, two of h/2, …, explicit and implicit, beside σ_max(e^{hJ(x)}).

    The steps are taken on the nonlinear field, and the path is recomputed for every number of
    parts. Each explicit derivative is taken where its step begins, each implicit one at its
    solution.

    Args:
        field: f, whatever `od.field` takes.
        x: where the layer begins.
        step_size: h.
        parts: m, ascending.
        rtol: tolerance on the residuals relative to the values, whose own error is of second order
            in it.
        solver: of the implicit steps; by default Auto to 1e-3 of rtol.
        generator: source of the start vector.
        work_dtype: precision of the Krylov spaces; values and residuals are always computed in the
            state's own, which is the default.

    Raises:
        ValueError: if h is not positive and finite, or the parts are not ascending and ≥ 1.

    >>> decay = od.LayerVectorField(lambda x: -(x**3), kind="outer")
    >>> control = od.refinement_control(decay, torch.ones(1, 1).double(), parts=(1, 2))
    >>> control.explicit[0, 0].item(), round(control.flow.item(), 4)  # |1 − 3x²|, e⁻³
    (2.0, 0.0498)
    """
    field = as_field(field, x)
    tally: list[int] = []
    first = counted(Jacobian(field, x), tally)
    solver = Auto(rtol=1e-3 * rtol) if solver is None else solver

    def walk(implicit: bool, h: float, m: int) -> tuple[list[AbstractOperator], Tensor]:
        method = ImplicitEuler(h, solver=solver) if implicit else ExplicitEuler(h)
        states = [x]
        solved = _all(x)
        with torch.no_grad():
            # An explicit derivative is taken where its step begins: the last step is not needed.
            for _ in range(m if implicit else m - 1):
                step = method.step(field, states[-1])
                states.append(step.state)
                solved = solved if step.solution is None else solved & step.solution.converged
        later: list[AbstractOperator] = [counted(Jacobian(field, y), tally) for y in states[1:]]
        return later if implicit else [first, *later], solved

    return _refinement(
        first,
        walk,
        tally,
        _Plan(step_size, tuple(parts), rtol, first.random(generator), work_dtype),
    )


def frozen_refinement(
    operator: OperatorLike,
    step_size: float = 1.0,
    parts: Sequence[int] = (1, 2, 4),
    rtol: float = 1e-2,
    *,
    generator: torch.Generator | None = None,
    work_dtype: torch.dtype | None = None,
) -> Refinement:
    """σ_max of (I + hJ/m)^m and of (I − hJ/m)^{−m} for one J.

    Both converge to σ_max(e^{hJ}) with order one in h/m.

    Args:
        operator: J, an operator or a matrix of any kind.
        step_size: h.
        parts: m, ascending.
        rtol: tolerance on the residuals relative to the values.
        generator: source of the start vector.
        work_dtype: precision of the Krylov spaces.

    Raises:
        ValueError: if h is not positive and finite, or the parts are not ascending and ≥ 1.

    >>> f = od.LinearVectorField(-3 * torch.eye(1).double())
    >>> control = od.frozen_refinement(od.Jacobian(f, torch.zeros(1, 1).double()))
    >>> control.explicit.round(decimals=4).tolist()  # |1 − 3/m|^m
    [[2.0, 0.25, 0.0039]]
    """
    operator = as_operator(operator)
    tally: list[int] = []
    counting = counted(operator, tally)

    def walk(implicit: bool, h: float, m: int) -> tuple[list[AbstractOperator], Tensor]:
        return [counting] * m, _all(operator.like)

    return _refinement(
        counting,
        walk,
        tally,
        _Plan(step_size, tuple(parts), rtol, counting.random(generator), work_dtype),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Plan:
    """What is asked for, and a random vector to start with."""

    step_size: float
    parts: tuple[int, ...]
    rtol: float
    noise: Tensor
    work_dtype: torch.dtype | None

    def __post_init__(self) -> None:
        check_step_size(self.step_size)
        if (
            not self.parts
            or self.parts[0] < 1
            or any(b <= a for a, b in itertools.pairwise(self.parts))
        ):
            raise ValueError(f"parts must be ascending and >= 1, got {self.parts}")

    def largest(self, products: Sequence[AbstractOperator], near: Spectrum | None) -> Spectrum:
        """The largest singular value, found from near the vector of another operator."""
        loose, exact = products
        # A space begun at an exact singular vector would stay there: noise keeps the rest in reach.
        start = self.noise / _norm(self.noise)
        if near is not None and near.right is not None:
            known = near.right[:, 0]
            start = MIXED_IN * start + torch.where(_norm(known).isfinite(), known, 0.0)
        return inexact_singular_values(
            loose, exact, start, 1, self.rtol, work_dtype=self.work_dtype
        )


def _refinement(
    operator: AbstractOperator, walk: Walk, tally: list[int], plan: _Plan
) -> Refinement:
    flow = plan.largest(
        [
            exponential(operator, plan.step_size, accuracy * plan.rtol)
            for accuracy in (LOOSE_SOLVE, EXACT_SOLVE)
        ],
        None,
    )
    explicit, implicit = (_branch(walk, kind, plan, flow) for kind in (False, True))

    def gathered(name: str) -> tuple[Tensor, Tensor, Tensor]:
        return (
            *(
                torch.cat([getattr(spectrum, name) for spectrum in branch], 1)
                for branch in (explicit, implicit)
            ),
            getattr(flow, name)[:, 0],
        )

    return Refinement(
        plan.parts,
        *gathered("values"),
        *gathered("residuals"),
        *gathered("converged"),
        matvecs=sum(tally),
        path=operator.path,
    )


def _branch(walk: Walk, implicit: bool, plan: _Plan, flow: Spectrum) -> list[Spectrum]:
    """From the finest refinement, nearest to the flow, to the coarsest.

    Each begins at the worst direction of the one before.
    """
    near = flow
    spectra = []
    for m in reversed(plan.parts):
        h = plan.step_size / m
        jacobians, solved = walk(implicit, h, m)
        if implicit:
            products = [
                compose(side)
                for side in zip(
                    *(inverses(affine(j, 1.0, -h), plan.rtol) for j in jacobians), strict=True
                )
            ]
        else:
            products = [compose([affine(j, 1.0, h) for j in jacobians])] * 2
        near = plan.largest(products, near)
        spectra.append(dataclasses.replace(near, converged=near.converged & solved[:, None]))
    return spectra[::-1]


def _all(x: Tensor) -> Tensor:
    """True for every example."""
    return torch.ones(x.shape[0], dtype=torch.bool, device=x.device)


def _norm(x: Tensor) -> Tensor:
    """‖x‖ per example, of as many axes as x."""
    return torch.linalg.vector_norm(x, dim=tuple(range(1, x.ndim)), keepdim=True)
