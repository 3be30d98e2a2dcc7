"""The joint numerical range of the symmetric part of an operator and its square: a convex set in
the plane, known by its supporting lines from one subspace.
"""

import dataclasses

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from odestab.krylov import gmres
from odestab.krylov.orthogonalization import norm, orthogonalize, unit
from odestab.krylov.projected import HOST, decomposed, transferred
from odestab.operators.linear_operator import AbstractOperator
from odestab.operators.scaling import unit_scaled
from odestab.spectrum import record

LOOSE_SOLVE = 0.05  # of the solves behind new directions; what is found comes from exact products
LONGEST_SOLVE = 60  # products of either: near the spectrum a solve never ends, and need not
TOGETHER = 6  # directions of either kind by which the space grows at once
ROOM = 60  # dimensions that one more search may add to a space that is as large as it may be
NOISE = 100  # eps: what rounding leaves of residuals of squares
LOST = 10  # times that: a square below it says nothing
CHUNK = 64  # columns of a dense matrix that are made at once


@dataclasses.dataclass(frozen=True, eq=False)
class Extremes:
    """The outermost points of the set {(Re z, |z|²)} in given directions.

    Attributes:
        points: z = ⟨w, Jw⟩ + i‖Jw − ⟨w, Jw⟩w‖ of the unit vector w that was found: attained,
            whatever has converged. NaN where the operator is not finite.
        residuals: ‖Hw − λw‖ for H = u JᵀJ + v(J + Jᵀ).
        converged: see `JointRange.extremes`.
    """

    points: Complex[Tensor, "batch directions"]
    residuals: Float[Tensor, "batch directions"]
    converged: Bool[Tensor, "batch directions"]


class JointRange:
    """{(⟨w, Jw⟩, ‖Jw‖²) : ‖w‖ = 1} of each example, for J divided by `scale`.

    In the coordinates (Re z, |z|²) a circle about a real centre c is the line |z|² − 2c Re z =
    const, so that the outermost and innermost circles of the scaled relative graph are supporting
    lines of this set: extreme eigenvalues of JᵀJ − c(J + Jᵀ). They are sought for all directions on
    one subspace, which holds V, JV, JᵀV and JᵀJV and grows by the residuals of the directions that
    are worst off, or by inverse iteration on them (generalised Davidson, Morgan and Scott 1986).
    Small matrices have all of R^n as their V, and everything is exact then.

    Attributes:
        scale: a power of two near ‖J‖ per example, 1 where that is within the comfort of squares.
        products: of J or Jᵀ with one tangent of the whole batch, those in solves included.
    """

    def __init__(
        self,
        operator: AbstractOperator,
        generator: torch.Generator | None,
        max_dimension: int,
        whole: bool = True,
    ) -> None:
        """Begin, with all of R^n where that is small and asked for, else with a random vector."""
        operator, self.scale = unit_scaled(operator)
        self.operator = operator
        self.products = 1
        self.largest = max(operator.sizes)
        self.exact = whole and self.largest <= record.DENSE_LIMIT
        self.max_dimension = max_dimension
        n = operator.like[0].numel()
        empty = operator.like.new_zeros(len(operator.like), 0, n)
        self.v = empty
        self.jv = empty
        self.tv = empty
        self.tjv = empty
        if self.exact:
            for first in range(0, self.largest, CHUNK):
                self._append(self._unit_vectors(first, min(CHUNK, self.largest - first)))
        else:
            self.grow(operator.random(generator).flatten(1)[:, None])

    @property
    def dimension(self) -> int:
        """Of the subspace, rows of zeros included."""
        return self.v.shape[1]

    @property
    def complete(self) -> Bool[Tensor, " batch"]:
        """Whose subspace is all of R^n."""
        sizes = torch.tensor(self.operator.sizes, device=self.v.device)
        return (self.v.norm(dim=2) > 0.5).sum(1) >= sizes

    def extremes(
        self,
        u: Float[Tensor, "batch directions"],
        v: Float[Tensor, "batch directions"],
        rtol: float,
        floor: Float[Tensor, " batch"],
        inverse: bool = False,
    ) -> Extremes:
        """Where u|z|² + 2v Re z is largest, for u² + v² = 1; the space grows until all have
        converged or it is the largest.

        u > 0 asks for the outer circle about c = −v/u, u < 0 for the inner one, u = 0 for the
        largest or smallest real part. With z found, σ = |z − c|, M = J − cI and ρ = ‖MᵀMw − σ²w‖/σ,
        the residual of the singular triplet, converged means ρ ≤ rtol·σ, or min(ρ, σ) ≤ floor.

        Args:
            u: `(batch, directions)`.
            v: the same.
            rtol: tolerance on ρ relative to σ.
            floor: tolerance in units of J, per example.
            inverse: grow by inverse iteration on residuals of inner circles. Sought one at a time
                they need it; for a whole set of them residuals as they are cost less.
        """
        limit = max(self.max_dimension, self.dimension + inverse * ROOM)
        every = torch.arange(u.shape[1], device=u.device)
        active = every
        while True:
            points, vectors, excess = self._ritz(u[:, active], v[:, active], rtol, floor, inverse)
            pending = (excess > 1) & ~points.real.isnan()
            before = self.dimension
            open_ = pending.any(0)
            if not bool(open_.any()) and len(active) < len(every):
                # A larger space may have found a better vector, with a larger residual.
                active = every
                continue
            if self.exact or before >= limit or not bool(open_.any()):
                break
            excess = torch.where(pending, excess, 0.0)
            self._expand(u[:, active], v[:, active], vectors, excess, limit - before, inverse)
            if self.dimension == before:
                break
            active = active[open_]
        if len(active) < len(every):
            points, vectors, excess = self._ritz(u, v, rtol, floor, inverse)
        residuals = torch.where(points.real.isnan(), torch.nan, norm(vectors))
        return Extremes(points, residuals, excess <= 1)

    def _ritz(
        self, u: Tensor, v: Tensor, rtol: float, floor: Tensor, inverse: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Points, residual vectors `(batch, directions, n)`, and residuals in units of what is
        allowed.
        """
        # On all of R^n an inner circle is a singular value of J − cI, without a square.
        sharp = self.complete & inverse
        values, coefficients, finite = self._projected(u, v, sharp)
        w, jw, tw, tjw = (
            torch.bmm(coefficients, space) for space in (self.v, self.jv, self.tv, self.tjv)
        )
        length = norm(w)  # 1 but for rounding, 0 where there is no real entry
        a = (w * jw).sum(2)
        points = torch.complex(a, norm(jw - a[..., None] * w))
        known = finite[:, None] & (length > 0.5)
        points = torch.where(known, points, complex("nan"))
        residual = u[..., None] * tjw + v[..., None] * (jw + tw) - values[..., None] * w
        residual = torch.where(known[..., None], residual, 0.0)
        excess = self._excess(u, v, points, norm(residual), rtol, floor)
        # A singular value of the whole matrix is no square root of rounding.
        return points, residual, torch.where(known & sharp[:, None], 0.0, excess)

    def _projected(self, u: Tensor, v: Tensor, sharp: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The largest Ritz value of H, its coefficients, and which examples are finite.

        Where `sharp`, V is all of R^n, and inner circles are singular values of J − cI.
        """
        mixed = torch.bmm(self.v, self.jv.mT)
        square = torch.bmm(self.jv, self.jv.mT)
        alive = self.v.norm(dim=2) > 0.5
        on_host = transferred(HOST, mixed, square, alive.to(u.dtype), u, v)
        mixed, square, used, first, second = (part.double() for part in on_host)
        finite = square.isfinite().all(2).all(1) & mixed.isfinite().all(2).all(1)
        finite = finite & (used > 0.5).any(1)
        mixed, square = (torch.where(finite[:, None, None], g, 0.0) for g in (mixed, square))
        symmetric = mixed + mixed.mT
        h = first[..., None, None] * square[:, None] + second[..., None, None] * symmetric[:, None]
        # Rows of zeros are no directions: they must not win where all values are negative.
        below_all = -2 * (square.abs().sum(2).amax(1) + symmetric.abs().sum(2).amax(1)) - 1
        h = h + torch.diag_embed((used < 0.5) * below_all[:, None])[:, None]
        values, vectors = decomposed(torch.linalg.eigh, h.flatten(0, 1))
        shape = u.shape
        device = self.v.device
        largest = values[:, -1].view(shape)
        leading = vectors[..., -1].view(*shape, -1)
        if bool(sharp.any()):
            c = _centres(first, second)[..., None]
            beyond = 2 * (below_all[:, None, None] - c.abs())  # rows of zeros must not win here
            shift = torch.diag_embed(torch.where(used[:, None] > 0.5, c, beyond))
            right = decomposed(torch.linalg.svd, (mixed[:, None] - shift).flatten(0, 1))[2]
            instead = (first < 0) & sharp.to(HOST)[:, None]
            leading = torch.where(instead[..., None], right[:, -1].view(*shape, -1), leading)
        values, vectors, finite = (part.to(u.dtype) for part in (largest, leading, finite[:, None]))
        values, vectors, finite = transferred(device, values, vectors, finite)
        return values, vectors, finite[:, 0] > 0.5

    def _excess(
        self, u: Tensor, v: Tensor, points: Tensor, residual: Tensor, rtol: float, floor: Tensor
    ) -> Tensor:
        """Residuals in units of what is allowed; above 1 is not converged."""
        upright = u == 0
        centre = _centres(u, v)
        sigma = torch.where(upright, points.abs(), (points - centre).abs())
        # H is u (JᵀJ − c(J + Jᵀ)) with |u| = 1/√(1 + c²), or ±(J + Jᵀ): the residual of
        # MᵀM w = σ²w, or of the symmetric part, is larger or smaller by that.
        square = residual * torch.where(upright, 0.5, torch.hypot(torch.ones_like(centre), centre))
        reach = points.abs() + centre.abs()
        noise = NOISE * torch.finfo(u.dtype).eps * reach * torch.where(upright, 1.0, reach)
        length = torch.where(upright, 1.0, sigma)
        allowed = rtol * sigma * length + noise
        # A value below what rounding leaves of its square is known to the floor alone.
        lost = ~upright & (sigma * sigma <= LOST * noise) & (reach > 0)
        relative = torch.where(lost, torch.inf, square / torch.where(allowed > 0, allowed, 1.0))
        triplet = torch.where(length > 0, square / torch.where(length > 0, length, 1.0), 0.0)
        small = torch.where(upright, triplet, torch.minimum(triplet, sigma))
        given = floor[:, None] > 0
        absolute = small / torch.where(given, floor[:, None], 1.0)
        excess = torch.where(given, torch.minimum(relative, absolute), relative)
        return torch.where(points.real.isnan(), torch.inf, excess)

    def _expand(
        self, u: Tensor, v: Tensor, residual: Tensor, excess: Tensor, room: int, inverse: bool
    ) -> None:
        """Grow by the residuals of the directions that are worst off, outer and inner ones, or by
        inverse iteration on the latter.
        """
        new = []
        for inside in (False, True):
            rank = torch.where((u < 0) == inside, excess, 0.0)
            count = min(TOGETHER, rank.shape[1], int((rank > 0).sum(1).max()))
            if not count:
                continue
            worst = rank.topk(count, dim=1)
            index = worst.indices[..., None].expand(-1, -1, residual.shape[2])
            chosen = torch.where((worst.values > 0)[..., None], residual.gather(1, index), 0.0)
            if inside and inverse:
                chosen = self._inverted(chosen, _centres(u, v).gather(1, worst.indices))
            new.append(chosen)
        self.grow(torch.cat(new, 1)[:, :room])

    def _inverted(self, r: Tensor, centres: Tensor) -> Tensor:
        """About (MᵀM)⁻¹ r, M = J − cI, each row with its own c."""
        rows = r.transpose(0, 1).flatten(0, 1)
        c = centres.T.reshape(-1, 1)
        # Lengths do not matter, and near the spectrum they would overflow.
        rows, _ = unit(rows)
        half = gmres(
            lambda y: self.product(y, adjoint=True) - c * y, rows, LOOSE_SOLVE, LONGEST_SOLVE
        ).solution
        half, _ = unit(half)
        whole = gmres(lambda y: self.product(y) - c * y, half, LOOSE_SOLVE, LONGEST_SOLVE).solution
        return whole.view(r.shape[1], r.shape[0], -1).transpose(0, 1)

    def product(self, rows: Tensor, adjoint: bool = False) -> Tensor:
        """J or Jᵀ on `(tangents·batch, n)`."""
        self.products += len(rows) // max(len(self.v), 1)
        operator = self.operator
        return operator.flat(operator.rmv if adjoint else operator.mv)(rows)

    def grow(self, directions: Tensor) -> None:
        """Orthonormal rows for new directions `(batch, some, n)`, zeros for what lies in the space;
        nothing where all of them do.
        """
        eps = torch.finfo(directions.dtype).eps
        basis = self.v
        for k in range(directions.shape[1]):
            direction, _ = unit(directions[:, k])
            # A solve that broke down adds nothing rather than NaN to the space of its example.
            direction = torch.where(direction.isfinite(), direction, 0.0)
            q, _ = unit(orthogonalize(basis, direction)[0], 100 * eps)
            # What loses half of a unit length the second time was rounding of the space itself.
            q, _ = unit(orthogonalize(basis, q)[0], 0.5)
            basis = torch.cat([basis, q[:, None]], 1)
        fresh = basis[:, self.dimension :]
        fresh = fresh[:, (fresh.abs().amax(2) > 0).any(0)]
        if fresh.shape[1]:
            self._append(fresh)

    def _append(self, fresh: Tensor) -> None:
        """Rows of V with their products."""
        batch, count, n = fresh.shape
        rows = fresh.transpose(0, 1).reshape(-1, n)
        image = self.product(rows)
        back = self.product(torch.cat([rows, image]), adjoint=True)

        def over_batch(columns: Tensor) -> Tensor:
            return columns.view(count, batch, n).transpose(0, 1)

        parts = fresh, over_batch(image), *map(over_batch, back.chunk(2))
        self.v, self.jv, self.tv, self.tjv = (
            torch.cat([old, new], 1)
            for old, new in zip((self.v, self.jv, self.tv, self.tjv), parts, strict=True)
        )

    def _unit_vectors(self, first: int, count: int) -> Tensor:
        """Unit vectors of each example's real entries, from the `first` on; zeros beyond the last
        one.
        """
        like = self.operator.like
        vectors = torch.zeros(len(like), count, like[0].numel(), dtype=like.dtype)
        for row, entries in zip(vectors, self.operator.real_entries(), strict=True):
            mine = entries[first : first + count]
            row[torch.arange(len(mine)), mine] = 1.0
        return vectors.to(like.device)


def _centres(u: Tensor, v: Tensor) -> Tensor:
    """c = −v/u, 0 where there is none."""
    return torch.where(u == 0, 0.0, -v / torch.where(u == 0, 1.0, u))
