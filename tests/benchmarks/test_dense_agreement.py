"""One layer of the agreement of the matrix-free quantities with dense LAPACK, on the embedded
model; the script does them all.
"""

import argparse
import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
def test_every_quantity_of_one_layer_agrees(script, minilm_folder: Path) -> None:
    found = list(script.checks(1, script.TEXTS[3], argparse.Namespace(device="cpu")))
    assert len(found) >= 20 and [check for check in found if not check.holds] == []
    assert all(
        check.unconverged == 0 for check in found if check.quantity.startswith("eigenvalues")
    )


def test_the_published_result_is_of_all_layers_and_holds() -> None:
    published = json.loads((BENCHMARKS / "results" / "dense_agreement.json").read_text())
    assert (
        published["setting"]["layers"] == [0, 1, 2, 3, 4, 5]
        and len(published["setting"]["texts"]) == 4
    )
    assert all(row["hold"] == row["cases"] and row["missing"] == 0 for row in published["summary"])
