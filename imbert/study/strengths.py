"""How strong a regularizer may be: the largest strength that costs a point on held-out rows.

The rule sees the rows that the checkpoints were chosen by, and neither dev nor any attack.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from msgspec import UNSET

from imbert.records import Failure, Number, Record, Result, plain, read
from imbert.result import SCHEMA, write_record
from imbert.study.missing import FAILED
from imbert.study.plan import Cell, StudyConfig
from imbert.study.results import RESULT, results_of
from imbert.training.regularizers.choice import RegularizerChoice

COST = 0.01  # of accuracy, at most
ROUNDING = 1e-9  # shares of some hundred rows lie much further apart
FAILED_TRAINING = FAILED.format(stage="train")
DIVERGED = FloatingPointError.__name__  # what ends a training whose numbers are not finite


class Tried(Record, frozen=True, kw_only=True):
    """A regularized model beside plain training.

    Attributes:
        model: its name in the plan.
        kind: of its regularizer.
        strength: of it, λ; of FreeLB the radius of its ball.
        accuracy: on the held-out rows, mean over the seeds; None where a training diverged.
        cost: by how much that is below plain training's; None likewise.
        is_allowed: whether the cost is small enough.
    """

    model: str
    kind: str
    strength: float
    accuracy: Number
    cost: Number
    is_allowed: bool


class Strengths(Record, frozen=True, kw_only=True):
    """strengths.json: what the held-out rows say of each strength, and what follows.

    Attributes:
        schema: of this file.
        name: of the study.
        most: that a strength may cost.
        seeds: that all models have, over which means are taken.
        left_out: the other seeds of the plan.
        accuracy: of plain training.
        tried: every regularized model, by kind and strength.
        chosen: for each kind the model with the largest strength that is allowed; None where none
            is.
    """

    schema: Literal[1] = SCHEMA
    name: str
    most: float
    seeds: list[int]
    left_out: list[int]
    accuracy: float
    tried: list[Tried]
    chosen: dict[str, str | None]


def choose_strengths(study: StudyConfig, out: Path, most: float = COST) -> Strengths:
    """Of each kind of regularizer in a study, the largest strength whose mean held-out accuracy is
    at most `most` below that of the baseline, which is trained without one.

    Args:
        study: of one task and size.
        out: its folder, with the results of its runs.
        most: that a strength may cost.

    Raises:
        ValueError: if the study has several tasks or sizes, the baseline has a regularizer, another
            model has none, two models of a kind have one strength, a training failed otherwise than
            by numbers that are not finite, or no seed has a result of every model whose training
            did not diverge.
        OSError: if a result cannot be read.
    """
    cells = list(study.cells())
    _require_plan(study, cells)
    diverged = {cell.model for cell in cells if _has_diverged(out / cell.folder)}
    accuracies = _accuracies([cell for cell in cells if cell.model not in diverged], out)
    names = [name for name in study.models if name not in diverged]
    seeds = [seed for seed in study.seeds if all((name, seed) in accuracies for name in names)]
    if study.baseline in diverged or not seeds:
        raise ValueError(
            f"{out}: expected a seed with a result of every model whose training did not diverge, "
            f"{study.baseline} among them, got none: run imbert study with --stages train"
        )
    means = {name: float(np.mean([accuracies[name, seed] for seed in seeds])) for name in names}
    tried = _tried(cells, means, means[study.baseline], most)
    return Strengths(
        name=study.name,
        most=most,
        seeds=seeds,
        left_out=[seed for seed in study.seeds if seed not in seeds],
        accuracy=means[study.baseline],
        tried=tried,
        chosen=largest_allowed(tried),
    )


def largest_allowed(tried: Iterable[Tried]) -> dict[str, str | None]:
    """For each kind the model with the largest strength that is allowed; None where none is."""
    chosen: dict[str, str | None] = {}
    for each in sorted(tried, key=lambda model: model.strength):
        chosen.setdefault(each.kind, None)
        if each.is_allowed:
            chosen[each.kind] = each.model
    return chosen


def told(strengths: Strengths) -> list[str]:
    """Every strength, then the choice."""
    seeds = ", ".join(map(str, strengths.seeds))
    lines = [f"plain training: {strengths.accuracy:.1%} of the held-out rows (seeds {seeds})"]
    if strengths.left_out:
        left_out = ", ".join(map(str, strengths.left_out))
        lines.append(f"seeds of the plan that some model lacks, left out: {left_out}")
    for each in strengths.tried:
        verdict = "allowed" if each.is_allowed else "too dear"
        measured = (
            "training diverged"
            if each.accuracy is None or each.cost is None
            else f"{each.accuracy:.1%}, {-100 * each.cost:+.1f} points: {verdict}"
        )
        lines.append(f"{each.model} ({each.kind}, {each.strength:g}): {measured}")
    return lines + [
        f"chosen for {kind}: {model or 'none, every strength costs too much'}"
        for kind, model in strengths.chosen.items()
    ]


def write_strengths(study: StudyConfig, out: Path) -> list[str]:
    """Write OUT/strengths.json; see `choose_strengths`. The lines that tell it."""
    chosen = choose_strengths(study, out)
    path = out / "strengths.json"
    write_record(path, plain(chosen))
    return [*told(chosen), f"record: {path}"]


def _require_plan(study: StudyConfig, cells: Sequence[Cell]) -> None:
    """Raise ValueError unless it is one comparison of regularizers with plain training."""
    groups = dict.fromkeys(cell.group for cell in cells)
    if len(groups) > 1:
        raise ValueError(f"expected a study of one task and size, got {', '.join(groups)}")
    for cell in cells:
        has_one = cell.run.train.regularizer is not None
        if has_one == (cell.model == study.baseline):
            expected = "without a" if has_one else "with a"
            raise ValueError(
                f"models.{cell.model}: expected a model {expected} regularizer where the baseline "
                f"is {study.baseline}, got another"
            )
    by_strength: dict[tuple[str, float], str] = {}
    for cell in cells:
        if (choice := cell.run.train.regularizer) is not None:
            strength = (choice.kind, _strength(choice))
            other = by_strength.setdefault(strength, cell.model)
            # the rule could not tell them apart, and the order of the plan would choose
            if other != cell.model:
                raise ValueError(
                    f"models.{cell.model}: expected another strength of {choice.kind} than that of "
                    f"{other}, got {strength[1]:g} again"
                )


def _has_diverged(folder: Path) -> bool:
    """Whether a training ended at a number that is not finite. One that ended otherwise, for want
    of memory or of a file, says nothing of its strength.

    Raises:
        ValueError: if a training ended otherwise.
    """
    path = folder / FAILED_TRAINING
    if not path.exists():
        return False
    failure = read(path, Failure)
    if failure.kind != DIVERGED:
        raise ValueError(
            f"{folder}: expected a result or a training that diverged, got one that failed "
            f"({failure.error}): run it again"
        )
    return True


def _accuracies(cells: Iterable[Cell], out: Path) -> dict[tuple[str, int], float]:
    """The held-out accuracy of each run that has a result, by model and seed."""
    return {
        (cell.model, cell.seed): _accuracy(result, out / cell.folder / RESULT)
        for cell, result in results_of(cells, out).items()
    }


def _accuracy(result: Result, path: Path) -> float:
    """Of the checkpoint that was kept, on the rows that it was chosen by."""
    best = [entry.validation for entry in result.train.log if entry.step == result.train.best_step]
    if not best or best[0] is None or best[0].accuracy is None:
        raise ValueError(f"{path}: expected the held-out accuracy of the kept checkpoint, got none")
    return best[0].accuracy


def _tried(
    cells: Sequence[Cell], means: Mapping[str, float], unregularized: float, most: float
) -> list[Tried]:
    """Every regularized model, by kind and strength."""
    choices = {
        cell.model: cell.run.train.regularizer
        for cell in cells
        if cell.run.train.regularizer is not None
    }
    tried = []
    for name, choice in choices.items():
        accuracy = means.get(name)
        cost = None if accuracy is None else unregularized - accuracy
        tried.append(
            Tried(
                model=name,
                kind=choice.kind,
                strength=_strength(choice),
                accuracy=accuracy,
                cost=cost,
                is_allowed=cost is not None and cost <= most + ROUNDING,
            )
        )
    return sorted(tried, key=lambda each: (each.kind, each.strength))


def _strength(choice: RegularizerChoice) -> float:
    """λ, or of FreeLB, which has none, the radius that its ascent stays in."""
    strength = choice.radius if choice.strength is UNSET else choice.strength
    assert not isinstance(strength, type(UNSET))  # each kind has one of the two
    return strength
