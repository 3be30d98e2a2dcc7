"""Tables of words that may stand for each other."""

import gzip
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from analysis.ground.json_records import parse_json

Synonyms = Mapping[str, tuple[str, ...]]


def load_synonyms(path: str | Path, antonyms: str | Path | None = None) -> Synonyms:
    """A table word → synonyms, nearest first, in lower case.

    Two layouts of JSON are read, gzipped or not: word → list (counter-fitted neighbours), and lemma
    → part of speech → list (WordNet), whose parts of speech are joined in their order.

    Args:
        path: of the table.
        antonyms: of a text file, gzipped or not, with one pair of words a line; these are no
            synonyms, in neither direction.

    Raises:
        ValueError: if a file is not of a layout above; it names the file and what was expected.
        OSError: if a file cannot be read.
    """
    table = parse_json(_text(path), path)
    if not isinstance(table, dict):
        raise ValueError(f"{path}: expected an object of words, got {type(table).__name__}")
    opposed = set() if antonyms is None else _pairs(antonyms)
    synonyms = {}
    for word, entry in table.items():
        own = word.lower()
        mates = dict.fromkeys(mate.lower() for mate in _listed(path, word, entry))
        kept = tuple(
            mate for mate in mates if mate != own and mate.isalpha() and (own, mate) not in opposed
        )
        if kept:
            synonyms[own] = kept
    return synonyms


def _listed(path: str | Path, word: str, entry: object) -> Iterable[str]:
    lists = list(entry.values()) if isinstance(entry, dict) else [entry]
    known = [part for part in lists if isinstance(part, list)]
    mates = [mate for part in known for mate in part if isinstance(mate, str)]
    if len(known) < len(lists) or len(mates) < sum(map(len, known)):
        raise ValueError(
            f"{path}: expected a list of words, or such lists by "
            f"part of speech, got {entry!r} for {word!r}"
        )
    return mates


def _pairs(path: str | Path) -> set[tuple[str, str]]:
    pairs = set()
    for number, line in enumerate(_text(path).splitlines(), 1):
        words = line.lower().split()
        if not words:
            continue
        if len(words) != 2:
            raise ValueError(f"{path}, line {number}: expected two words, got {len(words)}")
        pairs |= {(words[0], words[1]), (words[1], words[0])}
    return pairs


def _text(path: str | Path) -> str:
    raw = Path(path).read_bytes()
    try:
        return (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: expected UTF-8, got byte 0x{error.object[error.start]:02x} at {error.start}"
        ) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: expected a whole gzip file, {error}") from None
