"""What a plan trains on: files of a GLUE task, or the table that the prediction was made on."""

import dataclasses
import json
from pathlib import Path

from analysis.ground.labelled_tables import (
    ColumnNames,
    LabelledTable,
    holds_edits,
    read_labelled,
)
from analysis.ground.table_classes import classes_of
from analysis.ground.table_files import columns_of
from analysis.ground.table_guard import is_table

HELD_OUT = 500  # rows at most to choose a checkpoint by, and to measure on
PARTS = 5  # of a table, of which one is held out
EXAMPLES = 500  # that are attacked
FEWEST = 3  # rows: one each to train on, to choose by and to measure on
SPLITS = ("train", "dev")


@dataclasses.dataclass(frozen=True)
class PlanData:
    """The rows of a plan.

    Attributes:
        task: "sst2" of GLUE, or "own".
        where: where --data leads, as a comment of the plan says it.
        lines: of its [data] table, without the task.
        examples: that are attacked, at most.
    """

    task: str
    where: str
    lines: tuple[str, ...]
    examples: int

    @property
    def told(self) -> str:
        """The rows in words."""
        return "SST-2" if self.task == "sst2" else "the rows of your table"


GLUE = PlanData(
    "sst2",
    " --data DIR",
    (
        'source = "."',
        f"validation = {HELD_OUT}  # rows held out of the training file to choose the checkpoint",
    ),
    EXAMPLES,
)


def plan_data(texts: Path | None, names: ColumnNames) -> PlanData:
    """The rows of the table that a prediction was made on, where it has classes; else GLUE's.

    A table whose labels are no classes, as scores are none, or of too few rows is treated as one
    without labels.

    A table of one file is trained on and measured on in parts; where the files of training and dev
    lie beside each other, both are read.

    Args:
        texts: the file of texts; None are those built in.
        names: of its columns.

    Raises:
        ValueError: if the table is malformed.
        OSError: if it cannot be read.
    """
    if texts is None or not (names.given or is_table(texts)):
        return GLUE
    if holds_edits(columns_of(texts), names):
        return GLUE
    source = _both_splits(texts)
    table = read_labelled(Path(str(source).replace("{split}", SPLITS[0])), names)
    if not _has_classes(table):
        return GLUE
    columns = dict(zip(("text_column", "pair_column"), table.columns.texts, strict=False))
    columns["label_column"] = table.columns.label[0]
    rows = len(table.rows)
    lines = [f"source = {_quoted(str(source))}"]
    lines += [f"{option} = {_quoted(name)}" for option, name in columns.items()]
    examples = EXAMPLES
    if source == texts.resolve():
        examples = _part(rows)
        rows -= examples
        lines.append(f"dev_rows = {examples}  # rows of the table to measure on")
    lines.append(f"validation = {_part(rows)}  # rows held out to choose the checkpoint")
    return PlanData("own", "", tuple(lines), examples)


def _has_classes(table: LabelledTable) -> bool:
    """Whether a model can learn the labels of a table and be attacked on them."""
    if not table.columns.label or len(table.rows) < FEWEST:
        return False
    try:
        classes_of(table.rows, table.columns.label[0], table.source)
    except ValueError:
        return False
    return True


def _quoted(text: str) -> str:
    """A string of TOML, which has no surrogate pairs, as JSON has them."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _part(rows: int) -> int:
    """How many rows are held out of so many."""
    return max(1, min(HELD_OUT, rows // PARTS))


def _both_splits(texts: Path) -> Path:
    """The file, or where its name is that of a split and the other one lies beside it, with
    {split} in its name.
    """
    path = texts.resolve()
    for split in SPLITS:
        template = path.with_name(path.name.replace(split, "{split}", 1))
        files = [Path(str(template).replace("{split}", name)) for name in SPLITS]
        if template != path and all(file.is_file() for file in files):
            return template
    return path
