"""Inputs of a classifier measured into a folder: chunk by chunk, so that a killed run loses at most
the chunk in flight.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from analysis.conditioning.pool import measured
from analysis.conditioning.prepare import Prepared, Report
from analysis.conditioning.records import Condition, Input
from analysis.ground.devices import memory_errors
from analysis.ground.files import folder_lock, sweep
from analysis.ground.interrupts import raise_interrupt
from analysis.ground.json_records import digest_of, read_record, write_json, write_record
from analysis.ground.table_files import rows_digest

PLAN = "plan.json"
RECORD = "condition.json"
Progress = Callable[[Iterable[list[Input]], int], Iterable[list[Input]]]


def run(
    prepared: Prepared,
    out: Path,
    warn: Report,
    progress: Progress = lambda chunks, total: chunks,
    workers: int = 1,
) -> Condition:
    """Measure what a folder lacks, and write condition.json.

    Args:
        prepared: what to measure.
        out: the folder; created if needed, continued if it is of the same plan.
        warn: called with one line for each damaged chunk, and for inputs without numbers.
        progress: wraps the stream of measured chunks; the total that it is given counts rows.
        workers: processes to measure in; the numbers do not depend on it.

    Raises:
        ValueError: if the folder belongs to another model, other data or other options, or is in
            use.
        OSError: if it cannot be written; chunks that are there stay.
    """
    with folder_lock(out), memory_errors("shorter texts or fewer --workers need less"):
        _open(out, prepared.plan)
        chunks = progress(_chunks(prepared, out, warn, workers), len(prepared.rows))
        inputs = [row for chunk in chunks for row in chunk]
        record = _record(prepared, sorted(inputs, key=lambda row: row.index))
        write_json(out / RECORD, record)
    if lost := sum(not row.finite for row in record.inputs):
        warn(f"{lost} of {len(record.inputs)} inputs have no finite margin and gradient")
    if unsolved := sum(not row.solved for row in record.inputs):
        warn(
            f"{unsolved} of {len(record.inputs)} inputs or drafts of them have an implicit step "
            "that was not solved: what is measured there is not of the declared model"
        )
    return record


def _chunks(prepared: Prepared, out: Path, warn: Report, workers: int) -> Iterator[list[Input]]:
    """Every chunk, those first that the folder has."""
    plan = digest_of(prepared.plan)
    lacking = []
    for number, members in enumerate(prepared.chunks):
        chunk = _read(_path(out, number), plan, warn)
        if chunk is None:
            lacking.append((number, [prepared.rows[i] for i in members]))
        else:
            yield chunk
    for number, chunk in measured(prepared, lacking, workers):
        write_record(_path(out, number), {"plan": plan, "inputs": chunk})
        yield chunk
        raise_interrupt()


def _path(out: Path, number: int) -> Path:
    return out / "chunks" / f"{number:05d}.json"


def _read(path: Path, plan: str, warn: Report) -> list[Input] | None:
    """A chunk that is there; None where it is not, is damaged, or is of another plan."""
    if not path.exists():
        return None
    try:
        values = read_record(path, dict)
        if values.get("plan") != plan:
            raise ValueError(f"{path}: not a chunk of this run")
        return msgspec.convert(values["inputs"], list[Input])
    except (ValueError, KeyError, msgspec.ValidationError) as error:
        warn(f"damaged chunk, measured again: {error}")
        return None


def _open(out: Path, plan: dict[str, Any]) -> None:
    """Create a folder, or check that an existing one is of the same plan."""
    (out / "chunks").mkdir(exist_ok=True)
    sweep(out / "chunks")
    path = out / PLAN
    if not path.exists():
        if any((out / "chunks").glob("*.json")):
            raise ValueError(f"{out} has chunks but no {PLAN}; choose another folder")
        write_record(path, plan)
        return
    existing = read_record(path, dict)
    names = sorted((existing.keys() | plan.keys()) - {"digest"})
    if differing := [name for name in names if existing.get(name) != plan.get(name)]:
        raise ValueError(
            f"{out} belongs to a run with another {', '.join(differing)}; choose another folder"
        )


def _record(prepared: Prepared, inputs: list[Input]) -> Condition:
    config = prepared.config
    columns = prepared.data.columns
    return Condition(
        model=config.model,
        identity=prepared.plan["model"],
        labels=list(prepared.labels),
        labels_given=bool(columns.label),
        examples=rows_digest(prepared.data.texts, [row.label for row in inputs]),
        families={
            family.name: family.record(config.drafts) for family in prepared.classifier.families
        },
        seed=config.seed,
        layers=len(next(iter(inputs[0].drafts.values())).growth) - 1,
        inputs=inputs,
        versions=prepared.plan["versions"],
        columns=(*columns.texts, *columns.label),
        max_tokens=prepared.classifier.max_tokens,
        dtype=config.dtype,
    )
