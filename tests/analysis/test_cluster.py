"""A study by a cluster of processes, one of which is killed."""

import os
import re
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from analysis import sweep
from analysis.config import StudyConfig, read_texts
from analysis.ground.schedulers import scheduled
from analysis.record import Cell

pytestmark = pytest.mark.slow
WITHIN = "120s"


@pytest.fixture
def cluster() -> Iterator[object]:
    """Two worker processes of one thread on this machine, without a dashboard."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address=None,
        silence_logs=50,  # of a worker that is killed there is more to say than here
        timeout=WITHIN,
    ) as cluster:
        yield cluster


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_cluster_that_loses_a_worker_gives_the_bytes_of_one_process(
    cluster, desk, finished, tmp_path
):
    texts, pairs = read_texts(Path("texts.tsv"))
    config = StudyConfig("bert", texts, pairs, dense_limit=160)
    prepared = sweep.prepare(config, lambda line: None)
    killed: list[int] = []

    def kill_one(cells: Iterable[Cell], total: int) -> Iterator[Cell]:
        for number, cell in enumerate(cells):
            if number == 2:
                process = cluster.workers[0].process.pid
                os.kill(process, signal.SIGKILL)
                killed.append(process)
            yield cell

    lines: list[str] = []
    with scheduled(cluster.scheduler_address, 2, "cpu", lines.append) as executor:
        found = sweep.run(prepared, tmp_path / "run", pytest.fail, kill_one, executor=executor)
    assert found is not None and len(killed) == 1
    assert len(lines) == 1 and re.match(r"scheduler: tcp://127\.0\.0\.1:\d+, 2 workers", lines[0])
    for path in [*(finished / "cells").iterdir(), finished / "summary.json"]:
        own = tmp_path / "run" / path.relative_to(finished)
        assert own.read_bytes() == path.read_bytes(), path.name


def _die(_: int) -> None:
    os.kill(os.getpid(), 9)


def test_work_that_kills_every_worker_is_told_in_one_line(cluster):
    from analysis.ground.executors import completed

    with (
        pytest.raises(OSError, match=r"in unit 1: every worker that took it died"),
        scheduled(cluster.scheduler_address, 2, "cpu", lambda line: None) as executor,
    ):
        list(completed(executor, _die, [1], lambda unit: f"unit {unit}"))


def test_the_command_takes_a_cluster_of_its_own(odestab, desk, finished):
    outcome = odestab.analyze("--scheduler", "local", "--workers", "1", "--store", "zarr")
    assert outcome.code == 0 and "report: " in outcome.out
    assert re.search(
        r"scheduler: tcp://127\.0\.0\.1:\d+, 1 workers, dashboard: http", outcome.err[0]
    )
    summary = (desk / "run" / "summary.json").read_bytes()
    assert summary == (finished / "summary.json").read_bytes()
