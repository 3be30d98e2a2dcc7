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


@pytest.mark.slow
def test_the_published_verdict_is_computed_again() -> None:
    files = [
        path
        for pattern in ("*/condition.json", "*/result.json", "*/attacks/*.json")
        for path in sorted(RUNS.glob(pattern))
    ]
    assert len(files) == 5 * (1 + 1 + 3)
    found = results(judge(read_files(files, sorted(RUNS.glob("*/edits.json")))))
    published = results(read_typed(STUDY / "flips.json", Flips))
    assert found.keys() == published.keys()
    for place, value in published.items():
        close = pytest.approx(value, rel=1e-9, abs=1e-12) if isinstance(value, float) else value
        assert found[place] == close, place
