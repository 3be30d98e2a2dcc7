"""`python -m figures.primary_outcomes OUTCOMES`: the primary outcome of every study with its
interval, one panel for each unit, from a list of entries of their records.
"""

import argparse
import csv
import io
import math
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.ground.commands import Parser, a_path, run_command
from analysis.ground.files import write_text
from analysis.ground.frozen_record import Record
from analysis.ground.json_records import read_json
from analysis.ground.record_paths import entry
from analysis.ground.typed_records import typed
from figures import style
from figures.flips import PRIMARY

COLOURS = {**style.COLOURS, "gradient": PRIMARY, "prediction": style.INK}
MARKERS = {"implicit": "o", "truncated": "s", "explicit": "^", "gradient": "D", "prediction": "P"}
KEYS = {
    "implicit": "implicit steps, solved",
    "truncated": "implicit steps, stopped early",
    "explicit": "explicit steps",
    "gradient": "gradient size g",
    "prediction": "prediction from spectra",
}
ROW = 0.23  # inches of an outcome
AXIS = 0.45  # inches below them
COLUMNS = (12, 112)  # where interval and counts stand, points to the right of a panel
NAME = "primary_outcomes"


class Outcome(Record, frozen=True):
    """A line of the list.

    Attributes:
        label: what is compared with what.
        role: whose colour it takes, of KEYS.
        record: file, from the list's folder; empty where the study has no result yet.
        at: path of the estimate in it.
        value: its entry in the estimate.
        low: likewise the lower end of the interval, 95 %.
        high: likewise the upper end.
        count: path of the number of examples; lists are added up.
        of: what these examples are.
        seeds: path of the seeds, or of their number; empty where it is not about seeds.
        note: what stands beside the numbers, or in their place.
    """

    label: str
    role: str
    record: str = ""
    at: str = ""
    value: str = "value"
    low: str = "low"
    high: str = "high"
    count: str = ""
    of: str = ""
    seeds: str = ""
    note: str = ""


class Panel(Record, frozen=True):
    """Outcomes of one unit.

    Attributes:
        unit: label of the axis, both directions explained.
        outcome: its lines, from the top.
        scale: numbers in the records times this are in the unit.
        limit: the axis ends here on both sides; longer intervals end in an arrow.
        digits: after the decimal point.
    """

    unit: str
    outcome: tuple[Outcome, ...]
    scale: float = 1.0
    limit: float = 1.0
    digits: int = 2


class Outcomes(Record, frozen=True):
    """The list, a file in TOML."""

    panel: tuple[Panel, ...]


class Row(NamedTuple):
    """An outcome with its numbers in the unit of its panel; NaN where there is no result yet."""

    label: str
    role: str
    value: float
    low: float
    high: float
    interval: str
    counts: str


def read_outcomes(path: Path) -> Outcomes:
    """The list in a file.

    Raises:
        ValueError: if it is no TOML, or an entry is unknown, missing or not as declared.
        OSError: if it cannot be read.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: {error}") from None
    return typed(values, Outcomes, path)


def rows(panel: Panel, folder: Path) -> list[Row]:
    """The numbers of a panel, from the records below a folder.

    Raises:
        ValueError: if a role is unknown, a path leads nowhere or a value lies beyond the axis.
    """
    return [_row(outcome, panel, folder) for outcome in panel.outcome]


def _row(outcome: Outcome, panel: Panel, folder: Path) -> Row:
    if outcome.role not in KEYS:
        raise ValueError(f"role: expected one of {', '.join(KEYS)}, got {outcome.role}")
    if not outcome.record:
        return Row(outcome.label, outcome.role, math.nan, math.nan, math.nan, outcome.note, "")
    record = read_json(folder / outcome.record)
    estimate = entry(record, outcome.at)
    value, low, high = (
        panel.scale * entry(estimate, name) for name in (outcome.value, outcome.low, outcome.high)
    )
    if not abs(value) <= panel.limit:
        raise ValueError(f"limit: expected at least |{value:g}|, got {panel.limit:g}")
    counts = []
    if outcome.count:
        counts.append(f"{_total(entry(record, outcome.count)):,} {outcome.of}")
    if outcome.seeds:
        counts.append(style.counted(_number(entry(record, outcome.seeds)), "seed"))
    number = f"+.{panel.digits}f"
    interval = f"{value:{number}} [{low:{number}}, {high:{number}}]".replace("-", "−")
    if outcome.note:
        counts.append(outcome.note)
    return Row(outcome.label, outcome.role, value, low, high, interval, ", ".join(counts))


def _total(found: Any) -> int:
    return sum(found) if isinstance(found, list) else found


def _number(found: Any) -> int:
    return len(found) if isinstance(found, list) else found


@style.house()
def draw(outcomes: Outcomes, folder: Path, ax: style.Target = None) -> Figure:
    """One panel for each unit: outcomes with their 95 % intervals about a line at 0, with the
    numbers beside them.

    Args:
        outcomes: the list.
        folder: where its records are.
        ax: None for a new figure; else one Axes for each panel.
    """
    drawn = [(panel, rows(panel, folder)) for panel in outcomes.panel]
    lengths = [len(of_panel) for _, of_panel in drawn]
    height = AXIS + ROW * sum(lengths) / len(lengths)
    figure, axes = style.panels(
        ax, len(drawn), columns=1, height=height, below=0.3, height_ratios=lengths
    )
    for axis, (panel, of_panel) in zip(axes, drawn, strict=False):
        _draw_panel(axis, panel, of_panel)
    roles = dict.fromkeys(row.role for _, of_panel in drawn for row in of_panel)
    handles: list[Artist] = [style.key(KEYS[role], COLOURS[role], MARKERS[role]) for role in roles]
    style.legend(figure, axes, handles, ax is None, columns=5)
    return figure


def _draw_panel(ax: Axes, panel: Panel, of_panel: Sequence[Row]) -> None:
    ax.axvline(0, color=style.GUIDE, linewidth=0.8, zorder=0)
    for place, row in enumerate(of_panel):
        # a plan without a result is words alone
        if has_result := math.isfinite(row.value):
            _draw_interval(ax, place, row, panel.limit)
        for x, text in zip(COLUMNS, (row.interval, row.counts), strict=True):
            ax.annotate(
                style.plain(text),
                (1, place),
                (x, 0),
                xycoords=ax.get_yaxis_transform(),
                textcoords="offset points",
                va="center",
                fontsize=7,
                color=style.INK if has_result else style.GUIDE,
            )
    ax.set_yticks(range(len(of_panel)), [style.plain(row.label) for row in of_panel])
    ax.tick_params(axis="y", length=0, pad=6)
    ax.set_ylim(len(of_panel) - 0.5, -0.5)
    ax.set_xlim(-panel.limit, panel.limit)
    ax.locator_params(axis="x", nbins=6)
    ax.set_xlabel(panel.unit)


def _draw_interval(ax: Axes, place: int, row: Row, limit: float) -> None:
    colour = COLOURS[row.role]
    low, high = np.clip([row.low, row.high], -limit, limit)
    ax.hlines(place, low, high, color=colour, linewidth=1.2)
    # an interval that goes on beyond the axis ends in an arrow
    for end, marker, is_beyond in ((low, "<", row.low < low), (high, ">", row.high > high)):
        if is_beyond:
            ax.plot(end, place, marker=marker, markersize=4, color=colour, clip_on=False)
    style.dots(ax, row.value, place, colour, MARKERS[row.role], 4.5)


def table(outcomes: Outcomes, folder: Path) -> str:
    """What the figure shows, as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["unit", *Row._fields])
    writer.writerows(_lines(outcomes, folder))
    return text.getvalue()


def _lines(outcomes: Outcomes, folder: Path) -> Iterator[list[Any]]:
    for panel in outcomes.panel:
        for row in rows(panel, folder):
            yield [panel.unit, *("" if each != each else each for each in row)]  # NaN is nothing


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; wrong input is one line on stderr and exit code 2."""
    return run_command(_parser, arguments)


def _draw_files(options: argparse.Namespace) -> None:
    """Write the figure and its table beside the list."""
    outcomes = read_outcomes(options.outcomes)
    folder = options.outcomes.parent
    write_text(folder / f"{NAME}.csv", table(outcomes, folder))
    print(style.save(draw(outcomes, folder), folder, NAME, kinds=("svg", "png"))["svg"])


def _parser() -> Parser:
    parser = Parser(
        prog="python -m figures.primary_outcomes",
        description="Draw the primary outcome of every study, with a table beside the figure.",
    )
    parser.add_argument(
        "outcomes", type=a_path, metavar="OUTCOMES", help="the list, docs/studies/outcomes.toml"
    )
    parser.set_defaults(command=_draw_files)
    return parser


if __name__ == "__main__":
    sys.exit(main())
