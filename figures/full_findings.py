"""Sentences about what only a run of full depth measures, each computed from the numbers that its
figure shows.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from analysis.summary import METHODS, Density, Summary
from figures import (
    density,
    directions,
    exponents,
    pseudospectra,
    refinement,
    selection,
    style,
    sublayers,
)
from figures.findings import NOTHING, number, share


def of_pseudospectra(summary: Summary) -> str:
    """How far from normal the layers are, and what that does to their eigenvalues."""
    rows = [
        one
        for one in pseudospectra.of_layers(summary.nonnormality)
        if np.isfinite(one.henrici) and one.frobenius > 0
    ]
    if not rows:
        return NOTHING
    text = (
        "On one short text the departure from normality is "
        f"{_span([one.henrici / one.frobenius for one in rows])} of ‖J‖_F, where a "
    )
    text += "normal matrix has 0."
    gaps = {one.layer: one.logarithmic_norm - one.spectral_abscissa for one in rows}
    if gaps := {layer: gap for layer, gap in gaps.items() if np.isfinite(gap)}:
        top = max(gaps, key=lambda layer: gaps[layer])
        text += " The numerical range reaches farther to the right than the eigenvalues, "
        text += f"by most in layer {top} (ω − α = {number(gaps[top])})."
    moved = [
        ((reach - one.spectral_abscissa) / epsilon, epsilon, one.layer)
        for one in rows
        for epsilon, reach in zip(one.epsilons, one.pseudospectral_abscissa, strict=True)
        if np.isfinite(reach - one.spectral_abscissa)
    ]
    if moved:
        factor, epsilon, layer = max(moved)
        text += (
            f" A change of J of norm {number(float(epsilon))} can "
            "move the right edge of its spectrum by "
        )
        text += (
            f"{number(float(factor))} times that norm (layer {layer}); with a "
            "normal J it could not move farther than the norm itself."
        )
    if kreiss := [one for one in rows if np.isfinite(one.kreiss)]:
        top_one = max(kreiss, key=lambda one: one.kreiss)
        text += (
            " Some power of I + J, scaled to spectral radius 1 where it "
            "is larger, stretches some perturbation at least "
        )
        text += (
            f"{number(top_one.kreiss)} times (layer {top_one.layer}); "
            "by its eigenvalues alone it would not grow."
        )
    return text


def of_bounds(summary: Summary) -> str:
    """The departure and the numerical range on longer texts, as far as they are known."""
    rows = pseudospectra.of_layers(summary.bounds)
    departures = [
        value for one in rows if np.isfinite(value := selection.median(one.henrici_bound))
    ]
    if not departures:
        return NOTHING
    texts = len({text for one in rows for text in one.texts})
    text = (
        f"On {texts} longer {'text' if texts == 1 else 'texts'} the departure "
        f"from normality is at least {_span(departures)} of ‖J‖_F "
    )
    text += "(medians, by layer)."
    reach = {one.layer: selection.median(pseudospectra.abscissae(one)) for one in rows}
    if reach := {layer: value for layer, value in reach.items() if np.isfinite(value)}:
        top = max(reach, key=lambda layer: reach[layer])
        text += (
            " The numerical range of the median text reaches at least "
            f"to Re z = {number(reach[top])} (layer {top})."
        )
    points, failed = (
        sum(one.converged.size for one in rows),
        sum(int((~one.converged).sum()) for one in rows),
    )
    return text + (
        f" {failed} of its {points} points over all texts and layers did not converge."
        if failed
        else ""
    )


def of_densities(summary: Summary) -> str:
    """What share of all directions a layer stretches, and on what share the symmetric part is
    positive.
    """
    meanings = {
        "gram": "are stretched by the layer (singular values of ∂F above 1)",
        "symmetric": "grow at first under the exact flow",
    }
    words = []
    for of, meaning in meanings.items():
        rows = sorted((one for one in summary.densities if one.of == of), key=lambda one: one.layer)
        shares = {one.layer: _stretched(one) for one in rows}
        if shares := {layer: found for layer, found in shares.items() if np.isfinite(found[0])}:
            top = max(shares, key=lambda layer: shares[layer][0])
            error = max(found[1] for found in shares.values())
            spread = _span([found[0] for found in shares.values()])
            words.append(
                f"at least {spread} of all directions {meaning}, most in layer "
                f"{top} (standard error at most {100 * error:.1f} %)"
            )
    return f"By layer, for the median text, {'; '.join(words)}." if words else NOTHING


def of_directions(summary: Summary, step_size: float | None = None) -> str:
    """In which layers the worst direction sits on the first token."""
    h, rows = directions.at_step_size(summary, step_size)
    text, most = (
        f"At h = {number(h)} the first token carries over half of the worst perturbation entering ",
        [],
    )
    for method in METHODS:
        shares = [
            _First(one.layer, _on_first(one.entering[method]), _on_first(one.leaving[method]))
            for one in rows
        ]
        if first := [one for one in shares if np.isfinite(one.entering)]:
            top = max(first, key=lambda one: one.entering)
            over = [one for one in first if one.entering > 0.5]
            most.append(
                f"the {method} step in {share(over, first)}, with "
                f"{100 * top.entering:.0f} % at most (layer {top.layer}, median text); of "
                "what leaves that step it carries at most "
                f"{100 * _largest([one.leaving for one in first]):.0f} %"
            )
    return text + "; ".join(most) + "." if most else NOTHING


def of_sublayers(summary: Summary, step_size: float | None = None) -> str:
    """Which half of the layers has the larger worst growth, and where hμ₂ < 1 in the halves."""
    h, layers = sublayers.at_step_size(summary, step_size)
    words = []
    for method in METHODS:
        found = {
            l: [
                selection.median(sublayers.worst(summary, l, half, method, h).values)
                for half in sublayers.PARTS[:2]
            ]
            for l in layers
        }
        if found := {layer: halves for layer, halves in found.items() if np.isfinite(halves).all()}:
            every = [_At(layer) for layer in found]
            ahead = [
                _At(layer) for layer, (attention, forward) in found.items() if attention > forward
            ]
            top = max(found, key=lambda layer: max(found[layer]))
            name = "attention" if found[top][0] > found[top][1] else "feed-forward"
            words.append(
                f"under the {method} step in {share(ahead, every)} (largest: "
                f"{name} half of layer {top}, {number(max(found[top]))}×)"
            )
    if not words:
        return NOTHING
    text = (
        f"At h = {number(h)} the attention half has a larger worst "
        f"growth than the feed-forward half {'; '.join(words)}."
    )
    for half in sublayers.PARTS[:2]:
        norms = {
            l: h * selection.median(sublayers.logarithmic_norm(summary, l, half, h).values)
            for l in layers
        }
        if known := [_At(l) for l in layers if np.isfinite(norms[l])]:
            held = [one for one in known if norms[one.layer] < 1]
            text += f" For the {sublayers.NAMES[half]} hμ₂ < 1 holds in {share(held, known)}."
    return text


def of_refinement(summary: Summary, step_size: float | None = None) -> str:
    """How far the two methods are apart in one step, and how far when the step is cut."""
    h, rows = refinement.at_step_size(summary, step_size)
    rows = [one for one in rows if len(one.parts)]
    ends = []
    for part in (0, -1):
        apart = [
            _factor(one.worst["explicit"][:, part], one.worst["implicit"][:, part]) for one in rows
        ]
        off = {
            method: [_factor(one.worst[method][:, part], one.flow) for one in rows]
            for method in METHODS
        }
        ends.append([_largest(apart), *(_largest(off[method]) for method in METHODS)])
    if not rows or not np.isfinite(ends).all():
        return NOTHING
    (apart_one, *off_one), (apart_last, *off_last) = ends
    first, last = (style.counted(int(rows[0].parts[part]), "step") for part in (0, -1))
    text = (
        f"Where a layer is taken in {first} (h = {number(h)}), the worst "
        "growths of the two methods differ by a factor of up to "
    )
    text += (
        f"{number(apart_one)} in the median text; in {last}, by up to "
        f"{number(apart_last)}. What refinement removes is "
    )
    text += "discretisation error, not stability. From the linear flow "
    words = zip(METHODS, off_one, off_last, strict=True)
    return (
        text
        + ", and ".join(
            f"the {m} one differs by up to {number(a)}, refined by up to {number(b)}"
            for m, a, b in words
        )
        + "."
    )


def of_exponents(summary: Summary, step_size: float | None = None) -> str:
    """The mean growth per layer of the perturbation that grows most."""
    h, found = exponents.at_step_size(summary, step_size)
    first = {one.method: one.values[:, 0] for one in found if one.values.shape[1]}
    medians = {method: selection.median(values) for method, values in first.items()}
    medians = {method: value for method, value in medians.items() if np.isfinite(value)}
    words = [
        f"{number(value)} nats per layer (a factor of {number(float(np.exp(value)))}) under {m}"
        for m, value in medians.items()
    ]
    if not words:
        return NOTHING
    text = (
        f"Through the whole stack in steps of h = {number(h)} the "
        "perturbation that grows most gains, in the median text, "
    )
    text += " and ".join(words) + " Euler."
    if len(words) == 2 and len(first["explicit"]) == len(first["implicit"]):
        both = np.isfinite(first["explicit"]) & np.isfinite(first["implicit"])
        lower = int((first["implicit"][both] < first["explicit"][both]).sum())
        text += f" The implicit growth is the smaller one for {lower} of {int(both.sum())} texts."
    return text


class _At(NamedTuple):
    """A layer by its number."""

    layer: int


class _First(NamedTuple):
    """Median shares of the first token in one layer."""

    layer: int
    entering: float
    leaving: float


def _on_first(shares: np.ndarray) -> float:
    return selection.median(shares[:, 0]) if shares.size else float("nan")


def _stretched(one: Density) -> tuple[float, float]:
    """The median text's share of the spectrum above the border, and an upper bound of its standard
    error over the probes.
    """
    share_of, error = density.share_above(density.per_unit_length(one), density.BORDERS[one.of])
    return selection.median(share_of), selection.median(error)


def _factor(a: np.ndarray, b: np.ndarray) -> float:
    """The factor by which two growths differ in the median text, at least 1."""
    positive = np.isfinite(a) & np.isfinite(b) & (a > 0) & (b > 0)
    return float(np.exp(selection.median(np.abs(np.log(a[positive] / b[positive])))))


def _largest(values: Sequence[float]) -> float:
    return max((value for value in values if np.isfinite(value)), default=float("nan"))


def _span(shares: Sequence[float]) -> str:
    """Per cent from the smallest to the largest: "53–87 %"."""
    low, high = (f"{100 * value:.0f}" for value in (min(shares), max(shares)))
    return f"{low} %" if low == high else f"{low}–{high} %"
