"""The exponential e^{tA} of an operator, and how far it lets a perturbation grow."""

import dataclasses
import functools
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from odestab.krylov import ArnoldiFactorization, arnoldi
from odestab.krylov.orthogonalization import norm
from odestab.nonnormality.dense_exponential import dense_exponential
from odestab.operators.linear_operator import AbstractOperator, ComposedOperator, affine
from odestab.operators.scaling import scaled
from odestab.spectrum import record, singular_values

Product = Callable[[Tensor], Tensor]
STRIDE = 2  # products between two looks at the error estimate
MAX_HALVINGS = 40
SEARCH_STEPS = 40


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
) -> ExponentialAction:
    """e^A v by Arnoldi's method with the corrected scheme (Saad 1992, sections 2.3 and 5).

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
    """
    state, step = v, torch.ones_like(v[:, 0])
    left, products, error = (
        torch.ones_like(step, dtype=torch.long),
        torch.zeros_like(step, dtype=torch.long),
        torch.zeros_like(step),
    )
    while bool((left > 0).any()):
        open_ = left > 0
        inside = _sub_step(
            matvec, torch.where(open_[:, None], state, 0.0), step, rtol, min(dimension, v.shape[1])
        )
        moved = torch.bmm(inside.coefficients[:, None], inside.basis)[:, 0] * norm(state)[:, None]
        products, error = (
            products + torch.where(open_, inside.products, 0),
            error + torch.where(open_, inside.error, 0.0),
        )
        step, left = step * 0.5**inside.halvings, (left * 2**inside.halvings - 1).clamp(min=0)
        failed = open_ & (~moved.isfinite().all(1) | ((products >= max_products) & (left > 0)))
        state = torch.where(open_[:, None], torch.where(failed[:, None], torch.nan, moved), state)
        left = torch.where(failed, 0, left)
    return ExponentialAction(state, error, products)


@dataclasses.dataclass(frozen=True, eq=False)
class _SubStep:
    """e^{sA} q_0 in an Arnoldi basis: coefficients (NaN: failed), error, cost, halvings of s."""

    basis: Tensor
    coefficients: Tensor
    error: Tensor
    products: Tensor
    halvings: Tensor


def _sub_step(
    matvec: Product, start: Tensor, step: Tensor, rtol: float, dimension: int
) -> _SubStep:
    """One step from `start`, at most `step` long; what is within tolerance stays as it is."""
    size = min(STRIDE, dimension)
    factorization, error, done = (
        arnoldi(matvec, start, size),
        torch.zeros_like(step),
        torch.zeros_like(step, dtype=torch.bool),
    )
    coefficients, products = (
        torch.zeros_like(factorization.basis[:, :, 0]),
        torch.full_like(done, size, dtype=torch.long),
    )
    halvings = torch.zeros_like(products)
    while True:
        now, estimate, good = _look(factorization, step * 0.5**halvings, rtol)
        coefficients, error = (
            torch.where(done[:, None], coefficients, now),
            torch.where(done, error, estimate),
        )
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
            factorization, size = arnoldi(matvec, start, growth, factorization), size + growth
            coefficients, products = (
                torch.nn.functional.pad(coefficients, (0, growth)),
                torch.where(done, products, size),
            )
        else:
            halvings = halvings + ~done


def _look(
    factorization: ArnoldiFactorization, step: Tensor, rtol: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Coefficients of e^{sA} q_0, their estimated relative error, and which examples are done.

    The first column of exp(s [H 0]), H with its last row, is e^{sH} e_1 and below it s h e_mᵀ
    φ_1(sH) e_1: the correction, and the error of the scheme without it. Where that is about to
    change sign it says nothing, so the residual at the end of the step counts as well.
    """
    hessenberg = torch.nn.functional.pad(factorization.hessenberg, (0, 1)) * step[:, None, None]
    lost = ~hessenberg.isfinite().flatten(1).all(1)  # no smaller step will help
    column = torch.linalg.matrix_exp(torch.where(lost[:, None, None], 0.0, hessenberg))[:, :, 0]
    column = torch.where((lost | ~column.isfinite().all(1))[:, None], torch.nan, column)
    size, eps = column.norm(dim=1), torch.finfo(step.dtype).eps
    estimate = torch.maximum(column[:, -1].abs(), (hessenberg[:, -1, -2] * column[:, -2]).abs())
    good = estimate <= rtol * step * size + 100 * eps * size.clamp(min=1.0)
    return column, estimate / size, good | lost | (factorization.basis[:, 0] == 0).all(1)


def exponential(
    operator: AbstractOperator, time: float | Float[Tensor, " batch"] = 1.0, rtol: float = 1e-8
) -> ComposedOperator:
    """e^{tA} as an operator: dense where the matrix is small, else by Krylov approximations.

    Args:
        operator: A.
        time: t, one for all or one per example; negative ones go back.
        rtol: tolerance of each product relative to its norm, or what the precision allows; see
            `exponential_action`. A dense e^{tA} on which two ways to compute it differ by more than
            rtol and √eps of its norm is NaN, as is a Krylov approximation that failed.

    Raises:
        ValueError: if a time is not finite.

    >>> f = od.LinearVectorField(torch.tensor([[0.0, 4.0], [0.0, 0.0]]).double())
    >>> od.exponential(od.Jacobian(f, torch.zeros(1, 2).double()), time=0.5).dense()  # I + tA
    [tensor([[1., 2.],
            [0., 1.]], dtype=torch.float64)]
    """
    timed = _timed(operator, time)
    rtol = max(rtol, 20 * torch.finfo(operator.like.dtype).eps)

    def rebuild(change: Callable[[AbstractOperator], AbstractOperator]) -> ComposedOperator:
        return exponential(change(timed), 1.0, rtol)

    def action(product: Product) -> Product:
        def apply(v: Tensor) -> Tensor:
            rows = operator.project(v).reshape(-1, operator.like[0].numel())
            return exponential_action(timed.flat(product), rows, rtol).state.view_as(v)

        return apply

    if max(operator.sizes) > record.DENSE_LIMIT:
        return ComposedOperator(
            action(timed.mv),
            action(timed.rmv),
            operator.like,
            operator.mask,
            rebuild=rebuild,
            parts=(operator,),
        )
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

    >>> f = od.LinearVectorField(torch.tensor([[-1.0, 8.0], [0.0, -2.0]]).double())
    >>> A = od.Jacobian(f, torch.zeros(1, 2).double())
    >>> growth = od.transient_growth(A, torch.linspace(0, 4, 9).double())
    >>> growth.growth[0, 0].item(), bool(growth.growth[0, -1] < 0.2), growth.converged.tolist()
    (1.0, True, [True])
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
    """‖e^{tA}‖₂ at some times, and its maximum with the perturbation that attains it.

    At the maximum d log ‖e^{tA}‖/dt = ⟨u, A u⟩ = 0, u the leading left singular vector: a root,
    found per example beside the best of the times by the Illinois method.

    Args:
        operator: A.
        times: t ≥ 0, ascending, dense enough to see every hump.
        rtol: tolerance on the singular triplets' residuals, and on what the peak may still gain,
            both relative.
        generator: source of the start vectors; None is a fixed seed.

    Raises:
        ValueError: if the times are not ascending, finite and ≥ 0.

    >>> f = od.LinearVectorField(torch.tensor([[-1.0, 8.0], [0.0, -2.0]]).double())
    >>> A = od.Jacobian(f, torch.zeros(1, 2).double())  # λ = −1 and −2
    >>> growth = od.transient_growth(A, torch.linspace(0, 4, 9).double())
    >>> round(growth.peak.item(), 3), round(growth.peak_time.item(), 3)  # twice, then decay
    (2.08, 0.645)
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
    found = singular_values(exponential(operator, time, rtol / 10), 1, "LM", rtol, generator)
    assert found.right is not None and found.left is not None
    left = found.left[:, 0]
    slope = (left * operator.mv(left)).flatten(1).sum(1)
    return _Point(
        time,
        found.values[:, 0],
        slope,
        found.right[:, 0],
        left,
        found.residuals[:, 0],
        found.converged[:, 0],
    )


def _peak(
    evaluate: Callable[[Tensor], _Point], points: list[_Point], rtol: float
) -> tuple[_Point, Tensor]:
    """The maximum beside the best of the points, and where no more than rtol can be gained.

    It lies between `low`, where it goes uphill to b, and b, where it goes downhill or is lower;
    either may be the later one.
    """
    times, index = (
        torch.stack([p.time for p in points], 1),
        torch.stack([p.value for p in points], 1).argmax(1),
    )
    best = functools.reduce(
        lambda old, i: points[i].where(index == i, old), range(1, len(points)), points[0]
    )
    direction = best.slope.nan_to_num(0.0).sign()
    neighbour = (index + direction.long()).clamp(0, len(points) - 1)  # itself at the ends
    low, b = best, times.gather(1, neighbour[:, None])[:, 0]
    slope_a, slope_b, last = (
        direction * low.slope,
        torch.full_like(b, torch.nan),
        torch.zeros_like(b),
    )
    for _ in range(SEARCH_STEPS):
        open_ = best.slope.abs() * (b - low.time).abs() > rtol
        if not bool(open_.any()):
            break
        part = torch.where(slope_b < 0, slope_a / (slope_a - slope_b), 0.5)
        found = evaluate(torch.where(open_, low.time + part * (b - low.time), best.time))
        uphill = direction * found.slope
        forward = open_ & (uphill > 0) & (found.value >= low.value)
        back = open_ & ~forward
        halved_a, halved_b = (
            torch.where(last == sign, s / 2, s) for s, sign in ((slope_a, -1), (slope_b, 1))
        )  # an end that stays twice
        slope_a = torch.where(forward, uphill, torch.where(back, halved_a, slope_a))
        slope_b = torch.where(
            back,
            torch.where(uphill < 0, uphill, torch.nan),
            torch.where(forward, halved_b, slope_b),
        )
        last = torch.where(forward, 1.0, torch.where(back, -1.0, last))
        low, b = found.where(forward, low), torch.where(back, found.time, b)
        best = found.where(open_ & (found.value >= best.value), best)
    return best, best.slope.abs() * (b - low.time).abs() <= rtol
