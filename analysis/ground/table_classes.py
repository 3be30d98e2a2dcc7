"""Which classes the labels of a table name."""

from collections.abc import Iterable

from analysis.ground.labelled_tables import LabelledRow, class_key, is_number, label_word
from analysis.ground.plain_numbers import whole_number

MANY = 10  # classes, from which on more than half as many as rows are no classes


def classes_of(rows: Iterable[LabelledRow], column: str, where: object) -> tuple[str, ...]:
    """The names of the classes of some rows, numbers by their size and words by the alphabet.

    Args:
        rows: with labels.
        column: of the labels, as an error names it.
        where: the file, likewise.

    Raises:
        ValueError: if a label is none, or they are no classes.
    """
    known: dict[str, str] = {}
    count = 0
    for row in rows:
        word = _class_word(row, column)
        known.setdefault(class_key(word), word)
        count += 1
    if len(known) < 2:
        raise ValueError(
            f"{where}: expected at least 2 classes in column {column}, got "
            f"{', '.join(known.values()) or 'no row'}"
        )
    if len(known) >= MANY and 2 * len(known) > count:
        raise ValueError(
            f"{where}: expected classes that several rows share in column {column}, got "
            f"{len(known)} different labels of {count} rows; classes that are meant so can be "
            "named in labels"
        )
    return tuple(sorted(known.values(), key=_order))


def _class_word(row: LabelledRow, column: str) -> str:
    word = label_word(row.label)
    if word is None or (is_number(word) and not _is_whole(word)):
        raise ValueError(
            f"{row.where}: expected a class in column {column}, a word or a whole number "
            f"(of a score: regression = true), got {row.label!r}"
        )
    return word


def _order(word: str) -> tuple[bool, int, str]:
    return (not _is_whole(word), whole_number(word) if _is_whole(word) else 0, word)


def _is_whole(word: str) -> bool:
    try:
        whole_number(word)
    except ValueError:
        return False
    return True
