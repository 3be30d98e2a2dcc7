"""What the stages of an accelerated iteration are given."""

import dataclasses

from jaxtyping import Bool, Float
from torch import Tensor

from odestab.solver.mixing import Mixing
from odestab.solver.stopping import Stopping


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """The map g(y) = κ(b + h F(y)) + ω y, whose fixed points solve y = b + h f(y), and how to
    iterate it.

    Attributes:
        rhs: κ b, zero on padding, `(batch, n)`.
        kappa: κ; g − y = κ r.
        gain: κ h.
        drift: ω, 0 for an undamped step that treats the split exactly.
        root: √ of the number of real entries, `(batch,)`: RMS(y) = ‖y‖/root.
        mixing: memory and safeguards.
        stopping: when an example ends.
        open: which examples to solve; None is all.
        begun: evaluations of f by the time of the first image.
    """

    rhs: Float[Tensor, "batch n"]
    kappa: float
    gain: float
    drift: float
    root: Float[Tensor, " batch"]
    mixing: Mixing
    stopping: Stopping
    open: Bool[Tensor, " batch"] | None
    begun: int
