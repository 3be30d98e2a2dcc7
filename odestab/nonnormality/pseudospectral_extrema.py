"""How far the ε-pseudospectrum reaches to the right (abscissa) and from zero (radius)."""

import dataclasses
import math

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from odestab.nonnormality.crossings import ABSCISSA, RADIUS, Coordinate
from odestab.nonnormality.resolvent import Resolvent, resolvent
from odestab.nonnormality.root import Bracket
from odestab.operators.coercion import OperatorLike, as_operator

# up to this dimension a whole line or circle is searched through eigenvalues of a matrix of twice
# the size
CERTIFIED_LIMIT = 256
METHODS = ("auto", "criss-cross", "ascent")
STARTS = (8, 3)  # eigenvalues to start from, with Schur forms and matrix-free
KEPT = 3  # of them, those that reach furthest, are followed
SAMPLES = (33, 9)  # points on a line or circle where it is not searched as a whole
NEWTON_STEPS = 120  # from an eigenvalue to the boundary: where it is defective, ε^{1/n} away
CORRECTIONS = 10  # from one boundary point to a neighbour
ASCENT_STEPS = 60
ROUNDS = 10
# of the residuals of σ, with Schur forms and matrix-free; what they spoil is of second order
RTOL = (1e-6, 1e-3)
LEAST_REACH = 1e-15  # of a first step, relative to where it begins
PRECISION = 1e-12  # relative, of log σ on the boundary


@dataclasses.dataclass(frozen=True, eq=False)
class Extremum:
    """The extreme point of an ε-pseudospectrum, per example.

    Attributes:
        value: max Re z (abscissa) or max |z| (radius) over σ_min(zI − A) ≤ ε; NaN where A is not
            finite.
        point: a z where it is attained, above the real axis.
        residual: |σ_min(point·I − A) − ε|.
        converged: the last search, exact or by samples, found nothing beyond the value, and ε is
            above rounding of A.
        matvecs: products of A or Aᵀ with the whole batch.
        kind: "exact" where a search of the whole line or circle certifies the value, else "bound":
            the point lies in the pseudospectrum, so the value is a lower bound.
        path: which code computed the products, as `Linearization` names it.

    >>> f = od.LinearVectorField(torch.diag(torch.tensor([-1.0, -3.0])).double())
    >>> abscissa = od.pseudospectral_abscissa(od.Jacobian(f, torch.zeros(1, 2).double()), 0.5)
    >>> round(abscissa.value.item(), 6), abscissa.converged.tolist(), abscissa.kind  # normal: α + ε
    (-0.5, [True], 'exact')
    """

    value: Float[Tensor, " batch"]
    point: Complex[Tensor, " batch"]
    residual: Float[Tensor, " batch"]
    converged: Bool[Tensor, " batch"]
    matvecs: int
    kind: str
    path: str | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class _Boundary:
    """Boundary points w = x + iy, `(batch, points)`: x is −∞ where there is none, slope dx/dy."""

    x: Tensor
    y: Tensor
    slope: Tensor

    def replaced(self, which: Tensor, other: "_Boundary") -> "_Boundary":
        return _Boundary(
            *(
                torch.where(which, getattr(other, name), getattr(self, name))
                for name in ("x", "y", "slope")
            )
        )

    def best(self) -> "_Boundary":
        """The point of largest x of each example, `(batch, 1)`."""
        return self.chosen(self.x.argmax(1, keepdim=True))

    def chosen(self, columns: Tensor) -> "_Boundary":
        return _Boundary(
            self.x.gather(1, columns), self.y.gather(1, columns), self.slope.gather(1, columns)
        )


def pseudospectral_abscissa(
    operator: OperatorLike,
    epsilon: float,
    method: str = "auto",
    *,
    generator: torch.Generator | None = None,
    prepared: Resolvent | None = None,
) -> Extremum:
    """α_ε(A) = max Re z over σ_min(zI − A) ≤ ε.

    Ascent along the boundary from the leading eigenvalues; then the vertical line just beyond is
    searched for points inside, and the ascent goes on from there until none is left. With
    "criss-cross" the search is exact, as all crossings are imaginary eigenvalues of a Hamiltonian
    matrix (Burke, Lewis and Overton 2003). With "ascent" samples are searched.

    Args:
        operator: A, an operator or a matrix of any kind.
        epsilon: ε > 0.
        method: "criss-cross", "ascent", or "auto", which is the former up to dimension 256.
        generator: source of start vectors.
        prepared: what `resolvent` made of the operator, to share one Schur form between calls, or
            to choose a matrix-free ascent.

    Raises:
        ValueError: if epsilon is not positive and finite, the method is unknown, or "criss-cross"
            is asked for without Schur forms.

    >>> f = od.LinearVectorField(torch.tensor([[0.0, 4.0], [0.0, 0.0]]).double())
    >>> A = od.Jacobian(f, torch.zeros(1, 2).double())
    >>> round(od.pseudospectral_abscissa(A, 0.01).value.item() ** 2, 6)  # ε(4 + ε)
    0.0401
    """
    operator = as_operator(operator)
    return _extremum(
        prepared or resolvent(operator, generator=generator), epsilon, method, ABSCISSA
    )


def pseudospectral_radius(
    operator: OperatorLike,
    epsilon: float,
    method: str = "auto",
    *,
    generator: torch.Generator | None = None,
    prepared: Resolvent | None = None,
) -> Extremum:
    """ρ_ε(A) = max |z| over σ_min(zI − A) ≤ ε (Mengi and Overton 2005).

    It is found as `pseudospectral_abscissa` is, with circles for lines.

    Args:
        operator: A, an operator or a matrix of any kind.
        epsilon: ε > 0.
        method: "criss-cross", "ascent" or "auto".
        generator: source of start vectors.
        prepared: what `resolvent` made of the operator.

    Raises:
        ValueError: if epsilon is not positive and finite, the method is unknown, or "criss-cross"
            is asked for without Schur forms.

    >>> f = od.LinearVectorField(torch.tensor([[0.0, 0.9], [-0.9, 0.0]]).double())  # λ = ±0.9i
    >>> A = od.Jacobian(f, torch.zeros(1, 2).double())
    >>> round(od.pseudospectral_radius(A, 0.2).value.item(), 6)  # normal: ρ + ε > 1
    1.1
    """
    operator = as_operator(operator)
    return _extremum(prepared or resolvent(operator, generator=generator), epsilon, method, RADIUS)


def _extremum(prepared: Resolvent, epsilon: float, method: str, coordinate: Coordinate) -> Extremum:
    if not (epsilon > 0 and math.isfinite(epsilon)):
        raise ValueError(f"epsilon must be > 0 and finite, got {epsilon}")
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if method == "criss-cross" and prepared.forms is None:
        raise ValueError("method 'criss-cross' needs Schur forms, got a matrix-free resolvent")
    level = dataclasses.replace(prepared, rtol=RTOL[prepared.forms is None])
    small = prepared.forms is not None and max(level.operator.sizes) <= CERTIFIED_LIMIT
    certified = method == "criss-cross" or (method == "auto" and small)
    eigenvalues = level.leading_eigenvalues(coordinate.which, STARTS[level.forms is None]).to(
        torch.complex128
    )
    begin = coordinate.from_z(eigenvalues + epsilon * _outward(coordinate, eigenvalues))
    reach = epsilon / coordinate.derivative(begin).abs()
    best = _ascend(level, coordinate, begin, epsilon, reach).best()
    for _ in range(ROUNDS):
        begin, more = _search(level, coordinate, best, epsilon, begin.shape[1], certified)
        if not bool(more.any()):
            break
        again = _ascend(level, coordinate, begin, epsilon, reach[:, :1].expand_as(begin)).best()
        best = best.replaced(more & (again.x > best.x), again)
    return _record(level, coordinate, best, epsilon, ~more[:, 0], "exact" if certified else "bound")


def _record(
    level: Resolvent,
    coordinate: Coordinate,
    best: _Boundary,
    epsilon: float,
    searched: Tensor,
    kind: str,
) -> Extremum:
    known = best.x[:, 0].isfinite()
    point = coordinate.to_z(torch.complex(best.x, best.y))
    at_point = level.triplets(point)
    residual = (at_point.values[:, 0].double() - epsilon).abs()
    # Else the whole pseudospectrum is one eigenvalue to rounding.
    told_apart = at_point.rounding[:, 0] < epsilon
    value = torch.where(known, coordinate.value(point[:, 0]), torch.nan)
    point = torch.where(known, point[:, 0], complex("nan"))
    dtype = level.operator.like.dtype
    return Extremum(
        value.to(dtype),
        point,
        residual.to(dtype),
        known & searched & told_apart,
        level.matvecs,
        kind,
        level.operator.path,
    )


def _outward(coordinate: Coordinate, z: Tensor) -> Tensor:
    """The direction, unit, in which x grows."""
    direction = coordinate.derivative(coordinate.from_z(z))
    return torch.where(direction.abs() > 0, direction / direction.abs(), 1.0)


def _ascend(
    level: Resolvent, coordinate: Coordinate, begin: Tensor, epsilon: float, reach: Tensor
) -> _Boundary:
    """Maximise the boundary's x over y from points inside; a step must gain.

    It is Newton's method with a secant for d²x/dy².
    """
    at = _boundary(level, coordinate, begin.real, begin.imag, epsilon, reach, NEWTON_STEPS)
    kept = at.x.topk(min(KEPT, at.x.shape[1]), dim=1).indices
    scale = (at.x.abs() + reach).gather(1, kept)
    reach = (at.x - begin.real).clamp(min=reach).nan_to_num(posinf=0.0, neginf=0.0).gather(1, kept)
    at = at.chosen(kept)
    bend = -1 / reach  # that of a disc
    for _ in range(ASCENT_STEPS):
        step = torch.where(bend < 0, -at.slope / bend, at.slope.sign() * reach).clamp(-reach, reach)
        gain = at.slope * step / 2
        # A gain below the accuracy of the boundary itself could not be told from none.
        open_ = gain > max(PRECISION / 10, level.rtol**2) * scale
        if not bool(open_.any()):
            break
        step = torch.where(open_, step, 0.0)
        trial = _boundary(
            level,
            coordinate,
            torch.where(open_, at.x + gain, at.x),
            at.y + step,
            epsilon,
            reach,
            CORRECTIONS,
        )
        better = open_ & (trial.x > at.x)
        met = open_ & trial.x.isfinite()
        # A step to where no boundary was found says nothing about its curvature.
        bend = torch.where(met, (trial.slope - at.slope) / step, bend)
        reach = torch.where(better, 2 * reach, torch.where(open_, step.abs() / 4, reach))
        at = at.replaced(better, trial)
    return at


def _boundary(
    level: Resolvent,
    coordinate: Coordinate,
    x: Tensor,
    y: Tensor,
    epsilon: float,
    reach: Tensor,
    limit: int,
) -> _Boundary:
    """Solve log σ_min = log ε for x at fixed y, by Newton's method in a bracket.

    The bracket holds a point inside and one outside, and σ_min grows with x.

    A σ that is zero to rounding has no slope, and lies inside: from there the way out is walked in
    steps that double.
    """
    bracket = Bracket.unknown(x, torch.maximum(reach, LEAST_REACH * x.abs()))
    slope = torch.full_like(x, torch.nan)
    done = torch.zeros_like(x, dtype=torch.bool)
    for _ in range(limit):
        w = torch.complex(x, y)
        triplets = level.triplets(coordinate.to_z(w))
        sigma = triplets.values.double()
        gradient = (coordinate.derivative(w).conj() * triplets.slopes) / sigma  # of log σ in w
        gap = math.log(epsilon) - sigma.log()
        accuracy = max(PRECISION, level.rtol**2) + triplets.rounding / epsilon
        done = (gap.abs() <= accuracy) & (gradient.real > 0)
        slope = -gradient.imag / gradient.real
        settled = done | ~sigma.isfinite()
        if bool(settled.all()):
            break
        inside = gap >= 0
        bracket = bracket.narrowed(x, inside)
        sloped = (gradient.real > 0) & (sigma > triplets.rounding)
        moved, bracket = bracket.stepped(x, x + gap / gradient.real, sloped, inside)
        x = torch.where(settled, x, moved)
    return _Boundary(torch.where(done, x, -torch.inf), y, torch.where(done, slope, 0.0))


def _search(
    level: Resolvent,
    coordinate: Coordinate,
    best: _Boundary,
    epsilon: float,
    count: int,
    certified: bool,
) -> tuple[Tensor, Tensor]:
    """Points just beyond the best x that lie inside, least σ first; and where there are any.

    They are filled up with the best point itself.
    """
    # Beyond by more than the best point may be off, or the search would find that again.
    x = best.x + max(1e-9, 10 * level.rtol**2) * (
        best.x.abs() + epsilon / coordinate.derivative(torch.complex(best.x, best.y)).abs()
    )
    if level.forms is not None and certified:
        lines = [
            _middles(coordinate, form.triangle * scale, epsilon, float(at))
            for form, scale, at in zip(level.forms, level.scale.double(), x[:, 0], strict=True)
        ]
        y = torch.nn.utils.rnn.pad_sequence(lines, batch_first=True).to(x)
    else:
        share = torch.linspace(0, 1, SAMPLES[level.forms is None], dtype=x.dtype, device=x.device)
        y = (
            math.pi * share.expand(len(x), -1)
            if coordinate is RADIUS
            else (level.norm[:, None] + epsilon) * share**2
        )
    w = torch.complex(x.expand_as(y), y)
    triplets = level.triplets(coordinate.to_z(w))
    # Inside by more than rounding: a point on the boundary is no progress.
    sigma = torch.where(
        triplets.values + 2 * triplets.rounding < epsilon, triplets.values.double(), torch.inf
    )
    order = sigma.argsort(1)[:, :count]
    inside = sigma.gather(1, order).isfinite()
    return torch.where(inside, w.gather(1, order), torch.complex(best.x, best.y)), inside.any(
        1, keepdim=True
    )


def _middles(coordinate: Coordinate, triangle: Tensor, epsilon: float, x: float) -> Tensor:
    """Points between neighbours of all y ≥ 0 where the line x may cross the boundary.

    The imaginary part of every eigenvalue is taken for a crossing, on the axis or not: points too
    many cost little, a missed one the proof.
    """
    if not math.isfinite(x) or not triangle.isfinite().all():
        return torch.zeros(1, dtype=torch.float64)
    y = np.unique(np.abs(coordinate.crossings(triangle, epsilon, x)))
    ends = [0.0, math.pi] if coordinate is RADIUS else [0.0]
    y = np.unique(np.concatenate([ends, y]))
    # Crossings that are one to rounding have no point between them.
    wide = np.diff(y) > 1e-12 * max(y[-1], epsilon)
    return torch.as_tensor(np.concatenate([ends, ((y[1:] + y[:-1]) / 2)[wide]]))
