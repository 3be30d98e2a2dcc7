"""The opening of the report: three questions, each with a verdict and one plain sentence."""

from typing import NamedTuple

import numpy as np
import xarray as xr

from analysis.quantities import METHODS
from analysis.quantities.labelled import finite
from analysis.run import Measurements
from figures import propagation, selection
from figures.findings import NOTHING, number, numbers_of, share, with_verdict
from figures.layer_rows import LayerRow, layer_rows

UNKNOWN = "Not known"
LEAST_TOLD = 1.005  # growth that three digits tell from 1
SAME_SIZE = 1.1  # growth by less than a tenth, or its inverse, counts as keeping its size


class Answer(NamedTuple):
    """One question of the page.

    Attributes:
        question: as a reader would ask it.
        verdict: a few words.
        sentence: what the verdict rests on.
    """

    question: str
    verdict: str
    sentence: str


def answers(run: Measurements, step_size: float | None = None) -> list[Answer]:
    """Is a layer a stable step, what happens to a real edit, and would an implicit step help?"""
    rows = layer_rows(run, step_size)
    edits = _edits_at_the_end(run, selection.measured_step(run, "propagation", _step(run, rows)))
    return [
        Answer("Is a layer of this model a stable step?", *_on_stability(run, rows)),
        Answer("What happens to a real edit?", *_on_edits(edits)),
        Answer("Would an implicit step help?", *_on_implicit_steps(rows, edits)),
    ]


def _step(run: Measurements, rows: list[LayerRow]) -> float:
    return rows[0].step_size if rows else selection.of_run(run)


def _edits_at_the_end(run: Measurements, h: float | None) -> dict[str, np.ndarray]:
    """By method the growth of every edit at the last layer, the same edits for all; none where no
    edit was followed.
    """
    of_edits = propagation.ends_of_edits(run, h)
    if not of_edits:
        return {}
    every = xr.concat(of_edits, "example")
    known = every.where(finite(every).all("scheme"), drop=True)
    return {method: known.sel(scheme=method).values for method in METHODS} if known.size else {}


def _on_stability(run: Measurements, rows: list[LayerRow]) -> tuple[str, str]:
    if not rows:
        return UNKNOWN, NOTHING
    layers = numbers_of(rows)
    stable, unstable, left_open = (
        with_verdict(rows, "explicit", verdict) for verdict in ("stable", "unstable", "unsettled")
    )
    parts = []
    if stable:
        parts.append(f"in {share(stable, layers)} no direction grows when the step is repeated")
    if unstable:
        factors = _from_to([row.spectral["explicit"] for row in rows if row.layer in unstable])
        parts.append(
            f"in {share(unstable, layers)} some direction grows by a factor of {factors} each time "
            f"the step is repeated{_in_the_flow(run, unstable, rows[0].step_size)}"
        )
    if left_open:
        parts.append(f"in {share(left_open, layers)} the eigenvalues found leave it open")
    step = f"a step of Euler's explicit method, of size h = {number(rows[0].step_size)}"
    sentence = f"Taken as {step}, for most texts {'; '.join(parts)}."
    if len(stable) == len(rows):
        return "Yes", sentence
    if stable:
        return "Only in part", sentence
    # what is open could still be stable
    return UNKNOWN if left_open else "No", sentence


def _in_the_flow(run: Measurements, layers: list[int], h: float) -> str:
    """By how much the linearised equation amplifies over h, where it does in all of these layers:
    every accurate step must do so too. Of the leading eigenvalues, converged ones count alone, and
    others may lie farther right.
    """
    spectrum = run["spectrum"]
    if not spectrum:
        return ""
    known = np.real(spectrum["eigenvalue"]).where(spectrum["eigenvalue_converged"])
    rightmost = known.max("rank")
    growth = [selection.median(np.exp(h * rightmost.sel(layer=layer))) for layer in layers]
    if not all(factor >= LEAST_TOLD for factor in growth):
        return ""
    return f", and by at least {_from_to(growth)} in the equation linearised at these states"


def _from_to(values: list[float]) -> str:
    known = [value for value in values if np.isfinite(value)]
    if not known:
        return "unknown size"
    low, high = number(min(known)), number(max(known))
    return low if low == high else f"{low} to {high}"


def _on_edits(edits: dict[str, np.ndarray]) -> tuple[str, str]:
    if not edits:
        return UNKNOWN, "No edit of a text was followed through the layers in this run."
    growth = edits["explicit"]
    median = float(np.median(growth))
    if median > SAME_SIZE:
        verdict = "It grows"
    elif median < 1 / SAME_SIZE:
        verdict = "It shrinks"
    else:
        verdict = "It keeps its size"
    low, high = np.quantile(growth, [0.1, 0.9])
    spread = "" if len(growth) == 1 else f", from {number(low)} to {number(high)} for eight in ten"
    return verdict, (
        "After the last layer the difference that an edit makes is "
        f"{number(median)} times as large as before the first: {_of_edits(len(growth))}{spread}."
    )


def _of_edits(count: int) -> str:
    return "one edit" if count == 1 else f"the median of {count} edits"


def _on_implicit_steps(rows: list[LayerRow], edits: dict[str, np.ndarray]) -> tuple[str, str]:
    known = [row for row in rows if row.advantage_known]
    parts = []
    if known:
        ahead = [row.layer for row in rows if row.damps_more() == "implicit"]
        behind = [row.layer for row in rows if row.damps_more() == "explicit"]
        parts.append(
            "an implicit step of the same size damps random noise more in "
            f"{share(ahead, numbers_of(rows))} and less in {share(behind, numbers_of(rows))}"
        )
    if edits:
        explicit, implicit = (float(np.median(edits[method])) for method in METHODS)
        lower = int((edits["implicit"] < edits["explicit"]).sum())
        parts.append(
            f"through all layers it leaves {lower} of {len(edits['explicit'])} edits smaller "
            f"(median {number(implicit)} times their size, against {number(explicit)})"
        )
    if not parts:
        return UNKNOWN, NOTHING
    sentence = ", and ".join(parts)
    return _helps(rows, known, edits), f"{sentence[0].upper()}{sentence[1:]}."


def _helps(rows: list[LayerRow], known: list[LayerRow], edits: dict[str, np.ndarray]) -> str:
    """Yes where both noise in every layer and most edits are damped more, no where neither is."""
    noise = [row.damps_more() == "implicit" for row in rows] if known else []
    smaller = edits["implicit"] < edits["explicit"] if edits else np.zeros(0, dtype=bool)
    most = bool(smaller.mean() > 0.5) if len(smaller) else None
    yes = (not noise or all(noise)) and most is not False
    no = not any(noise) and not most
    return "Yes" if yes else "No" if no else "In part"
