"""Both examples of models without texts run and print their tables."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rows", "said"),
    [("decoder", 11, "max |eig J|"), ("image_model", 8, "worst growth")],
)
def test_an_example_runs_and_prints_its_table(name, rows, said):
    script = ROOT / "examples" / f"{name}.py"
    assert len(script.read_text().splitlines()) <= 80
    ran = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    lines = [line for line in ran.stdout.splitlines() if line]
    assert len(lines) == rows and said in ran.stdout and "nan" not in ran.stdout
