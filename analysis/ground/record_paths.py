"""Entries of a record by a path that names them, so that a number in a text, or in a picture, is
found where it was written down.

`groups[name=sst2-1000].models[name=im-bert].measures.dev.mean` goes through objects by their keys
and through lists by what their entries hold, so that a path stays right when a list grows.

| written | is |
|---|---|
| `key`, `"a.key"` | an entry of an object, in quotes where the key holds . [ ] or " |
| `[name=x]`, `[name="x, y",primary=true]` | the one entry of a list with these values |
| `[layers=0 1 2]`, `[layers=]` | likewise by the values of a list of its own |
| `[layers!=]` | the one without that value |
| `[*]`, `[*,attack=words]` | all entries, all with these values |
| `[3]` | the fourth, where the place is the meaning: a layer, a seed |
"""

import re
from collections.abc import Iterator
from typing import Any

_QUOTED = r'"[^"]*"'
_STEP = re.compile(rf'\.?(?P<key>{_QUOTED}|[^.\[\]"]+)|\[(?P<choice>(?:{_QUOTED}|[^\]"])*)\]')
_CONDITION = re.compile(
    rf'(?P<field>{_QUOTED}|[^=!,"]+)(?P<sign>!?=)(?P<value>{_QUOTED}|[^,"]*)(?:,|$)'
)
ALL = "*"


def entry(record: Any, path: str) -> Any:
    """The one entry that a path names; a list where the path asks for all of several.

    Raises:
        ValueError: if there is none, or several where one is meant.
    """
    reached = [record]
    is_list = False
    for step in _steps(path):
        choice = step["choice"]
        if choice is None:
            reached = [_of_object(value, step["key"].strip('"'), path) for value in reached]
        else:
            is_list |= _is_of_all(choice)
            reached = [each for value in reached for each in _of_list(value, choice, path)]
    if is_list and not reached:
        raise ValueError(f"{path}: no entry is like that")
    return reached if is_list else reached[0]


def _steps(path: str) -> Iterator[re.Match[str]]:
    place = 0
    while place < len(path):
        step = _STEP.match(path, place)
        if step is None:
            raise ValueError(f"{path}: expected a key or [field=value], got {path[place:]!r}")
        yield step
        place = step.end()


def _of_object(value: Any, key: str, path: str) -> Any:
    if not isinstance(value, dict) or key not in value:
        known = ", ".join(value) if isinstance(value, dict) else type(value).__name__
        raise ValueError(f"{path}: expected an object with {key!r}, got {known}")
    return value[key]


def _of_list(values: Any, choice: str, path: str) -> list[Any]:
    if not isinstance(values, list):
        raise ValueError(f"{path}: expected a list before [{choice}], got {type(values).__name__}")
    if choice.isdecimal():
        if int(choice) >= len(values):
            raise ValueError(f"{path}: expected more than {choice} entries, got {len(values)}")
        return [values[int(choice)]]
    # *name=x without a comma is no choice of all: only the first would be seen of several
    is_of_all = _is_of_all(choice)
    conditions = choice.removeprefix(ALL).removeprefix(",") if is_of_all else choice
    kept = [value for value in values if _meets(value, conditions, path)]
    if not is_of_all and len(kept) != 1:
        raise ValueError(f"{path}: expected one entry with {choice}, got {len(kept)}")
    return kept


def _is_of_all(choice: str) -> bool:
    return choice.split(",")[0] == ALL


def _meets(value: Any, conditions: str, path: str) -> bool:
    place = 0
    while place < len(conditions):
        condition = _CONDITION.match(conditions, place)
        if condition is None:
            raise ValueError(f"{path}: expected field=value, got {conditions[place:]!r}")
        own = _written(_of_object(value, condition["field"].strip('"'), path))
        if (own == condition["value"].strip('"')) != (condition["sign"] == "="):
            return False
        place = condition.end()
    return True


def _written(value: Any) -> str:
    """As a path writes it: JSON's words, numbers at their shortest, lists by their values."""
    if isinstance(value, list):
        return " ".join(map(_written, value))
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
