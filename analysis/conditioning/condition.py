"""Inputs of a classifier measured into a folder: chunk by chunk, so that a killed run loses at most
the chunk in flight.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import torch

import odestab as od
from analysis.cells import chunks
from analysis.conditioning.config import ConditionConfig
from analysis.conditioning.drafts import AbstractDrafts, CharacterDrafts, WordDrafts, words_of
from analysis.conditioning.measure import Classifier, Row, measure
from analysis.conditioning.neighbours import SOURCE, nearest_words
from analysis.conditioning.records import Condition, Input
from analysis.conditioning.rows import Rows, read_rows, resolve_labels
from analysis.ground.files import folder_lock, sweep
from analysis.ground.identity import file_digest, model_identity
from analysis.ground.interrupts import raise_interrupt
from analysis.ground.json_records import digest_of, read_record, write_json, write_record
from analysis.ground.synonyms import load_synonyms
from analysis.ground.table_files import rows_digest
from analysis.ground.versions import versions

PLAN = "plan.json"
RECORD = "condition.json"
Report = Callable[[str], None]
Progress = Callable[[Iterable[list[Input]], int], Iterable[list[Input]]]


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """A loaded classifier with the inputs to measure.

    Attributes:
        config: the choices.
        classifier: with its families of drafts.
        data: the table.
        rows: to measure.
        labels: names of the outputs.
        plan: what a folder is continued by.
    """

    config: ConditionConfig
    classifier: Classifier
    data: Rows
    rows: tuple[Row, ...]
    labels: tuple[str, ...]
    plan: dict[str, Any]

    @property
    def chunks(self) -> list[tuple[int, ...]]:
        """Rows measured together, by index."""
        lengths = [row.tokens for row in self.rows]
        return chunks([*range(len(self.rows))], lengths, self.config.chunk)


def prepare(config: ConditionConfig, warn: Report) -> Prepared:
    """Read the table, load the classifier and the families of drafts.

    Args:
        config: the choices.
        warn: called with one line where texts are cut.

    Raises:
        ValueError: if the table, the model or a choice is wrong; one line.
        OSError: if a file cannot be read.
    """
    data = read_rows(config.data, config.text_column, config.pair_column, config.label_column)
    model, tokenizer = od.load_classifier(config.model, getattr(torch, config.dtype), config.device)
    names = _names(model, config.model)
    labels = resolve_labels(data, names)
    limit = od.position_limit(model)
    longest = tokenizer.model_max_length
    max_tokens = int(longest if limit is None else min(longest, limit))
    rows = _rows(data, labels, tokenizer)
    families = tuple(_family(name, config, model, tokenizer, data) for name in config.families)
    if cut := sum(row.tokens > max_tokens for row in rows):
        count = "1 text is" if cut == 1 else f"{cut} texts are"
        warn(f"{count} longer than the {max_tokens} tokens that the model takes, and cut there")
    classifier = Classifier(model, tokenizer, max_tokens, families, config.drafts, config.seed)
    plan = _plan(config, data, labels, classifier)
    return Prepared(config, classifier, data, rows, names, plan)


def run(
    prepared: Prepared,
    out: Path,
    warn: Report,
    progress: Progress = lambda measured, total: measured,
) -> Condition:
    """Measure what a folder lacks, and write condition.json.

    Args:
        prepared: what to measure.
        out: the folder; created if needed, continued if it is of the same plan.
        warn: called with one line for each damaged chunk, and for inputs without numbers.
        progress: wraps the stream of measured chunks, of all of which the rows are counted.

    Raises:
        ValueError: if the folder belongs to another model, other data or other options, or is in
            use.
        OSError: if it cannot be written; chunks that are there stay.
    """
    with folder_lock(out):
        _open(out, prepared.plan)
        if prepared.config.device == "cpu":
            torch.set_num_threads(1)
        measured = [
            row
            for chunk in progress(_chunks(prepared, out, warn), len(prepared.rows))
            for row in chunk
        ]
        record = _record(prepared, sorted(measured, key=lambda row: row.index))
        write_json(out / RECORD, record)
    if lost := sum(not row.finite for row in record.inputs):
        warn(f"{lost} of {len(record.inputs)} inputs have no finite margin and gradient")
    return record


def _chunks(prepared: Prepared, out: Path, warn: Report) -> Iterator[list[Input]]:
    """Every chunk, those that the folder has from there."""
    plan = digest_of(prepared.plan)
    for number, members in enumerate(prepared.chunks):
        path = out / "chunks" / f"{number:05d}.json"
        chunk = _read(path, plan, warn)
        if chunk is None:
            chunk = measure(prepared.classifier, [prepared.rows[i] for i in members])
            write_record(path, {"plan": plan, "inputs": chunk})
        yield chunk
        raise_interrupt()


def _read(path: Path, plan: str, warn: Report) -> list[Input] | None:
    """A chunk that is there; None where it is not, is damaged, or is of another plan."""
    if not path.exists():
        return None
    try:
        values = read_record(path, dict)
        if values.get("plan") != plan:
            raise ValueError(f"{path}: not a chunk of this run")
        return msgspec.convert(values["inputs"], list[Input])
    except (ValueError, KeyError) as error:
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


def _names(model: Any, name: str) -> tuple[str, ...]:
    """The names of the outputs.

    Raises:
        ValueError: if there is one output, or the head is of another kind.
    """
    count = int(model.config.num_labels)
    if count < 2:
        raise ValueError(
            f"model {name!r} must have at least 2 outputs, got {count}: a regression has no margin"
        )
    return tuple(str(model.config.id2label.get(output, output)) for output in range(count))


def _rows(data: Rows, labels: tuple[int, ...] | None, tokenizer: Any) -> tuple[Row, ...]:
    columns = [list(column) for column in zip(*data.texts, strict=True)]
    counted = tokenizer(*columns, verbose=False)["input_ids"]
    given = labels or (None,) * len(data.texts)
    return tuple(
        Row(index, texts, len(ids), label)
        for index, (texts, ids, label) in enumerate(zip(data.texts, counted, given, strict=True))
    )


def _family(
    name: str, config: ConditionConfig, model: Any, tokenizer: Any, data: Rows
) -> AbstractDrafts:
    if name == CharacterDrafts.name:
        return CharacterDrafts(config.max_edits)
    if config.synonyms is None:
        matrix = model.get_input_embeddings().weight
        mates = nearest_words(tokenizer, matrix, words_of(data.texts))
        return WordDrafts(mates, SOURCE, config.max_edits)
    told = f"synonyms in {config.synonyms.name}, sha256 {file_digest(config.synonyms)}"
    if config.antonyms is not None:
        told += (
            f", without the antonyms in {config.antonyms.name}, sha256 "
            f"{file_digest(config.antonyms)}"
        )
    return WordDrafts(load_synonyms(config.synonyms, config.antonyms), told, config.max_edits)


def _plan(
    config: ConditionConfig, data: Rows, labels: tuple[int, ...] | None, classifier: Classifier
) -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "model": model_identity(config.model).as_dict(),
        "data": rows_digest(data.texts, labels or [-1] * len(data.texts)),
        "columns": [*data.columns.texts, data.columns.label],
        "families": {
            family.name: msgspec.to_builtins(family.record(config.drafts))
            for family in classifier.families
        },
        "seed": config.seed,
        "device": config.device,
        "dtype": config.dtype,
        "chunk": config.chunk,
        "versions": versions(),
    }


def _record(prepared: Prepared, inputs: list[Input]) -> Condition:
    config = prepared.config
    columns = prepared.data.columns
    return Condition(
        model=config.model,
        identity=prepared.plan["model"],
        labels=list(prepared.labels),
        labels_given=columns.label is not None,
        examples=rows_digest(prepared.data.texts, [row.label for row in inputs]),
        families={
            family.name: family.record(config.drafts) for family in prepared.classifier.families
        },
        seed=config.seed,
        layers=int(prepared.classifier.model.config.num_hidden_layers),
        inputs=inputs,
        versions=prepared.plan["versions"],
        columns=(*columns.texts, *(() if columns.label is None else (columns.label,))),
        max_tokens=prepared.classifier.max_tokens,
        dtype=config.dtype,
    )
