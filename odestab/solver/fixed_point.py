"""Fixed-point (Picard) iteration, plain, damped, or with the resolvent of the field's linear
part.
"""

import dataclasses

import torch
from torch import Tensor

from odestab.solver.base import AbstractImplicitSolver, Iterate
from odestab.solver.equation import ImplicitEquation
from odestab.solver.mixing import Mixing


@dataclasses.dataclass(frozen=True, kw_only=True)
class FixedPoint(AbstractImplicitSolver):
    """y ← y + τ r/(1 − hc) with r = b + hf(y) − y: for τ = 1 this is y ← (b + hF(y))/(1 − hc).

    Converges locally where |1 − τ(1 − hλ)/(1 − hc)| < 1 for all λ.

    Attributes:
        damping: τ.
        preconditioned: treat the split c of the field exactly (resolvent Picard); False is plain
            Picard, c = 0.
    """

    damping: float = 1.0
    preconditioned: bool = True

    @property
    def mixing(self) -> Mixing:
        """The same options as the loop without gradients takes them."""
        return Mixing(0, self.damping, self.preconditioned)

    def advance(
        self, equation: ImplicitEquation, iterate: Iterate, memory: object
    ) -> tuple[Tensor, Tensor, object, int]:
        """One iteration, one evaluation."""
        y = (
            iterate.y
            + self.damping * (equation.resolvent if self.preconditioned else 1.0) * iterate.r
        )
        return y, equation.residual(y), memory, 1

    def error_recursion(self, z: Tensor, step_size: float, split: float) -> tuple[Tensor, Tensor]:
        """(c, g) with e ← c·e for the error and (1 − c)/(1 − z) = g, on f(x) = λx, z = hλ."""
        g = self.damping / (1 - step_size * split) if self.preconditioned else self.damping
        return 1 - g * (1 - z), torch.full_like(z, g)
