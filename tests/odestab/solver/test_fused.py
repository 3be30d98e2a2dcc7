"""The fused stages do what the plain ones do: in Triton's interpreter, and on a GPU where there is
one.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from odestab.solver.kernels import PlainStages, Task, stages
from odestab.solver.mixing import Mixing
from odestab.solver.stopping import Stopping

SCRIPT = Path(__file__).parent / "fused_stages.py"
CASES = (
    *(
        "fixed_point_in_single_precision",
        "damped_fixed_point",
        "a_closed_example_and_one_that_is_not_finite",
        "stalls_and_the_best_iterate",
    ),
    *(
        "memory_1",
        "memory_3_and_a_closed_example",
        "memory_5_in_single_precision",
        "memory_3_that_is_forgotten",
    ),
    *(
        "memory_2_damped_every_other_time_and_the_last_iterate_kept",
        "memory_2_where_progress_is_slow",
        "images_that_are_not_finite",
    ),
    *(
        "weights_are_those_of_the_least_squares_problem",
        "batch_mates_do_not_matter_bit_for_bit",
        "the_iterate_in_low_precision",
    ),
    *("a_solve_with_its_history", "a_solve_of_states_in_low_precision"),
)
needs_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def run(device: str, *cases: str) -> dict[str, str]:
    """What each case finds wrong, "" for nothing; in a process of its own, since the interpreter is
    chosen before the import.
    """
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not installed: it is for Linux alone")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", str(SCRIPT), device, *cases]
    found = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert found.returncode == 0, found.stderr[-2000:]
    return json.loads(found.stdout)


@pytest.fixture(scope="module")
def wrong_in_the_interpreter() -> dict[str, str]:
    return run("cpu", *CASES)


@pytest.fixture(scope="module")
def wrong_on_a_gpu() -> dict[str, str]:
    return run("cuda", *CASES, "a_graph_replays_the_iterations")


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_in_the_interpreter(wrong_in_the_interpreter: dict[str, str], case: str) -> None:
    assert not wrong_in_the_interpreter[case], wrong_in_the_interpreter[case]


@pytest.mark.gpu
@needs_a_gpu
@pytest.mark.parametrize("case", [*CASES, "a_graph_replays_the_iterations"])
def test_on_a_gpu(wrong_on_a_gpu: dict[str, str], case: str) -> None:
    assert not wrong_on_a_gpu[case], wrong_on_a_gpu[case]


def test_a_cpu_takes_the_plain_stages() -> None:
    y = torch.ones(2, 3)
    task = Task(y, 1.0, 1.0, 0.0, torch.ones(2), Mixing(2), Stopping(rtol=1e-3), None, 1)
    assert isinstance(stages(task, y, y), PlainStages)
