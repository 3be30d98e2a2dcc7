"""Models that are right on dev less often than the baseline: a model that guesses more has less
that an attack can take from it, and looks robust.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from analysis.ground.words import counted
from imbert.records import Result, Rows
from imbert.study.comparison import bits, compare_graded
from imbert.study.plan import Cell, StudyConfig
from imbert.study.study_record import GradedComparison


def below_baseline(study: StudyConfig, results: Mapping[Cell, Result]) -> list[str]:
    """A line for each task, size and model whose accuracy on dev lies below the baseline's: the
    whole 95 % interval of their difference, as `on_dev` has it, is below 0.

    Args:
        study: what names the models.
        results: of the runs.
    """
    lines = []
    for (group, name), pairs in _pairs(study.baseline, results).items():
        compared = on_dev(pairs)
        found = None if compared is None else compared.hierarchical
        if found is None or found.mean is None or found.low is None or found.high is None:
            continue
        if found.high < 0:
            lines.append(
                f"{group}: {name}: accuracy on dev minus that of {study.baseline} is "
                f"{100 * found.mean:+.1f} points [{100 * found.low:+.1f}, {100 * found.high:+.1f}] "
                f"(95 %, {counted(found.n, 'seed')}): a model that guesses more looks more robust"
            )
    return lines


def on_dev(pairs: Sequence[tuple[Result, Result]]) -> GradedComparison | None:
    """The difference of two models' accuracies on dev, paired by seed and row.

    It is of the answers that are right, whatever the metric of the task.

    Args:
        pairs: results of equal seed, the model's and the baseline's. Those of a regression, without
            dev, or of other rows than the first result's are left out.

    Returns:
        `compare_graded` of every row, each for itself: "hierarchical" resamples seeds and rows, of
        one seed rows alone, and of two it is at least Student's over them. None where no pair is
        left.
    """
    differences = [
        _right(own) - _right(other)
        for own, other in pairs
        if _rows(own) == _rows(other) == _rows(pairs[0][0])
        and len(_right(own))
        and not own.run.data.is_regression
    ]
    if not differences:
        return None
    values = np.stack(differences)
    return compare_graded(values, np.ones_like(values, dtype=bool))


def _right(result: Result) -> np.ndarray:
    """1 for each row of dev that the model has right, else 0; of no row without dev."""
    dev = result.evaluation.dev
    return bits("" if dev is None else dev.right).astype(np.int64)


def _rows(result: Result) -> tuple[int, Rows | None]:
    """What tells the rows of dev apart; older records know their number alone."""
    return len(_right(result)), result.meta.data.get("dev")


def _pairs(
    baseline: str, results: Mapping[Cell, Result]
) -> dict[tuple[str, str], list[tuple[Result, Result]]]:
    """By task and size, and model: its results beside the baseline's of equal seed."""
    of_baseline = {
        (cell.group, cell.seed): run for cell, run in results.items() if cell.model == baseline
    }
    pairs: dict[tuple[str, str], list[tuple[Result, Result]]] = {}
    for cell, run in results.items():
        other = of_baseline.get((cell.group, cell.seed))
        if cell.model != baseline and other is not None:
            pairs.setdefault((cell.group, cell.model), []).append((run, other))
    return pairs
