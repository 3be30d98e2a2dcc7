"""Made-up cells of a run of full depth, for tests and for looking at the figures."""

from typing import Any

import numpy as np
import synthetic
from synthetic import Arrays

from analysis.quantities import METHODS
from analysis.record import Cell, Run
from analysis.run import Measurements

FIRST_TOKEN = (
    0.25,
    0.94,
    0.93,
    0.93,
    0.92,
    0.58,
)  # share of the worst direction of all-MiniLM-L6-v2, medians over eight sentences
HALVES = {
    "attention": (5.1, 13.4, 15.3, 17.6, 13.3, 9.4),
    "feed_forward": (2.8, 3.6, 3.5, 4.3, 4.8, 4.4),
}
PARTS = np.array([1, 2, 4])


def run(
    layers: int = 6, texts: int = 8, seed: int = 0, converged: bool = True, **choices: Any
) -> Run:
    """Its cells; `choices` are those of `synthetic.run`."""
    quick = synthetic.run(layers=layers, texts=texts, seed=seed, converged=converged, **choices)
    rng, steps = np.random.default_rng(seed + 1), quick.config["step_sizes"]
    every = list(range(texts))
    cells = [_with_directions(rng, one, steps) for one in quick.cells]
    for layer in range(layers):
        jacobian = matrix(rng, synthetic.RADII[layer % 6])
        own = synthetic.dense_cell(np.linalg.eigvals(jacobian), layer, 0, steps)
        cells = [own, *(one for one in cells if one.name != own.name)]
        halves = _halves(rng, layer, steps, texts, converged)
        refined = _refinement(rng, layer, steps, texts, converged)
        cells += [
            _nonnormality(layer, jacobian),
            _bound(rng, layer, jacobian, texts, converged),
            synthetic.cell("density", densities(rng, layer, texts), every, layer=layer),
            synthetic.cell("sublayers", halves, every, layer=layer),
            synthetic.cell("refinement", refined, every, layer=layer),
        ]
    cells += [_exponents(rng, h, texts, converged) for h in steps]
    return Run({**quick.config, "depth": "full"}, tuple(cells))


summary = synthetic.remembered(run)


def not_a_number(original: Measurements) -> Measurements:
    """Every real measurement replaced by NaN."""
    return synthetic.not_a_number(original)


def matrix(rng: np.random.Generator, radius: float, size: int = 24) -> np.ndarray:
    """A matrix far from normal with eigenvalues in a disc about −1, four of them at −1."""
    eigenvalues = -1 + radius * np.concatenate([rng.uniform(-0.8, 1, size - 4), np.zeros(4)])
    vectors = np.linalg.qr(rng.standard_normal((size, size)))[0]
    upper = np.triu(rng.standard_normal((size, size)), 1) * radius / 2
    upper[:, -4:] = 0  # a block of its own, so that rounding does not scatter the eigenvalues at −1
    return np.asarray(vectors @ (np.diag(eigenvalues) + upper) @ vectors.T)


def numerical_range(jacobian: np.ndarray, angles: int) -> np.ndarray:
    """Points of the boundary of the numerical range, once around."""
    found = []
    for angle in 2 * np.pi * np.arange(angles) / angles:
        turned = np.exp(-1j * angle) * jacobian
        vector = np.linalg.eigh((turned + turned.conj().T) / 2)[1][:, -1]
        found.append(vector.conj() @ jacobian @ vector)
    return np.array(found)


def _smallest(jacobian: np.ndarray, re: np.ndarray, im: np.ndarray) -> np.ndarray:
    z = re[None, :] + 1j * im[:, None]
    return np.asarray(
        np.linalg.svd(z[..., None, None] * np.eye(len(jacobian)) - jacobian, compute_uv=False)[
            ..., -1
        ]
    )


def _nonnormality(layer: int, jacobian: np.ndarray) -> Cell:
    boundary = numerical_range(jacobian, 32)
    re = np.linspace(boundary.real.min() - 0.3, boundary.real.max() + 0.3, 31 + layer)
    im = np.linspace(0, boundary.imag.max() + 0.3, 16 + layer % 2)
    eigenvalues = np.linalg.eigvals(jacobian)
    alpha, frobenius = float(eigenvalues.real.max()), float(np.linalg.norm(jacobian))
    epsilons, radius = np.array([1e-1, 1e-2, 1e-3]), float(np.abs(eigenvalues + 1).max())
    arrays = {
        "re": re,
        "im": im,
        "sigma_min": _smallest(jacobian, re, im),
        "boundary": synthetic.pairs(boundary),
        "frobenius": np.array([frobenius]),
        "henrici": np.sqrt(frobenius**2 - (np.abs(eigenvalues) ** 2).sum(keepdims=True)),
        "epsilons": epsilons,
        "pseudospectral_abscissa": alpha + 3 * epsilons**0.6,
        "pseudospectral_radius": radius + 3 * epsilons**0.6,
        "kreiss": np.array([2.5 + layer]),
        "kreiss_scale": np.array([max(1.0, radius)]),
    }
    kinds = {"extremum_kind": "exact" if layer % 2 else "bound", "kreiss_kind": "bound"}
    return synthetic.cell("nonnormality", arrays, [0], layer=layer, **kinds)


def _bound(
    rng: np.random.Generator, layer: int, jacobian: np.ndarray, texts: int, converged: bool
) -> Cell:
    scales = rng.uniform(0.9, 1.3, min(texts, 4))
    re, im = np.linspace(-6, 5, 23), np.linspace(0, 5, 11)
    boundary = np.stack([scale * numerical_range(jacobian, 16) for scale in scales])
    sure = np.ones(boundary.shape, dtype=bool)
    sure[:, 3:5] = converged
    arrays = {
        "re": re,
        "im": im,
        "sigma_min": np.stack([1.5 * _smallest(scale * jacobian, re, im) for scale in scales]),
        "boundary": synthetic.pairs(boundary),
        "converged": sure,
        "henrici_bound": rng.uniform(0.6, 0.8, len(scales)),
    }
    return synthetic.cell("bounds", arrays, list(range(len(scales))), layer=layer)


def densities(rng: np.random.Generator, layer: int, texts: int) -> Arrays:
    """Most of the spectrum shrinks, and a long tail reaches to the largest value."""
    arrays: Arrays = {}
    for of, largest in (("gram", synthetic.WORST), ("symmetric", synthetic.LOGARITHMIC_NORMS)):
        top = largest[layer % 6] * rng.uniform(0.95, 1.05, (texts, 1))
        at = np.linspace(0.01, 20, 120) if of == "gram" else np.linspace(-10, 9, 115)
        centre, width = (0.4, 0.35) if of == "gram" else (-0.6, 0.4)
        each = (
            np.exp(-(((at - centre) / width) ** 2))
            + 0.25 * np.exp(-2.2 * np.abs(at - centre + 0.4))
            + 3e-4 * np.exp(-(((at - top) / 0.3) ** 2))
        )
        each = each / np.trapezoid(each, at, axis=1).reshape(-1, 1)
        each = each * rng.lognormal(0, 0.05, (texts, len(at)))
        error = each * 0.1 * (1 + 4 * (each < 1e-3))
        # The density of σ² is per unit of σ².
        slope = 2 * at if of == "gram" else np.ones_like(at)
        arrays[f"{of}_points"] = at**2 if of == "gram" else at
        arrays[f"{of}_density"] = each / slope
        arrays[f"{of}_error"] = error / slope
    return arrays


def _with_directions(rng: np.random.Generator, one: Cell, steps: list[float]) -> Cell:
    """A layer's cell with the shares of its worst directions on each token."""
    if one.header["kind"] != "layer":
        return one
    texts, first = len(one.header["texts"]), FIRST_TOKEN[one.header["layer"] % 6]

    def shares(on_first: float) -> np.ndarray:
        rows = np.full((texts, len(steps), 12 + texts), np.nan)
        for i in range(texts):
            for s in range(len(steps)):
                rest = rng.dirichlet(np.full(11 + i, 0.5))
                top = float(np.clip(on_first + rng.normal(0, 0.04), 0.01, 0.99))
                rows[i, s, : 12 + i] = np.concatenate([[top], (1 - top) * rest])
        return rows

    more = {
        f"{method}_{side}": shares(0.08 if side == "leaving" else factor * first)
        for method, factor in zip(METHODS, (1.0, 0.8), strict=True)
        for side in ("entering", "leaving")
    }
    return Cell(one.name, one.header, {**one.arrays, **more})


def _halves(
    rng: np.random.Generator, layer: int, steps: list[float], texts: int, converged: bool
) -> Arrays:
    sure = np.ones(texts, dtype=bool)
    late = sure.copy()
    late[0] = converged or layer not in (2, 3)
    arrays: Arrays = {}
    for half, growths in HALVES.items():
        growth = growths[layer % 6]
        explicit = np.stack(
            [(1 + h * (growth - 1)) * rng.lognormal(0, 0.1, texts) for h in steps], axis=1
        )
        arrays |= {
            f"{half}_logarithmic_norm": 0.45 * growth * rng.lognormal(0, 0.08, texts),
            f"{half}_logarithmic_norm_converged": sure,
            f"{half}_explicit_worst": explicit,
            f"{half}_implicit_worst": 0.6 * explicit * rng.lognormal(0, 0.1, explicit.shape),
            f"{half}_explicit_converged": np.stack([sure] * len(steps), axis=1),
            f"{half}_implicit_converged": np.stack([late] * len(steps), axis=1),
        }
    return arrays


def _refinement(
    rng: np.random.Generator, layer: int, steps: list[float], texts: int, converged: bool
) -> Arrays:
    flow = np.stack(
        [
            (1 + h * (0.6 * synthetic.WORST[layer % 6] - 1)) * rng.lognormal(0, 0.08, texts)
            for h in steps
        ],
        axis=1,
    )
    away = np.array([0.5, 0.12, 0.04])
    sure = np.ones((texts, len(steps), len(PARTS)), dtype=bool)
    late = sure.copy()
    late[0, :, 0] = converged
    return {
        "parts": PARTS,
        "explicit": flow[..., None] * np.exp(away),
        "implicit": flow[..., None] * np.exp(-away),
        "explicit_converged": sure,
        "implicit_converged": late,
        "flow": flow,
    }


def _exponents(rng: np.random.Generator, h: float, texts: int, converged: bool) -> Cell:
    arrays: Arrays = {}
    for method in METHODS:
        centre = np.array([0.37, 0.25, 0.18, 0.1]) - (0.15 if method == "implicit" else 0)
        values = h * centre + rng.normal(0, 0.03, (texts, 4))
        sure = np.ones(values.shape, dtype=bool)
        sure[0, -1] = converged
        arrays[f"{method}_exponents"] = -np.sort(-values, axis=1)
        arrays[f"{method}_converged"] = sure
    return synthetic.cell("exponents", arrays, list(range(texts)), step_size=h)
