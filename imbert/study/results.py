"""The results of a study's runs."""

from collections.abc import Iterable
from pathlib import Path

from imbert.records import Result, read_result
from imbert.result import require_same
from imbert.study.plan import Cell

RESULT = "result.json"


def results_of(cells: Iterable[Cell], out: Path) -> dict[Cell, Result]:
    """The result of each run that has one, which must be of the choices that the study has now.

    Args:
        cells: the runs.
        out: the study's folder.

    Raises:
        ValueError: if a result is damaged, or of other choices.
        OSError: if it cannot be read.
    """
    return {cell: _result(cell, out) for cell in cells if (out / cell.folder / RESULT).exists()}


def _result(cell: Cell, out: Path) -> Result:
    result = read_result(out / cell.folder / RESULT)
    require_same(
        out / cell.folder,
        "has the result of another run",
        result.run.identity,
        cell.run.identity,
    )
    return result
