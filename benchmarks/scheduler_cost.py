"""What does it cost to hand a cell to a worker, beside measuring it?

Units of real cells of the embedded model go through each way of sharing work, and their worker
answers at once: what is left is pickling, queues and sockets. Wall seconds count the same work in
other processes. CPU seconds are those of this process, which hands out and collects; the scheduler
of dask runs in it too. The last column is a real cell's CPU seconds (`cell_cost.py`) over them: how
many workers one process can feed.
"""

import contextlib
import json
import pickle
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import RESULTS, arguments, publish, table

from analysis.cells import CellPlan
from analysis.config import StudyConfig, default_texts
from analysis.ground.executors import completed
from analysis.ground.processes import processes
from analysis.ground.schedulers import scheduled
from analysis.record import Cell
from analysis.units import Unit, unit_of

Way = Callable[[list[Unit]], Iterator[list[Cell]]]
FLOATS = 1400  # of an answer: 11 kB, as a cell of a layer has


def main() -> None:
    """Time each way, print the table, write the JSON file."""
    options = arguments(__doc__.split("\n")[0], units=1000, workers=2, rounds=3)
    with contextlib.ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(options.workers))
        cluster = stack.enter_context(scheduled("local", options.workers, options.device, print))
        assert cluster is not None
        ways: dict[str, Way] = {
            "this process": lambda units: map(answer, units),
            "threads": lambda units: by(threads, units),
            f"spawn pool of {options.workers}": lambda units: by_own(options.workers, units),
            f"dask of {options.workers} processes": lambda units: by(cluster, units),
        }
        rows = [
            row
            for texts in (32, 10_000)
            for row in rows_of(ways, units_of(texts, options.units), texts, options.rounds)
        ]
    print(table(rows))
    print(publish("scheduler_cost", {"rows": rows, "units": options.units}, options))


def rows_of(
    ways: dict[str, Way], units: list[Unit], texts: int, rounds: int
) -> list[dict[str, Any]]:
    """Each way on the same units, in turns."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(timed(way, units))
    return [{"": name, "texts of the study": texts, **costs(times[name], units)} for name in ways]


def timed(way: Way, units: list[Unit]) -> tuple[float, float]:
    """Wall and CPU seconds for each unit, without those of starting: a spawn pool starts anew at
    each call, so many units are compared with few.
    """
    few = len(units) // 10
    first = spent(way, units[:few])
    second = spent(way, units)
    wall, cpu = ((b - a) / (len(units) - few) for a, b in zip(first, second, strict=True))
    return wall, cpu


def costs(times: list[tuple[float, float]], units: list[Unit]) -> dict[str, float]:
    """The least over the rounds, which other programs disturb least."""
    wall = min(wall for wall, _ in times)
    cpu = min(cpu for _, cpu in times)
    return {
        "bytes of a unit": float(np.mean([len(pickle.dumps(unit)) for unit in units])),
        "wall ms": 1e3 * wall,
        "CPU ms here": 1e3 * cpu,
        "workers one process feeds": cell_seconds() / cpu,
    }


def spent(way: Way, units: list[Unit]) -> tuple[float, float]:
    """Wall and CPU seconds of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    assert sum(len(cells) for cells in way(units)) == len(units)
    return time.perf_counter() - wall, time.process_time() - cpu


def by(executor: Executor, units: list[Unit]) -> Iterator[list[Cell]]:
    """Through an executor, as a study goes."""
    return completed(executor, answer, units, lambda unit: unit.name)


def answer(unit: Unit) -> list[Cell]:
    """Cells of the size of real ones, of no numbers."""
    return [Cell(cell.name, cell.header(), {"numbers": np.zeros(FLOATS)}) for cell in unit.cells]


def by_own(workers: int, units: list[Unit]) -> Iterator[list[Cell]]:
    """Through processes that start for these units."""
    with processes(workers) as own:
        yield from by(own, units)


def units_of(texts: int, count: int) -> list[Unit]:
    """Cells of eight texts in each of six layers of a study of so many texts."""
    sentences, _ = default_texts()
    config = StudyConfig(texts=tuple(f"{i}. {sentences[i % len(sentences)]}" for i in range(texts)))
    plans = [
        CellPlan("layer", tuple((first + i) % texts for i in range(8)), layer=first // 8 % 6)
        for first in range(0, 8 * count, 8)
    ]
    return [unit_of(config, [plan]) for plan in plans]


def cell_seconds() -> float:
    """CPU seconds of a cell of one layer, as measured."""
    path = Path(RESULTS / "cell_cost.json")
    rows = json.loads(path.read_text())["rows"]
    return float(next(row["CPU s"] for row in rows if row[""] == "layer"))


if __name__ == "__main__":
    main()
