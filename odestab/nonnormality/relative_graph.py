"""The scaled relative graph of an operator: where finite perturbations of a step may lie, and its
worst growth at every step size.
"""

import dataclasses
import math
import numbers
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from odestab.nonnormality.joint_range import Extremes, JointRange
from odestab.operators.coercion import OperatorLike, as_operator
from odestab.operators.linear_operator import AbstractOperator

CENTRES = 25  # circles by default
NEGLIGIBLE = 0.02  # of ‖J‖: an error of an inner circle's radius that no picture shows
SEGMENT = 8  # points on each arc of the boundary
RATIO_ROUNDS = 30  # of the search for a theta method's worst growth; it converges quadratically
PROBE = complex(-0.3, 0.7)  # where a stability function is held against that of the theta method


@runtime_checkable
class ThetaLike(Protocol):
    """A one-step method with R(z) = (1 + (1 − θ)z)/(1 − θz): explicit Euler θ = 0, implicit Euler
    θ = 1, theta methods between.
    """

    @property
    def step_size(self) -> float | Tensor:
        """h."""

    @property
    def pole(self) -> float | None:
        """1/θ, None for θ = 0."""

    def stability_function(self, z: Complex[Tensor, "*points"]) -> Complex[Tensor, "*points"]:
        """R(z)."""


def theta_of(method: ThetaLike) -> float:
    """θ of a one-step method.

    Raises:
        ValueError: if its stability function is not that of a theta method.
    """
    theta = 0.0 if method.pole is None else 1 / method.pole
    z = torch.tensor([PROBE], dtype=torch.complex128)
    expected = (1 + (1 - theta) * z) / (1 - theta * z)
    if not bool((method.stability_function(z) - expected).abs().max() <= 1e-9):
        raise ValueError(
            "method must be explicit or implicit Euler or a theta method, got "
            f"{type(method).__name__}"
        )
    return theta


@dataclasses.dataclass(frozen=True, eq=False)
class RelativeGraph:
    """{a ± i(L² − a²)^½ : ‖δ‖ = 1}, a = ⟨Jδ, δ⟩, L = ‖Jδ‖, of each example, between two circles
    about each of many real centres (Mathematics, section 11).

    In the coordinates (Re z, |z|²) its upper half is convex for n ≥ 3 (Brickman 1961). For n = 2
    real perturbations give the boundary of that convex set alone, for n = 1 one point; what is here
    is then the convex set of complex perturbations, which has the same circles.

    Attributes:
        centres: c, descending.
        outer: max |z − c| = σ_max(J − cI), from below.
        inner: min |z − c| = σ_min(J − cI), from above; NaN where inner circles were left out.
        attained: points of the graph in order: the leftmost, one on each outer circle, the
            rightmost, one on each inner circle from right to left where these were sought.
        outer_residuals: ‖Mᵀu − σw‖ with M = J − cI, Mw = σu, for each outer circle.
        inner_residuals: the same for each inner one; NaN where they were left out.
        outer_converged: residual ≤ rtol·σ.
        inner_converged: residual ≤ rtol·σ, or the smaller of residual and σ ≤ ‖J‖/50: the radius is
            known to within 2 % of the picture. False where they were left out.
        filled: all of the convex set is attained by real perturbations (n ≥ 3).
        products: of J or Jᵀ with one tangent of the whole batch, those in solves included.
        kind: "exact" (all of R^n) or "estimate" (a subspace).
        range: the subspace, from which `worst_growth` goes on; `None` frees its memory.
        rtol: tolerance on residuals.

    Example:
        >>> import torch, odestab as od
        >>> spin = od.LinearVectorField(torch.tensor([[0.0, -2.0], [2.0, 0.0]]))
        >>> graph = od.scaled_relative_graph(od.Jacobian(spin, torch.zeros(1, 2)), torch.zeros(1))
        >>> graph.outer.tolist(), graph.inner.tolist(), graph.filled.tolist()
        ([[2.0]], [[2.0]], [False])
    """

    centres: Float[Tensor, "batch centres"]
    outer: Float[Tensor, "batch centres"]
    inner: Float[Tensor, "batch centres"]
    attained: Complex[Tensor, "batch points"]
    outer_residuals: Float[Tensor, "batch centres"]
    inner_residuals: Float[Tensor, "batch centres"]
    outer_converged: Bool[Tensor, "batch centres"]
    inner_converged: Bool[Tensor, "batch centres"]
    filled: Bool[Tensor, " batch"]
    products: int
    kind: str
    range: JointRange | None
    rtol: float

    @property
    def has_inner(self) -> bool:
        """Inner circles were sought."""
        return self.attained.shape[1] > self.centres.shape[1] + 2

    @property
    def converged(self) -> Bool[Tensor, "batch centres"]:
        """Every circle about the centre that was sought has converged."""
        return self.outer_converged & (self.inner_converged | (not self.has_inner))

    @property
    def left(self) -> Float[Tensor, " batch"]:
        """min Re z = λ_min((J + Jᵀ)/2), from above."""
        return self.attained[:, 0].real

    @property
    def right(self) -> Float[Tensor, " batch"]:
        """max Re z = λ_max((J + Jᵀ)/2), the logarithmic norm, from below."""
        return self.attained[:, self.centres.shape[1] + 1].real

    def boundary(self) -> Complex[Tensor, "batch polygon"]:
        """The upper boundary as a closed polygon, from the leftmost point along the outer circles
        to the rightmost and back along the inner ones, or along the real axis where these were left
        out.

        Its corners are attained. Between two of them lie arcs about real points, which are
        straight in the coordinates (Re z, |z|²), so that all of it belongs to the convex set.
        """
        corners = self.attained
        if not self.has_inner:
            ends = torch.stack([self.right, self.left], 1)
            corners = torch.cat([corners, torch.complex(ends, torch.zeros_like(ends))], 1)
        corners = torch.cat([corners, corners[:, :1]], 1)
        a = corners[:, :-1, None]
        b = corners[:, 1:, None]
        t = torch.arange(SEGMENT, dtype=a.real.dtype, device=a.device) / SEGMENT
        # |z|² − (Re z)² along the line, without a difference of squares.
        height = (1 - t) * a.imag**2 + t * b.imag**2 + t * (1 - t) * (b.real - a.real) ** 2
        flat = (a.imag == 0) & (b.imag == 0)  # the real axis itself, not an arc above it
        height = torch.where(flat & (not self.has_inner), 0.0, height)
        along = torch.complex((1 - t) * a.real + t * b.real, height.sqrt()).flatten(1)
        return torch.cat([along, corners[:, -1:]], 1)

    def contains(self, z: Complex[Tensor, "batch *points"]) -> Bool[Tensor, "batch *points"]:
        """Whether points lie between the two circles about every centre, to within the residuals.

        Circles that have not converged exclude nothing. It is a superset of the graph, equal to it
        as centres become dense. False for points that are not finite, and for examples that are
        not.

        Raises:
            ValueError: if there are not points for each example.
        """
        if z.shape[:1] != self.centres.shape[:1]:
            raise ValueError(
                f"points must be of {len(self.centres)} examples, got {tuple(z.shape)}"
            )
        flat = z.reshape(len(z), -1)
        distance = (flat[:, None] - self.centres[..., None]).abs()
        eps = torch.finfo(self.outer.dtype).eps
        noise = 1e3 * eps * (self.outer + self.centres.abs())
        above = distance <= (self.outer + self.outer_residuals + noise)[..., None]
        below = distance >= (self.inner - self.inner_residuals - noise)[..., None]
        inside = (above | ~self.outer_converged[..., None]).all(1)
        inside &= (below | ~self.inner_converged[..., None]).all(1)
        known = self.attained.isfinite().all(1)
        return (inside & known[:, None] & flat.isfinite()).view(z.shape)

    @torch.no_grad()
    def worst_growth(self, method: ThetaLike) -> Float[Tensor, " batch"]:
        """max |R(hz)| over the graph at the method's step size: σ_max(I + hJ), 1/σ_min(I − hJ), and
        σ_max of a theta method's R(hJ).

        It is computed at the method's own circle, about −1/h or 1/h, and not interpolated between
        those of the record; the subspace grows where that circle asks for it. A theta method's
        maximum is where its two circles meet (Dinkelbach 1967). NaN where it has not converged.

        Raises:
            ValueError: if the method is neither explicit nor implicit Euler nor a theta method, or
                the subspace was freed.

        Example:
            >>> import torch, odestab as od
            >>> shear = od.LinearVectorField(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
            >>> graph = od.scaled_relative_graph(od.Jacobian(shear, torch.zeros(1, 2)))
            >>> round(float(graph.worst_growth(od.ExplicitEuler(1.0))), 4)
            1.618
        """
        if self.range is None:
            raise ValueError("range must be the graph's subspace, got None: it was freed")
        theta = theta_of(method)
        h = float(method.step_size)
        forward, back = (h * part * self.range.scale for part in (1 - theta, theta))
        known = ~self.outer[:, 0].isnan()
        # The first guess may be anything: 1 is the growth of the zero operator.
        growth = torch.ones_like(forward)
        good = known
        for _ in range(RATIO_ROUNDS if 0 < theta < 1 else 1):
            # |1 + αz|² − G²|1 − βz|², with weights that hold up where G is infinite.
            above = 1 / (1 + growth.nan_to_num(1.0) ** 2)
            u = above * forward**2 - (1 - above) * back**2
            v = above * forward + (1 - above) * back
            size = torch.hypot(u, v)
            extreme = self.range.extremes(
                (u / size)[:, None], (v / size)[:, None], self.rtol, torch.zeros_like(size), True
            )
            before = growth
            good = extreme.converged[:, 0]
            growth = _ratio(extreme.points[:, 0], forward, back)
            if not bool(((growth - before).abs() > 1e-12 * growth.abs()).any()):
                break
        return torch.where(good & known, growth, torch.nan)


@torch.no_grad()
def scaled_relative_graph(
    op: OperatorLike,
    centres: Float[Tensor, " centres"] | None = None,
    inner: bool = True,
    *,
    rtol: float = 1e-3,
    max_dimension: int = 240,
    generator: torch.Generator | None = None,
) -> RelativeGraph:
    """SRG(J) = {a ± i(L² − a²)^½ : ‖δ‖ = 1}, by σ_max(J − cI) and σ_min(J − cI) for real c (Ryu,
    Hannah and Yin 2022; Mathematics, section 11).

    It holds every eigenvalue, and the secants of the field as a perturbation tends to 0. All
    circles come from one subspace; up to dimension 256 that is R^n, and all is exact.

    Args:
        op: J, an operator or a matrix of any kind.
        centres: c, in any order; None is 25 of each example, ½‖J‖ tan φ at equispaced φ.
        inner: seek the inner circles too, by solves with J − cI and its transpose: most of the
            cost.
        rtol: tolerance on the residuals of singular values; their own errors are of second order in
            it.
        max_dimension: largest subspace; what has not converged by then is flagged.
        generator: source of the start vector.

    Raises:
        ValueError: if there are no centres, or they are not finite, real and in one dimension; if
            rtol is not positive, or max_dimension is no whole number >= 1.

    Example:
        >>> import torch, odestab as od
        >>> field = od.LinearVectorField(torch.diag(torch.tensor([-1.0, -2.0, -4.0])))
        >>> graph = od.scaled_relative_graph(od.Jacobian(field, torch.zeros(1, 3)))
        >>> graph.contains(torch.tensor([[-1.0 + 0j, -3.0 + 1j, -3.0 + 2j]])).tolist()
        [[True, True, False]]
    """
    op = as_operator(op)
    if centres is not None and (centres.ndim != 1 or centres.is_complex()):
        kind = f"{centres.dtype} of shape {tuple(centres.shape)}"
        raise ValueError(f"centres must be real, in one dimension, got {kind}")
    if centres is not None and not (centres.numel() and bool(centres.isfinite().all())):
        raise ValueError(f"centres must be finite, at least one, got {centres.tolist()}")
    if not rtol > 0:
        raise ValueError(f"rtol must be > 0, got {rtol}")
    largest: Any = max_dimension
    if not isinstance(largest, numbers.Integral) or largest < 1:
        raise ValueError(f"max_dimension must be a whole number >= 1, got {largest!r}")
    space = JointRange(op, generator, max_dimension)
    ones = torch.ones_like(space.scale)[:, None]
    zeros = torch.zeros_like(space.scale)
    # ‖J‖ first: it is the unit of centres and of what is negligible.
    size = space.extremes(ones, 0 * ones, 0.1, zeros).points[:, 0].abs()
    unit_ = torch.where(size > 0, size, 1.0)
    if centres is None:
        angle = torch.linspace(0.5 * math.pi, -0.5 * math.pi, CENTRES + 2, dtype=torch.float64)
        own = torch.tan(angle[1:-1]).to(size) * unit_[:, None] / 2
    else:
        given = centres.to(size).sort(descending=True).values
        own = given.expand(len(size), -1) / space.scale[:, None]
    steep = torch.hypot(torch.ones_like(own), own)
    outwards = (
        torch.cat([0 * ones, 1 / steep, 0 * ones], 1),
        torch.cat([-ones, -own / steep, ones], 1),
    )
    extremes = [space.extremes(*outwards, rtol, zeros)]
    if inner:
        extremes.append(space.extremes(-1 / steep, own / steep, rtol, NEGLIGIBLE * size))
    return _graph(op, space, own, extremes, rtol)


def _graph(
    op: AbstractOperator, space: JointRange, own: Tensor, extremes: list[Extremes], rtol: float
) -> RelativeGraph:
    """The record in the operator's own units, from the extremes on the scaled one."""
    scale = space.scale[:, None]
    steep = torch.hypot(torch.ones_like(own), own)

    def circles(part: Extremes, ends: int) -> tuple[Tensor, Tensor, Tensor]:
        inside = slice(ends, part.points.shape[1] - ends)
        radius = (part.points[:, inside] - own).abs()
        residual = part.residuals[:, inside] * steep / torch.where(radius > 0, radius, 1.0)
        # A radius below its residual is a small number, and that is all that is known of it.
        return radius * scale, torch.minimum(residual, radius) * scale, part.converged[:, inside]

    outer, outer_residuals, outer_converged = circles(extremes[0], 1)
    missing = torch.full_like(outer, torch.nan)
    inner = missing
    inner_residuals = missing
    inner_converged = torch.zeros_like(outer_converged)
    if len(extremes) > 1:
        inner, inner_residuals, inner_converged = circles(extremes[1], 0)
    return RelativeGraph(
        own * scale,
        outer,
        inner,
        torch.cat([part.points for part in extremes], 1) * scale,
        outer_residuals,
        inner_residuals,
        outer_converged,
        inner_converged,
        torch.tensor([n >= 3 for n in op.sizes], device=outer.device),
        space.products,
        "exact" if space.exact else "estimate",
        space,
        rtol,
    )


def _ratio(z: Tensor, forward: Tensor, back: Tensor) -> Tensor:
    """|1 + αz|/|1 − βz|."""
    above = torch.hypot(1 + forward * z.real, forward * z.imag)
    return above / torch.hypot(1 - back * z.real, back * z.imag)
