"""The complex Schur form of a matrix, and σ_min(zI − A) from it at many z side by side."""

import dataclasses
import functools

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from odestab.krylov.arnoldi import ArnoldiFactorization
from odestab.krylov.lanczos import LanczosFactorization, lanczos
from odestab.krylov.ritz import lanczos_ritz

DIRECT = 24  # up to this dimension singular value decompositions, one per point, are quicker
LEAF = 32  # rows of a triangle that are solved for each z on its own; larger ones are halved
CHUNK_BYTES = 2**29  # bound on the Lanczos vectors held at once
# Lanczos steps before the first look at the Ritz values, between two looks, and at most
STEPS = (6, 3, 120)


@dataclasses.dataclass(frozen=True, eq=False)
class ShiftedTriplets:
    """(zI − A) v = σ u with the smallest σ, unit u and v, at many z.

    Attributes:
        values: σ, an upper bound of σ_min(zI − A) up to rounding; NaN where A is not finite.
        slopes: v*u, so that dσ = Re(conj(slope) dz).
        residuals: some singular value of zI − A lies this near to σ.
        rounding: a σ below this is zero in the precision of the computation.
        converged: residual ≤ rtol·σ + rounding.
    """

    values: Float[Tensor, "*points"]
    slopes: Complex[Tensor, "*points"]
    residuals: Float[Tensor, "*points"]
    rounding: Float[Tensor, "*points"]
    converged: Bool[Tensor, "*points"]

    @staticmethod
    def stack(parts: list["ShiftedTriplets"], join: str = "stack") -> "ShiftedTriplets":
        """Several records as one, along a new axis or (join="cat") along their first."""
        fields = [field.name for field in dataclasses.fields(ShiftedTriplets)]
        return ShiftedTriplets(
            *(getattr(torch, join)([getattr(part, name) for part in parts]) for name in fields)
        )


@dataclasses.dataclass(frozen=True, eq=False)
class SchurForm:
    """A = U T U* with T upper triangular.

    U is not kept: zI − A and zI − T have the same singular values.

    Attributes:
        triangle: T, `(n, n)`; NaN where A is not finite.
    """

    triangle: Complex[Tensor, "n n"]

    @property
    def eigenvalues(self) -> Complex[Tensor, " n"]:
        """The diagonal of T."""
        return self.triangle.diagonal()

    def shifted(self, z: Complex[Tensor, " points"]) -> Complex[Tensor, "n points"]:
        """The diagonal of zI − T for each z, zeros replaced by a number far below rounding."""
        diagonal = z - self.eigenvalues[:, None]
        size = diagonal.abs()
        limits = torch.finfo(diagonal.real.dtype)
        # So small that σ is zero to rounding there, and so large that its inverse is finite.
        least = limits.eps**2 * size.amax(0).clamp(min=limits.tiny**0.25)
        return torch.where(size < least, least, diagonal)

    def solve(
        self,
        shifted: Complex[Tensor, "n points"],
        b: Complex[Tensor, "n points"],
        adjoint: bool = False,
    ) -> Complex[Tensor, "n points"]:
        """(zI − T)⁻¹ b, or (zI − T)⁻* b, one column per z.

        Only the diagonal depends on z, so the work off the diagonal is one matrix product for all z
        at each level of halving.
        """
        x = b.clone()
        if adjoint:
            _substitute(self.triangle.mH, shifted.conj().resolve_conj(), x, 0, len(x), True)
        else:
            _substitute(self.triangle, shifted, x, 0, len(x), False)
        return x

    def smallest_singular(
        self,
        z: Complex[Tensor, " points"],
        start: Float[Tensor, " n"],
        rtol: float,
        max_steps: int = STEPS[2],
    ) -> ShiftedTriplets:
        """σ_min(zI − A) at each z by Lanczos on (zI − T)⁻*(zI − T)⁻¹ (Lui 1997; Trefethen 1999).

        Args:
            z: the points.
            start: a vector to start from, the same for all points.
            rtol: tolerance on the residual relative to σ; the error of σ is of second order in it.
            max_steps: largest Krylov space.
        """
        if not self.triangle.isfinite().all():
            nan = torch.full_like(z.real, torch.nan)
            return ShiftedTriplets(
                nan,
                torch.full_like(z, complex("nan")),
                nan,
                nan,
                torch.zeros_like(nan, dtype=torch.bool),
            )
        known = z.isfinite()
        if not bool(known.all()):
            # LAPACK would refuse all points for one.
            triplets = self.smallest_singular(torch.where(known, z, 0.0), start, rtol, max_steps)
            values, residuals = (
                torch.where(known, part, torch.nan)
                for part in (triplets.values, triplets.residuals)
            )
            return dataclasses.replace(
                triplets, values=values, residuals=residuals, converged=triplets.converged & known
            )
        if len(start) <= DIRECT:
            return self._decomposed(z, rtol)
        chunk = max(1, CHUNK_BYTES // (16 * len(start) * (STEPS[0] + 4 * STEPS[1])))
        return ShiftedTriplets.stack(
            [self._triplets(part, start, rtol, max_steps) for part in z.split(chunk)], "cat"
        )

    def _decomposed(self, z: Tensor, rtol: float) -> ShiftedTriplets:
        shifted = (
            z[:, None, None] * torch.eye(len(self.triangle), dtype=z.dtype, device=z.device)
            - self.triangle
        )
        u, values, v = torch.linalg.svd(shifted)
        u = u[:, :, -1:]
        values = values[:, -1]
        v = v[:, -1:].mH
        forward = shifted @ v - values[:, None, None] * u
        backward = shifted.mH @ u - values[:, None, None] * v
        residual = torch.maximum(forward.flatten(1).norm(dim=1), backward.flatten(1).norm(dim=1))
        rounding = self._rounding(z)
        return ShiftedTriplets(
            values,
            (v.conj() * u).flatten(1).sum(1),
            residual,
            rounding,
            residual <= rtol * values + rounding,
        )

    def _rounding(self, z: Tensor) -> Tensor:
        return (
            10 * torch.finfo(z.real.dtype).eps * (torch.linalg.matrix_norm(self.triangle) + z.abs())
        )

    def _triplets(self, z: Tensor, start: Tensor, rtol: float, max_steps: int) -> ShiftedTriplets:
        u = self._left_vectors(z, start, rtol, max_steps).T.contiguous()
        diagonal = self.shifted(z)
        y = self.solve(diagonal, u)
        w = self.solve(diagonal, y, adjoint=True)
        size = y.norm(dim=0)
        values = 1 / size
        v = y / size
        # Of the eigenpair (1/σ², u) of the inverse, relative to 1/σ².
        inverse_residual = (w / size**2 - u).norm(dim=0) * values
        residual = torch.maximum(
            inverse_residual, (z * v - self.triangle @ v - values * u).norm(dim=0)
        )
        rounding = self._rounding(z)
        values = values.nan_to_num(0.0)
        slopes = (v.conj() * u).sum(0).nan_to_num(0.0)
        # An overflow: σ is zero by any measure.
        residual = torch.where(residual.isfinite(), residual, rounding)
        return ShiftedTriplets(
            values, slopes, residual, rounding, residual <= rtol * values + rounding
        )

    def _left_vectors(self, z: Tensor, start: Tensor, rtol: float, max_steps: int) -> Tensor:
        """u as rows `(points, n)`.

        Rows of the Krylov space are complex vectors read as pairs of real ones; those that are done
        leave.
        """
        left = z.new_zeros(len(z), len(start))
        open_ = torch.arange(len(z), device=z.device)
        begin = torch.view_as_real(start.to(z.dtype)).flatten().expand(len(z), -1)
        space: LanczosFactorization | None = None
        diagonal = self.shifted(z)
        largest = min(max_steps, 2 * len(start))
        while len(open_):
            steps = min(
                STEPS[1] if space else STEPS[0], largest - (space.arnoldi.steps if space else 0)
            )
            space = lanczos(
                functools.partial(self._inverse_normal, diagonal), begin[: len(open_)], steps, space
            )
            ritz = lanczos_ritz(space).to(z.device)
            done = ~(ritz.estimates > rtol * ritz.values)[:, 0] | (space.arnoldi.steps == largest)
            vectors = torch.bmm(ritz.right[done].mT, space.basis[done])[:, 0]
            left[open_[done]] = torch.view_as_complex(vectors.unflatten(1, (-1, 2)))
            # Points differ much in the steps that they need: the space goes on for the others
            # alone.
            if done.any():
                open_ = open_[~done]
                diagonal = diagonal[:, ~done]
                rest = space.arnoldi
                space = LanczosFactorization(
                    ArnoldiFactorization(rest.basis[~done], rest.hessenberg[~done])
                )
        return left / left.norm(dim=1, keepdim=True)

    def _inverse_normal(self, shifted: Tensor, rows: Tensor) -> Tensor:
        x = torch.view_as_complex(rows.unflatten(1, (-1, 2))).T.contiguous()
        x = self.solve(shifted, self.solve(shifted, x), adjoint=True)
        return torch.view_as_real(x.T.contiguous()).flatten(1)


def schur_form(matrix: Float[Tensor, "n n"]) -> SchurForm:
    """The complex Schur form of a real matrix in double precision.

    It is the real form with its blocks rotated; LAPACK's zgees takes far longer.
    """
    import scipy.linalg  # late: it takes as long as all of odestab

    if not matrix.numel():
        return SchurForm(matrix.new_full((1, 1), complex("nan"), dtype=torch.complex128))
    if not matrix.isfinite().all():
        return SchurForm(torch.full_like(matrix, complex("nan"), dtype=torch.complex128))
    triangle, _ = scipy.linalg.rsf2csf(*scipy.linalg.schur(matrix.double().cpu().numpy()))
    return SchurForm(torch.as_tensor(triangle, dtype=torch.complex128, device=matrix.device))


def _substitute(
    coupling: Tensor, diagonal: Tensor, x: Tensor, low: int, high: int, forward: bool
) -> None:
    """Rows low…high of diag(d) x − N x = b in place of b, N the strict triangle of `coupling`."""
    if high - low > LEAF:
        middle = (low + high) // 2
        first, second = (
            ((low, middle), (middle, high)) if forward else ((middle, high), (low, middle))
        )
        _substitute(coupling, diagonal, x, *first, forward)
        x[slice(*second)].addmm_(coupling[slice(*second), slice(*first)], x[slice(*first)])
        _substitute(coupling, diagonal, x, *second, forward)
        return
    rows = slice(low, high)
    # A leaf is small enough for a triangle of its own at every z.
    block = (-coupling[rows, rows]).expand(x.shape[1], -1, -1).clone()
    block.diagonal(dim1=1, dim2=2).copy_(diagonal[rows].T)
    x[rows] = torch.linalg.solve_triangular(block, x[rows].T[:, :, None], upper=not forward)[
        :, :, 0
    ].T
