"""Where the rows of a task and a split lie: prepared GLUE folders, the extracted GLUE archives, or
one file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypedDict

from analysis.ground.json_records import Within, parse_json, require
from imbert.data.table_files import SUFFIXES, Row, numbered_lines

SPLITS = ("train", "dev", "dev_mismatched", "test")
PSEUDO_SPLIT = "qnli_dev_pseudo_split.json"
ARCHIVES = {
    "sst2": "SST-2",
    "mrpc": "MRPC",
    "qqp": "QQP",
    "stsb": "STS-B",
    "mnli": "MNLI",
    "qnli": "QNLI",
    "rte": "RTE",
    "cola": "CoLA",
    "wnli": "WNLI",
}
COLA_HEADER = (
    "source",
    "label",
    "star",
    "sentence",
)  # the published train.tsv and dev.tsv have none
PAIR_IDS = ("#1 ID", "#2 ID")
STEMS = {  # names in a prepared folder, where they are not TASK_SPLIT; the first that exists counts
    ("mnli", "train"): ("mnli_train", "mnli_train_subset"),
    ("mnli", "dev"): ("mnli_dev_matched",),
    ("mnli", "dev_mismatched"): ("mnli_dev_mismatched", "mnli_dev_mismatched_hard"),
    ("qqp", "train"): ("qqp_train", "qqp_subset_train"),
    ("qqp", "dev"): ("qqp_dev", "qqp_subset_dev"),
}


class _PseudoSplit(TypedDict):
    """QNLI's dev rows by number, in two parts."""

    pseudo_train: list[Annotated[int, Within(0)]]
    pseudo_dev: list[Annotated[int, Within(0)]]


@dataclass(frozen=True)
class Selection:
    """Rows of a file by the values of some columns.

    Attributes:
        columns: whose values are compared.
        members: the listed values.
        inside: keep the listed rows, or the others.
        source: the file that lists them.
    """

    columns: tuple[str, ...]
    members: frozenset[tuple[str, ...]]
    inside: bool
    source: Path

    def of(self, row: Row) -> tuple[str, ...]:
        """A row's values in those columns."""
        return tuple(str(row.values.get(column)) for column in self.columns)


@dataclass(frozen=True)
class TableFile:
    """A file and how to read it.

    Attributes:
        path: of the file.
        header: its columns, where it has no first line of names.
        selection: the rows to keep; None keeps all.
        leaves_out_incomplete: rows that lack a text are left out and counted, not refused.
    """

    path: Path
    header: tuple[str, ...] | None = None
    selection: Selection | None = None
    leaves_out_incomplete: bool = False


def locate(task: str, source: Path, split: str) -> TableFile:
    """The file that holds a split of a task.

    Args:
        task: its name.
        source: a prepared folder (`sst2_train.tsv.gz`), or the one above its `glue`; the folder of
            the extracted GLUE archives (`SST-2/train.tsv`) or one of them; a folder with
            `train.tsv`, `dev.csv`, …; or one file, in whose name `{split}` is replaced.
        split: "train", "dev", "dev_mismatched" (MNLI's) or "test".

    Raises:
        ValueError: if there is no such split, or the file is named after another one.
        OSError: if the source does not exist.
    """
    check_split(task, split)
    named = Path(str(source).replace("{split}", split))
    if not named.exists():
        raise FileNotFoundError(f"{source}: no such file or folder for the split {split!r}")
    if named.is_file():
        return _one_file(task, named, split, chosen_by_name=named != source)
    found = next(
        (file for folder in (named, named / "glue") for file in _in_folder(task, folder, split)),
        None,
    )
    if found is None:
        wanted = [
            *(f"{stem}.tsv.gz" for stem in _stems(task, split)),
            f"{ARCHIVES[task]}/{_archive_stem(task, split)}.tsv",
            f"{split}.tsv",
        ]
        raise ValueError(
            f"{named}: expected the split {split!r} of {task} as "
            f"{', '.join(wanted)} (or .csv, .jsonl), got none of them"
        )
    return found


def check_split(task: str, split: str) -> None:
    """Raise ValueError if the task has no such split."""
    known = SPLITS if task == "mnli" else tuple(name for name in SPLITS if name != "dev_mismatched")
    if split not in known:
        raise ValueError(f"split of {task} must be one of {', '.join(known)}, got {split!r}")


def _one_file(task: str, path: Path, split: str, chosen_by_name: bool) -> TableFile:
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


def _archive_stem(task: str, split: str) -> str:
    return (
        {"dev": "dev_matched", "test": "test_matched"}.get(split, split)
        if task == "mnli"
        else split
    )


def _existing(folder: Path, stem: str) -> Iterator[Path]:
    yield from (
        path
        for suffix in SUFFIXES
        for end in ("", ".gz")
        if (path := folder / f"{stem}{suffix}{end}").is_file()
    )


def _in_folder(task: str, folder: Path, split: str) -> Iterator[TableFile]:
    """Every file of the folder that could be meant, the likeliest first."""
    for stem in _stems(task, split):
        has_train = any(True for _ in _existing(folder, "qnli_train"))
        if (
            task == "qnli"
            and split in ("train", "dev")
            and not has_train
            and (folder / PSEUDO_SPLIT).is_file()
        ):
            yield from (_pseudo_split(path, split) for path in _existing(folder, "qnli_dev"))
        else:
            yield from map(TableFile, _existing(folder, stem))
    for archive in (folder / ARCHIVES[task], *([folder] if folder.name == ARCHIVES[task] else [])):
        yield from _in_archive(task, archive, split)
    yield from map(TableFile, _existing(folder, split))


def _in_archive(task: str, folder: Path, split: str) -> Iterator[TableFile]:
    path = folder / f"{_archive_stem(task, split)}.tsv"
    if path.is_file():
        # The published QQP has questions with a line end inside, whose rows are in two pieces.
        header = COLA_HEADER if task == "cola" and split != "test" else None
        yield TableFile(path, header=header, leaves_out_incomplete=task == "qqp")
    if task == "mrpc":
        path = folder / f"msr_paraphrase_{'test' if split == 'test' else 'train'}.txt"
        if path.is_file():
            yield TableFile(
                path,
                selection=None if split == "test" else _listed_pairs(folder / "dev_ids.tsv", split),
            )


def _listed_pairs(path: Path, split: str) -> Selection:
    """MRPC's release has no dev file: GLUE's is the rows that dev_ids.tsv lists."""
    if not path.is_file():
        raise ValueError(
            f"{path}: expected the list of MRPC's dev rows beside "
            "msr_paraphrase_train.txt, got no such file"
        )
    pairs = []
    for number, line in numbered_lines(path):
        pair = tuple(line.rstrip("\r\n").split("\t"))
        if len(pair) != 2:
            raise ValueError(
                f"{path}:{number}: expected 2 columns ({', '.join(PAIR_IDS)}), got {len(pair)}"
            )
        pairs.append(pair)
    return Selection(PAIR_IDS, frozenset(pairs), split == "dev", path)


def _pseudo_split(path: Path, split: str) -> TableFile:
    """A fixed split of QNLI's dev rows, for want of its training file."""
    listing = path.parent / PSEUDO_SPLIT
    found = parse_json("".join(line for _, line in numbered_lines(listing)), listing)
    try:
        require(found, _PseudoSplit, listing)
    except ValueError as error:
        raise ValueError(
            f"{listing}: expected lists of row numbers pseudo_train and pseudo_dev, {error}"
        ) from None
    parts = [
        frozenset((str(index),) for index in found[f"pseudo_{name}"]) for name in ("train", "dev")
    ]
    if parts[0] & parts[1]:
        raise ValueError(
            f"{listing}: expected pseudo_train and pseudo_dev to be "
            f"disjoint, got {len(parts[0] & parts[1])} rows in both"
        )
    return TableFile(path, selection=Selection(("id",), parts[split == "dev"], True, listing))
