"""The templates of the page in `figures/page`, and the pieces of data that they show.

Every value is escaped by the templates. No other file of this package holds HTML.
"""

import base64
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jinja2
from matplotlib.figure import Figure

from figures import style

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("figures", "page"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,  # a value that is missing is an error, not an empty place
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}


@dataclasses.dataclass(frozen=True)
class Shown:
    """A figure inside the page.

    Attributes:
        svg: its file in base 64.
        alternative: the text for those who cannot see it.
        caption: what it shows; the first sentence names it.
        width: natural width in inches.
    """

    svg: str
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
    svg = style.save(figure, folder, name, kinds)["svg"].read_bytes()
    return Shown(
        svg=base64.b64encode(svg).decode("ascii"),
        alternative=f"{caption.split('.')[0]}. {finding}",
        caption=caption,
        width=float(figure.get_figwidth()),
    )
