"""Labelled examples of a GLUE task, from local files or from the hub."""

import contextlib
import importlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.ground.json_records import is_whole
from analysis.ground.plain_numbers import decimal_number
from imbert.data import tasks
from imbert.data.layouts import TableFile, check_split, locate
from imbert.data.table_files import Row, read_table
from imbert.data.tasks import Examples, Task, class_of, expected_labels, is_label

HUB = "nyu-mll/glue"
TEXT_COLUMNS = {  # further names of a text column, in the published files
    ("mnli", "premise"): ("sentence1",),
    ("mnli", "hypothesis"): ("sentence2",),
    ("mrpc", "sentence1"): ("#1 String",),
    ("mrpc", "sentence2"): ("#2 String",),
}
LABEL_COLUMNS = ("label", "gold_label", "is_duplicate", "Quality")
ID_COLUMNS = ("idx", "index", "id", "pairID")


def read_examples(task: str, source: str | Path, split: str) -> Examples:
    """The labelled examples of a split.

    Args:
        task: its name.
        source: a folder or a file (see `layouts.locate`), or "hub" for the GLUE of the Hugging Face
            hub, which needs `datasets`.
        split: "train", "dev" (of MNLI the matched one), "dev_mismatched" (MNLI) or "test", where it
            has labels. A file that is named as source is read whole, whichever the split, unless
            its name says another one.

    Returns:
        At least one example, in the order of the file. Prepared MNLI training subsets may lack the
        final period of each text: see `without_final_period`.

    Raises:
        ValueError: if task or split is unknown, or a row malformed: the file, the line, what was
            expected and what came.
        OSError: if the file cannot be read.
    """
    kind = tasks.task(task)
    if str(source) == "hub":
        return _from_hub(kind, split)
    file = locate(task, Path(source), split)
    rows = read_table(
        file.path, *_columns(kind, file), header=file.header, short_rows=file.leaves_out_incomplete
    )
    counted = _Incomplete(kind, rows) if file.leaves_out_incomplete else rows
    examples = _collect(kind, _selected(file, counted), str(file.path))
    notes = (
        [f"{counted.count} incomplete rows left out"]
        if isinstance(counted, _Incomplete) and counted.count
        else []
    )
    notes += [f"{split} rows by {file.selection.source.name}"] if file.selection else []
    return replace(examples, source=f"{file.path} ({', '.join(notes)})") if notes else examples


def without_final_period(examples: Examples) -> Examples:
    """The examples with one final period less in each text that ends in one and is more than that.

    A model that was trained on texts without it should be evaluated on such texts.
    """
    texts = tuple(
        tuple(text.removesuffix(".") if text.strip() != "." else text for text in row)
        for row in examples.texts
    )
    return replace(examples, texts=texts, source=f"{examples.source} (without final periods)")


def parse_label(kind: Task, value: object, where: str) -> float:
    """A class or a score from what a file holds: a number, or the name of a class.

    Raises:
        ValueError: if it is no label of the task.
    """
    number: float | None = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and kind.labels == 1:
        with contextlib.suppress(ValueError):
            number = decimal_number(value.strip(" \t\r"))
    elif isinstance(value, str):
        number = class_of(kind, value)
    if number is None or not is_label(kind, number):
        raise ValueError(
            f"{where}: expected a label of {kind.name}, {expected_labels(kind)}, got {value!r}"
        )
    return number


def parse_texts(kind: Task, values: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """The texts of a row, as they are.

    Raises:
        ValueError: if one is missing, empty or no text.
    """
    for key in kind.keys:
        if not isinstance(values.get(key), str) or not values[key].strip():
            raise ValueError(
                f"{where}: expected a text that is not empty in "
                f"column {key}, got {values.get(key)!r}"
            )
        if not is_whole(values[key]):
            raise ValueError(
                f"{where}: expected text in column {key}, got half of a "
                f"surrogate pair in {values[key][:40]!r}"
            )
    return tuple(values[key] for key in kind.keys)


@dataclass
class _Incomplete:
    """Rows that have all their texts and a label; counts the others."""

    kind: Task
    rows: Iterable[Row]
    count: int = 0

    def __iter__(self) -> Iterator[Row]:
        for row in self.rows:
            if all(
                isinstance(value, str) and value.strip()
                for value in (row.values[key] for key in (*self.kind.keys, "label"))
            ):
                yield row
            else:
                self.count += 1


def _columns(
    kind: Task, file: TableFile
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    """Required and optional columns: our name, and what it may be called."""
    required: dict[str, tuple[str, ...]] = {
        key: (key, *TEXT_COLUMNS.get((kind.name, key), ())) for key in kind.keys
    }
    required["label"] = ("score", *LABEL_COLUMNS) if kind.labels == 1 else LABEL_COLUMNS
    compared = file.selection.columns if file.selection else ()
    required |= {column: (column,) for column in compared if column != "id"}
    identity: dict[str, tuple[str, ...]] = {"id": ID_COLUMNS}
    return (required | identity, {}) if "id" in compared else (required, identity)


def _selected(file: TableFile, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows that the selection keeps; all that it lists must be there."""
    if file.selection is None:
        yield from rows
        return
    seen = set()
    for row in rows:
        values = file.selection.of(row)
        listed = values in file.selection.members
        if listed:
            seen.add(values)
        if listed == file.selection.inside:
            yield row
    missing = len(file.selection.members) - len(seen)
    if missing:
        raise ValueError(
            f"{file.selection.source}: expected every listed row in "
            f"{file.path}, got {missing} that are not there"
        )


def _collect(kind: Task, rows: Iterable[Row], source: str) -> Examples:
    texts, labels, ids = [], [], []
    for row in rows:
        where = f"{source}:{row.line}"
        texts.append(parse_texts(kind, row.values, where))
        labels.append(parse_label(kind, row.values["label"], where))
        ids.append(str(row.values.get("id", row.line)))
    if not texts:
        raise ValueError(f"{source}: expected at least one row, got an empty split")
    return Examples(kind, tuple(texts), np.array(labels), tuple(ids), source)


def _from_hub(kind: Task, split: str) -> Examples:
    check_split(kind.name, split)
    matched = {
        "dev": "validation_matched",
        "dev_mismatched": "validation_mismatched",
        "test": "test_matched",
    }
    name = (matched if kind.name == "mnli" else {"dev": "validation"}).get(split, split)
    try:
        datasets = importlib.import_module("datasets")
    except ImportError as error:
        raise ValueError(
            f"source 'hub' needs the package datasets, which is not installed: {error}"
        ) from error
    try:
        loaded = datasets.load_dataset(HUB, kind.name, split=name)
    except Exception as error:  # offline, it raises errors of half a dozen packages
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            f"source 'hub': expected to load {HUB} {kind.name} "
            f"{name}, got {type(error).__name__}: {reason[0]}"
        ) from error
    rows = (
        Row(number, {**row, "id": row.get("idx", number)})
        for number, row in enumerate(loaded, start=1)
    )
    return _collect(kind, rows, f"{HUB}/{kind.name}/{name}")
