"""Frozen records from TOML tables, every key, type and range checked."""

import math
import tomllib
import types
import typing
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import msgspec

from analysis.ground.json_records import LARGEST
from analysis.ground.json_records import require_plain as require_depth

# what an option, a choice or a measurement may be; tables of these have keys of their own
Plain: TypeAlias = bool | int | float | str | list[Any] | dict[str, Any] | None
Table: TypeAlias = Mapping[str, Plain]
WORDS: Mapping[object, str] = types.MappingProxyType(
    {
        bool: "true or false",
        int: "a whole number",
        float: "a finite number",
        str: "a text",
        Mapping: "a table",
    }
)
LONGEST = 60  # characters of a value that an error shows
MOST = 10**9  # of what is counted; far more than there is of anything
T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)


def read_toml(path: Path) -> Table:
    """The tables of a TOML file.

    Raises:
        ValueError: if it is not TOML in UTF-8.
        OSError: if it cannot be read.
    """
    try:
        tables = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(
            f"{path}: expected TOML in UTF-8, got {' '.join(str(error).split())}"
        ) from None
    require_depth(tables, path)
    return tables


def named(path: Path, make: Callable[[Table], T], table: Table) -> T:
    """What `make` returns of a table; a ValueError has the file's name before it."""
    try:
        return make(table)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def section(name: str, record: type[S], values: object) -> S:
    """One frozen record from a table, every key and type checked.

    Raises:
        ValueError: if a key is unknown or missing, or a value has the wrong type.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"[{name}] must be a table, got {values!r}")
    hints = typing.get_type_hints(record)
    known_keys(f"[{name}]", values, record.__struct_fields__)
    needed = [field.name for field in msgspec.structs.fields(record) if field.required]
    if missing := [key for key in needed if key not in values]:
        raise ValueError(f"[{name}] must have {', '.join(needed)}, got no {', '.join(missing)}")
    return record(
        **{key: typed(f"{name}.{key}", value, hints[key]) for key, value in values.items()}
    )


def known_keys(where: str, values: Table, known: Collection[str]) -> None:
    """Refuse what is not known.

    Raises:
        ValueError: naming the unknown keys and the known ones.
    """
    unknown = [key for key in values if key not in known]
    if unknown:
        raise ValueError(
            f"{where}: expected keys among {', '.join(known)}, got {', '.join(unknown)}"
        )


def typed(name: str, value: object, hint: object) -> Any:
    """The value, lists as tuples and whole numbers as floats where the hint says so.

    Raises:
        ValueError: if it is of another type; a boolean is no number, and a number must be finite.
    """
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for option in options:
        origin = typing.get_origin(option) or option
        if (
            origin is tuple
            and isinstance(value, list | tuple)
            and all(type(item) is typing.get_args(option)[0] for item in value)
        ):
            return tuple(value)
        if is_record(option) and isinstance(value, Mapping):
            return section(name, option, value)
        if origin is Mapping and isinstance(value, Mapping):
            return {key: _plain(f"{name}.{key}", entry) for key, entry in value.items()}
        # TOML writes 1 where 1.0 is meant
        if origin is float and isinstance(value, int | float) and _is_finite(value):
            return float(value)
        # a larger whole number would be written into the run's folder and refused when it is read
        if origin is int and type(value) is int and -LARGEST < value < LARGEST:
            return value
        if origin in (str, bool) and type(value) is origin:
            return value
        if option is type(None) and value is None:
            return None
    absent = (type(None), msgspec.UnsetType)
    wanted = " or ".join(_words(option) for option in options if option not in absent)
    raise ValueError(f"{name} must be {wanted}, got {_shown(value)}")


def is_record(option: object) -> bool:
    """Whether a hint is a frozen record, which a table of its own stands for."""
    return isinstance(option, type) and issubclass(option, msgspec.Struct)


def _is_finite(value: float) -> bool:
    """Whether it is a finite number; True and False are none."""
    try:
        return not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # TOML's whole numbers have no end, floats do
        return False


def _words(option: object) -> str:
    """A type in an error."""
    origin = typing.get_origin(option) or option
    if origin is tuple:
        return f"a list, each entry {_words(typing.get_args(option)[0])}"
    return WORDS[Mapping if is_record(option) else origin]


def _shown(value: object) -> str:
    """A value in an error; Python refuses to print whole numbers of thousands of digits."""
    if isinstance(value, int) and not -LARGEST < value < LARGEST:
        return "a whole number beyond 2^63"
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _plain(name: str, value: object) -> Plain:
    """A value that JSON can hold too: neither a date nor a number that is not finite."""
    if isinstance(value, Mapping):
        return {key: _plain(f"{name}.{key}", entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(name, entry) for entry in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise ValueError(
        f"{name} must be a text, a finite number, true or false, "
        f"or a list or table of these, got {value!r}"
    )


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuse a value that is not among those allowed.

    Raises:
        ValueError: naming them.
    """
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")


def in_range(
    name: str,
    value: float | None,
    low: float,
    high: float = math.inf,
    low_allowed: bool = True,
    high_allowed: bool = True,
) -> None:
    """Refuse a number out of its range, or one that is not finite; None is left alone.

    Raises:
        ValueError: naming the range.
    """
    if value is None:
        return
    above_low = low <= value if low_allowed else low < value
    below_high = value <= high if high_allowed else value < high
    if not (above_low and below_high and math.isfinite(value)):
        above = f"{'>=' if low_allowed else '>'} {low}"
        below = f" and {'<=' if high_allowed else '<'} {high}"
        if high == math.inf:
            below = "" if math.isfinite(value) else " and finite"
        elif high == MOST and below_high:  # no part of what the option means
            below = ""
        raise ValueError(f"{name} must be {above}{below}, got {value}")
