"""Readers of the layouts and of the hub."""

import gzip
import json
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from imbert.data.examples import read_examples

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


# The published archives

MNLI = (
    "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence1_parse\t"
    "sentence1\tsentence2\tlabel1\tgold_label"
)
STSB = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore"
ARCHIVES = {
    "sst2": ("SST-2/dev.tsv", ["sentence\tlabel", "a fine film \t1"], [("a fine film ",)], [1]),
    "cola": ("CoLA/dev.tsv", ["gj04\t0\t*\tThe film fine is."], [("The film fine is.",)], [0]),
    "mrpc": (
        "MRPC/dev.tsv",
        ["Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", "1\t10\t11\tone\ttwo"],
        [("one", "two")],
        [1],
    ),
    "qqp": (
        "QQP/dev.tsv",
        ["id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate", "3\t5\t6\tone?\ttwo?\t0"],
        [("one?", "two?")],
        [0],
    ),
    "stsb": (
        "STS-B/dev.tsv",
        [STSB, "0\tnews\tf\t2012\t1\tnone\tnone\tone\ttwo\t3.750"],
        [("one", "two")],
        [3.75],
    ),
    "mnli": (
        "MNLI/dev_matched.tsv",
        [MNLI, "0\t1\t2\tfiction\t()\t()\tone\ttwo\tneutral\tcontradiction"],
        [("one", "two")],
        [2],
    ),
    "qnli": (
        "QNLI/dev.tsv",
        ["index\tquestion\tsentence\tlabel", "0\tone?\ttwo\tnot_entailment"],
        [("one?", "two")],
        [1],
    ),
    "rte": (
        "RTE/dev.tsv",
        ["index\tsentence1\tsentence2\tlabel", "0\tone\ttwo\tentailment"],
        [("one", "two")],
        [0],
    ),
    "wnli": (
        "WNLI/dev.tsv",
        ["index\tsentence1\tsentence2\tlabel", "0\tone\ttwo\t1"],
        [("one", "two")],
        [1],
    ),
}


@pytest.mark.parametrize("task", ARCHIVES)
def test_published_archive(tmp_path: Path, task: str) -> None:
    name, lines, texts, labels = ARCHIVES[task]
    path = put(tmp_path / name, *lines)
    for source in (tmp_path, path.parent):
        found = read_examples(task, source, "dev")
        assert (list(found.texts), found.labels.tolist()) == (texts, labels)


def test_mnli_mismatched_archive(tmp_path: Path) -> None:
    put(
        tmp_path / "MNLI" / "dev_mismatched.tsv",
        MNLI,
        "0\t1\t2\tfiction\t()\t()\tone\ttwo\tneutral\tneutral",
    )
    assert read_examples("mnli", tmp_path, "dev_mismatched").labels.tolist() == [1]
    with pytest.raises(
        ValueError,
        match=r"expected the split 'dev' of mnli as "
        r"mnli_dev_matched\.tsv\.gz, MNLI/dev_matched\.tsv",
    ):
        read_examples("mnli", tmp_path, "dev")


def test_mrpc_release_is_split_by_the_published_list(tmp_path: Path) -> None:
    rows = [f"{index % 2}\t1{index}\t2{index}\tone {index}\ttwo {index}" for index in range(3)]
    header = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String"
    put(tmp_path / "MRPC" / "msr_paraphrase_train.txt", header, *rows, end="\r\n")
    put(tmp_path / "MRPC" / "msr_paraphrase_test.txt", header, rows[0], end="\r\n")
    with pytest.raises(ValueError, match=r"dev_ids\.tsv: expected the list"):
        read_examples("mrpc", tmp_path, "train")
    put(tmp_path / "MRPC" / "dev_ids.tsv", "11\t21")
    assert [len(read_examples("mrpc", tmp_path, split)) for split in ("train", "dev", "test")] == [
        2,
        1,
        1,
    ]
    assert read_examples("mrpc", tmp_path, "dev").texts == (("one 1", "two 1"),)
    put(tmp_path / "MRPC" / "dev_ids.tsv", "11 21")
    with pytest.raises(ValueError, match=r"dev_ids\.tsv:1: expected 2 columns .*, got 1"):
        read_examples("mrpc", tmp_path, "train")


def test_published_qqp_has_broken_rows_that_are_counted(tmp_path: Path) -> None:
    header = ARCHIVES["qqp"][1][0]
    put(
        tmp_path / "QQP" / "train.tsv",
        header,
        "1\t2\t3\tone?\ttwo?\t1",
        '4\t5\t6\t"a question',
        '"\tanother?\t0',
        "7\t8\t9\t\ttwo?\t1",
    )
    found = read_examples("qqp", tmp_path, "train")
    assert found.ids == ("1",)
    assert found.source.endswith("(3 incomplete rows left out)")


def test_a_test_file_without_labels_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "SST-2" / "test.tsv", "index\tsentence", "0\ta fine film")
    with pytest.raises(
        ValueError,
        match=r"test\.tsv:1: expected a column label or gold_label .*, got index, sentence",
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
    with pytest.raises(ValueError, match="expected the split 'train' of rte as rte_train"):
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
