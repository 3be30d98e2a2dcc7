"""How perturbations grow through depth: measured beside the linear prediction, and where the two
part.
"""

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.quantities import METHODS
from analysis.quantities.labelled import finite
from analysis.quantities.propagation import FAMILIES, Growth, growths, spoilt
from analysis.run import Measurements
from figures import readings, selection, style
from figures.findings import NOTHING, number
from figures.picture import Picture, at_measured_step
from figures.whiskers import line_with_band

ORDER = ("gaussian", "worst", "typo", "synonym", "negation", "edit")
CLOSE = np.log(1.1)  # a linear prediction within 10 % is called accurate
TITLES = {"gaussian": "Gaussian noise", "worst": "worst direction"}


@style.house()
def draw(
    run: Measurements,
    ax: style.Target = None,
    step_size: float | None = None,
    *,
    perturbation: str | None = None,
) -> Figure:
    """Growth G_l = ‖x̃_l − x_l‖/‖x̃_0 − x_0‖ against depth, one panel for each kind of
    perturbation.

    Solid: measured, median over examples with the 10–90 % band. Dashed: predicted by the product of
    step derivatives. Of several sizes of a synthetic perturbation the smallest is drawn.

    Args:
        run: what was measured.
        ax: None for a new figure, one Axes for one panel, or an array of Axes to fill.
        step_size: h; by default 1, or the largest measured.
        perturbation: the only kind to draw.

    Raises:
        ValueError: if the step size or the kind was not measured.
    """
    curves = at_step_size(run, step_size)
    kinds = kinds_of(curves)
    if perturbation is not None:
        if perturbation not in kinds:
            raise ValueError(f"perturbation must be one of {kinds}, got {perturbation!r}")
        kinds = [perturbation]
    figure, axes = style.panels(ax, max(len(kinds), 1), height=2.2, below=0.5, sharey=True)
    drawn = [smallest(curves, kind) for kind in kinds[: len(axes)]]
    for panel, growth in zip(axes, drawn, strict=False):
        _draw_kind(panel, growth)
    if not kinds:
        style.nothing(axes[0])
        _label(axes[0])
    for panel in axes:
        # panels of a row share their vertical axis
        if len(axes) == 1 or style.is_leftmost(panel):
            panel.set_ylabel(r"$G_l = \|\tilde{x}_l - x_l\|\,/\,\|\tilde{x}_0 - x_0\|$")
    any_failed = any(bool(failed(growth).any()) for growth in drawn)
    most = max((growth.values.sizes["example"] for growth in drawn), default=0)
    style.legend(figure, axes, _handles(any_failed, most), ax is None)
    return figure


@style.house()
def draw_linearity(
    run: Measurements, ax: style.Target = None, step_size: float | None = None
) -> Figure:
    """Prediction error |log G_L measured − log G_L predicted| at the last layer against the size of
    a Gaussian perturbation.
    """
    curves = [growth for growth in at_step_size(run, step_size) if growth.kind == "gaussian"]
    figure, axes = style.panels(ax, 1, height=2.8, width=0.6 * style.WIDTH)
    panel, any_marked, handles = axes[0], False, list[Artist]()
    sizes = np.array([growth.size for growth in curves])
    for method in METHODS if curves else ():
        errors = xr.concat([prediction_error(growth, method) for growth in curves], "size")
        errors_band = selection.band(errors, "example").positive()
        if np.isfinite(errors_band.median).any():
            marked = np.array([bool(failed(growth).sel(scheme=method).any()) for growth in curves])
            line_with_band(panel, sizes, errors_band, method, marked)
            name = f"error of the prediction, {method}"
            places = [f"size {number(size)}" for size in sizes.tolist()]
            colour = style.COLOURS[method]
            readings.leave(panel, name, places, sizes, errors.T, colour)
            handles.append(style.of_method(method, style.NAMES[method], marker="o"))
            any_marked |= bool(marked.any())
    if any_marked:
        handles.append(_hollow())
    if handles:
        panel.set(xscale="log", yscale="log")
        _slope_one(panel)
        handles.append(style.key("slope 1", style.GUIDE, line="-", width=0.8))
        panel.legend(handles=handles, loc="upper left")
    else:
        style.nothing(panel)
    panel.set_xlabel(r"relative size of the perturbation $\|\delta_0\|\,/\,\|x_0\|$")
    panel.set_ylabel(r"$|\log G_L^\mathrm{measured} - \log G_L^\mathrm{predicted}|$")
    panel.set_title(
        f"Gaussian noise ({_examples(curves[0] if curves else None)})"
        + (f", $h = {_step(curves[0]):g}$" if curves else "")
    )
    return figure


def at_step_size(run: Measurements, wanted: float | None = None) -> list[Growth]:
    """Every kind and size at one step size; an example whose implicit solve failed is left out from
    that layer on.

    Raises:
        ValueError: if the step size was not measured.
    """
    h = selection.step_size(selection.steps_of(run, "propagation"), wanted)
    grown = growths(run["propagation"]) if run["propagation"] else []
    return [growth._replace(values=solved(growth.values.sel(step_size=h))) for growth in grown]


def ends_of_edits(run: Measurements, wanted: float | None = None) -> list[xr.DataArray]:
    """The growth of edits at the last layer, `(scheme, example)` of each kind.

    Raises:
        ValueError: if the step size was not measured.
    """
    return [
        growth.values["measured"].isel(passed=-1, drop=True)
        for growth in at_step_size(run, wanted)
        if growth.kind not in FAMILIES
    ]


def solved(values: xr.Dataset) -> xr.Dataset:
    """Growth with NaN after a solve that did not converge: what was computed there is not the
    method's growth.
    """
    failed_before = (~values["converged"]).cumsum("step").rename(step="passed")
    start = xr.zeros_like(failed_before.isel(passed=[0]))
    holds = xr.concat([start, failed_before], "passed") == 0
    return values.assign({name: values[name].where(holds) for name in ("measured", "predicted")})


def kinds_of(curves: list[Growth]) -> list[str]:
    """The kinds of perturbation, synthetic ones first, kinds we have no name for last."""
    return sorted(
        {growth.kind for growth in curves},
        key=lambda kind: (ORDER.index(kind) if kind in ORDER else len(ORDER), kind),
    )


def smallest(curves: list[Growth], kind: str) -> Growth:
    """One kind at its smallest size."""
    ours = [growth for growth in curves if growth.kind == kind]
    return min(ours, key=lambda growth: growth.size)


def prediction_error(growth: Growth, method: str) -> xr.DataArray:
    """|log G_L measured − log G_L predicted|, one per example; NaN where either is not positive."""
    last = growth.values.sel(scheme=method).isel(passed=-1)
    logs = [xr.ufuncs.log(last[name].where(last[name] > 0)) for name in ("measured", "predicted")]
    return abs(logs[0] - logs[1])


def failed(growth: Growth) -> xr.DataArray:
    """Examples of which some solve did not converge, or some number is not finite, by scheme."""
    return ~growth.values["converged"].all("step") | spoilt(growth)


def finding(run: Measurements, step_size: float | None = None) -> str:
    """What reaches the last layer of each kind of perturbation, explicit against implicit."""
    curves = at_step_size(run, step_size)
    ends, lower, unknown = [], 0, []
    for kind in kinds_of(curves):
        values = smallest(curves, kind).values["measured"].isel(passed=-1)
        explicit, implicit = (
            selection.median(values.sel(scheme=method), "example") for method in METHODS
        )
        if not np.isfinite([explicit, implicit]).all():
            unknown.append(TITLES.get(kind, kind))
            continue
        ends.append(f"{TITLES.get(kind, kind)} {number(explicit)}× against {number(implicit)}×")
        lower += implicit < explicit
    if not ends:
        return NOTHING
    text = (
        f"With steps of h = {number(_step(curves[0]))} the median "
        f"growth at the last layer is, explicit against implicit: {'; '.join(ends)}. The implicit "
        f"path ends lower for {lower} of {len(ends) + len(unknown)} kinds of perturbation."
    )
    return text + (f" Not known: {', '.join(unknown)}." if unknown else "")


def finding_on_linearity(run: Measurements, step_size: float | None = None) -> str:
    """Up to which size of a Gaussian perturbation the linear prediction holds within 10 %."""
    curves = [growth for growth in at_step_size(run, step_size) if growth.kind == "gaussian"]
    words = []
    for method in METHODS:
        errors = [
            selection.median(prediction_error(growth, method), "example") for growth in curves
        ]
        if not np.isfinite(errors).any():
            continue
        # An error that is not known ends the range, as a large one does.
        first_bad = next((i for i, error in enumerate(errors) if not error <= CLOSE), len(errors))
        good = [growth.size for growth in curves[:first_bad]]
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


def _draw_kind(ax: Axes, growth: Growth) -> None:
    notes = []
    for method in METHODS:
        values = growth.values.sel(scheme=method).transpose("example", ...)
        colour, depth = style.COLOURS[method], np.arange(values.sizes["passed"])
        unsolved = np.concatenate([[False], ~values["converged"].all("example").values])
        lost = ~finite(values["measured"]).all("example").values
        band = selection.band(values["measured"], "example").positive()
        line_with_band(ax, depth, band, method, unsolved | lost)
        name = f"growth ({TITLES.get(growth.kind, growth.kind)}), {method}"
        places = [f"after {style.counted(passed, 'layer')}" for passed in depth.tolist()]
        readings.leave(ax, name, places, depth, values["measured"], colour)
        predicted = selection.band(values["predicted"], "example").positive().median
        ax.plot(
            depth,
            predicted,
            linestyle=style.PREDICTED,
            color=style.darker(colour),
            linewidth=0.9,
            zorder=4,
        )
        # what was left out is said where it is missing
        if count := int(failed(growth).sel(scheme=method).sum()):
            notes.append(f"{count} of {values.sizes['example']} not solved, left out")
    name = f"{style.plain(TITLES.get(growth.kind, growth.kind))} ({_examples(growth)})"
    ax.set_title("\n".join(line for line in (name, _size(growth.size), *notes) if line))
    _label(ax, _step(growth))


def _label(ax: Axes, h: float | None = None) -> None:
    style.logarithmic_growth(ax)
    ax.axhline(1, color=style.GUIDE, linewidth=0.6, zorder=0)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("layers passed $l$" if h is None else f"layers passed $l$, $h = {h:g}$")


def _slope_one(ax: Axes) -> None:
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    ratio = np.sqrt(bottom * top) / np.sqrt(left * right)
    ax.plot(
        [left, right], [ratio * left, ratio * right], color=style.GUIDE, linewidth=0.8, zorder=0
    )
    ax.set(xlim=(left, right), ylim=(bottom, top))


def _handles(any_failed: bool, examples: int) -> list[Artist]:
    """Column by column, as a legend is filled: measured, predicted, bands."""
    names = style.NAMES
    median = "" if examples == 1 else " (median)"
    measured = [
        style.of_method(m, f"{names[m]}, measured{median}", marker="o", size=3.5) for m in METHODS
    ]
    predicted = [
        style.key(
            f"{names[m]}, linear prediction",
            style.darker(style.COLOURS[m]),
            line=style.PREDICTED,
            width=0.9,
        )
        for m in METHODS
    ]
    bands = style.bands_of(METHODS, "examples", examples)
    return [*measured, *([_hollow()] if any_failed else []), *predicted, *bands]


def _hollow() -> Artist:
    return style.hollow("some example not solved, left out")


def _examples(growth: Growth | None) -> str:
    return f"n = {growth.values.sizes['example']}" if growth else "n = 0"


def _step(growth: Growth) -> float:
    return float(growth.values["step_size"])


def _size(size: float) -> str:
    # edits have the size that they have: NaN
    if not size > 0:
        return ""
    exponent = int(np.floor(np.log10(size) + 1e-9))
    factor = size / 10.0**exponent
    power = (
        rf"10^{{{exponent}}}" if np.isclose(factor, 1) else rf"{factor:.2g}\times10^{{{exponent}}}"
    )
    return rf"$\|\delta_0\| = {power}\,\|x_0\|$"


PROPAGATION = Picture(
    quantity="propagation",
    title="Perturbations through depth",
    name="propagation",
    draw=at_measured_step("propagation", draw),
    finding=at_measured_step("propagation", finding),
    caption="Growth of perturbations through depth, relative to their size at the "
    "start. Solid: measured, median over examples with the "
    "10–90 % band. Dashed: predicted by the product of the derivatives of the steps.",
    always=True,
)
LINEARITY = Picture(
    quantity="propagation",
    title="Where the linear prediction ends",
    name="linearity",
    draw=at_measured_step("propagation", draw_linearity),
    finding=at_measured_step("propagation", finding_on_linearity),
    caption="Error of the linear prediction at the last layer against the size of "
    "a Gaussian perturbation. Median and 10–90 % band over "
    "examples.",
    always=True,
)
