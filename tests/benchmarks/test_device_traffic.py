"""The committed counts are those of the code: nothing is waited for inside a chunk, and once a
look, a cycle or a solve's end.
"""

import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
INSIDE = {"iteration", "product", "pair of products"}


def published() -> list[dict]:
    return json.loads((BENCHMARKS / "results" / "device_traffic.json").read_text())["loops"]


def test_nothing_is_waited_for_inside_a_chunk() -> None:
    inside = [row for row in published() if row["unit"] in INSIDE]
    assert len(inside) >= 12 and [row for row in inside if row["waits"] != 0] == []


@pytest.mark.slow
def test_the_published_counts_are_those_of_the_code(script) -> None:
    again = {
        "FixedPoint",
        "gmres",
        "arnoldi",
        "lanczos",
        "golub_kahan",
        "krylov_schur",
    }  # the quicker ones
    assert [script.row(loop) for loop in script.LOOPS if loop.name in again] == [
        row for row in published() if row["loop"] in again
    ]
