"""Is an implicit equation that nothing solves ill-posed? Shown by the derivative at the best
iterate, or left open.
"""

import dataclasses

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from odestab.operators.algebra import affine
from odestab.operators.jacobian import Jacobian
from odestab.solver.equation import ImplicitEquation
from odestab.spectrum import logarithmic_norm, singular_values

SINGULAR = 1e-3  # σ_min(M) at most this: y is not a smooth function of b there
# ‖Mᵀr‖ at most this share of ‖M‖‖r‖: a local minimum of the residual that is no solution
STATIONARY = 1e-3
RTOL = 1e-1  # of singular values that are held against 1e-3: their order of magnitude decides
DIMENSION = 40  # of the search for σ_min, which is an upper bound wherever it ends


@dataclasses.dataclass(frozen=True, eq=False)
class WellPosedness:
    """What the derivative M = I − hJ(y) of y − b − hf(y) says at an iterate.

    Attributes:
        sigma_min: ‖Mv‖ of the unit v that M shrinks most among those tried: an upper bound of
            σ_min(M).
        stationarity: ‖Mᵀr‖/(‖M‖‖r‖) with ‖M‖ bounded from below, so that it is an upper bound; 1
            where r = 0.
        h_mu: hμ₂(J). Below 1 everywhere, the step exists and is unique; above 1, as at h = 1
            on real layers, it proves nothing.
    """

    sigma_min: Float[Tensor, " batch"]
    stationarity: Float[Tensor, " batch"]
    h_mu: Float[Tensor, " batch"]

    @property
    def ill_posed(self) -> Bool[Tensor, " batch"]:
        """Whether it is shown: M is singular to 1e-3, or the residual is stationary."""
        return (self.sigma_min <= SINGULAR) | (self.stationarity <= STATIONARY)


def well_posedness(
    equation: ImplicitEquation,
    y: Float[Tensor, "batch *event"],
    examples: Int[Tensor, " chosen"] | None = None,
) -> WellPosedness:
    """What M = I − hJ(y) says about some examples of an equation, all by default.

    Args:
        equation: b, h and f.
        y: the best iterate.
        examples: which.
    """
    examples = torch.arange(len(y), device=y.device) if examples is None else examples
    with torch.no_grad():
        h = float(equation.step_size)
        y = y.detach()
        jacobian = Jacobian(equation.field, y).take(examples)
        m = affine(jacobian, 1.0, -h)
        r = equation.residual(y)[examples]
        smallest = singular_values(m, 1, "SM", rtol=RTOL, max_dimension=DIMENSION).values[:, 0]
        largest = singular_values(m, 1, "LM", rtol=RTOL).values[:, 0]
        pulled = m.rmv(r).flatten(1).norm(dim=1)
        length = m.project(r).flatten(1).norm(dim=1)
        # The largest σ found is a lower bound of ‖M‖, so that this is an upper bound.
        stationarity = torch.where(
            length > 0, pulled / (largest * length).clamp(min=torch.finfo(r.dtype).tiny), 1.0
        )
        return WellPosedness(
            smallest, stationarity, h * logarithmic_norm(jacobian, rtol=RTOL).values[:, 0]
        )
