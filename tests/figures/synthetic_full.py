"""Made-up summaries of a run of full depth, for tests and for looking at the figures."""

import dataclasses
from typing import Any

import numpy as np
import synthetic

from analysis.summary import (
    METHODS,
    Density,
    Directions,
    Exponents,
    NonNormality,
    PseudospectrumBound,
    Refinement,
    SublayerGrowth,
    Summary,
)

TABLES = (
    "nonnormality",
    "bounds",
    "densities",
    "directions",
    "sublayers",
    "refinements",
    "exponents",
)
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


def summary(
    layers: int = 6, texts: int = 8, seed: int = 0, converged: bool = True, **choices: Any
) -> Summary:
    """A summary of full depth; `choices` are those of `synthetic.summary`."""
    quick = synthetic.summary(layers=layers, texts=texts, seed=seed, converged=converged, **choices)
    rng, steps = np.random.default_rng(seed + 1), quick.config["step_sizes"]
    matrices = [matrix(rng, synthetic.RADII[l % 6]) for l in range(layers)]
    return dataclasses.replace(
        quick,
        nonnormality=tuple(_nonnormality(l, one) for l, one in enumerate(matrices)),
        bounds=tuple(_bound(rng, l, one, texts, converged) for l, one in enumerate(matrices)),
        densities=tuple(
            density(rng, l, of, texts) for l in range(layers) for of in ("gram", "symmetric")
        ),
        directions=tuple(_directions(rng, l, h, texts) for l in range(layers) for h in steps),
        sublayers=tuple(
            _half(rng, l, half, h, texts, converged)
            for l in range(layers)
            for half in HALVES
            for h in steps
        ),
        refinements=tuple(
            _refinement(rng, l, h, texts, converged) for l in range(layers) for h in steps
        ),
        exponents=tuple(
            _exponents(rng, method, h, texts, layers, converged)
            for method in METHODS
            for h in steps
        ),
    )


def changed(original: Summary, table: str, **fields: Any) -> Summary:
    """Fields of every record of a table replaced by what a function makes of the record."""
    records = [
        dataclasses.replace(one, **{name: make(one) for name, make in fields.items()})
        for one in getattr(original, table)
    ]
    tables: dict[str, Any] = {table: tuple(records)}
    return dataclasses.replace(original, **tables)


def not_a_number(original: Summary) -> Summary:
    """Every real measurement replaced by NaN."""

    def nan(values: Any) -> Any:
        if isinstance(values, dict):
            return {name: nan(each) for name, each in values.items()}
        if isinstance(values, float):
            return float("nan")
        return (
            np.full_like(values, np.nan)
            if np.issubdtype(np.asarray(values).dtype, np.inexact)
            else values
        )

    given = (
        "layer",
        "text",
        "texts",
        "of",
        "half",
        "method",
        "step_size",
        "re",
        "im",
        "points",
        "epsilons",
        "parts",
    )

    def without(one: Any) -> Any:
        kept = {field.name: getattr(one, field.name) for field in dataclasses.fields(one)}
        measured = {
            name: nan(value)
            for name, value in kept.items()
            if name not in given and not isinstance(value, str)
        }
        return dataclasses.replace(one, **measured)

    quick = synthetic.not_a_number(original)
    tables: dict[str, Any] = {
        table: tuple(without(one) for one in getattr(quick, table)) for table in TABLES
    }
    return dataclasses.replace(quick, **tables)


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


def _nonnormality(layer: int, jacobian: np.ndarray) -> NonNormality:
    boundary = numerical_range(jacobian, 32)
    re = np.linspace(boundary.real.min() - 0.3, boundary.real.max() + 0.3, 31)
    im = np.linspace(0, boundary.imag.max() + 0.3, 16)
    eigenvalues = np.linalg.eigvals(jacobian)
    alpha, frobenius = float(eigenvalues.real.max()), float(np.linalg.norm(jacobian))
    epsilons, radius = np.array([1e-1, 1e-2, 1e-3]), float(np.abs(eigenvalues + 1).max())
    return NonNormality(
        layer=layer,
        text=0,
        eigenvalues=eigenvalues,
        re=re,
        im=im,
        sigma_min=_smallest(jacobian, re, im),
        boundary=boundary,
        frobenius=frobenius,
        henrici=float(np.sqrt(frobenius**2 - (np.abs(eigenvalues) ** 2).sum())),
        spectral_abscissa=alpha,
        logarithmic_norm=float(boundary.real.max()),
        epsilons=epsilons,
        pseudospectral_abscissa=alpha + 3 * epsilons**0.6,
        pseudospectral_radius=radius + 3 * epsilons**0.6,
        extremum_kind="exact" if layer % 2 else "bound",
        kreiss=2.5 + layer,
        kreiss_scale=max(1.0, radius),
        kreiss_kind="bound",
    )


def _bound(
    rng: np.random.Generator, layer: int, jacobian: np.ndarray, texts: int, converged: bool
) -> PseudospectrumBound:
    scales = rng.uniform(0.9, 1.3, min(texts, 4))
    re, im = np.linspace(-6, 5, 23), np.linspace(0, 5, 11)
    boundary = np.stack([scale * numerical_range(jacobian, 16) for scale in scales])
    sure = np.ones(boundary.shape, dtype=bool)
    sure[:, 3:5] = converged
    levels = np.stack([1.5 * _smallest(scale * jacobian, re, im) for scale in scales])
    return PseudospectrumBound(
        layer,
        tuple(range(len(scales))),
        re,
        im,
        levels,
        boundary,
        sure,
        rng.uniform(0.6, 0.8, len(scales)),
    )


def density(rng: np.random.Generator, layer: int, of: str, texts: int) -> Density:
    """Most of the spectrum shrinks, and a long tail reaches to the largest value."""
    largest = {"gram": synthetic.WORST, "symmetric": synthetic.LOGARITHMIC_NORMS}[of][
        layer % 6
    ] * rng.uniform(0.95, 1.05, (texts, 1))
    at = np.linspace(0.01, 20, 120) if of == "gram" else np.linspace(-10, 9, 115)
    if of == "gram":
        each = (
            np.exp(-(((at - 0.4) / 0.35) ** 2))
            + 0.25 * np.exp(-2.2 * at)
            + 3e-4 * np.exp(-(((at - largest) / 0.3) ** 2))
        )
    else:
        each = (
            np.exp(-(((at + 0.6) / 0.4) ** 2))
            + 0.3 * np.exp(-2.5 * np.abs(at + 0.5))
            + 2e-4 * np.exp(-(((at - largest) / 0.3) ** 2))
        )
    each = (
        each
        / np.trapezoid(each, at, axis=1).reshape(-1, 1)
        * rng.lognormal(0, 0.05, (texts, len(at)))
    )
    error = each * 0.1 * (1 + 4 * (each < 1e-3))
    if of == "gram":  # the density of σ², per unit of σ²
        return Density(layer, of, at**2, each / (2 * at), error / (2 * at))
    return Density(layer, of, at, each, error)


def _directions(rng: np.random.Generator, layer: int, h: float, texts: int) -> Directions:
    longest = 12 + texts

    def shares(first: float) -> np.ndarray:
        rows = np.full((texts, longest), np.nan)
        for i in range(texts):
            rest = rng.dirichlet(np.full(11 + i, 0.5))
            top = float(np.clip(first + rng.normal(0, 0.04), 0.01, 0.99))
            rows[i, : 12 + i] = np.concatenate([[top], (1 - top) * rest])
        return rows

    first = FIRST_TOKEN[layer % 6]
    return Directions(
        layer,
        h,
        {
            method: shares(factor * first)
            for method, factor in zip(METHODS, (1.0, 0.8), strict=True)
        },
        {method: shares(0.08) for method in METHODS},
    )


def _half(
    rng: np.random.Generator, layer: int, half: str, h: float, texts: int, converged: bool
) -> SublayerGrowth:
    explicit = (1 + h * (HALVES[half][layer % 6] - 1)) * rng.lognormal(0, 0.1, texts)
    sure = np.ones(texts, dtype=bool)
    late = sure.copy()
    late[0] = converged or layer not in (2, 3)
    return SublayerGrowth(
        layer=layer,
        half=half,
        step_size=h,
        logarithmic_norm=0.45 * HALVES[half][layer % 6] * rng.lognormal(0, 0.08, texts),
        worst={"explicit": explicit, "implicit": 0.6 * explicit * rng.lognormal(0, 0.1, texts)},
        converged={"logarithmic_norm": sure, "explicit": sure, "implicit": late},
    )


def _refinement(
    rng: np.random.Generator, layer: int, h: float, texts: int, converged: bool
) -> Refinement:
    flow = (1 + h * (0.6 * synthetic.WORST[layer % 6] - 1)) * rng.lognormal(0, 0.08, texts)
    away = np.array([0.5, 0.12, 0.04])
    sure = np.ones((texts, len(PARTS)), dtype=bool)
    late = sure.copy()
    late[0, 0] = converged
    return Refinement(
        layer=layer,
        step_size=h,
        parts=PARTS,
        worst={"explicit": flow[:, None] * np.exp(away), "implicit": flow[:, None] * np.exp(-away)},
        converged={"explicit": sure, "implicit": late},
        flow=flow,
    )


def _exponents(
    rng: np.random.Generator, method: str, h: float, texts: int, layers: int, converged: bool
) -> Exponents:
    values = h * (
        np.array([0.37, 0.25, 0.18, 0.1]) - (0.15 if method == "implicit" else 0)
    ) + rng.normal(0, 0.03, (texts, 4))
    sure = np.ones(values.shape, dtype=bool)
    sure[0, -1] = converged
    return Exponents(method, h, -np.sort(-values, axis=1), sure)
