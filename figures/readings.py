"""Points of a figure that the page can read out: who they belong to, where they are, their value.

A function that draws leaves them on its panels; they draw nothing and change no limits. Only the
page looks for them.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import selection
from figures.findings import number

EDGE = 0.01  # of a panel: points this far beyond it are on its frame
MOST = 200  # texts, or edits, whose points a figure of the page has
RULE = "those with the smallest or largest value at some place, and a fixed random sample of others"
THE_REST = "Medians, bands and tables take all."


@dataclasses.dataclass(frozen=True)
class Row:
    """The points of one text or edit, or of a summary over them.

    Attributes:
        who: "t3" for text 3, "p3" for edited pair 3, empty for a summary.
        y: ordinates; a point that is not finite is left out.
        words: the value of each.
        seen: of which a dot is drawn; None is all. The rows of one panel then share their points.
        size: by which the extreme ones are found; None is by their ordinates.
    """

    who: str
    y: np.ndarray
    words: list[str]
    seen: np.ndarray | None = None
    size: np.ndarray | None = None


class Readings(Artist):
    """Rows of points of one quantity on one panel.

    Args:
        name: of the quantity.
        places: what each abscissa stands for.
        x: abscissae.
        rows: a summary first, where there is one, then one for each text or edit.
        colour: of the dots of texts and edits.
        quiet: whether these dots are seen only for a text or an edit that is picked.
        summary: what the row without a name is.
    """

    def __init__(
        self,
        name: str,
        places: Sequence[str],
        x: np.ndarray,
        rows: Sequence[Row],
        colour: str,
        quiet: bool = False,
        summary: str = "Median",
    ) -> None:
        super().__init__()
        self.name = name
        self.places = list(places)
        self.x = np.asarray(x, dtype=float)
        self.rows = list(rows)
        self.colour = colour
        self.quiet = quiet
        self.summary = summary
        self.set_in_layout(False)


@dataclasses.dataclass(frozen=True)
class Placed:
    """Readings in the coordinates of a panel, 0 to 1 rightwards and upwards.

    Attributes:
        panel: index among the axes of the figure.
        readings: that were left there.
        rows: of them, those that the page has.
        points: of each row, `(places, 2)`, on the frame where they are beyond it, NaN where there
            is none.
        beyond: of each row, which points are.
    """

    panel: int
    readings: Readings
    rows: list[Row]
    points: list[np.ndarray]
    beyond: list[np.ndarray]


def leave(
    ax: Axes,
    name: str,
    places: Sequence[str],
    x: np.ndarray,
    values: xr.DataArray,
    colour: str,
) -> None:
    """Leave values on a panel, and what summarises them: median, 10th and 90th percentile.

    Args:
        ax: panel.
        name: of the quantity.
        places: what each abscissa stands for.
        x: abscissae.
        values: of texts or edits; their dim first, with its coordinate, then that of the places.
        colour: of the dots.
    """
    examples = str(values.dims[0])
    rows = [
        Row(who, row, [number(float(value)) for value in row])
        for who, row in zip(who_of(values), values.values.astype(float), strict=True)
    ]
    summary = summary_of(selection.band(values, examples), len(rows))
    ax.add_artist(Readings(name, places, x, [summary, *rows], colour))


def summary_of(band: selection.Band, count: int) -> Row:
    """Medians with what eight in ten are between."""
    words = [
        number(float(median))
        + (f" (80 % from {number(float(low))} to {number(float(high))})" if count > 1 else "")
        for median, low, high in zip(*band, strict=True)
    ]
    return Row("", np.asarray(band.median, dtype=float), words)


def who_of(values: xr.DataArray) -> list[str]:
    """Who the examples of an array are: texts, or edited pairs, which have a kind."""
    letter = "p" if "kind" in values.coords else "t"
    return [f"{letter}{label}" for label in values[values.dims[0]].values.tolist()]


def by_layer(layers: Sequence[int]) -> list[str]:
    """What abscissae stand for that are layers."""
    return [f"layer {layer}" for layer in layers]


def name_panels(figure: Figure) -> None:
    """Give the background of every panel a name, by which its place is found in the SVG."""
    for place, ax in enumerate(figure.axes):
        ax.patch.set_gid(panel_name(place))


def panel_name(place: int) -> str:
    """The name of a panel's background."""
    return f"panel-{place}"


def placed(figure: Figure) -> list[Placed]:
    """What was left on the panels of a figure, in the coordinates of its panels."""
    return [
        _placed(place, ax, left)
        for place, ax in enumerate(figure.axes)
        for left in ax.get_children()
        if isinstance(left, Readings)
    ]


def _placed(place: int, ax: Axes, left: Readings) -> Placed:
    points = [_on_panel(ax, left.x, row.y) for row in left.rows]
    known = [np.isfinite(row.y) for row in left.rows]
    beyond = [np.any((each <= -EDGE) | (each >= 1 + EDGE), axis=1) for each in points]
    on_frame = [
        np.where(is_known[:, None], each.clip(0, 1), np.nan)
        for each, is_known in zip(points, known, strict=True)
    ]
    return Placed(place, left, left.rows, on_frame, beyond)


def thinned(left: list[Placed]) -> tuple[list[Placed], str]:
    """Of many texts or edits the rows of some, for the page; summaries stay.

    Returns:
        What is left, and a sentence for the caption; empty where nothing was left out.
    """
    whose: dict[str, list[str]] = {}
    for who in dict.fromkeys(row.who for each in left for row in each.rows if row.who):
        whose.setdefault(who[0], []).append(who)
    extreme = {who for each in left for who in _extreme(each.rows)}
    counts, chosen = [], {""}
    for letter, every in whose.items():
        some = sample(every, extreme)
        chosen |= some
        if len(some) < len(every):
            noun = {"t": "texts", "p": "edits"}[letter]
            counts.append(f"{len(some)} of {len(every)} {noun}")
    if not counts:
        return left, ""
    said = f"Points of {' and '.join(counts)} can be read out: {RULE}. {THE_REST}"
    return [_only(each, chosen) for each in left], said


def sample(every: Sequence[str], extreme: set[str]) -> set[str]:
    """At most MOST, but all extreme ones; the others are the same in every figure as far as there
    is room.
    """
    if len(every) <= MOST:
        return set(every)
    order = np.random.default_rng(0).permutation(len(every))
    kept = extreme & set(every)
    others = [every[place] for place in order if every[place] not in kept]
    return kept | set(others[: max(MOST - len(kept), 0)])


def _extreme(rows: list[Row]) -> set[str]:
    """Who has the smallest or the largest value at some place."""
    named = [row for row in rows if row.who]
    if not named:
        return set()
    sizes = np.stack([row.y if row.size is None else row.size for row in named])
    known = np.isfinite(sizes)
    low = np.where(known, sizes, np.inf).argmin(0)
    high = np.where(known, sizes, -np.inf).argmax(0)
    return {named[row].who for row in np.unique([low, high])}


def _only(each: Placed, chosen: set[str]) -> Placed:
    kept = [place for place, row in enumerate(each.rows) if row.who in chosen]
    return dataclasses.replace(
        each,
        rows=[each.rows[place] for place in kept],
        points=[each.points[place] for place in kept],
        beyond=[each.beyond[place] for place in kept],
    )


def _on_panel(ax: Axes, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Scaled as the axes are; what is not positive stands far below a logarithmic axis."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((ax.transScale + ax.transLimits).transform(np.stack([x, y], axis=1)))
