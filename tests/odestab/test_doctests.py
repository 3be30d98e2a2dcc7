"""Every public function and class has an example of at most five lines, and all examples run."""

import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch

import odestab as od

ROOMS = ("solver", "adjoint", "steps")
MOST_LINES = 5
NEEDS_A_GPU = "kernels"  # Triton's are compiled, and are no API


def modules(room: str) -> Iterator[ModuleType]:
    """The modules of a room, its root first."""
    root = importlib.import_module(f"odestab.{room}")
    yield root
    for found in pkgutil.walk_packages(root.__path__, f"{root.__name__}."):
        if NEEDS_A_GPU not in found.name.split("."):
            yield importlib.import_module(found.name)


def public(room: str) -> dict[str, Any]:
    """What users reach: by `odestab` and by the room itself."""
    root = importlib.import_module(f"odestab.{room}")
    named = {name: getattr(od, name) for name in od.__all__}
    named |= {name: getattr(root, name) for name in getattr(root, "__all__", [])}
    return {
        name: found
        for name, found in named.items()
        if (inspect.isclass(found) or inspect.isroutine(found))
        and f"{found.__module__}.".startswith(f"odestab.{room}.")
    }


@pytest.mark.parametrize("room", ROOMS)
def test_what_is_public_has_a_short_example(room: str) -> None:
    parser = doctest.DocTestParser()
    lengths = {
        name: sum(
            example.source.count("\n")
            for example in parser.get_examples(inspect.cleandoc(found.__doc__ or ""))
        )
        for name, found in public(room).items()
    }
    assert lengths
    assert {name: length for name, length in lengths.items() if not 0 < length <= MOST_LINES} == {}


@pytest.mark.parametrize(
    "module", [one for room in ROOMS for one in modules(room)], ids=lambda one: one.__name__
)
def test_examples_run(module: ModuleType) -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for found in finder.find(module, extraglobs={"od": od, "torch": torch}):
        said: list[str] = []
        runner.run(found, out=said.append)
        assert not runner.failures, "".join(said)
