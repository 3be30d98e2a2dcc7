"""Where in a text the worst perturbation of one step sits: on which tokens it enters, and on which
it leaves.
"""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from analysis.quantities import METHODS
from analysis.quantities.directions import SIDES
from analysis.run import Measurements
from figures import selection, style
from figures.findings import NOTHING, largest, number, share
from figures.picture import Picture, at_measured_step
from figures.whiskers import beside, layer_axis, whiskers

FIRST = 6  # token positions shown one by one
COLOUR_MAP = "cividis"
DARK = 0.55  # shares above it are light in the colour map, and their numbers black


@style.house()
def draw(run: Measurements, ax: style.Target = None, step_size: float | None = None) -> Figure:
    """Share of the squared norm of the worst direction on each token, layer by layer: median over
    texts, in per cent.

    Columns: the first tokens (0 is the class token of BERT's family), the sum of the rest, and the
    last token. One panel for each method and for the entering and the leaving direction; below them
    the share of the first token with its spread over texts.

    Args:
        run: what was measured.
        ax: None for a new figure, or up to six Axes to fill.
        step_size: h; by default 1, or the largest measured.

    Raises:
        ValueError: if the step size was not measured.
    """
    h, measured = selection.at(run, "directions", step_size)
    layers = selection.layers_of(measured)
    tall = 0.5 + 0.17 * max(len(layers), 1)
    figure, axes = style.panels(
        ax, 6, 2, (2 * tall + 1.7) / 3, below=0.3, height_ratios=[tall, tall, 1.7]
    )
    image = None
    for panel, (method, side) in zip(
        axes, [(method, side) for method in METHODS for side in SIDES], strict=False
    ):
        shares = [_shares(measured, layer, method, side) for layer in layers]
        image = _draw_map(panel, layers, shares) or image
        panel.set_title(f"{style.NAMES[method]}, {side}, $h = {h:g}$", color=style.COLOURS[method])
    for panel, side in zip(axes[4:], SIDES, strict=False):
        _draw_first_token(panel, measured, layers, side)
    if image is not None:
        bar = figure.colorbar(
            image, ax=axes[:4], format=PercentFormatter(1.0, 0, " %"), pad=0.02, aspect=30
        )
        bar.set_label("share of the squared norm")
    style.legend(
        figure,
        axes,
        [style.key(style.NAMES[method], style.COLOURS[method], "o") for method in METHODS],
        ax is None,
    )
    return figure


def _shares(measured: xr.Dataset, layer: int, method: str, side: str) -> np.ndarray:
    """Shares `(texts, tokens)` of one direction; NaN beyond a text's end."""
    of_layer_and_side = measured["direction_share"].sel(layer=layer, scheme=method, side=side)
    return np.asarray(of_layer_and_side.transpose("text", "token").values)


def by_position(shares: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Shares `(texts, tokens)` by place in the text: the first tokens, the sum of the rest, the
    last; NaN where a text has none.

    The last token of a text keeps its own column and enters no other.
    """
    lengths = np.isfinite(shares).sum(axis=1)
    count = int(min(FIRST, max(lengths.max(initial=0) - 1, 0)))
    columns = np.full((len(shares), count + 2), np.nan)
    for row, (text, length) in enumerate(zip(shares, lengths, strict=True)):
        # a text that was not measured keeps its NaN
        if length:
            ahead = min(count, length - 1)
            columns[row, :ahead] = text[:ahead]
            columns[row, count] = text[ahead : length - 1].sum() if length - 1 > count else np.nan
            columns[row, count + 1] = text[length - 1]
    return [*(str(i) for i in range(count)), "rest", "last"], columns


def _draw_map(ax: Axes, layers: list[int], shares: list[np.ndarray]) -> QuadMesh | None:
    ax.set(xlabel="token position", ylabel="layer")
    places = [by_position(of_layer) for of_layer in shares]
    if not any(np.isfinite(columns).any() for _, columns in places):
        style.nothing(ax)
        return None
    names = max((names for names, _ in places), key=len)
    medians = np.stack(
        [_aligned(selection.band(columns).median, len(names)) for _, columns in places]
    )
    mesh = ax.pcolormesh(
        np.ma.masked_invalid(medians),
        cmap=COLOUR_MAP,
        vmin=0,
        vmax=1,
        edgecolors="white",
        linewidth=0.3,
    )
    for row, column in zip(*np.nonzero(medians >= 0.005), strict=True):
        colour = style.INK if medians[row, column] > DARK else "white"
        ax.text(
            column + 0.5,
            row + 0.47,
            f"{100 * medians[row, column]:.0f}",
            ha="center",
            va="center",
            fontsize=6,
            color=colour,
        )
    # the sum and the last token are no neighbours of the first tokens
    for border in (len(names) - 2, len(names) - 1):
        ax.axvline(border, color="white", linewidth=2.5)
    ax.set_xticks(np.arange(len(names)) + 0.5, names)
    ax.set_yticks(np.arange(len(layers)) + 0.5, [str(layer) for layer in layers])
    ax.tick_params(length=0)
    return mesh


def _aligned(columns: np.ndarray, count: int) -> np.ndarray:
    """The columns of a layer with shorter texts under those of the others: the sum and the last
    token stay at the end.
    """
    return np.concatenate([columns[:-2], np.full(count - len(columns), np.nan), columns[-2:]])


def _draw_first_token(ax: Axes, measured: xr.Dataset, layers: list[int], side: str) -> None:
    for i, method in enumerate(METHODS if measured else ()):
        first = _on_first(measured, method, side).transpose("text", "layer")
        hollow = selection.uncertain(first, xr.ones_like(first, dtype=bool))
        x = beside(layers, i, len(METHODS))
        whiskers(ax, x, selection.band(first), style.COLOURS[method], "o", hollow)
    ax.set_ylim(-0.03, 1.03)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, 0, " %"))
    ax.set_ylabel("on the first token")
    count = measured.sizes["text"] if measured else 0
    ax.set_title(f"{side}: " + ("1 text" if count == 1 else f"median and 10–90 % of {count} texts"))
    layer_axis(ax, layers)
    if not measured:
        style.nothing(ax)


def _on_first(measured: xr.Dataset, method: str, side: str) -> xr.DataArray:
    return measured["direction_share"].sel(scheme=method, side=side).isel(token=0, drop=True)


def finding(run: Measurements, step_size: float | None = None) -> str:
    """In which layers the worst direction sits on the first token."""
    h, measured = selection.at(run, "directions", step_size)
    layers, words = selection.layers_of(measured), []
    for method in METHODS if measured else ():
        entering, leaving = (
            dict(zip(layers, selection.band(_on_first(measured, method, side)).median, strict=True))
            for side in SIDES
        )
        known = {layer: value for layer, value in entering.items() if np.isfinite(value)}
        if not known:
            continue
        top = max(known, key=lambda layer: known[layer])
        over = [layer for layer, value in known.items() if value > 0.5]
        words.append(
            f"the {method} step in {share(over, layers)}, with "
            f"{100 * known[top]:.0f} % at most (layer {top}, median text); of "
            "what leaves that step it carries at most "
            f"{100 * largest([leaving[layer] for layer in known]):.0f} %"
        )
    if not words:
        return NOTHING
    told = f"At h = {number(h)} the first token carries over half of the worst perturbation "
    return f"{told}entering {'; '.join(words)}."


DIRECTIONS = Picture(
    quantity="directions",
    title="Where in a text the worst perturbation sits",
    name="directions",
    draw=at_measured_step("directions", draw),
    finding=at_measured_step("directions", finding),
    caption="Share of the worst perturbation of one step on each token, where it "
    "enters the step and where it leaves. Numbers are per cent of "
    "its squared norm, medians over texts; shares under half a per cent "
    "have no number. Token 0 is the first of the text (the class "
    "token of BERT's family), “rest” is the sum of all tokens not shown. "
    "Below: the share of the first token, whiskers from the 10th "
    "to the 90th percentile.",
)
