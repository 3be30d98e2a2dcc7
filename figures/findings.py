"""Sentences of the report, each computed from the numbers that its figure shows."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from analysis.summary import METHODS, Summary
from figures import propagation, selection
from figures.tables import LayerRow, layer_rows, shortfalls, status_name

NOTHING = "Not measured in this run."
CLOSE = np.log(1.1)  # a linear prediction within 10 % is called accurate


class OfLayer(Protocol):
    """Anything that belongs to a layer."""

    @property
    def layer(self) -> int: ...


def number(value: float | None, digits: int = 3) -> str:
    """A number to a few significant digits, with a true minus sign; a dash for none."""
    if value is None or np.isnan(value):
        return "–"
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.{digits}g}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        superscript = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        text = f"{mantissa} · 10{superscript}"
    return text.replace("-", "−")


def ranges(members: Sequence[float], everything: Sequence[float]) -> str:
    """Members of an ordered list in words, neighbours joined: "0–2, 5"; "none" if there are
    none.
    """
    order = sorted(everything)
    places = sorted(order.index(member) for member in members)
    groups: list[list[int]] = []
    for place in places:
        if groups and groups[-1][-1] == place - 1:
            groups[-1].append(place)
        else:
            groups.append([place])
    words = [
        number(order[group[0]], 4) + (f"–{number(order[group[-1]], 4)}" if len(group) > 1 else "")
        for group in groups
    ]
    return ", ".join(words) or "none"


def share(found: Sequence[OfLayer], rows: Sequence[OfLayer]) -> str:
    """How many of the layers, and which: "2 of 6 layers (layers 0, 3)"."""
    if len(rows) > 1 and len(found) in (0, len(rows)):
        return f"all {len(rows)} layers" if found else f"none of the {len(rows)} layers"
    text = f"{len(found)} of {len(rows)} {_layers(rows)}"
    return (
        text
        if len(found) in (0, len(rows))
        else f"{text} ({_layers(found)} "
        f"{ranges([row.layer for row in found], [row.layer for row in rows])})"
    )


def _layers(rows: Sequence[OfLayer]) -> str:
    return "layer" if len(rows) == 1 else "layers"


def stable(rows: Sequence[LayerRow], method: str, name: str = "stable") -> list[LayerRow]:
    """The layers with a verdict on a method."""
    return [row for row in rows if row.verdict[method] == name]


def opening(summary: Summary, step_size: float | None = None) -> str:
    """Is each layer a stable step, and does an implicit step damp more here?"""
    rows = layer_rows(summary, step_size)
    if not rows:
        return "No layer has been measured in this run, so nothing can be said about its stability."
    h, calm = number(rows[0].step_size), stable(rows, "explicit")
    answer = (
        "Yes"
        if len(calm) == len(rows)
        else "No"
        if not stable(rows, "explicit", "unsettled") and not calm
        else "Only in part"
    )
    text = (
        f"Is each layer a stable step? {answer}: for most texts the explicit "
        f"Euler step of size h = {h} is stable, max |1 + hλ| ≤ 1, in "
    )
    text += (
        f"{share(calm, rows)}; the implicit Euler step of the same size is "
        f"stable in {share(stable(rows, 'implicit'), rows)}. "
    )
    for method in METHODS:
        if open_ := stable(rows, method, "unsettled"):
            text += (
                f"For the {method} step the listed eigenvalues do "
                f"not settle it in {share(open_, rows)}. "
            )
    wins = {
        name: [row for row in rows if row.damps_more() == name]
        for name in ("implicit", "explicit", "undecided")
    }
    ahead = {(True, False): "Yes", (False, True): "No"}.get(
        (len(wins["implicit"]) == len(rows), not wins["implicit"]), "Not everywhere"
    )
    text += (
        f"Does an implicit step damp more here? {ahead}: of random "
        f"perturbations it damps more in {share(wins['implicit'], rows)}, "
    )
    text += f"the explicit one in {share(wins['explicit'], rows)}"
    return text + (
        f", and {share(wins['undecided'], rows)} are within two standard errors of a tie."
        if wins["undecided"]
        else "."
    )


def guarantee(summary: Summary, step_size: float | None = None) -> str:
    """In which layers hμ₂ < 1, so that the implicit step exists, is unique and is Lipschitz."""
    rows = [row for row in layer_rows(summary, step_size) if np.isfinite(row.logarithmic_norm)]
    if not rows:
        return NOTHING
    held = [row for row in rows if row.step_size * row.logarithmic_norm < 1]
    violated = [row for row in rows if row not in held]
    text = f"At h = {number(rows[0].step_size)} the median text has hμ₂ < 1 in {share(held, rows)}"
    if not violated:
        return text + "."
    worst = max(violated, key=lambda row: row.logarithmic_norm)
    largest = number(worst.step_size * worst.logarithmic_norm)
    return (
        text + f" and violates it in {share(violated, rows)}, most in layer "
        f"{worst.layer} (hμ₂ = {largest}): there the guarantee is void."
    )


def of_growth(summary: Summary, step_size: float | None = None) -> str:
    """Where the explicit step amplifies most, and in how many layers the implicit one amplifies
    less.
    """
    rows = [
        row
        for row in layer_rows(summary, step_size)
        if all(np.isfinite(row.worst[method]) for method in METHODS)
    ]
    if not rows:
        return NOTHING
    top = max(rows, key=lambda row: row.worst["explicit"])
    lower = [row for row in rows if row.worst["implicit"] < row.worst["explicit"]]
    spectral = [row for row in rows if row.spectral["implicit"] < row.spectral["explicit"]]
    verb = (
        "amplifies worst-case perturbations most"
        if top.worst["explicit"] > 1
        else "damps worst-case perturbations least"
    )
    text = (
        f"At h = {number(top.step_size)} the explicit Euler step {verb} in layer "
        f"{top.layer} (median {number(top.worst['explicit'])}×); "
    )
    text += (
        "the implicit step has the smaller worst growth in "
        f"{share(lower, rows)} and the smaller spectral growth in "
    )
    text += f"{share(spectral, rows)}."
    unsettled = [row for row in rows if not row.settled]
    return text + (
        f" Values that did not converge or are lower bounds enter this in {share(unsettled, rows)}."
        if unsettled
        else ""
    )


def of_advantage(summary: Summary) -> str:
    """For every step size in how many layers the implicit step damps random perturbations more."""
    steps = sorted({one.step_size for one in summary.growth})
    if not steps:
        return NOTHING
    counts = []
    for h in steps:
        rows = layer_rows(summary, h)
        ahead = {name: sum(row.damps_more() == name for row in rows) for name in METHODS}
        counts.append(
            f"at h = {number(h)} the implicit one in {ahead['implicit']}, the "
            f"explicit one in {ahead['explicit']} of {len(rows)} layers"
        )
    return (
        "Which step damps random perturbations more, by over two standard errors: "
        + "; ".join(counts)
        + "."
    )


def of_spectra(summary: Summary, step_size: float | None = None) -> str:
    """How many leading eigenvalues each step amplifies, how near the pole they come, and the share
    outside the lemniscate.
    """
    if not summary.spectra:
        return NOTHING
    h = selection.of_run(summary, step_size)
    z = {one.layer: h * one.leading[np.isfinite(one.leading)] for one in summary.spectra}
    every = np.concatenate(list(z.values()))
    if not len(every):
        return NOTHING
    amplified = {
        "explicit": int((np.abs(1 + every) > 1).sum()),
        "implicit": int((np.abs(1 - every) < 1).sum()),
    }
    nearest = min(
        (layer for layer in z if len(z[layer])), key=lambda layer: float(np.abs(1 - z[layer]).min())
    )
    text = (
        f"Of {len(every)} leading eigenvalues at h = {number(h)} the explicit "
        f"Euler step amplifies {amplified['explicit']} and the "
    )
    text += (
        f"implicit {amplified['implicit']}; the nearest to the "
        "implicit pole z = 1 lies at a distance of "
    )
    text += f"{number(float(np.abs(1 - z[nearest]).min()))} (layer {nearest})."
    rows = (
        [row for row in layer_rows(summary, h) if np.isfinite(row.outside)]
        if summary.growth
        else []
    )
    if rows:
        shares = [row.outside for row in rows]
        text += (
            " In the full spectra of the short texts "
            f"{100 * min(shares):.0f}–{100 * max(shares):.0f} % of the eigenvalues apart from the "
        )
        text += "bulk, by layer, lie outside the lemniscate, where the implicit step damps more."
    return text


def of_map(summary: Summary) -> str:
    """For each method how many layers have a stable step size on the grid."""
    rows = layer_rows(summary)
    words = []
    for method in METHODS:
        known = [row for row in rows if row.stable_steps[method] is not None]
        some = [row for row in known if row.stable_steps[method]]
        if known:
            words.append(
                f"the {method} Euler step is stable at some step size in {share(some, known)}"
            )
    if not words:
        return NOTHING
    grid = np.array([h for one in summary.maps for h in one.step_sizes])
    return (
        f"Between h = {number(float(grid.min()))} and {number(float(grid.max()))}, for most texts, "
        + "; ".join(words)
        + "."
    )


def of_propagation(summary: Summary, step_size: float | None = None) -> str:
    """What reaches the last layer of each kind of perturbation, explicit against implicit."""
    curves = propagation.at_step_size(summary, step_size)
    ends, lower = [], 0
    for kind in propagation.kinds_of(curves):
        last = {
            one.method: selection.median(one.measured[:, -1])
            for one in propagation.smallest(curves, kind)
        }
        explicit, implicit = (last.get(method, np.nan) for method in METHODS)
        if np.isfinite(explicit) and np.isfinite(implicit):
            ends.append(
                f"{propagation.TITLES.get(kind, kind)} "
                f"{number(explicit)}× against {number(implicit)}×"
            )
            lower += implicit < explicit
    if not ends:
        return NOTHING
    text = (
        f"With steps of h = {number(curves[0].step_size)} the median "
        "growth at the last layer is, explicit against implicit: "
    )
    return (
        text
        + "; ".join(ends)
        + f". The implicit path ends lower for {lower} of {len(ends)} kinds of perturbation."
    )


def of_linearity(summary: Summary, step_size: float | None = None) -> str:
    """Up to which size of a Gaussian perturbation the linear prediction holds within 10 %."""
    words = []
    for method in METHODS:
        curves = [
            c
            for c in propagation.at_step_size(summary, step_size)
            if c.perturbation == "gaussian" and c.method == method
        ]
        errors = {one.size: selection.median(propagation.prediction_error(one)) for one in curves}
        errors = {size: errors[size] for size in sorted(errors) if np.isfinite(errors[size])}
        if errors:
            first_bad = next(
                (i for i, error in enumerate(errors.values()) if error > CLOSE), len(errors)
            )
            good = list(errors)[:first_bad]
            words.append(
                f"{method} at "
                f"{f'sizes up to {number(good[-1])}' if good else 'none of the measured sizes'}"
            )
    if not words:
        return NOTHING
    return (
        "For the median text the linear prediction of the growth at the "
        f"last layer holds within 10 %: {', '.join(words)}."
    )


def of_convergence(summary: Summary) -> str:
    """Whether everything converged, and if not how much did not."""
    if not (summary.growth or summary.curves or summary.maps):
        return "Nothing was measured, so nothing could fail to converge."
    found = shortfalls(summary)
    if not found:
        return (
            "Everything converged: every eigenvalue, singular value and "
            "solve; and every maximum over a spectrum is settled."
        )
    faults: dict[str, int] = {}
    for one in found:
        name = f"{one.quantity}: {one.fault}"
        faults[name] = faults.get(name, 0) + one.count
    return (
        "Not everything converged. Values over all texts, layers and step sizes: "
        + "; ".join(f"{name} ({k})" for name, k in faults.items())
        + "."
    )


def of_solves(summary: Summary) -> str:
    """How the implicit solves of the layers ended, by name of status."""
    status = (
        np.concatenate([one.status for one in summary.growth]).astype(int)
        if summary.growth
        else np.zeros(0, dtype=int)
    )
    if not len(status):
        return NOTHING
    names = [
        f"{status_name(summary, int(found))} {int((status == found).sum())}"
        for found in np.unique(status)
    ]
    return f"The {len(status)} implicit solves ended with the status {', '.join(names)}."
