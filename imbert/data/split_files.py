"""Where the rows of a task and a split lie: a folder with a file for each split, or one file."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import msgspec

from analysis.ground.json_records import parse_json
from analysis.ground.table_files import SUFFIXES, numbered_lines
from imbert.data.tasks import OWN
from imbert.record_faults import require_type

SPLITS = ("train", "dev", "dev_mismatched", "test")
PREPARE = "examples/finetune/prepare_glue.py"  # of the project
PSEUDO_SPLIT = "qnli_dev_pseudo_split.json"
STEMS = {  # names beside TASK_SPLIT in a folder of all tasks; the first that exists counts
    ("mnli", "train"): ("mnli_train", "mnli_train_subset"),
    ("mnli", "dev"): ("mnli_dev_matched",),
    ("mnli", "dev_mismatched"): ("mnli_dev_mismatched", "mnli_dev_mismatched_hard"),
    ("qqp", "train"): ("qqp_train", "qqp_subset_train"),
    ("qqp", "dev"): ("qqp_dev", "qqp_subset_dev"),
}
RowNumber = Annotated[int, msgspec.Meta(ge=0)]


class _PseudoSplit(msgspec.Struct, frozen=True):
    """QNLI's dev rows by number, in two parts."""

    pseudo_train: list[RowNumber]
    pseudo_dev: list[RowNumber]


@dataclass(frozen=True)
class Selection:
    """Rows of a file by their ids.

    Attributes:
        ids: of the rows to keep, all of which must be there.
        source: the file that lists them.
    """

    ids: frozenset[str]
    source: Path


@dataclass(frozen=True)
class TableFile:
    """A file and which of its rows are meant.

    Attributes:
        path: of the file.
        selection: the rows to keep; None keeps all.
    """

    path: Path
    selection: Selection | None = None


def locate(
    task: str, source: Path, split: str, names: Mapping[str, str] = MappingProxyType({})
) -> TableFile:
    """The file that holds a split of a task.

    Args:
        task: its name.
        source: a folder with `train.tsv`, `dev.csv`, … or with one such folder for each task
            (`sst2/train.tsv`), or with `sst2_train.tsv.gz`, or the one above its `glue`; or one
            file, in whose name `{split}` is replaced.
        split: "train", "dev", "dev_mismatched" (MNLI's) or "test".
        names: of the files of splits in the folder, where they have others.

    Raises:
        ValueError: if there is no such split, the file is named after another one, or the folder
            holds the published archives, which a script prepares.
        OSError: if the source does not exist.
    """
    check_split(task, split)
    named = Path(str(source).replace("{split}", split))
    if not named.exists():
        raise FileNotFoundError(
            f"{source}: no such file or folder for the split {split!r}; "
            "relative paths start at the folder of --data"
        )
    if split in names:
        return TableFile(_named_file(named, split, names[split]))
    if named.is_file():
        return _one_file(named, split, chosen_by_name=named != source)
    for folder in (named, named / "glue"):
        for file in _in_folder(task, folder, split):
            return file
    _require_prepared(task, named)
    wanted = [f"{split}.tsv", *(f"{stem}.tsv.gz" for stem in _stems(task, split))]
    raise ValueError(
        f"{named}: expected the split {split!r} of {task} as "
        f"{', '.join(wanted)} (or .csv, .jsonl, .parquet), got none of them"
    )


def check_split(task: str, split: str) -> None:
    """Raise ValueError if the task has no such split."""
    known = SPLITS if task == "mnli" else tuple(name for name in SPLITS if name != "dev_mismatched")
    if split not in known:
        raise ValueError(f"split of {task} must be one of {', '.join(known)}, got {split!r}")


def _named_file(folder: Path, split: str, name: str) -> Path:
    """The file that the choices name for a split."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder, in which the split {split!r} is {name}")
    if not (folder / name).is_file():
        raise FileNotFoundError(f"{folder / name}: no such file, named for the split {split!r}")
    return folder / name


def _one_file(path: Path, split: str, chosen_by_name: bool) -> TableFile:
    words = path.name.lower().replace(".", "_").replace("-", "_").split("_")
    named = {"validation": "dev", "valid": "dev", "dev": "dev", "train": "train", "test": "test"}
    splits = {named[word] for word in words if word in named}
    if splits and split.removesuffix("_mismatched") not in splits and not chosen_by_name:
        other = " and ".join(sorted(splits))
        raise ValueError(
            f"{path}: expected the split {split!r}, got a file named after "
            f"{other}; write {{split}} in the name for both"
        )
    return TableFile(path)


def _stems(task: str, split: str) -> tuple[str, ...]:
    usual = (
        (f"{task}_{split}", f"{task}_{split}_labeled") if split == "test" else (f"{task}_{split}",)
    )
    return STEMS.get((task, split), usual)


def _existing(folder: Path, stem: str) -> Iterator[Path]:
    yield from (
        path
        for suffix in SUFFIXES
        for end in ("", ".gz")
        if (path := folder / f"{stem}{suffix}{end}").is_file()
    )


def _in_folder(task: str, folder: Path, split: str) -> Iterator[TableFile]:
    """Every file of the folder that could be meant, the likeliest first."""
    has_train = any(True for _ in _existing(folder, "qnli_train"))
    is_split_by_list = (
        task == "qnli"
        and split in ("train", "dev")
        and not has_train
        and (folder / PSEUDO_SPLIT).is_file()
    )
    for stem in _stems(task, split):
        if is_split_by_list:
            yield from (_pseudo_split(path, split) for path in _existing(folder, "qnli_dev"))
        else:
            yield from map(TableFile, _existing(folder, stem))
    if _is_archive(task, folder):
        return
    for place in (folder / task, folder):
        yield from map(TableFile, _existing(place, split))


def _is_archive(task: str, folder: Path) -> bool:
    """Whether a folder has the name under which the task was published, "SST-2" and the like: its
    columns and splits are its own.
    """
    is_published = task != OWN and folder.name != task
    return is_published and re.sub("[^a-z0-9]", "", folder.name.casefold()) == task


def _require_prepared(task: str, folder: Path) -> None:
    """Raise ValueError if a folder is, or holds, the extracted archive of the task."""
    entries = [folder, *sorted(entry for entry in folder.iterdir() if entry.is_dir())]
    for entry in entries:
        if _is_archive(task, entry):
            raise ValueError(
                f"{entry}: expected prepared rows of {task}, got the folder of an extracted "
                f"archive; prepare it with: python {PREPARE} {entry.parent} OUT"
            )


def _pseudo_split(path: Path, split: str) -> TableFile:
    """A fixed split of QNLI's dev rows, for want of its training file."""
    listing = path.parent / PSEUDO_SPLIT
    values = parse_json("".join(line for _, line in numbered_lines(listing)), listing)
    try:
        parts = require_type(values, _PseudoSplit, listing)
    except ValueError as error:
        raise ValueError(
            f"{listing}: expected lists of row numbers pseudo_train and pseudo_dev, {error}"
        ) from None
    train = frozenset(map(str, parts.pseudo_train))
    dev = frozenset(map(str, parts.pseudo_dev))
    if train & dev:
        raise ValueError(
            f"{listing}: expected pseudo_train and pseudo_dev to be "
            f"disjoint, got {len(train & dev)} rows in both"
        )
    return TableFile(path, Selection(dev if split == "dev" else train, listing))
