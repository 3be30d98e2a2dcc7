"""The scripts of examples/ run and write what they say."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_vector_fields_of_ones_own(tmp_path: Path) -> None:
    command = [sys.executable, "examples/vector_field.py", "--out", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    for line in ("Van der Pol, μ = 20", "Kreiss constant 11.35", "ImplicitEuler"):
        assert line in run.stdout
    assert {path.name for path in tmp_path.iterdir()} == {
        "van-der-pol-start.png",
        "van-der-pol-rest.png",
        "grcar-rk4.png",
        "grcar-radau_iia3.png",
        "module.png",
    }
