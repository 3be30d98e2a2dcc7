"""Files that are given as texts and are tables, with a header or labels, CSV or JSON."""

import json
from pathlib import Path

HEADERS = frozenset(  # how tables of texts name their columns
    (
        *(
            "id",
            "idx",
            "index",
            "guid",
            "kind",
            "split",
            "original",
            "edited",
            "label",
            "labels",
            "gold_label",
            "score",
            "target",
        ),
        *(
            "class",
            "category",
            "sentiment",
            "text",
            "texts",
            "sentence",
            "sentences",
            "sentence1",
            "sentence2",
            "premise",
            "hypothesis",
        ),
        *(
            "question",
            "question1",
            "question2",
            "answer",
            "context",
            "review",
            "comment",
            "tweet",
            "content",
            "title",
        ),
    )
)
MOST_LABELS = 10  # values of a column that count as classes
TABLES = (".csv", ".jsonl", ".parquet")  # whose rows are no lines of text
EXPECTED = (
    "expected one text a line, or original<TAB>edited, or "
    "kind<TAB>original<TAB>edited, or a table with a header (.tsv, .csv, .jsonl, .parquet) and "
    "--text-column NAME"
)


def is_table(path: Path) -> bool:
    """Whether a file of texts is a table: by its name, or by a header of the usual names.

    A .txt is lines: its first one is a header only where tabs part several names.

    Raises:
        OSError: if it cannot be read.
    """
    if path.name.endswith((*TABLES, ".gz")):
        return True
    with path.open("rb") as file:
        line = file.readline().decode("utf-8-sig", "replace").strip("\r\n")
        several = bool(file.read(1))
    return is_header(line.split("\t"), alone=several and path.suffix != ".txt")


def require_texts(path: Path, content: str) -> None:
    """Refuse a file that reads as texts or pairs and is none.

    Raises:
        ValueError: with the line that shows it.
    """
    lines = content.removesuffix("\n").split("\n")
    rows = [[column.strip() for column in line.split("\t")] for line in lines]
    for separator, name in (("\t", "TSV"), (",", "CSV"), (";", "CSV")):
        if is_header(lines[0].split(separator), alone=len(lines) > 1 and separator == "\t"):
            raise ValueError(
                f"{path}: line 1 is the header of a {name} table, {lines[0][:60]!r}; {EXPECTED}"
            )
    if is_json(lines[0]):
        raise ValueError(f"{path}: line 1 is JSON; {EXPECTED}")
    for width in (2, 3):
        _require_no_labels(
            path, [(number, row) for number, row in enumerate(rows, 1) if len(row) == width]
        )


def is_header(columns: list[str], alone: bool) -> bool:
    """Whether all columns are names that tables of texts give theirs; a single one counts only
    where `alone`.
    """
    names = [column.strip().strip('"').lower() for column in columns]
    return all(name in HEADERS for name in names) and (len(names) > 1 or alone)


def is_json(line: str) -> bool:
    """Whether a line is a JSON object or array."""
    if not line.lstrip().startswith(("{", "[")):
        return False
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _require_no_labels(path: Path, rows: list[tuple[int, list[str]]]) -> None:
    """Refuse pairs of which one side is a label."""
    if not rows:
        return
    for column in (-1, -2):
        values = [row[column] for _, row in rows]
        classes = set(values)
        few = len(rows) >= 4 and 2 * len(classes) <= len(rows) and len(classes) <= MOST_LABELS
        words = few and not any(" " in value for value in classes)
        if all(map(_is_number, values)) or words:
            number, row = rows[0]
            raise ValueError(
                f"{path}: line {number}: {row[column][:60]!r} is a "
                f"label, no side of an edit; {EXPECTED}"
            )


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
