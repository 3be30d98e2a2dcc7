"""Tables that figures draw: cells merged over texts, and the statistics written to summary.json."""

import dataclasses
import functools
from typing import Any

import numpy as np

from analysis.record import Cell, Run

METHODS = ("explicit", "implicit")  # explicit Euler and implicit Euler, the order of every methods axis


@dataclasses.dataclass(frozen=True)
class Curves:
    """Growth of one kind of perturbation through depth.

    Attributes:
        perturbation: "gaussian", "worst", or the kind of an edit ("typo", "synonym", "negation", "edit").
        method: "explicit" or "implicit": every layer is one step of it.
        step_size: h.
        size: ‖δ_0‖/‖x_0‖ of a synthetic perturbation; NaN for edits, whose size is what the edit makes it.
        measured: ‖x̃_l − x_l‖/‖x̃_0 − x_0‖, `(examples, layers + 1)`.
        predicted: the same from the product of step derivatives.
        converged: `(examples, layers)`, the implicit solves on both paths and the linear solve converged (True for explicit).
    """

    perturbation: str
    method: str
    step_size: float
    size: float
    measured: np.ndarray
    predicted: np.ndarray
    converged: np.ndarray


@dataclasses.dataclass(frozen=True)
class LayerSpectrum:
    """Eigenvalues λ of a layer's Jacobian J.

    Attributes:
        layer: index from 0.
        leading: `(examples, k)` complex, the eigenvalues farthest from `center`.
        residuals: `(examples, k)`.
        converged: `(examples, k)`.
        center: all other eigenvalues of example b lie in the disc |λ − center| ≤ |leading[b, −1] − center|.
        full: for each short text (4 tokens or so) all its eigenvalues, complex, 1-d.
        full_texts: the indices of those texts.
        outside: `(short texts, step sizes)`, share of the full spectrum outside the lemniscate |1 − (hλ)²| = 1,
            its bulk at λ ≈ −1 excluded.
        bulk: per short text how many eigenvalues are within 1e-3 of −1.
    """

    layer: int
    leading: np.ndarray
    residuals: np.ndarray
    converged: np.ndarray
    center: float
    full: tuple[np.ndarray, ...]
    full_texts: tuple[int, ...]
    outside: np.ndarray
    bulk: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class LayerGrowth:
    """One step of one layer at one step size, per example.

    Attributes:
        layer: index from 0.
        step_size: h.
        logarithmic_norm: μ₂(J), `(examples,)`.
        worst: method → largest singular value of the step's derivative, `(examples,)`.
        spectral: method → max |R(hλ)|, `(examples,)`.
        certain: method → True where the listed eigenvalues settle the maximum, else it is a lower bound.
        converged: quantity ("logarithmic_norm", "explicit_worst", "implicit_worst", "eigenvalues") → `(examples,)`.
        status: of the implicit solve, an integer per example; names in the run's config under "status_names".
        residual: RMS(y − x − hf(y)) where the solve stopped.
        evaluations: of f by the solve.
        advantage: mean of log(‖Eδ‖/‖M⁻¹δ‖) over random δ; positive where the implicit step damps more.
        advantage_error: its standard error.
    """

    layer: int
    step_size: float
    logarithmic_norm: np.ndarray
    worst: dict[str, np.ndarray]
    spectral: dict[str, np.ndarray]
    certain: dict[str, np.ndarray]
    converged: dict[str, np.ndarray]
    status: np.ndarray
    residual: np.ndarray
    evaluations: np.ndarray
    advantage: np.ndarray
    advantage_error: np.ndarray


@dataclasses.dataclass(frozen=True)
class Region:
    """|R(z)| on a grid of z = hλ.

    Attributes:
        name: "explicit", "implicit", "truncated" (a solver stopped after k iterations) or "lemniscate" (|1 − z²|, level 1 is the curve).
        label: what it is, for a legend.
        step_size: h; the region of a truncated solver depends on it.
        re: `(m,)`.
        im: `(n,)`.
        amplification: `(n, m)`.
    """

    name: str
    label: str
    step_size: float
    re: np.ndarray
    im: np.ndarray
    amplification: np.ndarray


@dataclasses.dataclass(frozen=True)
class StabilityMap:
    """Spectral growth max |R(hλ)| over layer × step size.

    Attributes:
        method: "explicit" or "implicit".
        layers: `(layers,)` indices.
        step_sizes: `(steps,)`.
        growth: `(layers, steps, examples)`.
        certain: the same shape; False where the value is a lower bound.
    """

    method: str
    layers: np.ndarray
    step_sizes: np.ndarray
    growth: np.ndarray
    certain: np.ndarray


@dataclasses.dataclass(frozen=True)
class Summary:
    """Everything that the figures and the report of one run draw."""

    config: dict[str, Any]
    curves: tuple[Curves, ...]
    spectra: tuple[LayerSpectrum, ...]
    growth: tuple[LayerGrowth, ...]
    regions: tuple[Region, ...]
    maps: tuple[StabilityMap, ...]


def summarise(run: Run) -> Summary:
    """Merge a run's cells over texts; kinds of cell that the run lacks give empty tables."""
    return Summary(run.config, _curves(run), _spectra(run), _growth(run), _regions(run), _maps(run))


def statistics(values: np.ndarray) -> dict[str, Any]:
    """Median and 10th and 90th percentile over the first axis, NaN left out; None where nothing is left."""
    values = np.asarray(values, dtype=float)
    columns = values.reshape(len(values), -1).T
    finite = [column[np.isfinite(column)] for column in columns]

    def over_columns(q: float) -> Any:
        found = [float(np.quantile(column, q)) if len(column) else None for column in finite]
        return found if values.ndim > 1 else found[0]

    return {"median": over_columns(0.5), "p10": over_columns(0.1), "p90": over_columns(0.9), "examples": len(values)}


def as_complex(pairs: np.ndarray) -> np.ndarray:
    """A trailing axis (real, imaginary) → complex numbers."""
    return np.asarray(pairs[..., 0] + 1j * pairs[..., 1])


def _merged(cells: list[Cell], name: str, axis: int = 0) -> np.ndarray:
    return np.concatenate([cell.arrays[name] for cell in cells], axis=axis)


def _by(cells: list[Cell], *keys: str) -> dict[tuple[Any, ...], list[Cell]]:
    """Cells grouped by header entries, groups in order of their keys, texts in order within a group."""
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in sorted(cells, key=lambda c: (*(c.header[key] for key in keys), c.header["texts"])):
        groups.setdefault(tuple(cell.header[key] for key in keys), []).append(cell)
    return groups


def _curves(run: Run) -> tuple[Curves, ...]:
    found = []
    for (kind, h), cells in _by(run.of_kind("propagation"), "perturbation", "step_size").items():
        merge = functools.partial(_merged, cells, axis=2)
        measured, predicted, converged = merge("measured"), merge("predicted"), merge("converged")
        for i, method in enumerate(METHODS):
            for j, size in enumerate(cells[0].arrays["sizes"]):
                found.append(Curves(kind, method, h, float(size), measured[i, j], predicted[i, j], converged[i, j].astype(bool)))
    return tuple(found)


def _spectra(run: Run) -> tuple[LayerSpectrum, ...]:
    dense, found = _by(run.of_kind("dense"), "layer"), []
    for key, cells in _by(run.of_kind("layer"), "layer").items():
        short = dense.get(key, [])
        found.append(
            LayerSpectrum(
                layer=key[0],
                leading=as_complex(_merged(cells, "eigenvalues")),
                residuals=_merged(cells, "eigenvalue_residuals"),
                converged=_merged(cells, "eigenvalue_converged").astype(bool),
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
    for (layer,), cells in _by(run.of_kind("layer"), "layer").items():
        merge = functools.partial(_merged, cells)
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
                        "eigenvalues": np.asarray(merge("eigenvalue_converged").astype(bool).all(1)),
                        "logarithmic_norm": merge("logarithmic_norm_converged").astype(bool),
                        **{f"{m}_worst": merge(f"{m}_worst_converged")[:, s].astype(bool) for m in METHODS},
                    },
                    status=merge("solve_status")[:, s],
                    residual=merge("solve_residual")[:, s],
                    evaluations=merge("solve_evaluations")[:, s],
                    advantage=merge("advantage")[:, s],
                    advantage_error=merge("advantage_error")[:, s],
                )
            )
    return tuple(found)


def _regions(run: Run) -> tuple[Region, ...]:
    found = []
    for cell in run.of_kind("regions"):
        for i, (name, label, h) in enumerate(cell.header["regions"]):
            arrays = cell.arrays
            found.append(Region(name, label, h, arrays["re"], arrays["im"], arrays["amplification"][i]))
    return tuple(found)


def _maps(run: Run) -> tuple[StabilityMap, ...]:
    groups = _by(run.of_kind("layer"), "layer")
    if not groups:
        return ()
    layers, steps = np.array([key[0] for key in groups]), np.array(run.config["map_step_sizes"])
    return tuple(
        StabilityMap(
            method,
            layers,
            steps,
            np.stack([_merged(cells, f"{method}_map").T for cells in groups.values()]),
            np.stack([_merged(cells, f"{method}_map_certain").T.astype(bool) for cells in groups.values()]),
        )
        for method in METHODS
    )
