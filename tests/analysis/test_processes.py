"""What only a process of its own can show: a quick start, and a kill in the middle."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_study import STUDY

from analysis import sweep
from analysis.config import StudyConfig, read_texts
from analysis.ground.processes import processes
from analysis.record import write_cell
from analysis.units import measured_by

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
HEAVY = {
    *("torch", "transformers", "odestab", "numpy", "scipy", "matplotlib", "safetensors"),
    *("xarray", "pandas", "pyarrow"),
}


@pytest.mark.parametrize(
    "command", [[], ["analyze"], ["regions"], ["propagate"], ["report"], ["export"], ["info"]]
)
def test_help_loads_nothing_heavy(command):
    code = f"""
import sys
from analysis.__main__ import main
try:
    main({[*command, "--help"]})
except SystemExit as stopped:
    print("code", stopped.code, *sorted({HEAVY} & sys.modules.keys()))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == "" and done.stdout.startswith("usage: odestab")
    assert done.stdout.splitlines()[-1] == "code 0"


def test_wrong_usage_in_a_process():
    done = subprocess.run(
        [sys.executable, "-m", "analysis", "analyze", "--limit", "0"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr.startswith("odestab: error: argument --limit: ")
        and done.stderr.count("\n") == 1
    )


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_killed_run_goes_on_to_the_same_bytes(odestab, desk, finished):
    command = [sys.executable, "-m", "analysis", "analyze", "bert", *STUDY, "--workers", "1"]
    process = subprocess.Popen(
        command, cwd=desk, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    cells, deadline = desk / "run" / "cells", time.monotonic() + 120
    while (
        len(list(cells.glob("*.safetensors"))) < 2
        and time.monotonic() < deadline
        and process.poll() is None
    ):
        time.sleep(0.01)
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
    kept = {path: path.stat().st_mtime_ns for path in cells.glob("*.safetensors")}
    assert len(kept) >= 2 and not (desk / "run" / "summary.json").exists()
    assert odestab.analyze().code == 0
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items())
    for name in (
        "summary.json",
        "config.json",
        *(f"cells/{path.name}" for path in (finished / "cells").iterdir()),
    ):
        assert (desk / "run" / name).read_bytes() == (finished / name).read_bytes(), name


def test_two_ranks_under_torchrun_leave_the_bytes_of_one_process(desk, finished):
    launched = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "analysis",
    ]
    done = subprocess.run(
        [*launched, "analyze", "bert", *STUDY, "--workers", "1"],
        cwd=desk,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "report: " in done.stdout
    for name in (
        "summary.json",
        "config.json",
        *(f"cells/{path.name}" for path in (finished / "cells").iterdir()),
    ):
        assert (desk / "run" / name).read_bytes() == (finished / name).read_bytes(), name


def test_a_worker_process_measures_the_same_bytes(desk, finished, tmp_path):
    texts, pairs = read_texts(Path("texts.tsv"))
    config = StudyConfig("bert", texts, pairs, dense_limit=160)
    prepared = sweep.prepare(config, lambda line: None)
    cells = [cell for cell in prepared.cells if cell.kind == "layer" or cell.perturbation == "typo"]
    with processes(1) as own:
        for cell in measured_by(own, config, cells, prepared.known_by):
            write_cell(tmp_path, cell)
    for cell in cells:
        name = f"{cell.name}.safetensors"
        assert (tmp_path / name).read_bytes() == (finished / "cells" / name).read_bytes()
