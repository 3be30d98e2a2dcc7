"""What `odestab confirm CONDITION ATTACKS…` leaves as flips.json, as frozen types. No text is part
of it.
"""

from typing import Annotated, Literal

import msgspec

from analysis.ground.frozen_record import Record

SCHEMA = 1
Number = float | None  # None is a number that is not known
Count = Annotated[int, msgspec.Meta(ge=0)]
Population = Literal["right", "unflipped"]
FEWEST = 5  # sentences that flip, and that hold, below which there is no interval


class Estimate(Record, frozen=True):
    """A number and the ends of its 95 % interval over resamples of sentences.

    Attributes:
        value: on what was measured; None where it is not defined.
        low: None where fewer than five sentences flip, or hold.
        high: likewise.
    """

    value: Number
    low: Number
    high: Number


class Score(Record, frozen=True, kw_only=True):
    """How well one score ranks inputs that flip above inputs that hold.

    Attributes:
        name: of the score; the larger, the more fragile.
        left_out: inputs of which it is no number.
        flipped: inputs that the attack flips.
        held: inputs that it does not.
        sentences: different ones among both.
        auroc: P(a flipped input has more than a held one of the same model) + P(as much)/2.
        confidence: that of confidence, on the same inputs.
        gain: auroc less that of confidence, paired.
    """

    name: str
    left_out: Count
    flipped: Count
    held: Count
    sentences: Count
    auroc: Estimate
    confidence: Estimate
    gain: Estimate


class Bin(Record, frozen=True):
    """A tenth of the inputs by predicted flip rate.

    Attributes:
        predicted: their mean.
        observed: share that flips; without ends where none or all of them do.
        inputs: how many.
    """

    predicted: float
    observed: Estimate
    inputs: Count


class Fit(Record, frozen=True, kw_only=True):
    """Flip rates predicted from some scores for sentences that the fit has not seen.

    Attributes:
        name: of the fit.
        scores: that it reads.
        auroc: of the predicted rates, within a model and a fold.
        intercept: of the outcome's logistic regression on the predicted log odds; calibrated is 0.
        slope: likewise; calibrated is 1, and less is too sure of itself.
        brier: mean of (predicted − outcome)².
        brier_gain: that of the base rate less this.
        log_loss: mean of −log of the probability given to what happened, nats.
        log_loss_gain: that of the base rate less this.
        bins: ten, by predicted rate.
    """

    name: str
    scores: list[str]
    auroc: Estimate
    intercept: Number
    slope: Number
    brier: float
    brier_gain: Estimate
    log_loss: float
    log_loss_gain: Estimate
    bins: list[Bin]


class Calibration(Record, frozen=True, kw_only=True):
    """Predicted flip rates, cross-fitted by sentences within each model.

    Attributes:
        folds: of sentences; a sentence is in the same one for every model.
        inputs: predicted.
        left_out: inputs of which some score is no number.
        flipped: among those predicted.
        brier: of the base rate, the share of flips in the other folds.
        log_loss: likewise, nats.
        fits: on the same inputs.
    """

    folds: Count
    inputs: Count
    left_out: Count
    flipped: Count
    brier: float
    log_loss: float
    fits: list[Fit]


class Ranking(Record, frozen=True, kw_only=True):
    """Every score against the flips of one attack, on one model or on all together.

    Attributes:
        attack: its name.
        models: indices; where there are several, only inputs of one model are compared with each
            other, and a sentence is drawn with all its models.
        population: inputs that the model gets right; or those of them that no draft flips.
        primary: the outcome that was fixed beforehand is among the scores.
        inputs: how many.
        flipped: of them by the attack.
        scores: confidence first.
        calibration: None for inputs that no draft flips, for one model beside several, and where
            too few flip or hold.
    """

    attack: str
    models: list[Count]
    population: Population
    primary: bool
    inputs: Count
    flipped: Count
    scores: list[Score]
    calibration: Calibration | None


class Fate(Record, frozen=True, kw_only=True):
    """When an edit's fate is decided: AUROC, for pairs that flip, of the size of the difference
    over the margin before, ‖δ_l‖/m, at each level l = 0, …, L.

    Attributes:
        model: as it was named; "all" for several together.
        models: indices among the records of edits.
        pairs: with a classifier's answer to both texts.
        left_out: pairs without.
        flipped: of the pairs.
        sentences: different first texts.
        margin: AUROC of −m alone.
        size: AUROC of ‖δ_0‖ alone.
        whole: of ‖δ_l‖/m over all tokens, by level.
        first: of the first token.
        read: of what the classifier reads.
    """

    model: str
    models: list[Count]
    pairs: Count
    left_out: Count
    flipped: Count
    sentences: Count
    margin: Estimate
    size: Estimate
    whole: list[Estimate]
    first: list[Estimate]
    read: list[Estimate]


class Model(Record, frozen=True):
    """A model whose inputs were attacked.

    Attributes:
        name: as its condition.json names it.
        weights: digest.
        examples: digest of its rows.
        inputs: how many.
        right: of them.
    """

    name: str
    weights: str
    examples: str
    inputs: Count
    right: Count


class Primary(Record, frozen=True):
    """What was fixed before anybody looked.

    Attributes:
        score: its name.
        attacks: against which it is tested.
        outcome: what of it.
        population: on which inputs.
        sentence: what came out.
    """

    score: str
    attacks: list[str]
    outcome: str
    population: Population
    sentence: str


class Flips(Record, frozen=True, kw_only=True):
    """flips.json.

    Attributes:
        schema: of this file.
        primary: the outcome that was fixed beforehand; everything else is exploratory.
        explored: comparisons of a score with confidence in this record, all models together, that
            are not primary.
        models: with a condition.json.
        definitions: of each score.
        rankings: all models together first.
        fates: of the records of edits, all together first.
        resamples: of sentences, behind every interval.
        seed: of resamples and folds.
        versions: of what it ran on.
    """

    schema: Literal[1] = SCHEMA
    primary: Primary
    explored: Count
    models: list[Model]
    definitions: dict[str, str]
    rankings: list[Ranking]
    fates: list[Fate]
    resamples: Count
    seed: Count
    versions: dict[str, str]
