"""The examples in the docstrings of a package, and what running one of them tells."""

import ast
import doctest
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import torch

import odestab as od

ROOT = Path(__file__).parents[1]
MOST_LINES = 5
OBJECTS = ast.Module | ast.ClassDef | ast.FunctionDef


def examples(package: str) -> tuple[doctest.DocTest, ...]:
    """Every example of a package, read from the source: jaxtyping's decorators hide functions from
    doctest's own search.
    """
    files = sorted((ROOT / package).rglob("*.py"))
    return tuple(test for file in files for test in _of_file(file))


def _of_file(file: Path) -> Iterator[doctest.DocTest]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        text = ast.get_docstring(node) if isinstance(node, OBJECTS) else None
        if text and ">>>" in text:
            name = f"{file.stem}.{getattr(node, 'name', 'module')}"
            line = getattr(node, "lineno", 0)
            yield doctest.DocTestParser().get_doctest(text, {}, name, str(file), line)


def shows_a_result(documented: object) -> bool:
    """Whether the docstring has an example with a result."""
    text = inspect.getdoc(documented) or ""
    return any(example.want for example in doctest.DocTestParser().get_examples(text))


def require(test: doctest.DocTest) -> None:
    """Run an example: it gives what it shows, and is short.

    It takes for granted torch, odestab as `od`, and the names of its own file.
    """
    assert test.filename is not None
    module = ".".join(Path(test.filename).relative_to(ROOT).with_suffix("").parts)
    test.globs = {**vars(importlib.import_module(module)), "od": od, "torch": torch}
    report: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(test, out=report.append)
    assert not report, "".join(report)
    lines = sum(example.source.count("\n") for example in test.examples)
    assert lines <= MOST_LINES, f"the example has {lines} lines"
