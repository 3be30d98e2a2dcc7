"""Where in a text the worst perturbation of one step sits: on which tokens it enters, and on which
it leaves.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from analysis.summary import METHODS, Directions, Summary
from figures import selection, style
from figures.whiskers import beside, layer_axis, stack, whiskers

SIDES = ("entering", "leaving")
FIRST = 6  # token positions shown one by one
COLOUR_MAP = "cividis"
DARK = 0.55  # shares above it are light in the colour map, and their numbers black


@style.house()
def draw(summary: Summary, ax: style.Target = None, step_size: float | None = None) -> Figure:
    """Share of the squared norm of the worst direction on each token, layer by layer: median over
    texts, in per cent.

    Columns: the first tokens (0 is the class token of BERT's family), the sum of the rest, and the
    last token. One panel for each method and for the entering and the leaving direction; below them
    the share of the first token with its spread over texts.

    Args:
        summary: the records.
        ax: None for a new figure, or up to six Axes to fill.
        step_size: h; by default 1, or the largest measured.

    Raises:
        ValueError: if the step size was not measured.
    """
    h, found = at_step_size(summary, step_size)
    tall = 0.5 + 0.17 * max(len(found), 1)
    figure, axes = style.panels(
        ax, 6, 2, (2 * tall + 1.7) / 3, below=0.3, height_ratios=[tall, tall, 1.7]
    )
    image = None
    for panel, (method, side) in zip(
        axes, [(method, side) for method in METHODS for side in SIDES], strict=False
    ):
        image = _draw_map(panel, found, method, side) or image
        panel.set_title(f"{style.NAMES[method]}, {side}, $h = {h:g}$", color=style.COLOURS[method])
    for panel, side in zip(axes[4:], SIDES, strict=False):
        _draw_first_token(panel, found, side)
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


def at_step_size(summary: Summary, wanted: float | None = None) -> tuple[float, list[Directions]]:
    """The step size drawn, and the directions of every layer at it in order of depth."""
    h = selection.step_size([one.step_size for one in summary.directions], wanted)
    return h, sorted(
        (one for one in summary.directions if one.step_size == h), key=lambda one: one.layer
    )


def by_position(shares: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Shares `(texts, tokens)` by place in the text: the first tokens, the sum of the rest, the
    last; NaN where a text has none.

    The last token of a text keeps its own column and enters no other.
    """
    lengths = np.isfinite(shares).sum(axis=1)
    count = int(min(FIRST, max(lengths.max(initial=0) - 1, 0)))
    columns = np.full((len(shares), count + 2), np.nan)
    for row, (text, length) in enumerate(zip(shares, lengths, strict=True)):
        if length:
            ahead = min(count, length - 1)
            columns[row, :ahead] = text[:ahead]
            columns[row, count] = text[ahead : length - 1].sum() if length - 1 > count else np.nan
            columns[row, count + 1] = text[length - 1]
    return [*(str(i) for i in range(count)), "rest", "last"], columns


def _draw_map(ax: Axes, found: list[Directions], method: str, side: str) -> QuadMesh | None:
    ax.set(xlabel="token position", ylabel="layer")
    places = [by_position(getattr(one, side)[method]) for one in found]
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
    for border in (len(names) - 2, len(names) - 1):
        ax.axvline(border, color="white", linewidth=2.5)
    ax.set_xticks(np.arange(len(names)) + 0.5, names)
    ax.set_yticks(np.arange(len(found)) + 0.5, [str(one.layer) for one in found])
    ax.tick_params(length=0)
    return mesh


def _aligned(columns: np.ndarray, count: int) -> np.ndarray:
    """The columns of a layer with shorter texts under those of the others: the sum and the last
    token stay at the end.
    """
    return np.concatenate([columns[:-2], np.full(count - len(columns), np.nan), columns[-2:]])


def _draw_first_token(ax: Axes, found: list[Directions], side: str) -> None:
    for i, method in enumerate(METHODS):
        band = selection.band(stack([getattr(one, side)[method][:, 0] for one in found]))
        whiskers(
            ax,
            beside([one.layer for one in found], i, len(METHODS)),
            band,
            style.COLOURS[method],
            "o",
        )
    ax.set_ylim(-0.03, 1.03)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, 0, " %"))
    ax.set_ylabel("on the first token")
    ax.set_title(
        f"{side}: median and 10–90 % of "
        + (style.counted(len(found[0].entering["explicit"]), "text") if found else "texts")
    )
    layer_axis(ax, [one.layer for one in found])
    if not found:
        style.nothing(ax)
