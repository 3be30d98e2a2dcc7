"""One row for each layer: the medians over texts that findings and the report's table are made
of.
"""

import dataclasses

import numpy as np
import xarray as xr

from analysis.quantities import METHODS
from analysis.run import Measurements
from figures import selection

LEAST_TOLD = 1.005  # growth that three digits tell from 1


@dataclasses.dataclass(frozen=True)
class LayerRow:
    """One layer at one step size, medians over texts; NaN where nothing was measured.

    Attributes:
        layer: index from 0.
        step_size: h.
        logarithmic_norm: μ₂(J).
        norm_settled: whether μ₂ converged and is finite for every text.
        worst: by method, largest singular value of the step's derivative.
        spectral: by method, max |R(hλ)|.
        settled: whether worst and spectral growth of both methods converged and are finite, and the
            maxima are certain, for every text.
        lower_bound: by method, whether the spectral growth of most texts is only a lower bound.
        verdict: by method, "stable", "unstable" or "unsettled" at h for most texts.
        stable_steps: by method, the step sizes of the map's grid that are stable for most texts;
            None without a map.
        unsettled_steps: by method, those where lower bounds, or growth that is 1 to within its
            uncertainty, leave it open.
        boundary_steps: by method, those on the boundary for some text; none where that was not
            stored.
        advantage: mean over texts of the implicit advantage.
        advantage_error: its standard error.
        advantage_known: whether the advantage of every text is finite.
        outside: share of the full spectrum outside the lemniscate, mean over short texts; NaN
            without full spectra.
        evaluations: of f by the implicit solve.
    """

    layer: int
    step_size: float
    logarithmic_norm: float
    norm_settled: bool
    worst: dict[str, float]
    spectral: dict[str, float]
    settled: bool
    lower_bound: dict[str, bool]
    verdict: dict[str, str]
    stable_steps: dict[str, list[float] | None]
    unsettled_steps: dict[str, list[float]]
    boundary_steps: dict[str, list[float]]
    advantage: float
    advantage_error: float
    advantage_known: bool
    outside: float
    evaluations: float

    def damps_more(self) -> str:
        """Which step damps random perturbations more: "implicit", "explicit", or "undecided" within
        two standard errors, without one, or where some text's advantage is not known.
        """
        # Written so that NaN decides nothing.
        if self.advantage_known and abs(self.advantage) > 2 * self.advantage_error:
            return "implicit" if self.advantage > 0 else "explicit"
        return "undecided"

    def norm_below_one(self) -> bool | None:
        """Whether hμ₂ < 1 for the median text; None where some text leaves it open. What did not
        converge is a lower bound of μ₂: it can violate the condition and not meet it.
        """
        if self.step_size * self.logarithmic_norm >= 1:
            return False
        return True if self.norm_settled else None


def layer_rows(run: Measurements, step_size: float | None = None) -> list[LayerRow]:
    """One row per layer at one step size, by default the report's.

    Raises:
        ValueError: if the step size was not measured.
    """
    h = selection.of_run(run, step_size)
    _, growth = selection.at(run, "growth", h)
    return [_row(run, growth.sel(layer=layer), h) for layer in selection.layers_of(growth)]


def growth_of_the_equation(run: Measurements, layer: int, h: float) -> float:
    """e^(h max Re λ): by how much dx/dt = Jx, the equation linearised at the states, amplifies over
    h, median over texts; NaN where no eigenvalue is known. Of the leading eigenvalues converged
    ones count alone, and others may lie farther right: it is a lower bound.

    Above 1 every accurate step must amplify too, and |1 + hλ| > 1 for every h > 0.
    """
    spectrum = run["spectrum"]
    if layer not in selection.layers_of(spectrum):
        return float("nan")
    at_layer = spectrum.sel(layer=layer)
    known = np.real(at_layer["eigenvalue"]).where(at_layer["eigenvalue_converged"])
    return selection.median(np.exp(h * known.max("rank")))


def verdict(growth: np.ndarray, certain: np.ndarray) -> str:
    """Whether a step is "stable" (max |R(hλ)| ≤ 1) for most texts, "unstable", or "unsettled" as a
    lower bound ≤ 1 proves nothing.
    """
    if np.mean(certain & (growth <= 1 + selection.ROUNDING)) > 0.5:
        return "stable"
    return "unstable" if np.mean(growth > 1 + selection.ROUNDING) >= 0.5 else "unsettled"


def _row(run: Measurements, at_layer: xr.Dataset, h: float) -> LayerRow:
    mean, error = _mean(at_layer["advantage"].values, at_layer["advantage_error"].values)
    spectral, certain = at_layer["spectral_growth"], at_layer["spectral_growth_certain"]
    settled = at_layer["worst_growth_converged"] & certain
    finite = np.isfinite(at_layer["worst_growth"]) & np.isfinite(spectral)
    norm = at_layer["logarithmic_norm"]
    layer = int(at_layer["layer"])
    steps = _steps(run["stability_map"], layer)
    by_method = {method: at_layer.sel(scheme=method) for method in METHODS}
    return LayerRow(
        layer=layer,
        step_size=h,
        logarithmic_norm=selection.median(norm),
        norm_settled=bool((at_layer["logarithmic_norm_converged"] & np.isfinite(norm)).all()),
        worst={m: selection.median(each["worst_growth"]) for m, each in by_method.items()},
        spectral={m: selection.median(each["spectral_growth"]) for m, each in by_method.items()},
        settled=bool((settled & finite).all()),
        lower_bound={m: bool((~certain.sel(scheme=m)).mean() > 0.5) for m in METHODS},
        verdict={
            m: verdict(spectral.sel(scheme=m).values, certain.sel(scheme=m).values) for m in METHODS
        },
        stable_steps={m: steps[m]["stable"] if steps else None for m in METHODS},
        unsettled_steps={m: steps[m]["unsettled"] if steps else [] for m in METHODS},
        boundary_steps={m: steps[m]["boundary"] if steps else [] for m in METHODS},
        advantage=mean,
        advantage_error=error,
        advantage_known=bool(np.isfinite(at_layer["advantage"]).all()),
        outside=_outside(run["dense"], layer, h),
        evaluations=selection.median(at_layer["solve_evaluations"]),
    )


def _mean(values: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """Mean over texts and its standard error; of a single text the error over its random
    perturbations.
    """
    finite = np.isfinite(values)
    kept = values[finite]
    if len(kept) < 2:
        return (
            (float(kept[0]), float(errors[finite][0]))
            if len(kept)
            else (float("nan"), float("nan"))
        )
    return float(kept.mean()), float(kept.std(ddof=1) / np.sqrt(len(kept)))


def _steps(found: xr.Dataset, layer: int) -> dict[str, dict[str, list[float]]]:
    """By method and verdict the step sizes of the map's grid; empty where it has no such layer."""
    if layer not in selection.layers_of(found):
        return {}
    at_layer = found.sel(layer=layer).transpose("map_step_size", "text", "scheme")
    steps: dict[str, dict[str, list[float]]] = {}
    for method in METHODS:
        of_method = at_layer.sel(scheme=method)
        verdicts = [
            verdict(growth, certain)
            for growth, certain in zip(
                of_method["map_growth"].values, of_method["map_certain"].values, strict=True
            )
        ]
        grid = of_method["map_step_size"].values.tolist()
        steps[method] = {
            name: [h for h, verdict in zip(grid, verdicts, strict=True) if verdict == name]
            for name in ("stable", "unsettled")
        }
        boundary = of_method.get("map_boundary")
        on_it = [False] * len(grid) if boundary is None else boundary.any("text").values.tolist()
        steps[method]["boundary"] = [h for h, is_on in zip(grid, on_it, strict=True) if is_on]
    return steps


def _outside(dense: xr.Dataset, layer: int, h: float) -> float:
    if layer not in selection.layers_of(dense):
        return float("nan")
    share = dense["share_outside_lemniscate"].sel(layer=layer)
    column = np.flatnonzero(np.isclose(share["step_size"].values, h))
    if not len(column):
        return float("nan")
    share = share.isel(step_size=column[0])
    return float(share.where(np.isfinite(share)).mean("text"))
