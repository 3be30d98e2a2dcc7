"""Pseudospectra {z : σ_min(zI − A) ≤ ε}: σ_min at the points of a grid."""

import dataclasses

import torch
from jaxtyping import Bool, Complex, Float, Inexact
from torch import Tensor

from odestab.krylov import arnoldi, gmres, smallest_singular_triplets
from odestab.krylov.orthogonalization import Matvec
from odestab.operators.linear_operator import AbstractOperator
from odestab.operators.scaling import unit_scaled
from odestab.operators.schur_form import SchurForm, ShiftedTriplets, schur_form
from odestab.spectrum import eigenvalues, singular_values

DENSE_LIMIT = 1600  # the largest dimension of which "auto" forms the matrix
LOOSE_SOLVE = (
    0.05  # relative residual of the solves inside inverse iteration, as for singular values
)
RESTART = 80
# of one solve; near an eigenvalue loose solves stop early, which costs steps and not accuracy
MAX_ITERATIONS = 160
MAX_DIMENSION = 12
CHUNK_BYTES = 2**30  # bound on the Krylov vectors that "inverse" and "projected" hold at once
METHODS = ("auto", "dense", "inverse", "projected")
KINDS = {"dense": "exact", "inverse": "estimate", "projected": "bound"}


@dataclasses.dataclass(frozen=True, eq=False)
class Pseudospectrum:
    """σ_min(zI − A) on a grid (Mathematics, section 4).

    Its level line at ε bounds the ε-pseudospectrum.

    Attributes:
        grid: z, any shape.
        sigma_min: `(batch, *grid)`, NaN where A is not finite. Never too small but for rounding, so
            that every point where it is ≤ ε does belong to the ε-pseudospectrum.
        residuals: ‖(zI − A)* u − σ v‖ with (zI − A) v = σ u, or an equivalent of it: some singular
            value lies this near to `sigma_min`.
        converged: residual ≤ rtol·σ, or at the level of rounding.
        matvecs: products of A or Aᵀ with the whole batch, those inside linear solves included.
        kind: "exact" (from Schur forms), "estimate" (inverse iteration) or "bound": values from a
            projection are too large, so the drawn pseudospectra are too small.
        path: which code computed the products, as `Linearization` names it.

    >>> f = od.LinearVectorField(torch.diag(torch.tensor([1.0, -1.0])).double())  # normal
    >>> z = torch.tensor([0.0, 1.5, 1 + 2j])
    >>> sigma = od.pseudospectrum(od.Jacobian(f, torch.zeros(1, 2).double()), z)
    >>> sigma.sigma_min.round(decimals=6).tolist(), sigma.kind  # distances to eigenvalues
    ([[1.0, 0.5, 2.0]], 'exact')
    """

    grid: Complex[Tensor, "*grid"]
    sigma_min: Float[Tensor, "batch *grid"]
    residuals: Float[Tensor, "batch *grid"]
    converged: Bool[Tensor, "batch *grid"]
    matvecs: int
    kind: str
    path: str | None = None


@dataclasses.dataclass(eq=False)
class Resolvent:
    """How σ_min(zI − A) is computed at z of one's choice, and a count of what that cost.

    Each example may have points of its own.

    Attributes:
        operator: A/s.
        forms: a Schur form per example; None computes by inverse iteration.
        start: real and imaginary parts of start vectors, `(batch, 2, n)`.
        norm: ‖A‖ per example, roughly.
        rtol: tolerance on residuals relative to σ.
        scale: s, a power of two near ‖A‖ per example. `operator` and `forms` are those of A/s,
            `norm` is of A.
        matvecs: products of A or Aᵀ with the whole batch so far.

    >>> f = od.LinearVectorField(torch.tensor([[0.0, 4.0], [0.0, 0.0]]).double())
    >>> prepared = od.resolvent(od.Jacobian(f, torch.zeros(1, 2).double()))
    >>> z = torch.tensor([[5**0.5]]).cdouble()  # |z|² = ε(4 + ε)
    >>> round(prepared.triplets(z).values.item(), 4)
    1.0
    """

    operator: AbstractOperator
    forms: tuple[SchurForm, ...] | None
    start: Float[Tensor, "batch 2 n"]
    norm: Float[Tensor, " batch"]
    rtol: float
    scale: Float[Tensor, " batch"]
    matvecs: int = 0

    def triplets(self, z: Complex[Tensor, "batch points"]) -> ShiftedTriplets:
        """The smallest singular triplets, `(batch, points)`."""
        scale = self.scale.double()[:, None]
        scaled_triplets = self._unit_triplets(z.to(torch.complex128) / scale)
        scale = scale.to(scaled_triplets.values)
        sized = {
            name: scale * getattr(scaled_triplets, name)
            for name in ("values", "residuals", "rounding")
        }
        return dataclasses.replace(scaled_triplets, **sized)

    def _unit_triplets(self, z: Complex[Tensor, "batch points"]) -> ShiftedTriplets:
        """Those of A/s."""
        if self.forms is None:
            triplets, spent = _by_inverse_iteration(self, z)
            self.matvecs += spent
            return triplets
        starts = [
            row[real]
            for row, real in zip(
                self.start[:, 0].double(), self.operator.real_entries(), strict=True
            )
        ]
        rows = [
            form.smallest_singular(points, start, self.rtol)
            for form, points, start in zip(self.forms, z, starts, strict=True)
        ]
        return ShiftedTriplets.stack(rows)

    def leading_eigenvalues(self, which: str, k: int) -> Complex[Tensor, "batch k"]:
        """The k eigenvalues of largest real part ("LR") or modulus ("LM"), NaN where unknown.

        Those below the real axis are mirrored above it.
        """
        if self.forms is None:
            spectrum = eigenvalues(self.operator, min(k, *self.operator.sizes), which, rtol=1e-4)
            self.matvecs += spectrum.matvecs
            values = spectrum.values
        else:
            spectra = [
                s[~(s.imag < -1e-12 * s.abs().max())]
                for s in (form.eigenvalues for form in self.forms)
            ]
            orders = [
                (s.real if which == "LR" else s.abs()).argsort(descending=True) for s in spectra
            ]
            ranks = torch.arange(k, device=orders[0].device)  # a short example repeats its last one
            values = torch.stack(
                [
                    s[order[ranks.clamp(max=len(s) - 1)]]
                    for s, order in zip(spectra, orders, strict=True)
                ]
            )
        return self.scale.double()[:, None] * torch.complex(values.real, values.imag.abs()).to(
            torch.complex128
        )


def resolvent(
    operator: AbstractOperator,
    method: str = "auto",
    rtol: float = 1e-4,
    generator: torch.Generator | None = None,
) -> Resolvent:
    """Prepare A for σ_min(zI − A) at many z, so that several calls share one Schur form.

    Small matrices get Schur forms, larger ones are treated matrix-free. "auto" forms the matrices
    up to dimension 1600, "dense" always, "inverse" never.

    Raises:
        ValueError: if the method is none of "auto", "dense" and "inverse", or rtol is not in (0,
            1).

    >>> f = od.LinearVectorField(torch.tensor([[0.0, 4.0], [0.0, 0.0]]).double())
    >>> A = od.Jacobian(f, torch.zeros(1, 2).double())
    >>> prepared = od.resolvent(A)
    >>> abscissae = [od.pseudospectral_abscissa(A, e, prepared=prepared).value for e in (0.01, 1.0)]
    >>> [round(value.item() ** 2, 4) for value in abscissae]  # ε(4 + ε)
    [0.0401, 5.0]
    """
    if method not in METHODS[:3]:
        raise ValueError(f"method must be one of {', '.join(METHODS[:3])}, got {method!r}")
    if not 0 < rtol < 1:
        raise ValueError(f"rtol must be in (0, 1), got {rtol}")
    operator, scale = unit_scaled(operator)
    dense = method == "dense" or (method == "auto" and max(operator.sizes) <= DENSE_LIMIT)
    forms = tuple(schur_form(matrix) for matrix in operator.dense()) if dense else None
    generator = generator or torch.Generator().manual_seed(0)
    start = torch.stack([operator.random(generator).flatten(1) for _ in range(2)], 1)
    largest = singular_values(operator, 1, "LM", 0.05)
    spent = largest.matvecs + 1 + (max(operator.sizes) if dense else 0)
    return Resolvent(operator, forms, start, scale * largest.values[:, 0], rtol, scale, spent)


def pseudospectrum(
    operator: AbstractOperator,
    grid: Inexact[Tensor, "*grid"],
    method: str = "auto",
    *,
    rtol: float = 1e-4,
    steps: int = 60,
    generator: torch.Generator | None = None,
    prepared: Resolvent | None = None,
) -> Pseudospectrum:
    """σ_min(zI − A) on a grid.

    Points that mirror each other at the real axis are computed once, as A is real.

    * "dense": one Schur form, then inverse Lanczos at all points side by side (Trefethen 1999).
      1125 points at n = 1536 take some 15 s.
    * "inverse": inverse iteration in a growing subspace with GMRES, matrix-free; hundreds of
      products per point.
    * "projected": one Arnoldi process for all points, σ_min of its rectangular Hessenberg matrix
      (Toh and Trefethen 1996). Cheap and too large, by a factor of a few with a random start: a
      first look.

    Args:
        operator: A.
        grid: points z, any shape, complex or real.
        method: "auto" is "dense" up to dimension 1600 and "inverse" above.
        rtol: tolerance on the residuals relative to σ; the error of a value is of second order in
            it.
        steps: dimension of the Krylov space of "projected".
        generator: source of the start vectors; None is a fixed seed.
        prepared: what `resolvent` made of the operator, to share one Schur form between calls; it
            decides the method but for "projected".

    Raises:
        ValueError: if the grid is empty or not finite, the method is unknown, rtol is not in (0,
            1), or steps is below 1.

    >>> f = od.LinearVectorField(torch.tensor([[0.0, 4.0], [0.0, 0.0]]).double())
    >>> grid = od.complex_grid(torch.tensor([0.2, 5**0.5]), torch.tensor([0.0]))
    >>> sigma = od.pseudospectrum(od.Jacobian(f, torch.zeros(1, 2).double()), grid)
    >>> sigma.sigma_min.round(decimals=4).tolist()  # 0.2 from λ: σ is 0.01
    [[[0.01, 1.0]]]
    """
    if grid.numel() == 0 or not grid.isfinite().all():
        raise ValueError(
            f"grid must hold at least one point and be finite, got shape {tuple(grid.shape)}"
        )
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    z = grid.to(operator.like.device, torch.complex128)
    points, where = torch.stack([z.real.flatten(), z.imag.flatten().abs()], 1).unique(
        dim=0, return_inverse=True
    )
    points = torch.complex(*points.T.contiguous()).expand(len(operator.sizes), -1)
    if method == "projected":
        unit, scale = unit_scaled(operator)
        factor = scale.double()[:, None]
        triplets, spent = _projected(unit, points / factor, steps, rtol, generator)
        triplets = dataclasses.replace(
            triplets, values=factor * triplets.values, residuals=factor * triplets.residuals
        )
    else:
        level = (
            dataclasses.replace(prepared, rtol=rtol)
            if prepared
            else resolvent(operator, method, rtol, generator)
        )
        method = "dense" if level.forms else "inverse"
        triplets = level.triplets(points)
        spent = level.matvecs
    values, residuals, converged = (
        part[:, where].reshape(-1, *grid.shape)
        for part in (triplets.values, triplets.residuals, triplets.converged)
    )
    dtype = operator.like.dtype
    return Pseudospectrum(
        z, values.to(dtype), residuals.to(dtype), converged, spent, KINDS[method], operator.path
    )


def _by_inverse_iteration(given: Resolvent, z: Tensor) -> tuple[ShiftedTriplets, int]:
    """Davidson on zI − A for all points and examples in lockstep, in chunks that fit memory."""
    row = given.start.numel() * (RESTART + 2 * MAX_DIMENSION) * given.start.element_size()
    parts = []
    spent = 0
    for part in z.split(max(1, CHUNK_BYTES // row), dim=1):
        rows = part.T.contiguous()  # points lead: they are tangents of every example
        forward, backward, count = _shifted_products(given.operator, rows)

        def approximate_inverse(
            r: Tensor, forward: Matvec = forward, backward: Matvec = backward
        ) -> Tensor:
            half = gmres(backward, r, LOOSE_SOLVE, MAX_ITERATIONS, RESTART).solution
            return gmres(forward, half, LOOSE_SOLVE, MAX_ITERATIONS, RESTART).solution

        start = given.start.flatten(1).repeat(len(rows), 1)
        triplets = smallest_singular_triplets(
            forward, backward, approximate_inverse, start, 1, given.rtol, MAX_DIMENSION
        )
        right, left = (
            torch.complex(*v[:, 0].unflatten(1, (2, -1)).unbind(1))
            for v in (triplets.right, triplets.left)
        )
        slopes = (right.conj() * left).sum(1)
        rounding = (
            10
            * torch.finfo(triplets.values.dtype).eps
            * (given.norm / given.scale + rows.abs()).flatten()
        )
        columns = (
            triplets.values[:, 0],
            slopes,
            triplets.residuals[:, 0],
            rounding.to(triplets.values.dtype),
            triplets.converged[:, 0],
        )
        parts.append(ShiftedTriplets(*(column.reshape(rows.shape) for column in columns)))
        spent += count[0]
    whole = ShiftedTriplets.stack(parts, "cat")
    return ShiftedTriplets(
        *(getattr(whole, field.name).T for field in dataclasses.fields(whole))
    ), spent


def _shifted_products(
    operator: AbstractOperator, z: Complex[Tensor, "points batch"]
) -> tuple[Matvec, Matvec, list[int]]:
    """zI − A and its adjoint on rows `(points·batch, 2n)`, real then imaginary; and the cost."""
    count = [0]

    def shifted(transposed: bool) -> Matvec:
        x, y = (
            part.to(operator.like)[..., None]
            for part in (z.real, -z.imag if transposed else z.imag)
        )

        def apply(rows: Tensor) -> Tensor:
            v = rows.reshape(*z.shape, 2, -1)
            live = v.flatten(1).any(
                1
                # what has converged comes as zeros: worth a look, as points differ a lot in the
                # solves they need
            )
            real, imaginary = v[live].unbind(2)
            tangents = torch.stack([real, imaginary]).reshape(2, -1, *operator.like.shape)
            image = (operator.rmv if transposed else operator.mv)(tangents).reshape(2, *real.shape)
            count[0] += tangents.shape[0] * tangents.shape[1]
            result = torch.zeros_like(v)
            result[live] = torch.stack(
                [
                    x[live] * real - y[live] * imaginary - image[0],
                    y[live] * real + x[live] * imaginary - image[1],
                ],
                2,
            )
            return result.reshape(rows.shape)

        return apply

    return shifted(False), shifted(True), count


def _projected(
    operator: AbstractOperator,
    z: Tensor,
    steps: int,
    rtol: float,
    generator: torch.Generator | None,
) -> tuple[ShiftedTriplets, int]:
    """σ_min(z Ĩ − H̃) of the rectangular Hessenberg matrix of one Arnoldi process an example."""
    space = arnoldi(
        operator.flat(operator.mv),
        operator.random(generator).flatten(1),
        min(steps, max(operator.sizes)),
    )
    images = (
        operator.rmv(space.basis.transpose(0, 1).reshape(-1, *operator.like.shape))
        .flatten(2)
        .transpose(0, 1)
    )
    rows = []
    for example in range(len(z)):
        basis, hessenberg, image = (
            part[example].double() for part in (space.basis, space.hessenberg, images)
        )
        if hessenberg.isfinite().all() and image.isfinite().all():
            chunk = max(1, CHUNK_BYTES // (64 * hessenberg.numel()))
            parts = [
                _projected_triplets(basis, hessenberg, image, part, rtol)
                for part in z[example].split(chunk)
            ]
            rows.append(ShiftedTriplets.stack(parts, "cat"))
        else:
            rows.append(
                SchurForm(z.new_full((1, 1), torch.nan)).smallest_singular(
                    z[example], z.real.new_ones(1), rtol
                )
            )
    return ShiftedTriplets.stack(rows), 2 * space.steps + 1


def _projected_triplets(
    basis: Tensor, hessenberg: Tensor, image: Tensor, z: Tensor, rtol: float
) -> ShiftedTriplets:
    """Triplets of one example: v = Qᵀy, u = Q̃ᵀp with (z Ĩ − H̃) y = σ p, and their residual.

    (zI − A) v = σ u is exact. (zI − A)* u − σ v has a part in the space and the part R p outside of
    it, so that nothing cancels.
    """
    scale = torch.linalg.matrix_norm(hessenberg) + z.abs()
    m = hessenberg.shape[1]
    shifted = z[:, None, None] * torch.eye(m + 1, m, dtype=z.dtype, device=z.device) - hessenberg
    used_up = (basis[:-1].norm(dim=1) < 0.5).to(
        z.dtype
    )  # their zero columns would give a singular value |z|
    shifted.diagonal(dim1=1, dim2=2).add_(used_up * 3 * scale[:, None])
    p, values, y = torch.linalg.svd(shifted, full_matrices=False)
    p = p[:, :, -1]
    y = y[:, -1].conj()
    within = image @ basis.T
    outside = torch.linalg.qr((image - within @ basis).T, mode="r")[1].to(z.dtype)
    inside = (
        z.conj()[:, None] * p
        - p @ within.to(z.dtype)
        - values[:, -1:] * torch.nn.functional.pad(y, (0, 1))
    )
    residual = torch.hypot(inside.norm(dim=1), (p @ outside.T).norm(dim=1))
    slopes = (y.conj() * p[:, :-1]).sum(1)
    rounding = 10 * torch.finfo(residual.dtype).eps * scale
    return ShiftedTriplets(
        values[:, -1], slopes, residual, rounding, residual <= rtol * values[:, -1] + rounding
    )
