"""Cells as units of work for any executor: each with the part of the study that it needs."""

import dataclasses
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path

import torch

from analysis.cells import CellPlan, in_good_order
from analysis.config import Excerpt, StudyConfig
from analysis.ground.executors import completed
from analysis.measure import measure
from analysis.record import Cell
from analysis.study import Study, study_of
from analysis.walks import forget_walks

CELLS_PER_WORKER = 4  # a worker takes as long to start as two or three cells to measure
# Derivatives in forward mode are of the whole process: threads of one worker take turns.
_ONE_AT_A_TIME = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Unit:
    """Cells that are measured together.

    Attributes:
        config: the study, with the texts of these cells alone: it travels with every unit.
        cells: of it.
    """

    config: StudyConfig
    cells: tuple[CellPlan, ...]

    @property
    def name(self) -> str:
        """For messages."""
        more = f" and {len(self.cells) - 1} more" if self.cells[1:] else ""
        return f"cell {self.cells[0].name}{more}"


def useful_workers(config: StudyConfig, cells: int, workers: int) -> int:
    """How many processes are worth starting; one means that this process measures."""
    return max(1, min(workers, cells // CELLS_PER_WORKER)) if config.device == "cpu" else 1


def measured_by(
    executor: Executor,
    config: StudyConfig,
    cells: list[CellPlan],
    known_by: dict[str, str],
) -> Iterator[Cell]:
    """Measure cells by an executor, in the order in which they get ready.

    Args:
        executor: of processes or a cluster; threads take turns. A process loads the model once.
        config: the study; its model, where it is a folder, is read under the same path by workers.
        cells: what to measure.
        known_by: digests that a cell must have: of the model that this process has loaded.

    Raises:
        ValueError: if a worker has loaded another model.
        OSError: if a process of the executor dies.
    """
    units = (unit_of(config, group) for group in in_good_order(cells))
    for measured in completed(executor, measure_unit, units, lambda unit: unit.name):
        for cell in measured:
            if any(cell.header.get(key) != value for key, value in known_by.items()):
                raise ValueError(
                    f"cell {cell.name}: a worker has another model than this process under "
                    f"{config.model or 'the embedded default'}"
                )
            yield cell


def unit_of(config: StudyConfig, cells: Sequence[CellPlan]) -> Unit:
    """Some cells with all that is needed to measure them."""
    of_pairs = {i for cell in cells if cell.is_of_pairs for i in cell.texts}
    of_texts = {i for cell in cells if not cell.is_of_pairs for i in cell.texts}
    originals = {config.pairs[i].original for i in of_pairs}
    # the first pair of an original numbers the edits of one text
    firsts = {config.first_pair(original) for original in originals}
    return Unit(
        dataclasses.replace(
            config,
            texts=Excerpt(tuple((i, config.texts[i]) for i in sorted(of_texts or {0}))),
            pairs=Excerpt(tuple((i, config.pairs[i]) for i in sorted(of_pairs | firsts))),
            model=_absolute(config.model),
            steps=_absolute(config.steps),
            directions=_absolute(config.directions),
        ),
        tuple(cells),
    )


def measure_unit(unit: Unit) -> list[Cell]:
    """The cells of a unit, in any process."""
    with _ONE_AT_A_TIME:
        if unit.config.device == "cpu":
            torch.set_num_threads(1)  # equal numbers in any process; of each thread its own
        return list(measured_together(study_of(unit.config), unit.cells))


def measured_together(study: Study, cells: Sequence[CellPlan]) -> Iterator[Cell]:
    """Cells that share a path, one by one; it is not kept after them."""
    try:
        for cell in cells:
            yield measure(study, cell)
    finally:
        forget_walks()


def _absolute(path: str | None) -> str | None:
    """A file or folder, which a worker looks for from another folder; a hub id stays as it is."""
    return str(Path(path).resolve()) if path is not None and Path(path).exists() else path
