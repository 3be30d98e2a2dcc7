"""The small fields of the accuracy of adjoints, and what the published result says of memory."""

import argparse
import json
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_errors_of_the_nonlinear_field_are_of_their_kinds(script) -> None:
    """The implicit error is of the order of the residual, the unrolled one is nothing for the map
    that ran, the others stay.
    """
    options = argparse.Namespace(device="cpu", step_size=1.0, tolerances=[1e-3, 1e-9])
    rows = {
        (row["adjoint"], row["forward rtol"]): row
        for row in script.errors("tanh", *script.small_fields(options)["tanh"], options)
    }
    for rtol in options.tolerances:
        assert (
            rows["implicit", rtol]["error dL/dx"] < rtol
            and rows["unrolled", rtol]["of the map"] < 1e-8
        )
        assert (
            rows["one step", rtol]["error dL/dx"]
            > 0.1
            > rows["phantom 5", rtol]["error dL/dx"]
            > 1e-4
        )


def test_the_published_memory_of_the_implicit_adjoint_does_not_grow() -> None:
    published = json.loads((BENCHMARKS / "results" / "adjoint_accuracy.json").read_text())["memory"]
    ratios = [row["kept / plain"] for row in published if row["what"].startswith("implicit")]
    assert len(ratios) == 6 and max(ratios) <= 1.2 and max(ratios) == min(ratios)
