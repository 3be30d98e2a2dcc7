"""Predicted against measured: does the advantage that a prediction gives to placements of implicit
steps rank their measured robustness?

The measured outcome of a placement is fixed beforehand: on the examples that it and the explicit
model of the same seed both get right, how much rarer an attack flips it, flips(explicit) −
flips(placement), as a share. Larger is more robust, as is a larger predicted advantage. Knows
imbert's files, not imbert.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.confirmation.contrast import Contrast, contrasts_of
from analysis.confirmation.contrast import told as told_contrasts
from analysis.confirmation.outcomes import Pairs, by_seed, clusters_of, resampled
from analysis.confirmation.power import SPREADS
from analysis.confirmation.power import told as told_power
from analysis.confirmation.runs import Prediction, Run, read_runs
from analysis.ground.json_records import read_record
from analysis.ground.rank_correlation import (
    Correlation,
    correlation,
    ranking_power,
    seed_scatter,
    spearman,
)
from analysis.ground.resampling import (
    LEVEL,
    Interval,
    detectable_difference,
    mean_interval,
    percentile_interval,
    widened,
)

PREDICTION_SCHEMA = 1
PRIMARY = "characters"  # the attack whose outcome was fixed beforehand; any other is exploratory
EXPLORATORY = "{attack} is not the outcome that was fixed beforehand: this is exploratory."
WITHIN = "Spearman, equally many layers"
FEWEST = (
    5  # of 4 placements no order is rarer than 1 in 24: nothing could be significant on both sides
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One placement, predicted and measured.

    Attributes:
        layers: that take an implicit step.
        predicted: advantage, with its interval over texts, nats.
        measured: the share by which it is flipped more rarely than the explicit model, mean over
            seeds.
        low: end of its 95 % interval over resamples of examples (those of the same texts together)
            and seeds; of two seeds Student's over them where that is wider, of one seed over
            examples alone.
        high: likewise.
        dev: mean metric on the dev split.
        fallen: whether its 95 % interval lies below the explicit model's for some seed: drift
            toward chance looks like robustness.
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
        outcomes: of every placement, by predicted advantage; of the explicit model too, whose
            outcome is 0 by definition.
        correlations: Spearman's and Kendall's, and Spearman's among placements of equally many
            layers, all of them without the explicit model, which would be ranked against itself;
            none of fewer than five placements, which only a contrast judges.
        detectable: the least difference of flips that a placement would show in 80 % of studies
            with these seeds and examples, at the 5 % level; of one seed without what another seed
            would change.
        noise: standard deviation of a placement's outcome over seeds, as a share; measured from two
            seeds on, or given; None if neither.
        powers: true spread of the outcomes → probability that the rank test confirms a perfect
            prediction; empty without noise.
        sentence: what follows.
        meta: digests and counts.
        contrasts: of a prediction from a fine-tuned model of the study; None of any other.
    """

    attack: str
    outcomes: tuple[Outcome, ...]
    correlations: tuple[Correlation, ...]
    detectable: float
    noise: float | None
    powers: dict[str, float]
    sentence: str
    meta: dict[str, Any]
    contrasts: tuple[Contrast, ...] | None = None

    @property
    def power(self) -> str:
        """What such a study could have seen."""
        placements = sum(bool(one.layers) for one in self.outcomes)
        ranks = told_power(self.noise, placements, self.powers) if self.correlations else ""
        if not np.isfinite(self.detectable):
            return f"Which difference such a study could see is not known. {ranks}".strip()
        what = (
            "with these examples, leaving out what other seeds would change"
            if self.meta["seeds"] == 1
            else "with as many seeds"
        )
        seen = (
            "A placement whose flips differ from the explicit model's by "
            f"{self.detectable:.3f} would be told apart in 80 % of studies"
        )
        return f"{seen} {what}. {ranks}".strip()

    def record(self) -> dict[str, Any]:
        """Plain values for confirmation.json."""
        values = dataclasses.asdict(self)
        # records of predictions from the checkpoint that fine-tuning starts at have none
        if self.contrasts is None:
            del values["contrasts"]
        return values


def confirm(
    prediction: Path, study: Path, attack: str, seed: int = 0, seed_sd: float | None = None
) -> Confirmation:
    """Hold a prediction against the runs that were to test it.

    Args:
        prediction: a prediction.json.
        study: a folder of imbert with runs whose records name the prediction's sha256.
        attack: whose record every run has.
        seed: of resamples and permutations.
        seed_sd: standard deviation of one model's flips over seeds, as a share, where another study
            has measured it; what these runs say goes before it.

    Raises:
        ValueError: if seed_sd is negative or not finite; if a file is damaged or of another schema,
            checkpoint, field, step size or set of examples, a run does not name the prediction, or
            there are too few placements or no explicit model to compare with. A prediction from the
            fine-tuned explicit model of one seed is held against the other seeds, whose runs need
            not name it and may be of fewer placements.
        OSError: if something cannot be read.
    """
    ahead = read_record(prediction, Prediction, "a prediction", PREDICTION_SCHEMA)
    digest = hashlib.sha256(prediction.read_bytes()).hexdigest()
    runs, step_size, source = read_runs(study, attack, ahead, digest)
    predicted = {
        tuple(one["layers"]): one["advantage"]
        for one in ahead["placements"]
        if one["step_size"] == step_size and one["advantage"]["value"] is not None
    }
    pairs = _paired(runs)
    if seed_sd is not None and not (np.isfinite(seed_sd) and seed_sd >= 0):
        raise ValueError(f"seed_sd must be >= 0 and finite, got {seed_sd}")
    known = sorted(
        (layers for layers in pairs if layers in predicted),
        key=lambda layers: predicted[layers]["value"],
    )
    ranked = [
        i for i, layers in enumerate(known) if layers
    ]  # the explicit model's outcome is 0 by definition
    if len(ranked) < (FEWEST if source is None else 1):
        wanted = f"at least {FEWEST} placements of implicit steps that were predicted and run"
        raise ValueError(f"{study}: a rank correlation needs {wanted}, got {len(ranked)}")
    measured = resampled([pairs[layers] for layers in known], seed)
    outcomes = tuple(
        _outcome(pairs[layers], predicted[layers], row)
        for layers, row in zip(known, measured, strict=True)
    )
    order = np.array([predicted[known[i]]["value"] for i in ranked])
    counts = np.array([len(known[i]) for i in ranked])
    found = _correlations(order, counts, measured[ranked], seed)
    placements = [pairs[known[i]] for i in ranked]
    noise = _noise(placements, seed_sd)
    meta = {
        "prediction": digest,
        "primary": attack == PRIMARY,
        "step_size": step_size,
        "runs": len(runs),
        "seeds": len({run.seed for run in runs}),
        "examples": len(runs[0].right),
        "clusters": len(np.unique(clusters_of(runs[0]))),
        "unpredicted": [list(one) for one in pairs if one not in predicted],
        "with_count": float(spearman(order, counts.astype(float), np.zeros_like(counts)))
        if found
        else float("nan"),
    }
    contrasts = None
    sentence = _sentence(found, [outcomes[i] for i in ranked], meta, attack) if found else ""
    if source is not None:
        contrasts = contrasts_of({layers: pairs[layers] for layers in known}, predicted, seed)
        alone = "" if meta["primary"] else EXPLORATORY.format(attack=attack)
        told = told_contrasts(contrasts, source, len(runs), attack)
        sentence = f"{told} {sentence or alone}".strip()
    return Confirmation(
        attack=attack,
        outcomes=outcomes,
        correlations=found,
        detectable=_detectable(placements, measured[ranked]),
        noise=noise,
        powers={f"{spread:g}": ranking_power(len(ranked), spread, noise) for spread in SPREADS}
        if found and noise is not None
        else {},
        sentence=sentence,
        meta=meta,
        contrasts=contrasts,
    )


def _correlations(
    order: np.ndarray, counts: np.ndarray, measured: np.ndarray, seed: int
) -> tuple[Correlation, ...]:
    """Of predicted and measured, without and with the number of implicit layers held fixed; none of
    too few placements.
    """
    if len(order) < FEWEST:
        return ()
    found = [correlation(name, order, measured, seed) for name in ("Spearman", "Kendall")]
    within = correlation("Spearman", order, measured, seed, strata=counts)
    return (*found, dataclasses.replace(within, name=WITHIN))


def _paired(runs: Sequence[Run]) -> dict[tuple[int, ...], Pairs]:
    """Every run beside the explicit model of its seed, by placement."""
    explicit = {one.seed: one for one in runs if not one.layers}
    lacking = sorted({one.seed for one in runs} - explicit.keys())
    if lacking:
        raise ValueError(
            "expected an explicit model (kind bert) of every seed to "
            f"compare with, got none of seed {lacking[0]}"
        )
    found: dict[tuple[int, ...], Pairs] = {}
    for one in sorted(runs, key=lambda run: (run.layers, run.seed)):
        found.setdefault(one.layers, []).append((one, explicit[one.seed]))
    return found


def _outcome(pairs: Pairs, predicted: dict[str, float], measured: np.ndarray) -> Outcome:
    interval = Interval(float(measured[0]), *percentile_interval(measured[1:]), len(pairs))
    if len(pairs) == 2:
        # Resamples see half of the variance of two seeds, which may also agree by chance.
        interval = widened(interval, mean_interval(by_seed(pairs)))
    return Outcome(
        layers=pairs[0][0].layers,
        predicted=predicted,
        measured=interval.mean,
        low=interval.low,
        high=interval.high,
        dev=float(np.mean([one.dev for one, _ in pairs])),
        fallen=any(one.dev_interval[1] < other.dev_interval[0] for one, other in pairs),
        examples=tuple(int((one.right & other.right).sum()) for one, other in pairs),
        seeds=tuple(one.seed for one, _ in pairs),
    )


def _noise(placements: Sequence[Pairs], seed_sd: float | None) -> float | None:
    """Standard deviation of a placement's mean outcome: over the seeds that all have, else from
    what was measured elsewhere.
    """
    seeds = set.intersection(*({one.seed for one, _ in pairs} for pairs in placements))
    if len(seeds) < 2 and seed_sd is None:
        return None
    scatter = seed_sd
    if len(seeds) > 1:
        outcomes = [
            by_seed([pair for pair in pairs if pair[0].seed in seeds]) for pairs in placements
        ]
        scatter = seed_scatter(np.array(outcomes))
    assert scatter is not None
    return scatter / float(np.sqrt(max(len(seeds), 1)))


def _detectable(placements: Sequence[Pairs], measured: np.ndarray) -> float:
    """The detectable difference of the median placement, with the seeds and the clusters of
    examples that the study has.
    """
    differences = np.array(
        [
            detectable_difference(_standard_error(row[1:]), len(pairs))
            for pairs, row in zip(placements, measured, strict=True)
        ]
    )
    known = differences[np.isfinite(differences)]
    return float(np.median(known)) if len(known) else float("nan")


def _standard_error(drawn: np.ndarray) -> float:
    known = drawn[np.isfinite(drawn)]
    return float(known.std()) if len(known) else float("nan")


def _sentence(
    found: Sequence[Correlation], outcomes: Sequence[Outcome], meta: dict[str, Any], attack: str
) -> str:
    first, within = found[0], found[-1]
    told = (
        f"Over {len(outcomes)} placements the predicted advantage and the "
        f"measured robustness against {attack} have {_value(first)}: "
    )
    if not np.isfinite(first.value):
        return (
            told + "all placements are equally robust, or of one "
            "nothing is known, and nothing can be said."
        )
    if first.p_value > 1 - LEVEL:
        told += (
            "not confirmed. Of so many placements only |ρ| ≥ "
            f"{first.critical:.2f} is told from chance."
        )
    else:
        told += (
            "confirmed."
            if first.value > 0
            else "refuted: what was predicted to help most, helps least."
        )
    told += (
        f" The prediction goes with the number of implicit layers (ρ = {meta['with_count']:+.2f}); "
    )
    told += f"among placements of equally many, {_value(within)}."
    if fallen := ["–".join(map(str, one.layers)) for one in outcomes if one.fallen]:
        told += (
            f" On dev {', '.join(fallen)} fall below the explicit model: "
            "their robustness may be drift toward chance."
        )
    return told if meta["primary"] else f"{told} {EXPLORATORY.format(attack=attack)}"


def _value(found: Correlation) -> str:
    return (
        f"Spearman ρ = {found.value:+.2f} [{found.low:+.2f}, "
        f"{found.high:+.2f}], p = {found.p_value:.2g}"
    )
