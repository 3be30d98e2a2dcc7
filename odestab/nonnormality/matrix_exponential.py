"""The exponential e^{tA} of an operator, and how far it lets a perturbation grow."""

import dataclasses
import functools
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odestab.krylov.orthogonalization import norm
from odestab.nonnormality.balancing import balanced
from odestab.nonnormality.dense_exponential import dense_exponential
from odestab.nonnormality.exponential_action import Product, exponential_action
from odestab.nonnormality.root import Illinois
from odestab.operators.algebra import affine
from odestab.operators.coercion import OperatorLike, as_operator
from odestab.operators.linear_operator import AbstractOperator, ComposedOperator
from odestab.operators.scaling import scaled
from odestab.spectrum import record, singular_values

SEARCH_STEPS = 40
LOOSE_GROWTH = 0.1  # relative accuracy of that growth


def exponential(
    operator: OperatorLike, time: float | Float[Tensor, " batch"] = 1.0, rtol: float = 1e-8
) -> ComposedOperator:
    """e^{tA} as an operator: dense where the matrix is small, else by Krylov approximations.

    Args:
        operator: A, an operator or a matrix of any kind.
        time: t, one for all or one per example; negative ones go back.
        rtol: tolerance of each product relative to its norm, or what the precision allows; see
            `exponential_action`. A dense e^{tA} on which two ways to compute it differ by more than
            rtol and √eps of its norm is NaN, as is a Krylov approximation that failed. A Krylov
            product is that of a matrix within rounding
            of A (of the balanced one, where A is badly scaled): its error is rtol·‖e^{tA} v‖ and
            some eps·‖e^{tA}‖‖v‖, as that of a dense matrix rounded is.

    Raises:
        ValueError: if a time is not finite.

    >>> f = od.LinearVectorField(torch.tensor([[0.0, 4.0], [0.0, 0.0]]).double())
    >>> od.exponential(od.Jacobian(f, torch.zeros(1, 2).double()), time=0.5).dense()  # I + tA
    [tensor([[1., 2.],
            [0., 1.]], dtype=torch.float64)]
    """
    operator = as_operator(operator)
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
            # A growth that is not known tightens nothing.
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
    operator: OperatorLike,
    times: Float[Tensor, " times"],
    rtol: float = 1e-6,
    generator: torch.Generator | None = None,
) -> TransientGrowth:
    """‖e^{tA}‖₂ at some times, and its maximum with the perturbation that attains it.

    At the maximum d log ‖e^{tA}‖/dt = ⟨u, A u⟩ = 0, u the leading left singular vector: a root,
    found per example beside the best of the times by the Illinois method. Of an A with eigenvalues
    right of 0 there is no maximum: the peak is then the last time, and `slope` is positive there.

    Args:
        operator: A, an operator or a matrix of any kind.
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
    operator = as_operator(operator)
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
    # Products ten times as accurate as the triplet, whose residual they would spoil else.
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
    """The maximum beside the best of the points, and where no more than rtol can be gained.

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
        # No more than this can be gained in log ‖e^{tA}‖, to first order.
        open_ = best.slope.abs() * (end - low.time).abs() > rtol
        if not bool(open_.any()):
            break
        between = low.time + search.part * (end - low.time)
        point = evaluate(torch.where(open_, between, best.time))
        uphill = direction * point.slope
        # Uphill but lower is behind a dip: the search does not cross it.
        forward = open_ & (uphill > 0) & (point.value >= low.value)
        back = open_ & ~forward
        search = search.moved(uphill, forward, back)
        low = point.where(forward, low)
        end = torch.where(back, point.time, end)
        best = point.where(open_ & (point.value >= best.value), best)
    return best, best.slope.abs() * (end - low.time).abs() <= rtol
