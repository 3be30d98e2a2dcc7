"""Batched restarted GMRES: B linear systems solved side by side, each with its own convergence."""

import dataclasses
import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from odestab.krylov.orthogonalization import Matvec, norm, orthogonalize, power_of_two, unit
from odestab.precision import own_precision
from odestab.watch import Watch

DRIFT = 8  # of a carried residual, in rounding errors of x


@dataclasses.dataclass(frozen=True, eq=False)
class LinearSolution:
    """The solution of A x = b, one system per example.

    Attributes:
        solution: x, `(batch, n)`.
        residual: ‖b − A x‖ / ‖b‖, recomputed from x unless the tolerance is `believed`; 0 where b =
            0, NaN where b or A is not finite.
        converged: residual ≤ rtol.
        iterations: products with A spent while this example was open.
    """

    solution: Float[Tensor, "batch n"]
    residual: Float[Tensor, " batch"]
    converged: Bool[Tensor, " batch"]
    iterations: Int[Tensor, " batch"]


def gmres(
    matvec: Matvec,
    b: Float[Tensor, "batch n"],
    rtol: float | Tensor = 1e-8,
    max_iterations: int = 500,
    restart: int = 80,
    believed: float = math.inf,
) -> LinearSolution:
    """Solve A x = b by GMRES(restart), Saad and Schultz 1986, from x = 0.

    A converged example keeps its solution bit for bit while the others go on.

    Args:
        matvec: A, on `(batch, n)`; it must act on each example alone.
        b: right-hand sides.
        rtol: tolerance on ‖b − A x‖ / ‖b‖, one for all or one per example.
        max_iterations: bound on the products per example, checks of the true residual not counted.
        restart: largest dimension of the Krylov space held in memory, in float32 at least.
        believed: a residual that the rotations carry along and that meets a tolerance no smaller
            than this is not recomputed, which saves a product, unless x is so long that the drift
            by rounding, in units of `believed`², may be as large: √eps of the products.
    """
    wide = torch.promote_types(b.dtype, torch.float32)
    if wide != b.dtype:
        # In half precision a Krylov space soon loses its orthogonality.
        return _widened(matvec, b, wide, rtol, max_iterations, restart, believed)
    # The system is solved for b of length 1 to 2: near the ends of the range lengths lose their
    # digits. A power of two rounds nothing.
    scale = power_of_two(norm(b))[:, None]
    b = b / scale
    r = b
    size = norm(b)
    x, residual = _at_zero(b, size)
    iterations = torch.zeros(b.shape[0], dtype=torch.long, device=b.device)
    left = max_iterations
    loose = believed < math.inf and bool((torch.as_tensor(rtol) >= believed).all())
    going = not Watch(b.device).none(residual > rtol)
    while left > 0 and going:
        # Closed examples go along as zeros, and their Krylov spaces are zeros too.
        open_ = residual > rtol
        step, used, carried = _cycle(
            matvec, torch.where(open_[:, None], r, 0.0), rtol * size, min(restart, left)
        )
        moved = x + step
        del step  # states are large
        if loose:
            carried = carried / torch.where(size > 0, size, 1.0)
            # it has drifted by as much as rounding of a long x is of b
            drift = DRIFT * believed**2 * norm(moved) / torch.where(size > 0, size, 1.0)
            if bool(((torch.maximum(carried, drift) <= rtol) | ~open_).all()):
                x = torch.where(open_[:, None], moved, x)
                residual = torch.where(open_, carried, residual)
                iterations += torch.where(open_, used, 0)
                break
        # The residual is recomputed: the one that rotations carry along drifts from it by rounding.
        trial = b - matvec(moved)
        reached = norm(trial) / torch.where(size > 0, size, 1.0)
        # A step that rounding has spoilt is not taken; a NaN is, and ends its example.
        better = open_ & ~(reached >= residual)
        x = torch.where(better[:, None], moved, x)
        r = torch.where(better[:, None], trial, r)
        before = residual
        residual = torch.where(better, reached, residual)
        iterations += torch.where(open_, used, 0)
        # Where all stagnate, more cycles of the same length repeat this one.
        moving = open_ & (residual < 0.999 * before)
        # The host asks once a cycle: both answers come in one copy.
        ends = torch.stack([moving.any() & (residual > rtol).any(), used.max()])
        going, spent = ends.tolist()
        left -= spent
    return LinearSolution(x * scale, residual, residual <= rtol, iterations)


def _widened(
    matvec: Matvec,
    b: Tensor,
    wide: torch.dtype,
    rtol: float | Tensor,
    max_iterations: int,
    restart: int,
    believed: float,
) -> LinearSolution:
    """The system solved in a wider precision, by products in its own."""
    narrow = b.dtype
    solved = gmres(
        lambda v: matvec(v.to(narrow)).to(wide), b.to(wide), rtol, max_iterations, restart, believed
    )
    return dataclasses.replace(solved, solution=solved.solution.to(narrow))


def _at_zero(b: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """x = 0 and its relative residual."""
    finite = size.isfinite()
    # A NaN residual is not above a tolerance: what is not finite is closed from the start.
    x = torch.where(finite[:, None], torch.zeros_like(b), torch.nan)
    return x, torch.where(finite, (size > 0).to(b.dtype), torch.nan)


def _cycle(
    matvec: Matvec, r: Float[Tensor, "batch n"], tolerance: Float[Tensor, " batch"], steps: int
) -> tuple[Float[Tensor, "batch n"], Int[Tensor, " batch"], Float[Tensor, " batch"]]:
    """One cycle: argmin ‖r − A s‖ over a Krylov space, the dimension that each example used, and
    the residual that its rotations carry along.
    """
    batch, n = r.shape
    # A processor's memory is taken by what is written, not by what is asked for.
    basis = r.new_empty(batch, steps + 1, n)
    # The Givens rotations so far, as one matrix: a new column is turned by one product.
    rotation = torch.eye(steps + 1, dtype=r.dtype, device=r.device).repeat(batch, 1, 1)
    triangle = torch.eye(steps, dtype=r.dtype, device=r.device).repeat(batch, 1, 1)
    basis[:, 0], beta = unit(r)
    rhs = torch.zeros_like(basis[:, :, 0])
    rhs[:, 0] = beta
    dimension = torch.zeros(batch, dtype=torch.long, device=r.device)
    # once: a number in `where` is a launch each time
    zero = r.new_zeros(())
    one = r.new_ones(())
    open_ = beta > tolerance
    written = 1
    watch = Watch(r.device)
    for j in range(steps):
        w, h = orthogonalize(basis[:, : j + 1], matvec(basis[:, j]))
        size = norm(h)
        # A remainder below rounding of what was removed from it is none: the space is invariant.
        basis[:, j + 1], below = unit(w, 10 * torch.finfo(r.dtype).eps * size)
        with own_precision(r):
            column = torch.bmm(rotation[:, : j + 1, : j + 1], h[..., None])[..., 0]
        length = torch.hypot(column[:, j], below)
        # A column that the rotations turn to zero says that A is singular on this space: the
        # example ends with the columns before it.
        live = open_ & (length > 10 * torch.finfo(r.dtype).eps * torch.hypot(size, below))
        safe = torch.where(live, length, one)
        cos = torch.where(live, column[:, j] / safe, one)
        sin = torch.where(live, below / safe, zero)
        _turn(rotation[:, j : j + 2], cos[:, None], sin[:, None])
        column[:, j] = length
        triangle[:, : j + 1, j] = torch.where(live[:, None], column, triangle[:, : j + 1, j])
        rhs[:, j + 1] = torch.where(live, -sin * rhs[:, j], zero)
        rhs[:, j] *= cos
        dimension += live
        # |rhs_{j+1}| is the residual of the best step so far, known without a product.
        open_ = live & (rhs[:, j + 1].abs() > tolerance) & (below > 0)
        written = j + 1  # the last one written has no weight yet
        if watch.none(open_):
            break
    y = _coefficients(triangle, rhs[:, :steps], dimension)
    carried = rhs.gather(1, dimension[:, None])[:, 0].abs()
    with own_precision(r):
        return torch.bmm(y[:, None, :written], basis[:, :written])[:, 0], dimension, carried


def _turn(rows: Tensor, cos: Tensor, sin: Tensor) -> None:
    """Two rows turned against each other by a Givens rotation, in place."""
    top, bottom = rows.unbind(1)
    turned_top = cos * top + sin * bottom
    turned_bottom = cos * bottom - sin * top
    # Only now, as both rows are views of what is written to.
    rows[:, 0] = turned_top
    rows[:, 1] = turned_bottom


def _coefficients(triangle: Tensor, rhs: Tensor, dimension: Tensor) -> Tensor:
    """y with R y = g over the columns that an example used, 0 beyond them."""
    used = torch.arange(rhs.shape[1], device=rhs.device) < dimension[:, None]
    # Beyond an example's own dimension its triangle is the identity.
    right = torch.where(used, rhs, 0.0)[..., None]
    return torch.linalg.solve_triangular(triangle, right, upper=True)[:, :, 0]
