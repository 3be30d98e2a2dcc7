"""Claims: numbers in pages, each held to the entry of a record that it comes from.

A `claims.toml` beside the pages, with paths that start at its folder:

    page = "README.md"                       # of every claim below that names no other
    record = "confirmation.json"             # likewise

    [[claim]]
    text = "ρ = {value:.2f} ({low:.2f} to {high:.2f}), n = {n}"
    at = "correlations[name=Spearman]"       # {value} is the entry `value` there
    values = { n = "meta.runs" }             # or a path of its own from the record's root,
                                             # or one in another record: "FILE#PATH"

The text must stand in the page exactly once, any white space for one space and − for -. Braces
hold arithmetic of such names, at least one, with min, max, len, sum, abs, zip, median and stdev,
and after the colon how it is written: `{100 * mean:+.1f}`. Paths are those of
`analysis.ground.record_paths`; one with `[*]` gives a list. `each = [{ kind = "worst" }, …]`
repeats a claim with every `<kind>` replaced.

Every number with decimals and every percentage in the scanned part of a page must be one that a
claim has written.
Those that no record holds are listed with the reason:

    [[quoted]]
    text = "+8.3 points reported"            # stands in the page once; all its numbers are meant
    reason = "Kim, Park and Kim (2024), table 2"
"""

import ast
import dataclasses
import re
import statistics
import string
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from analysis.ground.frozen_record import Record
from analysis.ground.json_records import read_json
from analysis.ground.record_paths import entry
from analysis.ground.typed_records import typed

FUNCTIONS = {
    "min": min,
    "max": max,
    "len": len,
    "sum": sum,
    "abs": abs,
    "zip": zip,
    "median": statistics.median,
    "stdev": statistics.stdev,
}
NUMBER = re.compile(
    r"(?<![\w.])\d[\d,]*\.\d+(?!\d|\.\d)"  # no version: 0.1.0
    r"|(?<![\w.,])(?!95 %)\d[\d,]*(?= %)"  # 95 % is what every interval has
)
NOT_PROSE = re.compile(r"```.*?```|`[^`\n]*`|(?<=\])\([^)\s]*\)", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Claim:
    """A sentence with places for numbers, and where these are written down."""

    page: Path
    text: str
    folder: Path
    record: str | None
    at: str
    values: dict[str, str]

    def pieces(self) -> Iterator[tuple[str, bool]]:
        """The sentence in pieces, and whether each is a number of a record."""
        for literal, expression, form, _ in string.Formatter().parse(self.text):
            yield literal, False
            if expression is not None:
                yield format(self.evaluate(expression), form or ""), True

    def evaluate(self, expression: str) -> Any:
        nodes = list(ast.walk(ast.parse(expression)))
        if any(isinstance(node, ast.Attribute) for node in nodes):
            raise ValueError(f"{expression!r}: expected arithmetic, got an attribute")
        names = [node for node in nodes if isinstance(node, ast.Name)]
        own = {name.id for name in names if isinstance(name.ctx, ast.Store)}  # of a `for`
        wanted = {name.id for name in names} - own - FUNCTIONS.keys()
        # a number that is written into the claim follows from no record
        if not wanted:
            raise ValueError(f"{expression!r}: expected an entry of a record, got none")
        scope = {name: self.look_up(name) for name in wanted}
        return eval(expression, {"__builtins__": {}} | FUNCTIONS | scope)

    def look_up(self, name: str) -> Any:
        path = self.values.get(name) or f"{self.at}.{name}".lstrip(".")
        file, _, own = path.rpartition("#")
        record = file or self.record
        if record is None:
            raise ValueError(f"expected a record for {name!r}, got none")
        return entry(values_of(self.folder / record), own)


@dataclasses.dataclass(frozen=True)
class Quoted:
    """Numbers of a page that no record holds, with the reason."""

    page: Path
    text: str
    reason: str

    def pieces(self) -> Iterator[tuple[str, bool]]:
        place = 0
        for number in NUMBER.finditer(self.text):
            yield self.text[place : number.start()], False
            yield number.group(), True
            place = number.end()
        yield self.text[place:], False


@cache
def values_of(record: Path) -> Any:
    return read_json(record)


class ClaimRow(Record, frozen=True):
    text: str
    page: str | None = None
    record: str | None = None
    at: str = ""
    values: dict[str, str] = msgspec.field(default_factory=dict)
    each: tuple[dict[str, str], ...] = ({},)


class QuotedRow(Record, frozen=True):
    text: str
    reason: str
    page: str | None = None


class File(Record, frozen=True):
    page: str
    record: str | None = None
    claim: tuple[ClaimRow, ...] = ()
    quoted: tuple[QuotedRow, ...] = ()


def read_claims(path: Path) -> list[Claim | Quoted]:
    """All that a claims.toml holds."""
    file = typed(tomllib.loads(path.read_text(encoding="utf-8")), File, path)
    folder = path.parent
    claims: list[Claim | Quoted] = [
        Quoted((folder / (row.page or file.page)).resolve(), row.text, row.reason)
        for row in file.quoted
    ]
    for row in file.claim:
        record = row.record or file.record
        for replaced in row.each:
            claims.append(
                Claim(
                    page=(folder / (row.page or file.page)).resolve(),
                    text=fill(row.text, replaced),
                    folder=folder,
                    record=fill(record, replaced) if record else None,
                    at=fill(row.at, replaced),
                    values={name: fill(value, replaced) for name, value in row.values.items()},
                )
            )
    return claims


def fill(text: str, replaced: dict[str, str]) -> str:
    for name, value in replaced.items():
        text = text.replace(f"<{name}>", value)
    return text


def plain(text: str) -> str:
    """White space as one space, the minus sign of print as that of a keyboard."""
    return " ".join(text.replace("−", "-").split())


@dataclasses.dataclass
class Page:
    """What a page says, and which of its characters are held by a claim."""

    text: str
    prose: str  # the same with code and links blotted out

    @classmethod
    def read(cls, path: Path, first: str = "", last: str = "") -> "Page":
        """From the first words on, up to the last ones; the whole page without either."""
        text = path.read_text(encoding="utf-8")
        start = text.index(first)
        text = text[start : text.index(last, start) if last else len(text)]
        prose = NOT_PROSE.sub(lambda code: re.sub(r"\S", "x", code.group()), text)
        return cls(plain(text), plain(prose))

    def failures(self, claims: Sequence[Claim | Quoted]) -> list[str]:
        """What of the claims does not stand here once."""
        return [said for claim in claims if (said := self.place(claim)[1])]

    def place(self, claim: Claim | Quoted) -> tuple[list[range], str]:
        """Where the numbers of a claim stand, and why not."""
        try:
            pieces = [(plain_piece(piece), held) for piece, held in claim.pieces()]
        except (ValueError, NameError, TypeError) as error:
            return [], f"{claim.text!r}: {error}"
        text = "".join(piece for piece, _ in pieces)
        # 0.7 does not stand in 0.75, nor in 10.7, -0.7, 1,000.7 or 0.7e-3
        whole = rf"(?<!\d)(?<!\d[.,])(?<![-+](?=\d)){re.escape(text)}(?!\d|[.,]\d|e[-+]?\d)"
        found = [match.start() for match in re.finditer(whole, self.text)]
        if len(found) != 1:
            return [], f"stands {len(found)} times, expected once: {text!r}"
        place = found[0]
        held = []
        for piece, is_held in pieces:
            if is_held:
                held.append(range(place, place + len(piece)))
            place += len(piece)
        return held, ""

    def unheld(self, claims: Sequence[Claim | Quoted]) -> list[str]:
        """Every number with decimals or percentage that no claim holds, with its words."""
        held = {place for claim in claims for places in self.place(claim)[0] for place in places}
        return [
            f"{number.group()} in …{self.text[max(number.start() - 60, 0) : number.end() + 30]}…"
            for number in NUMBER.finditer(self.prose)
            if not held.issuperset(range(*number.span()))
        ]


def plain_piece(piece: str) -> str:
    """Like `plain`, but with the spaces at its ends."""
    return re.sub(r"\s+", " ", piece.replace("−", "-"))
