"""The stability function of a solver that was stopped: a polynomial, not the implicit method's."""

import torch
from jaxtyping import Complex
from torch import Tensor

from odestab.solver.base import STARTS, AbstractImplicitSolver


def truncated_stability_function(
    solver: AbstractImplicitSolver,
    z: Complex[Tensor, "*points"],
    step_size: float,
    iterations: int,
    start: str = "state",
    *,
    split: float = 0.0,
) -> Complex[Tensor, "*points"]:
    """R_k(z) = (1 − c^k)/(1 − z) + c^k R_0(z), the map x ↦ y_k on f(x) = λx, z = hλ (Mathematics,
    section 2).

    Computed without the division, so that it is finite at z = 1 as a polynomial must be.

    Args:
        solver: one with an `error_recursion`: FixedPoint or GradientDescent. Other solvers are no
            polynomials known beforehand.
        z: hλ.
        step_size: h.
        iterations: k.
        start: "state" for R_0 = 1, "explicit" for R_0 = 1 + z.
        split: c of the field. A preconditioned fixed point on a field with split −1 is resolvent
            Picard, whose polynomial depends on h.

    Raises:
        ValueError: for another solver, a negative k or an unknown start.

    >>> import odestab as od
    >>> z = torch.tensor([-0.5 + 0j])
    >>> od.truncated_stability_function(od.FixedPoint(), z, 1.0, 2)
    tensor([0.7500+0.j])
    """
    if iterations < 0:
        raise ValueError(f"iterations must be >= 0, got {iterations}")
    if start not in STARTS:
        raise ValueError(f"start must be one of {', '.join(STARTS)}, got {start!r}")
    c, gain = solver.error_recursion(z, step_size, split)
    value = torch.ones_like(z) if start == "state" else 1 + z
    for _ in range(iterations):
        value = c * value + gain  # y ← c·y + g·x
    return value
