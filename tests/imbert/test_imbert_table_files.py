"""Plain .tsv, .csv and .jsonl files, and what is said of malformed ones."""

import gzip
from pathlib import Path

import pytest

from imbert.data.read_examples import read_examples, without_final_period


def put(path: Path, *lines: str) -> Path:
    content = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.tsv", "sentence\tlabel\na film\t1\na dull film\tnegative\n"),
        ("rows.csv", 'label,sentence\r\n1,"a film"\r\nnegative,a dull film\r\n'),
        (
            "rows.jsonl",
            '{"sentence": "a film", "label": 1}\n\n'
            '{"label": "negative", "sentence": "a dull film", "more": null}',
        ),
    ],
)
@pytest.mark.parametrize("end", ["", ".gz"])
def test_one_file(tmp_path: Path, name: str, content: str, end: str) -> None:
    path = tmp_path / f"{name}{end}"
    path.write_bytes(gzip.compress(content.encode(), mtime=0) if end else content.encode())
    found = read_examples("sst2", path, "train")
    assert found.texts == (("a film",), ("a dull film",))
    assert found.labels.tolist() == [1, 0]


def test_a_file_named_after_another_split_is_refused(tmp_path: Path) -> None:
    for split in ("train", "dev"):
        put(tmp_path / f"mine_{split}.csv", "sentence,label", f"a {split} film,1")
    assert read_examples("sst2", tmp_path / "mine_{split}.csv", "dev").texts == (("a dev film",),)
    assert read_examples("sst2", tmp_path / "mine_train.csv", "train").texts == (("a train film",),)
    with pytest.raises(ValueError, match="expected the split 'dev', got a file named after train"):
        read_examples("sst2", tmp_path / "mine_train.csv", "dev")


def test_folder_with_a_file_per_split(tmp_path: Path) -> None:
    put(tmp_path / "train.jsonl.gz", '{"sentence": "a film", "label": 0}')
    assert read_examples("sst2", tmp_path, "train").labels.tolist() == [0]


def test_a_number_that_is_a_label_in_json_only(tmp_path: Path) -> None:
    path = put(
        tmp_path / "rows.jsonl",
        '{"sentence1": "a", "sentence2": "b", "score": 4.5}',
        '{"sentence1": "a", "sentence2": "b", "score": true}',
    )
    with pytest.raises(
        ValueError, match=r"rows\.jsonl:2: expected a label of stsb, a score in \[0, 5\], got True"
    ):
        read_examples("stsb", path, "train")


def test_final_periods(tmp_path: Path) -> None:
    path = put(tmp_path / "rows.tsv", "sentence\tlabel", "a film.\t1", ".\t0", "a dull film\t0")
    assert without_final_period(read_examples("sst2", path, "dev")).texts == (
        ("a film",),
        (".",),
        ("a dull film",),
    )


# Bad input


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.tsv",
            b"sentence\tlabel\na film\t1\na film\n",
            r"a\.tsv:3: expected 2 columns \(sentence, label\), got 1",
        ),
        (
            "a.tsv",
            b"sentence\tlabel\na\tfilm\t1\n",
            r"a\.tsv:2: expected 2 columns \(sentence, label\), got 3",
        ),
        (
            "a.tsv",
            b"sentence\tlabel\n \t1\n",
            r"a\.tsv:2: expected a text that is not empty in column sentence, got ' '",
        ),
        (
            "a.tsv",
            b"sentence\tlabel\na film\t2\n",
            r"a\.tsv:2: expected a label of sst2, one of 0, 1 \(negative, positive\), got '2'",
        ),
        (
            "a.tsv",
            b"sentence\tlabel\na film\t\n",
            r"a\.tsv:2: expected a label of sst2, .*, got ''",
        ),
        (
            "a.tsv",
            b"sentence\tlabel\na film\tgood\n",
            r"a\.tsv:2: expected a label of sst2, .*, got 'good'; write one of these in the file$",
        ),
        ("a.tsv", b"sentence\tlabel\n", r"a\.tsv: expected at least one row, got an empty split"),
        ("a.tsv", b"", r"a\.tsv:1: expected a column sentence, got none"),
        (
            "a.tsv",
            b"text\tlabel\na film\t1\n",
            r"a\.tsv:1: expected a column sentence, got text, label",
        ),
        (
            "a.tsv",
            b"label\tlabel\tsentence\n",
            r"a\.tsv:1: expected each column once, got label, label, sentence",
        ),
        (
            "a.tsv",
            b"sentence\tlabel\na film\t1\na f\xfflm\t1\n",
            r"a\.tsv:3: expected UTF-8, got byte 0xff at column 4",
        ),
        (
            "a.csv",
            b'sentence,label\n"a\n\nfilm",1\n"a\nfilm",7\n',
            r"a\.csv:5: expected a label of sst2",
        ),
        (
            "a.csv",
            b'sentence,label\na film,1\n"a film,1\n',
            r"a\.csv:3: expected a well-formed CSV row",
        ),
        (
            "a.csv",
            b"sentence,label\na film, and another,1\n",
            r"a\.csv:2: expected 2 columns \(sentence, label\), got 3",
        ),
        (
            "a.jsonl",
            b'{"sentence": "a", "label": 1}\n{"sentence": "a"}\n',
            r"a\.jsonl:2: expected a column label, got sentence",
        ),
        (
            "a.jsonl",
            b'{"sentence": "a", "label": null}\n',
            r"a\.jsonl:1: expected a label of sst2, .*, got None",
        ),
        (
            "a.jsonl",
            b'{"sentence": 3, "label": 1}\n',
            r"a\.jsonl:1: expected a text that is not empty in column sentence, got 3",
        ),
        ("a.jsonl", b'["a", 1]\n', r"a\.jsonl:1: expected a JSON object, got list"),
        ("a.jsonl", b'{"sentence": "a"\n', r"a\.jsonl:1: expected a JSON object, "),
        ("a.tsv.gz", b"sentence\tlabel\n", r"a\.tsv\.gz: expected a whole gzip file"),
        (
            "a.tsv.gz",
            gzip.compress(b"sentence\tlabel\na film\t1\n", mtime=0)[:-9],
            r"a\.tsv\.gz: expected a whole gzip file",
        ),
        (
            "a.xlsx",
            b"PK",
            r"a\.xlsx: expected a file ending in \.tsv, \.txt, \.csv, \.jsonl, \.parquet",
        ),
        (
            "a.parquet",
            b"PAR1",
            r"a\.parquet: expected a Parquet file, got ",
        ),
    ],
)
def test_malformed_file(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_examples("sst2", tmp_path / name, "train")
    assert "\n" not in str(caught.value)
