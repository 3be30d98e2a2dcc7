"""Checks a built site: `python docs/site/check.py build/site`.

Nothing is fetched from elsewhere, formulas are MathML, lists are lists and examples code. mkdocs
itself finds dead links.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

FETCHED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}
ELSEWHERE = re.compile(r"^(https?:)?//")
STYLE_ELSEWHERE = re.compile(r"(?:@import|url\()\s*[\"']?(?:https?:)?//[^\"')\s]+")
UNREAD = {
    "a list that Markdown took for text, for want of an empty line or of four spaces": re.compile(
        r"<p>(?:(?!</p>).)*\n *- ", re.DOTALL
    ),
    "a docstring's example that is no code": re.compile(r"<blockquote>\s*(?:<blockquote>\s*){2}"),
    "TeX that is not drawn": re.compile(r'class="arithmatex"'),
}


class Resources(HTMLParser):
    """Collects the addresses that a browser fetches to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take the address of a script, style, picture or font."""
        attributes = dict(attrs)
        address = attributes.get(FETCHED.get(tag, ""))
        if address and attributes.get("rel") != "canonical":
            self.addresses.append(address)


def faults_of_page(html: str) -> Iterator[str]:
    """What is wrong with a page, a line each."""
    resources = Resources()
    resources.feed(html)
    for address in resources.addresses:
        if ELSEWHERE.match(address):
            yield f"fetches {address}"
    yield from faults_of_style(html)
    for what, pattern in UNREAD.items():
        if pattern.search(html):
            yield f"has {what}"


def faults_of_style(css: str) -> Iterator[str]:
    """What a style fetches from elsewhere."""
    for address in STYLE_ELSEWHERE.findall(css):
        yield f"fetches {address}"


def faults(site: Path) -> list[str]:
    """All that is wrong with a site."""
    found = []
    for path in sorted(site.rglob("*.html")):
        text = path.read_text(encoding="utf-8")
        found += [f"{path.relative_to(site)} {fault}" for fault in faults_of_page(text)]
    for path in sorted(site.rglob("*.css")):
        text = path.read_text(encoding="utf-8")
        found += [f"{path.relative_to(site)} {fault}" for fault in faults_of_style(text)]
    if "<math" not in (site / "mathematics.html").read_text(encoding="utf-8"):
        found.append("mathematics.html has no formula")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", type=Path)
    if found := faults(parser.parse_args().site):
        sys.exit("\n".join(found))
