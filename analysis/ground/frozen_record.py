"""The base of all records and choices: frozen, every entry of its type, unknown ones refused."""

import dataclasses
from typing import Any, ClassVar

import msgspec


class _DataclassFields:
    """The entries as `dataclasses` sees them, so that its `replace`, `fields` and `asdict` work on
    choices too.
    """

    def __get__(self, instance: object, owner: type[msgspec.Struct]) -> dict[str, Any]:
        entries = [(entry.name, entry.type) for entry in msgspec.structs.fields(owner)]
        made = dataclasses.make_dataclass(owner.__name__, entries)
        return {field.name: field for field in dataclasses.fields(made)}


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Part of a file; entries that no version wrote are refused.

    >>> class Point(Record, frozen=True):
    ...     x: float
    >>> Point(x=1.0)["x"]
    1.0
    """

    def __getitem__(self, name: str) -> Any:
        """An entry by its name in the file."""
        if name not in self.__struct_fields__:
            raise KeyError(name)
        return getattr(self, name)


class PartialRecord(msgspec.Struct, frozen=True):
    """Part of a file that others write: it has these entries and perhaps more."""


class Choice(Record, frozen=True):
    """Part of a plan.

    >>> class Steps(Choice, frozen=True):
    ...     count: int = 1
    >>> dataclasses.replace(Steps(), count=2).count
    2
    """

    __dataclass_fields__: ClassVar[Any] = _DataclassFields()
