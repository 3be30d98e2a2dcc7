"""Mathematics without a script: TeX between dollars becomes MathML, which browsers draw themselves.

In the API pages "Mathematics, section n" of a docstring becomes a link.
"""

from __future__ import annotations

import html
import posixpath
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.structure.pages import Page

MATHEMATICS = Path(__file__).parents[1] / "mathematics.md"
INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
DISPLAY = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)
BAR = re.compile(
    r"(?<!\\left)(?<!\\right)\\([lr])[vV]ert(?![a-zA-Z])"
)  # a bar that is no fence yet
SIDES = {"l": "left", "r": "right"}  # as a fence it has no space inside, and the power of all of it
HEADING = re.compile(r"^## ((\d+)\. .+)$", re.MULTILINE)
REFERENCE = re.compile(r"\bMathematics,\s+section\s+(\d+)")


def on_page_content(html: str, page: Page, **_: object) -> str:
    """Draw the formulas of a page, and link the sections that an API page names."""
    drawn = DISPLAY.sub(lambda formula: mathml(formula[1], "block"), html)
    drawn = INLINE.sub(lambda formula: mathml(formula[1], "inline"), drawn)
    return referred(drawn, page.file.src_uri) if page.file.src_uri.startswith("api/") else drawn


def mathml(tex: str, display: str) -> str:
    """A formula as MathML; TeX that is not understood is a ValueError that ends the build."""
    from latex2mathml.converter import convert

    paired = BAR.sub(lambda bar: rf"\{SIDES[bar[1]]}{bar[0]}", html.unescape(tex).strip())
    return convert(paired, display=display)


@cache
def sections() -> dict[int, str]:
    """The headings of docs/mathematics.md by their numbers, as what a link to them ends with."""
    headings = HEADING.findall(MATHEMATICS.read_text(encoding="utf-8"))
    kept = {int(number): re.sub(r"[^\w\- ]", "", title.lower()) for title, number in headings}
    return {number: title.strip().replace(" ", "-") for number, title in kept.items()}


def referred(content: str, page: str) -> str:
    """The page with every "Mathematics, section n" as a link; no such section is a KeyError."""
    to = posixpath.relpath("mathematics.html", posixpath.dirname(page))
    return REFERENCE.sub(
        lambda name: f'<a href="{to}#{sections()[int(name[1])]}">{name[0]}</a>', content
    )
