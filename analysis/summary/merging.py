"""Cells merged over texts into the tables that figures draw."""

import dataclasses
import functools
from typing import Any

import numpy as np

from analysis.record import Run
from analysis.summary import full
from analysis.summary.cells import METHODS, as_complex, grouped, merged
from analysis.summary.nonnormality import (
    Density,
    Directions,
    Exponents,
    NonNormality,
    PseudospectrumBound,
    Refinement,
    SublayerGrowth,
)
from analysis.summary.steps import (
    Curves,
    LayerGrowth,
    LayerSolves,
    LayerSpectrum,
    Region,
    StabilityMap,
    TruncatedRegion,
)


@dataclasses.dataclass(frozen=True)
class Summary:
    """Everything that the figures and the report of one run draw; what a run of quick depth does
    not measure is empty.
    """

    config: dict[str, Any]
    curves: tuple[Curves, ...]
    spectra: tuple[LayerSpectrum, ...]
    growth: tuple[LayerGrowth, ...]
    regions: tuple[Region, ...]
    maps: tuple[StabilityMap, ...]
    nonnormality: tuple[NonNormality, ...] = ()
    bounds: tuple[PseudospectrumBound, ...] = ()
    densities: tuple[Density, ...] = ()
    directions: tuple[Directions, ...] = ()
    sublayers: tuple[SublayerGrowth, ...] = ()
    refinements: tuple[Refinement, ...] = ()
    exponents: tuple[Exponents, ...] = ()
    solves: tuple[LayerSolves, ...] = ()
    truncated: tuple[TruncatedRegion, ...] = ()


def summarise(run: Run) -> Summary:
    """Merge a run's cells over texts; kinds of cell that the run lacks give empty tables."""
    return Summary(
        run.config,
        _curves(run),
        _spectra(run),
        _growth(run),
        _regions(run),
        _maps(run),
        nonnormality=full.nonnormality(run),
        bounds=full.bounds(run),
        densities=full.densities(run),
        directions=full.directions(run),
        sublayers=full.sublayers(run),
        refinements=full.refinements(run),
        exponents=full.exponents(run),
        solves=_solves(run),
        truncated=_truncated(run),
    )


def _curves(run: Run) -> tuple[Curves, ...]:
    found = []
    for (kind, h), cells in grouped(
        run.of_kind("propagation"), "perturbation", "step_size"
    ).items():
        merge = functools.partial(merged, cells, axis=2)
        measured, predicted, converged = merge("measured"), merge("predicted"), merge("converged")
        for i, method in enumerate(METHODS):
            for j, size in enumerate(cells[0].arrays["sizes"]):
                found.append(
                    Curves(
                        kind,
                        method,
                        h,
                        float(size),
                        measured[i, j],
                        predicted[i, j],
                        converged[i, j].astype(bool),
                    )
                )
    return tuple(found)


def _spectra(run: Run) -> tuple[LayerSpectrum, ...]:
    dense, found = grouped(run.of_kind("dense"), "layer"), []
    for key, cells in grouped(run.of_kind("layer"), "layer").items():
        short = dense.get(key, [])
        found.append(
            LayerSpectrum(
                layer=key[0],
                leading=as_complex(merged(cells, "eigenvalues")),
                residuals=merged(cells, "eigenvalue_residuals"),
                converged=merged(cells, "eigenvalue_converged").astype(bool),
                center=float(cells[0].arrays["center"][0]),
                full=tuple(as_complex(cell.arrays["spectrum"]) for cell in short),
                full_texts=tuple(cell.header["texts"][0] for cell in short),
                outside=np.array([cell.arrays["outside"] for cell in short]),
                bulk=tuple(int(cell.arrays["bulk"][0]) for cell in short),
            )
        )
    return tuple(found)


def _growth(run: Run) -> tuple[LayerGrowth, ...]:
    found = []
    for (layer,), cells in grouped(run.of_kind("layer"), "layer").items():
        merge = functools.partial(merged, cells)
        for s, h in enumerate(run.config["step_sizes"]):
            found.append(
                LayerGrowth(
                    layer=layer,
                    step_size=h,
                    logarithmic_norm=merge("logarithmic_norm"),
                    worst={m: merge(f"{m}_worst")[:, s] for m in METHODS},
                    spectral={m: merge(f"{m}_spectral")[:, s] for m in METHODS},
                    certain={m: merge(f"{m}_certain")[:, s].astype(bool) for m in METHODS},
                    converged={
                        "eigenvalues": np.asarray(
                            merge("eigenvalue_converged").astype(bool).all(1)
                        ),
                        "logarithmic_norm": merge("logarithmic_norm_converged").astype(bool),
                        **{
                            f"{m}_worst": merge(f"{m}_worst_converged")[:, s].astype(bool)
                            for m in METHODS
                        },
                    },
                    status=merge("solve_status")[:, s],
                    residual=merge("solve_residual")[:, s],
                    evaluations=merge("solve_evaluations")[:, s],
                    advantage=merge("advantage")[:, s],
                    advantage_error=merge("advantage_error")[:, s],
                )
            )
    return tuple(found)


def _solves(run: Run) -> tuple[LayerSolves, ...]:
    found = []
    for (layer,), cells in grouped(run.of_kind("solves"), "layer").items():
        merge = functools.partial(merged, cells)
        for s, h in enumerate(run.config["step_sizes"]):
            found.append(
                LayerSolves(
                    layer=layer,
                    step_size=h,
                    tolerances=np.array(run.config["tolerances"]),
                    evaluations=merge("evaluations")[:, s],
                    converged=merge("converged")[:, s].astype(bool),
                    error=merge("error")[:, s],
                    truncated_advantage=merge("truncated_advantage")[:, s],
                )
            )
    return tuple(found)


def _regions(run: Run) -> tuple[Region, ...]:
    found = []
    for cell in run.of_kind("regions"):
        for i, (name, label, h) in enumerate(cell.header["regions"]):
            arrays = cell.arrays
            found.append(
                Region(name, label, h, arrays["re"], arrays["im"], arrays["amplification"][i])
            )
    return tuple(found)


def _truncated(run: Run) -> tuple[TruncatedRegion, ...]:
    return tuple(
        TruncatedRegion(
            label,
            np.array(run.config["map_step_sizes"]),
            cell.arrays["re"],
            cell.arrays["im"],
            values,
        )
        for cell in run.of_kind("truncated")
        for label, values in zip(cell.header["labels"], cell.arrays["amplification"], strict=True)
    )


def _maps(run: Run) -> tuple[StabilityMap, ...]:
    groups = grouped(run.of_kind("layer"), "layer")
    if not groups:
        return ()
    layers, steps = np.array([key[0] for key in groups]), np.array(run.config["map_step_sizes"])
    return tuple(
        StabilityMap(
            method,
            layers,
            steps,
            np.stack([merged(cells, f"{method}_map").T for cells in groups.values()]),
            np.stack(
                [merged(cells, f"{method}_map_certain").T.astype(bool) for cells in groups.values()]
            ),
        )
        for method in METHODS
    )
