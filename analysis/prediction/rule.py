"""From the spectra of a checkpoint on unlabelled texts: which layers should take an implicit step,
by a rule that is fixed beforehand.

A layer is eligible at step size h where over the texts
(a) at least SOLVED of the implicit steps were solved,
(b) its mean implicit advantage is positive (`mathematics.md`, section 8), and
(c) the median of log(worst growth implicit/explicit) is not,
each in SHARE of all resamples of the texts. Predicted is an implicit step in all eligible layers at
the h where their advantages add up to most; where no layer is eligible, no implicit step is
predicted to help. For h ≠ 1 the explicit step that it is compared with is not the pretrained layer.
Of the solver's tolerances the loosest is taken whose error leaves the two methods apart.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from analysis.ground.resampling import FEW, drawn_items, percentile_interval
from analysis.prediction import telling
from analysis.prediction.records import (
    ERROR,
    RESAMPLES,
    SHARE,
    SOLVED,
    TESTED,
    Estimate,
    LayerPrediction,
    Placement,
    Prediction,
    Recommendation,
)
from analysis.quantities.labelled import METHODS, statistics
from analysis.run import Measurements


def predict(found: Measurements, seed: int = 0, checkpoint: str | None = None) -> Prediction:
    """The prediction of a run that measured "layer" and "solves" cells of all layers.

    Args:
        found: what the run measured.
        seed: of the resamples of texts.
        checkpoint: sha256 of the weights that it is about.

    Raises:
        ValueError: if the run has no solves, or fewer than two texts, which leave nothing to
            resample.
    """
    growth, spectrum, solves = found["growth"], found["spectrum"], found["solves"]
    if not growth or not solves:
        raise ValueError(
            "a prediction needs the single steps and the solves "
            "of every layer: run `odestab predict`"
        )
    texts = growth.sizes["text"]
    if texts < 2:
        raise ValueError(f"texts: a prediction needs at least 2 to say how sure it is, got {texts}")
    draws = drawn_items(texts, RESAMPLES, seed)
    samples: dict[float, dict[int, _Sample]] = {}
    layers = []
    for h in sorted(growth["step_size"].values.tolist()):
        for layer in growth["layer"].values.tolist():
            step = growth.sel(layer=layer, step_size=h)
            sample = samples.setdefault(h, {})[layer] = _Sample.of(step, draws)
            layers.append(
                _layer(
                    step, spectrum.sel(layer=layer), solves.sel(layer=layer, step_size=h), sample
                )
            )
    recommended = _recommendation(layers, samples, found.config["encoder_depth"])
    doubt = [telling.of_few(texts)] if texts < FEW else []
    first, *others = recommended.sentences
    recommended = dataclasses.replace(recommended, sentences=(first, TESTED, *others, *doubt))
    placed = tuple(
        one
        for h, of_layers in samples.items()
        for one in _placements(
            of_layers, h, recommended.layers if h == recommended.step_size else ()
        )
    )
    config = {**found.config, "checkpoint": checkpoint}
    return Prediction(config, tuple(layers), placed, recommended)


@dataclasses.dataclass(frozen=True)
class _Sample:
    """A layer's statistics over the texts and over every resample of them."""

    advantage: np.ndarray  # (1 + resamples,), of the texts themselves first
    worst_change: np.ndarray
    spectral_change: np.ndarray
    met: np.ndarray  # (resamples,), the three conditions

    @classmethod
    def of(cls, growth: xr.Dataset, draws: np.ndarray) -> "_Sample":
        solved = (growth["solve_status"].values == 0).astype(float)
        known = solved.astype(bool)
        advantage = np.where(known, growth["advantage"].values, np.nan)
        worst, spectral = (
            np.where(known, _change(growth[name]), np.nan)
            for name in ("worst_growth", "spectral_growth")
        )
        mean, change, radius = (
            _over(np.mean, advantage[draws]),
            _over(np.median, worst[draws]),
            _over(np.median, spectral[draws]),
        )
        met = (
            (solved[draws].mean(axis=1) >= SOLVED) & (mean > 0) & (change <= 0)
        )  # NaN meets nothing
        return cls(mean, change, radius, met[1:])


def _change(growth: xr.DataArray) -> np.ndarray:
    """log(implicit/explicit), one for each text."""
    explicit, implicit = (np.log(growth.sel(scheme=method).values) for method in METHODS)
    return np.asarray(implicit - explicit)


def _over(statistic: Any, values: np.ndarray) -> np.ndarray:
    """A statistic over the last axis, without NaN; NaN where nothing is left."""
    known = np.isfinite(values)
    if known.all():
        return np.asarray(statistic(values, axis=-1))
    return np.array(
        [
            statistic(row[one]) if one.any() else np.nan
            for row, one in zip(values, known, strict=True)
        ]
    )


def _estimate(values: np.ndarray) -> Estimate:
    """Of a statistic's own value followed by its resamples."""
    return Estimate(float(values[0]), *percentile_interval(values[1:]))


def _layer(
    growth: xr.Dataset, spectrum: xr.Dataset, solves: xr.Dataset, sample: _Sample
) -> LayerPrediction:
    h = float(growth["step_size"])
    worst = {m: statistics(growth["worst_growth"].sel(scheme=m)) for m in METHODS}
    share_of_resamples = float(sample.met.mean())
    solved = float((growth["solve_status"] == 0).mean())
    norm = h * growth["logarithmic_norm"]
    distance = abs(spectrum["eigenvalue"] - 1 / h).min("rank", skipna=False)
    return LayerPrediction(
        layer=int(growth["layer"]),
        step_size=h,
        advantage=_estimate(sample.advantage),
        worst_change=_estimate(sample.worst_change),
        spectral_change=_estimate(sample.spectral_change),
        worst=worst,
        spectral={m: statistics(growth["spectral_growth"].sel(scheme=m)) for m in METHODS},
        certain={m: float(growth["spectral_growth_certain"].sel(scheme=m).mean()) for m in METHODS},
        h_mu=statistics(norm),
        h_mu_below_one=float((norm < 1).mean()),
        pole_distance=statistics(distance),
        solved=solved,
        tolerances=tuple(solves["rtol"].values.tolist()),
        evaluations=_by_tolerance(solves["tolerance_evaluations"].mean("text", skipna=False)),
        converged=_by_tolerance(solves["tolerance_converged"].mean("text")),
        error=_by_tolerance(solves["tolerance_error"].median("text", skipna=False)),
        truncated_advantage=float(solves["truncated_advantage"].mean("text", skipna=False)),
        share_of_resamples=share_of_resamples,
        reasons=()
        if share_of_resamples >= SHARE
        else telling.reasons(
            _estimate(sample.advantage), _estimate(sample.worst_change), solved, worst
        ),
    )


def _by_tolerance(values: xr.DataArray) -> tuple[float, ...]:
    return tuple(map(float, values.values))


def _placements(
    samples: dict[int, _Sample], h: float, recommended: tuple[int, ...]
) -> list[Placement]:
    """None, every layer alone, every run of half of the layers, all, and what is recommended."""
    layers = sorted(samples)
    half = -(-len(layers) // 2)
    runs = [tuple(layers[first : first + half]) for first in range(len(layers) - half + 1)]
    sets = [(), *((layer,) for layer in layers), *runs, tuple(layers), recommended]
    return [
        Placement(telling.named(one), one, h, _together(samples, one))
        for one in dict.fromkeys(sets)
    ]


def _together(samples: dict[int, _Sample], layers: Sequence[int]) -> Estimate:
    return (
        _estimate(np.sum([samples[layer].advantage for layer in layers], axis=0))
        if layers
        else Estimate(0.0, 0.0, 0.0)
    )


def _recommendation(
    found: list[LayerPrediction], samples: dict[float, dict[int, _Sample]], depth: int
) -> Recommendation:
    eligible = {
        h: tuple(one.layer for one in found if one.step_size == h and not one.reasons)
        for h in samples
    }
    h = max(sorted(eligible), key=lambda one: _together(samples[one], eligible[one]).value)
    layers = eligible[h]
    if not layers:
        nowhere = ~np.any(
            [sample.met for one in samples.values() for sample in one.values()], axis=0
        )
        return Recommendation(
            (), None, None, None, 1.0, float(nowhere.mean()), telling.of_nothing(found)
        )
    chosen = [one for one in found if one.step_size == h and one.layer in layers]
    place = _tolerance(chosen)
    evaluations = sum(one.evaluations[place] for one in chosen)
    placement = Placement(telling.named(layers), layers, h, _together(samples[h], layers))
    cost = (depth - len(layers) + evaluations) / depth
    share_of_resamples = float(np.all([samples[h][layer].met for layer in layers], axis=0).mean())
    sentences = telling.of_placement(found, chosen, placement, place, cost, share_of_resamples)
    return Recommendation(
        layers,
        h,
        chosen[0].tolerances[place],
        placement.advantage,
        cost,
        share_of_resamples,
        sentences,
    )


def _tolerance(chosen: list[LayerPrediction]) -> int:
    """The place of the loosest tolerance that is reached and leaves the methods apart in every
    chosen layer, else of the tightest.
    """
    places = range(len(chosen[0].tolerances))
    return next(
        (
            i
            for i in places
            if all(one.error[i] <= ERROR and one.converged[i] >= SOLVED for one in chosen)
        ),
        places[-1],
    )
