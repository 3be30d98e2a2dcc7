"""Whether an implicit step damps more than an explicit one, weighed over all that was measured."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from analysis.prediction.records import SHOWN
from analysis.quantities import METHODS
from analysis.quantities.labelled import finite
from analysis.quantities.propagation import FAMILIES
from analysis.run import Measurements
from figures import propagation
from figures.findings import NOTHING, number, numbers_of, share
from figures.layer_rows import LEAST_TOLD, LayerRow

UNKNOWN = "Not known"
LEFT_OPEN = "Only fine-tuning tells whether it makes answers more robust; so far"
NOISE, WORST, REPEATED, EDITS = (
    "of random noise",
    "of the worst direction",
    "under repeated steps",
    "of edits",
)
ONE_STEP, THROUGH = "in one step", "through all layers"
HOW = {"less": "less", "more": "more", "open": "no clear difference"}
NOT_KNOWN = "not known"


class Compared(NamedTuple):
    """One measure of growth by which the two steps were compared.

    Attributes:
        topic: what grows.
        reach: in one step, or through all layers.
        outcome: the implicit step's growth is "less" or "more" than the explicit one's in most
            layers, or for most texts or edits; "open" where it is neither.
        words: the same with its numbers, a line of its own.
    """

    topic: str
    reach: str
    outcome: str
    words: str


def answer(
    rows: Sequence[LayerRow], run: Measurements, h: float | None
) -> tuple[str, str, tuple[str, ...]]:
    """A verdict, its sentence, and the numbers that it rests on, one measure each.

    Args:
        rows: of the layers.
        run: with what was followed through all layers.
        h: step size of that; None is whichever was measured.
    """
    compared = [*_of_one_step(rows), *_of_depth(run, h)]
    if not compared:
        return UNKNOWN, NOTHING, ()
    head, _, which = verdict(compared).partition(": ")
    sentence = f"{which[0].upper()}{which[1:]}. {LEFT_OPEN} {SHOWN}."
    return head, sentence, tuple(each.words for each in compared)


def verdict(compared: Sequence[Compared]) -> str:
    """In a few words, which measures say that the implicit step damps more."""
    less, more, neither = (_topics(compared, outcome) for outcome in HOW)
    if less and more:
        said = f"Mixed: less growth {less}, more {more}"
        return said + (f", no clear difference {neither}" if neither else "")
    if not less and not more:
        return f"Undecided: no clear difference in growth {neither}"
    said = f"It damps more: less growth {less}" if less else f"It damps less: more growth {more}"
    return said + (f", but no clear difference {neither}" if neither else "")


def _topics(compared: Sequence[Compared], outcome: str) -> str:
    """What has this outcome, joined; with its reach where the other reach differs."""
    words = []
    for topic in dict.fromkeys(each.topic for each in compared):
        own = [each for each in compared if each.topic == topic]
        agree = len({each.outcome for each in own}) == 1
        reaches = [each.reach for each in own if each.outcome == outcome]
        words += [topic] if agree and reaches else [f"{topic} {reach}" for reach in reaches]
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)


def _of_one_step(rows: Sequence[LayerRow]) -> list[Compared]:
    measures: dict[str, tuple[str, Callable[[LayerRow], str], Callable[[LayerRow], str]]] = {
        NOISE: (f", {ONE_STEP}", _noise, lambda row: f"by {number(abs(row.advantage))} nats"),
        WORST: (f", {ONE_STEP}", lambda row: _smaller(row.worst), lambda row: _against(row.worst)),
        REPEATED: ("", _repeated, _against_repeated),
    }
    where = f", layer {rows[0].layer} (the only one measured)" if len(rows) == 1 else ""
    compared = []
    for topic, (reach, of, numbers) in measures.items():
        found = [of(row) for row in rows]
        if any(found):
            outcome, words = _over_layers(rows, found, numbers)
            said = f"Growth {topic}{reach}{where}: {words}"
            compared.append(Compared(topic, ONE_STEP, outcome, said))
    return compared


def _noise(row: LayerRow) -> str:
    if not row.advantage_known:
        return ""
    return {"implicit": "less", "explicit": "more", "undecided": "open"}[row.damps_more()]


def _repeated(row: LayerRow) -> str:
    """Lower bounds do not decide."""
    found = _smaller(row.spectral)
    return "open" if found and any(row.lower_bound.values()) else found


def _against_repeated(row: LayerRow) -> str:
    bounds = ", lower bounds" if any(row.lower_bound.values()) else ""
    return f"{_against(row.spectral)}{bounds}"


def _smaller(by_method: dict[str, float]) -> str:
    """Empty where it is not known."""
    explicit, implicit = (by_method[method] for method in METHODS)
    if not np.isfinite([explicit, implicit]).all():
        return ""
    if implicit * LEAST_TOLD < explicit:
        return "less"
    return "more" if implicit > explicit * LEAST_TOLD else "open"


def _against(by_method: dict[str, float]) -> str:
    return ", ".join(f"{method} {number(by_method[method])}" for method in METHODS)


def _over_layers(
    rows: Sequence[LayerRow],
    found: list[str],
    numbers: Callable[[LayerRow], str],
) -> tuple[str, str]:
    """The outcome of most layers, and words."""
    layers = numbers_of(rows)
    outcome = _most(found)
    if len(rows) == 1:
        return outcome, f"{HOW[outcome]} ({numbers(rows[0])})"
    named = {**HOW, "": NOT_KNOWN}
    by_outcome = {
        words: [layer for layer, each in zip(layers, found, strict=True) if each == name]
        for name, words in named.items()
    }
    where = [f"{words} in {share(own, layers)}" for words, own in by_outcome.items() if own]
    return outcome, ", ".join(where)


def _most(found: Sequence[str]) -> str:
    return next((name for name in ("less", "more") if 2 * found.count(name) > len(found)), "open")


def _of_depth(run: Measurements, h: float | None) -> list[Compared]:
    curves = propagation.at_step_size(run, h)
    ends: dict[str, list[xr.DataArray]] = {NOISE: [], WORST: [], EDITS: []}
    for kind in propagation.kinds_of(curves):
        topic = EDITS if kind not in FAMILIES else {"gaussian": NOISE, "worst": WORST}.get(kind)
        if topic is not None:
            last = propagation.smallest(curves, kind).values["measured"].isel(passed=-1, drop=True)
            ends[topic].append(last)
    return [each for topic, own in ends.items() if own and (each := _depth(topic, own)) is not None]


def of_both(ends: Sequence[xr.DataArray]) -> dict[str, np.ndarray]:
    """By method the growth of the same examples, those that both methods followed to the end.

    Args:
        ends: `(scheme, example)` of each kind of perturbation.
    """
    every = xr.concat(ends, "example")
    known = every.where(finite(every).all("scheme"), drop=True)
    return {method: known.sel(scheme=method).values for method in METHODS}


def _depth(topic: str, ends: list[xr.DataArray]) -> Compared | None:
    """Of the examples that both methods solved; None where there are none."""
    explicit, implicit = of_both(ends).values()
    if not len(explicit):
        return None
    found = [
        _smaller(dict(zip(METHODS, pair, strict=True)))
        for pair in zip(explicit, implicit, strict=True)
    ]
    outcome = _most(found)
    words = _against({"explicit": np.median(explicit), "implicit": np.median(implicit)})
    if len(found) > 1:
        words = f"less for {found.count('less')} of {len(found)}; medians: {words}"
    said = f"Growth {topic}, {THROUGH}: {HOW[outcome]} ({words})"
    return Compared(topic, THROUGH, outcome, said)
