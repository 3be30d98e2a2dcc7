"""Kreiss constants: how far powers, or a flow, may grow before they decay."""

import dataclasses
import functools
import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from odestab.nonnormality.resolvent import Resolvent, resolvent
from odestab.nonnormality.root import compass_search
from odestab.operators.coercion import OperatorLike, as_operator

TIMES = ("discrete", "continuous")
DISTANCES = 12  # of the first grid from the circle, or the axis
DIRECTIONS = 24
KEPT = 3  # places that are refined
ROUNDS = 16


@dataclasses.dataclass(frozen=True, eq=False)
class KreissConstant:
    """The Kreiss constant K of each example, and where its supremum was found.

    Attributes:
        value: K ≥ 1, from below; NaN where the operator is not finite.
        scale: discrete: K is that of A/scale, scale = max(1, ρ(A)), as K is infinite where ρ > 1;
            continuous: of A − scale·I, scale = max(0, α(A)).
        point: z, for the scaled matrix, where the supremum was found; infinite where nothing beats
            z → ∞, which gives 1.
        residual: the relative residual of σ_min there.
        kind: "bound": a maximum over points that were searched.
        path: which code computed the products, as `Linearization` names it.

    >>> f = od.LinearVectorField(torch.tensor([[2.0, 0.0], [0.0, 1.0]]).double())
    >>> K = od.kreiss_constant(od.Jacobian(f, torch.zeros(1, 2).double()))
    >>> K.scale.tolist(), round(K.value.item(), 4)  # ρ = 2: K of A/2, and 1 as A is normal
    ([2.0], 1.0)
    """

    value: Float[Tensor, " batch"]
    scale: Float[Tensor, " batch"]
    point: Complex[Tensor, " batch"]
    residual: Float[Tensor, " batch"]
    kind: str = "bound"
    path: str | None = None


def kreiss_constant(
    operator: OperatorLike,
    time: str = "discrete",
    method: str = "auto",
    *,
    generator: torch.Generator | None = None,
    prepared: Resolvent | None = None,
) -> KreissConstant:
    """sup_{|z| > 1} (|z| − 1)‖(zI − A)⁻¹‖, or sup_{Re z > 0} Re z ‖(zI − A)⁻¹‖.

    K ≤ sup_k ‖A^k‖ ≤ e n K, likewise for ‖e^{tA}‖ (Kreiss 1962; Mathematics, section 4). The
    supremum is sought on a grid around the circle (or beside the axis), densest near it and towards
    the leading eigenvalues, and the best places are refined; the result is a lower bound.

    Args:
        operator: A, an operator or a matrix of any kind.
        time: "discrete" or "continuous".
        method: how resolvents are computed, as `resolvent` takes it.
        generator: source of start vectors.
        prepared: what `resolvent` made of the operator, to share one Schur form between calls.

    Raises:
        ValueError: if `time` is unknown.

    >>> f = od.LinearVectorField(torch.tensor([[0.0, 4.0], [0.0, 0.0]]).double())
    >>> K = od.kreiss_constant(od.Jacobian(f, torch.zeros(1, 2).double()))
    >>> round(K.value.item(), 4)  # c/4 + 1/c for the entry c = 4
    1.25
    """
    operator = as_operator(operator)
    if time not in TIMES:
        raise ValueError(f"time must be one of {', '.join(TIMES)}, got {time!r}")
    given = prepared or resolvent(operator, method, generator=generator)
    leading = given.leading_eigenvalues("LM" if time == "discrete" else "LR", 6)
    size = torch.where(given.norm > 0, given.norm.double(), 1.0)  # any unit will do for A = 0
    plane = _Disc(leading) if time == "discrete" else _HalfPlane(leading, size)
    distance, along = plane.grid()
    best, residual = _quotient(given, plane, distance, along)
    distance, along, best, residual = compass_search(
        functools.partial(_quotient, given, plane),
        # distances are refined by factors
        lambda distance, along, i, j: (distance * torch.exp(i), along + j),
        (distance, along, best, residual),
        (math.log(plane.ratio), plane.gap),
        KEPT,
        ROUNDS,
    )
    value, index = best.max(1)
    chosen = index[:, None]
    point = plane.points(distance, along).gather(1, chosen)[:, 0]
    off = residual.gather(1, chosen)[:, 0]
    nothing = value < 1
    dtype = operator.like.dtype
    return KreissConstant(
        torch.where(nothing, 1.0, value).to(dtype),
        plane.scale.to(dtype),
        torch.where(nothing, complex("inf"), point),
        off.to(dtype),
        path=given.operator.path,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Disc:
    """Outside of the unit circle, for A/scale: |z| = 1 + distance, angle along."""

    leading: Tensor
    ratio = 3.0
    gap = math.pi / DIRECTIONS

    @property
    def scale(self) -> Tensor:
        return self.leading.abs().amax(1).clamp(min=1.0)

    def grid(self) -> tuple[Tensor, Tensor]:
        return _crossed(
            self.leading.real,
            torch.linspace(0, math.pi, DIRECTIONS, dtype=torch.float64),
            self.leading.angle(),
            self.ratio,
        )

    def points(self, distance: Tensor, along: Tensor) -> Tensor:
        return torch.polar(1 + distance, along)

    def shifted(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Where to take σ_min of A itself, and what divides it."""
        return self.scale[:, None] * z, self.scale[:, None]


@dataclasses.dataclass(frozen=True, eq=False)
class _HalfPlane:
    """The right half plane, for A − scale·I, in units of ‖A‖: Re z = distance, Im z = along."""

    leading: Tensor
    size: Tensor
    ratio = 3.0
    gap = 1.0 / DIRECTIONS

    @property
    def scale(self) -> Tensor:
        return self.leading.real.amax(1).clamp(min=0.0)

    def grid(self) -> tuple[Tensor, Tensor]:
        own = self.leading.imag / self.size[:, None]
        return _crossed(
            self.leading.real,
            torch.linspace(0, 1, DIRECTIONS, dtype=torch.float64),
            own,
            self.ratio,
        )

    def points(self, distance: Tensor, along: Tensor) -> Tensor:
        return self.size[:, None] * torch.complex(distance, along)

    def shifted(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z + self.scale[:, None], torch.ones_like(self.scale)[:, None]


def _crossed(like: Tensor, directions: Tensor, own: Tensor, ratio: float) -> tuple[Tensor, Tensor]:
    """Distances 2·ratio^−j by directions, common ones and an example's own, `(batch, points)`."""
    common = directions.to(like.device).expand(len(like), -1)
    along = torch.cat([common, own.double()], 1)
    distance = 2 * ratio ** -torch.arange(DISTANCES, dtype=torch.float64, device=like.device)
    return distance.repeat_interleave(along.shape[1]).expand(len(like), -1), along.repeat(
        1, DISTANCES
    )


def _quotient(
    given: Resolvent, plane: _Disc | _HalfPlane, distance: Tensor, along: Tensor
) -> tuple[Tensor, Tensor]:
    """(|z| − 1)/σ_min or Re z/σ_min of the scaled matrix, and σ_min's relative residual."""
    z = plane.points(distance, along)
    where, divisor = plane.shifted(z)
    triplets = given.triplets(where)
    sigma = triplets.values / divisor
    numerator = z.abs() - 1 if isinstance(plane, _Disc) else z.real
    # Below, σ is noise, and its quotient would pass for a supremum.
    known = triplets.values > 10 * triplets.rounding
    trusted = torch.where(known, numerator / sigma, 0.0)
    return torch.where(sigma.isnan(), torch.nan, trusted), triplets.residuals / triplets.values
