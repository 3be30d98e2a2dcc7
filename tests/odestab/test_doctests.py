"""Every public name shows a small example, and the examples give what they show."""

import ast
import doctest
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import odestab as od

ROOT = Path(__file__).parents[2]
ROOMS = (
    "fields",
    "krylov",
    "operators",
    "spectrum",
    "nonnormality",
    "steps",
    "propagation",
    "encoder_layers",
)
MOST_LINES = 5
OBJECTS = ast.Module | ast.ClassDef | ast.FunctionDef


def doctests(rooms: tuple[str, ...]) -> Iterator[doctest.DocTest]:
    """The examples in some rooms of odestab, read from the source: decorated functions hide theirs
    from doctest's own search.
    """
    files = [file for room in rooms for file in sorted((ROOT / "odestab" / room).rglob("*.py"))]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            text = ast.get_docstring(node) if isinstance(node, OBJECTS) else None
            if text and ">>>" in text:
                name = f"{file.stem}.{getattr(node, 'name', 'module')}"
                line = getattr(node, "lineno", 0)
                yield doctest.DocTestParser().get_doctest(text, given(file), name, str(file), line)


def given(file: Path) -> dict[str, object]:
    """What an example takes for granted: torch, `od`, and the names of its own file."""
    module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
    return {**vars(importlib.import_module(module)), "od": od, "torch": torch}


def lines(test: doctest.DocTest) -> int:
    return sum(example.source.count("\n") for example in test.examples)


@pytest.mark.parametrize("test", tuple(doctests(ROOMS)), ids=lambda test: test.name)
def test_an_example_gives_what_it_shows(test: doctest.DocTest) -> None:
    report: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    assert not report, "".join(report)
    assert any(example.want for example in test.examples), "the example shows no result"
    assert lines(test) <= MOST_LINES


def test_every_public_name_has_an_example() -> None:
    without = [
        name for name in od.__all__ if ">>>" not in (inspect.getdoc(getattr(od, name)) or "")
    ]
    assert without == []
