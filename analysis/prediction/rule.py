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

from analysis.ground.resampling import drawn_items, percentile_interval
from analysis.prediction import telling
from analysis.prediction.records import (
    ERROR,
    FEW,
    RESAMPLES,
    SHARE,
    SOLVED,
    Estimate,
    LayerPrediction,
    Placement,
    Prediction,
    Recommendation,
)
from analysis.summary import METHODS, LayerGrowth, LayerSolves, LayerSpectrum, Summary, statistics


def predict(summary: Summary, seed: int = 0, checkpoint: str | None = None) -> Prediction:
    """The prediction of a run that measured "layer" and "solves" cells of all layers.

    Args:
        summary: of the run.
        seed: of the resamples of texts.
        checkpoint: sha256 of the weights that it is about.

    Raises:
        ValueError: if the run has no solves, or fewer than two texts, which leave nothing to
            resample.
    """
    if not summary.growth or not summary.solves:
        raise ValueError(
            "a prediction needs the single steps and the solves "
            "of every layer: run `odestab predict`"
        )
    texts = len(summary.growth[0].advantage)
    if texts < 2:
        raise ValueError(f"texts: a prediction needs at least 2 to say how sure it is, got {texts}")
    draws = drawn_items(texts, RESAMPLES, seed)
    spectra, solves = (
        {one.layer: one for one in summary.spectra},
        {(one.layer, one.step_size): one for one in summary.solves},
    )
    samples: dict[float, dict[int, _Sample]] = {}
    found = []
    for growth in sorted(summary.growth, key=lambda one: (one.step_size, one.layer)):
        sample = samples.setdefault(growth.step_size, {})[growth.layer] = _Sample.of(growth, draws)
        found.append(
            _layer(growth, spectra[growth.layer], solves[growth.layer, growth.step_size], sample)
        )
    recommended = _recommendation(found, samples, summary.config["encoder_depth"])
    if texts < FEW:
        recommended = dataclasses.replace(
            recommended, sentences=(*recommended.sentences, telling.of_few(texts))
        )
    placed = tuple(
        one
        for h, layers in samples.items()
        for one in _placements(layers, h, recommended.layers if h == recommended.step_size else ())
    )
    return Prediction(
        summary.config | {"checkpoint": checkpoint}, tuple(found), placed, recommended
    )


@dataclasses.dataclass(frozen=True)
class _Sample:
    """A layer's statistics over the texts and over every resample of them."""

    advantage: np.ndarray  # (1 + resamples,), of the texts themselves first
    worst_change: np.ndarray
    spectral_change: np.ndarray
    met: np.ndarray  # (resamples,), the three conditions

    @classmethod
    def of(cls, growth: LayerGrowth, draws: np.ndarray) -> "_Sample":
        solved = (growth.status == 0).astype(float)
        known = solved.astype(bool)
        advantage = np.where(known, growth.advantage, np.nan)
        worst, spectral = (
            np.where(known, np.log(one["implicit"]) - np.log(one["explicit"]), np.nan)
            for one in (growth.worst, growth.spectral)
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
    growth: LayerGrowth, spectrum: LayerSpectrum, solves: LayerSolves, sample: _Sample
) -> LayerPrediction:
    h = growth.step_size
    worst = {m: statistics(growth.worst[m]) for m in METHODS}
    share_of_resamples, solved = float(sample.met.mean()), float((growth.status == 0).mean())
    return LayerPrediction(
        layer=growth.layer,
        step_size=h,
        advantage=_estimate(sample.advantage),
        worst_change=_estimate(sample.worst_change),
        spectral_change=_estimate(sample.spectral_change),
        worst=worst,
        spectral={m: statistics(growth.spectral[m]) for m in METHODS},
        certain={m: float(growth.certain[m].mean()) for m in METHODS},
        h_mu=statistics(h * growth.logarithmic_norm),
        h_mu_below_one=float((h * growth.logarithmic_norm < 1).mean()),
        pole_distance=statistics(np.abs(spectrum.leading - 1 / h).min(axis=1)),
        solved=solved,
        tolerances=tuple(map(float, solves.tolerances)),
        evaluations=tuple(map(float, solves.evaluations.mean(axis=0))),
        converged=tuple(map(float, solves.converged.mean(axis=0))),
        error=tuple(map(float, np.median(solves.error, axis=0))),
        truncated_advantage=float(solves.truncated_advantage.mean()),
        share_of_resamples=share_of_resamples,
        reasons=()
        if share_of_resamples >= SHARE
        else telling.reasons(
            _estimate(sample.advantage), _estimate(sample.worst_change), solved, worst
        ),
    )


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
