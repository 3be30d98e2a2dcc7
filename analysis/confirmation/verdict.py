"""Predicted against measured: does the advantage that a prediction gives to placements of implicit steps rank their measured robustness?

The measured outcome of a placement is fixed beforehand: on the examples that it and the explicit model of the same seed both get right, how
much rarer an attack flips it, flips(explicit) − flips(placement), as a share. Larger is more robust, as is a larger predicted advantage.
Knows imbert's files, not imbert.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Annotated, Any, TypedDict

import numpy as np

from analysis.confirmation.rank import LEVEL, RESAMPLES, STATISTICS, WITHIN, Correlation, correlation, percentiles
from analysis.confirmation.runs import Run, read_runs
from analysis.json_records import Within, read_record

PREDICTION_SCHEMA = 1
PRIMARY = "characters"  # the attack whose outcome was fixed beforehand; any other is exploratory
POWER = 0.8
FEWEST = 5  # of 4 placements no order is rarer than 1 in 24: nothing could be significant on both sides
Pairs = list[tuple[Run, Run]]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One placement, predicted and measured.

    Attributes:
        layers: that take an implicit step.
        predicted: advantage, with its interval over texts, nats.
        measured: the share by which it is flipped more rarely than the explicit model, mean over seeds.
        low: end of its 95 % interval over resamples of the examples.
        high: likewise.
        dev: mean metric on the dev split.
        fallen: whether its 95 % interval lies below the explicit model's for some seed: drift toward chance looks like robustness.
        examples: that both get right, for each seed.
        seeds: of training.
    """

    layers: tuple[int, ...]
    predicted: dict[str, float]
    measured: float
    low: float
    high: float
    dev: float
    fallen: bool
    examples: tuple[int, ...]
    seeds: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Confirmation:
    """What a study says of a prediction.

    Attributes:
        attack: by which robustness was measured.
        outcomes: of every placement, by predicted advantage.
        correlations: Spearman's and Kendall's, and Spearman's among placements of equally many layers.
        detectable: the least difference of flips that a pair of models would show in 80 % of studies like this, at the 5 % level.
        sentence: what follows.
        meta: digests and counts.
    """

    attack: str
    outcomes: tuple[Outcome, ...]
    correlations: tuple[Correlation, ...]
    detectable: float
    sentence: str
    meta: dict[str, Any]

    @property
    def power(self) -> str:
        """What such a study could have seen."""
        if not np.isfinite(self.detectable):
            return "Which difference such a study could see is not known."
        return f"A pair of models whose flips differ by {self.detectable:.3f} would be told apart in 80 % of such studies."

    def record(self) -> dict[str, Any]:
        """Plain values for confirmation.json."""
        return dataclasses.asdict(self)


class _Advantage(TypedDict):
    """With its interval over texts."""

    value: float | None
    low: float | None
    high: float | None


class _Placement(TypedDict):
    """Some layers implicit."""

    layers: list[Annotated[int, Within(0)]]
    step_size: float
    advantage: _Advantage


class _Config(TypedDict):
    """What a prediction was made of."""

    checkpoint: str | None
    field: str
    encoder_depth: Annotated[int, Within(1)]


class _Prediction(TypedDict):
    """What is read of prediction.json."""

    config: _Config
    placements: list[_Placement]


def confirm(prediction: Path, study: Path, attack: str, seed: int = 0) -> Confirmation:
    """Hold a prediction against the runs that were to test it.

    Args:
        prediction: a prediction.json.
        study: a folder of imbert with runs whose records name the prediction's sha256.
        attack: whose record every run has.
        seed: of resamples and permutations.

    Raises:
        ValueError: if a file is damaged or of another schema, checkpoint, field, step size or set of examples, a run does not name the
            prediction, or there are too few placements or no explicit model to compare with.
        OSError: if something cannot be read.
    """
    ahead = read_record(prediction, _Prediction, "a prediction", PREDICTION_SCHEMA)
    digest = hashlib.sha256(prediction.read_bytes()).hexdigest()
    runs, step_size = read_runs(study, attack, ahead, digest)
    predicted = {
        tuple(one["layers"]): one["advantage"]
        for one in ahead["placements"]
        if one["step_size"] == step_size and one["advantage"]["value"] is not None
    }
    pairs = _paired(runs)
    known = sorted((layers for layers in pairs if layers in predicted), key=lambda layers: predicted[layers]["value"])
    if len(known) < FEWEST:
        raise ValueError(f"{study}: a rank correlation needs at least {FEWEST} placements that were predicted and run, got {len(known)}")
    measured = _resampled([pairs[layers] for layers in known], seed)
    order, counts = np.array([predicted[layers]["value"] for layers in known]), np.array([len(layers) for layers in known])
    outcomes = tuple(_outcome(pairs[layers], predicted[layers], row) for layers, row in zip(known, measured, strict=True))
    found = [correlation(name, order, measured, seed) for name in ("Spearman", "Kendall")]
    found.append(correlation(WITHIN, order, measured, seed, strata=counts))
    meta = {
        "prediction": digest,
        "primary": attack == PRIMARY,
        "step_size": step_size,
        "runs": len(runs),
        "unpredicted": [list(one) for one in pairs if one not in predicted],
        "with_count": float(STATISTICS["Spearman"](order, counts.astype(float), np.zeros_like(counts))),
    }
    return Confirmation(
        attack=attack,
        outcomes=outcomes,
        correlations=tuple(found),
        detectable=_detectable([pairs[layers] for layers in known if layers]),
        sentence=_sentence(found, outcomes, meta, attack),
        meta=meta,
    )


def _paired(runs: Sequence[Run]) -> dict[tuple[int, ...], Pairs]:
    """Every run beside the explicit model of its seed, by placement."""
    explicit = {one.seed: one for one in runs if not one.layers}
    lacking = sorted({one.seed for one in runs} - explicit.keys())
    if lacking:
        raise ValueError(f"expected an explicit model (kind bert) of every seed to compare with, got none of seed {lacking[0]}")
    found: dict[tuple[int, ...], Pairs] = {}
    for one in sorted(runs, key=lambda run: (run.layers, run.seed)):
        found.setdefault(one.layers, []).append((one, explicit[one.seed]))
    return found


def _outcome(pairs: Pairs, predicted: dict[str, float], measured: np.ndarray) -> Outcome:
    low, high = percentiles(measured[1:])
    return Outcome(
        layers=pairs[0][0].layers,
        predicted=predicted,
        measured=float(measured[0]),
        low=low,
        high=high,
        dev=float(np.mean([one.dev for one, _ in pairs])),
        fallen=any(one.dev_interval[1] < other.dev_interval[0] for one, other in pairs),
        examples=tuple(int((one.right & other.right).sum()) for one, other in pairs),
        seeds=tuple(one.seed for one, _ in pairs),
    )


def _resampled(placements: Sequence[Pairs], seed: int) -> np.ndarray:
    """The outcome of each placement, `(placements, 1 + resamples)`; one resample draws the same examples for all of them."""
    count = len(placements[0][0][0].right)
    drawn = np.random.default_rng([seed, count]).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    weights = np.vstack([np.ones(count), drawn])
    rows = []
    for pairs in placements:
        differences = []
        for one, other in pairs:
            both = one.right & other.right
            rarer = other.flipped.astype(float) - one.flipped
            with np.errstate(invalid="ignore"):  # a resample without an example that both get right
                differences.append((weights @ (both * rarer)) / (weights @ both))
        rows.append(np.mean(differences, axis=0))
    return np.array(rows)


def _detectable(placements: Sequence[Pairs]) -> float:
    """(z_{1−α/2} + z_power)·√(share of examples that one model alone loses/examples), for the median placement with its seeds (McNemar)."""
    scale, found = NormalDist().inv_cdf((1 + LEVEL) / 2) + NormalDist().inv_cdf(POWER), []
    for pairs in placements:
        both = np.concatenate([one.right & other.right for one, other in pairs])
        apart = np.concatenate([one.flipped != other.flipped for one, other in pairs])[both]
        found.append(scale * np.sqrt(apart.mean() / len(apart)) if len(apart) else np.nan)
    return float(np.nanmedian(found)) if np.isfinite(found).any() else float("nan")


def _sentence(found: Sequence[Correlation], outcomes: Sequence[Outcome], meta: dict[str, Any], attack: str) -> str:
    first, within = found[0], found[-1]
    told = f"Over {len(outcomes)} placements the predicted advantage and the measured robustness against {attack} have {_value(first)}: "
    if not np.isfinite(first.value):
        return told + "all placements are equally robust, or of one nothing is known, and nothing can be said."
    if first.p_value > 1 - LEVEL:
        told += f"not confirmed. With so many placements only |ρ| ≥ {first.critical:.2f} is told from chance."
    else:
        told += "confirmed." if first.value > 0 else "refuted: what was predicted to help most, helps least."
    told += f" The prediction goes with the number of implicit layers (ρ = {meta['with_count']:+.2f}); "
    told += f"among placements of equally many, {_value(within)}."
    if fallen := ["–".join(map(str, one.layers)) for one in outcomes if one.fallen]:
        told += f" On dev {', '.join(fallen)} fall below the explicit model: their robustness may be drift toward chance."
    return told if meta["primary"] else f"{told} {attack} is not the outcome that was fixed beforehand: this is exploratory."


def _value(found: Correlation) -> str:
    return f"Spearman ρ = {found.value:+.2f} [{found.low:+.2f}, {found.high:+.2f}], p = {found.p_value:.2g}"
