"""What one picture of an operator and a method shows, in the plane of z = hλ."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from odestab.fields.from_anything import FieldLike, is_matrix
from odestab.fields.vector_field import AbstractVectorField
from odestab.nonnormality.numerical_range import NumericalRange, numerical_range
from odestab.nonnormality.pseudospectrum import pseudospectrum
from odestab.nonnormality.relative_graph import scaled_relative_graph
from odestab.operators.algebra import affine
from odestab.operators.coercion import OperatorLike, as_operator
from odestab.operators.jacobian import Jacobian
from odestab.operators.linear_operator import AbstractOperator
from odestab.spectrum import Spectrum, eigenvalues, full_spectrum
from odestab.steps.one_step import ExplicitEuler, ImplicitEuler, check_step_size
from odestab.steps.runge_kutta import RungeKutta, runge_kutta
from odestab.steps.stability import StabilityFunction, stability_function, stability_region

PARTS = ("eigenvalues", "pseudospectra", "range", "graph")
DENSE = 1600  # up to this dimension spectra and Schur forms are computed whole
LEADING = 40  # eigenvalues that are sought above it
ANGLES = 64
CENTRES = 41  # of circles, far out and likewise within the numerical range
HOME = {  # left, right, top: what the region of a method is told by
    "explicit": (-3.4, 1.4, 3.0),
    "implicit": (-2.2, 2.6, 3.0),
    "function": (-3.4, 1.4, 3.0),
}
AIR = 0.12  # of the window, about what is drawn


@dataclasses.dataclass(frozen=True, eq=False)
class SpectralPortrait:
    """Spectral sets of hJ for one example, over |R(z)|. What was not asked for is empty.

    Attributes:
        name: of the method.
        kind: "explicit", "implicit", or "function" of a function R(z) alone.
        step_size: h.
        parts: which sets were computed, out of PARTS.
        re: `(m,)`, real parts of the grid.
        im: `(k,)`, its imaginary parts, 0 and above: all is symmetric about the real axis.
        amplification: |R(z)| on the grid.
        eigenvalues: hλ.
        settled: which of them converged.
        complete: they are all eigenvalues, and not leading ones.
        sigma_min: σ_min(zI − hJ) on the grid.
        inner: `sigma_min` is too large, from a projection: the pseudospectra are at least as large
            as those drawn.
        range: the boundary of the numerical range, once around.
        range_settled: which of its points converged.
        graph: the scaled relative graph, its upper boundary as a closed polygon.
        graph_settled: all of its circles have converged.

    >>> portrait = od.spectral_portrait([[0, 2], [-2, 0]], "rk4", h=0.5, parts=["eigenvalues"])
    >>> portrait.name, portrait.eigenvalues.imag.tolist(), portrait.sigma_min.shape
    ('RK4', [1.0, -1.0], torch.Size([0, 0]))
    """

    name: str
    kind: str
    step_size: float
    parts: tuple[str, ...]
    re: Float[Tensor, " m"]
    im: Float[Tensor, " k"]
    amplification: Float[Tensor, "k m"]
    eigenvalues: Complex[Tensor, " n"]
    settled: Bool[Tensor, " n"]
    complete: bool
    sigma_min: Float[Tensor, "rows columns"]
    inner: bool
    range: Complex[Tensor, " angles"]
    range_settled: Bool[Tensor, " angles"]
    graph: Complex[Tensor, " polygon"]
    graph_settled: bool


def spectral_portrait(
    source: OperatorLike | FieldLike,
    method: StabilityFunction = "explicit",
    h: float | None = None,
    x: Float[Tensor, "batch *event"] | None = None,
    *,
    parts: Sequence[str] = PARTS,
    window: tuple[float, float, float] | None = None,
    points: int = 51,
    example: int = 0,
) -> SpectralPortrait:
    """Eigenvalues, pseudospectra, numerical range and scaled relative graph of hJ, over |R(z)|.

    `figures.portrait` draws it. Up to dimension 1600 all of it is exact; above, there are leading
    eigenvalues, and pseudospectra are bounded from inside.

    Args:
        source: an operator, a matrix of any kind, or a vector field as `od.field` takes it.
        method: "explicit", "implicit" or whatever `stability_region` takes.
        h: the step size; None is that of the method, else 1.
        x: the state at which a field is linearised; a matrix needs none.
        parts: out of PARTS.
        window: left, right and top of the grid; None holds the eigenvalues, the numerical range and
            the surroundings of 0.
        points: of the grid along either axis, both half planes counted.
        example: which one of the batch.

    Raises:
        ValueError: if a field comes without a state, h is not positive and finite, a part is
            unknown, or there is no such example.
        TypeError: if the source or the method is none.

    >>> shear = torch.tensor([[-1.0, 8.0], [0.0, -2.0]]).double()
    >>> portrait = od.spectral_portrait(shear, "implicit", h=0.5, points=11)
    >>> bool(portrait.range.real.max() > 0 > portrait.eigenvalues.real.max())
    True
    """
    unknown = sorted(set(parts) - set(PARTS))
    if unknown or isinstance(parts, str):
        raise ValueError(f"parts must be out of {', '.join(PARTS)}, got {parts!r}")
    if points < 5:
        raise ValueError(f"points must be at least 5, got {points}")
    name, kind, chosen = _method(method)
    step_size = float(getattr(chosen, "step_size", 1.0) if h is None else h)
    check_step_size(step_size)
    operator = _one(_linearised(source, x), example, step_size)
    small = max(operator.sizes) <= DENSE
    spectrum = None
    if "eigenvalues" in parts:
        spectrum = full_spectrum(operator) if small else eigenvalues(operator, LEADING)
    numerical = numerical_range(operator, ANGLES) if "range" in parts else None
    re, im = _grid(operator.like, window or _window(kind, spectrum, numerical), points)
    return SpectralPortrait(
        name,
        kind,
        step_size,
        tuple(part for part in PARTS if part in parts),
        re,
        im,
        stability_region(chosen, re, im),
        *_spectral(operator.like, spectrum),
        *_levels(operator, re, im, small, "pseudospectra" in parts),
        *_ranges(operator.like, numerical),
        *_graph(operator, numerical, "graph" in parts),
    )


def _method(method: StabilityFunction) -> tuple[str, str, StabilityFunction]:
    """Name, kind, and what `stability_region` takes."""
    if isinstance(method, str):
        euler = {"explicit": "explicit_euler", "implicit": "implicit_euler"}
        method = runge_kutta(euler.get(method, method))
    stability_function(method)  # refuses what has none
    if isinstance(method, RungeKutta):
        return method.name, "explicit" if method.explicit else "implicit", method
    if not hasattr(method, "stability_function"):
        return "R(z)", "function", method
    names: dict[Any, str] = {ExplicitEuler: "explicit Euler", ImplicitEuler: "implicit Euler"}
    theta = getattr(method, "theta", None)
    default = type(method).__name__ if theta is None else f"theta method, θ = {theta:g}"
    is_explicit = getattr(method, "pole", None) is None
    return names.get(type(method), default), "explicit" if is_explicit else "implicit", method


def _linearised(source: Any, x: Tensor | None) -> AbstractOperator:
    """J: what is linear is its own, a field has one at a state."""
    if isinstance(source, AbstractOperator) or (is_matrix(source) and x is None):
        return as_operator(source)
    if x is not None:
        return Jacobian(source, x)
    if isinstance(source, AbstractVectorField) or callable(source):
        try:
            return as_operator(source)
        except TypeError as error:
            raise ValueError(
                "x must be the state at which the field is linearised, got None"
            ) from error
    return as_operator(source)


def _one(operator: AbstractOperator, example: int, step_size: float) -> AbstractOperator:
    """hJ of one example."""
    batch = operator.like.shape[0]
    if not 0 <= example < batch:
        raise ValueError(f"example must be in 0..{batch - 1}, got {example}")
    if batch > 1:
        operator = operator.take(torch.tensor([example], device=operator.like.device))
    return affine(operator, 0.0, step_size)


def _window(
    kind: str, spectrum: Spectrum | None, numerical: NumericalRange | None
) -> tuple[float, float, float]:
    """Left, right and top of what is drawn and of HOME, with air about it."""
    shown = [] if spectrum is None else spectrum.values[0].tolist()
    shown += [] if numerical is None else numerical.boundary[0].tolist()
    z = [point for point in shown if math.isfinite(abs(point))]
    left, right, top = HOME[kind]
    left = min([left, *(point.real for point in z)])
    right = max([right, *(point.real for point in z)])
    top = max([top, *(abs(point.imag) for point in z)])
    air = AIR * max(right - left, 2 * top) / 2
    return left - air, right + air, top + air


def _grid(like: Tensor, window: tuple[float, float, float], points: int) -> tuple[Tensor, Tensor]:
    """Real parts and, from 0, imaginary parts, in the dtype and on the device of the state."""
    left, right, top = map(float, window)
    if not (math.isfinite(left + right + top) and left < right and top > 0):
        raise ValueError(f"window must be left < right and top > 0, got {window}")
    options: Any = {"dtype": like.dtype, "device": like.device}
    return (
        torch.linspace(left, right, points, **options),
        torch.linspace(0.0, top, points // 2 + 1, **options),
    )


def _spectral(like: Tensor, spectrum: Spectrum | None) -> tuple[Tensor, Tensor, bool]:
    if spectrum is None:
        none = like.new_zeros(0)
        return torch.complex(none, none), none.bool(), False
    present = ~spectrum.absent[0]
    return spectrum.values[0][present], spectrum.converged[0][present], spectrum.complete


def _levels(
    operator: AbstractOperator, re: Tensor, im: Tensor, small: bool, wanted: bool
) -> tuple[Tensor, bool]:
    if not wanted:
        return operator.like.new_zeros(0, 0), False
    grid = torch.complex(*torch.broadcast_tensors(re[None, :], im[:, None]))
    values = pseudospectrum(operator, grid, "auto" if small else "projected").sigma_min[0]
    return values, not small


def _ranges(like: Tensor, numerical: NumericalRange | None) -> tuple[Tensor, Tensor]:
    if numerical is None:
        none = like.new_zeros(0)
        return torch.complex(none, none), none.bool()
    return numerical.boundary[0], numerical.converged[0]


def _graph(
    operator: AbstractOperator, numerical: NumericalRange | None, wanted: bool
) -> tuple[Tensor, bool]:
    if not wanted:
        none = operator.like.new_zeros(0)
        return torch.complex(none, none), False
    centres = None
    if numerical is not None and bool(numerical.boundary.isfinite().all()):
        # Dense where inner circles are small, beside those of all sizes that are the default.
        real = numerical.boundary[0].real
        angle = torch.linspace(-1.5, 1.5, CENTRES).to(real)
        far = torch.tan(angle) * numerical.boundary.abs().max()
        near = torch.linspace(0, 1, CENTRES).to(real) * (real.max() - real.min()) + real.min()
        centres = torch.cat([far, near]).unique()
    graph = scaled_relative_graph(operator, centres)
    return graph.boundary()[0], bool(graph.converged.all())
