"""The worst growth of one step: the norm of its derivative."""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from odestab.fields.from_anything import FieldLike, as_field
from odestab.spectrum import Spectrum, singular_values
from odestab.steps.one_step import AbstractOneStepMethod, require_method


def worst_growth(
    method: AbstractOneStepMethod,
    field: FieldLike,
    x: Float[Tensor, "batch *event"],
    rtol: float = 1e-4,
    generator: torch.Generator | None = None,
    y: Float[Tensor, "batch *event"] | None = None,
    *,
    work_dtype: torch.dtype | None = None,
) -> Spectrum:
    """The worst growth of one step at x: explicit σ_max(I + hJ(x)), implicit 1/σ_min(I − hJ(y)).

    Args:
        method: the one-step method.
        field: f, whatever `od.field` takes.
        x: where the step begins.
        rtol: tolerance on the residual relative to the value; the value's own error is of second
            order in it.
        generator: source of the start vector.
        y: where the step ended, if known; else the step is taken here.
        work_dtype: precision of the Krylov spaces, as `singular_values` takes it.

    Returns:
        A Spectrum with k = 1 whose `right` is the worst input direction. An implicit method that
        could not be solved has `converged` False.

    >>> f = od.LinearVectorField(torch.diag(torch.tensor([-3.0, 0.5])).double())
    >>> x = torch.ones(1, 2).double()
    >>> round(od.worst_growth(od.ExplicitEuler(1.0), f, x).values.item(), 6)  # |1 − 3|
    2.0
    >>> round(od.worst_growth(od.ImplicitEuler(1.0), f, x).values.item(), 6)  # 1/(1 − ½)
    2.0
    """
    require_method(method)
    field = as_field(field, x)
    solved = None
    if y is None:
        with torch.no_grad():
            step = method.step(field, x)
        y = step.state
        solved = step.solution
    # For an implicit method the derivative is an inverse, whose σ_max is sought as 1/σ_min.
    spectrum = singular_values(
        method.derivative(field, x, y), 1, "LM", rtol, generator, work_dtype=work_dtype
    )
    if solved is None:
        return spectrum
    return dataclasses.replace(spectrum, converged=spectrum.converged & solved.converged[:, None])
