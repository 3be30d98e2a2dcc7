"""What a verdict says of a study beside its rankings: rows, transfers, the reading of its plan."""

from typing import Final, Literal

from analysis.flips.estimates import Count, Estimate
from analysis.ground.frozen_record import Record
from analysis.ground.question import Outcome, Question

Unknown = Literal["unknown"]
UNKNOWN: Final = "unknown"


class Joined(Record, frozen=True):
    """The rows of an attack that stand beside the condition of its model.

    Attributes:
        attack: its name.
        model: index.
        rows: that were used: the first ones of the condition, without those that disagree.
        inputs: of the condition.
        disagreeing: rows that the model has right in one of the two records only; left out.
    """

    attack: str
    model: Count
    rows: Count
    inputs: Count
    disagreeing: Count


class Compared(Record, frozen=True, kw_only=True):
    """One score beside another against the flips of one attack, on the same inputs.

    Attributes:
        score: its name; "explicit …" is the explicit model's, else the implicit model's own.
        other: the name of the other.
        left_out: inputs without one of them.
        flipped: inputs that the attack flips.
        held: inputs that it does not.
        sentences: different ones among both.
        auroc: of the score.
        of_other: of the other.
        gain: auroc less that of the other, paired.
    """

    score: str
    other: str
    left_out: Count
    flipped: Count
    held: Count
    sentences: Count
    auroc: Estimate
    of_other: Estimate
    gain: Estimate


class Transfer(Record, frozen=True, kw_only=True):
    """Scores of explicit models against the flips of the implicit models of the same seeds, among
    what these get right; exploratory.

    Attributes:
        attack: its name.
        task: of all.
        explicit: kind of model that the scores are of.
        implicit: kind that was attacked.
        pairs: indices of the explicit and the implicit model.
        seeds: of the pairs.
        inputs: right answers of the implicit models.
        flipped: of them.
        compared: score by score.
    """

    attack: str
    task: str
    explicit: str
    implicit: str
    pairs: list[list[Count]]
    seeds: list[Count]
    inputs: Count
    flipped: Count
    compared: list[Compared]


class Plan(Record, frozen=True):
    """What the plan of the study fixed.

    Attributes:
        name: of the study.
        digest: sha256 of the plan's file.
        changed: digests that the plan's file had before, where it was changed after the first run.
        question: with the sentence for each outcome; None where the plan has none.
    """

    name: str
    digest: str
    changed: list[str]
    question: Question | None


class Reading(Record, frozen=True, kw_only=True):
    """The sentence of a plan that the numbers select.

    Attributes:
        plan: sha256 of the plan's file.
        attack: its name.
        task: of the models.
        kind: of the models.
        inputs: right answers.
        sentences: different ones among them with both scores.
        gain: the primary outcome.
        outcome: which one its interval is; "unknown" without an interval.
        sentence: of the plan, for that outcome; without an interval that there are too few inputs.
    """

    plan: str
    attack: str
    task: str
    kind: str
    inputs: Count
    sentences: Count
    gain: Estimate
    outcome: Outcome | Unknown
    sentence: str
