"""The opening of the report: three questions, each with a verdict and what it rests on."""

from typing import NamedTuple

import numpy as np

from analysis.run import Measurements
from figures import propagation, selection, weighing
from figures.findings import NOTHING, number, numbers_of, share, with_verdict
from figures.layer_rows import LEAST_TOLD, LayerRow, growth_of_the_equation, layer_rows
from figures.weighing import UNKNOWN

NO_SMALLER_STEP = "Why no smaller step helps"
BY_MEASURE = "Measure by measure"
FEW = 10  # edits, below which all are told of and not eight in ten
SAME_SIZE = 1.1  # growth by less than a tenth, or its inverse, counts as keeping its size


class Answer(NamedTuple):
    """One question of the page.

    Attributes:
        question: as a reader would ask it.
        verdict: a few words.
        sentence: what the verdict rests on.
        grounds: what else there is to say, for who asks.
        about: what the grounds are.
    """

    question: str
    verdict: str
    sentence: str
    grounds: tuple[str, ...] = ()
    about: str = ""

    @property
    def lines(self) -> list[str]:
        """As a terminal shows it."""
        return [
            f"{self.question} {self.verdict}. {self.sentence}",
            *(f"- {each}" for each in self.grounds),
        ]


def answers(run: Measurements, step_size: float | None = None) -> list[Answer]:
    """Is a layer a stable step, what happens to a real edit, and would an implicit step help?"""
    rows = layer_rows(run, step_size)
    h = selection.measured_step(run, "propagation", _step(run, rows))
    return [
        Answer(
            "Is a layer of this model a stable step?", *_on_stability(run, rows), NO_SMALLER_STEP
        ),
        Answer("What happens to a real edit?", *_on_edits(_edits_at_the_end(run, h))),
        Answer("Would an implicit step help?", *weighing.answer(rows, run, h), BY_MEASURE),
    ]


def _step(run: Measurements, rows: list[LayerRow]) -> float:
    return rows[0].step_size if rows else selection.of_run(run)


def _edits_at_the_end(run: Measurements, h: float | None) -> np.ndarray:
    """The growth of every edit at the last layer by explicit steps; of those alone that implicit
    steps followed too, so that all answers are about the same.
    """
    of_edits = propagation.ends_of_edits(run, h)
    return weighing.of_both(of_edits)["explicit"] if of_edits else np.zeros(0)


def _on_stability(run: Measurements, rows: list[LayerRow]) -> tuple[str, str, tuple[str, ...]]:
    if not rows:
        return UNKNOWN, NOTHING, ()
    stable, unstable, left_open = (
        with_verdict(rows, "explicit", verdict) for verdict in ("stable", "unstable", "unsettled")
    )
    parts = []
    if stable:
        parts.append(f"in {_which(stable, rows)} no direction grows when the step is repeated")
    if unstable:
        factors = _from_to([row.spectral["explicit"] for row in rows if row.layer in unstable])
        parts.append(
            f"in {_which(unstable, rows)} some direction grows by a factor of {factors} each time "
            "the step is repeated"
        )
    if left_open:
        parts.append(f"in {_which(left_open, rows)} the eigenvalues found leave it open")
    h = rows[0].step_size
    grounds = _in_the_equation(run, unstable, h)
    sentence = (
        f"Taken as a step of Euler's explicit method, of size h = {number(h)}, for "
        f"{selection.most_texts(run)} {'; '.join(parts)}."
    ) + (f" In {share(unstable, numbers_of(rows))} no smaller step helps." if grounds else "")
    # what is open could still be stable, or not
    if not unstable:
        verdict = "Yes" if not left_open else "At least in part" if stable else UNKNOWN
    elif not stable:
        verdict = "Not in every layer" if left_open else "No"
    else:
        verdict = "Only in part"
    return verdict, sentence, grounds


def _which(some: list[int], rows: list[LayerRow]) -> str:
    return share(some, numbers_of(rows)) + (" (the only one measured)" if len(rows) == 1 else "")


def _in_the_equation(run: Measurements, unstable: list[int], h: float) -> tuple[str, ...]:
    """That the equation itself grows, where it does in all layers whose step is unstable."""
    growth = [growth_of_the_equation(run, layer, h) for layer in unstable]
    if not growth or not all(factor >= LEAST_TOLD for factor in growth):
        return ()
    return (
        "Some eigenvalue λ of the Jacobian J has Re λ > 0, so that dx/dt = Jx, the equation "
        f"linearised at these states, itself grows, over depth h = {number(h)} (1 is one layer) "
        f"by a factor e^(h Re λ) of at least {_from_to(growth)}, and |1 + hλ| > 1 for every h > 0",
    )


def _from_to(values: list[float]) -> str:
    known = [value for value in values if np.isfinite(value)]
    if not known:
        return "unknown size"
    low, high = number(min(known)), number(max(known))
    return low if low == high else f"{low} to {high}"


def _on_edits(growth: np.ndarray) -> tuple[str, str]:
    if not len(growth):
        return UNKNOWN, "No edit of a text was followed through the layers in this run."
    median = float(np.median(growth))
    if median > SAME_SIZE:
        verdict = "It grows"
    elif median < 1 / SAME_SIZE:
        verdict = "It shrinks"
    else:
        verdict = "It keeps its size"
    return verdict, (
        "After the last layer the difference that an edit makes is "
        f"{number(median)} times as large as before the first: {_of_edits(growth)}."
    )


def _of_edits(growth: np.ndarray) -> str:
    """What a median is of, and how much its edits differ."""
    if len(growth) == 1:
        return "one edit, which says little of others"
    shares = [0, 1] if len(growth) < FEW else [0.1, 0.9]
    low, high = np.quantile(growth, shares)
    for_these = "" if len(growth) < FEW else " for eight in ten"
    return f"the median of {len(growth)} edits, from {number(low)} to {number(high)}{for_these}"
