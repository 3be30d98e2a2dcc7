"""The scores of an input: numbers that are larger the more fragile it is."""

from collections.abc import Sequence

import numpy as np

from analysis.conditioning.records import Condition, Drafted, Input

CONFIDENCE = "confidence"
GRADIENT = "gradient"
LENGTH = "length"
DEFINITIONS = {
    CONFIDENCE: "−m, the margin with its sign changed",
    LENGTH: "number of words",
    GRADIENT: "g = ‖∇m‖ at the word embeddings",
    "distance": "−|m|/g, the first-order distance to a flip with its sign changed",
    "relative": "g‖e‖/|m|, the relative condition number",
}
OF_DRAFTS = {
    "spread": "standard deviation of the margin over {family} drafts",
    "least": "smallest margin over {family} drafts with its sign changed",
    "flipped": "share of {family} drafts that flip the answer",
}
OF_LEVEL = "median of ‖δ_l‖/‖δ_0‖ over {family} drafts after layer {level} of {layers}"


def definitions(condition: Condition) -> dict[str, str]:
    """What each score of a condition is, by its name."""
    found = dict(DEFINITIONS)
    for family in condition.families:
        for name, words in OF_DRAFTS.items():
            found[drafts(family, name)] = words.format(family=family)
        for level in range(1, condition.layers + 1):
            words = OF_LEVEL.format(family=family, level=level, layers=condition.layers)
            found[growth(family, level)] = words
    return found


def drafts(family: str, name: str) -> str:
    """The name of a score over a family's drafts."""
    return f"{family} {name}"


def growth(family: str, level: int) -> str:
    """The name of the growth of a family's drafts to a level."""
    return f"{family} growth {level}"


def together(families: Sequence[str]) -> list[str]:
    """The scores that are read together: gradient, confidence, length and drafts."""
    names = [drafts(family, name) for family in families for name in OF_DRAFTS]
    return [GRADIENT, CONFIDENCE, LENGTH, *names]


def scores_of(condition: Condition) -> dict[str, np.ndarray]:
    """Every score of every input, `(inputs,)`; NaN where it is no number."""
    inputs = condition.inputs
    found = {
        CONFIDENCE: -_array([each.margin for each in inputs]),
        LENGTH: _array([each.words for each in inputs]),
        GRADIENT: _array([each.gradient for each in inputs]),
        "distance": -_array([each.distance for each in inputs]),
        "relative": _array([each.relative for each in inputs]),
    }
    for family in condition.families:
        drafted = [each.drafts.get(family) for each in inputs]
        known = [each if each is not None and each.count else None for each in drafted]
        found[drafts(family, "spread")] = _array([_entry(each, "spread") for each in known])
        found[drafts(family, "least")] = -_array([_entry(each, "least") for each in known])
        found[drafts(family, "flipped")] = _array([_share(each) for each in known])
        for level in range(1, condition.layers + 1):
            found[growth(family, level)] = _array([_growth(each, level) for each in known])
    return {name: np.where(np.isfinite(values), values, np.nan) for name, values in found.items()}


def no_draft_flips(each: Input) -> bool:
    """Of no family; an input without drafts has none that flips."""
    return not any(drafted.flipped for drafted in each.drafts.values())


def _entry(drafted: Drafted | None, name: str) -> float | None:
    return None if drafted is None else drafted[name]


def _share(drafted: Drafted | None) -> float | None:
    return None if drafted is None else drafted.flipped / drafted.count


def _growth(drafted: Drafted | None, level: int) -> float | None:
    return None if drafted is None or level >= len(drafted.growth) else drafted.growth[level]


def _array(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
