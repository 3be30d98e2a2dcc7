"""Pieces of a self-contained HTML page: every text is escaped here."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

CSS = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #fcfcfa; color: #1a1a1a; font: 16px/1.55 system-ui, "Segoe UI", "Liberation Sans", Arial, sans-serif; }
main { max-width: 66rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; overflow-wrap: anywhere; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 2.5rem 0 .5rem; border-top: 1px solid #d5d5d0; padding-top: 1rem; }
p, dl, ol { max-width: 46rem; }
.facts { color: #4a4a4a; margin-top: 0; }
.answer { font-size: 1.1rem; }
.finding { border-left: 3px solid #8c8c8c; padding-left: .7rem; }
figure { margin: 1rem 0; }
.scroll { overflow-x: auto; max-width: 100%; }
.scroll:focus-visible, summary:focus-visible { outline: 2px solid #0072b2; outline-offset: 2px; }
.scroll img { display: block; width: 100%; background: #fff; }
figcaption, caption { color: #4a4a4a; font-size: .9rem; text-align: left; max-width: 46rem; }
figcaption { margin-top: .4rem; }
caption { padding-bottom: .4rem; max-width: min(46rem, calc(100vw - 3rem)); }
table { border-collapse: collapse; font-size: .8rem; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: .25rem .4rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #e2e2dd; }
thead th { vertical-align: bottom; border-bottom: 2px solid #8c8c8c; }
th.group { text-align: center; border-bottom: 1px solid #c4c4be; }
th[scope=row], td.text, th.text { text-align: left; }
dt { font-weight: 600; margin-top: .6rem; }
dd { margin: 0 0 0 1rem; }
details { margin: 1rem 0; }
summary { cursor: pointer; font-weight: 600; }
pre { overflow-x: auto; background: #f1f1ec; padding: .75rem; font-size: .8rem; }
@media print {
  body { background: #fff; font-size: 10pt; }
  main { max-width: none; padding: 0; }
  figure, tr { break-inside: avoid; }
  h2, .finding { break-after: avoid; }
  .scroll { overflow: visible; }
  .scroll img { min-width: 0 !important; }
  table { font-size: 6.5pt; }
  th, td { padding: .1rem .2rem; }
}
"""


def escape(text: object) -> str:
    """Any text as HTML."""
    return html.escape(str(text), quote=True)


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text; a number and its per cent stay on one line."""
    text = text.replace(" %", "\u00a0%")
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def section(title: str, name: str, *pieces: str) -> str:
    """A section under its heading."""
    inner = "\n".join(piece for piece in pieces if piece)
    return (
        f'<section aria-labelledby="{name}">\n<h2 '
        f'id="{name}">{escape(title)}</h2>\n{inner}\n</section>'
    )


def figure(svg: Path, alternative: str, caption: str, width: float) -> str:
    """A figure with the SVG inside the page; on a narrow screen it scrolls in its own frame, as its
    text would be too small to read.

    Args:
        svg: the file.
        alternative: the text for those who cannot see it.
        caption: what it shows.
        width: natural width in inches.
    """
    data = base64.b64encode(svg.read_bytes()).decode("ascii")
    narrowest = 0.95 * width if width > 5 else 0.8 * width  # a single panel fits a telephone
    size = f"max-width: {1.37 * width:.2f}in; min-width: {narrowest:.2f}in"
    image = (
        f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(alternative)}" style="{size}">'
    )
    return f"<figure>\n{scroll(image, caption.split('.')[0])}\n<figcaption>{escape(caption)}</figcaption>\n</figure>"


def scroll(inner: str, label: str) -> str:
    """A frame that scrolls on its own and can be reached with the keyboard."""
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(label)}">{inner}</div>'
    )


def table(caption: str, head: str, rows: Sequence[Sequence[str]], texts: int = 0) -> str:
    """A table in a scrolling frame.

    Args:
        caption: plain text.
        head: rows of the head, already HTML.
        rows: plain texts; the first of a row is its heading.
        texts: how many columns after the first hold words, set flush left.
    """
    body = "\n".join(_table_row(row, texts) for row in rows)
    inner = (
        f"<caption>{escape(caption)}</caption>\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody>"
    )
    return scroll(f"<table>\n{inner}\n</table>", caption.split(".")[0])


def _table_row(row: Sequence[str], texts: int) -> str:
    cells = [
        f'<td class="text">{escape(cell)}</td>' if i < texts else f"<td>{escape(cell)}</td>"
        for i, cell in enumerate(row[1:])
    ]
    return f'<tr><th scope="row">{escape(row[0])}</th>{"".join(cells)}</tr>'


def details(title: str, *pieces: str) -> str:
    """A part of the page that opens on demand."""
    return f"<details>\n<summary>{escape(title)}</summary>\n" + "\n".join(pieces) + "\n</details>"


def definitions(entries: Sequence[tuple[str, str]]) -> str:
    """A list of terms and what they mean."""
    return (
        "<dl>\n"
        + "\n".join(
            f"<dt>{escape(term)}</dt>\n<dd>{escape(meaning)}</dd>" for term, meaning in entries
        )
        + "\n</dl>"
    )


def document(title: str, body: str) -> str:
    """The whole page."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
