"""Made-up cells that look like those of a small encoder, for tests and for looking at the figures:
what a quantity makes of them is what it makes of measured ones.
"""

import ast
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from analysis.quantities import METHODS
from analysis.record import Cell, Run
from analysis.run import Measurements, measurements

STEPS = [0.25, 0.5, 1.0]
MAP_STEPS = [float(h) for h in np.geomspace(0.05, 4, 20).round(4)]
WORST = (
    4.5,
    13.0,
    15.2,
    17.8,
    14.3,
    6.0,
)  # ‖I + J‖ of all-MiniLM-L6-v2, medians over eight sentences
LOGARITHMIC_NORMS = (1.6, 5.9, 6.8, 8.0, 6.6, 2.5)
RADII = (1.65, 1.58, 1.78, 1.81, 1.40, 1.59)
KINDS = {"gaussian": 16, "worst": 16, "typo": 12, "synonym": 10, "negation": 6, "edit": 5}


Arrays = dict[str, np.ndarray]


def remembered(make: Callable[..., Run]) -> Callable[..., Measurements]:
    """What was measured in a made-up run, made once for equal choices."""

    @functools.cache
    def of_choices(choices: str) -> Measurements:
        return measurements(make(**ast.literal_eval(choices)))

    return lambda **choices: of_choices(repr(choices))


def run(
    layers: int = 6,
    texts: int = 8,
    seed: int = 0,
    steps: list[float] | None = None,
    map_steps: list[float] | None = None,
    kinds: dict[str, int] | None = None,
    dense: bool = True,
    converged: bool = True,
    stable: bool = False,
    implicit_wins: bool = True,
) -> Run:
    """The cells: `stable` puts all eigenvalues where both steps damp, `implicit_wins` decides whose
    growth is smaller.
    """
    rng = np.random.default_rng(seed)
    steps, map_steps = steps or STEPS, map_steps or MAP_STEPS
    cells = []
    for layer in range(layers):
        leading, sure = _leading(rng, layer, texts, converged, stable)
        arrays = {
            "eigenvalues": pairs(leading),
            "eigenvalue_residuals": np.where(sure, 1e-8, 1e-3),
            "eigenvalue_converged": sure,
            "center": np.array([-1.0]),
            **_map(leading, np.array(map_steps), converged),
            **_growth(rng, layer, leading, steps, converged, stable, implicit_wins),
        }
        cells.append(cell("layer", arrays, list(range(texts)), layer=layer))
        for text in range(2 if dense else 0):
            spectrum = np.concatenate(
                [_conjugate_pairs(rng, 600, _radius(layer, stable), 1.5), -np.ones(8)]
            )
            cells.append(dense_cell(spectrum, layer, text, steps))
    cells += _propagation(
        rng, KINDS if kinds is None else kinds, layers, steps, converged, implicit_wins
    )
    cells += [_regions(h) for h in steps]
    cells += _secants(KINDS if kinds is None else kinds, layers, steps, converged)
    cells += [_relative_graph(layer, texts // 2, steps, converged) for layer in range(layers)]
    return Run(_config(layers, texts, steps, map_steps), tuple(cells))


summary = remembered(run)


def empty() -> Measurements:
    """A run that has measured nothing yet."""
    config = {"model": "m", "field": "outer", "step_sizes": [1.0], "map_step_sizes": [0.5, 1.0]}
    return measurements(Run(config, ()))


def with_config(original: Measurements, **entries: Any) -> Measurements:
    """The same measurements under another configuration."""
    return dataclasses.replace(original, config={**original.config, **entries})


def with_dataset(original: Measurements, quantity: str, dataset: xr.Dataset) -> Measurements:
    """The same with another dataset for one quantity."""
    return dataclasses.replace(original, datasets={**original.datasets, quantity: dataset})


def changed(
    original: Measurements, quantity: str, **variables: Callable[[xr.DataArray], Any]
) -> Measurements:
    """Variables of a quantity replaced by what a function makes of each, broadcast to its dims."""
    dataset = original[quantity]
    made = {}
    for name, make in variables.items():
        before = dataset[name]
        after = make(before)
        if not isinstance(after, xr.DataArray):
            after = before.copy(data=np.broadcast_to(after, before.shape).copy())
        dtype = np.result_type(before.dtype, after.dtype)
        made[name] = after.broadcast_like(before).transpose(*before.dims).astype(dtype)
    return with_dataset(original, quantity, dataset.assign(made))


def by_layer(dataset: xr.Dataset, make: Callable[[int], float]) -> xr.DataArray:
    """A number for each layer."""
    layers = dataset["layer"].values.tolist()
    return xr.DataArray([float(make(layer)) for layer in layers], {"layer": layers}, "layer")


def by_method(explicit: float, implicit: float) -> xr.DataArray:
    """A number for each method."""
    return xr.DataArray([explicit, implicit], {"scheme": list(METHODS)}, "scheme")


def not_a_number(original: Measurements) -> Measurements:
    """Every real and complex measurement replaced by NaN."""
    datasets = {
        name: dataset.map(
            lambda values: xr.full_like(values, np.nan) if values.dtype.kind in "fc" else values
        )
        for name, dataset in original.datasets.items()
    }
    return dataclasses.replace(original, datasets=datasets)


def cell(kind: str, arrays: Arrays, texts: list[int], **header: Any) -> Cell:
    """A cell of some texts."""
    name = "-".join(map(str, (kind, *header.values(), *texts[:1])))
    return Cell(name, {"kind": kind, "texts": texts, **header}, arrays)


def pairs(values: np.ndarray) -> np.ndarray:
    """Complex numbers as cells hold them."""
    return np.stack([values.real, values.imag], axis=-1)


def dense_cell(spectrum: np.ndarray, layer: int, text: int, steps: list[float]) -> Cell:
    """All eigenvalues of a short text."""
    spread = spectrum[np.abs(spectrum + 1) > 1e-3]
    arrays = {
        "spectrum": pairs(spectrum),
        "spectrum_residuals": np.full(len(spectrum), 1e-12),
        "outside": np.array([np.mean(np.abs(1 - (h * spread) ** 2) > 1) for h in steps]),
        "bulk": np.array([len(spectrum) - len(spread)]),
    }
    return cell("dense", arrays, [text], layer=layer)


def _config(layers: int, texts: int, steps: list[float], map_steps: list[float]) -> dict[str, Any]:
    return {
        "model": "sentence-transformers/all-MiniLM-L6-v2",
        "field": "increment",
        "step_sizes": steps,
        "map_step_sizes": map_steps,
        "layers": list(range(layers)),
        "texts": [f"Sentence number {i} says little, but says it politely." for i in range(texts)],
        "tokens": [12 + i for i in range(texts)],
        "pairs": [
            ["typo", "A good film.", "A godo film."],
            ["negation", "It works.", "It does not work."],
        ],
        "skipped_pairs": [[1, "3 tokens against 5"]],
        "warnings": [],
        "status_names": ["CONVERGED", "MAX_ITERATIONS", "DIVERGED", "STALLED"],
        "versions": {"torch": "2.13.0", "numpy": "2.3.0"},
        "seed": 0,
        "dtype": "float64",
        "device": "cpu",
    }


def _conjugate_pairs(
    rng: np.random.Generator, count: int, radius: float, spread: float
) -> np.ndarray:
    """Eigenvalues of J = ∂F − I in a disc about −1, in conjugate pairs."""
    half = count // 2
    z = radius * rng.random(half) ** spread * np.exp(1j * np.pi * rng.beta(1.0, 1.6, half))
    return -1 + np.concatenate([z, z.conj(), np.zeros(count - 2 * half)])


def _radius(layer: int, stable: bool) -> float:
    return 0.9 if stable else RADII[layer % len(RADII)]


def _leading(
    rng: np.random.Generator, layer: int, texts: int, converged: bool, stable: bool
) -> tuple[np.ndarray, np.ndarray]:
    radius = _radius(layer, stable)
    leading = np.stack(
        [_conjugate_pairs(rng, 8, radius * rng.uniform(0.9, 1.05), 0.25) for _ in range(texts)]
    )
    # One real eigenvalue leads, as in trained layers.
    leading[:, 0] = -1 + radius * rng.uniform(0.95, 1.1, texts)
    leading[:, 4] = -1 + radius * rng.uniform(0.7, 0.9, texts)
    leading = np.take_along_axis(leading, np.argsort(-np.abs(leading + 1), axis=1), axis=1)
    sure = np.ones(leading.shape, dtype=bool)
    if not converged:
        sure[: max(texts // 4, 1), -2:] = False
    return leading, sure


def _spectral(leading: np.ndarray, h: float) -> Arrays:
    z = h * np.concatenate([leading, np.full((len(leading), 1), -1.0)], axis=1)
    return {"explicit": np.abs(1 + z).max(1), "implicit": (1 / np.abs(1 - z)).max(1)}


def _map(leading: np.ndarray, steps: np.ndarray, converged: bool) -> Arrays:
    arrays = {}
    for method in METHODS:
        growth = np.stack([_spectral(leading, h)[method] for h in steps], axis=1)
        certain = np.ones(growth.shape, dtype=bool)
        if not converged and method == "implicit":
            certain[:, steps > 2] = False
        arrays[f"{method}_map"] = growth
        arrays[f"{method}_map_certain"] = certain
        arrays[f"{method}_map_boundary"] = np.zeros(growth.shape, dtype=bool)
    return arrays


def _growth(
    rng: np.random.Generator,
    layer: int,
    leading: np.ndarray,
    steps: list[float],
    converged: bool,
    stable: bool,
    implicit_wins: bool,
) -> Arrays:
    texts = len(leading)
    norm = (0.05 if stable else 1.0) * LOGARITHMIC_NORMS[layer % 6] * rng.lognormal(0, 0.08, texts)
    flags = np.ones(texts, dtype=bool)
    late = flags.copy()
    late[0] = converged or layer not in (2, 3)
    factor = (0.55 if implicit_wins else 1.7) * (1.9 if layer == 2 else 1.0)
    sign, towards = 1 if implicit_wins else -1, 0.25 if layer != 4 else -0.12
    records = []
    for h in steps:
        explicit = (1 + h * (WORST[layer % 6] - 1)) * rng.lognormal(0, 0.1, texts)
        spectral = _spectral(leading, h)
        records.append(
            {
                "solve_status": np.where(late, 0, 1),
                "solve_residual": np.full(texts, 1e-9),
                "solve_evaluations": rng.integers(12, 30, texts).astype(float),
                "advantage": h * sign * towards * rng.normal(1, 0.15, texts),
                "advantage_error": np.full(texts, 0.01),
                "explicit_worst": explicit,
                "implicit_worst": factor * explicit * rng.lognormal(0, 0.15, texts),
                "explicit_worst_converged": flags,
                "implicit_worst_converged": late,
                "explicit_spectral": spectral["explicit"],
                "implicit_spectral": spectral["implicit"],
                "explicit_certain": flags,
                "implicit_certain": late,
            }
        )
    stacked = {name: np.stack([one[name] for one in records], axis=1) for name in records[0]}
    return {"logarithmic_norm": norm, "logarithmic_norm_converged": flags, **stacked}


def _propagation(
    rng: np.random.Generator,
    kinds: dict[str, int],
    layers: int,
    steps: list[float],
    converged: bool,
    implicit_wins: bool,
) -> list[Cell]:
    cells = []
    ends = {
        "gaussian": 0.32,
        "worst": 9.2,
        "typo": 1.3,
        "synonym": 0.8,
        "negation": 1.1,
        "edit": 2.0,
    }
    known_sizes = {"gaussian": (1e-4, 1e-3, 1e-2, 1e-1, 1.0), "worst": (1e-4, 1e-2)}
    first_pair = 0
    for kind, examples in kinds.items():
        sizes = known_sizes.get(kind, (np.nan,))
        first = 0 if kind in known_sizes else first_pair
        first_pair += 0 if kind in known_sizes else examples
        for h in steps:
            shape = (len(METHODS), len(sizes), examples)
            measured = np.zeros((*shape, layers + 1))
            predicted = np.zeros_like(measured)
            sure = np.ones((*shape, layers), dtype=bool)
            for i, method in enumerate(METHODS):
                damping = {"explicit": 1.0, "implicit": 0.6 if implicit_wins else 1.6}[method]
                path = (ends.get(kind, 1.0) * damping) ** (h * np.linspace(0, 1, layers + 1))
                noise = rng.normal(0, 0.12, (examples, layers + 1))
                noise[:, 0] = 0
                predicted[i] = path * np.exp(np.cumsum(noise, axis=1))
                for j, size in enumerate(sizes):
                    off = 0.4 if np.isnan(size) else 0.8 * size
                    spread = rng.lognormal(0, 0.5, (examples, layers + 1))
                    depth = np.linspace(0, 1, layers + 1)
                    measured[i, j] = predicted[i, j] * np.exp(-off * spread * depth)
                if not converged and method == "implicit" and kind in ("worst", "gaussian"):
                    sure[i, :, : 1 + examples // 8, layers // 2 :] = False
            arrays = {
                "measured": measured,
                "predicted": predicted,
                "relative": measured,
                "converged": sure,
                "size": np.broadcast_to(np.nan_to_num(sizes, nan=0.3)[:, None], shape).copy(),
                "sizes": np.array(sizes),
            }
            places = list(range(first, first + examples))
            cells.append(cell("propagation", arrays, places, perturbation=kind, step_size=h))
    return cells


def _secants(kinds: dict[str, int], layers: int, steps: list[float], converged: bool) -> list[Cell]:
    rng, cells, first = np.random.default_rng(7), [], 0
    for kind, examples in kinds.items():
        if kind in ("gaussian", "worst"):
            continue
        pairs_of_kind = list(range(first, first + examples))
        first += examples
        arrays = {
            "size": rng.uniform(0.2, 0.5, examples),
            "overlap": rng.uniform(0.6, 0.9, examples),
            "cluster": np.array(pairs_of_kind) // 2 * 2,
            "layers": np.arange(layers),
        }
        for h in steps:
            shape = (examples, layers)
            start = rng.normal(-0.2, 0.15, shape) + 1j * np.abs(rng.normal(0.7, 0.15, shape))
            end, late = start + 0.2, np.ones(shape, dtype=bool)
            late[0, layers // 2 :] = converged
            growth = {"explicit": np.abs(1 + h * start), "implicit": 1 / np.abs(1 - h * end)}
            predicted = {**growth, "implicit": 1 / np.abs(1 - h * start)}
            own = dict(arrays)
            for method, values in growth.items():
                through = np.concatenate([np.ones((examples, 1)), values.cumprod(1)], axis=1)
                own |= {
                    f"{method}_secant": pairs(start if method == "explicit" else end),
                    f"{method}_start": pairs(start),
                    f"{method}_growth": values,
                    f"{method}_predicted": predicted[method],
                    f"{method}_cumulative": through,
                    f"{method}_converged": np.ones_like(late) if method == "explicit" else late,
                }
            header: dict[str, Any] = {"perturbation": kind, "step_size": h}
            cells.append(cell("secants", own, pairs_of_kind, **header))
    return cells


def _relative_graph(layer: int, text: int, steps: list[float], converged: bool) -> Cell:
    """That of a normal matrix whose eigenvalues fill a half ring about −1."""
    centres = np.unique(np.concatenate([np.linspace(-8, 8, 9), -1 / np.array(steps)]))[None]
    radius, hole = WORST[layer % 6] - 1, 0.05
    turn = np.exp(1j * np.pi * np.linspace(1, 0, 33))
    boundary = -1 + np.concatenate([radius * turn, hole * turn[::-1], radius * turn[:1]])
    outer = radius + np.abs(centres + 1)
    sure = np.ones(centres.shape, dtype=bool)
    inner_sure = sure.copy()
    inner_sure[0, 4] = converged or layer != 2
    arrays = {
        "centres": centres[0],
        "boundary": pairs(boundary[None]),
        "growth": np.abs(1 + np.array(steps) * boundary[:, None]).max(0)[None],
        "products": np.array([400]),
        "outer": outer,
        "inner": np.maximum(hole - np.abs(centres + 1), np.abs(centres + 1) - radius).clip(0),
        "outer_residuals": 1e-9 * outer,
        "inner_residuals": 1e-9 * outer,
        "outer_converged": sure,
        "inner_converged": inner_sure,
    }
    return cell("relative_graph", arrays, [text], layer=layer)


def _regions(h: float) -> Cell:
    re, im = np.linspace(-4, 4, 161), np.linspace(-3, 3, 121)
    z = re[None, :] + 1j * im[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        regions = {
            ("explicit", "explicit Euler"): np.abs(1 + z),
            ("implicit", "implicit Euler"): 1 / np.abs(1 - z),
        }
        for label, c in (
            ("gradient descent, 5 steps of 0.1", 1 - 0.1 * np.abs(1 - z) ** 2),
            ("resolvent Picard, 5 iterations", (h + z) / (1 + h)),
        ):
            # At z = 1 the quotient is 0/0, and its limit the number of iterations and one.
            value = np.nan_to_num(np.abs((1 - c**5) / (1 - z) + c**5), nan=6.0)
            regions["truncated", label] = value
        regions["lemniscate", "|1 − z²|"] = np.abs(1 - z**2)
    arrays = {"re": re, "im": im, "amplification": np.stack(list(regions.values()))}
    return cell("regions", arrays, [], step_size=h, regions=[[*name, h] for name in regions])
