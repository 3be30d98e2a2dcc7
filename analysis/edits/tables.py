"""The tables of `odestab edits`: one row for each combination of labels, numbers alone."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from analysis.edits.records import Edit, Edits, Number, Point
from analysis.ground.write_tables import FORMATS, write_table

NOWHERE: Point = (None, None)


def write_tables(record: Edits, out: Path, form: str) -> list[Path]:
    """Write every table, each file whole or not at all; none of another format stays beside it.

    Args:
        record: of what was measured.
        out: folder of the files.
        form: "csv" or "parquet".

    Raises:
        OSError: if a file cannot be written.
    """
    tables = {
        "pairs": _pairs(record),
        "steps": _steps(record),
        "levels": _levels(record),
        "tokens": _tokens(record),
        "damping": _damping(record),
    }
    out.mkdir(parents=True, exist_ok=True)
    for other in set(FORMATS) - {form}:
        for name in tables:
            (out / f"{name}.{other}").unlink(missing_ok=True)
    return [write_table(pd.DataFrame(rows), out, name, form) for name, rows in tables.items()]


def _named(edit: Edit) -> dict[str, int | str]:
    return {"pair": edit.index, "kind": edit.kind}


def _pairs(record: Edits) -> Iterator[dict[str, object]]:
    for edit in record.edits:
        answer = edit.answer
        row: dict[str, object] = {
            **_named(edit),
            "cluster": edit.cluster,
            "tokens_original": edit.counts[0],
            "tokens_edited": edit.counts[1],
            "shared": edit.shared,
            **{mark: edit.marks.count(mark) for mark in ("changed", "removed", "inserted")},
        }
        for name in ("label", "margin_before", "margin_after", "flipped", "gain", "gain_read"):
            row[name] = None if answer is None else getattr(answer, name)
        yield row


def _steps(record: Edits) -> Iterator[dict[str, object]]:
    for edit in record.edits:
        for method, walk in edit.walks.items():
            for step, name in enumerate(record.steps):
                end = walk.end[step] if walk.end else NOWHERE
                yield {
                    **_named(edit),
                    "layer": name,
                    "method": method,
                    "step_size": walk.step_sizes[step],
                    "growth": walk.growth[step],
                    "log_growth": walk.log_growth[step],
                    "by_secant": walk.by_secant[step],
                    "predicted": walk.predicted[step],
                    **_parts("start", walk.start[step]),
                    **_parts("end", end),
                    "converged": walk.converged[step],
                }


def _parts(name: str, point: Point) -> dict[str, Number]:
    return {f"{name}_re": point[0], f"{name}_im": point[1]}


def _levels(record: Edits) -> Iterator[dict[str, object]]:
    for edit in record.edits:
        for level in range(record.layers + 1):
            yield {
                **_named(edit),
                "level": level,
                **{f"size_{name}": walk.sizes[level] for name, walk in edit.walks.items()},
                "size_whole": edit.size_whole[level],
                "size_first": edit.size_first[level],
                "size_read": edit.size_read[level],
            }


def _tokens(record: Edits) -> Iterator[dict[str, object]]:
    for edit in record.edits:
        for level, sizes in enumerate(edit.size_tokens):
            for column, (mark, size) in enumerate(zip(edit.marks, sizes, strict=True)):
                yield {
                    **_named(edit),
                    "level": level,
                    "column": column,
                    "mark": mark,
                    "size": size,
                }


def _damping(record: Edits) -> Iterator[dict[str, object]]:
    for row in record.damping:
        named = {name: row[name] for name in row.__struct_fields__}
        yield {**named, "layer": record.steps[named.pop("step")]}
