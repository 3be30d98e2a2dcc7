"""σ_min(zI − A) at points of one's choice, from Schur forms or by inverse iteration."""

import dataclasses

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from odestab.krylov import gmres, smallest_singular_triplets
from odestab.krylov.orthogonalization import Matvec
from odestab.operators.coercion import OperatorLike, as_operator
from odestab.operators.linear_operator import AbstractOperator
from odestab.operators.scaling import unit_scaled
from odestab.operators.schur_form import SchurForm, ShiftedTriplets, schur_form
from odestab.spectrum import eigenvalues, singular_values

DENSE_LIMIT = 1600  # the largest dimension of which "auto" forms the matrix
# relative residual of the solves inside inverse iteration, as for singular values
LOOSE_SOLVE = 0.05
RESTART = 80  # of GMRES: states held at each point
# products of one solve; near an eigenvalue it stops early, which costs steps and not accuracy
MAX_ITERATIONS = 160
MAX_DIMENSION = 12  # of the subspace at each point; inverse iteration needs few
CHUNK_BYTES = 2**30  # bound on the Krylov vectors that are held at once
METHODS = ("auto", "dense", "inverse")


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
                # Of a conjugate pair one is enough; the real axis itself has rounding on either
                # side.
                s[~(s.imag < -1e-12 * s.abs().max())]
                for s in (form.eigenvalues for form in self.forms)
            ]
            orders = [
                (s.real if which == "LR" else s.abs()).argsort(descending=True) for s in spectra
            ]
            # A short example repeats its last one.
            ranks = torch.arange(k, device=orders[0].device)
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
    operator: OperatorLike,
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
    operator = as_operator(operator)
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
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

        # A complex vector is a pair of real ones: real and imaginary parts behind each other.
        start = given.start.flatten(1).repeat(len(rows), 1)
        triplets = smallest_singular_triplets(
            forward, backward, approximate_inverse, start, 1, given.rtol, MAX_DIMENSION
        )
        right, left = (
            torch.complex(*v[:, 0].unflatten(1, (2, -1)).unbind(1))
            for v in (triplets.right, triplets.left)
        )
        slopes = (right.conj() * left).sum(1)
        eps = torch.finfo(triplets.values.dtype).eps
        rounding = 10 * eps * (given.norm / given.scale + rows.abs()).flatten()
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
            # What has converged comes as zeros: worth a look, as points differ a lot in the solves
            # that they need.
            live = v.flatten(1).any(1)
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
