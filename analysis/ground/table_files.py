"""Rows of .tsv, .csv, .jsonl and .parquet files, plain or gzipped, with their line's number."""

import csv
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from analysis.ground.json_records import is_whole, parse_json

if TYPE_CHECKING:
    import pyarrow.parquet as pq

csv.field_size_limit(2**31 - 1)  # else a field of more than 131,072 characters is refused
SUFFIXES = (".tsv", ".txt", ".csv", ".jsonl", ".parquet")  # .txt is tab-separated


class Row(NamedTuple):
    """One row: the line it starts on, counted from 1, of a .parquet its number, and its values."""

    line: int
    values: Mapping[str, object]


def kind_of(path: Path) -> str:
    """The suffix that says how to read a file, without .gz.

    Raises:
        ValueError: if it is none of them.
    """
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: expected a file ending in {', '.join(SUFFIXES)}, .gz allowed")
    return suffix


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    r"""Each line with its number, still ending in "\n" where it does.

    Lines end at "\n" alone: the published texts hold other characters that str.splitlines takes for
    an end.

    Raises:
        ValueError: if the file is not UTF-8 or not whole.
        OSError: if it cannot be read.
    """
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}:{number}: expected UTF-8, got byte "
            f"0x{error.object[error.start]:02x} at column {error.start + 1}"
        ) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: expected a whole gzip file, {error}") from error


def read_table(
    path: Path,
    required: Mapping[str, Sequence[str]],
    optional: Mapping[str, Sequence[str]],
) -> Iterator[Row]:
    """The rows of a file, their values under our names.

    Args:
        path: of the file; its suffix says the format. A .tsv has no quoting, a .csv has.
            Empty lines are passed over where a row has several columns, as in a .jsonl.
        required: our name of each column, and the names it may have in the file, the first that is
            there counts.
        optional: likewise, left out where the file has none.

    Raises:
        ValueError: if a row or the header is malformed; says the file, the line, what was expected
            and what came.
        OSError: if the file cannot be read.
    """
    kind = kind_of(path)
    if kind == ".jsonl":
        yield from _objects(path, required, optional)
        return
    if kind == ".parquet":
        yield from _stored(path, required, optional)
        return
    records = _records(path)
    first, header = next(records, (1, []))
    _require_each_once(f"{path}:{first}", header)
    places = _resolve(f"{path}:1", required, optional, header)
    index = {name: header.index(column) for name, column in places.items()}
    for line, fields in records:
        if fields in ([], [""]) and len(fields) < len(header):  # an empty line
            continue
        if len(fields) != len(header):
            raise ValueError(
                f"{path}:{line}: expected {len(header)} columns "
                f"({', '.join(header)}), got {len(fields)}"
            )
        yield Row(line, {name: fields[place] for name, place in index.items()})


def columns_of(path: Path) -> list[str]:
    """The names in a table's header, of a .jsonl the keys of its first object; none of an empty
    file.

    Raises:
        ValueError: if the file is malformed, or names a column twice.
        OSError: if it cannot be read.
    """
    kind = kind_of(path)
    if kind == ".jsonl":
        lines = (row for row in numbered_lines(path) if row[1].strip())
        line, text = next(lines, (1, "{}"))
        return [*_object(text, f"{path}:{line}")]
    if kind == ".parquet":
        with _opened(path) as file:
            return _stored_columns(_parquet(file, path), path)
    line, header = next(_records(path), (1, []))
    _require_each_once(f"{path}:{line}", header)
    return header


def require_text(value: object, column: str, where: str) -> str:
    """A value that is a text.

    Raises:
        ValueError: if it is empty or none, or cannot be written.
    """
    if not isinstance(value, str) or not value.strip():
        raise ValueError(
            f"{where}: expected a text that is not empty in column {column}, got {value!r}"
        )
    if not is_whole(value):
        raise ValueError(
            f"{where}: expected text in column {column}, got half of a "
            f"surrogate pair in {value[:40]!r}"
        )
    return value


def rows_digest(texts: Iterable[Sequence[str]], labels: Iterable[float]) -> str:
    """SHA-256 of rows, their texts and labels in their order.

    Args:
        texts: of each row.
        labels: of each row, a class as an int.
    """
    digest = hashlib.sha256()
    for row, label in zip(texts, labels, strict=True):
        digest.update(json.dumps([[*row], label]).encode())
    return digest.hexdigest()


def _require_each_once(where: str, header: Sequence[str]) -> None:
    """Refuse a header that names a column twice: no name would say which of them is meant."""
    if len(set(header)) < len(header):
        raise ValueError(f"{where}: expected each column once, got {', '.join(header)}")


def _resolve(
    where: str,
    required: Mapping[str, Sequence[str]],
    optional: Mapping[str, Sequence[str]],
    columns: Sequence[str],
) -> dict[str, str]:
    """The column of the file for each of our names."""
    places = {}
    for name, aliases in {**optional, **required}.items():
        column = next((alias for alias in aliases if alias in columns), None)
        if column is not None:
            places[name] = column
        elif name in required:
            raise ValueError(
                f"{where}: expected a column "
                f"{' or '.join(aliases)}, got {', '.join(columns) or 'none'}"
            )
    return places


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The fields of each record of a .tsv or .csv, the header's first, with their lines."""
    if kind_of(path) == ".csv":
        yield from _quoted(path)
        return
    for number, line in numbered_lines(path):
        yield number, line.rstrip("\r\n").split("\t")


def _quoted(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Records of a .csv, whose quoted fields may hold line ends, each with the line it starts
    on.
    """
    lines = csv.reader((line for _, line in numbered_lines(path)), strict=True)
    start = 1
    try:
        for fields in lines:
            yield start, fields
            start = lines.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path}:{start}: expected a well-formed CSV row, {error}") from error


def _opened(path: Path) -> IO[bytes]:
    """A .parquet, whose reader seeks, as a file."""
    if path.suffix != ".gz":
        return path.open("rb")
    try:
        return io.BytesIO(gzip.decompress(path.read_bytes()))
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: expected a whole gzip file, {error}") from error


def _parquet(file: IO[bytes], path: Path) -> "pq.ParquetFile":
    import pyarrow as pa  # late: takes a quarter of a second
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: expected a Parquet file, got {error}") from None


def _stored_columns(file: "pq.ParquetFile", path: Path) -> list[str]:
    names = list(file.schema_arrow.names)
    _require_each_once(str(path), names)
    return names


def _stored(
    path: Path, required: Mapping[str, Sequence[str]], optional: Mapping[str, Sequence[str]]
) -> Iterator[Row]:
    """The rows of a .parquet, a batch at a time."""
    with _opened(path) as opened:
        file = _parquet(opened, path)
        places = _resolve(str(path), required, optional, _stored_columns(file, path))
        batches = file.iter_batches(columns=[*dict.fromkeys(places.values())])
        rows = (values for batch in batches for values in batch.to_pylist())
        for number, values in enumerate(rows, start=1):
            yield Row(number, {name: values[column] for name, column in places.items()})


def _objects(
    path: Path, required: Mapping[str, Sequence[str]], optional: Mapping[str, Sequence[str]]
) -> Iterator[Row]:
    for line, text in numbered_lines(path):
        if not text.strip():
            continue
        where = f"{path}:{line}"
        values = _object(text, where)
        places = _resolve(where, required, optional, list(values))
        yield Row(line, {name: values[key] for name, key in places.items()})


def _object(text: str, where: str) -> dict[str, object]:
    values = parse_json(text, where, "a JSON object")
    if not isinstance(values, dict):
        raise ValueError(f"{where}: expected a JSON object, got {type(values).__name__}")
    return values
