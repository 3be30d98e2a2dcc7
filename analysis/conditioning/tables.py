"""The inputs of a record as one table, beside the texts that the record itself leaves out."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from analysis.conditioning.records import Condition, Input
from analysis.ground import write_tables
from analysis.ground.text_edits import Edited, Texts

Weakest = Sequence[Mapping[str, Edited]]


def table(record: Condition, texts: Sequence[Texts], drafts: Weakest) -> pd.DataFrame:
    """A row for each input, the most fragile first; what is not a number is empty.

    Args:
        record: of the inputs.
        texts: of each input, in the order of the file.
        drafts: `weakest_of` each input, in that order.
    """
    ranked = record.ranked()
    return pd.DataFrame(
        [
            _cells(record, row, texts[row.index], drafts[row.index], rank)
            for rank, row in enumerate(ranked, 1)
        ]
    )


def _cells(
    record: Condition, row: Input, texts: Texts, drafts: Mapping[str, Edited], rank: int
) -> dict[str, object]:
    first: dict[str, object] = {"rank": rank, "row": row.index}
    rest = _measured(record, row, texts, drafts)
    named: dict[str, object] = {}
    for column, text in zip(record.columns, texts, strict=False):
        name = column
        # a column of texts hides no other
        while any(name in columns for columns in (first, named, rest)):
            name = f"text_{name}"
        named[name] = text
    return first | named | rest


def _measured(
    record: Condition, row: Input, texts: Texts, drafts: Mapping[str, Edited]
) -> dict[str, object]:
    """What is known of an input beside its texts."""
    cells: dict[str, object] = {
        "label": record.labels[row.label],
        "predicted": record.labels[row.predicted],
    }
    cells |= {name: getattr(row, name) for name in MEASURED}
    steepest = row.steepest
    cells |= {
        "steepest_word": steepest and steepest.word(texts),
        "steepest_share": steepest and steepest.share,
    }
    for family, drafted in row.drafts.items():
        cells |= {f"{family}_{name}": getattr(drafted, name) for name in DRAFTED}
        cells[f"{family}_draft"] = drafts[family].text if family in drafts else None
        cells |= {
            f"{family}_growth_{level}": value for level, value in enumerate(drafted.growth) if level
        }
    return cells


MEASURED = (
    "margin",
    "gradient",
    "distance",
    "relative",
    "flat",
    "finite",
    "words",
    "tokens",
    "truncated",
    "solved",
)
DRAFTED = ("count", "spread", "least", "flipped")


def write_table(
    record: Condition, texts: Sequence[Texts], drafts: Weakest, out: Path, form: str
) -> Path:
    """Write the table as inputs.csv or inputs.parquet, whole or not at all.

    Raises:
        ValueError: if the format is another one.
        OSError: if it cannot be written.
    """
    return write_tables.write_table(table(record, texts, drafts), out, "inputs", form)
