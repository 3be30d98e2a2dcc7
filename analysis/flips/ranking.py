"""How well each score ranks the inputs that an attack flips, beside confidence, with intervals over
resamples of sentences.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from analysis.flips.records import FEWEST, Estimate, Score
from analysis.flips.scores import CONFIDENCE
from analysis.ground.auroc import auroc, concordance
from analysis.ground.resampling import percentile_interval


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """Inputs that one model gets right, under one attack.

    Attributes:
        scores: `(inputs,)` each; NaN where there is no number.
        flipped: `(inputs,)` bool.
        sentences: `(inputs,)`, the column of `weights` of each one's sentence.
        weights: `(1 + resamples, all sentences)`, how often each resample has a sentence; the first
            row is the sentences as they are.
    """

    scores: Mapping[str, np.ndarray]
    flipped: np.ndarray
    sentences: np.ndarray
    weights: np.ndarray

    def only(self, chosen: np.ndarray) -> "Answers":
        """Those of a mask `(inputs,)`."""
        scores = {name: values[chosen] for name, values in self.scores.items()}
        return Answers(scores, self.flipped[chosen], self.sentences[chosen], self.weights)

    def score(self, name: str) -> np.ndarray:
        """One score; NaN for a model that has no such drafts."""
        return self.scores.get(name, np.full(len(self.flipped), np.nan))

    @property
    def of_inputs(self) -> np.ndarray:
        """The weights by input, `(1 + resamples, inputs)`."""
        return self.weights[:, self.sentences]


@dataclasses.dataclass(frozen=True, eq=False)
class Counts:
    """Pairs of a flipped and a held input of one model, in each resample; counts of several models
    add up.

    Attributes:
        ordered: pairs that the score orders right, ties half.
        by_confidence: that confidence orders right.
        pairs: all of them.
        left_out: inputs without the score.
        flipped_sentences: sentence of each flipped input.
        held_sentences: of each held one.
    """

    ordered: np.ndarray
    by_confidence: np.ndarray
    pairs: np.ndarray
    left_out: int
    flipped_sentences: np.ndarray
    held_sentences: np.ndarray

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.ordered + other.ordered,
            self.by_confidence + other.by_confidence,
            self.pairs + other.pairs,
            self.left_out + other.left_out,
            np.concatenate([self.flipped_sentences, other.flipped_sentences]),
            np.concatenate([self.held_sentences, other.held_sentences]),
        )


def count_pairs(
    answers: Answers, names: Sequence[str], other: str = CONFIDENCE
) -> dict[str, Counts]:
    """The pairs that each score orders right among the answers of one model, beside what another
    score, confidence unless said, does.
    """
    weights = answers.of_inputs
    confidence = answers.score(other)
    of_confidence: dict[bytes, np.ndarray] = {}  # by the inputs that are counted
    counts = {}
    for name in names:
        values = answers.score(name)
        known = np.isfinite(values) & np.isfinite(confidence)
        flipped = answers.flipped[known]
        weight = weights[:, known]
        ordered, pairs = concordance(values[known], flipped, weight)
        if known.tobytes() not in of_confidence:
            by_confidence, _ = concordance(confidence[known], flipped, weight)
            of_confidence[known.tobytes()] = by_confidence
        sentences = answers.sentences[known]
        counts[name] = Counts(
            ordered,
            of_confidence[known.tobytes()],
            pairs,
            int((~known).sum()),
            sentences[flipped],
            sentences[~flipped],
        )
    return counts


def across_models(models: Sequence[Answers], name: str) -> Estimate:
    """What a score's AUROC has over that of confidence where all inputs stand in one ranking,
    whichever model they are of.
    """
    answers = [_with_both(each, name) for each in models]
    flipped = np.concatenate([each.flipped for each in answers])
    weights = np.concatenate([each.of_inputs for each in answers], axis=1)
    values, confidence = (
        auroc(np.concatenate([each.score(of) for each in answers]), flipped, weights)
        for of in (name, CONFIDENCE)
    )
    sentences = np.concatenate([each.sentences for each in answers])
    return estimate(values - confidence, enough_sentences(sentences[flipped], sentences[~flipped]))


def _with_both(answers: Answers, name: str) -> Answers:
    """Those of which a score and confidence are numbers."""
    both = np.isfinite(answers.score(name)) & np.isfinite(answers.score(CONFIDENCE))
    return answers.only(both)


def scored(name: str, counts: Counts) -> Score:
    """A score's AUROC, and what it has over confidence."""
    enough = enough_sentences(counts.flipped_sentences, counts.held_sentences)
    with np.errstate(invalid="ignore"):  # a resample without a pair says nothing
        by_score = counts.ordered / counts.pairs
        confidence = counts.by_confidence / counts.pairs
    both = np.concatenate([counts.flipped_sentences, counts.held_sentences])
    return Score(
        name=name,
        left_out=counts.left_out,
        flipped=len(counts.flipped_sentences),
        held=len(counts.held_sentences),
        sentences=len(np.unique(both)),
        auroc=estimate(by_score, enough),
        confidence=estimate(confidence, enough),
        gain=estimate(by_score - confidence, enough),
    )


def enough_sentences(flipped: np.ndarray, held: np.ndarray) -> bool:
    """Whether enough different sentences flip, and hold, for an interval: one sentence that flips
    for every model is one.
    """
    return min(len(np.unique(flipped)), len(np.unique(held))) >= FEWEST


def estimate(resampled: np.ndarray, enough: bool = True) -> Estimate:
    """A statistic of the sentences as they are, and its interval over the resamples after it."""
    low, high = percentile_interval(resampled[1:]) if enough else (np.nan, np.nan)
    return Estimate(*(float(v) if np.isfinite(v) else None for v in (resampled[0], low, high)))
