"""Labelled tables of texts: the one place that knows which columns hold texts, labels and ids, and
which class a label means.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from analysis.ground.plain_numbers import decimal_number
from analysis.ground.table_files import Row, columns_of, read_table, require_text

PAIRS = (
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
    ("question", "sentence"),
)
SINGLE = ("sentence", "text")
EDITS = ("original", "edited")  # a text and its edit
LABEL = "label"
ID = "id"  # our name of the column
IDS = ("idx", "index", "id")  # what it may be called
WHOLE_WITH_POINT = re.compile(r"([+-]?[0-9]+)\.0*")  # as a column of numbers with gaps is written
Texts = tuple[str, ...]
Meanings = Sequence[tuple[str, str]]  # labels of a file, and the outputs of a model that they mean


@dataclasses.dataclass(frozen=True)
class ColumnNames:
    """Columns as a user names them; None looks for the usual names.

    Attributes:
        text: of the texts.
        pair: of the second texts of pairs, beside `text`.
        label: of the labels.

    Raises:
        ValueError: if there are second texts without first ones, or a column is named twice.
    """

    text: str | None = None
    pair: str | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if self.text is None and self.pair is not None:
            raise ValueError(
                f"--pair-column {self.pair} needs --text-column, the first text, beside it"
            )
        names = [name for name in (self.text, self.pair, self.label) if name is not None]
        if len(set(names)) < len(names):
            raise ValueError(
                f"columns of texts and labels must differ from each other, got {', '.join(names)}"
            )

    @property
    def given(self) -> bool:
        """Whether a column is named."""
        return (self.text, self.pair, self.label) != (None, None, None)


USUAL = ColumnNames()


@dataclasses.dataclass(frozen=True)
class Columns:
    """Where a table has what is wanted.

    Attributes:
        texts: one column or two.
        label: the names it may have, of which the first that is there counts; none where no labels
            are wanted.
    """

    texts: tuple[str, ...]
    label: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class LabelledRow:
    """One row.

    Attributes:
        where: the file and the line, as an error names them.
        line: in the file, from 1.
        texts: one or two, none of them empty.
        label: as the file has it; None without a column of labels.
        id: as the file has it, else the line.
    """

    where: str
    line: int
    texts: Texts
    label: object
    id: str


@dataclasses.dataclass(frozen=True)
class LabelledTable:
    """The rows of a table, in their order.

    Attributes:
        source: the file.
        columns: where they come from.
        rows: at least one.
    """

    source: Path
    columns: Columns
    rows: tuple[LabelledRow, ...]

    @property
    def texts(self) -> tuple[Texts, ...]:
        """Of each row, one or two."""
        return tuple(row.texts for row in self.rows)

    @property
    def labels(self) -> tuple[object, ...] | None:
        """Of each row as the file has them; None without a column of labels."""
        return tuple(row.label for row in self.rows) if self.columns.label else None


def read_labelled(path: Path, names: ColumnNames = USUAL) -> LabelledTable:
    """Every row of a table.

    Args:
        path: of a .tsv, .csv, .jsonl or .parquet file, plain or gzipped.
        names: of its columns; the labels are those of the column `label` where it is there and
            none is named.

    Raises:
        ValueError: if the file has no such columns or one of them twice, a row is malformed, a text
            is empty, or there is no row.
        OSError: if the file cannot be read.
    """
    columns = find_columns(columns_of(path), names, path)
    rows = tuple(labelled_rows(path, columns))
    if not rows:
        raise ValueError(f"{path}: expected at least one row, got none")
    return LabelledTable(path, columns, rows)


def find_columns(present: Sequence[str], names: ColumnNames, where: object) -> Columns:
    """The columns that are meant, of those that are there; a named one is taken on trust, a usual
    name is found in any case.

    Raises:
        ValueError: if no texts are named and no column has a usual name.
    """
    spelt = {name.strip().lower(): name for name in reversed(present)}
    usual = (spelt[LABEL],) if LABEL in spelt else ()
    label = usual if names.label is None else (names.label,)
    if names.text is not None:
        return Columns((names.text,) if names.pair is None else (names.text, names.pair), label)
    known: tuple[tuple[str, ...], ...] = (*PAIRS, *((name,) for name in SINGLE))
    candidates = [texts for texts in known if set(texts) <= set(spelt)]
    if not candidates:
        pairs_in_words = ", ".join("+".join(pair) for pair in PAIRS)
        raise ValueError(
            f"{where}: expected a column {' or '.join(SINGLE)}, or two of "
            f"{pairs_in_words}, or --text-column NAME, got {', '.join(present) or 'none'}"
        )
    return Columns(tuple(spelt[name] for name in candidates[0]), label)


def holds_edits(present: Sequence[str], names: ColumnNames) -> bool:
    """Whether the pairs of a table are texts and their edits, by the names of its columns."""
    return not names.given and set(EDITS) <= set(present)


def labelled_rows(
    path: Path,
    columns: Columns,
    keep: Callable[[str], bool] | None = None,
) -> Iterator[LabelledRow]:
    """The rows of a table, one at a time.

    Args:
        path: of the file.
        columns: to read.
        keep: which rows, by their ids, for which there must be a column; None keeps all.

    Raises:
        ValueError: if the file has no such column, or a row is malformed: the file, the line, what
            was expected and what came.
        OSError: if the file cannot be read.
    """
    identity = {ID: IDS}
    wanted: Mapping[str, Sequence[str]] = {name: (name,) for name in columns.texts}
    labels = {LABEL: columns.label} if columns.label else {}
    # our name of the labels must not hide a column of texts that is called so
    wanted = {_as_text(name): names for name, names in wanted.items()} | labels
    rows = (
        read_table(path, wanted, identity)
        if keep is None
        else read_table(path, wanted | identity, {})
    )
    kept = (row for row in rows if keep is None or keep(str(row.values[ID])))
    yield from checked_rows(kept, columns, path)


def checked_rows(rows: Iterable[Row], columns: Columns, source: object) -> Iterator[LabelledRow]:
    """Rows by our names (see `row_of`), their texts checked.

    Raises:
        ValueError: if a text is missing, empty or none.
    """
    for row in rows:
        where = f"{source}:{row.line}"
        texts = tuple(
            require_text(row.values.get(_as_text(name)), name, where) for name in columns.texts
        )
        yield LabelledRow(
            where, row.line, texts, row.values.get(LABEL), str(row.values.get(ID, row.line))
        )


def row_of(number: int, values: Mapping[str, object], columns: Columns) -> Row:
    """A row of plain values by the names of their columns, under our names."""
    ours = {_as_text(name): values.get(name) for name in columns.texts}
    for name, aliases in ((LABEL, columns.label), (ID, IDS)):
        present = [alias for alias in aliases if alias in values]
        if present:
            ours[name] = values[present[0]]
    return Row(number, ours)


def _as_text(column: str) -> str:
    """Our name of a column of texts."""
    return f"text {column}"


def label_word(value: object) -> str | None:
    """A label as its class is named: a whole number in digits, "1.0" as "1" and true as "true".

    Returns:
        None where the value is no label: empty, no number and no text.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        whole_number = math.isfinite(value) and value.is_integer()
        return str(int(value)) if whole_number else str(value)
    if not isinstance(value, str) or not value.strip():
        return None
    whole = WHOLE_WITH_POINT.fullmatch(value.strip())
    return whole[1] if whole else value.strip()


def class_of(label: object, names: Sequence[str], count: int) -> int | None:
    """The class that a label means: by its name, in any case, with spaces or hyphens, or by its
    number.

    Args:
        label: as a file has it.
        names: of the classes; fewer than `count` where they have none. Where one of them is a
            number, a label that is a number is a name too.
        count: how many classes there are.

    Returns:
        None where it means none of them.
    """
    word = label_word(label)
    if word is None:
        return None
    known = {class_key(name): place for place, name in reversed([*enumerate(names)])}
    place = known.get(class_key(word))
    if place is not None or any(is_number(name) for name in known):
        return place
    return {str(number): number for number in range(count)}.get(word)


def resolve_labels(
    table: LabelledTable, names: Sequence[str], given: Meanings = ()
) -> tuple[int, ...] | None:
    """The output that each row's label means; None without labels.

    Args:
        table: with labels as numbers of outputs or as their names, in any case; where meanings are
            given, with these labels alone.
        names: of the model's outputs.
        given: what labels of the table mean, outputs by number or name.

    Raises:
        ValueError: if a label is none of them, with its line; if a meaning is no output, a label
            has two, or the table has no labels.
    """
    if given and not table.columns.label:
        raise ValueError(f"{table.source}: expected a column of labels for --labels, got none")
    if not table.columns.label:
        return None
    if given:  # a number means nothing beside them
        outputs, known, numbers = _outputs_of(given, names), [label for label, _ in given], 0
        expected, otherwise = f"a label of --labels, one of {', '.join(known)}", ""
    else:
        outputs, known, numbers = [*range(len(names))], [*names], len(names)
        expected = f"a label of the model, one of {_in_words(names)}"
        otherwise = "; say what the file's labels mean: --labels LABEL=OUTPUT …"
    found = []
    for row in table.rows:
        place = class_of(row.label, known, numbers)
        if place is None:
            raise ValueError(f"{row.where}: expected {expected}, got {row.label!r}{otherwise}")
        found.append(outputs[place])
    return tuple(found)


def _outputs_of(given: Meanings, names: Sequence[str]) -> list[int]:
    """The output that each given label means."""
    keys = [class_key(label) for label, _ in given]
    if len(set(keys)) < len(keys):
        labels = ", ".join(label for label, _ in given)
        raise ValueError(f"--labels must name each label of the file once, got {labels}")
    outputs = []
    for label, output in given:
        number = class_of(output, names, len(names))
        if number is None:
            raise ValueError(
                f"--labels {label}={output}: expected an output of the model, one of "
                f"{_in_words(names)}, got {output!r}"
            )
        outputs.append(number)
    return outputs


def _in_words(names: Sequence[str]) -> str:
    """The outputs of a model by number and name."""
    return f"{', '.join(map(str, range(len(names))))} ({', '.join(names)})"


def class_key(name: str) -> str:
    """What the names of one class have in common: a number as `label_word` has it, and see
    `plain_name`.
    """
    return plain_name(label_word(name) or "")


def plain_name(name: str) -> str:
    """A name without case, its spaces and hyphens as underscores; those that stand at its ends are
    kept, as "-" and "--" are two names.
    """
    return re.sub(r"(?<=[^\W_])[\s_-]+(?=[^\W_])", "_", name.strip().casefold())


def is_number(word: str) -> bool:
    """Whether a word is a number, one that is not finite too."""
    try:
        decimal_number(word)
    except ValueError:
        return word.lower() in ("nan", "inf", "-inf")
    return True
