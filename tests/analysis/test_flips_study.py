"""The published verdict on flips follows from the records beside it, number by number; what the
pages say of it is held by claims.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from analysis.flips import judge, read_files
from analysis.flips.records import Flips
from analysis.ground.typed_records import read_typed

STUDY = Path(__file__).parents[2] / "docs" / "studies" / "conditioning"
RUNS = STUDY / "runs"


def leaves(values: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(values, dict | list):
        entries = values.items() if isinstance(values, dict) else enumerate(values)
        for name, value in entries:
            yield from leaves(value, f"{place}.{name}")
    else:
        yield place, values


def results(record: Flips) -> dict[str, Any]:
    values = msgspec.to_builtins(record)
    del values["versions"]
    return dict(leaves(values))


def files_of(folder: Path) -> list[Path]:
    patterns = ("*/condition.json", "*/result.json", "*/attacks/*.json")
    return [path for pattern in patterns for path in sorted(folder.glob(pattern))]


def require_published(found: Flips, published: Path) -> None:
    again = results(found)
    expected = results(read_typed(published, Flips))
    assert again.keys() == expected.keys()
    for place, value in expected.items():
        close = pytest.approx(value, rel=1e-9, abs=1e-12) if isinstance(value, float) else value
        assert again[place] == close, place


@pytest.mark.slow
def test_the_published_verdict_is_computed_again() -> None:
    files = files_of(RUNS)
    assert len(files) == 5 * (1 + 1 + 3)
    verdict = judge(read_files(files, sorted(RUNS.glob("*/edits.json"))))
    require_published(verdict, STUDY / "flips.json")


@pytest.mark.slow
@pytest.mark.parametrize("task", ["mrpc", "rte"])
def test_the_published_verdict_on_pairs_is_computed_again(task: str) -> None:
    folder = STUDY / task
    files = [folder / "plan.json", *files_of(folder)]
    assert len(files) == 1 + 5 * (1 + 1 + 2)
    require_published(judge(read_files(files)), folder / "flips.json")


@pytest.mark.slow
def test_the_published_verdict_on_implicit_models_is_computed_again() -> None:
    folder = STUDY / "implicit"
    explicit = [path for path in files_of(RUNS) if path.stem != "pgd"]
    files = [folder / "plan.json", *files_of(folder), *explicit]
    assert len(files) == 1 + 10 * (1 + 1 + 2)
    require_published(judge(read_files(files)), folder / "flips.json")
