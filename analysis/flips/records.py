"""What `odestab confirm CONDITION ATTACKS…` leaves as flips.json, as frozen types. No text is part
of it.
"""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from analysis.flips.estimates import Count, Number
from analysis.flips.estimates import Estimate as Estimate
from analysis.flips.study_records import Joined
from analysis.flips.study_records import Plan as Plan
from analysis.flips.study_records import Reading as Reading
from analysis.flips.study_records import Transfer as Transfer
from analysis.ground.frozen_record import Record

SCHEMA: Final = 1
CHANCE = 0.5  # AUROC of a score that says nothing
Population = Literal["right", "unflipped"]
FEWEST = 5  # sentences that flip, and that hold, below which there is no interval


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
            None where the rates are equal within each model and fold, or separate all that flip
            from all that hold: the regression has no answer then.
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
        across: of the primary outcome of several models, the gain where inputs of different models
            are compared with each other too; else None.
        calibration: None for inputs that no draft flips, for one model beside several, and where
            too few flip or hold; for several kinds of model too.
        task: of the models; empty where it is not known.
        kind: of the models; empty for several kinds together, or where it is not known.
    """

    attack: str
    models: list[Count]
    population: Population
    primary: bool
    inputs: Count
    flipped: Count
    scores: list[Score]
    across: Estimate | None
    calibration: Calibration | None
    task: str = ""
    kind: str = ""

    def score(self, name: str) -> Score:
        """The score of a name."""
        return next(score for score in self.scores if score.name == name)


class Fate(Record, frozen=True, kw_only=True):
    """When an edit's fate is decided: AUROC, for pairs that flip, of the size of the difference
    over the margin before, ‖δ_l‖/m, at each level l = 0, …, L.

    Attributes:
        model: as it was named; "all" for several together.
        models: indices among the records of edits.
        pairs: with a classifier's answer to both texts, the first with a margin that is not 0.
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
        task: that it was trained on; empty where it is not known.
        kind: "bert", "ex-bert" or "im-bert"; empty where it is not known.
        seed: of training; None where it is not known.
    """

    name: str
    weights: str
    examples: str
    inputs: Count
    right: Count
    task: str = ""
    kind: str = ""
    seed: Count | None = None


class Primary(Record, frozen=True):
    """What was fixed before anybody looked.

    Attributes:
        score: its name.
        attacks: against which it is tested.
        outcome: what of it.
        population: on which inputs.
        sentence: what came out.
        alone: what came out of single models; empty for one.
    """

    score: str
    attacks: list[str]
    outcome: str
    population: Population
    sentence: str
    alone: str


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
        joined: the rows of each attack that were used.
        missing: what one kind of model lacks of the seeds that another has.
        transfers: of explicit models' scores to implicit models' flips.
        plans: of the studies whose models these are, as far as they were given.
        readings: of the plans, selected by the primary outcomes.
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
    joined: list[Joined] = msgspec.field(default_factory=list)
    missing: list[str] = msgspec.field(default_factory=list)
    transfers: list[Transfer] = msgspec.field(default_factory=list)
    plans: list[Plan] = msgspec.field(default_factory=list)
    readings: list[Reading] = msgspec.field(default_factory=list)

    @property
    def has_groups(self) -> bool:
        """Several tasks or kinds of model stand beside each other."""
        return len({(each.task, each.kind) for each in self.rankings}) > 1

    def pooled(self, population: Population) -> list[Ranking]:
        """Of each attack, on all models of a task that it attacked together: of several kinds all
        of them first, then each kind.
        """
        return [each for each in pooled_rankings(self.rankings) if each.population == population]


def pooled_rankings(rankings: list[Ranking]) -> list[Ranking]:
    """Those of all models of a task, or of a kind, that their attack attacked."""
    most: dict[tuple[str, str, str], int] = {}
    for each in rankings:
        key = (each.attack, each.task, each.kind)
        most[key] = max(most.get(key, 0), len(each.models))
    return [
        each for each in rankings if len(each.models) == most[each.attack, each.task, each.kind]
    ]


def principal_scores(names: Iterable[str]) -> list[str]:
    """All scores, of the growth of each family's drafts the last level alone."""
    known = list(names)
    last = {name.rpartition(" ")[0]: name for name in known if " growth " in name}
    return [name for name in known if " growth " not in name or name in last.values()]


def row_notes(record: Flips) -> list[str]:
    """Attacks on the first rows alone, rows that were left out, and seeds that are missing."""
    models: dict[str, list[Model]] = {}
    for each in record.joined:
        model = record.models[each.model]
        if each.rows < each.inputs:
            named = ", ".join(name for name in (each.attack, model.task, model.kind) if name)
            words = f"{named}: {each.rows} of {each.inputs} rows used"
            if each.disagreeing:
                words += f", {each.disagreeing} left out, where the two records differ"
            models.setdefault(words, []).append(model)
    lines = [f"{words} ({_who(of)})" for words, of in models.items()]
    return lines + [f"missing: {line}" for line in record.missing]


def _who(models: list[Model]) -> str:
    """The seeds of models of one task and kind, else how many they are."""
    seeds = [model.seed for model in models if model.seed is not None]
    if len(seeds) == len(models):
        return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
    return f"{len(models)} model{'s' if len(models) > 1 else ''}"
