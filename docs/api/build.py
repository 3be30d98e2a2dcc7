"""The API pages by pdoc, in which "Mathematics, section n" of a docstring is a link.

docs/mathematics.md is rendered beside them.
"""

import argparse
import re
from pathlib import Path

import pdoc
from pdoc import render, render_helpers

HERE = Path(__file__).parent
MATHEMATICS = HERE.parent / "mathematics.md"
MODULES = ("odestab", "imbert")
HEADING = re.compile(r"^## (\d+)\. ", re.MULTILINE)
REFERENCE = re.compile(r"\bMathematics,\s+section\s+(\d+)")


def sections() -> list[int]:
    """The numbers of the headings of docs/mathematics.md."""
    return [int(number) for number in HEADING.findall(MATHEMATICS.read_text(encoding="utf-8"))]


def build(folder: Path, modules: tuple[str, ...] = MODULES) -> None:
    """Write a page for each module, the index and mathematics.html."""
    link = (REFERENCE, r"mathematics.html#section-\1")
    if link not in render_helpers.markdown_link_patterns:
        render_helpers.markdown_link_patterns.append(link)
    render.configure(docformat="google", template_directory=HERE)
    pdoc.pdoc(*modules, output_directory=folder)
    anchored = HEADING.sub(
        r'<a id="section-\1"></a>\n\n## \1. ', MATHEMATICS.read_text(encoding="utf-8")
    )
    page = render.env.get_template("mathematics.html.jinja2").render(
        text=render_helpers.to_html(anchored), modules=modules
    )
    (folder / "mathematics.html").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("build/api"))
    build(parser.parse_args().folder)
