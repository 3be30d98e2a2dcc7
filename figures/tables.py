"""The numbers of the report: one row per layer and step size, and everything that did not
converge.
"""

import dataclasses
from typing import Any

import numpy as np

from analysis.summary import METHODS, Curves, LayerGrowth, StabilityMap, Summary
from figures import propagation, selection
from figures.shortfalls import Shortfall, of_full_depth

QUANTITIES = {
    "eigenvalues": "leading eigenvalues",
    "logarithmic_norm": "logarithmic norm μ₂",
    "explicit_worst": "worst growth, explicit",
    "implicit_worst": "worst growth, implicit",
}
OF_LAYER = ("eigenvalues", "logarithmic_norm")  # the same at every step size


@dataclasses.dataclass(frozen=True)
class LayerRow:
    """One layer at one step size, medians over texts; NaN where nothing was measured.

    Attributes:
        layer: index from 0.
        step_size: h.
        logarithmic_norm: μ₂(J).
        worst: by method, largest singular value of the step's derivative.
        spectral: by method, max |R(hλ)|.
        settled: whether worst and spectral growth of both methods converged, and the maxima are
            certain, for every text.
        lower_bound: by method, whether the spectral growth of most texts is only a lower bound.
        verdict: by method, "stable", "unstable" or "unsettled" at h for most texts.
        stable_steps: by method, the step sizes of the map's grid that are stable for most texts;
            None without a map.
        unsettled_steps: by method, those where lower bounds leave it open.
        advantage: mean over texts of the implicit advantage.
        advantage_error: its standard error.
        outside: share of the full spectrum outside the lemniscate, mean over short texts; NaN
            without full spectra.
        evaluations: of f by the implicit solve.
    """

    layer: int
    step_size: float
    logarithmic_norm: float
    worst: dict[str, float]
    spectral: dict[str, float]
    settled: bool
    lower_bound: dict[str, bool]
    verdict: dict[str, str]
    stable_steps: dict[str, list[float] | None]
    unsettled_steps: dict[str, list[float]]
    advantage: float
    advantage_error: float
    outside: float
    evaluations: float

    def damps_more(self) -> str:
        """Which step damps random perturbations more: "implicit", "explicit", or "undecided" within
        two standard errors.
        """
        if not np.isfinite(self.advantage) or abs(self.advantage) <= 2 * np.nan_to_num(
            self.advantage_error
        ):
            return "undecided"
        return "implicit" if self.advantage > 0 else "explicit"


def tables(summary: Summary) -> dict[str, Any]:
    """What the report tabulates: "layers" (step size → rows in order of depth) and "shortfalls"."""
    steps = sorted({one.step_size for one in summary.growth})
    return {"layers": {h: layer_rows(summary, h) for h in steps}, "shortfalls": shortfalls(summary)}


def layer_rows(summary: Summary, step_size: float | None = None) -> list[LayerRow]:
    """One row per layer at one step size, by default the report's."""
    h, layers = selection.growth_at(summary, step_size)
    return [_row(summary, one, h) for one in layers]


def verdict(growth: np.ndarray, certain: np.ndarray) -> str:
    """Whether a step is "stable" (max |R(hλ)| ≤ 1) for most texts, "unstable", or "unsettled" as a
    lower bound ≤ 1 proves nothing.
    """
    if np.mean(certain & (growth <= 1 + selection.ROUNDING)) > 0.5:
        return "stable"
    return "unstable" if np.mean(growth > 1 + selection.ROUNDING) >= 0.5 else "unsettled"


def shortfalls(summary: Summary) -> list[Shortfall]:
    """Everything that did not converge, is a lower bound, or is not a finite number; empty if there
    is nothing of the kind.
    """
    found = [
        one
        for growth in sorted(summary.growth, key=lambda g: (g.layer, g.step_size))
        for one in _of_growth(summary, growth)
    ]
    found += [_of_curves(one) for one in summary.curves] + [
        one for each in summary.maps for one in _of_map(each)
    ]
    found += of_full_depth(summary)
    return [one for one in dict.fromkeys(found) if one.count]


def status_name(summary: Summary, status: int) -> str:
    """The name of a solver's status; 0 is always convergence."""
    names = summary.config.get("status_names") or ["CONVERGED"]
    return str(names[status]) if 0 <= status < len(names) else f"status {status}"


def _row(summary: Summary, one: LayerGrowth, h: float) -> LayerRow:
    mean, error = _mean(one.advantage, one.advantage_error)
    maps = {each.method: each for each in summary.maps}
    steps = {method: _steps(maps.get(method), one.layer) for method in METHODS}
    return LayerRow(
        layer=one.layer,
        step_size=h,
        logarithmic_norm=selection.median(one.logarithmic_norm),
        worst={method: selection.median(one.worst[method]) for method in METHODS},
        spectral={method: selection.median(one.spectral[method]) for method in METHODS},
        settled=all(
            bool(np.all(one.converged[f"{method}_worst"]) and np.all(one.certain[method]))
            for method in METHODS
        ),
        lower_bound={method: bool(np.mean(~one.certain[method]) > 0.5) for method in METHODS},
        verdict={method: verdict(one.spectral[method], one.certain[method]) for method in METHODS},
        stable_steps={method: steps[method][0] for method in METHODS},
        unsettled_steps={method: steps[method][1] for method in METHODS},
        advantage=mean,
        advantage_error=error,
        outside=_outside(summary, one.layer, h),
        evaluations=selection.median(one.evaluations),
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


def _steps(one: StabilityMap | None, layer: int) -> tuple[list[float] | None, list[float]]:
    if one is None or layer not in one.layers:
        return None, []
    row = int(np.flatnonzero(one.layers == layer)[0])
    verdicts = [
        verdict(growth, certain)
        for growth, certain in zip(one.growth[row], one.certain[row], strict=True)
    ]
    by = {
        name: [float(h) for h, found in zip(one.step_sizes, verdicts, strict=True) if found == name]
        for name in ("stable", "unsettled")
    }
    return by["stable"], by["unsettled"]


def _outside(summary: Summary, layer: int, h: float) -> float:
    column = [i for i, step in enumerate(summary.config["step_sizes"]) if np.isclose(step, h)]
    spectra = [
        one for one in summary.spectra if one.layer == layer and one.full and one.outside.size
    ]
    if not column or not spectra:
        return float("nan")
    shares = spectra[0].outside[:, column[0]]
    return float(shares[np.isfinite(shares)].mean()) if np.isfinite(shares).any() else float("nan")


def _of_growth(summary: Summary, one: LayerGrowth) -> list[Shortfall]:
    where, total = f"layer {one.layer}", len(one.logarithmic_norm)

    def shortfall(
        quantity: str,
        failed: np.ndarray,
        fault: str = "not converged",
        h: float | None = one.step_size,
    ) -> Shortfall:
        return Shortfall(quantity, where, h, int(failed.sum()), total, fault)

    found = [
        shortfall(QUANTITIES.get(name, name), ~flags, h=None if name in OF_LAYER else one.step_size)
        for name, flags in one.converged.items()
    ]
    for status in sorted({int(value) for value in one.status} - {0}):
        found.append(
            shortfall("implicit solve", one.status == status, status_name(summary, status))
        )
    for method in METHODS:
        found.append(
            shortfall(f"spectral growth, {method}", ~one.certain[method], "only a lower bound")
        )
        found.append(
            shortfall(
                f"spectral growth, {method}", ~np.isfinite(one.spectral[method]), "not finite"
            )
        )
        found.append(
            shortfall(f"worst growth, {method}", ~np.isfinite(one.worst[method]), "not finite")
        )
    found.append(shortfall("implicit advantage", ~np.isfinite(one.advantage), "not finite"))
    found.append(
        shortfall(
            QUANTITIES["logarithmic_norm"], ~np.isfinite(one.logarithmic_norm), "not finite", None
        )
    )
    return found


def _of_curves(one: Curves) -> Shortfall:
    size = f", size {one.size:g}" if np.isfinite(one.size) else ""
    where = f"{one.perturbation}{size}"
    return Shortfall(
        f"propagation, {one.method}",
        where,
        one.step_size,
        propagation.failures(one),
        len(one.measured),
        "not converged",
    )


def _of_map(one: StabilityMap) -> list[Shortfall]:
    return [
        Shortfall(
            f"stability map, {one.method}",
            f"layer {layer}, all steps",
            None,
            int((~certain).sum()),
            certain.size,
            "only a lower bound",
        )
        for layer, certain in zip(one.layers, one.certain, strict=True)
    ]
