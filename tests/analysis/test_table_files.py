"""Tables of texts: their lines, their columns and the digest of their rows."""

import gzip
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.ground.table_files import columns_of, numbered_lines, read_table, rows_digest
from imbert.data.tasks import Examples, task


def test_lines_are_numbered_and_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv.gz"
    path.write_bytes(gzip.compress("\ufeffone\n\nthree\x85still three\n".encode(), mtime=0))
    assert list(numbered_lines(path)) == [(1, "one\n"), (2, "\n"), (3, "three\x85still three\n")]


@pytest.mark.parametrize(
    ("name", "content", "columns"),
    [
        ("a.tsv", "idx\tsentence\tlabel\n0\ta film\t1\n", ["idx", "sentence", "label"]),
        ("a.csv", 'text,"a ""column"""\n', ["text", 'a "column"']),
        ("a.jsonl", '\n{"text": "a film", "label": 1}\n{"other": 1}\n', ["text", "label"]),
        ("a.tsv", "", []),
        ("a.jsonl", "", []),
    ],
)
def test_columns_are_those_of_the_header(
    tmp_path: Path, name: str, content: str, columns: list[str]
) -> None:
    (tmp_path / name).write_text(content)
    assert columns_of(tmp_path / name) == columns


@pytest.mark.parametrize("name", ["a.tsv", "a.csv"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_empty_lines_are_no_rows_of_several_columns(tmp_path: Path, name: str, end: str) -> None:
    path = tmp_path / name
    between = "\t" if name == "a.tsv" else ","
    lines = ["text,label", "", "a film,1", "", "dull,0", "", ""]
    path.write_bytes(end.join(lines).replace(",", between).encode())
    found = list(read_table(path, {"label": ("label",)}, {}))
    assert [(row.line, row.values["label"]) for row in found] == [(3, "1"), (5, "0")]
    path.write_text(f"text{between}label{between}idx\n{between}\n")
    with pytest.raises(ValueError, match=":2: expected 3 columns"):
        list(read_table(path, {"label": ("label",)}, {}))


def stored(path: Path, columns: dict[str, list[object]]) -> Path:
    content = io.BytesIO()
    pq.write_table(pa.table(columns), content)
    data = content.getvalue()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["a.parquet", "a.parquet.gz"])
def test_parquet_has_rows_by_number(tmp_path: Path, name: str) -> None:
    path = stored(tmp_path / name, {"text": ["a film", None], "label": [1, 0], "more": [0.5, 1.0]})
    assert columns_of(path) == ["text", "label", "more"]
    rows = list(read_table(path, {"label": ("score", "label")}, {"text": ("text",)}))
    assert [(row.line, dict(row.values)) for row in rows] == [
        (1, {"text": "a film", "label": 1}),
        (2, {"text": None, "label": 0}),
    ]
    with pytest.raises(ValueError, match=rf"{name}: expected a column mood, got text, label, more"):
        list(read_table(path, {"mood": ("mood",)}, {}))
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match=f"{name}: expected a (Parquet|whole gzip) file"):
        columns_of(path)


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.parquet"])
def test_a_header_that_names_a_column_twice_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.parquet":
        columns = [pa.array(["a"]), pa.array(["b"]), pa.array([1])]
        pq.write_table(pa.Table.from_arrays(columns, names=["text", "text", "label"]), path)
    else:
        between = "\t" if name == "a.tsv" else ","
        path.write_text("text,text,label\na,b,1\n".replace(",", between))
    for read in (columns_of, lambda path: list(read_table(path, {"text": ("text",)}, {}))):
        with pytest.raises(ValueError, match=r"expected each column once, got text, text, label"):
            read(path)


def test_rows_have_the_digest_of_labelled_examples() -> None:
    texts = (("a film", "un film"), ("dull", "“dull”"))
    examples = Examples(task("mrpc"), texts, np.array([1, 0]), ("0", "1"), "made")
    assert rows_digest(texts, [1, 0]) == examples.digest
    assert rows_digest(texts, [1, 0]) == (
        "8f4489f5a9f6964a0777bc9c5154cf049456c79e331a3df3300c46d3b87548cf"
    )
    assert rows_digest(texts, [0, 1]) != examples.digest
