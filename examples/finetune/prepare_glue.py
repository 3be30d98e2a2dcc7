"""The published GLUE archives, and AdvGLUE's dev.json, as folders that `imbert` reads.

    python examples/finetune/prepare_glue.py ARCHIVES OUT [--advglue dev.json]

ARCHIVES holds the extracted archives (`SST-2`, `MNLI`, …), or is one of them. OUT gets a folder for
each task, `sst2` and so on, with `train.tsv`, `dev.tsv` (of MNLI `dev_mismatched.tsv` too) and
`test.tsv` where the labels are public, all with named columns and `idx`; with --advglue
`advglue-sst2` and so on with `dev.jsonl`, the adversarial texts alone. A run then has
`source = "sst2"`. What is left out is counted.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.ground.table_files import numbered_lines
from imbert.data.advglue import ADVGLUE_TASKS, read_advglue
from imbert.data.read_examples import parse_label
from imbert.data.tasks import TASKS, Task

Fields = list[str]


@dataclass(frozen=True)
class Archive:
    """How one task was published.

    Attributes:
        folder: its name.
        columns: of the texts and of the label in the published files.
        splits: our name of each labelled split, and the file's.
        header: of a file without a first line of names.
    """

    folder: str
    columns: tuple[str, ...]
    splits: tuple[tuple[str, str], ...] = (("train", "train"), ("dev", "dev"))
    header: tuple[str, ...] | None = None


PAIR = ("sentence1", "sentence2")
ARCHIVES = {
    "sst2": Archive("SST-2", ("sentence", "label")),
    "mrpc": Archive("MRPC", ("#1 String", "#2 String", "Quality")),
    "qqp": Archive("QQP", ("question1", "question2", "is_duplicate")),
    "stsb": Archive("STS-B", (*PAIR, "score")),
    "mnli": Archive(
        "MNLI",
        (*PAIR, "gold_label"),
        (
            ("train", "train"),
            ("dev", "dev_matched"),
            ("dev_mismatched", "dev_mismatched"),
        ),
    ),
    "qnli": Archive("QNLI", ("question", "sentence", "label")),
    "rte": Archive("RTE", (*PAIR, "label")),
    "cola": Archive("CoLA", ("sentence", "label"), header=("source", "label", "star", "sentence")),
    "wnli": Archive("WNLI", (*PAIR, "label")),
}
PAIR_IDS = ("#1 ID", "#2 ID")
# MRPC's own release, whose dev rows GLUE lists in a file, and whose test labels are public
MRPC_RELEASE = {"train": "train", "dev": "train", "test": "test"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare what is there; wrong input is one line on stderr and exit code 2."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("archives", type=Path, metavar="ARCHIVES")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--advglue", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    try:
        written = prepare(options.archives, options.out)
        if options.advglue is not None:
            written += prepare_advglue(options.advglue, options.out)
        if not written:
            folders = ", ".join(archive.folder for archive in ARCHIVES.values())
            raise ValueError(f"{options.archives}: expected one of {folders}, got none of them")
    except (ValueError, OSError) as error:
        print(f"prepare_glue: error: {error}", file=sys.stderr)
        return 2
    print("\n".join(written))
    return 0


def prepare(archives: Path, out: Path) -> list[str]:
    """Write every split of every archive that is there.

    Args:
        archives: the folder of the extracted archives, or one of them.
        out: where a folder for each task goes.

    Returns:
        A line for each file: its name, its rows, and how many were left out.

    Raises:
        ValueError: naming file and line of a malformed row.
        OSError: if a file cannot be read or written.
    """
    written = []
    for name, archive in ARCHIVES.items():
        folder = archives if archives.name == archive.folder else archives / archive.folder
        splits = MRPC_RELEASE if _is_mrpc_release(name, folder) else dict(archive.splits)
        for split in splits:
            rows = _mrpc_rows if _is_mrpc_release(name, folder) else _rows
            lines = list(rows(folder, archive, split))
            if lines:
                path = out / name / f"{split}.tsv"
                written.append(_write(path, TASKS[name], lines))
    return written


def prepare_advglue(path: Path, out: Path) -> list[str]:
    """Write the adversarial texts of each of AdvGLUE's tasks as a dev split.

    Raises:
        ValueError: if an item is malformed.
        OSError: if a file cannot be read or written.
    """
    written = []
    for name, task in ADVGLUE_TASKS.items():
        items = read_advglue(path, name).every
        target = out / f"advglue-{name}" / "dev.jsonl"
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("w", encoding="utf-8") as file:
            for idx, texts, label in zip(
                items.ids, items.texts, items.labels.tolist(), strict=True
            ):
                row = {"idx": idx, **dict(zip(task.keys, texts, strict=True)), "label": label}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        written.append(f"{target}: {len(items)} rows")
    return written


def _rows(folder: Path, archive: Archive, split: str) -> Iterator[tuple[str, Fields | None]]:
    """Where each row stands and its texts and label; None where some of them are missing."""
    path = folder / f"{dict(archive.splits)[split]}.tsv"
    yield from _table(path, archive.columns, archive.header)


def _mrpc_rows(folder: Path, archive: Archive, split: str) -> Iterator[tuple[str, Fields | None]]:
    """MRPC's release has no dev file: GLUE's is the rows that dev_ids.tsv lists."""
    path = folder / f"msr_paraphrase_{MRPC_RELEASE[split]}.txt"
    width = len(archive.columns)
    listed = set() if split == "test" else _listed_pairs(folder / "dev_ids.tsv")
    for where, fields in _table(path, (*archive.columns, *PAIR_IDS), None):
        is_listed = fields is not None and tuple(fields[width:]) in listed
        if split == "test" or is_listed == (split == "dev"):
            yield where, None if fields is None else fields[:width]


def _is_mrpc_release(name: str, folder: Path) -> bool:
    return name == "mrpc" and (folder / "msr_paraphrase_train.txt").is_file()


def _listed_pairs(path: Path) -> set[tuple[str, ...]]:
    if not path.is_file():
        raise ValueError(
            f"{path}: expected the list of MRPC's dev rows beside "
            "msr_paraphrase_train.txt, got no such file"
        )
    pairs = set()
    for number, line in numbered_lines(path):
        pair = tuple(line.rstrip("\r\n").split("\t"))
        if len(pair) != len(PAIR_IDS):
            raise ValueError(
                f"{path}:{number}: expected 2 columns ({', '.join(PAIR_IDS)}), got {len(pair)}"
            )
        pairs.add(pair)
    return pairs


def _table(
    path: Path, columns: Sequence[str], header: Sequence[str] | None
) -> Iterator[tuple[str, Fields | None]]:
    """Some columns of a tab-separated file without quoting; nothing where there is no file."""
    lines = numbered_lines(path) if path.is_file() else iter(())
    for number, line in lines:
        fields = line.rstrip("\r\n").split("\t")
        if header is None:
            header = fields
            if missing := [column for column in columns if column not in header]:
                raise ValueError(
                    f"{path}:{number}: expected a column {missing[0]}, got {', '.join(header)}"
                )
            continue
        values = dict(zip(header, fields, strict=False))
        chosen = [values.get(column, "") for column in columns]
        # the published QQP has questions with a line end inside, whose rows are in two pieces
        is_complete = len(fields) == len(header) and all(value.strip() for value in chosen)
        yield f"{path}:{number}", chosen if is_complete else None


def _write(path: Path, task: Task, rows: Sequence[tuple[str, Fields | None]]) -> str:
    """One split with named columns; labels as numbers."""
    label = "score" if task.labels == 1 else "label"
    lines = ["\t".join(["idx", *task.keys, label])]
    for where, fields in rows:
        if fields is not None:
            value = parse_label(task, fields[-1], where)
            lines.append("\t".join([str(len(lines) - 1), *fields[:-1], f"{value:g}"]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    left_out = len(rows) + 1 - len(lines)
    return f"{path}: {len(lines) - 1} rows" + (f", {left_out} incomplete" if left_out else "")


if __name__ == "__main__":
    sys.exit(main())
