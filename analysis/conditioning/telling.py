"""The most fragile inputs in a terminal of 80 columns, and what each column means."""

import unicodedata
from collections.abc import Sequence

from analysis.conditioning.records import Condition, Drafted, Input, Number
from analysis.ground.terminal import wrapped
from analysis.ground.text_edits import Texts

COLUMNS = 80
SHOWN = 10
WORD = 10  # columns of a word
HEADS = {"characters": "chars", "words": "words"}  # of families
MEANINGS = (
    ("chars", "random misspellings that flip the answer, of those that were tried"),
    ("words", "the same by other words"),
    ("wrong", "answered wrong already: last, the others by the share of flips"),
    ("least", "smallest margin that an edit leaves, below 0: a flip; orders equals"),
    ("margin", "m, the label's logit less the largest other; negative: answered wrong"),
    ("g", "‖∇m‖ at the word embeddings: how fast the margin can move"),
    ("|m|/g", "way to a flip by first order; a word embedding is about 1 long"),
    ("steepest", "the word with most of g²: where an edit may move the margin most"),
)


def told(record: Condition, texts: Sequence[Texts]) -> list[str]:
    """Lines of at most 80 columns."""
    shown = record.ranked()[:SHOWN]
    wrong = sum(row.wrong for row in record.inputs)
    truth = f"{wrong} answered wrong" if record.labels_given else "labels are the predicted ones"
    wide = max(len("chars"), 2 * len(str(_most_drafts(record))) + 1)
    flips = " ".join(f"{HEADS[family]:>{wide}}" for family in record.families)
    head = f"{flips} {'least':>7} {'margin':>7} {'g':>7} {'|m|/g':>7}  {'steepest':<{WORD}}  "
    lines = [
        f"{len(record.inputs)} inputs, {truth}. The {len(shown)} most fragile, by random edits:",
        f"{head}text",
        *(_line(row, texts[row.index], wide, len(head)) for row in shown),
        "",
        *(f"{name:<9}{meaning}" for name, meaning in _meanings(record)),
    ]
    for name, family in record.families.items():
        source = f": {family.source}" if family.source else ""
        drawn = f"drafts {family.drafts}, words changed at most {family.max_edits}"
        lines += wrapped(f"{name:<12}{drawn}{source}", hanging=12)
    return lines


def _most_drafts(record: Condition) -> int:
    return max((family.drafts for family in record.families.values()), default=0)


def _meanings(record: Condition) -> list[tuple[str, str]]:
    """Of the columns that are shown."""
    left_out = {head for family, head in HEADS.items() if family not in record.families}
    return [(name, meaning) for name, meaning in MEANINGS if name not in left_out]


def _line(row: Input, texts: Texts, wide: int, used: int) -> str:
    flips = " ".join(f"{_flips(row, drafted):>{wide}}" for drafted in row.drafts.values())
    cells = (
        f"{flips} {_short(row.least):>7} {_short(row.margin):>7} "
        f"{_short(row.gradient):>7} {'flat' if row.flat else _short(row.distance):>7}  "
    )
    word = cut(_shown(row.steepest.word(texts)) if row.steepest else "–", WORD)
    cells += f"{word}{' ' * (WORD - sum(map(_width, word)))}  "
    return cells + cut(" | ".join(map(_shown, texts)), COLUMNS - used)


def _flips(row: Input, drafted: Drafted) -> str:
    """Of how many drafts; nothing can flip an answer that is wrong already."""
    if row.wrong:
        return "wrong"
    return f"{drafted.flipped}/{drafted.count}" if drafted.count else "–"


def _shown(text: str) -> str:
    """A text on one line, without what would steer the terminal."""
    return "".join(
        letter if letter.isprintable() else "\ufffd" for letter in " ".join(text.split())
    )


def _short(value: Number) -> str:
    """At most seven letters; a dash where there is no number."""
    if value is None:
        return "–"
    size = abs(value)
    return f"{value:.3f}" if size < 10 else f"{value:.1f}" if size < 1000 else f"{value:.1e}"


def cut(text: str, width: int = COLUMNS) -> str:
    """As much of a text as fits, with an ellipsis where it does not; wide letters count twice."""
    widths = [_width(letter) for letter in text]
    if sum(widths) <= width:
        return text
    kept, used = 0, 1  # the ellipsis
    while used + widths[kept] <= width:
        used += widths[kept]
        kept += 1
    return f"{text[:kept]}…"


def _width(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
