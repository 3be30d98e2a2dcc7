"""The scripts of examples/ run and write what they say."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def printed(*command: str) -> str:
    """What a script of examples/ prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    script = [sys.executable, f"examples/{command[0]}", *command[1:]]
    run = subprocess.run(
        script, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.slow
def test_vector_fields_of_ones_own(tmp_path: Path) -> None:
    lines = printed("vector_field.py", "--out", str(tmp_path))
    for line in ("Van der Pol, μ = 20", "Kreiss constant 11.35", "ImplicitEuler"):
        assert line in lines
    assert {path.name for path in tmp_path.iterdir()} == {
        "van-der-pol-start.png",
        "van-der-pol-rest.png",
        "grcar-rk4.png",
        "grcar-radau_iia3.png",
        "module.png",
    }


@pytest.mark.slow
def test_a_token_of_a_decoder_changes_none_before_it() -> None:
    table = printed("decoder.py").split("token 3 changed\n")[1].splitlines()[1:]
    sizes = [[float(size) for size in row.split()[1:]] for row in table]
    assert len(sizes) == 4
    assert all(row[:3] == [0.0, 0.0, 0.0] for row in sizes)
    assert all(size > 0 for row in sizes[1:] for size in row[3:])


@pytest.mark.slow
def test_an_image_model_has_a_row_for_each_layer_and_image() -> None:
    rows = [row.split() for row in printed("image_model.py").splitlines()[2:]]
    assert [row[:2] for row in rows] == [[str(k), str(i)] for k in range(3) for i in range(2)]
    # a rightmost eigenvalue with a positive real part is outside of explicit Euler's disc
    assert all(row[4] == "no" for row in rows if float(row[3]) > 0)
