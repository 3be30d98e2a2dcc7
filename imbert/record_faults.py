"""The first fault of a record in one line: the file, the entry, what was expected and what came."""

import json
import re
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import msgspec

R = TypeVar("R")
Json: TypeAlias = Any  # what a strict reader made of a file
WORDS = {
    "float": "a number",
    "int": "a whole number",
    "str": "a text",
    "bool": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}
LONGEST = 60  # characters of a value that are shown
ANY_KEY = "[...]"  # msgspec's place of an entry of a table whose keys are names


def require_type(values: Json, kind: type[R], path: Path) -> R:
    """Plain values as a type.

    Raises:
        ValueError: naming the file and the first fault.
    """
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise ValueError(f"{path}: {_sentence(str(error), values, kind)}") from None


def _sentence(message: str, values: Json, kind: type) -> str:
    """msgspec's message with the place in our words, and the value that stands there."""
    fault, _, place = message.partition(" - at `$")
    steps = _steps(place.rstrip("`"), values, kind)
    name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    name = name.removeprefix(".")
    if match := re.fullmatch(r"Object missing required field `(.*)`", fault):
        return f"expected an entry {f'{name}.' if name else ''}{match[1]}, got none"
    if match := re.fullmatch(r"Object contains unknown field `(.*)`", fault):
        return f"expected only known entries in {name or 'the record'}, got {match[1]!r}"
    if not fault.startswith("Expected "):  # a ValueError of the type itself
        return f"{name}: {fault}" if name else fault
    expected = fault.removeprefix("Expected ").partition(", got ")[0]
    for kind_name, words in WORDS.items():
        expected = re.sub(rf"(?<=[`| ]){kind_name}(?=[`| ])", words, expected)
    expected = expected.replace(" | ", " or ").replace("`", "")
    shown = json.dumps(_at(values, steps))
    shown = shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 3]}..."
    return f"expected {expected}{f' in {name}' if name else ''}, got {shown}"


def _steps(place: str, values: Json, kind: type) -> list[str | int]:
    """The keys and indices of `.a[3][...].b`; a key that is not said is looked for."""
    steps: list[str | int] = []
    for text in re.findall(r"\.[^.\[]+|\[\d+\]|\[\.\.\.\]", place):
        if text == ANY_KEY:
            steps.append(_faulty_key(values, steps, kind))
        else:
            steps.append(int(text[1:-1]) if text.startswith("[") else text[1:])
    return steps


def _faulty_key(values: Json, steps: list[str | int], kind: type) -> str:
    """The first entry of a table that is at fault: alone in it, it is still refused."""
    table = _at(values, steps)
    entries = dict(table)
    try:
        for key, value in entries.items():
            table.clear()
            table[key] = value
            try:
                msgspec.convert(values, kind)
            except msgspec.ValidationError:
                return str(key)
    finally:
        table.clear()
        table.update(entries)
    return ANY_KEY


def _at(values: Json, steps: list[str | int]) -> Json:
    for step in steps:
        values = values[step]
    return values
