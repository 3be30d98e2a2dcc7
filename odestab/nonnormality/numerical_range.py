"""The numerical range of an operator: its boundary by rotation, and the numerical radius."""

import dataclasses
import math

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from odestab.krylov import lanczos
from odestab.krylov.orthogonalization import norm
from odestab.krylov.ritz import grow_until, lanczos_ritz
from odestab.operators.coercion import OperatorLike, as_operator
from odestab.operators.linear_operator import AbstractOperator
from odestab.spectrum import record

# bytes of Lanczos bases held at once; angles beyond it wait for the next round
LARGEST_BASIS = 3 * 2**28
LARGEST_SPACE = 160


@dataclasses.dataclass(frozen=True, eq=False)
class NumericalRange:
    """The boundary of W(A) = {x*Ax : ‖x‖ = 1} per example (Mathematics, section 4).

    Attributes:
        angles: φ, directions in which the boundary was sought.
        support: h(φ) = max Re(e^{−iφ} w) over w in W.
        boundary: x*Ax for the vector that attains it. Each is a point of W, so their convex hull is
            an inner bound of it whatever has converged; W lies within the half planes Re(e^{−iφ} w)
            ≤ h(φ) + residual.
        residuals: ‖H x − h x‖ of the Hermitian matrix H = Re(e^{−iφ} A), recomputed from x.
        converged: residual ≤ rtol × the largest |h| of the example.
        matvecs: products of A or Aᵀ with one tangent of the whole batch.
        kind: "exact" (dense LAPACK) or "estimate" (Lanczos).
        path: which code computed the products, as `Linearization` names it.

    >>> f = od.LinearVectorField(torch.tensor([[0.0, 4.0], [0.0, 0.0]]).double())
    >>> W = od.numerical_range(od.Jacobian(f, torch.zeros(1, 2).double()), angles=8)
    >>> W.boundary.abs().round(decimals=6).tolist()  # a disc of radius 2 about the eigenvalue 0
    [[2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]]
    """

    angles: Float[Tensor, " angles"]
    support: Float[Tensor, "batch angles"]
    boundary: Complex[Tensor, "batch angles"]
    residuals: Float[Tensor, "batch angles"]
    converged: Bool[Tensor, "batch angles"]
    matvecs: int
    kind: str
    path: str | None = None

    @property
    def radius(self) -> Float[Tensor, " batch"]:
        """The numerical radius max |w|, from below: the largest modulus of a boundary point."""
        return self.boundary.abs().amax(1)


def numerical_range(
    operator: OperatorLike,
    angles: int | Float[Tensor, " angles"] = 32,
    rtol: float = 1e-4,
    generator: torch.Generator | None = None,
) -> NumericalRange:
    """The boundary of W(A): for each φ the largest eigenpair of Re(e^{−iφ} A) (Johnson 1978).

    A complex vector is a pair of real tangents, and all angles and examples run in one lockstep
    Lanczos process. Bases of at most 0.75 GiB are held at once (those of one angle where they alone
    are more), twice that while they grow. A is real, so W is symmetric about the real axis and
    equispaced angles below it are mirrored.

    Args:
        operator: A, an operator or a matrix of any kind.
        angles: φ, or how many of them, equispaced from 0.
        rtol: tolerance on the residual relative to the largest support of the example.
        generator: source of the start vectors.

    Raises:
        ValueError: if there are no angles, or one is not finite.

    >>> f = od.LinearVectorField(torch.tensor([[-1.0, 8.0], [0.0, -2.0]]).double())
    >>> A = od.Jacobian(f, torch.zeros(1, 2).double())
    >>> abscissa = od.numerical_range(A, torch.tensor([0.0]).double()).support  # max Re w
    >>> torch.allclose(abscissa, od.logarithmic_norm(A).values)
    True
    """
    operator = as_operator(operator)
    if isinstance(angles, int):
        if angles < 1:
            raise ValueError(f"angles must be at least 1, got {angles}")
        upper = angles // 2 + 1
        every = torch.arange(angles, dtype=operator.like.dtype, device=operator.like.device) * (
            2 * math.pi / angles
        )
        return _mirrored(numerical_range(operator, every[:upper], rtol, generator), every)
    if angles.numel() == 0 or not bool(angles.isfinite().all()):
        raise ValueError(f"angles must be finite, at least one, got {angles.tolist()}")
    angles = angles.to(operator.like)
    generator = generator or torch.Generator().manual_seed(0)
    if max(operator.sizes) <= record.DENSE_LIMIT:
        vectors = _dense_vectors(operator, angles)
        matvecs = max(operator.sizes)
        kind = "exact"
    else:
        start = torch.cat(
            [operator.random(generator).flatten(1), operator.random(generator).flatten(1)], 1
        )
        room = LARGEST_BASIS // (start.numel() * start.element_size() * LARGEST_SPACE)
        rounds = [
            _lanczos_vectors(operator, some, start, rtol) for some in angles.split(max(1, room))
        ]
        vectors = torch.cat([part for part, _ in rounds])
        matvecs = sum(count for _, count in rounds)
        kind = "estimate"
    return _judged(operator, angles, vectors, rtol, matvecs + 4 * len(angles), kind)


def _rotated(operator: AbstractOperator, angles: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Re(e^{−iφ}A) x and A x for x = u + iv, `(angles, batch, 2, n)`.

    With A = S + K it is (cS u + sK v) + i(cS v − sK u).
    """
    shape = operator.like.shape
    tangents = x.transpose(1, 2).reshape(-1, *shape)  # (angles, 2) tangents of the batch
    forward, backward = (
        product(tangents).reshape(len(angles), 2, shape[0], -1).transpose(1, 2)
        for product in (operator.mv, operator.rmv)
    )
    symmetric = (forward + backward) / 2
    skew = (forward - backward) / 2
    c = torch.cos(angles)[:, None, None]
    s = torch.sin(angles)[:, None, None]
    image = torch.stack(
        [c * symmetric[:, :, 0] + s * skew[:, :, 1], c * symmetric[:, :, 1] - s * skew[:, :, 0]], 2
    )
    return image, forward


def _lanczos_vectors(
    operator: AbstractOperator, angles: Tensor, start: Tensor, rtol: float
) -> tuple[Tensor, int]:
    """Leading eigenvectors `(angles, batch, 2, n)` of the rotated Hermitian parts, and the cost."""
    batch = start.shape[0]
    n = start.shape[1] // 2

    def product(x: Tensor) -> Tensor:
        return _rotated(operator, angles, x.reshape(len(angles), batch, 2, n))[0].reshape(x.shape)

    rows = start.repeat(len(angles), 1)
    factorization, ritz = grow_until(
        lambda previous, steps: lanczos(product, rows, steps, previous),
        lanczos_ritz,
        # Half: the residual that is recomputed for the verdict has rounding beside the estimate.
        lambda r: 0.5 * rtol * r.values.abs(),
        (20, 10, min(LARGEST_SPACE, 2 * max(operator.sizes))),
    )
    vectors = torch.bmm(ritz.right.mT, factorization.basis)[:, 0]
    return vectors.reshape(len(angles), batch, 2, n), 4 * len(angles) * factorization.arnoldi.steps


def _dense_vectors(operator: AbstractOperator, angles: Tensor) -> Tensor:
    """The same by LAPACK; zeros where a matrix is not finite."""
    like = operator.like
    vectors = like.new_zeros(len(angles), like.shape[0], 2, like[0].numel())
    for example, (matrix, real) in enumerate(
        zip(operator.dense(), operator.real_entries(), strict=True)
    ):
        if not matrix.numel() or not bool(matrix.isfinite().all()):
            continue
        turned = torch.exp(-1j * angles)[:, None, None] * matrix
        leading = torch.linalg.eigh((turned + turned.mH) / 2)[1][:, :, -1]
        entries = real.to(like.device)
        vectors[:, example, 0, entries] = leading.real
        vectors[:, example, 1, entries] = leading.imag
    return vectors


def _judged(
    operator: AbstractOperator, angles: Tensor, x: Tensor, rtol: float, matvecs: int, kind: str
) -> NumericalRange:
    """Support, boundary points and residuals from the vectors."""
    image, forward = _rotated(operator, angles, x)
    support = (x * image).flatten(2).sum(2)
    residuals = norm((image - support[..., None, None] * x).flatten(2)).T
    (u, v) = x.unbind(2)
    (au, av) = forward.unbind(2)
    boundary = torch.complex((u * au + v * av).sum(-1), (u * av - v * au).sum(-1)).T
    # A vector of zeros stands for a matrix that is not finite, or has no entry.
    failed = ~(x.flatten(2).norm(dim=2).T > 0.5)
    support = support.T.masked_fill(failed, torch.nan)
    boundary = boundary.masked_fill(failed, complex("nan"))
    residuals = residuals.masked_fill(failed, torch.nan)
    scale = support.abs().nan_to_num(0.0).amax(1, keepdim=True)
    rounding = 100 * torch.finfo(support.dtype).eps * scale
    return NumericalRange(
        angles,
        support,
        boundary,
        residuals,
        residuals <= rtol * scale + rounding,
        matvecs,
        kind,
        operator.path,
    )


def _mirrored(upper: NumericalRange, angles: Tensor) -> NumericalRange:
    """All angles from those in [0, π]: φ and 2π − φ are conjugate."""
    back = torch.arange(len(angles) - len(upper.angles), 0, -1, device=angles.device)

    def both(values: Tensor) -> Tensor:
        return torch.cat([values, values[:, back].conj()], 1)

    return NumericalRange(
        angles,
        both(upper.support),
        both(upper.boundary),
        both(upper.residuals),
        both(upper.converged),
        upper.matvecs,
        upper.kind,
        upper.path,
    )
