"""The question of a study with the sentence for each outcome, written down before anything ran."""

import math
from collections.abc import Mapping
from typing import Literal

from msgspec import UNSET, UnsetType

from analysis.ground.difference import Difference
from analysis.ground.frozen_record import Choice

Outcome = Literal["above", "below", "between"]
OUTCOMES: tuple[Outcome, ...] = ("above", "below", "between")


class Question(Choice, frozen=True):
    """The table `[question]` of a plan.

    Attributes:
        name: the question in words.
        primary: the outcome that decides, in words. `odestab confirm` computes "gradient over
            confidence" and `imbert study` the `difference`, and they select the sentence; any other
            is held against the threshold by hand.
        reading: what is said where the interval of the primary outcome lies "above" the threshold,
            "below" it, or holds it ("between").
        threshold: that the interval is held against.
        difference: the primary outcome where it is a difference of models under attack.

    Raises:
        ValueError: if a text is empty, or a sentence is missing or of no outcome.

    >>> reading = {"above": "It helps.", "below": "It harms.", "between": "Not told apart."}
    >>> question = Question("Does it help?", "accuracy", reading)
    >>> question.outcome(0.01, 0.05), question.outcome(-0.02, 0.05)
    ('above', 'between')
    """

    name: str
    primary: str
    reading: Mapping[str, str]
    threshold: float = 0.0
    difference: Difference | UnsetType = UNSET

    def __post_init__(self) -> None:
        for name in ("name", "primary"):
            if not getattr(self, name).strip():
                raise ValueError(f"question.{name} must be a text, got an empty one")
        if {*self.reading} != {*OUTCOMES}:
            raise ValueError(
                f"question.reading must have a sentence for each of {', '.join(OUTCOMES)}, "
                f"got {', '.join(self.reading) or 'none'}"
            )
        for outcome, sentence in self.reading.items():
            if not isinstance(sentence, str) or not sentence.strip():
                raise ValueError(f"question.reading.{outcome} must be a text, got {sentence!r}")
        if not math.isfinite(self.threshold):
            raise ValueError(f"question.threshold must be finite, got {self.threshold}")

    def outcome(self, low: float, high: float) -> Outcome:
        """Which of the outcomes an interval is; one that touches the threshold tells nothing apart.

        Raises:
            ValueError: if an end is not known: nothing was measured then, which is no outcome.
        """
        if any(end is None or not math.isfinite(end) for end in (low, high)):
            raise ValueError(f"an outcome needs both ends of an interval, got {low} and {high}")
        if low > self.threshold:
            return "above"
        if high < self.threshold:
            return "below"
        return "between"
