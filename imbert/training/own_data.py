"""An own task made whole: its columns from the header, its classes from the labels of its training
file.
"""

from collections.abc import Sequence
from pathlib import Path

from msgspec import UNSET, structs

from analysis.ground.json_records import read_json
from analysis.ground.table_classes import classes_of
from imbert.data import hub
from imbert.data.read_examples import read_split
from imbert.data.split_files import locate
from imbert.data.tasks import OWN
from imbert.toml_tables import Plain
from imbert.training.run_config import DataChoice, RunConfig


def resolved(run: RunConfig, data: Path) -> RunConfig:
    """The run with columns and names of classes filled in, where its task is one's own.

    Args:
        run: its choices.
        data: where relative paths start.

    Raises:
        ValueError: if the training file has no such columns or no classes, or is the dev file too.
        OSError: if it cannot be read.
    """
    if run.data.task != OWN:
        return run
    if run.evaluate.dev:
        _require_apart(run.data, data)
    return structs.replace(run, data=_filled(run.data, data, "train"))


def filled_values(choice: DataChoice) -> dict[str, Plain]:
    """What of a choice was filled in, as a [data] table has it."""
    names = ("text_column", "pair_column", "label_column", "labels")
    values = {name: getattr(choice, name) for name in names}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if value is not UNSET
    }


def measured(run: RunConfig, data: Path, checkpoint: Path) -> RunConfig:
    """The run with the columns of its dev file, and the classes that a checkpoint names, filled in
    where its task is one's own.

    Raises:
        ValueError: if the file has no such columns, or the checkpoint no classes.
        OSError: if a file cannot be read.
    """
    if run.data.task != OWN:
        return run
    choice = run.data
    if not choice.labels and not choice.regression:
        names = _names_of(checkpoint)
        choice = structs.replace(choice, **({"labels": names} if names else {"regression": True}))
    return structs.replace(run, data=_filled(choice, data, "dev"))


def source_of(choice: DataChoice, data: Path) -> str | Path:
    """Where the rows lie: a path, or what names the hub."""
    is_hub = choice.source == "hub" or choice.source.startswith(hub.OTHER)
    return choice.source if is_hub else data / choice.source


def split_of(choice: DataChoice, split: str) -> str:
    """Where the rows of a split are read: those of dev beside those to train on, where they are
    held out of them.
    """
    return "train" if split == "dev" and choice.dev_rows else split


def _filled(choice: DataChoice, data: Path, split: str) -> DataChoice:
    """The choice with its columns, and the classes of that split where none are named."""
    part = read_split(OWN, None, source_of(choice, data), split_of(choice, split), choice.table())
    columns = dict(zip(("text_column", "pair_column"), part.columns.texts, strict=False))
    choice = structs.replace(choice, **columns, label_column=part.columns.label[0])
    if choice.labels or choice.regression:
        return choice
    names = part.label_names or classes_of(part.rows, part.columns.label[0], part.place)
    return structs.replace(choice, labels=names)


def _names_of(checkpoint: Path) -> Sequence[str]:
    """What a checkpoint calls its outputs, numbers where it does not; none of a regression."""
    config = read_json(checkpoint / "config.json")
    names = config.get("id2label") if isinstance(config, dict) else None
    if not isinstance(names, dict) or not all(key.isdecimal() for key in names):
        names = {"0": "LABEL_0", "1": "LABEL_1"}  # transformers' default, which it does not write
    if len(names) == 1:
        return ()
    ordered = [str(names[key]) for key in sorted(names, key=int)]
    made_up = all(name == f"LABEL_{place}" for place, name in enumerate(ordered))
    return tuple(map(str, range(len(ordered)))) if made_up else tuple(ordered)


def _require_apart(choice: DataChoice, data: Path) -> None:
    """Refuse to measure a model on the rows that it learns from."""
    if choice.dev_rows:
        return
    source = source_of(choice, data)
    names = choice.splits or {}
    if hub.is_dataset(source):
        own = [
            hub.SPLITS.get(name, name)
            for name in (names.get("train", "train"), names.get("dev", "dev"))
        ]
        if own[0] == own[1] or hub.is_one_split(source):
            raise ValueError(
                f"{source}: expected another split for dev than for training, got {own[0]} alone; "
                "dev_rows = N holds N of its rows out"
            )
        return
    files = [locate(OWN, Path(source), split, names).path for split in ("train", "dev")]
    if files[0].samefile(files[1]):
        raise ValueError(
            f"{files[0]}: expected another file for dev than for training; write {{split}} in its "
            "name, or dev_rows = N to hold N of its rows out"
        )
