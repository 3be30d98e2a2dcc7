"""Pseudospectra of every layer's Jacobian: exact on one short text, bounded from inside on longer
ones.
"""

from typing import TypeVar

import numpy as np
from matplotlib.figure import Figure

from analysis.summary import NonNormality, PseudospectrumBound, Summary
from figures import selection, style
from figures.complex_plane import View, both_halves, draw_pairs

Table = TypeVar("Table", NonNormality, PseudospectrumBound)


@style.house()
def draw(
    summary: Summary,
    ax: style.Target = None,
    layer: int | None = None,
    step_size: float | None = None,
) -> Figure:
    """Boundaries σ_min(zI − J) = ε of the ε-pseudospectra of each layer, with its eigenvalues, its
    numerical range and the stability discs.

    Two panels for each layer: around the numerical range, and a close-up of the discs. Above them
    dep(J)/‖J‖_F, ω − α, and the Kreiss constant of E = I + J, divided by its spectral radius where
    that is above 1.

    Args:
        summary: the records.
        ax: None for a new figure, or Axes to fill.
        layer: the only layer to draw.
        step_size: h of the stability discs; by default 1, or the largest measured.

    Raises:
        ValueError: if the layer was not measured.
    """
    found = of_layers(summary.nonnormality, layer)
    return draw_pairs(ax, [_exact(one) for one in found], selection.of_run(summary, step_size))


@style.house()
def draw_bounds(
    summary: Summary,
    ax: style.Target = None,
    layer: int | None = None,
    step_size: float | None = None,
) -> Figure:
    """Inner bounds of the same on one of the longer texts: every pseudospectrum is at least as
    large as the one drawn.

    The text is the one whose numerical range reaches about as far to the right as that of the
    median text; the numerical ranges of the others are faint. Hollow: boundary points that did not
    converge.

    Args:
        summary: the records.
        ax: None for a new figure, or Axes to fill.
        layer: the only layer to draw.
        step_size: h of the stability discs; by default 1, or the largest measured.

    Raises:
        ValueError: if the layer was not measured.
    """
    found = of_layers(summary.bounds, layer)
    text = typical_text(summary.bounds)
    return draw_pairs(
        ax, [_bounded(summary, one, text) for one in found], selection.of_run(summary, step_size)
    )


def of_layers(records: tuple[Table, ...], layer: int | None = None) -> list[Table]:
    """The first record of each layer in order of depth, or of one layer only.

    Raises:
        ValueError: if that layer was not measured.
    """
    first = {one.layer: one for one in reversed(records)}
    if layer is not None and layer not in first:
        raise ValueError(f"layer must be one of {sorted(first)}, got {layer}")
    return [first[l] for l in sorted(first) if layer in (None, l)]


def abscissae(one: PseudospectrumBound) -> np.ndarray:
    """How far the numerical range of each text reaches to the right, max Re z; NaN where nothing is
    finite.
    """
    right = np.where(np.isfinite(one.boundary), one.boundary.real, -np.inf).max(
        axis=1, initial=-np.inf
    )
    return np.where(np.isfinite(right), right, np.nan)


def typical_text(bounds: tuple[PseudospectrumBound, ...]) -> int:
    """The text whose numerical abscissa is on the whole nearest to the median of its layer; the
    same for all layers.
    """
    distance: dict[int, float] = {}
    for one in bounds:
        found = abscissae(one)
        off = np.nan_to_num(np.abs(found - selection.median(found)), nan=1e6)
        for text, each in zip(one.texts, off, strict=True):
            distance[text] = distance.get(text, 0.0) + float(each)
    return min(distance, key=lambda text: (distance[text], text), default=0)


def _exact(one: NonNormality) -> View:
    im, level = both_halves(one.im, one.sigma_min)
    nobody = np.zeros(len(one.boundary), dtype=bool)
    departure = _number(one.henrici / one.frobenius if one.frobenius else np.nan)
    gap = _number(one.logarithmic_norm - one.spectral_abscissa)
    scaled = f"E/{one.kreiss_scale:.2f}" if one.kreiss_scale > 1 else "E"
    kreiss = f"$K({scaled})$ {'=' if one.kreiss_kind == 'exact' else '≥'} {_number(one.kreiss)}"
    titles = (
        f"layer {one.layer}, text {one.text}\n$\\mathrm{{dep}}/\\|J\\|_F$ = {departure}",
        f"$\\omega - \\alpha$ = {gap}\n{kreiss}",
    )
    every = np.ones(len(one.eigenvalues), dtype=bool)
    return View(titles, one.re, im, level, one.eigenvalues, every, one.boundary, nobody)


def _bounded(summary: Summary, one: PseudospectrumBound, text: int) -> View:
    row = one.texts.index(text) if text in one.texts else 0
    im, level = both_halves(one.im, one.sigma_min[row])
    spectrum = next(
        (
            each
            for each in summary.spectra
            if each.layer == one.layer and one.texts[row] < len(each.leading)
        ),
        None,
    )
    leading = spectrum.leading[one.texts[row]] if spectrum else np.zeros(0, dtype=complex)
    settled = spectrum.converged[one.texts[row]] if spectrum else np.zeros(0, dtype=bool)
    departure, reach = selection.band(one.henrici_bound), _number(float(abscissae(one)[row]))
    spread = (
        f"({_number(float(departure.low))}–{_number(float(departure.high))} "
        f"over {style.counted(len(one.texts), 'text')})"
    )
    titles = (
        f"layer {one.layer}, text {one.texts[row]}\n$\\omega$ ≥ {reach}",
        f"$\\mathrm{{dep}}/\\|J\\|_F$ ≥ {_number(float(departure.median))}\n{spread}",
    )
    others = tuple(boundary for i, boundary in enumerate(one.boundary) if i != row)
    return View(
        titles,
        one.re,
        im,
        level,
        leading,
        settled,
        one.boundary[row],
        ~one.converged[row],
        others,
        inner=True,
    )


def _number(value: float) -> str:
    if np.isnan(value):
        return "–"
    return "∞" if np.isinf(value) else f"{value:.3g}".replace("-", "−")
