"""Finite-time Lyapunov exponents of a stack of layers, and how much less it amplifies than its
layers one by one.
"""

import dataclasses
import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odestab.fields.trajectory import Trajectory
from odestab.operators.algebra import compose
from odestab.operators.linear_operator import AbstractOperator, ComposedOperator, shared_path
from odestab.operators.scaling import unit_scaled
from odestab.propagation.path import Methods, Path, follow
from odestab.spectrum.inexact import EXACT_SOLVE, inexact_singular_values, inverses
from odestab.steps.one_step import AbstractOneStepMethod, ThetaMethod

# binary ones that the norms of all layers may take up, together, before they are scaled
DIGITS = 64
# of eps: a product of so much less than the product of the norms is zero to rounding
ROUNDINGS = 10


@dataclasses.dataclass(frozen=True, eq=False)
class LyapunovExponents:
    """(1/L) log σ_i(D_{L−1}⋯D_0), largest first (Mathematics, section 5).

    Attributes:
        values: nats per layer, `(batch, k)`.
        residuals: of the singular triplets, in nats per layer: ‖Aᵀu − σv‖/(σL). Some exponent lies
            that near to each value; of the leading one the error is of second order in it.
        converged: the residual before it is scaled is at most rtol·σ_1, and every layer was solved.
        right: unit perturbations of the first state that grow at these rates.
        left: what they become, unit.
        matvecs: products with the whole stack or its transpose; each is one product, or one linear
            solve, per layer.
        kind: "estimate".
        path: which code computed the products, as `Linearization` names it.

    >>> f, x = od.LinearVectorField(-3 * torch.eye(2).double()), torch.zeros(1, 1, 2).double()
    >>> stack = od.Trajectory((x, x, x), torch.ones(1, 1).bool(), (f, f))
    >>> exponents = od.lyapunov_exponents(stack, methods=od.ImplicitEuler(1.0))
    >>> round(exponents.values.exp().item(), 6), exponents.converged.tolist()  # 1/4 a layer
    (0.25, [[True]])
    """

    values: Float[Tensor, "batch k"]
    residuals: Float[Tensor, "batch k"]
    converged: Bool[Tensor, "batch k"]
    right: Float[Tensor, "batch k *event"]
    left: Float[Tensor, "batch k *event"]
    matvecs: int
    kind: str = "estimate"
    path: str | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class AlignmentLoss:
    """Σ_l log σ_1(D_l) − log σ_1(D_{L−1}⋯D_0): the alignment loss of a stack.

    The stack amplifies that much less than its layers one by one, in nats. It is zero where the
    worst direction that leaves a layer is the worst one that can enter the next.

    Attributes:
        value: nats, `(batch,)`, never negative but for the residuals; infinite where the product is
            zero or below rounding though no layer is (`converged` only where it is zero exactly),
            NaN where a layer is zero.
        layers: log σ_1(D_l), nats, `(batch, L)`.
        product: log σ_1 of the whole stack, nats, `(batch,)`.
        residuals: ‖Aᵀu − σv‖/σ of the layers and, last, of the stack, `(batch, L + 1)`: nats, each
            value's error is of second order in it.
        converged: every residual is at most rtol, and every layer was solved.
        matvecs: products with one layer's derivative, or linear solves.
        kind: "estimate".
        path: which code computed the products, as `Linearization` names it.

    >>> f, x = od.LinearVectorField(torch.eye(2).double()), torch.zeros(1, 1, 2).double()
    >>> stack = od.Trajectory((x, x, x), torch.ones(1, 1).bool(), (f, f))
    >>> loss = od.alignment_loss(stack)
    >>> loss.layers.exp().round(decimals=6).tolist(), round(loss.product.exp().item(), 6)
    ([[2.0, 2.0]], 4.0)
    """

    value: Float[Tensor, " batch"]
    layers: Float[Tensor, "batch layers"]
    product: Float[Tensor, " batch"]
    residuals: Float[Tensor, "batch levels"]
    converged: Bool[Tensor, " batch"]
    matvecs: int
    kind: str = "estimate"
    path: str | None = None


def lyapunov_exponents(
    trajectory: Trajectory | Path,
    k: int = 1,
    methods: Methods | None = None,
    rtol: float = 1e-4,
    generator: torch.Generator | None = None,
    *,
    max_dimension: int = 200,
    work_dtype: torch.dtype | None = None,
) -> LyapunovExponents:
    """The k largest (1/L) log σ_i(D_{L−1}⋯D_0), by Golub–Kahan on the whole product.

    For k > 1 the complement of what was found is searched again, as `singular_values` does.

    One pass of QR through the layers, the usual method for long orbits, is wrong for a dozen
    layers: its first vectors are still the random ones it began with.

    Args:
        trajectory: the fields, or a path that was followed already.
        k: how many.
        methods: one-step methods as `propagate` takes them; not with a path, which has its own.
        rtol: tolerance on the residuals relative to σ_1: rtol/L nats on the leading exponent.
            Linear solves are in proportion to it; those behind the values, whose error is theirs,
            to 3 % of it.
        generator: source of the start vector; None is a fixed seed.
        max_dimension: largest Krylov space.
        work_dtype: precision of the Krylov space; residuals are always taken in the state's own,
            which is the default.

    Raises:
        ValueError: if k is not in 1..n, methods do not fit the layers, or both a path and methods
            are given.

    >>> f = od.LinearVectorField(torch.diag(torch.tensor([0.0, -3.0])).double())
    >>> x = torch.zeros(1, 1, 2).double()
    >>> stack = od.Trajectory((x, x, x), torch.ones(1, 1).bool(), (f, f))
    >>> od.lyapunov_exponents(stack, k=2).values.exp().round(decimals=6).tolist()
    [[2.0, 1.0]]
    """
    path = _path(trajectory, methods)
    *sides, logs = _derivatives(path, rtol)
    loose, exact = map(compose, sides)
    generator = generator or torch.Generator().manual_seed(0)
    start = exact.random(generator)
    again = exact.random(generator) if k > 1 else None
    spectrum = inexact_singular_values(
        loose,
        exact,
        start,
        k,
        rtol,
        again=again,
        max_dimension=max_dimension,
        work_dtype=work_dtype,
    )
    assert spectrum.right is not None and spectrum.left is not None
    depth = path.trajectory.depth
    solved = path.converged.all(1, keepdim=True)
    relative = _relative(spectrum.residuals, spectrum.values)
    values = (spectrum.values.log() + logs.sum(1, keepdim=True)) / depth
    # Below rounding of σ_1 a singular value is zero for all that is known, and its logarithm a
    # random number.
    above_rounding = (
        spectrum.values > ROUNDINGS * torch.finfo(values.dtype).eps * spectrum.values[:, :1]
    ) | (spectrum.values == 0)
    converged = spectrum.converged & solved & above_rounding
    return LyapunovExponents(
        values,
        relative / depth,
        converged,
        spectrum.right,
        spectrum.left,
        spectrum.matvecs + 1,
        path=spectrum.path,
    )


def alignment_loss(
    trajectory: Trajectory | Path,
    methods: Methods | None = None,
    rtol: float = 1e-3,
    generator: torch.Generator | None = None,
    *,
    work_dtype: torch.dtype | None = None,
) -> AlignmentLoss:
    """Σ_l log σ_1(D_l) − log σ_1(D_{L−1}⋯D_0) along a path.

    A product of layer norms says nothing about a stack whose worst directions do not meet.

    Args:
        trajectory: the fields, or a path that was followed already.
        methods: one-step methods as `propagate` takes them; not with a path.
        rtol: tolerance on every residual relative to its σ.
        generator: source of the start vectors.
        work_dtype: precision of the Krylov spaces.

    Raises:
        ValueError: if methods do not fit the layers, or both a path and methods are given.

    >>> axes = [0.0, 1.0], [1.0, 0.0]
    >>> f, g = (od.LinearVectorField(torch.diag(torch.tensor(a)).double()) for a in axes)
    >>> x = torch.zeros(1, 1, 2).double()
    >>> stack = od.Trajectory((x, x, x), torch.ones(1, 1).bool(), (f, g))
    >>> round(od.alignment_loss(stack).value.exp().item(), 6)  # 2 · 2 over 2
    2.0
    """
    path = _path(trajectory, methods)
    loose, exact, scales = _derivatives(path, rtol)
    start = exact[0].random(generator)
    parts = [*zip(loose, exact, strict=True), (compose(loose), compose(exact))]
    spectra = [
        inexact_singular_values(a, b, start, 1, rtol, work_dtype=work_dtype) for a, b in parts
    ]
    values, residuals, converged = (
        torch.cat([getattr(s, name) for s in spectra], 1)
        for name in ("values", "residuals", "converged")
    )
    logs = values.log()
    solved = path.converged.all(1)
    depth = path.trajectory.depth
    matvecs = sum(s.matvecs for s in spectra[:-1]) + spectra[-1].matvecs * depth + depth
    layers = logs[:, :-1].sum(1)
    product = logs[:, -1]
    # A product below rounding of what the norms multiply to is zero for all that is known: the loss
    # is infinite, and certain only where the product is zero exactly.
    lost = product <= layers + math.log(ROUNDINGS * depth * torch.finfo(logs.dtype).eps)
    converged = converged.all(1) & solved & (~lost | (product == -torch.inf)) & layers.isfinite()
    product = torch.where(lost, -torch.inf, product)
    relative = _relative(residuals, values)
    return AlignmentLoss(
        layers - product,
        logs[:, :-1] + scales,
        product + scales.sum(1),
        relative,
        converged,
        matvecs,
        path=shared_path(exact),
    )


def _relative(residuals: Tensor, values: Tensor) -> Tensor:
    """Residuals relative to their values; 0 where both are 0."""
    return torch.where((values == 0) & (residuals == 0), 0.0, residuals / values)


def _path(trajectory: Trajectory | Path, methods: Methods | None) -> Path:
    if isinstance(trajectory, Path):
        if methods is not None:
            raise ValueError("methods must be None for a path, which has its own; got both")
        return trajectory
    return follow(trajectory, methods)


def _derivatives(
    path: Path, rtol: float
) -> tuple[list[AbstractOperator], list[AbstractOperator], Tensor]:
    """The derivatives along a path with loose and with exact linear solves, over the same
    linearisations.

    Each is divided by a power of two near its norm, so that no product of many leaves the range of
    the precision; their logarithms, `(batch, L)`, come along.
    """

    def no_tighter(method: AbstractOneStepMethod) -> AbstractOneStepMethod:
        # Its inverse stands inside a product, where `inverses` cannot loosen it afterwards.
        if isinstance(method, ThetaMethod):
            return dataclasses.replace(
                method, linear_rtol=max(method.linear_rtol, EXACT_SOLVE * rtol)
            )
        return method

    derivatives = dataclasses.replace(
        path, methods=tuple(map(no_tighter, path.methods))
    ).derivatives()
    inside = [d.inverse_of if isinstance(d, ComposedOperator) else None for d in derivatives]
    pairs = []
    logs = []
    for derivative, inverted in zip(derivatives, inside, strict=True):
        operator, scale = unit_scaled(
            derivative if inverted is None else inverted, DIGITS // len(derivatives)
        )
        # An explicit derivative has no solves: it is exact as it is, at the same price.
        pairs.append((operator, operator) if inverted is None else inverses(operator, rtol))
        logs.append(scale.log() if inverted is None else -scale.log())
    return [loose for loose, _ in pairs], [exact for _, exact in pairs], torch.stack(logs, 1)
