"""Task, kind of model and seed of each condition, and which of them are judged together."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.conditioning.records import Condition
from analysis.flips.files import Arm, Attack, Attacked, Run, StudyPlan

OF_ONE_RUN = frozenset(  # what runs that are pooled may differ in: the seed, and what is shown
    {"train.seed", "train.report_to", "train.logging_dir", "train.progress"}
)


@dataclasses.dataclass(frozen=True)
class Group:
    """Models that are judged together: a sentence is drawn with all of them.

    Attributes:
        task: of all.
        kind: of all; empty for several kinds, or where it is not known.
        models: indices.
        is_one_kind: whether all are of one kind; only then a primary outcome was fixed.
    """

    task: str
    kind: str
    models: tuple[int, ...]
    is_one_kind: bool


def arms_of(
    conditions: Mapping[Path, Condition],
    attacks: Sequence[tuple[int, Attack]],
    runs: Mapping[Path, Run],
) -> tuple[Arm, ...]:
    """The arm of each condition: from the result of its run, else the task that its attacks name.

    Args:
        conditions: by file.
        attacks: each with the index of its condition.
        runs: results by file; of all conditions, or of none.

    Raises:
        ValueError: if only some conditions have a run, a run and an attack name different tasks, or
            two models are of one task, kind and seed.
    """
    by_weights = {run.weights: run for run in runs.values()}
    arms: list[Arm] = []
    for index, (path, condition) in enumerate(conditions.items()):
        run = by_weights.get(condition.identity["weights"] or "")
        if runs and run is None:
            raise ValueError(
                f"{path}: expected the result.json of its run beside those of others, got none"
            )
        tasks = {attack.of.task for model, attack in attacks if model == index}
        named = {task for task in tasks if task is not None}
        if run is not None:
            named.add(run.arm.task)
        if len(named) > 1:
            raise ValueError(
                f"{path}: expected attacks on one task, got {' and '.join(sorted(named))}"
            )
        arm = Arm(next(iter(named), ""), "", None) if run is None else run.arm
        if run is not None and arm in arms:
            raise ValueError(
                f"{path}: expected one model of each task, kind and seed, got another "
                f"{arm.words}: {list(conditions)[arms.index(arm)]}"
            )
        arms.append(arm)
    return tuple(arms)


def require_runs_of_studies(runs: Mapping[Path, Run]) -> None:
    """Raise ValueError where two results, by file, are of one model, or two runs of one task and
    kind differ in more than the seed.
    """
    by_weights: dict[str, Path] = {}
    of_kind: dict[tuple[str, str], Path] = {}
    for path, run in runs.items():
        twin = by_weights.setdefault(run.weights or str(path), path)
        if twin != path:
            raise ValueError(f"expected results of different weights, got {twin} and {path}")
        first = of_kind.setdefault((run.arm.task, run.arm.kind), path)
        chosen = _training(run.run)
        before = _training(runs[first].run)
        unlike = [
            name
            for name in sorted({*chosen, *before})
            if name not in OF_ONE_RUN and chosen.get(name) != before.get(name)
        ]
        if unlike:
            raise ValueError(
                f"expected runs of {run.arm.task}, {run.arm.kind} that differ in train.seed alone, "
                f"got {first} and {path}, which differ in {', '.join(unlike)}"
            )


def _training(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Choices by table and name, without those of the evaluation, which leave the weights as they
    are, and without nulls, which older results lack.
    """
    return {
        f"{table}.{name}": value
        for table, entries in choices.items()
        if table != "evaluate"
        for name, value in entries.items()
        if value is not None
    }


def require_one_plan_each(arms: Iterable[Arm], plans: Mapping[Path, StudyPlan]) -> None:
    """Raise ValueError where several plans cover a model, or a plan with a question stands beside
    models of which no run is known.
    """
    arms = list(arms)
    asked = [path for path, plan in plans.items() if plan.question is not None]
    if asked and not any(arm.run for arm in arms):
        raise ValueError(
            f"{asked[0]}: expected the result.json of each model beside a plan with a question, "
            "got none"
        )
    for arm in arms:
        of_arm = [path for path, plan in plans.items() if plan.covers([arm])]
        if len(of_arm) > 1:
            named = ", ".join(name for name in (arm.task, arm.kind) if name)
            raise ValueError(
                f"expected one plan for models of {named or 'one study'}, got "
                f"{' and '.join(map(str, of_arm))}"
            )


def groups_of(arms: Sequence[Arm], models: Iterable[int]) -> list[Group]:
    """Of one task: all kinds together where there are several, then each kind."""
    chosen = list(models)
    task = arms[chosen[0]].task
    kinds = list(dict.fromkeys(arms[model].kind for model in chosen))
    every = [Group(task, "", tuple(chosen), False)] if len(kinds) > 1 else []
    return every + [
        Group(task, kind, tuple(m for m in chosen if arms[m].kind == kind), True) for kind in kinds
    ]


def tasks_of(arms: Sequence[Arm], models: Iterable[int]) -> dict[str, list[int]]:
    """The models of each task."""
    tasks: dict[str, list[int]] = {}
    for model in models:
        tasks.setdefault(arms[model].task, []).append(model)
    return tasks


def seed_pairs(arms: Sequence[Arm], models: Iterable[int]) -> dict[str, list[tuple[int, int]]]:
    """By explicit kind, pairs of an explicit and an implicit model of one seed, of one task."""
    chosen = list(models)
    pairs: dict[str, list[tuple[int, int]]] = {}
    for target in chosen:
        if not arms[target].is_implicit:
            continue
        for source in chosen:
            kind = arms[source].kind
            if not arms[source].is_implicit and arms[source].seed == arms[target].seed:
                pairs.setdefault(kind, []).append((source, target))
    return pairs


def missing_seeds(attack: str, arms: Sequence[Arm], models: Iterable[int]) -> list[str]:
    """Which models an attack lacks of each kind and seed that the task has."""
    chosen = [arms[model] for model in models]
    task = chosen[0].task
    of_task = [arm for arm in arms if arm.task == task]
    seeds = sorted({arm.seed for arm in of_task if arm.seed is not None})
    return [
        f"{Arm(task, kind, seed).words}: not attacked by {attack}"
        for kind in dict.fromkeys(arm.kind for arm in of_task)
        for seed in seeds
        if not any((arm.kind, arm.seed) == (kind, seed) for arm in chosen)
    ]


def several_choices(arms: Sequence[Arm], attacked: Iterable[Attacked]) -> list[str]:
    """Attacks of one name that differ in their options within a task."""
    choices: dict[tuple[str, str], set[str]] = {}
    for each in attacked:
        key = (arms[each.model].task, each.attack.attack)
        choices.setdefault(key, set()).add(each.attack.choice)
    return [
        f"{task or 'models'}: {attack} with {len(found)} sets of options, each judged alone"
        for (task, attack), found in choices.items()
        if len(found) > 1
    ]


def unmeasured(conditions: Iterable[Condition], runs: Iterable[Run]) -> list[str]:
    """Runs that were given without a condition."""
    known = {condition.identity["weights"] for condition in conditions}
    return [f"{run.arm.words}: no condition.json" for run in runs if run.weights not in known]
