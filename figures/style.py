"""The look of every figure: one palette with fixed meaning, one page width, one way to save."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LogNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.typing import ColorType, LineStyleType
from numpy.typing import ArrayLike

from analysis.ground.words import counted as counted

Target = Axes | np.ndarray | Sequence[Axes] | None  # where to draw; None makes a new figure

# Okabe & Ito (2008), told apart under every common colour blindness. A colour means the same thing
# in every figure.
COLOURS = {
    "explicit": "#D55E00",
    "implicit": "#0072B2",
    "truncated": "#009E73",
    "lemniscate": "#6E6E6E",
}
# Kinds of edits: after Tol (2021), none of the colours above; kinds without a name here take the
# others in turn.
EDITS = {
    "typo": ("^", "#882255"),
    "synonym": ("s", "#999933"),
    "negation": ("v", "#332288"),
}
OTHER_EDITS = tuple((marker, "#8C6D46") for marker in "DPXph<>")
LINE_WIDTHS = {
    "explicit": 2.4,
    "implicit": 1.4,
}  # so that one curve over the other leaves both in sight
NAMES = {"explicit": "explicit Euler", "implicit": "implicit Euler"}
INK, GUIDE, FAINT = "#1A1A1A", "#8C8C8C", "#A9B4C0"
MEASURED: LineStyleType = "-"
PREDICTED: LineStyleType = (0, (4, 2))
LEMNISCATE: LineStyleType = ":"
BAND: Any = {"alpha": 0.18, "linewidth": 0}  # any: as with _STYLE
WIDTH = 7.0  # inches: the text width of a paper
LARGEST_CONTRAST = 10.0  # growth beyond it, up or down, takes the end of the colour map

_STYLE: Any = {  # any: mypy would want the type of every key
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same glyphs on every machine
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#4D4D4D",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "lines.markersize": 4,
    "hatch.linewidth": 0.5,
    "savefig.dpi": 200,
    "svg.fonttype": "path",  # glyphs as outlines: the page looks the same without our font
    "svg.hashsalt": "odestab",  # equal figures have equal bytes
    "pdf.fonttype": 42,
}
_WITHOUT_DATES = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}


@contextlib.contextmanager
def house() -> Iterator[None]:
    """The house style while inside, as a context or a decorator; whatever was set before holds
    again afterwards.
    """
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def panels(
    ax: Target,
    count: int,
    columns: int = 3,
    height: float = 2.2,
    width: float = WIDTH,
    below: float = 0.0,
    sharex: Literal["col"] | bool = False,
    sharey: Literal["col"] | bool = False,
    width_ratios: Sequence[float] | None = None,
    height_ratios: Sequence[float] | None = None,
) -> tuple[Figure, list[Axes]]:
    """Axes to draw `count` panels on: of a new figure, which pyplot does not know and nobody needs
    to close, or those given.

    Args:
        ax: None for a new figure; else one Axes or an array of them, filled in order (with fewer
            Axes than panels, the first panels).
        count: number of panels, at least 1.
        columns: panels side by side in a new figure.
        height: of one row, inches.
        width: of a new figure, inches.
        below: room kept for a legend below the panels of a new figure, inches.
        sharex: which panels of a new figure share their horizontal axis, as in `Figure.subplots`.
        sharey: likewise their vertical axis.
        width_ratios: of the columns of a new figure.
        height_ratios: of its rows.

    Returns:
        The figure, and at most `count` Axes.
    """
    if ax is None:
        columns = min(columns, count)
        rows = -(-count // columns)
        figure = Figure(figsize=(width, rows * height + below), layout="constrained")
        grid = figure.subplots(
            rows,
            columns,
            squeeze=False,
            sharex=sharex,
            sharey=sharey,
            width_ratios=width_ratios,
            height_ratios=height_ratios,
        )
        axes = list(grid.ravel())
        for spare in axes[count:]:
            spare.remove()
    else:
        # an array of Axes of any shape, or a list of them
        axes = [ax] if isinstance(ax, Axes) else list(np.ravel(np.asarray(ax, dtype=object)))
        figure = axes[0].get_figure(root=True)
    for panel in axes[:count]:
        _size_labels(panel)
    return figure, axes[:count]


def _size_labels(ax: Axes) -> None:
    """Set the sizes now: ticks are made when first drawn, perhaps outside the style."""
    for label in (ax.xaxis.label, ax.yaxis.label):
        label.set_fontsize(mpl.rcParams["axes.labelsize"])
    ax.tick_params(
        labelsize=mpl.rcParams["xtick.labelsize"], width=mpl.rcParams["xtick.major.width"]
    )


def key(
    label: str,
    colour: ColorType,
    marker: str = "",
    line: LineStyleType = "none",
    hollow: bool = False,
    width: float = 1.5,
    size: float = 4,
) -> Line2D:
    """A legend entry."""
    face = "white" if hollow else colour
    return Line2D(
        [],
        [],
        color=colour,
        linestyle=line,
        marker=marker,
        markerfacecolor=face,
        linewidth=width,
        markersize=size,
        label=label,
    )


def hollow(meaning: str) -> Line2D:
    """The legend entry that says what a hollow marker means."""
    return key(f"hollow: {meaning}", INK, "o", hollow=True)


def of_method(method: str, label: str, **options: Any) -> Line2D:
    """A legend entry for the line of a method, which is as broad as in every figure."""
    return key(label, COLOURS[method], line=MEASURED, width=LINE_WIDTHS[method], **options)


def bands_of(methods: Iterable[str], examples: str, count: int) -> list[Artist]:
    """The legend entries of the bands of some methods over examples; one example has no band."""
    if count < 2:
        return []
    return [
        swatch(f"{NAMES[method]}, 10–90 % of {examples}", color=COLOURS[method], **BAND)
        for method in methods
    ]


def dots(
    ax: Axes,
    x: ArrayLike,
    y: ArrayLike,
    colour: ColorType,
    marker: str = "o",
    size: float = 4,
    hollow: bool = False,
    zorder: float = 2,
) -> None:
    """Markers without a line; hollow ones hold a value that is not certain."""
    ax.plot(
        x,
        y,
        linestyle="none",
        marker=marker,
        markersize=size,
        color=colour,
        markerfacecolor="white" if hollow else colour,
        zorder=zorder,
    )


def swatch(
    label: str,
    color: ColorType | None = None,
    facecolor: ColorType | None = None,
    edgecolor: ColorType | None = None,
    hatch: str | None = None,
    alpha: float | None = None,
    linewidth: float | None = None,
) -> Rectangle:
    """A legend entry for an area, drawn as matplotlib's patches are.

    It is a rectangle without size: on somebody else's panel it becomes one of its artists.
    """
    return Rectangle(
        (1, 1),
        0,
        0,
        label=label,
        color=color,
        facecolor=facecolor,
        edgecolor=edgecolor,
        hatch=hatch,
        alpha=alpha,
        linewidth=linewidth,
    )


def legend(
    figure: Figure, axes: list[Axes], handles: list[Artist], ours: bool, columns: int = 3
) -> None:
    """One legend below the panels of a figure of ours; in somebody else's, entries on the first
    panel for their own `ax.legend()`.
    """
    if ours:
        figure.legend(handles=handles, loc="outside lower center", ncols=min(columns, len(handles)))
    else:
        # an artist with a label is found by `ax.legend()`
        for handle in handles:
            axes[0].add_artist(handle)


def is_leftmost(ax: Axes) -> bool:
    """Whether no panel of the same figure stands to the left, so that the axis label belongs
    here.
    """
    place = ax.get_subplotspec()
    return place is None or place.is_first_col()


def logarithmic_growth(ax: Axes) -> None:
    """A logarithmic axis of growth, its ticks written as plain numbers at 1, 2, 5 or, over a long
    range, at powers of ten.
    """
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    # beyond two and a half decades ticks at 2 and 5 stand too close
    short = high / low < 300
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if short else (1,)))
    if short:
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())


def nothing(ax: Axes, text: str = "not measured in this run") -> None:
    """Say in an empty panel why it is empty."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=GUIDE)


def darker(colour: str) -> tuple[float, float, float]:
    """A dark shade of a colour, for a thin line over a broad one."""
    red, green, blue = to_rgb(colour)
    return 0.5 * red, 0.5 * green, 0.5 * blue


def plain(text: str) -> str:
    """A text from a record, kept from being read as mathematics or as a hidden legend entry."""
    return text.replace("$", r"\$").lstrip("_")


def placement(layers: Sequence[int]) -> str:
    """A placement in few letters."""
    if not layers:
        return "none"
    # a range is shorter than its members
    consecutive = len(layers) > 1 and list(layers) == list(
        range(layers[0], layers[0] + len(layers))
    )
    return f"{layers[0]}–{layers[-1]}" if consecutive else ", ".join(map(str, layers))


def growth_colours(values: np.ndarray) -> tuple[Colormap, LogNorm]:
    """A colour map white at growth 1, purple above and green below, with a logarithmic scale
    symmetric about 1.
    """
    finite = values[np.isfinite(values) & (values > 0)]
    contrast = float(np.exp(np.abs(np.log(finite)).max())) if len(finite) else 1.0
    # a lower end, else growth of 1.01 would look as dark as growth of 10
    contrast = float(np.clip(contrast, 1.25, LARGEST_CONTRAST))
    return mpl.colormaps["PRGn_r"].with_extremes(bad="#D9D9D9"), LogNorm(1 / contrast, contrast)


def write(figure: Figure, path: Path) -> None:
    """Write one file, its format by its suffix; the same figure gives the same bytes.

    Raises:
        ValueError: if the suffix is not .svg, .pdf or .png.
        OSError: if the file cannot be written.
    """
    kind = path.suffix.removeprefix(".")
    if kind not in _WITHOUT_DATES:
        raise ValueError(
            "figure files must end in "
            f"{', '.join(f'.{known}' for known in _WITHOUT_DATES)}, got {path.name}"
        )
    try:
        with house():
            figure.savefig(
                path,
                format=kind,
                metadata=_WITHOUT_DATES[kind],
                bbox_inches="tight",
                pad_inches=0.05,
            )
    except OSError as error:
        raise OSError(
            error.errno, error.strerror, str(path)
        ) from error  # a full disk does not say which file


def save(
    figure: Figure, folder: Path, name: str, kinds: Sequence[str] | None = None
) -> dict[str, Path]:
    """Write `.svg`, `.pdf` and `.png` of one name, or some of them; the same figure gives the same
    bytes.

    Returns:
        The three paths by format.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {kind: folder / f"{name}.{kind}" for kind in kinds or _WITHOUT_DATES}
    for path in paths.values():
        write(figure, path)
    return paths
