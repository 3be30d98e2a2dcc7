"""Measure cells in worker processes of one thread each: the same numbers for any number of them."""

from collections.abc import Iterator

import torch

from analysis.cells import CellPlan, sharing_a_path
from analysis.config import StudyConfig
from analysis.ground.processes import in_processes
from analysis.measure import measure
from analysis.record import Cell
from analysis.study import Study, load_study

CELLS_PER_WORKER = 4  # a worker takes as long to start as two or three cells to measure

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
    groups = sharing_a_path(cells)
    for group in in_processes(_measure_together, groups, workers, _begin, (config,)):
        yield from group


def _begin(config: StudyConfig) -> None:
    """The model of a worker."""
    global _study
    torch.set_num_threads(1)
    _study = load_study(config)


def _measure_together(cells: list[CellPlan]) -> list[Cell]:
    return [measure(_study, cell) for cell in cells]
