"""Pseudospectra of every layer's Jacobian: exact on one short text, bounded from inside on longer
ones.
"""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from analysis.quantities.bounds import abscissae
from analysis.run import Measurements
from figures import selection, style
from figures.complex_plane import View, both_halves, draw_pairs
from figures.findings import NOTHING, number, per_cent
from figures.picture import Picture


@style.house()
def draw(
    run: Measurements,
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
        run: what was measured.
        ax: None for a new figure, or Axes to fill.
        layer: the only layer to draw.
        step_size: h of the stability discs; by default 1, or the largest measured.

    Raises:
        ValueError: if the layer was not measured.
    """
    measured = run["nonnormality"]
    layers = selection.one_layer(selection.layers_of(measured), layer)
    views = [_exact(measured.sel(layer=each)) for each in layers]
    return draw_pairs(ax, views, selection.of_run(run, step_size))


@style.house()
def draw_bounds(
    run: Measurements,
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
        run: what was measured.
        ax: None for a new figure, or Axes to fill.
        layer: the only layer to draw.
        step_size: h of the stability discs; by default 1, or the largest measured.

    Raises:
        ValueError: if the layer was not measured.
    """
    measured = run["bounds"]
    layers = selection.one_layer(selection.layers_of(measured), layer)
    text = typical_text(measured)
    views = [_bounded(run, measured.sel(layer=each), text) for each in layers]
    return draw_pairs(ax, views, selection.of_run(run, step_size))


def typical_text(bounds: xr.Dataset) -> int:
    """The text whose numerical abscissa is on the whole nearest to the median of its layer; the
    same for all layers.
    """
    if not bounds:
        return 0
    reach = abscissae(bounds).transpose("text", "layer")
    off = abs(reach - selection.band(reach).median).fillna(1e6).sum("layer").sortby("text")
    return int(off.idxmin("text"))


def _exact(at_layer: xr.Dataset) -> View:
    on_grid = at_layer.dropna("pseudospectrum_row", subset=["pseudospectrum_im"], how="all")
    on_grid = on_grid.dropna("pseudospectrum_column", subset=["pseudospectrum_re"], how="all")
    sigma_min = on_grid["sigma_min"].transpose("pseudospectrum_row", "pseudospectrum_column")
    im, level = both_halves(on_grid["pseudospectrum_im"].values, sigma_min.values)
    boundary = at_layer["numerical_range"].values
    eigenvalues = at_layer["short_eigenvalue"].values
    eigenvalues = eigenvalues[np.isfinite(eigenvalues)]  # a shorter text has fewer
    frobenius, scale = float(at_layer["frobenius_norm"]), float(at_layer["kreiss_scale"])
    departure = number(float(at_layer["departure"]) / frobenius if frobenius else np.nan)
    gap = number(float(at_layer["numerical_abscissa"] - at_layer["spectral_abscissa"]))
    # beyond radius 1 powers grow by the eigenvalues alone: K is of E over its radius
    scaled = f"E/{scale:.2f}" if scale > 1 else "E"
    sign = "=" if at_layer["kreiss_kind"].item() == "exact" else "≥"
    titles = (
        f"layer {int(at_layer['layer'])}, text {int(at_layer['nonnormality_text'])}\n"
        f"$\\mathrm{{dep}}/\\|J\\|_F$ = {departure}",
        f"$\\omega - \\alpha$ = {gap}\n"
        f"$K({scaled})$ {sign} {number(float(at_layer['kreiss_constant']))}",
    )
    every, nobody = np.ones(len(eigenvalues), dtype=bool), np.zeros(len(boundary), dtype=bool)
    re = on_grid["pseudospectrum_re"].values
    return View(titles, re, im, level, eigenvalues, every, boundary, nobody)


def _bounded(run: Measurements, at_layer: xr.Dataset, text: int) -> View:
    layer = int(at_layer["layer"])
    of_text = at_layer.sel(text=text)
    level_of = of_text["sigma_min_bound"].transpose("bound_im", "bound_re").values
    im, level = both_halves(at_layer["bound_im"].values, level_of)
    leading, settled = np.zeros(0, dtype=complex), np.zeros(0, dtype=bool)
    spectrum = run["spectrum"]
    # the bounds may be of a text whose eigenvalues were not computed
    if layer in selection.layers_of(spectrum) and text in spectrum["text"].values:
        own = spectrum.sel(layer=layer, text=text)
        leading, settled = own["eigenvalue"].values, own["eigenvalue_converged"].values
    departure = selection.band(at_layer["departure_bound"])
    reach = number(float(abscissae(at_layer).sel(text=text)))
    spread = (
        f"({number(float(departure.low))}–{number(float(departure.high))} "
        f"over {style.counted(at_layer.sizes['text'], 'text')})"
    )
    titles = (
        f"layer {layer}, text {text}\n$\\omega$ ≥ {reach}",
        f"$\\mathrm{{dep}}/\\|J\\|_F$ ≥ {number(float(departure.median))}\n{spread}",
    )
    others = (
        at_layer["range_bound"].sel(text=at_layer["text"] != text).transpose("text", "bound_angle")
    )
    return View(
        titles,
        at_layer["bound_re"].values,
        im,
        level,
        leading,
        settled,
        of_text["range_bound"].values,
        ~of_text["range_bound_converged"].values,
        tuple(others.values),
        inner=True,
    )


def finding(run: Measurements) -> str:
    """How far from normal the layers are, and what that does to their eigenvalues."""
    measured = run["nonnormality"]
    if not measured:
        return NOTHING
    relative = (measured["departure"] / measured["frobenius_norm"]).where(
        measured["frobenius_norm"] > 0
    )
    known = relative[np.isfinite(relative)]
    # a departure over a norm of 0 says nothing
    if not known.size:
        return NOTHING
    text = (
        "On one short text the departure from normality is "
        f"{per_cent(known.values.tolist())} of ‖J‖_F, where a normal matrix has 0."
    )
    gap = measured["numerical_abscissa"] - measured["spectral_abscissa"]
    if (top := _largest(gap)) is not None:
        text += (
            " The numerical range reaches farther to the right than the eigenvalues, "
            f"by most in layer {int(top['layer'])} (ω − α = {number(float(top))})."
        )
    moved = measured["pseudospectral_abscissa"] - measured["spectral_abscissa"]
    if (top := _largest(moved / measured["epsilon"])) is not None:
        text += (
            f" A change of J of norm {number(float(top['epsilon']))} can "
            "move the right edge of its spectrum by "
            f"{number(float(top))} times that norm (layer {int(top['layer'])}); with a "
            "normal J it could not move farther than the norm itself."
        )
    if (top := _largest(measured["kreiss_constant"])) is not None:
        text += (
            " Some power of I + J, scaled to spectral radius 1 where it "
            "is larger, stretches some perturbation at least "
            f"{number(float(top))} times (layer {int(top['layer'])}); "
            "by its eigenvalues alone it would not grow."
        )
    return text


def _largest(values: xr.DataArray) -> xr.DataArray | None:
    """The largest finite value with its labels; None where there is none."""
    known = values.where(np.isfinite(values))
    return known.isel(known.argmax(...)) if known.notnull().any() else None


def finding_on_bounds(run: Measurements) -> str:
    """The departure and the numerical range on longer texts, as far as they are known."""
    measured = run["bounds"]
    departures = selection.band(measured["departure_bound"]).median if measured else np.zeros(0)
    departures = departures[np.isfinite(departures)]
    if not len(departures):
        return NOTHING
    texts = measured.sizes["text"]
    text = (
        f"On {texts} longer {'text' if texts == 1 else 'texts'} the departure "
        f"from normality is at least {per_cent(departures.tolist())} of ‖J‖_F (medians, by layer)."
    )
    reach = abscissae(measured).transpose("text", "layer")
    medians = xr.DataArray(
        selection.band(reach).median, dims="layer", coords={"layer": measured["layer"]}
    )
    if (top := _largest(medians)) is not None:
        text += (
            " The numerical range of the median text reaches at least "
            f"to Re z = {number(float(top))} (layer {int(top['layer'])})."
        )
    converged = measured["range_bound_converged"]
    if failed := int((~converged).sum()):
        text += (
            f" {failed} of its {converged.size} points over all texts and layers did not converge."
        )
    return text


PSEUDOSPECTRA = Picture(
    quantity="nonnormality",
    title="How far the eigenvalues can be trusted",
    name="pseudospectra",
    draw=lambda run, h: draw(run, step_size=h),
    finding=lambda run, h: finding(run),
    caption="Pseudospectra of each layer on one short text, exact on a grid. Left: "
    "around the numerical range, with a grey square where the "
    "close-up on the right lies. The line labelled −1 encloses every point "
    "that a change of J of norm 0.1 can make an eigenvalue. "
    "dep(J)/‖J‖_F and ω − α are 0 for a normal matrix; K is the Kreiss "
    "constant of E = I + J, over its spectral radius where "
    "that is above 1; ≥ marks a lower bound. Each left panel has "
    "its own scale; the circles, of radius 1/h, give it.",
)
PSEUDOSPECTRUM_BOUNDS = Picture(
    quantity="bounds",
    title="The same on a longer text, bounded from inside",
    name="pseudospectrum_bounds",
    draw=lambda run, h: draw_bounds(run, step_size=h),
    finding=lambda run, h: finding_on_bounds(run),
    caption="Inner bounds of the pseudospectra on one of the longer texts. The true "
    "pseudospectra are at least as large as these dashed lines, "
    "which come from a projection on a small space; so is the true "
    "numerical range. Faint: the numerical ranges of the other texts. "
    "Hollow: boundary points that did not converge.",
)
