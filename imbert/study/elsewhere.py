"""Runs of a study by any executor, whose workers share the study's folder."""

import dataclasses
import secrets
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path

from analysis.ground.executors import completed
from imbert.result import write_text
from imbert.study.plan import Cell, StudyConfig

TOKEN = ".shared-{name}"
Report = Callable[[str], None]
Progress = Callable[[Iterable[list[str]], int], Iterable[list[str]]]
Guarded = Callable[[str, StudyConfig, Cell, Path, Path, Report], None]

_ONE_AT_A_TIME = threading.Lock()  # of a process: training seeds torch's own generator


@dataclasses.dataclass(frozen=True, eq=False)
class Unit:
    """One stage of one run.

    Attributes:
        work: does it; what fails is written into the run's folder.
        stage: "train", "attack" or "transfer".
        study: the plan.
        cell: the run.
        title: that its lines begin with.
        out: the study's folder, shared.
        data: where relative paths start, likewise.
        token: the name of a file in `out`, which a worker must see.
    """

    work: Guarded
    stage: str
    study: StudyConfig
    cell: Cell
    title: str
    out: Path
    data: Path
    token: str


def run_units(
    executor: Executor,
    units: Sequence[Unit],
    report: Report,
    progress: Progress = lambda done, total: done,
) -> None:
    """Do every unit; what one reported is told when it is done.

    Raises:
        ValueError: if a worker does not see the study's folder.
        OSError: if a worker's process dies, or a disk is full.
    """
    done = completed(executor, do, units, lambda unit: f"{unit.stage} {unit.cell.folder}")
    for lines in progress(done, len(units)):
        for line in lines:
            report(line)


def do(unit: Unit) -> list[str]:
    """One unit, in any process; the lines that it reported.

    Raises:
        ValueError: if this machine does not see the study's folder.
    """
    if not (unit.out / unit.token).exists():
        raise ValueError(
            f"{unit.out} on {socket.gethostname()} is not the study's folder: expected "
            "a file system that all workers share, as runs leave their checkpoints there"
        )
    lines: list[str] = []
    with _ONE_AT_A_TIME:
        unit.work(
            unit.stage,
            unit.study,
            unit.cell,
            unit.out,
            unit.data,
            lambda line: lines.append(unit.title + line),
        )
    return lines


@contextmanager
def shared_token(out: Path) -> Iterator[str]:
    """The name of a file in the study's folder by which workers know it, while this block lasts.

    Raises:
        OSError: if it cannot be written.
    """
    name = TOKEN.format(name=secrets.token_hex(8))
    write_text(out / name, "a study is running\n")
    try:
        yield name
    finally:
        (out / name).unlink(missing_ok=True)
