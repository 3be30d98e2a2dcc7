"""Which inputs of a classifier flip easily: gradient against margin, growth of random drafts."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from analysis.conditioning.records import Condition, Input
from analysis.ground.auroc import auroc
from figures import style
from figures.findings import number
from figures.records import not_a_number

CAPTION = (
    "Conditioning of each input: size g of the margin's gradient at the word embeddings, on a "
    "logarithmic axis, against the margin m, logit of the label less the largest other. Left of 0 "
    "the model answers otherwise; where g is 0 the mark stands on the lower edge."
)
GROWTH_CAPTION = (
    "Growth of random drafts by layer: how much larger a draft's difference of the hidden states "
    "is after each layer than before the first, median over drafts, then median and 10–90 % band "
    "over inputs. Above 1 it grew."
)
WIDTH = 4.2  # inches: each of the two fits a telephone
TRIED = {  # by family: one, and several
    "characters": ("misspelling", "misspellings"),
    "words": ("exchange of words", "exchanges of words"),
}
FEWEST = 5  # of flipped inputs, and of others, whose g are compared
KINDS = {  # of inputs: marker, colour, whether filled
    "no draft flips it": ("o", style.FAINT, False),
    "some draft flips it": ("v", style.INK, True),
    "answered otherwise": ("x", style.GUIDE, True),
}
NARROW = 4.0  # range of an axis over which 1, 2, 5 are too few ticks
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
    """What is seen, for a reader who knows none of our words."""
    kinds = {
        kind: [row for row in record.inputs if row.finite and kind_of(row) == kind]
        for kind in KINDS
    }
    fragile, firm = kinds["some draft flips it"], kinds["no draft flips it"]
    right = len(fragile) + len(firm)
    answers = "right answers" if record.labels_given else "answers"
    if not right:
        return "No input is answered as labelled."
    edits = " and ".join(
        _counted(family.drafts, TRIED[name]) for name, family in record.families.items()
    )
    one = sum(family.drafts for family in record.families.values()) == 1
    most = max(family.max_edits for family in record.families.values())
    return " ".join(
        [
            f"Random edits change {len(fragile)} of {right} {answers}: {edits} of each text "
            f"{'was' if one else 'were'} tried, of at most {style.counted(most, 'word')} at once.",
            *([_held(len(firm))] if firm else []),
            *([_compared(fragile, firm)] if min(len(fragile), len(firm)) >= FEWEST else []),
        ]
    )


def _held(count: int) -> str:
    them = "it" if count == 1 else "them"
    return f"The other {count} held, which does not make {them} safe: other edits were not tried."


def _counted(count: int, names: tuple[str, str]) -> str:
    return f"{count} {names[count != 1]}"


def _compared(fragile: Sequence[Input], firm: Sequence[Input]) -> str:
    """How often an input that changes has the larger g."""
    gradients = np.array([not_a_number(row.gradient) for row in (*fragile, *firm)])
    changes = np.arange(len(gradients)) < len(fragile)
    share = 100 * float(auroc(gradients, changes, np.ones((1, len(gradients))))[0])
    return (
        "The gradient size g says how fast the model's lead for its answer, the margin, moves when "
        f"words do: in {share:.0f} % of pairs of an answer that changed and one that held the "
        "former has the larger g, where chance gives 50 %."
    )


@style.house()
def draw(record: Condition, ax: style.Target = None) -> Figure:
    """g against margin.

    Args:
        record: of the inputs.
        ax: None for a new figure; else an Axes.
    """
    return _one_panel(record, ax, _draw_gradients)


@style.house()
def draw_growth(record: Condition, ax: style.Target = None) -> Figure:
    """Growth of drafts to each layer.

    Args:
        record: of the inputs.
        ax: None for a new figure; else an Axes.
    """
    return _one_panel(record, ax, _draw_growth)


def _one_panel(
    record: Condition, ax: style.Target, drawn: Callable[[Axes, Condition], list[Artist]]
) -> Figure:
    figure, axes = style.panels(ax, 1, height=2.9, width=WIDTH, below=0.35)
    style.legend(figure, axes, drawn(axes[0], record), ours=ax is None, columns=2)
    return figure


def _draw_gradients(ax: Axes, record: Condition) -> list[Artist]:
    inputs = record.inputs
    handles: list[Artist] = []
    for kind, (marker, colour, filled) in KINDS.items():
        rows = [row for row in inputs if row.finite and kind_of(row) == kind]
        if not rows:
            continue
        look: dict[str, Any] = {
            "linestyle": "none",
            "marker": marker,
            "markersize": 3,
            "color": colour,
            "markerfacecolor": colour if filled else "none",
            "markeredgewidth": 0.7,
        }
        steep = [row for row in rows if row.gradient]
        ax.plot(_margins(steep), [not_a_number(row.gradient) for row in steep], **look)
        # a logarithmic axis has no place for 0
        flat = _margins([row for row in rows if not row.gradient])
        edge = ax.get_xaxis_transform()
        (marks,) = ax.plot(flat, [0.0] * len(flat), transform=edge, clip_on=False, **look)
        marks.set_in_layout(False)
        label = f"{kind} ({len(rows)})"
        handles.append(style.key(label, colour, marker=marker, hollow=not filled))
    if not handles:
        style.nothing(ax, "no input has a margin and a gradient")
        return handles
    ax.axvline(0, color=style.GUIDE, linewidth=0.8, zorder=0)
    if any(row.finite and row.gradient for row in inputs):
        _logarithmic(ax)
    else:
        ax.set_ylim(0, 1)
    ax.set_xlabel("margin m (logits)")
    ax.set_ylabel("g = ‖∇m‖ (logits per\nunit of word embeddings)")
    return handles


def _margins(rows: Sequence[Input]) -> list[float]:
    return [not_a_number(row.margin) for row in rows]


def growth_finding(record: Condition) -> str:
    """How much larger drafts are after all layers, for those who cannot see it."""
    ends = {family: _paths(record, family) for family in record.families}
    parts = [
        f"{number(float(np.median(paths[:, -1])))} times with {TRIED[family][1]}"
        for family, paths in ends.items()
        if len(paths)
    ]
    return f"After all layers the median is {', '.join(parts)}." if parts else ""


def _paths(record: Condition, family: str) -> np.ndarray:
    """Growth of the drafts of each input to every layer, `(inputs, levels)`, where it is known."""
    paths = np.array(
        [[not_a_number(value) for value in row.drafts[family].growth] for row in record.inputs]
    )
    return paths[np.isfinite(paths).all(axis=1) & (paths > 0).all(axis=1)]


def _draw_growth(ax: Axes, record: Condition) -> list[Artist]:
    handles: list[Artist] = []
    for family in record.families:
        paths = _paths(record, family)
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
    _logarithmic(ax)
    ax.set_xlabel("layers passed")
    ax.set_ylabel("growth of a draft")
    return handles


def _logarithmic(ax: Axes) -> None:
    style.logarithmic_growth(ax)
    low, high = ax.get_ylim()
    if high / low < NARROW:
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 1.2, 1.5, 2, 3, 5, 7, 8.5)))
