"""The token × layer map of an edit: where its difference sits, as a table of shades."""

import dataclasses

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_hex

from analysis.edits.records import Edit, Edits, Mark, Words
from figures.findings import number
from figures.records import not_a_number

CAPTION = (
    "Difference of each token by layer, ‖δ_l‖ as the model runs; darker is larger. A token of one "
    "text alone, removed (−) or inserted (+), stands opposite nothing, whose state counts as 0."
)
MOVED = (
    " Behind one that is removed or inserted the same tokens stand at other positions: a model "
    "that adds an embedding of the position sets them apart before the first layer."
)
DARKEST = 0.6  # of the colour map, beyond which ink could not be read on it
SIGNS: dict[Mark, str] = {"same": "", "changed": "→", "removed": "−", "inserted": "+"}


@dataclasses.dataclass(frozen=True)
class Row:
    """One column of the alignment.

    Attributes:
        mark: what the edit does to it.
        sign: of the mark.
        before: token of the original; empty for none.
        after: token of the edited text where it is another one; empty for none.
        cells: (number, colour of the ground) by level.
    """

    mark: Mark
    sign: str
    before: str
    after: str
    cells: list[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class TokenMap:
    """All tokens in reading order under the names of the levels."""

    caption: str
    levels: list[str]
    rows: list[Row]


def token_map(record: Edits, edit: Edit, words: Words) -> TokenMap:
    """The map of one edit with its tokens."""
    sizes = np.array(
        [[not_a_number(size) for size in level] for level in edit.size_tokens]
    )  # levels, columns
    largest = np.nanmax(sizes, initial=0.0)
    shades = mpl.colormaps["Purples"]
    rows = []
    for column, (mark, tokens) in enumerate(zip(edit.marks, words.columns, strict=True)):
        cells = []
        for size in sizes[:, column]:
            share = 0.0 if not largest or np.isnan(size) else DARKEST * size / largest
            cells.append((number(size, 2), to_hex(shades(share))))
        before, after = tokens
        same = mark == "same"
        rows.append(Row(mark, SIGNS[mark], before or "", "" if same else after or "", cells))
    caption = CAPTION + (MOVED if _moved(edit.marks) else "")
    return TokenMap(caption, ["before", *record.steps], rows)


def _moved(marks: list[Mark]) -> bool:
    """Whether a token of both texts stands at another position in one of them: more were removed
    than inserted before it, or fewer.
    """
    shift = 0
    for mark in marks:
        if mark == "same" and shift:
            return True
        shift += (mark == "inserted") - (mark == "removed")
    return False
