"""What each layer does to the size of one edit: explicit steps, implicit ones, and what the secant
at the start of an implicit step predicts.
"""

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from analysis.edits.records import Edit, Edits, Method, Walk
from figures import style
from figures.records import not_a_number

CAPTION = (
    "Growth of the edit by layer, the size of its difference after the layer over that before. "
    "Solid: of the states, exact for explicit steps and measured by solving for implicit ones. "
    "Dashed: 1/|1 − hζ| with the secant ζ where the implicit step starts, a prediction: the step "
    "moves the states and so the secant."
)
COLOURS = {
    "explicit": style.COLOURS["explicit"],
    "implicit": style.COLOURS["implicit"],
    "model": style.INK,
}
NAMES = {**style.NAMES, "model": "as the model runs"}
WIDTHS = {**style.LINE_WIDTHS, "model": 1.0}
SHORT = 6.0  # largest over least growth, below which a decade's ticks are too few
NARROW = 0.6 * style.WIDTH  # fits a telephone


@style.house()
def draw(record: Edits, edit: Edit, ax: style.Target = None) -> Figure:
    """Growth of every step by method over the steps, on a logarithmic axis.

    Args:
        record: that the edit is part of.
        edit: to draw.
        ax: None for a new figure, else one Axes.
    """
    figure, (panel,) = style.panels(ax, 1, height=2.6, width=NARROW, below=0.4)
    for method in record.methods:
        _draw_walk(panel, edit.walks[method], method)
    steps = range(record.layers)
    predicted = [not_a_number(value) for value in edit.walks["implicit"].predicted]
    colour = style.COLOURS["implicit"]
    panel.plot(steps, predicted, color=colour, linestyle=style.PREDICTED, linewidth=1.2)
    about_one(panel)
    label_steps(panel, record)
    panel.set_ylabel(r"growth $\|\delta_{l+1}\|\,/\,\|\delta_l\|$")
    style.legend(figure, [panel], _handles(record, edit), ax is None, columns=2)
    return figure


def _draw_walk(ax: Axes, walk: Walk, method: Method) -> None:
    growth = [not_a_number(value) for value in walk.growth]
    colour = COLOURS[method]
    ax.plot(range(len(growth)), growth, color=colour, linewidth=WIDTHS[method])
    for step, (value, solved) in enumerate(zip(growth, walk.solved, strict=True)):
        face = colour if solved else "white"
        ax.plot(step, value, "o", color=colour, markerfacecolor=face)


def about_one(ax: Axes) -> None:
    """A logarithmic axis of growth, with plain ticks also where all of it is near 1."""
    ax.axhline(1, color=style.GUIDE, linewidth=0.8, zorder=0)
    style.logarithmic_growth(ax)
    low, high = ax.get_ylim()
    if high / low < SHORT:
        ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        ax.yaxis.set_minor_locator(NullLocator())


def label_steps(ax: Axes, record: Edits) -> None:
    """The names of the steps along the horizontal axis, as many as there is room for."""
    ax.set_xlim(-0.6, record.layers - 0.4)
    ax.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    shown = [int(tick) for tick in ax.get_xticks() if 0 <= tick < record.layers]
    ax.set_xticks(shown, [record.steps[step] for step in shown])
    ax.set_xlabel("layer $l$")


def _handles(record: Edits, edit: Edit) -> list[Artist]:
    handles: list[Artist] = [
        style.key(NAMES[method], COLOURS[method], "o", "-", width=WIDTHS[method])
        for method in record.methods
    ]
    dashed = style.key("implicit, predicted", COLOURS["implicit"], line=style.PREDICTED, width=1.2)
    handles.append(dashed)
    if not all(all(walk.converged) for walk in edit.walks.values()):
        handles.append(style.key("from an unsolved step on", style.INK, "o", hollow=True))
    return handles
