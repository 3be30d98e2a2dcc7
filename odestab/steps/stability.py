"""Where a step is stable: regions, margins and step sizes."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from odestab.spectrum import Spectrum
from odestab.spectrum.eigen import SpectrumLike, as_spectrum
from odestab.steps.one_step import AbstractOneStepMethod, require_method
from odestab.steps.runge_kutta import RungeKutta, runge_kutta

CIRCLE_POINTS = 720
DISC_POINTS = 8  # directions in which an eigenvalue may be off

# What has a stability function R(z).
StabilityFunction: TypeAlias = AbstractOneStepMethod | RungeKutta | str | Callable[[Any], Any]


def complex_grid(
    re: Float[Tensor, " m"] | np.ndarray, im: Float[Tensor, " n"] | np.ndarray
) -> Complex[Tensor, "n m"]:
    """z = re + i·im, imaginary parts along the first axis.

    Args:
        re: real parts, a tensor or a NumPy array.
        im: imaginary parts.

    >>> od.complex_grid(torch.tensor([-1.0, 0.0]), torch.tensor([0.0, 2.0])).tolist()
    [[(-1+0j), 0j], [(-1+2j), 2j]]
    """
    re = torch.as_tensor(re)
    im = torch.as_tensor(im)
    return torch.complex(*torch.broadcast_tensors(re[None, :], im[:, None]))


def stability_function(method: StabilityFunction) -> Callable[[Tensor], Tensor]:
    """z ↦ R(z), of whatever `stability_region` takes.

    Raises:
        ValueError: if there is no method of that name.
        TypeError: if it has no stability function.

    >>> R = stability_function("rk4")
    >>> round(R(torch.tensor([-1.0 + 0j])).real.item(), 3)
    0.375
    """
    if isinstance(method, str):
        return runge_kutta(method).stability_function
    own = getattr(method, "stability_function", None)
    # A class has the function, but no step size and no θ.
    if own is not None and not isinstance(method, type):
        return own
    if not callable(method) or isinstance(method, type):
        got = method.__name__ if isinstance(method, type) else type(method).__name__
        raise TypeError(
            "method must be a one-step method, a RungeKutta, the name of one or a function R(z), "
            f"got {got}"
        )
    return lambda z: torch.as_tensor(method(z)).to(z).expand(z.shape)


def stability_region(
    method: StabilityFunction,
    re: Float[Tensor, " m"] | np.ndarray,
    im: Float[Tensor, " n"] | np.ndarray,
) -> Float[Tensor, "n m"]:
    """|R(z)| on the grid z = re + i·im; the region of stability is where it is ≤ 1.

    It is infinite at a pole and NaN where z is not finite.

    Args:
        method: a one-step method; a Runge–Kutta method, or its name as `runge_kutta` takes it; or
            any function R(z) of complex tensors.
        re: real parts, a tensor or a NumPy array.
        im: imaginary parts.

    Raises:
        ValueError: if there is no method of that name.
        TypeError: if the method is none of these.

    >>> re, im = torch.tensor([-2.0, -1.0, 0.5]).double(), torch.zeros(1).double()
    >>> od.stability_region(od.ExplicitEuler(), re, im).tolist()  # stable in |1 + z| ≤ 1
    [[1.0, 0.0, 1.5]]
    >>> od.stability_region(lambda z: 1 / (1 - z), re, im).round(decimals=3).tolist()
    [[0.333, 0.5, 2.0]]
    """
    return _amplification(stability_function(method), complex_grid(re, im))


def lemniscate(z: Complex[Tensor, "*points"]) -> Float[Tensor, "*points"]:
    """|1 − z²|: above 1 implicit Euler damps more than explicit Euler (Mathematics, section 3).

    Below 1 it damps less.

    >>> od.lemniscate(torch.tensor([-3.0, -1.0, 2j])).tolist()
    [8.0, 0.0, 5.0]
    """
    return (1 - z**2).abs()


@dataclasses.dataclass(frozen=True, eq=False)
class SpectralGrowth:
    """max |R(hλ)| over a spectrum.

    Attributes:
        value: per example, the largest over the listed eigenvalues; NaN where they are not finite.
        bound: no eigenvalue, listed or not, gives more than this; infinite where nothing is known
            about the rest.
        certain: value = bound up to rounding: the listed eigenvalues settle the maximum.
        uncertainty: by how much `value` may be off, as each eigenvalue may lie anywhere within its
            own uncertainty.

    >>> f = od.LinearVectorField(torch.diag(torch.tensor([-3.0, 0.5])).double())
    >>> spectrum = od.full_spectrum(od.Jacobian(f, torch.zeros(1, 2).double()))
    >>> growth = od.spectral_growth(od.ExplicitEuler(1.0), spectrum)
    >>> growth.value.tolist(), growth.certain.tolist(), bool(growth.uncertainty < 1e-13)
    ([2.0], [True], True)
    """

    value: Float[Tensor, " batch"]
    bound: Float[Tensor, " batch"]
    certain: Bool[Tensor, " batch"]
    uncertainty: Float[Tensor, " batch"]


def spectral_growth(method: AbstractOneStepMethod, spectrum: SpectrumLike) -> SpectralGrowth:
    """max |R(hλ)| over the spectrum, with a certificate where not all eigenvalues are listed.

    With which = "LM" the others lie in the disc |λ − center| ≤ ρ, the distance of the last one
    listed; a matrix of any kind stands for its full spectrum. |R| takes its maximum over the disc
    on its circle unless a pole lies inside. The certificate takes the listed eigenvalues as
    complete and is withheld where one did not converge.

    >>> f = od.LinearVectorField(torch.diag(torch.arange(-300.0, 0.0)).double())
    >>> listed = od.eigenvalues(od.Jacobian(f, torch.zeros(1, 300).double()), k=2)  # −300, −299
    >>> growth = od.spectral_growth(od.ExplicitEuler(1.0), listed)
    >>> round(growth.value.item(), 3), growth.certain.tolist(), round(growth.bound.item(), 3)
    (299.0, [False], 300.0)
    """
    require_method(method)
    spectrum = as_spectrum(spectrum)
    h = float(method.step_size)
    z = h * spectrum.values
    eps = torch.finfo(spectrum.residuals.dtype).eps
    listed = torch.where(spectrum.absent, -torch.inf, _amplification(method.stability_function, z))
    value = listed.amax(1)
    low, high = _amplification_within(method, z, h * spectrum.reach + 2 * eps * z.abs())
    low, high = (torch.where(spectrum.absent, -torch.inf, part).amax(1) for part in (low, high))
    # R itself is computed with some roundings, be the eigenvalues ever so exact.
    uncertainty = torch.maximum(high - value, value - low) + 4 * eps * (1 + value)
    # ∞ − ∞ is not a number.
    uncertainty = torch.where(value == torch.inf, torch.inf, uncertainty)
    rest = torch.zeros_like(value) if spectrum.complete else _largest_on_disc(method, spectrum, h)
    bound = torch.maximum(value, rest)
    converged = (spectrum.converged | spectrum.absent).all(1)
    # The last listed eigenvalue lies on the circle itself: it must not be beaten by rounding.
    certain = converged & (bound <= value * (1 + 1e-9))
    return SpectralGrowth(value, torch.where(converged, bound, torch.inf), certain, uncertainty)


@dataclasses.dataclass(frozen=True, eq=False)
class StableStepSizes:
    """Which step sizes of a list are stable for a spectrum.

    Attributes:
        step_sizes: `(steps,)`, the candidates h.
        growth: `(batch, steps)`, max |R(hλ)| over the listed eigenvalues; NaN where they are not
            finite.
        stable: growth ≤ 1, or above it by no more than its uncertainty and √eps: |R| = 1 is stable,
            and rounding does not decide.
        certain: `(batch, steps)`, the listed eigenvalues settle it, and it is not on the boundary.
            A converged growth above 1 always is settled: what is listed is unstable.
        boundary: `(batch, steps)`, growth is 1 to within its uncertainty (Mathematics, section 8):
            it may be stable or not.

    >>> f = od.LinearVectorField(-torch.eye(2).double())
    >>> spectrum = od.full_spectrum(od.Jacobian(f, torch.zeros(1, 2).double()))
    >>> h = torch.tensor([1.0, 2.0, 3.0])
    >>> sizes = od.stable_step_sizes(od.ExplicitEuler(), spectrum, h)
    >>> sizes.growth.tolist(), sizes.boundary.tolist()  # |1 − h|
    ([[0.0, 1.0, 2.0]], [[False, True, False]])
    """

    step_sizes: Float[Tensor, " steps"]
    growth: Float[Tensor, "batch steps"]
    stable: Bool[Tensor, "batch steps"]
    certain: Bool[Tensor, "batch steps"]
    boundary: Bool[Tensor, "batch steps"]

    def describe(self, example: int) -> str:
        """The stable candidates in words: "none", or runs of neighbours as intervals.

        Candidates on the boundary are named after them; "unknown" where the eigenvalues are not
        finite.
        """
        if bool(self.growth[example].isnan().all()):
            return "unknown"
        runs: list[list[float]] = []
        previous_stable = False
        for h, stable in zip(self.step_sizes.tolist(), self.stable[example].tolist(), strict=True):
            if stable and previous_stable:
                runs[-1][-1] = h
            elif stable:
                runs.append([h, h])
            previous_stable = stable
        words = (
            ", ".join(f"{low:g}" if low == high else f"{low:g} to {high:g}" for low, high in runs)
            or "none"
        )
        edge = ", ".join(
            f"{h:g}"
            for h in self.step_sizes[self.boundary[example].to(self.step_sizes.device)].tolist()
        )
        return f"{words} (on the boundary: {edge})" if edge else words


def stable_step_sizes(
    method: AbstractOneStepMethod,
    spectrum: SpectrumLike,
    steps: Float[Tensor, " steps"] | np.ndarray | Sequence[float],
) -> StableStepSizes:
    """{h : max |R(hλ)| ≤ 1} on a list of candidates (Mathematics, section 8).

    On real layers the set is often empty.

    Raises:
        ValueError: if a candidate is not positive and finite.

    >>> f = od.LinearVectorField(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]).double())  # λ = ±i
    >>> spectrum = od.full_spectrum(od.Jacobian(f, torch.zeros(1, 2).double()))
    >>> candidates = torch.tensor([0.1, 1.0])
    >>> od.stable_step_sizes(od.ExplicitEuler(), spectrum, candidates).describe(0)
    'none'
    """
    require_method(method)
    spectrum = as_spectrum(spectrum)
    steps = torch.as_tensor(steps if isinstance(steps, Tensor) else np.asarray(steps, float))
    growths = []
    for h in steps.tolist():
        of_this_step = dataclasses.replace(method, step_size=h)  # type: ignore[type-var]
        growths.append(spectral_growth(of_this_step, spectrum))
    growth, uncertainty = (
        torch.stack([getattr(g, name) for g in growths], dim=1) for name in ("value", "uncertainty")
    )
    converged = (spectrum.converged | spectrum.absent).all(1)
    settled = torch.stack(
        [g.certain | (converged & (g.value > 1)) | (g.bound <= 1) for g in growths], dim=1
    )
    boundary = growth.isfinite() & ((growth - 1).abs() <= uncertainty)
    stable = growth <= 1 + _rounding(uncertainty)
    return StableStepSizes(steps, growth, stable, settled & ~boundary, boundary)


def margin(method: AbstractOneStepMethod, spectrum: SpectrumLike) -> Float[Tensor, " batch"]:
    """1 − max |R(hλ)| over the listed eigenvalues; negative means unstable.

    `spectral_growth` says whether the list settles it.

    0 where it is less than its uncertainty and √eps, on the boundary; NaN where the eigenvalues are
    not finite.

    >>> f = od.LinearVectorField(torch.diag(torch.tensor([-3.0, -0.5])).double())
    >>> spectrum = od.full_spectrum(od.Jacobian(f, torch.zeros(1, 2).double()))
    >>> od.margin(od.ExplicitEuler(1.0), spectrum).tolist()
    [-1.0]
    >>> od.margin(od.ImplicitEuler(1.0), spectrum).round(decimals=4).tolist()
    [0.3333]
    """
    growth = spectral_growth(method, spectrum)
    value = 1 - growth.value
    return torch.where(value.abs() <= _rounding(growth.uncertainty), 0.0, value)


def share_outside_lemniscate(
    spectrum: SpectrumLike, step_size: float, bulk: float = -1.0, radius: float = 1e-3
) -> tuple[Float[Tensor, " batch"], Int[Tensor, " batch"]]:
    """The share of eigenvalues with |1 − (hλ)²| > 1, and the size of the bulk left out of it.

    There implicit Euler damps more. An eigenvalue that lies on the lemniscate to within its
    uncertainty is not outside. LayerNorm puts eigenvalues of multiplicity 2n at λ ≈ −1
    (Mathematics, section 4); they are counted apart. Where nothing is left the share is NaN.

    Args:
        spectrum: a full spectrum.
        step_size: h.
        bulk: where the bulk sits.
        radius: eigenvalues within this distance of it belong to it.

    Raises:
        ValueError: if the spectrum is not complete: a share of leading values says nothing.

    >>> f = od.LinearVectorField(torch.diag(torch.tensor([-3.0, 0.5, -1.0, -1.0])).double())
    >>> spectrum = od.full_spectrum(od.Jacobian(f, torch.zeros(1, 4).double()))
    >>> share, bulk = od.share_outside_lemniscate(spectrum, step_size=1.0)
    >>> share.tolist(), bulk.tolist()
    ([0.5], [2])
    """
    spectrum = as_spectrum(spectrum)
    if not spectrum.complete:
        raise ValueError("spectrum must be complete (full_spectrum), got leading values only")
    present = ~spectrum.values.isnan()
    in_bulk = present & ((spectrum.values - bulk).abs() <= radius)
    counted = present & ~in_bulk
    z = step_size * spectrum.values
    # |w² − z²| ≤ off (2|z| + off) for every w within off of z.
    off = step_size * spectrum.reach + 2 * torch.finfo(spectrum.residuals.dtype).eps * z.abs()
    outside = counted & (lemniscate(z) > 1 + off * (2 * z.abs() + off))
    return outside.sum(1) / counted.sum(1).to(spectrum.residuals.dtype), in_bulk.sum(1)


def _amplification(function: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """|R(z)|, infinite at the pole, NaN where z is not finite."""
    size = function(z).abs().nan_to_num(torch.inf, posinf=torch.inf)
    return torch.where(z.isfinite(), size, torch.nan)


def _amplification_within(
    method: AbstractOneStepMethod, z: Tensor, radius: Tensor
) -> tuple[Tensor, Tensor]:
    """The least and the largest |R| on discs about z, from DISC_POINTS directions and the pole."""
    # Of an unknown radius a large finite one, whose R does not overflow to NaN.
    known = radius.nan_to_num(torch.inf).clamp(max=torch.finfo(radius.dtype).max ** 0.25)
    angle = torch.arange(DISC_POINTS, dtype=radius.dtype, device=radius.device) * (
        2 * math.pi / DISC_POINTS
    )
    around = z[..., None] + known[..., None] * torch.polar(torch.ones_like(angle), angle)
    function = method.stability_function
    sizes = torch.cat(
        [_amplification(function, around), _amplification(function, z)[..., None]], -1
    )
    low = sizes.amin(-1)
    high = sizes.amax(-1)
    if method.pole is not None:
        high = torch.where((z - method.pole).abs() <= known, torch.inf, high)
    return low, torch.where(radius.isfinite(), high, torch.inf)


def _rounding(uncertainty: Tensor) -> Tensor:
    """What of an uncertainty may be called rounding: √eps at most.

    A larger one leaves a verdict uncertain and does not change it.
    """
    return uncertainty.nan_to_num(0.0).clamp(max=torch.finfo(uncertainty.dtype).eps ** 0.5)


def _largest_on_disc(
    method: AbstractOneStepMethod, spectrum: Spectrum, h: float
) -> Float[Tensor, " batch"]:
    """max |R(hλ)| over the disc of unlisted eigenvalues; infinite where unknown, or at a pole."""
    if spectrum.center is None:
        return torch.full_like(spectrum.residuals[:, 0], torch.inf)
    radius = (spectrum.values[:, -1] - spectrum.center).abs()
    # A Möbius R with real coefficients takes its extremes on the real axis, where two of these
    # points lie.
    angle = torch.linspace(
        0, 2 * math.pi, CIRCLE_POINTS + 1, dtype=radius.dtype, device=radius.device
    )
    circle = spectrum.center + radius[:, None] * torch.exp(1j * angle)
    largest = method.stability_function(h * circle).abs().amax(1)
    pole = method.pole
    if pole is None:
        return largest
    return torch.where(abs(pole / h - spectrum.center) <= radius, torch.inf, largest)
