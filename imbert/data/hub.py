"""Datasets of the Hugging Face hub, and folders that `datasets` saved."""

import importlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.ground.labelled_tables import Columns, LabelledRow, checked_rows, row_of
from imbert.data.split_files import check_split
from imbert.data.tasks import OWN

GLUE = "nyu-mll/glue"
OTHER = "hub:"  # before the id of another dataset
ONE = "state.json"  # in a folder of one split that was saved
SAVED = ("dataset_dict.json", ONE)  # of several, and of one
SPLITS = {"dev": "validation"}  # what the hub calls ours
MATCHED = {  # of MNLI
    "dev": "validation_matched",
    "dev_mismatched": "validation_mismatched",
    "test": "test_matched",
}


@dataclass(frozen=True, eq=False)
class Loaded:
    """A split of a dataset.

    Attributes:
        dataset: of the package `datasets`, or rows by the names of their columns.
        name: what an error calls it.
    """

    dataset: Any
    name: str

    @property
    def columns(self) -> list[str]:
        """Their names."""
        return list(getattr(self.dataset, "column_names", ()))

    def rows(self, columns: Columns) -> Iterator[LabelledRow]:
        """Its rows, numbered from 1.

        Raises:
            ValueError: if there is no such column, or a text is empty.
        """
        for names in (*((name,) for name in columns.texts), columns.label):
            # a dataset of rows alone, without a header, says nothing of its columns
            if self.columns and not set(names) & set(self.columns):
                raise ValueError(
                    f"{self.name}: expected a column {' or '.join(names)}, got "
                    f"{', '.join(self.columns)}"
                )
        return checked_rows(
            (row_of(number, row, columns) for number, row in enumerate(self.dataset, start=1)),
            columns,
            self.name,
        )

    def names_of(self, columns: Columns) -> tuple[str, ...]:
        """The names that the dataset has for labels that are numbers; none where it has none."""
        features = getattr(self.dataset, "features", None) or {}
        known = [features[name] for name in columns.label if name in features]
        return tuple(getattr(known[0], "names", None) or ()) if known else ()


def is_dataset(source: str | Path) -> bool:
    """Whether a source is read by `datasets`: the hub, or a folder that it saved."""
    return str(source) == "hub" or str(source).startswith(OTHER) or is_saved(Path(source))


def is_saved(folder: Path) -> bool:
    """Whether `datasets` saved this folder."""
    return any((folder / name).is_file() for name in SAVED)


def is_one_split(source: str | Path) -> bool:
    """Whether `datasets` saved one split in this folder, which is read whole as any split."""
    return (Path(source) / ONE).is_file()


def load(task: str, source: str, split: str, config: str | None = None) -> Loaded:
    """A split of a dataset.

    Args:
        task: its name; of the hub's GLUE it is the configuration too.
        source: "hub", "hub:owner/name" or a folder that `datasets` saved.
        split: ours, or the dataset's own name.
        config: of a dataset that has several.

    Raises:
        ValueError: if `datasets` is not installed, or cannot load it, as without a network; one
            line.
    """
    if source == "hub":
        if task == OWN:
            raise ValueError("source 'hub' has the tasks of GLUE alone; write hub:owner/name")
        check_split(task, split)
        own = (MATCHED if task == "mnli" else SPLITS).get(split, split)
        dataset = _loaded(source, f"{GLUE} {task} {own}", GLUE, task, split=own)
        return Loaded(dataset, f"{GLUE}/{task}/{own}")
    own = SPLITS.get(split, split)
    if source.startswith(OTHER):
        name = source.removeprefix(OTHER)
        words = " ".join(part for part in (name, config, own) if part)
        names = (name,) if config is None else (name, config)
        return Loaded(_loaded(source, words, *names, split=own), words.replace(" ", "/"))
    return Loaded(_of_folder(source, split), f"{source}/{split}")


def _loaded(source: str, words: str, *names: str, split: str) -> Any:
    datasets = _package(source)
    retries = logging.getLogger("huggingface_hub")
    level = retries.level
    retries.setLevel(logging.ERROR)  # offline, it tells each of a dozen attempts
    try:
        return datasets.load_dataset(*names, split=split)
    except Exception as error:  # offline, it raises errors of half a dozen packages
        raise ValueError(
            f"source {source!r}: expected to load {words}, got {_reason(error)}"
        ) from error
    finally:
        retries.setLevel(level)


def _of_folder(folder: str, split: str) -> Any:
    """A split of a folder that `datasets` saved; one of a single split is read whole."""
    datasets = _package(folder)
    try:
        saved = datasets.load_from_disk(folder)
    except Exception as error:  # of a damaged folder, likewise
        raise ValueError(f"{folder}: expected a saved dataset, got {_reason(error)}") from error
    if not isinstance(saved, dict):
        return saved
    for name in (split, SPLITS.get(split, split)):
        if name in saved:
            return saved[name]
    raise ValueError(
        f"{folder}: expected the split {split!r}, got {', '.join(saved)}; name the one meant, "
        f'as in splits = {{ {split} = "{next(iter(saved), "train")}" }}'
    )


def _package(source: str) -> Any:
    try:
        return importlib.import_module("datasets")
    except ImportError as error:
        raise ValueError(
            f"source {source!r} needs the package datasets, which is not installed: {error}"
        ) from error


def _reason(error: Exception) -> str:
    """An error in one line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"{type(error).__name__}: {lines[0]}"
