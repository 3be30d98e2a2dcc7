"""What summary.json holds: statistics over texts, and counts of what did not converge."""

from typing import Any

import numpy as np

from analysis.summary import METHODS, Curves, LayerGrowth, LayerSpectrum, Summary, statistics


def tables(summary: Summary) -> dict[str, Any]:
    """What summary.json holds: statistics over texts of every table, and counts of what did not
    converge. No times, no paths.
    """
    return {
        "config": {
            key: summary.config.get(key)
            for key in ("model", "field", "step_sizes", "layers", "weights", "seed", "dtype")
        },
        "layers": [_layer_row(growth) for growth in summary.growth],
        "curves": [_curve_row(curves) for curves in summary.curves],
        "spectra": [_spectrum_row(spectrum) for spectrum in summary.spectra],
        "maps": [
            {
                "method": m.method,
                "step_sizes": m.step_sizes,
                "layers": m.layers,
                "growth": np.median(m.growth, axis=2),
            }
            for m in summary.maps
        ],
        "unconverged": unconverged(summary),
        **(_full_depth(summary) if summary.config.get("depth") == "full" else {}),
    }


def unconverged(summary: Summary) -> dict[str, dict[str, int]]:
    """How many values of each quantity did not converge, out of how many."""
    counts: dict[str, dict[str, int]] = {}

    def count(quantity: str, converged: np.ndarray) -> None:
        entry = counts.setdefault(quantity, {"failed": 0, "of": 0})
        entry["failed"] += int((~converged).sum())
        entry["of"] += int(converged.size)

    for spectrum in summary.spectra:
        count("eigenvalues", spectrum.converged)
    for growth in summary.growth:
        count("implicit solve of a step", growth.status == 0)
        for quantity in ("explicit_worst", "implicit_worst"):
            count(f"{quantity.split('_')[0]} worst growth", growth.converged[quantity])
        if growth.step_size == summary.config["step_sizes"][0]:
            count("logarithmic norm", growth.converged["logarithmic_norm"])
    for half in summary.sublayers:
        for method in METHODS:
            count(f"{method} worst growth of half layers", half.converged[method])
    for refinement in summary.refinements:
        for method in METHODS:
            count(f"{method} worst growth under refinement", refinement.converged[method])
    for exponents in summary.exponents:
        count("Lyapunov exponents", exponents.converged)
    for bound in summary.bounds:
        count("boundary of the numerical range", bound.converged)
    for curves in summary.curves:
        if curves.method == "implicit":
            count("implicit solve on a perturbed path", curves.converged)
    return counts


def _full_depth(summary: Summary) -> dict[str, Any]:
    """What a run of full depth adds."""
    numbers = (
        "frobenius",
        "henrici",
        "spectral_abscissa",
        "logarithmic_norm",
        "kreiss",
        "kreiss_scale",
        "kreiss_kind",
        "extremum_kind",
    )
    extremes = ("epsilons", "pseudospectral_abscissa", "pseudospectral_radius")
    return {
        "nonnormality": [
            {name: getattr(one, name) for name in ("layer", "text", *numbers, *extremes)}
            for one in summary.nonnormality
        ],
        "departure_bounds": [
            {"layer": one.layer, "relative": statistics(one.henrici_bound)}
            for one in summary.bounds
        ],
        "directions": [
            {
                "layer": one.layer,
                "step_size": one.step_size,
                "first_token_entering": {m: statistics(one.entering[m][:, 0]) for m in METHODS},
                "first_token_leaving": {m: statistics(one.leaving[m][:, 0]) for m in METHODS},
            }
            for one in summary.directions
        ],
        "sublayers": [
            {
                "layer": one.layer,
                "half": one.half,
                "step_size": one.step_size,
                "logarithmic_norm": statistics(one.logarithmic_norm),
                **{f"{m}_worst_growth": statistics(one.worst[m]) for m in METHODS},
            }
            for one in summary.sublayers
        ],
        "refinement": [
            {
                "layer": one.layer,
                "step_size": one.step_size,
                "parts": one.parts,
                "flow": statistics(one.flow),
                **{f"{m}_worst_growth": statistics(one.worst[m]) for m in METHODS},
            }
            for one in summary.refinements
        ],
        "exponents": [
            {"method": one.method, "step_size": one.step_size, "values": statistics(one.values)}
            for one in summary.exponents
        ],
    }


def _layer_row(growth: LayerGrowth) -> dict[str, Any]:
    row: dict[str, Any] = {"layer": growth.layer, "step_size": growth.step_size}
    row["logarithmic_norm"] = statistics(growth.logarithmic_norm)
    for method in METHODS:
        row[f"{method}_worst_growth"] = statistics(growth.worst[method])
        row[f"{method}_spectral_growth"] = statistics(growth.spectral[method])
        row[f"{method}_spectral_growth_settled"] = int(growth.certain[method].sum())
    row["implicit_advantage"] = statistics(growth.advantage)
    row["solve_evaluations"] = statistics(growth.evaluations)
    return row


def _curve_row(curves: Curves) -> dict[str, Any]:
    return {
        "perturbation": curves.perturbation,
        "method": curves.method,
        "step_size": curves.step_size,
        "size": curves.size,
        "measured": statistics(curves.measured),
        "predicted": statistics(curves.predicted),
    }


def _spectrum_row(spectrum: LayerSpectrum) -> dict[str, Any]:
    return {
        "layer": spectrum.layer,
        "farthest_from_center": statistics(np.abs(spectrum.leading - spectrum.center)[:, 0]),
        "spectral_abscissa": statistics(spectrum.leading.real.max(axis=1)),
        "center": spectrum.center,
        "full_texts": list(spectrum.full_texts),
        "share_outside_lemniscate": spectrum.outside,
        "bulk": list(spectrum.bulk),
    }
