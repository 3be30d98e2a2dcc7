"""The picture of a record: what an iteration costs over the layer alone, and what a training step
costs over BERT's.
"""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.gpu.tables import TARGETS, numbers
from figures import style

PEER = style.GUIDE  # torchdeq
LAYER = style.FAINT


@style.house()
def draw(record: dict[str, Any]) -> Figure:
    """Two panels of bars: microseconds of an iteration by form and engine, and milliseconds of a
    training step by size and model.
    """
    figure, (left, right) = style.panels(None, 2, columns=2, height=3.2, below=0.3)
    _iterations(left, numbers(record, "solver").get("iterations", []))
    _steps(right, numbers(record, "training").get("steps", []))
    handles = [
        style.swatch("without an implicit step", facecolor=LAYER),
        style.swatch("ours", facecolor=style.COLOURS["implicit"]),
        style.swatch("torchdeq", facecolor=PEER),
        style.key("of it inside kernels", style.INK, "|", size=7),
    ]
    style.legend(figure, [left, right], handles, True, columns=4)
    return figure


def _iterations(ax: Axes, rows: list[dict[str, Any]]) -> None:
    if not rows:
        style.nothing(ax)
        return
    names = [f"{row['engine']}, {row['form']}" for row in rows]
    colours = [
        LAYER
        if row["engine"] == "bare F"
        else style.COLOURS["implicit"]
        if row["engine"] in TARGETS
        else PEER
        for row in rows
    ]
    _bars(ax, names, [row["us"] for row in rows], colours)
    ax.plot(
        [row["kernel us"] for row in rows], range(len(rows)), "|", color=style.INK, markersize=7
    )
    ax.set_xlabel("µs for one iteration")
    ax.set_title("An implicit layer, 32 × 128 tokens, bf16")


def _steps(ax: Axes, rows: list[dict[str, Any]]) -> None:
    if not rows:
        style.nothing(ax)
        return
    names = [f"{row['size']}: {row['model']}" for row in rows]
    colours = [LAYER if row["model"] == "BERT" else style.COLOURS["implicit"] for row in rows]
    _bars(ax, names, [row["ms"] for row in rows], colours)
    ax.plot(
        [row["kernel ms"] for row in rows], range(len(rows)), "|", color=style.INK, markersize=7
    )
    for place, row in enumerate(rows):
        ax.annotate(
            f"{row['of BERT']:.1f}×",
            (row["ms"], place),
            (3, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
        )
    ax.margins(x=0.15)
    ax.set_xlabel("ms for one step")
    ax.set_title("Training, 32 × 128 tokens, bf16 autocast")


def _bars(ax: Axes, names: list[str], values: list[float], colours: list[Any]) -> None:
    ax.barh(range(len(names)), values, color=colours, height=0.7)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
