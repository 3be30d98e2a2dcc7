"""A user's own table of texts: which columns hold them, and their labels as outputs of a model."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from analysis.ground.table_files import columns_of, read_table, require_text

PAIRS = (
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
    ("question", "sentence"),
)
SINGLE = ("sentence", "text")
LABEL = "label"
Texts = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Columns:
    """Where a table has what is wanted.

    Attributes:
        texts: one column or two.
        label: None where the table has none.
    """

    texts: tuple[str, ...]
    label: str | None = None


@dataclasses.dataclass(frozen=True)
class Rows:
    """The rows of a table, in their order.

    Attributes:
        source: the file.
        columns: where they come from.
        texts: of each row, one or two.
        labels: of each row as the file has them; None without a column of labels.
        lines: of each row in the file, from 1.
    """

    source: Path
    columns: Columns
    texts: tuple[Texts, ...]
    labels: tuple[object, ...] | None
    lines: tuple[int, ...]


def read_rows(
    path: Path,
    text_column: str | None = None,
    pair_column: str | None = None,
    label_column: str | None = None,
) -> Rows:
    """Every row of a .tsv, .csv or .jsonl file, plain or gzipped.

    Args:
        path: of the file.
        text_column: that holds the texts; None looks for the usual names.
        pair_column: that holds the second texts of pairs, beside `text_column`.
        label_column: that holds the labels; None is `label`, where the file has it.

    Raises:
        ValueError: if the file has no such columns, a row is malformed, a text is empty, or there
            is no row.
        OSError: if the file cannot be read.
    """
    columns = _columns(path, text_column, pair_column, label_column)
    names = [*columns.texts, *([] if columns.label is None else [columns.label])]
    texts: list[Texts] = []
    labels: list[object] = []
    lines: list[int] = []
    for row in read_table(path, {name: (name,) for name in names}, {}):
        where = f"{path}:{row.line}"
        texts.append(tuple(require_text(row.values[name], name, where) for name in columns.texts))
        labels.append(None if columns.label is None else row.values[columns.label])
        lines.append(row.line)
    if not texts:
        raise ValueError(f"{path}: expected at least one row, got none")
    given = None if columns.label is None else tuple(labels)
    return Rows(path, columns, tuple(texts), given, tuple(lines))


def _columns(path: Path, text: str | None, pair: str | None, label: str | None) -> Columns:
    """The columns of a file that are meant."""
    present = columns_of(path)
    if text is None and pair is not None:
        raise ValueError(f"--pair-column {pair} needs --text-column, the first text, beside it")
    if text is not None:
        texts: tuple[str, ...] = (text,) if pair is None else (text, pair)
    else:
        pairs = [names for names in PAIRS if set(names) <= set(present)]
        singles = [(name,) for name in SINGLE if name in present]
        usual = [*pairs, *singles]
        if not usual:
            pairs_in_words = ", ".join("+".join(names) for names in PAIRS)
            raise ValueError(
                f"{path}: expected a column {' or '.join(SINGLE)}, or two of "
                f"{pairs_in_words}, or --text-column NAME, got {', '.join(present) or 'none'}"
            )
        texts = usual[0]
    if label is None and LABEL in present:
        label = LABEL
    return Columns(texts, label)


def resolve_labels(rows: Rows, names: Sequence[str]) -> tuple[int, ...] | None:
    """The output that each row's label means; None without labels.

    Args:
        rows: with labels as numbers of outputs or as their names, in any case.
        names: of the model's outputs.

    Raises:
        ValueError: if a label is none of them, with its line.
    """
    if rows.labels is None:
        return None
    known = {str(output): output for output in range(len(names))}
    known |= {_plain(name): output for output, name in enumerate(names)}
    outputs = []
    for line, label in zip(rows.lines, rows.labels, strict=True):
        output = known.get(_plain(str(label))) if type(label) in (str, int) else None
        if output is None:
            numbers = ", ".join(map(str, range(len(names))))
            raise ValueError(
                f"{rows.source}:{line}: expected a label of the model, one of {numbers} "
                f"({', '.join(names)}), got {label!r}"
            )
        outputs.append(output)
    return tuple(outputs)


def _plain(name: str) -> str:
    """A name without case, its spaces and hyphens as underscores."""
    return re.sub(r"[\s_-]+", "_", name.strip().casefold())
