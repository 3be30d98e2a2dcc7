"""Whether the scores of an explicit model rank the flips of the implicit model of the same seed."""

import functools
import operator
from collections.abc import Sequence

import numpy as np

from analysis.flips.files import Arm
from analysis.flips.ranking import Answers, count_pairs, scored
from analysis.flips.scores import CONFIDENCE, GRADIENT, drafts
from analysis.flips.study_records import Compared, Transfer

EXPLICIT = "explicit "  # what the names of the explicit model's scores begin with


def transfer(
    attack: str,
    arms: Sequence[Arm],
    pairs: Sequence[tuple[int, int]],
    answers: Sequence[tuple[Answers, dict[str, np.ndarray]]],
    families: Sequence[str],
) -> Transfer:
    """Scores of explicit models against the flips of implicit ones, over all pairs of one seed.

    Args:
        attack: its name.
        arms: of all models.
        pairs: an explicit model and an implicit one, as indices.
        answers: of each pair what the implicit model gets right, and the explicit model's scores of
            the same inputs.
        families: of drafts.
    """
    models = [_with_scores(own, explicit) for own, explicit in answers]
    source, target = pairs[0]
    return Transfer(
        attack=attack,
        task=arms[source].task,
        explicit=arms[source].kind,
        implicit=arms[target].kind,
        pairs=[[source, target] for source, target in pairs],
        seeds=[arm.seed for arm in (arms[source] for source, _ in pairs) if arm.seed is not None],
        inputs=sum(len(each.flipped) for each in models),
        flipped=int(sum(each.flipped.sum() for each in models)),
        compared=[_compared(models, score, other) for score, other in _questions(families)],
    )


def _questions(families: Sequence[str]) -> list[tuple[str, str]]:
    """Which score is held against which other; names alone are the implicit model's own."""
    spreads = [(EXPLICIT + drafts(family, "spread"), CONFIDENCE) for family in families]
    return [
        (EXPLICIT + GRADIENT, CONFIDENCE),
        (EXPLICIT + GRADIENT, EXPLICIT + CONFIDENCE),
        (EXPLICIT + GRADIENT, GRADIENT),
        (EXPLICIT + CONFIDENCE, CONFIDENCE),
        (GRADIENT, CONFIDENCE),
        *spreads,
    ]


def _with_scores(own: Answers, explicit: dict[str, np.ndarray]) -> Answers:
    named = {EXPLICIT + name: values for name, values in explicit.items()}
    return Answers({**own.scores, **named}, own.flipped, own.sentences, own.weights)


def _compared(models: Sequence[Answers], score: str, other: str) -> Compared:
    """One score beside another, on the same inputs and resamples."""
    counts = [count_pairs(answers, [score], other)[score] for answers in models]
    found = scored(score, functools.reduce(operator.add, counts))
    return Compared(
        score=score,
        other=other,
        left_out=found.left_out,
        flipped=found.flipped,
        held=found.held,
        sentences=found.sentences,
        auroc=found.auroc,
        of_other=found.confidence,
        gain=found.gain,
    )
