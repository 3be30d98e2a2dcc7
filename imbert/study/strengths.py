"""How strong a regularizer may be: the largest strength that costs a point on held-out rows.

The rule sees the rows that the checkpoints were chosen by, and neither dev nor any attack.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain, combinations
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
        seeds: over which means are taken.
        left_out: the other seeds of the plan.
        accuracy: of plain training.
        tried: every regularized model that has these seeds, by kind and strength.
        not_needed: the others: whatever their accuracy, a larger strength of their kind is chosen.
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
    not_needed: list[str]
    chosen: dict[str, str | None]


def choose_strengths(study: StudyConfig, out: Path, most: float = COST) -> Strengths:
    """Of each kind of regularizer in a study, the largest strength whose mean held-out accuracy is
    at most `most` below that of the baseline, which is trained without one.

    Strengths below the chosen one of their kind need no result. Of the seeds, as many are taken as
    the choice can be made by.

    Args:
        study: of one task and size.
        out: its folder, with the results of its runs.
        most: that a strength may cost.

    Raises:
        ValueError: if the study has several tasks or sizes, the baseline has a regularizer, another
            model has none, two models of a kind have one strength, a training failed otherwise than
            by numbers that are not finite, or no seed has all results that the choice needs.
        OSError: if a result cannot be read.
    """
    cells = list(study.cells())
    _require_plan(study, cells)
    diverged = {cell.model for cell in cells if _has_diverged(out / cell.folder)}
    accuracies = _accuracies([cell for cell in cells if cell.model not in diverged], out)
    for seeds in _subsets(study.seeds):
        means = _means(accuracies, study.models, seeds)
        if study.baseline not in means:
            continue
        grid = _grid(cells, means, means[study.baseline], most)
        tried = [each for each in grid if each.model in diverged or each.accuracy is not None]
        chosen = largest_allowed(tried)
        others = [each for each in grid if each not in tried]
        largest = {each.kind: each.strength for each in tried if each.model == chosen[each.kind]}
        if all(each.kind in largest and each.strength < largest[each.kind] for each in others):
            return Strengths(
                name=study.name,
                most=most,
                seeds=list(seeds),
                left_out=[seed for seed in study.seeds if seed not in seeds],
                accuracy=means[study.baseline],
                tried=tried,
                not_needed=[each.model for each in others],
                chosen=chosen,
            )
    raise ValueError(
        f"{out}: expected a seed with a result of {study.baseline} and of every strength from the "
        "largest of its kind down to one that is allowed, got none: run imbert study with --stages "
        "train"
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
        lines.append(f"seeds of the plan that some needed model lacks, left out: {left_out}")
    for each in strengths.tried:
        verdict = "allowed" if each.is_allowed else "too dear"
        measured = (
            "training diverged"
            if each.accuracy is None or each.cost is None
            else f"{each.accuracy:.1%}, {-100 * each.cost:+.1f} points: {verdict}"
        )
        lines.append(f"{each.model} ({each.kind}, {each.strength:g}): {measured}")
    if strengths.not_needed:
        weaker = ", ".join(strengths.not_needed)
        lines.append(f"not needed, as a larger strength of their kind is allowed: {weaker}")
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


def _subsets(seeds: Sequence[int]) -> Iterable[tuple[int, ...]]:
    """Every set of one seed or more, the largest first."""
    return chain.from_iterable(combinations(seeds, n) for n in range(len(seeds), 0, -1))


def _means(
    accuracies: Mapping[tuple[str, int], float], models: Iterable[str], seeds: Collection[int]
) -> dict[str, float]:
    """Over the seeds, of each model that has all of them."""
    return {
        model: float(np.mean([accuracies[model, seed] for seed in seeds]))
        for model in models
        if all((model, seed) in accuracies for seed in seeds)
    }


def _grid(
    cells: Sequence[Cell], means: Mapping[str, float], unregularized: float, most: float
) -> list[Tried]:
    """Every regularized model of the plan, by kind and strength; without an accuracy where it has
    no mean.
    """
    choices = {
        cell.model: cell.run.train.regularizer
        for cell in cells
        if cell.run.train.regularizer is not None
    }
    grid = []
    for name, choice in choices.items():
        accuracy = means.get(name)
        cost = None if accuracy is None else unregularized - accuracy
        grid.append(
            Tried(
                model=name,
                kind=choice.kind,
                strength=_strength(choice),
                accuracy=accuracy,
                cost=cost,
                is_allowed=cost is not None and cost <= most + ROUNDING,
            )
        )
    return sorted(grid, key=lambda each: (each.kind, each.strength))


def _strength(choice: RegularizerChoice) -> float:
    """λ, or of FreeLB, which has none, the radius that its ascent stays in."""
    strength = choice.radius if choice.strength is UNSET else choice.strength
    assert not isinstance(strength, type(UNSET))  # each kind has one of the two
    return strength
