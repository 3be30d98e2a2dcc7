"""Measure cells in worker processes of one thread each: the same numbers for any number of them."""

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

import torch

from analysis.cells import CellPlan
from analysis.config import StudyConfig
from analysis.measure import measure
from analysis.record import Cell
from analysis.study import Study, load_study

CELLS_PER_WORKER = 8  # a worker takes as long to start as a few cells to measure

_study: Study  # of a worker process


def useful_workers(config: StudyConfig, cells: int, workers: int) -> int:
    """How many processes are worth starting; one means that this process measures."""
    return max(1, min(workers, cells // CELLS_PER_WORKER)) if config.device == "cpu" else 1


def measured(config: StudyConfig, cells: list[CellPlan], workers: int) -> Iterator[Cell]:
    """Measure cells in worker processes, in the order in which they get ready.

    Args:
        config: the study, loaded by each worker.
        cells: what to measure.
        workers: how many processes.

    Raises:
        OSError: if a worker process dies.
    """
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin, (config,))
    try:
        with _one_thread_each():
            waiting = [pool.submit(_measure_together, group) for group in _sharing_a_path(cells)]
        for done in as_completed(waiting):
            yield from done.result()
    except BrokenProcessPool as error:
        raise OSError(
            "a worker process died, perhaps for want of memory; "
            "try --workers 1, which continues this run"
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started inside have a LAPACK of one thread: it reads the environment when it is
    loaded, before torch can be told.
    """
    before = dict(os.environ)
    os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _sharing_a_path(cells: list[CellPlan]) -> list[list[CellPlan]]:
    """Neighbouring propagation cells of the same texts stay together: they share paths and
    linearisations.
    """

    def shared(cell: CellPlan) -> object:
        return (
            (cell.texts, cell.step_size)
            if cell.kind in ("propagation", "exponents", "declared")
            else cell.name
        )

    return [list(group) for _, group in itertools.groupby(cells, shared)]


def _begin(config: StudyConfig) -> None:
    """Set up a worker: one thread, its own copy of the model, no life without the parent, a silent
    death on Ctrl-C.
    """
    global _study
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _study = load_study(config)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _measure_together(cells: list[CellPlan]) -> list[Cell]:
    return [measure(_study, cell) for cell in cells]
