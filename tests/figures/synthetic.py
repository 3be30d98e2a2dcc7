"""Made-up summaries that look like those of a small encoder, for tests and for looking at the
figures.
"""

import dataclasses
from typing import Any

import numpy as np

from analysis.summary import (
    METHODS,
    Curves,
    LayerGrowth,
    LayerSpectrum,
    Region,
    StabilityMap,
    Summary,
)

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
KINDS = {"gaussian": 16, "worst": 8, "typo": 12, "synonym": 10, "negation": 6, "edit": 5}


def summary(
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
) -> Summary:
    """A summary: `stable` puts all eigenvalues where both steps damp, `implicit_wins` decides whose
    growth is smaller.
    """
    rng = np.random.default_rng(seed)
    steps, map_steps = steps or STEPS, map_steps or MAP_STEPS
    spectra = tuple(
        _spectrum(rng, l, texts, steps, dense, converged, stable) for l in range(layers)
    )
    return Summary(
        config=_config(layers, texts, steps, map_steps),
        curves=tuple(
            _curves(rng, KINDS if kinds is None else kinds, layers, steps, converged, implicit_wins)
        ),
        spectra=spectra,
        growth=tuple(
            _growth(rng, one, h, converged, stable, implicit_wins) for one in spectra for h in steps
        ),
        regions=tuple(_regions(steps)),
        maps=tuple(_map(spectra, method, np.array(map_steps), converged) for method in METHODS),
    )


def empty() -> Summary:
    """A run that has measured nothing yet."""
    return Summary(
        {"model": "m", "field": "outer", "step_sizes": [1.0], "map_step_sizes": [0.5, 1.0]},
        (),
        (),
        (),
        (),
        (),
    )


def with_config(original: Summary, **entries: Any) -> Summary:
    """The same records under another configuration."""
    return dataclasses.replace(original, config={**original.config, **entries})


def with_growth(original: Summary, **fields: Any) -> Summary:
    """Fields of every LayerGrowth replaced by what a function makes of the record."""
    changed = [
        dataclasses.replace(one, **{name: make(one) for name, make in fields.items()})
        for one in original.growth
    ]
    return dataclasses.replace(original, growth=tuple(changed))


def not_a_number(original: Summary) -> Summary:
    """Every real measurement replaced by NaN."""

    def nan(values: Any) -> Any:
        return (
            {key: nan(value) for key, value in values.items()}
            if isinstance(values, dict)
            else np.full(np.shape(values), np.nan)
        )

    def without(one: Any, *names: str) -> Any:
        return dataclasses.replace(one, **{name: nan(getattr(one, name)) for name in names})

    quantities = (
        "logarithmic_norm",
        "worst",
        "spectral",
        "residual",
        "advantage",
        "advantage_error",
    )
    return dataclasses.replace(
        original,
        curves=tuple(without(one, "measured", "predicted") for one in original.curves),
        spectra=tuple(without(one, "leading", "residuals", "outside") for one in original.spectra),
        growth=tuple(without(one, *quantities) for one in original.growth),
        regions=tuple(without(one, "amplification") for one in original.regions),
        maps=tuple(without(one, "growth") for one in original.maps),
    )


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


def _spectrum(
    rng: np.random.Generator,
    layer: int,
    texts: int,
    steps: list[float],
    dense: bool,
    converged: bool,
    stable: bool,
) -> LayerSpectrum:
    radius = 0.9 if stable else RADII[layer % len(RADII)]
    leading = np.stack(
        [_conjugate_pairs(rng, 8, radius * rng.uniform(0.9, 1.05), 0.25) for _ in range(texts)]
    )
    leading[:, 0] = -1 + radius * rng.uniform(
        0.95, 1.1, texts
    )  # one real eigenvalue leads, as in trained layers
    leading[:, 4] = -1 + radius * rng.uniform(0.7, 0.9, texts)
    leading = np.take_along_axis(leading, np.argsort(-np.abs(leading + 1), axis=1), axis=1)
    sure = np.ones(leading.shape, dtype=bool)
    if not converged:
        sure[: max(texts // 4, 1), -2:] = False
    full = tuple(
        np.concatenate([_conjugate_pairs(rng, 600, radius, 1.5), -np.ones(8)])
        for _ in range(2 if dense else 0)
    )
    spread = [one[np.abs(one + 1) > 1e-3] for one in full]
    outside = np.array(
        [[np.mean(np.abs(1 - (h * one) ** 2) > 1) for h in steps] for one in spread]
    ).reshape(len(full), len(steps) if full else 0)
    bulk = tuple(len(one) - len(kept) for one, kept in zip(full, spread, strict=True))
    residuals = np.where(sure, 1e-8, 1e-3)
    return LayerSpectrum(
        layer, leading, residuals, sure, -1.0, full, tuple(range(len(full))), outside, bulk
    )


def _spectral(leading: np.ndarray, h: float) -> dict[str, np.ndarray]:
    z = h * np.concatenate([leading, np.full((len(leading), 1), -1.0)], axis=1)
    return {"explicit": np.abs(1 + z).max(1), "implicit": (1 / np.abs(1 - z)).max(1)}


def _growth(
    rng: np.random.Generator,
    one: LayerSpectrum,
    h: float,
    converged: bool,
    stable: bool,
    implicit_wins: bool,
) -> LayerGrowth:
    texts, layer = len(one.leading), one.layer
    norm = (
        (0.4 if stable else 1.0)
        * LOGARITHMIC_NORMS[layer % 6]
        * rng.lognormal(0, 0.08, texts)
        / (8 if stable else 1)
    )
    explicit = (1 + h * (WORST[layer % 6] - 1)) * rng.lognormal(0, 0.1, texts)
    factor = (0.55 if implicit_wins else 1.7) * (1.9 if layer == 2 else 1.0)
    flags = np.ones(texts, dtype=bool)
    late = flags.copy()
    late[0] = converged
    middle = layer in (2, 3)
    return LayerGrowth(
        layer=layer,
        step_size=h,
        logarithmic_norm=norm,
        worst={"explicit": explicit, "implicit": factor * explicit * rng.lognormal(0, 0.15, texts)},
        spectral=_spectral(one.leading, h),
        certain={"explicit": flags, "implicit": late if middle else flags},
        converged={
            "eigenvalues": np.asarray(one.converged.all(1)),
            "logarithmic_norm": flags,
            "explicit_worst": flags,
            "implicit_worst": late if middle else flags,
        },
        status=np.where(late | (not middle), 0, 1),
        residual=np.full(texts, 1e-9),
        evaluations=rng.integers(12, 30, texts).astype(float),
        advantage=h
        * (1 if implicit_wins else -1)
        * (0.25 if layer != 4 else -0.12)
        * rng.normal(1, 0.15, texts),
        advantage_error=np.full(texts, 0.01),
    )


def _curves(
    rng: np.random.Generator,
    kinds: dict[str, int],
    layers: int,
    steps: list[float],
    converged: bool,
    implicit_wins: bool,
) -> list[Curves]:
    found = []
    end = {
        "gaussian": 0.32,
        "worst": 9.2,
        "typo": 1.3,
        "synonym": 0.8,
        "negation": 1.1,
        "edit": 2.0,
    }
    for kind, examples in kinds.items():
        sizes = {"gaussian": (1e-4, 1e-3, 1e-2, 1e-1, 1.0), "worst": (1e-4, 1e-2)}.get(
            kind, (np.nan,)
        )
        for h in steps:
            for method in METHODS:
                damping = {"explicit": 1.0, "implicit": 0.6 if implicit_wins else 1.6}[method]
                path = (end.get(kind, 1.0) * damping) ** (h * np.linspace(0, 1, layers + 1))
                noise = np.cumsum(
                    np.concatenate(
                        [np.zeros((examples, 1)), rng.normal(0, 0.12, (examples, layers))], axis=1
                    ),
                    axis=1,
                )
                predicted = path * np.exp(noise)
                for size in sizes:
                    off = (
                        (0.4 if np.isnan(size) else 0.8 * size)
                        * rng.lognormal(0, 0.5, (examples, layers + 1))
                        * np.linspace(0, 1, layers + 1)
                    )
                    sure = np.ones((examples, layers), dtype=bool)
                    if not converged and method == "implicit" and kind in ("worst", "gaussian"):
                        sure[: 1 + examples // 8, layers // 2 :] = False
                    found.append(
                        Curves(kind, method, h, size, predicted * np.exp(-off), predicted, sure)
                    )
    return found


def _regions(steps: list[float]) -> list[Region]:
    re, im = np.linspace(-4, 4, 161), np.linspace(-3, 3, 121)
    z = re[None, :] + 1j * im[:, None]
    with np.errstate(divide="ignore"):
        exact = {
            "explicit": np.abs(1 + z),
            "implicit": 1 / np.abs(1 - z),
            "lemniscate": np.abs(1 - z**2),
        }
    labels = {"explicit": "explicit Euler", "implicit": "implicit Euler", "lemniscate": "|1 − z²|"}
    found = [Region(name, labels[name], 1.0, re, im, values) for name, values in exact.items()]
    for h in steps:
        for label, c in (
            ("gradient descent, 5 steps of 0.1", 1 - 0.1 * np.abs(1 - z) ** 2),
            ("resolvent Picard, 5 iterations", (h + z) / (1 + h)),
        ):
            with np.errstate(divide="ignore", invalid="ignore"):
                amplification = np.abs((1 - c**5) / (1 - z) + c**5)
            found.append(Region("truncated", label, h, re, im, amplification))
    return found


def _map(
    spectra: tuple[LayerSpectrum, ...], method: str, steps: np.ndarray, converged: bool
) -> StabilityMap:
    growth = np.stack(
        [np.stack([_spectral(one.leading, h)[method] for h in steps]) for one in spectra]
    )
    certain = np.ones(growth.shape, dtype=bool)
    if not converged and method == "implicit":
        certain[:, steps > 2] = False
    return StabilityMap(method, np.array([one.layer for one in spectra]), steps, growth, certain)
