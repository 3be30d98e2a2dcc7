"""Run a study: train every cell, attack every trained model, summarise; killed at any moment, it
does only what is missing.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from analysis.ground.files import sweep
from analysis.ground.json_records import DamagedRecord
from imbert.data.tasks import OWN
from imbert.records import Failure, plain
from imbert.result import FolderInUseError, write_json, write_record, write_text
from imbert.study.elsewhere import Unit, run_units, shared_token
from imbert.study.missing import FAILED
from imbert.study.plan import STAGES, Cell, StudyConfig
from imbert.study.results import RESULT
from imbert.study.study_record import Study, read_study_record
from imbert.study.summary import summarise
from imbert.study.tables import comma_separated, markdown
from imbert.training.own_data import filled_values, resolved

RANK_VARIABLES = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "GROUP_RANK",
    "ROLE_RANK",
    "MASTER_ADDR",
    "MASTER_PORT",
)
Report = Callable[[str], None]
Progress = Callable[[Iterable[Any], int], Iterable[Any]]


def run_study(
    study: StudyConfig,
    out: Path,
    data: Path,
    stages: Sequence[str] = STAGES,
    shard: tuple[int, int] = (0, 1),
    report: Report = print,
    executor: Executor | None = None,
    progress: Progress = lambda runs, total: runs,
) -> Study | None:
    """Do what is missing of a study's stages for this rank's cells, then write study.json, table.md
    and study.csv.

    As many processes as there are may work in one folder: a cell that another holds is passed over.

    Args:
        study: what to run.
        out: the study's folder.
        data: where relative paths start.
        stages: of STAGES; training and attacking are separate so that one can be repeated without
            the other.
        shard: this rank and how many there are; it takes cells[rank::ranks].
        report: takes lines about progress.
        executor: does the runs in place of this process: its workers need `out` and `data` under
            the same paths. A stage begins when the one before it is done.
        progress: wraps the stream of runs of each stage, of which the total is given: a progress
            bar for instance.

    Returns:
        The summary, as study.json has it; None where it was not asked for.

    Raises:
        ValueError: if a record is damaged, a result is of other choices, data or checkpoints, the
            summary would replace one of more runs, or a worker does not see the folder.
        OSError: if something cannot be read or written.
    """
    rank, ranks = shard
    study = _resolved(study, data)
    sweep(out)
    # before anything is spent: a summary alone holds each result against its choices itself
    if {"train", "attack"} & {*stages}:
        _require_inputs(study, out, data)
    cells = list(study.cells())[rank::ranks]
    out.mkdir(parents=True, exist_ok=True)
    for stage, name in (("train", "train"), ("attack", "attack"), ("attack", "transfer")):
        if stage in stages:
            _run_stage(name, study, cells, out, data, report, executor, progress)
    if "summarise" not in stages:
        return None
    summary = summarise(study, out, data)
    _require_no_loss(summary, out / "study.json", report)
    write_record(out / "study.json", plain(summary))
    write_text(out / "table.md", markdown(summary))
    write_text(out / "study.csv", comma_separated(summary))
    return summary


def _resolved(study: StudyConfig, data: Path) -> StudyConfig:
    """The study with the columns and classes of its own data filled in: all runs share them."""
    run = next(study.cells()).run
    return study.with_data(filled_values(resolved(run, data).data)) if OWN in study.tasks else study


def shard_of_ranks() -> tuple[int, int]:
    """This process's rank under torchrun, whose variables are then removed: each run of a study
    trains in one process.
    """
    shard = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    for name in RANK_VARIABLES:
        os.environ.pop(name, None)
    return shard


def _run_stage(
    stage: str,
    study: StudyConfig,
    cells: Sequence[Cell],
    out: Path,
    data: Path,
    report: Report,
    executor: Executor | None,
    progress: Progress,
) -> None:
    """One stage of every cell, here or by an executor."""
    titles = [
        f"[{number}/{len(cells)}] {stage} {cell.folder}: " for number, cell in enumerate(cells, 1)
    ]
    if executor is None:
        for cell, title in progress(zip(cells, titles, strict=True), len(cells)):
            _guarded(stage, study, cell, out, data, _after(title, report))
        return
    with shared_token(out) as token:
        units = [
            Unit(_guarded, stage, study, cell, title, out.resolve(), data.resolve(), token)
            for cell, title in zip(cells, titles, strict=True)
        ]
        run_units(executor, units, report, progress)


def _after(title: str, report: Report) -> Report:
    return lambda line: report(title + line)


def _guarded(
    stage: str, study: StudyConfig, cell: Cell, out: Path, data: Path, report: Report
) -> None:
    """Do one cell's work; what fails is written into its folder and the study goes on, but a full
    disk ends it.
    """
    failed = out / cell.folder / FAILED.format(stage=stage)
    try:
        work = {"train": _train, "attack": _attack, "transfer": _transfer}[stage]
        work(study, cell, out, data, report)
        failed.unlink(missing_ok=True)
    # its own process writes what became of it
    except FolderInUseError:
        report("in use by another process, passed over")
    except (ValueError, ArithmeticError, RuntimeError) as error:
        line = " ".join(str(error).split())
        write_json(failed, plain(Failure(line, type(error).__name__)))
        report(f"failed: {line}")


def _require_inputs(study: StudyConfig, out: Path, data: Path) -> None:
    """Refuse a study's folder with results of other choices, data or checkpoints than those that
    are there now.
    """
    from imbert.training.finetune import finished

    for cell in study.cells():
        if (out / cell.folder / RESULT).exists():
            with contextlib.suppress(DamagedRecord):  # measured again by its stage
                finished(cell.run, out / cell.folder, data)


def _require_no_loss(summary: Study, path: Path, report: Report) -> None:
    """Refuse to write over a summary whose runs are gone: it is all that is left of them. Another
    plan may ask for fewer runs, but one without any run says nothing.
    """
    if not path.exists():
        return
    try:
        earlier = read_study_record(path)
    except DamagedRecord as error:
        report(f"damaged record, written again: {error}")
        return
    gone = [run for run in earlier.runs if run not in summary.runs]
    if gone and (summary.study == earlier.study or not summary.runs):
        raise ValueError(
            f"{path}: expected the {len(earlier.runs)} runs that it was made from, "
            f"got none in {gone[0]}{f' and {len(gone) - 1} more' if gone[1:] else ''}; "
            "nothing was written"
        )


def _train(study: StudyConfig, cell: Cell, out: Path, data: Path, report: Report) -> None:
    from imbert.training.finetune import finetune, finished

    if (out / cell.folder / RESULT).exists():
        with contextlib.suppress(DamagedRecord):
            finished(cell.run, out / cell.folder, data)
            return
    result = finetune(cell.run, out / cell.folder, data, report)
    assert result is not None  # a run of a study trains in one process
    dev = result.evaluation.dev
    report(
        f"done: dev {dev.in_words if dev else 'not measured'}, "
        f"{result.meta.training.wall_seconds / 60:.1f} minutes"
    )


def _attack(study: StudyConfig, cell: Cell, out: Path, data: Path, report: Report) -> None:
    if not study.is_attacked(cell) or not (out / cell.folder / RESULT).exists():
        return
    from imbert.study.attack_runs import attack_cell

    assert study.attacks is not None
    twin = study.baseline_of(cell)
    known = twin is not None and (out / twin.folder / RESULT).exists()
    attack_cell(cell, study.attacks, out, data, report, twin if known else None)


def _transfer(study: StudyConfig, cell: Cell, out: Path, data: Path, report: Report) -> None:
    """After all attacks: what broke a run to the baseline of its seed, and the other way round."""
    twin = study.baseline_of(cell)
    if (
        twin is None
        or not study.is_attacked(cell)
        or not all((out / run.folder / RESULT).exists() for run in (cell, twin))
    ):
        return
    from imbert.study.transfer_runs import transfer_cell

    assert study.attacks is not None
    transfer_cell(cell, twin, study.attacks, out, data, report)
