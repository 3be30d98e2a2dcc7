"""The exponential e^{tA} of an operator, and how far it lets a perturbation grow."""

import dataclasses
import functools
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from odestab.krylov import ArnoldiFactorization, arnoldi
from odestab.krylov.orthogonalization import norm
from odestab.nonnormality.balancing import balanced
from odestab.nonnormality.dense_exponential import dense_exponential
from odestab.nonnormality.root import Illinois
from odestab.operators.linear_operator import AbstractOperator, ComposedOperator, affine
from odestab.operators.scaling import scaled
from odestab.spectrum import record, singular_values

Product = Callable[[Tensor], Tensor]
STRIDE = 2  # products between two looks at the error estimate
MAX_HALVINGS = 40
SEARCH_STEPS = 40
OVERTAKEN = 1e3  # growth of a random vector over that of v, from where tolerances follow it
LOOSE_GROWTH = 0.1  # relative accuracy of that growth


@dataclasses.dataclass(frozen=True, eq=False)
class ExponentialAction:
    """e^A v for one vector per example.

    Attributes:
        state: e^A v, `(batch, n)`; NaN where the budget ended first, or A or v is not finite.
        error: the estimated error relative to ‖e^A v‖, added up over the sub-steps.
        products: products with A spent while this example was open.
    """

    state: Float[Tensor, "batch n"]
    error: Float[Tensor, " batch"]
    products: Int[Tensor, " batch"]


def exponential_action(
    matvec: Product,
    v: Float[Tensor, "batch n"],
    rtol: float = 1e-8,
    dimension: int = 60,
    max_products: int = 10_000,
    growth: Float[Tensor, " batch"] | None = None,
) -> ExponentialAction:
    """e^A v by Arnoldi's method with the corrected scheme and its error estimate (Saad 1992,
    sections 2.3 and 5).

    The Krylov space grows until the estimate allows the whole step; at the largest dimension the
    step is halved instead. Each example has its own dimension and its own sub-steps, so that batch
    mates change nothing.

    Args:
        matvec: A, on `(batch, n)`; it must act on each example alone.
        v: the vectors.
        rtol: tolerance on the error relative to ‖e^A v‖; no less than rounding relative to the
            vector a sub-step began with. Where A is far from normal, later sub-steps may amplify
            the errors of earlier ones.
        dimension: of the largest Krylov space; memory is one state per dimension.
        max_products: budget per example.
        growth: about how much e^A makes of a random vector. What a space has not seen of A may grow
            by that, unlike v: where it is much more than v does, tolerances are tighter by as much,
            down to rounding.
    """
    state = v
    step = torch.ones_like(v[:, 0])
    left = torch.ones_like(step, dtype=torch.long)
    products = torch.zeros_like(step, dtype=torch.long)
    error = torch.zeros_like(step)
    while bool((left > 0).any()):
        open_ = left > 0
        inside = _sub_step(
            matvec,
            torch.where(open_[:, None], state, 0.0),
            step,
            _Tolerance(rtol, growth),
            min(dimension, v.shape[1]),
        )
        moved = torch.bmm(inside.coefficients[:, None], inside.basis)[:, 0] * norm(state)[:, None]
        products = products + torch.where(open_, inside.products, 0)
        error = error + torch.where(open_, inside.error, 0.0)
        step = step * 0.5**inside.halvings
        left = (left * 2**inside.halvings - 1).clamp(min=0)
        failed = open_ & (~moved.isfinite().all(1) | ((products >= max_products) & (left > 0)))
        state = torch.where(open_[:, None], torch.where(failed[:, None], torch.nan, moved), state)
        left = torch.where(failed, 0, left)
    return ExponentialAction(state, error, products)


@dataclasses.dataclass(frozen=True, eq=False)
class _Tolerance:
    """On the error of a sub-step relative to what it makes of the vector it begins with."""

    rtol: float
    growth: Tensor | None

    def of(self, size: Tensor) -> Tensor | float:
        """The tolerance where a unit vector becomes one of this size."""
        if self.growth is None:
            return self.rtol
        overtaken = self.growth > OVERTAKEN * size
        return torch.where(overtaken, self.rtol * size / self.growth, self.rtol)


@dataclasses.dataclass(frozen=True, eq=False)
class _SubStep:
    """e^{sA} q_0 in an Arnoldi basis: its coefficients (NaN where that failed), error, cost, and
    how often s was halved.
    """

    basis: Tensor
    coefficients: Tensor
    error: Tensor
    products: Tensor
    halvings: Tensor


def _sub_step(
    matvec: Product, start: Tensor, step: Tensor, tolerance: _Tolerance, dimension: int
) -> _SubStep:
    """One step from `start`, at most `step` long; what an example has found within tolerance stays
    as it is.
    """
    size = min(STRIDE, dimension)
    factorization = arnoldi(matvec, start, size)
    error = torch.zeros_like(step)
    done = torch.zeros_like(step, dtype=torch.bool)
    coefficients = torch.zeros_like(factorization.basis[:, :, 0])
    products = torch.full_like(done, size, dtype=torch.long)
    halvings = torch.zeros_like(products)
    while True:
        now, estimate, good = _look(factorization, step * 0.5**halvings, tolerance)
        coefficients = torch.where(done[:, None], coefficients, now)
        error = torch.where(done, error, estimate)
        done = done | good
        if bool((done | (halvings >= MAX_HALVINGS)).all()):
            return _SubStep(
                factorization.basis,
                torch.where(done[:, None], coefficients, torch.nan),
                error,
                products,
                halvings,
            )
        if size < dimension:
            growth = min(STRIDE, dimension - size)
            factorization = arnoldi(matvec, start, growth, factorization)
            size = size + growth
            coefficients = torch.nn.functional.pad(coefficients, (0, growth))
            products = torch.where(done, products, size)
        else:
            halvings = halvings + ~done


def _look(
    factorization: ArnoldiFactorization, step: Tensor, tolerance: _Tolerance
) -> tuple[Tensor, Tensor, Tensor]:
    """Coefficients of e^{sA} q_0 in the basis, the estimated error relative to its norm, and which
    examples need look no further.

    The first column of exp(s [H 0]), H with its last row, is e^{sH} e_1 and below it s h e_mᵀ
    φ_1(sH) e_1: the correction, and the error of the scheme without it. Where that is about to
    change sign it says nothing, so the residual at the end of the step counts as well.
    """
    hessenberg = torch.nn.functional.pad(factorization.hessenberg, (0, 1)) * step[:, None, None]
    lost = ~hessenberg.isfinite().flatten(1).all(1)  # no smaller step will help
    column = torch.linalg.matrix_exp(torch.where(lost[:, None, None], 0.0, hessenberg))[:, :, 0]
    column = torch.where((lost | ~column.isfinite().all(1))[:, None], torch.nan, column)
    size = column.norm(dim=1)
    eps = torch.finfo(step.dtype).eps
    estimate = torch.maximum(column[:, -1].abs(), (hessenberg[:, -1, -2] * column[:, -2]).abs())
    allowed = tolerance.of(size) * step * size + 100 * eps * size.clamp(min=1.0)
    good = estimate <= allowed
    return column, estimate / size, good | lost | (factorization.basis[:, 0] == 0).all(1)


def exponential(
    operator: AbstractOperator, time: float | Float[Tensor, " batch"] = 1.0, rtol: float = 1e-8
) -> ComposedOperator:
    """e^{tA} as an operator: dense where the matrix is small, else every product is one Krylov
    approximation, NaN where that failed.

    Args:
        operator: A.
        time: t, one for all or one per example; negative ones go back.
        rtol: tolerance of each product relative to its norm, or what the precision allows; see
            `exponential_action`. A dense e^{tA} on which two ways to compute it differ by more than
            rtol and √eps of its norm is NaN. A Krylov product is that of a matrix within rounding
            of A (of the balanced one, where A is badly scaled): its error is rtol·‖e^{tA} v‖ and
            some eps·‖e^{tA}‖‖v‖, as that of a dense matrix rounded is.

    Raises:
        ValueError: if a time is not finite.
    """
    timed = _timed(operator, time)
    rtol = max(rtol, 20 * torch.finfo(operator.like.dtype).eps)

    def rebuild(change: Callable[[AbstractOperator], AbstractOperator]) -> ComposedOperator:
        return exponential(change(timed), 1.0, rtol)

    if max(operator.sizes) > record.DENSE_LIMIT:
        return _krylov_exponential(timed, rtol, rebuild)
    matrices = dense_exponential(timed, rtol)

    def multiply(factors: Tensor) -> Product:
        return lambda v: (factors @ operator.project(v).flatten(1 - operator.like.ndim)[..., None])[
            ..., 0
        ].view_as(v)

    return ComposedOperator(
        multiply(matrices),
        multiply(matrices.mT),
        operator.like,
        operator.mask,
        rebuild=rebuild,
        parts=(operator,),
    )


def _krylov_exponential(
    operator: AbstractOperator, rtol: float, rebuild: Callable[..., AbstractOperator]
) -> ComposedOperator:
    """e^A by one Krylov approximation a product, of a balanced operator where A is badly scaled: a
    Krylov space is built by norms, which do not see a coupling of 1e-12 that another one of 1e12
    makes up for.
    """
    even = balanced(operator)
    inner = operator if even is None else even.operator
    diagonal = torch.ones_like(operator.like) if even is None else even.diagonal
    if even is not None:  # what is small in one norm is large in the other
        rtol = 20 * torch.finfo(operator.like.dtype).eps

    @functools.cache
    def growth() -> Tensor:
        noise = inner.random(torch.Generator().manual_seed(2)).flatten(1)
        image = exponential_action(inner.flat(inner.mv), noise, LOOSE_GROWTH).state
        return norm(image) / norm(noise)

    def action(product: Product, before: Tensor, after: Tensor) -> Product:
        def apply(v: Tensor) -> Tensor:
            rows = (inner.project(v) * before).reshape(-1, inner.like[0].numel())
            tangents = len(rows) // len(inner.like)
            grown = growth().nan_to_num(0.0, posinf=0.0).repeat(tangents)
            state = exponential_action(inner.flat(product), rows, rtol, growth=grown).state
            return state.view_as(v) * after

        return apply

    return ComposedOperator(
        action(inner.mv, 1 / diagonal, diagonal),
        action(inner.rmv, diagonal, 1 / diagonal),
        operator.like,
        operator.mask,
        rebuild=rebuild,
        parts=(operator,),
    )


def _timed(operator: AbstractOperator, time: float | Tensor) -> AbstractOperator:
    """tA."""
    if not bool(torch.as_tensor(time, dtype=torch.float64).isfinite().all()):
        raise ValueError(f"time must be finite, got {time}")
    if not isinstance(time, Tensor):
        return operator if time == 1 else affine(operator, 0.0, time)
    return scaled(operator, time)


def counted(operator: AbstractOperator, tally: list[int]) -> ComposedOperator:
    """The same operator; each product notes in the tally how many tangents it had."""

    def count(product: Product) -> Product:
        def apply(v: Tensor) -> Tensor:
            tally.append(v.numel() // operator.like.numel())
            return product(v)

        return apply

    return ComposedOperator(
        count(operator.mv),
        count(operator.rmv),
        operator.like,
        operator.mask,
        rebuild=lambda change: counted(change(operator), tally),
        parts=(operator,),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class TransientGrowth:
    """‖e^{tA}‖₂ over time, and its largest value (Trefethen and Embree 2005, section 14).

    Attributes:
        times: t, `(times,)`.
        growth: ‖e^{tA}‖, `(batch, times)`: how much the worst perturbation has grown.
        residuals: of the singular triplets behind them, `(batch, times)`.
        peak: the largest ‖e^{tA}‖ between the first and the last time, `(batch,)`; a hump between
            two of the times is not seen.
        peak_time: its t.
        right: the optimal perturbation, a unit state per example.
        left: what it becomes: e^{tA} right = peak · left.
        residual: of that singular triplet.
        slope: d log ‖e^{tA}‖/dt = ⟨left, A left⟩ at the peak: zero inside, positive where growth
            goes on beyond the last time.
        converged: every singular triplet, and the search of the peak, met the tolerance.
        matvecs: products with A or Aᵀ, with the whole batch.
        kind: "estimate".
        path: which code computed the products, as `Linearization` names it.
    """

    times: Float[Tensor, " times"]
    growth: Float[Tensor, "batch times"]
    residuals: Float[Tensor, "batch times"]
    peak: Float[Tensor, " batch"]
    peak_time: Float[Tensor, " batch"]
    right: Float[Tensor, "batch *event"]
    left: Float[Tensor, "batch *event"]
    residual: Float[Tensor, " batch"]
    slope: Float[Tensor, " batch"]
    converged: Bool[Tensor, " batch"]
    matvecs: int
    kind: str = "estimate"
    path: str | None = None


def transient_growth(
    operator: AbstractOperator,
    times: Float[Tensor, " times"],
    rtol: float = 1e-6,
    generator: torch.Generator | None = None,
) -> TransientGrowth:
    """‖e^{tA}‖₂ at some times, and its maximum beside the best of them with the optimal
    perturbation.

    There d log ‖e^{tA}‖/dt = ⟨u, A u⟩ = 0, u the leading left singular vector: a root, found per
    example by the Illinois method.

    Args:
        operator: A.
        times: t ≥ 0, ascending, dense enough to see every hump.
        rtol: tolerance on the singular triplets' residuals, and on what the peak may still gain,
            both relative.
        generator: source of the start vectors; None is a fixed seed.

    Raises:
        ValueError: if the times are not ascending, finite and ≥ 0.
    """
    times = times.to(operator.like)
    if not (
        len(times) and bool(times.isfinite().all() & (times >= 0).all() & (times.diff() > 0).all())
    ):
        raise ValueError(f"times must be ascending, finite and >= 0, got {times.tolist()}")
    tally: list[int] = []
    counting = counted(operator, tally)
    seed = int(torch.randint(2**62, (), generator=generator or torch.Generator().manual_seed(0)))

    def evaluate(at: Tensor) -> _Point:
        return _norm(counting, at, rtol, torch.Generator().manual_seed(seed))

    points = [evaluate(time.expand(operator.like.shape[0])) for time in times]
    peak, settled = _peak(evaluate, points, rtol)
    growth, residuals, good = (
        torch.stack([getattr(p, name) for p in [*points, peak]], 1)
        for name in ("value", "residual", "converged")
    )
    at_peak = (peak.value, peak.time, peak.right, peak.left, peak.residual, peak.slope)
    return TransientGrowth(
        times,
        growth[:, :-1],
        residuals[:, :-1],
        *at_peak,
        settled & good.all(1),
        sum(tally),
        path=operator.path,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Point:
    """‖e^{tA}‖ at one time per example, its logarithmic slope, and the leading singular triplet."""

    time: Tensor
    value: Tensor
    slope: Tensor
    right: Tensor
    left: Tensor
    residual: Tensor
    converged: Tensor

    def where(self, condition: Tensor, other: "_Point") -> "_Point":
        """This point where the condition holds, else the other."""
        pairs = (
            (getattr(self, field.name), getattr(other, field.name))
            for field in dataclasses.fields(self)
        )
        return _Point(
            *(torch.where(condition.view(-1, *(1 for _ in a.shape[1:])), a, b) for a, b in pairs)
        )


def _norm(
    operator: AbstractOperator, time: Tensor, rtol: float, generator: torch.Generator
) -> _Point:
    spectrum = singular_values(exponential(operator, time, rtol / 10), 1, "LM", rtol, generator)
    assert spectrum.right is not None and spectrum.left is not None
    left = spectrum.left[:, 0]
    slope = (left * operator.mv(left)).flatten(1).sum(1)
    return _Point(
        time,
        spectrum.values[:, 0],
        slope,
        spectrum.right[:, 0],
        left,
        spectrum.residuals[:, 0],
        spectrum.converged[:, 0],
    )


def _peak(
    evaluate: Callable[[Tensor], _Point], points: list[_Point], rtol: float
) -> tuple[_Point, Tensor]:
    """The maximum beside the best of the points, and where it is settled that no more than rtol can
    be gained.

    It lies between `low`, where it goes uphill to the end, and the end, where it goes downhill or
    is lower; either may be the later one.
    """
    times = torch.stack([p.time for p in points], 1)
    index = torch.stack([p.value for p in points], 1).argmax(1)
    best = functools.reduce(
        lambda old, i: points[i].where(index == i, old), range(1, len(points)), points[0]
    )
    direction = best.slope.nan_to_num(0.0).sign()
    neighbour = (index + direction.long()).clamp(0, len(points) - 1)  # itself at the ends
    low = best
    end = times.gather(1, neighbour[:, None])[:, 0]
    search = Illinois.begun(direction * low.slope)
    for _ in range(SEARCH_STEPS):
        open_ = best.slope.abs() * (end - low.time).abs() > rtol
        if not bool(open_.any()):
            break
        between = low.time + search.part * (end - low.time)
        point = evaluate(torch.where(open_, between, best.time))
        uphill = direction * point.slope
        forward = open_ & (uphill > 0) & (point.value >= low.value)
        back = open_ & ~forward
        search = search.moved(uphill, forward, back)
        low = point.where(forward, low)
        end = torch.where(back, point.time, end)
        best = point.where(open_ & (point.value >= best.value), best)
    return best, best.slope.abs() * (end - low.time).abs() <= rtol
