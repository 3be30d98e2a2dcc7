"""Labelled examples of a task, from local files or from the hub."""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from analysis.ground.labelled_tables import (
    LABEL,
    USUAL,
    ColumnNames,
    Columns,
    LabelledRow,
    find_columns,
    labelled_rows,
)
from analysis.ground.plain_numbers import decimal_number
from analysis.ground.table_files import columns_of, require_text
from imbert.data import hub, tasks
from imbert.data.split_files import Selection, TableFile, locate
from imbert.data.tasks import OWN, Examples, Task, class_of, expected_labels, is_label


@dataclasses.dataclass(frozen=True)
class TableChoice:
    """How tables of one's own are read.

    Attributes:
        columns: their names.
        splits: the name of each split, of a file in the folder or on the hub, where it has another.
        hub_config: of a dataset of the hub that has several.
    """

    columns: ColumnNames = USUAL
    splits: Mapping[str, str] = dataclasses.field(default_factory=dict)
    hub_config: str | None = None


AS_USUAL = TableChoice()


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """A split of labelled rows, not yet read.

    Attributes:
        columns: that they are read from.
        rows: one at a time.
        place: what an error calls it.
        source: where the rows come from, and what was left out.
        label_names: of labels that are numbers, where the data know them.
    """

    columns: Columns
    rows: Iterator[LabelledRow]
    place: str
    source: str
    label_names: tuple[str, ...] = ()


def read_examples(
    task: str | Task, source: str | Path, split: str, choice: TableChoice = AS_USUAL
) -> Examples:
    """The labelled examples of a split.

    Args:
        task: its name, or a task of one's own.
        source: a folder or a file (see `split_files.locate`); "hub" for the GLUE of the Hugging
            Face hub, "hub:owner/name" for another dataset of it; or a folder that `datasets` saved.
            The last three need `datasets`.
        split: "train", "dev" (of MNLI the matched one), "dev_mismatched" (MNLI) or "test", where it
            has labels. A file that is named as source is read whole, whichever the split, unless
            its name says another one.
        choice: how tables of one's own are read.

    Returns:
        At least one example, in the order of the file. Prepared MNLI training subsets may lack the
        final period of each text: see `without_final_period`.

    Raises:
        ValueError: if task or split is unknown, or a row malformed: the file, the line, what was
            expected and what came.
        OSError: if the file cannot be read.
    """
    kind = tasks.task(task) if isinstance(task, str) else task
    part = read_split(kind.name, kind, source, split, choice)
    return _collect(kind, part)


def read_split(
    task: str, kind: Task | None, source: str | Path, split: str, choice: TableChoice
) -> Split:
    """The rows of a split, with the columns that are named, or those of the task, or the usual
    ones.

    Args:
        task: its name.
        kind: the task; None where it is one's own and not known yet.
        source: see `read_examples`.
        split: likewise.
        choice: likewise.

    Raises:
        ValueError: if there is no such split or column.
        OSError: if the file cannot be read.
    """
    if hub.is_dataset(source):
        name = choice.splits.get(split, split)
        loaded = hub.load(task, str(source), name, choice.hub_config)
        columns = _columns(kind, choice.columns, loaded.columns, loaded.name)
        rows = loaded.rows(columns)
        return Split(columns, rows, loaded.name, loaded.name, loaded.names_of(columns))
    file = locate(task, Path(source), split, choice.splits)
    # the columns of GLUE are known, and a file that lacks one says so where it is read
    known = columns_of(file.path) if kind is None or kind.name == OWN else ()
    columns = _columns(kind, choice.columns, known, file.path)
    if file.selection is None:
        return Split(columns, labelled_rows(file.path, columns), str(file.path), str(file.path))
    note = f"{split} rows by {file.selection.source.name}"
    return Split(
        columns, _selected(file, file.selection, columns), str(file.path), f"{file.path} ({note})"
    )


def without_final_period(examples: Examples) -> Examples:
    """The examples with one final period less in each text that ends in one and is more than that.

    A model that was trained on texts without it should be evaluated on such texts.
    """
    texts = tuple(
        tuple(text.removesuffix(".") if text.strip() != "." else text for text in row)
        for row in examples.texts
    )
    return dataclasses.replace(
        examples, texts=texts, source=f"{examples.source} (without final periods)"
    )


def parse_label(kind: Task, value: object, where: str) -> float:
    """A class or a score from what a file holds: a number, or the name of a class.

    Raises:
        ValueError: if it is no label of the task.
    """
    number: float | None = None
    if kind.labels > 1:
        number = class_of(kind, value)
    # JSON knows numbers; true is a bool, which Python counts among them
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str):
        with contextlib.suppress(ValueError):
            number = decimal_number(value.strip(" \t\r"))
    if number is None or not is_label(kind, number):
        raise ValueError(
            f"{where}: expected a label of {kind.name}, {expected_labels(kind)}, got {value!r}"
            f"{_way_on(kind)}"
        )
    return number


def _way_on(kind: Task) -> str:
    """What to do about a label that is none of the task's classes."""
    if kind.labels == 1:
        return ""
    # the names of GLUE's classes are fixed
    if kind.name != OWN:
        return "; write one of these in the file"
    return (
        "; write one of these in the file, or name the classes as it does: id2label and label2id "
        "in a trained model's config.json, labels in a run's TOML"
    )


def parse_texts(kind: Task, values: Mapping[str, object], where: str) -> tuple[str, ...]:
    """The texts of a row, as they are.

    Raises:
        ValueError: if one is missing, empty or no text.
    """
    return tuple(require_text(values.get(key), key, where) for key in kind.keys)


def _columns(
    kind: Task | None, names: ColumnNames, present: Iterable[str], where: object
) -> Columns:
    """The columns of a task's texts and labels."""
    if kind is None or kind.name == OWN:
        found = find_columns([*present], names, where)
        return found if found.label else Columns(found.texts, (LABEL,))
    texts = kind.keys
    if names.text is not None:
        texts = (names.text,) if names.pair is None else (names.text, names.pair)
    usual = ("score", LABEL) if kind.labels == 1 else (LABEL,)
    return Columns(texts, usual if names.label is None else (names.label,))


def _selected(file: TableFile, selection: Selection, columns: Columns) -> Iterator[LabelledRow]:
    """The rows that the selection keeps; all that it lists must be there."""
    seen = set()
    for row in labelled_rows(file.path, columns, selection.ids.__contains__):
        seen.add(row.id)
        yield row
    missing = selection.ids - seen
    if missing:
        raise ValueError(
            f"{selection.source}: expected every listed row in "
            f"{file.path}, got {len(missing)} that are not there"
        )


def _collect(kind: Task, split: Split) -> Examples:
    texts: list[tuple[str, ...]] = []
    labels: list[float] = []
    ids: list[str] = []
    for row in split.rows:
        label = row.label
        # the data's own names stand for its numbers, whichever order the task has its classes in
        if split.label_names and isinstance(label, int) and 0 <= label < len(split.label_names):
            label = split.label_names[label]
        texts.append(row.texts)
        labels.append(parse_label(kind, label, row.where))
        ids.append(row.id)
    if not texts:
        raise ValueError(f"{split.place}: expected at least one row, got an empty split")
    return Examples(kind, tuple(texts), np.array(labels), tuple(ids), split.source)
