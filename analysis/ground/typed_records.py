"""Plain values of a JSON file as a frozen type, the first fault in one line."""

import textwrap
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from analysis.ground.json_records import DIGEST, read_record

R = TypeVar("R")


def read_typed(path: Path, kind: type[R]) -> R:
    """The record in a file.

    Raises:
        ValueError: one line that names the file, if it is no strict JSON, its digest is wrong, or
            an entry is unknown, missing or not as declared.
        OSError: if it cannot be read.
    """
    return typed(read_record(path, Any), kind, path)


def typed(values: Any, kind: type[R], where: object) -> R:
    """Plain values as a record, without their digest; `where` names them in the error.

    Raises:
        ValueError: if an entry is unknown, missing or not as declared.
    """
    if isinstance(values, dict):
        values = {name: value for name, value in values.items() if name != DIGEST}
    try:
        return msgspec.convert(values, kind, str_keys=True)
    except msgspec.ValidationError as error:
        what, _, place = textwrap.shorten(str(error), 300).partition(" - at ")
        at = place.replace("`", "").removeprefix("$.")
        raise ValueError(f"{where}: {what}{f' in {at}' if at else ''}") from None
