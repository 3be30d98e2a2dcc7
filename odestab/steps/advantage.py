"""Implicit against explicit damping, on perturbations of one's choice."""

import dataclasses
import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odestab.fields.from_anything import FieldLike, as_field
from odestab.krylov.orthogonalization import norm
from odestab.operators.algebra import affine, solve
from odestab.operators.coercion import OperatorLike, as_operator
from odestab.operators.jacobian import Jacobian
from odestab.steps.one_step import ImplicitEuler


@dataclasses.dataclass(frozen=True, eq=False)
class ImplicitAdvantage:
    """How much more an implicit step damps than an explicit one, in nats.

    Attributes:
        values: log(‖Eδ‖/‖M⁻¹δ‖) per perturbation δ, `(perturbations, batch)`, in nats; positive:
            the implicit step damps more.
        residual: relative residual of the linear solves, same shape.
        solved: `(batch,)`, the implicit step converged; where not, M was taken at the best iterate.

    >>> f, x = od.LinearVectorField(-3 * torch.eye(1).double()), torch.ones(1, 1).double()
    >>> advantage = od.implicit_advantage(f, x, torch.ones(1, 1, 1).double())
    >>> round(advantage.values.exp().item(), 6), advantage.solved.tolist()  # 2 over 1/4
    (8.0, [True])
    """

    values: Float[Tensor, "perturbations batch"]
    residual: Float[Tensor, "perturbations batch"]
    solved: Bool[Tensor, " batch"]

    @property
    def mean(self) -> Float[Tensor, " batch"]:
        """The mean over the family of perturbations."""
        return self.values.mean(0)

    @property
    def standard_error(self) -> Float[Tensor, " batch"]:
        """Of that mean; NaN for a single perturbation."""
        count = self.values.shape[0]
        return (
            self.values.std(0) / math.sqrt(count)
            if count > 1
            else torch.full_like(self.values[0], torch.nan)
        )


def implicit_advantage(
    field: FieldLike,
    x: Float[Tensor, "batch *event"],
    perturbations: Float[Tensor, "perturbations batch *event"],
    step_size: float = 1.0,
    *,
    implicit: ImplicitEuler | None = None,
    rtol: float = 1e-6,
) -> ImplicitAdvantage:
    """log(‖Eδ‖/‖M⁻¹δ‖) over a family of perturbations δ (Mathematics, section 8).

    E = I + hJ(x) is the derivative of the explicit step, M = I − hJ(y) at the implicit solution y.

    Args:
        field: f, whatever `od.field` takes.
        x: where both steps begin.
        perturbations: δ, not all zero on real tokens.
        step_size: h.
        implicit: the implicit method, if its solver is to be chosen; its step size is replaced by
            h.
        rtol: relative residual of the linear solves.

    >>> f = od.LinearVectorField(torch.diag(torch.tensor([-3.0, 0.5])).double())
    >>> basis = torch.eye(2).double()[:, None]  # one perturbation along each axis
    >>> advantage = od.implicit_advantage(f, torch.ones(1, 2).double(), basis)
    >>> advantage.values.exp().round(decimals=6).tolist()  # 2 over 1/4, and 1.5 over 2
    [[8.0], [0.75]]
    """
    field = as_field(field, x)
    method = dataclasses.replace(implicit or ImplicitEuler(), step_size=step_size)
    step = method.step(field, x)
    assert step.solution is not None
    explicit = affine(Jacobian(field, x), 1.0, step_size)
    resolved = affine(Jacobian(field, step.state), 1.0, -step_size)
    return damping_advantage(explicit, resolved, perturbations, step.solution.converged, rtol)


def damping_advantage(
    explicit: OperatorLike,
    implicit: OperatorLike,
    perturbations: Float[Tensor, "perturbations batch *event"],
    solved: Bool[Tensor, " batch"],
    rtol: float = 1e-6,
) -> ImplicitAdvantage:
    """log(‖Eδ‖/‖M⁻¹δ‖) for operators E and M that are already linearised.

    See `implicit_advantage`.

    >>> f = od.LinearVectorField(torch.diag(torch.tensor([-3.0, 0.5])).double())
    >>> J, basis = od.Jacobian(f, torch.zeros(1, 2).double()), torch.eye(2).double()[:, None]
    >>> E, M = od.affine(J, 1.0, 1.0), od.affine(J, 1.0, -1.0)
    >>> advantage = od.damping_advantage(E, M, basis, solved=torch.tensor([True]))
    >>> advantage.values.exp().round(decimals=6).tolist()
    [[8.0], [0.75]]
    """
    explicit = as_operator(explicit)
    implicit = as_operator(implicit)
    delta = explicit.project(perturbations)
    image = norm(explicit.mv(delta).flatten(2))
    resolved = solve(implicit, delta, rtol)
    values = image.log() - norm(resolved.solution).view_as(image).log()
    return ImplicitAdvantage(values, resolved.residual.view_as(image), solved)
