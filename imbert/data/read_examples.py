"""Labelled examples of a GLUE task, from local files or from the hub."""

import contextlib
import importlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from analysis.ground.plain_numbers import decimal_number
from analysis.ground.table_files import Row, read_table, require_text
from imbert.data import tasks
from imbert.data.split_files import Selection, TableFile, check_split, locate
from imbert.data.tasks import Examples, Task, class_of, expected_labels, is_label

HUB = "nyu-mll/glue"
ID_COLUMNS = ("idx", "index", "id")


def read_examples(task: str, source: str | Path, split: str) -> Examples:
    """The labelled examples of a split.

    Args:
        task: its name.
        source: a folder or a file (see `split_files.locate`), or "hub" for the GLUE of the Hugging
            Face hub, which needs `datasets`.
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
    rows = read_table(file.path, *_columns(kind, file))
    if file.selection is None:
        return _collect(kind, rows, str(file.path))
    examples = _collect(kind, _selected(file.path, file.selection, rows), str(file.path))
    note = f"{split} rows by {file.selection.source.name}"
    return replace(examples, source=f"{file.path} ({note})")


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
    # JSON knows numbers; true is a bool, which Python counts among them
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


def parse_texts(kind: Task, values: Mapping[str, object], where: str) -> tuple[str, ...]:
    """The texts of a row, as they are.

    Raises:
        ValueError: if one is missing, empty or no text.
    """
    return tuple(require_text(values.get(key), key, where) for key in kind.keys)


def _columns(
    kind: Task, file: TableFile
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    """Required and optional columns: our name, and what it may be called."""
    required: dict[str, tuple[str, ...]] = {key: (key,) for key in kind.keys}
    required["label"] = ("score", "label") if kind.labels == 1 else ("label",)
    identity: dict[str, tuple[str, ...]] = {"id": ID_COLUMNS}
    return (required | identity, {}) if file.selection is not None else (required, identity)


def _selected(path: Path, selection: Selection, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows that the selection keeps; all that it lists must be there."""
    seen = set()
    for row in rows:
        if selection.is_chosen(row):
            seen.add(str(row.values["id"]))
            yield row
    missing = selection.ids - seen
    if missing:
        raise ValueError(
            f"{selection.source}: expected every listed row in "
            f"{path}, got {len(missing)} that are not there"
        )


def _collect(kind: Task, rows: Iterable[Row], source: str) -> Examples:
    texts: list[tuple[str, ...]] = []
    labels: list[float] = []
    ids: list[str] = []
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
