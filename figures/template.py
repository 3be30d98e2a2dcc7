"""The templates of the page in `figures/page`, and the pieces of data that they show.

Every value is escaped by the templates, but for the drawings that matplotlib wrote. No other file
of this package holds HTML.
"""

import base64
import dataclasses
import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path

import jinja2
from matplotlib.figure import Figure

from figures import readings, style
from figures.inline_svg import MarkedGroup, inlined

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("figures", "page"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,  # a value that is missing is an error, not an empty place
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}


def _script(names: Sequence[str]) -> str:
    """The scripts of a page as one."""
    loader = _TEMPLATES.loader
    assert loader is not None
    return "".join(loader.get_source(_TEMPLATES, name)[0] for name in names)


def _script_digest(names: Sequence[str]) -> str:
    """By which a content security policy knows the scripts of a page."""
    return base64.b64encode(hashlib.sha256(_script(names).encode()).digest()).decode("ascii")


_TEMPLATES.globals.update(script=_script, script_digest=_script_digest)


@dataclasses.dataclass(frozen=True)
class Shown:
    """A figure inside the page.

    Attributes:
        drawing: the content of its svg element.
        box: width and height of what the element shows, points.
        groups: points that can be read out.
        alternative: the text for those who cannot see it.
        caption: what it shows; the first sentence names it.
        width: natural width in inches.
    """

    drawing: str
    box: tuple[float, float]
    groups: list[MarkedGroup]
    alternative: str
    caption: str
    width: float


@dataclasses.dataclass(frozen=True)
class Heading:
    """A cell in the head of a table.

    Attributes:
        text: with a line break where the heading may break.
        columns: of a group that it stands over; 0 over one column of its own.
        rows: of the head that it spans.
        words: whether its column holds words, set flush left.
    """

    text: str
    columns: int = 0
    rows: int = 1
    words: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        caption: the first sentence names the table.
        head: rows of headings.
        rows: the first text of each is its heading.
        words: how many columns after the first hold words, set flush left.
    """

    caption: str
    head: list[list[Heading]]
    rows: list[list[str]]
    words: int = 0


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a table that can be searched and ordered.

    Attributes:
        text: as shown.
        value: by which its column is ordered; None comes last.
        words: whether it is text, flush left.
        long: whether it may break over lines.
        marked: `(begin, end)` of the parts of the text that are marked, in their order.
    """

    text: str
    value: float | str | None
    words: bool = False
    long: bool = False
    marked: tuple[tuple[int, int], ...] = ()

    @property
    def parts(self) -> list[tuple[str, bool]]:
        """The text in parts, and whether each is marked."""
        ends = [0, *(place for span in self.marked for place in span), len(self.text)]
        pieces = enumerate(itertools.pairwise(ends))
        return [(self.text[begin:end], place % 2 == 1) for place, (begin, end) in pieces]


@dataclasses.dataclass(frozen=True)
class Listed:
    """A row of such a table.

    Attributes:
        cells: of the row.
        who: of which text or edit, as in `readings.Row`; empty where nothing else of the page shows
            it.
    """

    cells: list[Cell]
    who: str = ""


@dataclasses.dataclass(frozen=True)
class Listing:
    """A table that can be searched and ordered.

    Attributes:
        name: of the element.
        noun: what its rows are, in the plural.
        caption: the first sentence names the table.
        head: the heading of each column, and whether it holds words.
        rows: in their order without a script.
        folded: how many columns at the end are shown when all are asked for.
    """

    name: str
    noun: str
    caption: str
    head: list[tuple[str, bool]]
    rows: list[Listed]
    folded: int = 0


def render(name: str, **values: object) -> str:
    """A template of `figures/page` with its values filled in.

    Raises:
        jinja2.UndefinedError: if the template asks for a value that is not given.
    """
    return _TEMPLATES.get_template(name).render(values)


def shown(
    figure: Figure,
    folder: Path,
    name: str,
    finding: str,
    caption: str,
    kinds: Sequence[str] | None = None,
) -> Shown:
    """Write a figure into a folder, and have it for the page.

    Args:
        figure: drawn.
        folder: where its files go.
        name: of the files.
        finding: what is seen in it, told to those who cannot see it.
        caption: what is drawn.
        kinds: formats of the files, "svg" among them; None is all.

    Raises:
        OSError: if a file cannot be written.
    """
    readings.name_panels(figure)
    svg = style.save(figure, folder, name, kinds)["svg"].read_bytes()
    left, thinned = readings.thinned(readings.placed(figure))
    drawn = inlined(svg, name, left)
    return Shown(
        drawing=drawn.content,
        box=(drawn.width, drawn.height),
        groups=drawn.groups,
        alternative=f"{caption.split('.')[0]}. {finding}",
        caption=f"{caption} {thinned}".rstrip(),
        width=float(figure.get_figwidth()),
    )
