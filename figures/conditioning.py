"""Which inputs of a classifier flip easily: gradient against margin, growth of random drafts."""

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from analysis.conditioning.records import Condition, Input
from figures import style
from figures.findings import number
from figures.records import not_a_number

CAPTION = (
    "Conditioning of each input. Left: size g of the margin's gradient at the word embeddings "
    "against the margin m, logit of the label less the largest other; left of 0 the model answers "
    "otherwise. Right: how much larger a random draft's difference of the hidden states is after "
    "each layer than before the first, median over drafts, then median and 10–90 % band over "
    "inputs; above 1 it grew."
)
KINDS = {  # of inputs: marker, colour, whether filled
    "no draft flips it": ("o", style.FAINT, False),
    "some draft flips it": ("v", style.INK, True),
    "answered otherwise": ("x", style.GUIDE, True),
}
NARROW = 4.0  # range of growth over which 1, 2, 5 are too few ticks
FAMILIES = {  # line and colour
    "characters": (style.MEASURED, style.INK),
    "words": (style.PREDICTED, style.GUIDE),
}


def kind_of(row: Input) -> str:
    """Which of the kinds an input is."""
    if not row.right:
        return "answered otherwise"
    flipped = any(drafted.flipped for drafted in row.drafts.values())
    return "some draft flips it" if flipped else "no draft flips it"


def finding(record: Condition) -> str:
    """What is seen, in a sentence or two."""
    known = [row for row in record.inputs if row.finite]
    gradients = {
        kind: [not_a_number(row.gradient) for row in known if kind_of(row) == kind]
        for kind in KINDS
    }
    fragile, firm = gradients["some draft flips it"], gradients["no draft flips it"]
    right = len(fragile) + len(firm)
    if not right:
        return "No input is answered as labelled."
    sentence = f"Some random draft flips {len(fragile)} of {right} inputs answered as labelled."
    if not fragile or not firm:
        return sentence
    return (
        f"{sentence} Their median g is {number(float(np.median(fragile)))}, the others' "
        f"{number(float(np.median(firm)))}."
    )


@style.house()
def draw(record: Condition, ax: style.Target = None) -> Figure:
    """g against margin, and growth of drafts to each layer.

    Args:
        record: of the inputs.
        ax: None for a new figure; else one or two Axes.
    """
    figure, axes = style.panels(ax, 2, columns=2, height=2.9, below=0.35, width_ratios=[3, 2])
    handles = _draw_gradients(axes[0], record.inputs)
    if len(axes) > 1:
        handles += _draw_growth(axes[1], record)
    style.legend(figure, axes, handles, ours=ax is None, columns=3)
    return figure


def _draw_gradients(ax: Axes, inputs: Sequence[Input]) -> list[Artist]:
    handles: list[Artist] = []
    for kind, (marker, colour, filled) in KINDS.items():
        rows = [row for row in inputs if row.finite and kind_of(row) == kind]
        if not rows:
            continue
        ax.plot(
            [not_a_number(row.margin) for row in rows],
            [not_a_number(row.gradient) for row in rows],
            linestyle="none",
            marker=marker,
            markersize=3,
            color=colour,
            markerfacecolor=colour if filled else "none",
            markeredgewidth=0.7,
        )
        label = f"{kind} ({len(rows)})"
        handles.append(style.key(label, colour, marker=marker, hollow=not filled))
    if not handles:
        style.nothing(ax, "no input has a margin and a gradient")
        return handles
    ax.axvline(0, color=style.GUIDE, linewidth=0.8, zorder=0)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("margin m (logits)")
    ax.set_ylabel("g = ‖∇m‖ (logits per\nunit of word embeddings)")
    return handles


def _draw_growth(ax: Axes, record: Condition) -> list[Artist]:
    handles: list[Artist] = []
    for family in record.families:
        paths = np.array(
            [[not_a_number(value) for value in row.drafts[family].growth] for row in record.inputs]
        )
        paths = paths[np.isfinite(paths).all(axis=1) & (paths > 0).all(axis=1)]
        if not len(paths):
            continue
        line, colour = FAMILIES[family]
        low, middle, high = np.percentile(paths, [10, 50, 90], axis=0)
        levels = np.arange(paths.shape[1])
        ax.fill_between(levels, low, high, color=colour, alpha=0.15, linewidth=0)
        ax.plot(levels, middle, color=colour, linestyle=line)
        handles.append(style.key(f"drafts: {family}", colour, line=line))
    if not handles:
        style.nothing(ax, "no draft changes a state")
        return handles
    ax.axhline(1, color=style.GUIDE, linewidth=0.8, zorder=0)
    style.logarithmic_growth(ax)
    low_end, high_end = ax.get_ylim()
    if high_end / low_end < NARROW:
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 1.2, 1.5, 2, 3, 5, 7, 8.5)))
    ax.set_xlabel("layers passed")
    ax.set_ylabel("growth of a draft")
    return handles
