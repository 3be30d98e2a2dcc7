"""A process leaves its group with all of the group's threads ended."""

from pathlib import Path

import pytest
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from imbert.training.processes import leave_group

THREADS = Path("/proc/self/task")


def group_threads() -> int:
    names = [(thread / "comm").read_text() for thread in THREADS.iterdir()]
    return sum("gloo" in name for name in names)


@pytest.mark.skipif(not THREADS.exists(), reason="counts threads in /proc")
def test_no_thread_of_the_group_outlives_it(tmp_path: Path) -> None:
    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1
    )
    wrapped = DistributedDataParallel(torch.nn.Linear(2, 2))
    wrapped(torch.ones(1, 2)).sum().backward()
    wrapped.itself = [wrapped]
    assert group_threads() > 0
    del wrapped
    leave_group()
    assert group_threads() == 0


def test_a_process_without_a_group_leaves_nothing() -> None:
    leave_group()
    assert not distributed.is_initialized()
