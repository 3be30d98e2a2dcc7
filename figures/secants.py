"""What each step does to real edits: their secants over the stability regions, the share of them
that is damped, and why eigenvalues say something else.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, PercentFormatter

from analysis.ground.resampling import Interval
from analysis.quantities import METHODS
from analysis.quantities.secants import CONVENTION, settled_only, share_damped
from analysis.run import Measurements
from figures import readings, relative_graph, selection, style
from figures.findings import NOTHING, number, per_cent, share
from figures.picture import Picture
from figures.whiskers import beside, layer_axis, whiskers

FINE_TICKS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3)
MANY = 40  # pairs in a panel from which dots are small and faint


@dataclasses.dataclass(frozen=True)
class Damped:
    """What a method damps in one layer.

    Attributes:
        layer: index from 0.
        method: "explicit" or "implicit".
        edits: share of the edits whose growth is known, with its interval.
        of: how many edits there are.
        eigenvalues: share of the leading eigenvalues of all texts; NaN where none is known.
        largest: max |R(hλ)| over these.
    """

    layer: int
    method: str
    edits: Interval
    of: int
    eigenvalues: float
    largest: float

    @property
    def comparable(self) -> bool:
        """Both shares are known."""
        return bool(np.isfinite([self.edits.mean, self.eigenvalues]).all())

    @property
    def disagree(self) -> bool:
        """Half of the edits or more are damped and fewer of the eigenvalues, or the other way
        round.
        """
        return self.comparable and (self.edits.mean >= 0.5) != (self.eigenvalues >= 0.5)


def at_step_size(run: Measurements, h: float | None) -> tuple[float, xr.Dataset]:
    """Secants of solves that converged at one step size; without variables where they were not
    measured at it.
    """
    h, dataset = selection.at(run, "secants", h)
    return h, settled_only(dataset) if dataset else dataset


def marks_of(dataset: xr.Dataset) -> dict[str, tuple[str, str]]:
    """Marker and colour of each kind of edits, those without a name of their own last."""
    kinds = set(dataset["kind"].values.tolist()) if dataset else set[str]()
    known = {kind: mark for kind, mark in style.EDITS.items() if kind in kinds}
    others = zip(sorted(kinds - set(known)), itertools.cycle(style.OTHER_EDITS), strict=False)
    return {**known, **dict(others)}


def damped(run: Measurements, step_size: float | None = None) -> list[Damped]:
    """What each method damps in each layer."""
    h, dataset = at_step_size(run, step_size)
    return [
        _damped(run, dataset.sel(layer=layer, scheme=method), layer, method, h)
        for layer in selection.layers_of(dataset)
        for method in METHODS
    ]


def _damped(run: Measurements, one: xr.Dataset, layer: int, method: str, h: float) -> Damped:
    growth = np.zeros(0)
    if layer in selection.layers_of(run["spectrum"]):
        z = h * run["spectrum"]["eigenvalue"].sel(layer=layer).values.ravel()
        z = z[np.isfinite(z)]
        # A pole has infinite growth.
        with np.errstate(divide="ignore"):
            growth = np.abs(1 + z) if method == "explicit" else 1 / np.abs(1 - z)
    known = len(growth) > 0
    return Damped(
        layer,
        method,
        share_damped(one["secant_growth"]),
        one.sizes["pair"],
        float((growth < 1).mean()) if known else float("nan"),
        float(growth.max()) if known else float("nan"),
    )


def draw_on(ax: Axes, run: Measurements, layer: int, h: float) -> None:
    """The secants z = hζ of one layer, by kind: filled where the explicit step starts, hollow where
    the implicit one ends.
    """
    if not measured_at(run, h):
        return
    _, dataset = at_step_size(run, h)
    if layer not in selection.layers_of(dataset):
        return
    many = dataset.sizes["pair"] > MANY
    for kind, (marker, colour) in marks_of(dataset).items():
        of_kind = dataset.isel(pair=np.flatnonzero(dataset["kind"].values == kind))
        for method in METHODS:
            z = h * of_kind["secant"].sel(layer=layer, scheme=method).values
            ax.plot(
                z.real,
                z.imag,
                marker,
                color=colour,
                markersize=2.2 if many else 3.4,
                markerfacecolor=colour if method == "explicit" else "white",
                markeredgewidth=0.6,
                alpha=0.6 if many else 0.9,
                zorder=3.5,
            )


def measured_at(run: Measurements, h: float) -> bool:
    """Whether secants were measured at a step size: unlike eigenvalues they do not scale with
    it.
    """
    return bool(run["secants"]) and bool(np.isclose(selection.steps_of(run, "secants"), h).any())


def handles(run: Measurements, h: float) -> list[Artist]:
    """Legend entries of the kinds, none where no secants are drawn."""
    if not measured_at(run, h):
        return []
    found: list[Artist] = [
        style.key(rf"secants $h\zeta$ of edits: {style.plain(kind)}", colour, marker, size=3.4)
        for kind, (marker, colour) in marks_of(run["secants"]).items()
    ]
    hollow = style.key(
        "filled: explicit, at its start; hollow: implicit, at its end",
        style.INK,
        "o",
        hollow=True,
        size=3.4,
    )
    return [*found, hollow]


def points(run: Measurements, layers: Sequence[int], h: float) -> np.ndarray:
    """All z = hζ of some layers, for the limits of a frame."""
    if not measured_at(run, h):
        return np.zeros(0, dtype=complex)
    _, dataset = at_step_size(run, h)
    known = [layer for layer in layers if layer in selection.layers_of(dataset)]
    z = h * dataset["secant"].sel(layer=known).values.ravel()
    return np.asarray(z[np.isfinite(z)])


@style.house()
def draw(run: Measurements, ax: style.Target = None, step_size: float | None = None) -> Figure:
    """The share of edits that either step damps, layer by layer, beside that of the leading
    eigenvalues; and the growth of each kind of edit.

    Args:
        run: what was measured.
        ax: None for a new figure, or up to three Axes to fill.
        step_size: h; by default 1, or the largest measured.

    Raises:
        ValueError: if the step size was not measured.
    """
    h, dataset = at_step_size(run, step_size)
    figure, axes = style.panels(ax, 3, columns=3, height=2.3, below=0.5)
    _draw_shares(axes[0], damped(run, step_size), h)
    for panel, method in zip(axes[1:], METHODS, strict=False):
        _draw_growth(panel, dataset, method)
    _scale_alike(axes[1:])
    style.legend(figure, axes, _handles(dataset), ax is None, columns=3)
    return figure


def _draw_shares(ax: Axes, found: list[Damped], h: float) -> None:
    layers = sorted({one.layer for one in found})
    for i, method in enumerate(METHODS if found else ()):
        mine = [one for one in found if one.method == method]
        x, colour = beside(layers, i, len(METHODS)), style.COLOURS[method]
        shares = np.array([[one.edits.mean, one.edits.low, one.edits.high] for one in mine]).T
        some_lost = np.array([one.edits.n < one.of for one in mine])
        whiskers(ax, x, selection.Band(*shares), colour, "o", some_lost)
        words = [_share_alone(one) for one in mine]
        told = readings.Row("", shares[0], words)
        name, places = f"damped by the {method} step", readings.by_layer(layers)
        ax.add_artist(readings.Readings(name, places, x, [told], colour, summary="Edits"))
        eigenvalues = [one.eigenvalues for one in mine]
        ax.plot(x + 0.1, eigenvalues, linestyle="none", marker="x", markersize=4, color=colour)
    ax.set_ylim(-0.05, 1.05)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, 0, " %"))
    ax.set_ylabel("damped by the step")
    ax.set_title(f"share damped, $h = {h:g}$")
    layer_axis(ax, layers)
    if not found:
        style.nothing(ax)


def _draw_growth(ax: Axes, dataset: xr.Dataset, method: str) -> None:
    layers = selection.layers_of(dataset)
    marks = marks_of(dataset)
    for i, (kind, (marker, colour)) in enumerate(marks.items()):
        of_kind = dataset.isel(pair=np.flatnonzero(dataset["kind"].values == kind))
        growth = of_kind["secant_growth"].sel(scheme=method).transpose("pair", "layer")
        lost = ~np.isfinite(growth.values).all(0)
        band = selection.band(growth, "pair").positive()
        x = beside(layers, i, len(marks))
        whiskers(ax, x, band, colour, marker, lost)
        name = f"growth of the edit ({kind}), {method}"
        readings.leave(ax, name, readings.by_layer(layers), x, growth, colour)
    ax.axhline(1, color=style.GUIDE, linewidth=0.6, zorder=0)
    if style.is_leftmost(ax) or method == METHODS[0]:
        ax.set_ylabel(r"growth $\|\delta_{l+1}\|\,/\,\|\delta_l\| = |R(h\zeta_l)|$")
    ax.set_title(style.NAMES[method], color=style.COLOURS[method])
    layer_axis(ax, layers)
    if not dataset:
        style.nothing(ax)


def _scale_alike(axes: list[Axes]) -> None:
    """One logarithmic scale for the growth under either method."""
    for ax in axes:
        style.logarithmic_growth(ax)
    ends = [end for ax in axes for end in ax.get_ylim()]
    for ax in axes:
        ax.set_ylim(min(ends), max(ends))
        if max(ends) < 10 * min(ends):  # powers of ten would leave one tick
            seen = sum(min(ends) <= tick <= max(ends) for tick in FINE_TICKS)
            fine = FixedLocator(FINE_TICKS) if seen > 2 else MaxNLocator(4)
            ax.yaxis.set_major_locator(fine)


def _handles(dataset: xr.Dataset) -> list[Artist]:
    """Methods of the first panel, then kinds of the others."""
    found: list[Artist] = [
        style.key(f"edits, {style.NAMES[method]}", style.COLOURS[method], "o") for method in METHODS
    ]
    found.append(style.key("leading eigenvalues, in their colours", style.INK, "x"))
    for kind, (marker, colour) in marks_of(dataset).items():
        count = int((dataset["kind"].values == kind).sum())
        found.append(style.key(f"{style.plain(kind)} (n = {count})", colour, marker))
    return found


def finding(run: Measurements, step_size: float | None = None) -> str:
    """Which share of the edits each method damps, from the least to the most over layers, and where
    eigenvalues say something else.
    """
    h, dataset = at_step_size(run, step_size)
    found = damped(run, step_size)
    if not any(one.edits.n for one in found):
        return NOTHING
    pairs, originals = dataset.sizes["pair"], len(np.unique(dataset["cluster"].values))
    made_from = style.counted(originals, "original")
    explicit, implicit = (_shares(found, method) for method in METHODS)
    text = (
        f"At h = {number(h)} the explicit step damps {explicit} of {style.counted(pairs, 'edit')} "
        f"(made from {made_from}), by layer, the implicit one {implicit}."
    )
    return " ".join([text, _on_eigenvalues(found), *_on_graph(run, found, h)])


def _shares(found: list[Damped], method: str) -> str:
    """The range over layers, and where it is that of the edits that are known alone."""
    mine = [one for one in found if one.method == method]
    known = [one.edits.mean for one in mine if one.edits.n]
    if not known:
        return "an unknown share"
    partly = [one.layer for one in mine if one.edits.n < one.of]
    layers = share(partly, [one.layer for one in mine])
    return per_cent(known) + (f" (not known of all edits in {layers})" if partly else "")


def _share_alone(one: Damped) -> str:
    if not one.edits.n:
        return "not known"
    low, high = 100 * one.edits.low, 100 * one.edits.high
    only = f" of the {one.edits.n} known" if one.edits.n < one.of else ""
    return f"{100 * one.edits.mean:.0f} %{only} ({low:.0f}–{high:.0f})"


def _on_eigenvalues(found: list[Damped]) -> str:
    """Where the majorities of eigenvalues and of edits part."""
    words = []
    for method in METHODS:
        mine = [one for one in found if one.method == method]
        apart = [one for one in mine if one.disagree]
        if apart:
            layers = share([one.layer for one in apart], [one.layer for one in mine])
            words.append(
                f"about the {method} step in {layers}, which damps "
                f"{per_cent([one.eigenvalues for one in apart])} of them there and "
                f"{per_cent([one.edits.mean for one in apart])} of the edits"
            )
    if not any(one.comparable for one in found):
        return "Leading eigenvalues are not known where the share of edits is."
    if not words:
        where = "" if all(one.comparable for one in found) else " where both are known"
        return (
            f"Leading eigenvalues agree: in every layer{where} a step damps at least half of both, "
            "or less than half of both."
        )
    return f"Leading eigenvalues, chosen for being extreme, disagree {', and '.join(words)}."


def _on_graph(run: Measurements, found: list[Damped], h: float) -> list[str]:
    """What the relative graph of a text adds: worst growth, and how many secants it holds."""
    text = relative_graph.drawn_text(run)
    if text is None or not measured_at(run, h):
        return []
    graphs = {one.layer: relative_graph.of_layer(run, one.layer) for one in found}
    worst = {
        layer: float(graph["relative_graph_growth"].sel(step_size=h))
        for layer, graph in graphs.items()
        if graph is not None
    }
    known = [one for one in found if one.method == "explicit" and _known(worst, one)]
    held = [_held(run, graph, layer, h) for layer, graph in graphs.items() if graph is not None]
    inside, total = sum(some for some, _ in held), sum(count for _, count in held)
    sentences = []
    if known:
        factors = [worst[one.layer] for one in known]
        sentences.append(
            f"On text {text} the explicit step stretches a small perturbation by a factor of at "
            f"most {number(min(factors))} to {number(max(factors))}, by layer, and a leading "
            f"eigenvalue of any text by at most {number(max(one.largest for one in known))}."
        )
    if total:
        sentences.append(
            f"{inside} of {total} secants at the start of explicit steps lie within the outer "
            "circles of that text's relative graph."
        )
    return sentences


def _known(worst: dict[int, float], one: Damped) -> bool:
    """Whether worst growth and eigenvalues of a layer are numbers."""
    return bool(np.isfinite([worst.get(one.layer, np.nan), one.largest]).all())


def _held(run: Measurements, graph: xr.Dataset, layer: int, h: float) -> tuple[int, int]:
    """How many explicit secants of a layer lie within the graph's outer circles, of how many."""
    _, dataset = at_step_size(run, h)
    starts = dataset["secant"].sel(layer=layer, scheme="explicit").values
    starts = starts[np.isfinite(starts)]
    return int(relative_graph.within(graph, starts).sum()), len(starts)


SECANTS = Picture(
    quantity="secants",
    title="What each step does to real edits",
    name="secants",
    draw=lambda run, h: draw(run, step_size=selection.measured_step(run, "secants", h)),
    finding=lambda run, h: finding(run, selection.measured_step(run, "secants", h)),
    caption="Left: share of the edits that a step damps, with 95 % intervals over originals, and "
    "of the leading eigenvalues of all texts. Right: growth of the difference between a text and "
    "its edit over each layer, exact and not linearised; medians by kind of edit, whiskers from "
    "the 10th to the 90th percentile. Hollow where some pair was not solved, in this layer or one "
    "before it. " + CONVENTION,
    also=("relative_graph",),
)
