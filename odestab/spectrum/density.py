"""Spectral densities of JᵀJ and (J + Jᵀ)/2 by stochastic Lanczos quadrature, with error bars."""

import dataclasses
import math

import torch
from jaxtyping import Float
from torch import Tensor

from odestab.krylov import lanczos
from odestab.operators.algebra import symmetric_part
from odestab.operators.coercion import OperatorLike, as_operator
from odestab.operators.linear_operator import AbstractOperator, ComposedOperator
from odestab.operators.scaling import unit_scaled

OF = ("gram", "singular", "symmetric")


@dataclasses.dataclass(frozen=True, eq=False)
class SpectralDensity:
    """The density of eigenvalues per unit length, broadened by a Gaussian (Mathematics, section 8).

    Attributes:
        points: where it is evaluated, one grid for all examples.
        density: mean over probes; it integrates to 1 over the real line. NaN where the operator is
            not finite.
        error: its standard error over the probes; not the error of too few steps, which more of
            them show.
        width: standard deviation of the Gaussian.
        nodes: Gauss quadrature nodes (Ritz values) of every probe.
        weights: their weights, which sum to 1 per probe: Σ w f(θ) estimates tr f/n for any f.
        mean: Σ w θ averaged over probes: tr/n, for "gram" ‖A‖_F²/n, for "singular" the mean
            singular value.
        mean_error: its standard error.
        matvecs: products of A or Aᵀ with one tangent of the whole batch.
        kind: "estimate".
        path: which code computed the products, as `Linearization` names it.

    >>> f = od.LinearVectorField(torch.diag(torch.tensor([1.0, 1.0, 3.0])).double())
    >>> J = od.Jacobian(f, torch.zeros(1, 3).double())
    >>> points = torch.linspace(-2, 6, 81).double()
    >>> density = od.spectral_density(J, "symmetric", points=points, width=0.3)
    >>> round(torch.trapezoid(density.density[0], points).item(), 3)  # it integrates to 1
    1.0
    """

    points: Float[Tensor, " points"]
    density: Float[Tensor, "batch points"]
    error: Float[Tensor, "batch points"]
    width: float
    nodes: Float[Tensor, "probes batch steps"]
    weights: Float[Tensor, "probes batch steps"]
    mean: Float[Tensor, " batch"]
    mean_error: Float[Tensor, " batch"]
    matvecs: int
    kind: str = "estimate"
    path: str | None = None


def spectral_density(
    operator: OperatorLike,
    of: str = "gram",
    *,
    probes: int = 8,
    steps: int = 60,
    points: int | Float[Tensor, " points"] = 200,
    width: float | None = None,
    generator: torch.Generator | None = None,
) -> SpectralDensity:
    """The density of AᵀA, of singular values or of (A + Aᵀ)/2 by stochastic Lanczos quadrature.

    Sources: Ubaru, Chen and Saad 2017; Lin, Saad and Yang 2016.

    Each probe is a random unit vector of the example's own state space; Lanczos with full
    reorthogonalisation turns its spectral measure into a Gauss quadrature. All probes of all
    examples run in one lockstep process, (steps + 1) × probes states each.

    Args:
        operator: A, an operator or a matrix of any kind.
        of: "gram" for AᵀA, "singular" for the singular values of A (the same nodes, square roots
            taken, so that small and large ones are equally sharp), or "symmetric" for (A + Aᵀ)/2.
        probes: random vectors, at least 2: the error is taken over them.
        steps: of Lanczos; eigenvalues closer than about the spectrum's length over this many are
            one.
        points: where to evaluate, or how many points over the nodes of the batch.
        width: of the Gaussian; by default 0.8 of the grid's length over the steps, about half the
            distance between nodes amid the spectrum, so that the density does not show the nodes,
            and no less than one interval of the grid.
        generator: source of the probes.

    Raises:
        ValueError: if `of` is unknown, probes < 2, steps < 1, the width is not positive, or there
            are fewer than two points or they are not finite or all the same.

    >>> f = od.LinearVectorField(torch.diag(torch.linspace(-1, 1, 50)).double())
    >>> J = od.Jacobian(f, torch.zeros(1, 50).double())
    >>> density = od.spectral_density(J, "gram", probes=64)
    >>> trace = (torch.linspace(-1, 1, 50) ** 2).mean().item()  # ‖A‖_F²/n
    >>> bool((density.mean - trace).abs() < 4 * density.mean_error)
    True
    """
    operator = as_operator(operator)
    _check(of, probes, steps, width, points)
    generator = generator or torch.Generator().manual_seed(0)
    operator, scale = unit_scaled(operator)
    target = symmetric_part(operator) if of == "symmetric" else _gram(operator)
    shape = (probes, *operator.like.shape)
    start = torch.stack([operator.random(generator) for _ in range(probes)]).reshape(
        probes * shape[1], -1
    )
    # Of the steps asked for: a small matrix has fewer nodes, and is no smoother for it.
    resolution = 0.8 / steps
    steps = min(steps, max(operator.sizes))
    nodes, weights = _quadrature(
        lanczos(lambda v: target.mv(v.reshape(shape)).reshape(v.shape), start, steps).tridiagonal
    )
    nodes = nodes.reshape(probes, -1, steps)
    weights = weights.reshape(probes, -1, steps)
    # Rounding makes zero nodes of AᵀA negative. Nodes of the gram take the scale twice.
    nodes = scale[:, None] * (nodes.clamp(min=0).sqrt() if of == "singular" else nodes)
    nodes = scale[:, None] * nodes if of == "gram" else nodes
    grid = _grid(nodes, points) if isinstance(points, int) else points.to(operator.like)
    length = float(grid.max() - grid.min())
    width = length * max(1 / (grid.numel() - 1), resolution) if width is None else width
    broadened = torch.stack(
        [_broadened(places, mass, grid, width) for places, mass in zip(nodes, weights, strict=True)]
    )
    moments = (nodes * weights).sum(2)
    root = math.sqrt(probes)
    return SpectralDensity(
        grid,
        broadened.mean(0),
        broadened.std(0) / root,
        width,
        nodes,
        weights,
        moments.mean(0),
        moments.std(0) / root,
        2 * probes * steps + 1,
        path=operator.path,
    )


def _gram(operator: AbstractOperator) -> ComposedOperator:
    def product(v: Tensor) -> Tensor:
        return operator.rmv(operator.mv(v))

    return ComposedOperator(product, product, operator.like, operator.mask, parts=(operator,))


def _quadrature(tridiagonal: Float[Tensor, "rows m m"]) -> tuple[Tensor, Tensor]:
    """Gauss nodes and weights of each matrix; NaN nodes where it is not finite.

    Where a space is used up the matrix falls apart, and the part that the probe did not begin has
    weight 0.
    """
    finite = tridiagonal.isfinite().all(2).all(1)
    values, vectors = torch.linalg.eigh(torch.where(finite[:, None, None], tridiagonal, 0.0))
    return torch.where(finite[:, None], values, torch.nan), vectors[:, 0].square()


def _grid(nodes: Tensor, points: int) -> Tensor:
    finite = nodes[nodes.isfinite()]
    low, high = (float(finite.min()), float(finite.max())) if finite.numel() else (0.0, 1.0)
    margin = 0.05 * max(high - low, 1e-3 * (max(abs(low), abs(high)) or 1.0))
    return torch.linspace(
        low - margin, high + margin, points, dtype=nodes.dtype, device=nodes.device
    )


def _broadened(nodes: Tensor, weights: Tensor, grid: Tensor, width: float) -> Tensor:
    """Σ w N(t; θ, width²) on the grid, `(batch, points)`."""
    gauss = torch.exp(-0.5 * ((grid[:, None] - nodes[:, None]) / width) ** 2)
    return (gauss @ weights[..., None])[..., 0] / (width * math.sqrt(2 * math.pi))


def _check(of: str, probes: int, steps: int, width: float | None, points: int | Tensor) -> None:
    if of not in OF:
        raise ValueError(f"of must be one of {', '.join(OF)}, got {of!r}")
    count = points if isinstance(points, int) else points.numel()
    for name, given, least in (("probes", probes, 2), ("steps", steps, 1), ("points", count, 2)):
        if given < least:
            raise ValueError(f"{name} must be at least {least}, got {given}")
    if width is not None and not (math.isfinite(width) and width > 0):
        raise ValueError(f"width must be > 0 and finite, got {width}")
    if (
        isinstance(points, Tensor)
        and not 0 < (length := float(points.max() - points.min())) < math.inf
    ):
        raise ValueError(f"points must be finite and differ, got a grid of length {length}")
