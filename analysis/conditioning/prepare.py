"""What `odestab condition` measures, ready: table, classifier and families of drafts."""

import dataclasses
from collections.abc import Callable
from typing import Any

import msgspec
import torch

import odestab as od
from analysis.cells import chunks
from analysis.conditioning.config import ConditionConfig
from analysis.conditioning.drafts import AbstractDrafts, CharacterDrafts, WordDrafts, words_of
from analysis.conditioning.measure import Classifier, Row
from analysis.conditioning.neighbours import SOURCE, nearest_words
from analysis.conditioning.records import Drafted, Input
from analysis.ground.answers import margins_decide
from analysis.ground.devices import require_device
from analysis.ground.identity import file_digest, model_identity
from analysis.ground.labelled_tables import (
    ColumnNames,
    LabelledTable,
    read_labelled,
    resolve_labels,
)
from analysis.ground.synonyms import load_synonyms
from analysis.ground.table_files import rows_digest
from analysis.ground.versions import versions

Report = Callable[[str], None]


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
    data: LabelledTable
    rows: tuple[Row, ...]
    labels: tuple[str, ...]
    plan: dict[str, Any]

    @property
    def chunks(self) -> list[tuple[int, ...]]:
        """Rows measured together, by index."""
        lengths = [row.tokens for row in self.rows]
        padded = od.takes_padding(self.classifier.model)
        return chunks([*range(len(self.rows))], lengths, self.config.chunk, padded)


def prepare(config: ConditionConfig, warn: Report) -> Prepared:
    """Read the table, load the classifier and the families of drafts.

    Args:
        config: the choices.
        warn: called with one line where texts are cut, and where words are drafted without a table.

    Raises:
        ValueError: if the table, the model or a choice is wrong; one line.
        OSError: if a file cannot be read.
    """
    require_device(config.device, config.dtype)
    columns = ColumnNames(config.text_column, config.pair_column, config.label_column)
    data = read_labelled(config.data, columns)
    classifier = load(config, data)
    model_config = classifier.model.config
    outputs = range(model_config.num_labels)
    names = tuple(str(model_config.id2label.get(output, output)) for output in outputs)
    labels = resolve_labels(data, names, config.labels)
    rows = _rows(data, labels, classifier.tokenizer)
    if cut := sum(row.tokens > classifier.max_tokens for row in rows):
        count = "1 text is" if cut == 1 else f"{cut} texts are"
        most = "are read" if _cuts(config, classifier.tokenizer) else "the model takes"
        warn(f"{count} longer than the {classifier.max_tokens} tokens that {most}, and cut there")
    if "words" in config.families and config.synonyms is None:
        warn(
            "without --synonyms a word is replaced by near neighbours in the model's own word "
            "embeddings, opposites among them (easy, difficult): a flip by words may be right"
        )
    plan = _plan(config, data, labels, classifier)
    return Prepared(config, classifier, data, rows, names, plan)


def load(config: ConditionConfig, data: LabelledTable) -> Classifier:
    """The classifier with its families of drafts, which is all that a worker process needs.

    Raises:
        ValueError: if the model or a table of words is wrong.
        OSError: if a file cannot be read.
    """
    if config.device == "cpu":
        torch.set_num_threads(1)  # equal numbers in one process and in several
    model, tokenizer = od.load_classifier(config.model, getattr(torch, config.dtype), config.device)
    _require_margins(model, config.model)
    most = tokenizer.model_max_length
    max_tokens = most if config.max_tokens is None else min(config.max_tokens, most)
    _require_length(max_tokens, tokenizer, len(data.columns.texts))
    families = tuple(_family(name, config, model, tokenizer, data) for name in config.families)
    return Classifier(model, tokenizer, max_tokens, families, config.drafts, config.seed)


def _require_margins(model: Any, name: str) -> None:
    """Raise ValueError if there is one output, or none of several is the answer."""
    count = int(model.config.num_labels)
    if count < 2:
        raise ValueError(
            f"model {name!r} must have at least 2 outputs, got {count}: a regression has no margin"
        )
    if not margins_decide(model.config):
        raise ValueError(
            f"model {name!r} must answer with one of its outputs, got problem_type "
            f"{model.config.problem_type!r}: its outputs have no margin"
        )


def _cuts(config: ConditionConfig, tokenizer: Any) -> bool:
    """Whether fewer tokens are read than the model takes."""
    return config.max_tokens is not None and config.max_tokens < tokenizer.model_max_length


def _require_length(max_tokens: int, tokenizer: Any, texts: int) -> None:
    """Raise ValueError if not one token of each text would be left between the special ones."""
    least = tokenizer.num_special_tokens_to_add(pair=texts > 1) + texts
    if max_tokens < least:
        raise ValueError(
            f"max_tokens must be >= {least}, the special tokens and one of each text, "
            f"got {max_tokens}"
        )


def _rows(data: LabelledTable, labels: tuple[int, ...] | None, tokenizer: Any) -> tuple[Row, ...]:
    columns = [list(column) for column in zip(*data.texts, strict=True)]
    counted = tokenizer(*columns, verbose=False)["input_ids"]
    given = labels or (None,) * len(data.texts)
    return tuple(
        Row(index, texts, len(ids), label)
        for index, (texts, ids, label) in enumerate(zip(data.texts, counted, given, strict=True))
    )


def _family(
    name: str, config: ConditionConfig, model: Any, tokenizer: Any, data: LabelledTable
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
    config: ConditionConfig,
    data: LabelledTable,
    labels: tuple[int, ...] | None,
    classifier: Classifier,
) -> dict[str, Any]:
    """What the numbers depend on."""
    cut = {}
    if _cuts(config, classifier.tokenizer):
        cut = {"max_tokens": classifier.max_tokens}
    return cut | {
        "model": model_identity(config.model).as_dict(),
        "data": rows_digest(data.texts, labels or [-1] * len(data.texts)),
        "columns": [*data.columns.texts, *(data.columns.label or (None,))],
        "families": {
            family.name: msgspec.to_builtins(family.record(config.drafts))
            for family in classifier.families
        },
        "seed": config.seed,
        "device": config.device,
        "dtype": config.dtype,
        "chunk": config.chunk,
        # a chunk from before a field has no value for it
        "fields": [*Input.__struct_fields__, *Drafted.__struct_fields__],
        "versions": versions(),
    }
