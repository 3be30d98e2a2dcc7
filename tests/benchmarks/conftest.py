"""A benchmark is a script beside the others, not a module of a package: its test gets it by its own
file's name.
"""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script that the test file is named after, imported anew."""
    name = request.module.__name__.rpartition(".")[2].removeprefix("test_")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module(name)
    for imported in (name, "side_by_side"):
        sys.modules.pop(imported, None)
