"""Readers of the layouts and of the hub."""

import gzip
import json
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from imbert.data.read_examples import read_examples
from imbert.data.split_files import PREPARE

DATA = os.environ.get("ODESTAB_DATA")
HEADERS = {
    "sst2": "idx\tsentence\tlabel",
    "mrpc": "idx\tsentence1\tsentence2\tlabel",
    "qqp": "idx\tquestion1\tquestion2\tlabel",
    "stsb": "idx\tgenre\tsentence1\tsentence2\tscore",
    "mnli": "idx\tpremise\thypothesis\tlabel\tsure",
    "qnli": "idx\tquestion\tsentence\tlabel",
    "cola": "idx\tsource\tsentence\tlabel",
}


def put(path: Path, *lines: str, end: str = "\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(line + end for line in lines).encode()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def row(task: str, index: int, label: object) -> str:
    width = len(HEADERS[task].split("\t")) - 2 - (task == "mnli")
    return "\t".join(
        [
            str(index),
            *(f"text {index} {place}" for place in range(width)),
            str(label),
            *(["100"] if task == "mnli" else []),
        ]
    )


# The prepared layout


@pytest.mark.parametrize(
    ("task", "split", "name"),
    [
        ("sst2", "train", "sst2_train.tsv.gz"),
        ("mrpc", "test", "mrpc_test_labeled.tsv.gz"),
        ("stsb", "dev", "stsb_dev.tsv"),
        ("cola", "dev", "cola_dev.tsv.gz"),
        ("qqp", "train", "qqp_subset_train.tsv.gz"),
        ("qqp", "dev", "qqp_subset_dev.tsv.gz"),
        ("mnli", "train", "mnli_train_subset.tsv.gz"),
        ("mnli", "dev", "mnli_dev_matched.tsv.gz"),
        ("mnli", "dev_mismatched", "mnli_dev_mismatched_hard.tsv.gz"),
        ("qnli", "dev", "qnli_dev.tsv.gz"),
    ],
)
def test_prepared_folder_and_the_one_above(
    tmp_path: Path, task: str, split: str, name: str
) -> None:
    put(tmp_path / "glue" / name, HEADERS[task], row(task, 7, 1), row(task, 9, 0))
    found = read_examples(task, tmp_path / "glue", split)
    assert found.ids == ("7", "9")
    assert found.labels.tolist() == [1, 0]
    assert all(len(texts) == len(found.task.keys) for texts in found.texts)
    assert found.digest == read_examples(task, str(tmp_path), split).digest
    assert found.source.endswith(name)


def test_text_is_kept_as_it_is(tmp_path: Path) -> None:
    text = '"a quote, \u2028 a line separator, a \x0b and a trailing space '
    put(tmp_path / "sst2_dev.tsv", HEADERS["sst2"], f"0\t{text}\t1", end="\r\n")
    assert read_examples("sst2", tmp_path, "dev").texts == ((text,),)


def qnli(folder: Path, **listing: object) -> None:
    put(
        folder / "qnli_dev.tsv.gz",
        HEADERS["qnli"],
        *(row("qnli", index, index % 2) for index in range(4)),
    )
    put(folder / "qnli_dev_pseudo_split.json", json.dumps(listing))


def test_qnli_is_split_by_its_list_for_want_of_a_training_file(tmp_path: Path) -> None:
    qnli(tmp_path, pseudo_train=[3, 0], pseudo_dev=[1], note="made up")
    train, dev = read_examples("qnli", tmp_path, "train"), read_examples("qnli", tmp_path, "dev")
    assert train.ids == ("0", "3")
    assert dev.ids == ("1",)
    assert "train rows by qnli_dev_pseudo_split.json" in train.source
    put(tmp_path / "qnli_train.tsv", HEADERS["qnli"], row("qnli", 5, 1))
    assert read_examples("qnli", tmp_path, "train").ids == ("5",)
    assert len(read_examples("qnli", tmp_path, "dev")) == 4


@pytest.mark.parametrize(
    ("listing", "message"),
    [
        ({"pseudo_train": [0]}, "expected lists of row numbers"),
        ({"pseudo_train": [0], "pseudo_dev": "none"}, "expected lists of row numbers"),
        ({"pseudo_train": [0, 1], "pseudo_dev": [1]}, "disjoint, got 1 rows"),
        ({"pseudo_train": [0, 17], "pseudo_dev": [1]}, "got 1 that are not there"),
    ],
)
def test_a_wrong_list_is_refused(tmp_path: Path, listing: dict[str, object], message: str) -> None:
    qnli(tmp_path, **listing)
    with pytest.raises(ValueError, match=rf"qnli_dev_pseudo_split.json: .*{message}"):
        read_examples("qnli", tmp_path, "train")


# Other folders


def test_a_folder_of_splits_and_a_folder_of_tasks(tmp_path: Path) -> None:
    put(tmp_path / "rte" / "dev.csv", "sentence1,sentence2,label", '"one, two",three,0')
    put(tmp_path / "rte" / "train.jsonl.gz", '{"sentence1": "a", "sentence2": "b", "label": 1}')
    for source in (tmp_path, tmp_path / "rte"):
        assert read_examples("rte", source, "dev").texts == (("one, two", "three"),)
        assert read_examples("rte", source, "train").labels.tolist() == [1]


@pytest.mark.parametrize(
    ("task", "archive"), [("sst2", "SST-2"), ("stsb", "STS-B"), ("cola", "CoLA"), ("mnli", "MNLI")]
)
def test_an_extracted_archive_names_the_script_that_prepares_it(
    task: str, archive: str, tmp_path: Path
) -> None:
    put(tmp_path / archive / "train.tsv", "a header of its own")
    for source in (tmp_path, tmp_path / archive):
        with pytest.raises(
            ValueError, match=f"{archive}: expected prepared rows of {task}"
        ) as told:
            read_examples(task, source, "train")
        assert f"examples/finetune/prepare_glue.py {tmp_path} OUT" in str(told.value)
        assert "\n" not in str(told.value)
    assert (Path(__file__).parents[2] / PREPARE).is_file()


def test_a_test_file_without_labels_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "test.tsv", "index\tsentence", "0\ta fine film")
    with pytest.raises(
        ValueError, match=r"test\.tsv:1: expected a column label, got index, sentence"
    ):
        read_examples("sst2", tmp_path, "test")


@pytest.mark.parametrize("score", ["5.2", "-1", "nan", "high"])
def test_scores_out_of_range(tmp_path: Path, score: str) -> None:
    put(tmp_path / "stsb_dev.tsv", HEADERS["stsb"], row("stsb", 0, score))
    with pytest.raises(
        ValueError,
        match=rf"stsb_dev\.tsv:2: expected a label of stsb, a score in \[0, 5\], got '{score}'",
    ):
        read_examples("stsb", tmp_path, "dev")


def test_unknown_task_split_and_source(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="task must be one of sst2"):
        read_examples("sst", tmp_path, "train")
    with pytest.raises(
        ValueError, match="split of sst2 must be one of train, dev, test, got 'dev_mismatched'"
    ):
        read_examples("sst2", tmp_path, "dev_mismatched")
    with pytest.raises(
        ValueError,
        match="split of mnli must be one of train, dev, dev_mismatched, test, got 'validation'",
    ):
        read_examples("mnli", "hub", "validation")
    with pytest.raises(
        ValueError, match=r"expected the split 'train' of rte as train\.tsv, rte_train"
    ):
        read_examples("rte", tmp_path, "train")
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        read_examples("rte", tmp_path / "nowhere", "train")


# The hub, with a stand-in for its package


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str, str]]]:
    asked: list[tuple[str, str, str]] = []

    def load_dataset(name: str, task: str, split: str) -> list[dict[str, object]]:
        asked.append((name, task, split))
        if task == "rte":
            raise ConnectionError("no route\nand a long explanation")
        label = -1 if split.startswith("test") else 2 if task == "mnli" else 1
        return [
            {"sentence": "a film", "premise": "one", "hypothesis": "two", "label": label, "idx": 40}
        ]

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    yield asked


def test_hub(hub: list[tuple[str, str, str]]) -> None:
    assert read_examples("sst2", "hub", "dev").ids == ("40",)
    assert read_examples("mnli", "hub", "dev").labels.tolist() == [2]
    read_examples("mnli", "hub", "dev_mismatched")
    assert [split for _, _, split in hub] == [
        "validation",
        "validation_matched",
        "validation_mismatched",
    ]
    with pytest.raises(ValueError, match=r"glue/sst2/test:1: expected a label of sst2, .*, got -1"):
        read_examples("sst2", "hub", "test")
    with pytest.raises(
        ValueError,
        match=r"source 'hub': expected to load nyu-mll/glue rte "
        r"train, got ConnectionError: no route$",
    ):
        read_examples("rte", "hub", "train")


def test_hub_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match="source 'hub' needs the package datasets"):
        read_examples("sst2", "hub", "train")


# The prepared data themselves, where they are


@pytest.mark.skipif(DATA is None, reason="ODESTAB_DATA names no folder of prepared data")
@pytest.mark.parametrize(
    ("task", "split", "rows", "labels"),
    [
        ("sst2", "train", 67349, {1: 37569}),
        ("sst2", "dev", 872, {}),
        ("rte", "train", 2490, {}),
        ("rte", "dev", 277, {0: 146, 1: 131}),
        ("mrpc", "train", 3668, {1: 2474}),
        ("mrpc", "dev", 408, {}),
        ("mrpc", "test", 1725, {}),
        ("cola", "train", 8551, {1: 6023}),
        ("cola", "dev", 1043, {}),
        ("stsb", "train", 5749, {}),
        ("stsb", "dev", 1500, {}),
        ("stsb", "test", 1379, {}),
        ("wnli", "train", 635, {}),
        ("wnli", "dev", 71, {}),
        ("qnli", "train", 4463, {}),
        ("qnli", "dev", 1000, {}),
        ("mnli", "train", 9888, {}),
        ("mnli", "dev", 9815, {0: 3479, 1: 3123, 2: 3213}),
        ("mnli", "dev_mismatched", 4530, {}),
        ("qqp", "train", 9915, {}),
        ("qqp", "dev", 9928, {}),
    ],
)
def test_prepared_data(task: str, split: str, rows: int, labels: dict[int, int]) -> None:
    found = read_examples(task, str(DATA), split)
    assert len(found) == rows
    assert {label: int((found.labels == label).sum()) for label in labels} == labels
