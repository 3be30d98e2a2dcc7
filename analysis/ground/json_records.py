"""Records in JSON, read and written in one way: strict JSON, not too deep, every declared field of
its type, the digest right if there is one, the file whole.

What a record holds is declared as a `TypedDict`; a number that is not finite is written as null.
"""

import dataclasses
import hashlib
import json
import math
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from analysis.ground.files import write_text

MAX_DEPTH = 32  # the deepest of our records has 9 levels
LARGEST = 2**63
DIGEST = "digest"  # of a record's other entries


class DamagedRecord(ValueError):
    """A file is not as it was written: it can be made again from what it was made from."""


@dataclasses.dataclass(frozen=True)
class Within:
    """Declares the range of a number, `Annotated[float, Within(0, 1)]`, or the least length of a
    list.

    Attributes:
        low: the least value.
        high: the greatest.
    """

    low: float
    high: float = math.inf


@dataclasses.dataclass(frozen=True)
class Written:
    """Declares how a text is written: `Annotated[str, Written("[01]*", "a string of 0 and 1")]`.

    Attributes:
        pattern: a regular expression of the whole text.
        words: what it is, for the error.
    """

    pattern: str
    words: str


def parse_json(content: bytes | str, where: object, what: str = "JSON") -> Any:
    """The values of strict JSON: UTF-8, no key twice, no NaN or infinity, no half of a surrogate
    pair, at most 32 levels deep.

    Args:
        content: of a file or of a line.
        where: what the error names first.
        what: is expected, for the error.

    Raises:
        DamagedRecord: if it is anything else, a ValueError of one line.
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        values = json.loads(
            text,
            object_pairs_hook=_once,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_bounded,
        )
    except UnicodeDecodeError as error:
        raise DamagedRecord(
            f"{where}: expected {what} in UTF-8, got byte "
            f"0x{error.object[error.start]:02x} at {error.start}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise DamagedRecord(
            f"{where}: expected {what}, got {' '.join(str(error).split())}"
        ) from None
    require_plain(values, where)
    return values


def read_json(path: Path) -> Any:
    """The values of a JSON file, see `parse_json`.

    Raises:
        ValueError: if it is not strict JSON.
        OSError: if it cannot be read.
    """
    return parse_json(path.read_bytes(), path)


def read_record(
    path: Path, kind: Any, what: str = "", schema: int = 1, place: tuple[str, ...] = ("schema",)
) -> Any:
    """A record whose fields are as declared; others are left as they are.

    Args:
        path: of its file.
        kind: a `TypedDict`.
        what: the record's name, with an article; empty where no schema is written.
        schema: that can be read.
        place: the path of the entry that says the record's schema.

    Raises:
        ValueError: naming the file and the first field that is missing or wrong, or if its digest
            is not that of its entries.
        OSError: if it cannot be read.
    """
    values = found = read_json(path)
    if what:
        for name in place[:-1]:
            found = found.get(name) if isinstance(found, dict) else None
        found = (
            found.get(place[-1]) if isinstance(found, dict) else schema
        )  # else the entry that should hold it is missed below
        if type(found) is not int or found != schema:
            raise ValueError(f"{path}: expected {what} of schema {schema}, got {found!r}")
    require(values, kind, path)
    if isinstance(values, dict) and DIGEST in values and values[DIGEST] != digest_of(values):
        raise DamagedRecord(
            f"{path}: expected entries with the digest {values[DIGEST]}, "
            f"got {digest_of(values)}: the file was changed"
        )
    return values


def write_json(path: Path, values: Any, sort_keys: bool = False) -> None:
    """Write plain values as a file that is there whole or not at all; `finite` says how.

    Args:
        path: of the file.
        values: to write.
        sort_keys: so that equal content is equal bytes.

    Raises:
        OSError: if it cannot be written; nothing is left behind.
    """
    text = json.dumps(
        finite(values), indent=1, sort_keys=sort_keys, ensure_ascii=False, allow_nan=False
    )
    write_text(path, text + "\n")


def write_record(path: Path, values: Mapping[str, Any], sort_keys: bool = False) -> None:
    """`write_json` with the digest of the entries, so that a byte that changes later is found.

    Raises:
        OSError: likewise.
    """
    write_json(path, sealed(finite(values)), sort_keys)


def finite(values: Any) -> Any:
    """The same plain values with None for every number that is not finite, arrays as lists, NumPy
    scalars as Python's and records as objects.
    """
    if isinstance(values, Mapping):
        return {str(key): finite(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [finite(value) for value in values]
    if isinstance(values, msgspec.Struct):
        return finite(msgspec.to_builtins(values, enc_hook=finite))
    if dataclasses.is_dataclass(values) and not isinstance(values, type):
        return finite(dataclasses.asdict(values))
    if hasattr(values, "tolist"):  # NumPy and torch
        return finite(values.tolist())
    return None if isinstance(values, float) and not math.isfinite(values) else values


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values with the digest of them, so that a changed byte is found."""
    return {**values, DIGEST: digest_of(values)}


def digest_of(values: Mapping[str, Any]) -> str:
    """Sha256 of a record's entries without its digest, whatever their order in the file."""
    kept = {name: value for name, value in values.items() if name != DIGEST}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def require(values: Any, kind: Any, where: object) -> None:
    """Hold plain values against a declared type.

    Raises:
        ValueError: naming `where` and the first field that is missing or wrong.
    """
    if problem := _problem(values, kind, ""):
        raise ValueError(f"{where}: {problem}")


def _problem(value: Any, kind: Any, name: str) -> str | None:
    """What is wrong with a value; None if nothing is."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return None
    if origin is typing.Annotated:
        return _problem(value, arguments[0], name) or _problem_of_range(value, arguments[1], name)
    if origin in (typing.Union, types.UnionType):
        problems = [_problem(value, one, name) for one in arguments]
        # The first alternative says most: `None` and the like come last.
        return None if None in problems else problems[0]
    if origin is typing.Literal:
        same = any(type(value) is type(one) and value == one for one in arguments)
        return None if same else _expected(name, " or ".join(map(repr, arguments)), value)
    if typing.is_typeddict(kind):
        return _problem_of_fields(value, kind, name)
    if origin is dict:
        if not isinstance(value, dict):
            return _expected(name, "an object", value)
        return next(
            (
                said
                for key, one in value.items()
                if (said := _problem(one, arguments[1], _joined(name, key)))
            ),
            None,
        )
    if origin is list:
        if not isinstance(value, list):
            return _expected(name, "a list", value)
        return next(
            (
                said
                for place, one in enumerate(value)
                if (said := _problem(one, arguments[0], f"{name}[{place}]"))
            ),
            None,
        )
    if origin is tuple:
        if not isinstance(value, list) or len(value) != len(arguments):
            return _expected(name, f"a list of {len(arguments)}", value)
        pairs = enumerate(zip(value, arguments, strict=True))
        return next(
            (
                said
                for place, (one, part) in pairs
                if (said := _problem(one, part, f"{name}[{place}]"))
            ),
            None,
        )
    return None if type(value) in ACCEPTED[kind] else _expected(name, WORDS[kind], value)


ACCEPTED: Mapping[Any, tuple[type, ...]] = {
    float: (float, int),
    int: (int,),
    str: (str,),
    bool: (bool,),
    dict: (dict,),
    type(None): (type(None),),
}
WORDS = {
    float: "a number",
    int: "a whole number",
    str: "a text",
    bool: "true or false",
    dict: "an object",
    type(None): "null",
}


def _problem_of_fields(value: Any, kind: Any, name: str) -> str | None:
    if not isinstance(value, dict):
        return _expected(name, "an object", value)
    for field, hint in typing.get_type_hints(kind, include_extras=True).items():
        optional = typing.get_origin(hint) is typing.NotRequired
        if field in value:
            said = _problem(
                value[field], typing.get_args(hint)[0] if optional else hint, _joined(name, field)
            )
        else:
            said = (
                None
                if optional
                else f"expected an entry {_joined(name, _first(field, hint))}, got none"
            )
        if said:
            return said
    return None


def _first(field: str, hint: Any) -> str:
    """The first entry that a missing one should have held."""
    if not typing.is_typeddict(hint):
        return field
    name, below = next(iter(typing.get_type_hints(hint, include_extras=True).items()))
    return _joined(field, _first(name, below))


def _problem_of_range(value: Any, bound: Within | Written, name: str) -> str | None:
    if isinstance(bound, Within) and isinstance(value, list):
        return (
            None
            if len(value) >= bound.low
            else _expected(name, f"a list of at least {bound.low:g}", value)
        )
    if isinstance(bound, Within):
        if bound.low <= value <= bound.high:
            return None
        return _expected(
            name,
            f"a number from {bound.low:g} on"
            if bound.high == math.inf
            else f"{bound.low:g} to {bound.high:g}",
            value,
        )
    return None if re.fullmatch(bound.pattern, value) else _expected(name, bound.words, value)


def _expected(name: str, words: str, value: Any) -> str:
    shown = json.dumps(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return f"expected {words} in {name}, got {shown}" if name else f"expected {words}, got {shown}"


def _joined(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def require_plain(values: Any, where: object) -> None:
    """Refuse plain values that are nested too deep, and texts that no file can hold; without
    recursion.

    Raises:
        ValueError: naming `where`.
    """
    level, depth = [values], 0
    while level:
        if depth >= MAX_DEPTH and any(isinstance(value, dict | list) for value in level):
            raise ValueError(f"{where}: expected at most {MAX_DEPTH} levels, got more")
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += [*value.keys(), *value.values()]
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str) and not is_whole(value):
                raise ValueError(
                    f"{where}: expected text, got half of a surrogate pair in {value[:40]!r}"
                )
        level, depth = below, depth + 1


def is_whole(text: str) -> bool:
    """Whether a text can be written: it has no half of a surrogate pair, as programs leave that cut
    UTF-16.
    """
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} twice in one object")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name}, which is no number")


def _finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError(f"a number too large, {text[:40]}")
    return float(text)


def _bounded(text: str) -> int:
    if len(text) > 20 or not -LARGEST < int(text) < LARGEST:
        raise ValueError(f"a whole number too large, {text[:40]}")
    return int(text)
