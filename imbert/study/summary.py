"""A study's runs and attacks as one record: means over seeds with intervals, and paired tests
against the baseline.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from msgspec import UNSET, structs

from analysis.ground.resampling import mean_interval
from imbert.attack_records import Attack, AttackRecord, Masking, Transfers, read_attack
from imbert.attacks.registry import order_of
from imbert.data.advglue import advglue_score, read_advglue
from imbert.model.choice import ModelChoice
from imbert.records import Number, Result, ResultMeta, as_written
from imbert.result import SCHEMA
from imbert.study.below_baseline import below_baseline
from imbert.study.comparison import edits_under_attacks, on_advglue, under_attacks
from imbert.study.edits_needed import mean_edits_needed
from imbert.study.missing import Records, what_is_missing
from imbert.study.plan import Cell, StudyConfig
from imbert.study.plan_file import read_plan_record
from imbert.study.results import results_of
from imbert.study.study_record import (
    AttackSpread,
    Group,
    Model,
    Score,
    SeedSpread,
    Study,
    StudyMeta,
    TrainingSpread,
    TransferSpread,
)
from imbert.study.verdict import verdict

T = TypeVar("T")

MEASURES = {  # name: caption
    "dev": "dev",
    "original": "AdvGLUE originals",
    "adversarial": "AdvGLUE adversarial",
    "conditional": "AdvGLUE adversarial where the original is right",
}
ATTACKS = "attacks"


def summarise(study: StudyConfig, out: Path, data: Path | None = None) -> Study:
    """Everything that the table, the CSV and the figure show, from the files of a study's folder.

    Args:
        study: what was to be run.
        out: the study's folder.
        data: where relative paths start; AdvGLUE's file there says which pairs share an original
            where a run's record does not yet.

    Returns:
        The record as its file has it.

    Raises:
        ValueError: if a record is damaged.
        OSError: if it cannot be read.
    """
    cells = list(study.cells())
    results = {
        cell: _with_clusters(result, data) for cell, result in results_of(cells, out).items()
    }
    attacks = {cell: read_attacks(out / cell.folder / ATTACKS) for cell in results}
    names = _ordered(cell.group for cell in cells)
    plan = read_plan_record(out)
    groups = [
        _group(study, [cell for cell in cells if cell.group == name], results, attacks)
        for name in names
    ]
    return as_written(
        Study(
            schema=SCHEMA,
            name=study.name,
            baseline=study.baseline,
            study=study,
            groups=groups,
            scores=_scores(study, results),
            missing=what_is_missing(study, out, attacks),
            warnings=[*below_baseline(study, results), *_warnings(results, attacks)],
            meta=_meta([result.meta for result in results.values()]),
            plan=UNSET if plan is None else plan.plan,
            plan_changes=plan.changes if plan is not None and plan.changes else UNSET,
        )
    )


def _with_clusters(result: Result, data: Path | None) -> Result:
    """The record of a run with AdvGLUE's clusters, from the file if it is the one that the run was
    evaluated on.
    """
    advglue = result.run.evaluate.advglue
    tasks = result.evaluation.advglue or {}
    # older records do not say which pairs share an original, and only the file can
    if data is None or advglue is None or not (data / advglue).is_file():
        return result
    if all(scores.clusters is not None for scores in tasks.values()):
        return result
    completed = dict(tasks)
    for name, scores in tasks.items():
        pairs = read_advglue(data / advglue, name)
        rows = result.meta.data.get(f"advglue {name}")
        # the clusters of another version of the file would pair other sentences
        if rows is not None and pairs.adversarial.digest == rows.digest:
            clusters = pairs.original.clusters.tolist()
            completed[name] = structs.replace(scores, clusters=clusters)
    evaluation = structs.replace(result.evaluation, advglue=completed)
    return structs.replace(result, evaluation=evaluation)


def read_attacks(folder: Path) -> dict[str, AttackRecord]:
    """The attacks on one run by name.

    Raises:
        ValueError: if a file is damaged.
    """
    return {path.stem: read_attack(path) for path in sorted(folder.glob("*.json"))}


def measures(result: Result) -> dict[str, Number]:
    """The numbers of one run by the names of MEASURES; AdvGLUE's tasks for one GLUE task count
    equally, as in its score.
    """
    dev = result.evaluation.dev
    primary = result.run.data.learnt().metrics[0]
    tasks = (result.evaluation.advglue or {}).values()
    return {
        "dev": dev.metrics.get(primary) if dev else None,
        "original": _mean_share([scores.original_accuracy for scores in tasks]),
        "adversarial": _mean_share([scores.adversarial_accuracy for scores in tasks]),
        "conditional": _mean_share([scores.conditional_accuracy for scores in tasks]),
    }


def role(model: ModelChoice) -> Literal["explicit", "truncated", "implicit"]:
    """What a model's steps are: "truncated" is a given number of gradient descent steps."""
    if model.kind != "im-bert" or model.method == "explicit_euler":
        return "explicit"
    return "truncated" if (model.solver or {}).get("name") == "GradientDescent" else "implicit"


def _mean_share(shares: Sequence[Number]) -> Number:
    known = [share for share in shares if share is not None]
    return float(np.mean(known)) if known and len(known) == len(shares) else None


def _group(
    study: StudyConfig,
    cells: list[Cell],
    results: Mapping[Cell, Result],
    attacks: Mapping[Cell, Records],
) -> Group:
    """All models of one task and size."""
    first = cells[0]
    what = first.run.data.learnt()
    metric = what.metrics[0]
    is_accuracy = what.labels > 1 and metric == "accuracy"
    by_model = {
        name: {cell.seed: cell for cell in cells if cell.model == name} for name in study.models
    }
    baseline = by_model[study.baseline]
    return Group(
        name=first.group,
        task=first.task,
        size=first.size,
        metric=metric,
        chance=1 / what.labels if is_accuracy else None,
        models=[
            _model(name, by_seed, {} if name == study.baseline else baseline, results, attacks)
            for name, by_seed in by_model.items()
        ],
        verdict=verdict(study, by_model, attacks),
    )


def _model(
    name: str,
    by_seed: Mapping[int, Cell],
    baseline: Mapping[int, Cell],
    results: Mapping[Cell, Result],
    attacks: Mapping[Cell, Records],
) -> Model:
    """One model over its seeds, and beside the baseline's runs of the same seeds."""
    choice = next(iter(by_seed.values())).run.model
    done = {seed: cell for seed, cell in by_seed.items() if cell in results}
    runs = {seed: results[cell] for seed, cell in done.items()}
    attacked = {seed: attacks[cell] for seed, cell in done.items()}
    pairs = [(cell, baseline[seed]) for seed, cell in done.items() if baseline.get(seed) in results]
    attacked_pairs = [(attacks[own], attacks[other]) for own, other in pairs]
    numbers = {seed: measures(run) for seed, run in runs.items()}
    return Model(
        name=name,
        kind=choice.kind,
        role=role(choice),
        seeds=list(done),
        measures={
            key: _spread({seed: own[key] for seed, own in numbers.items()}) for key in MEASURES
        },
        training=_training(runs),
        attacks=_attacks(attacked),
        masking=_masking(list(attacked.values())),
        transfer=_transfer(attacked),
        against_baseline=on_advglue([(results[own], results[other]) for own, other in pairs]),
        attacks_against_baseline=under_attacks(attacked_pairs),
        edits_against_baseline=edits_under_attacks(attacked_pairs),
    )


def _training(runs: Mapping[int, Result]) -> TrainingSpread:
    """How well and how long a model was trained."""
    last = {seed: run.train.log[-1].training for seed, run in runs.items()}
    solver = [layer for run in runs.values() for layer in run.meta.solver.training]
    minutes = {seed: run.meta.training.wall_seconds / 60 for seed, run in runs.items()}
    return TrainingSpread(
        loss=_spread({seed: losses.loss for seed, losses in last.items() if losses is not None}),
        minutes=_spread(minutes),
        steps=[run.train.steps for run in runs.values()],
        evaluations=_mean([layer.evaluations_mean for layer in solver]),
        failed_share=_mean([layer.failed_share for layer in solver]),
    )


def _mean(values: Sequence[Number]) -> Number:
    return float(np.mean(np.array(values, dtype=np.float64))) if values else None


def _attacks(attacked: Mapping[int, Records]) -> dict[str, AttackSpread]:
    """Each attack over seeds, always with the clean accuracy on the same examples."""
    by_name: dict[str, dict[int, Attack]] = {}
    for seed, records in attacked.items():
        for name, record in records.items():
            if isinstance(record, Attack):
                by_name.setdefault(name, {})[seed] = record
    return {
        name: AttackSpread(
            **{
                key: _spread({seed: getattr(record, key) for seed, record in by_seed.items()})
                for key in AttackSpread.__struct_fields__
                if key in Attack.__struct_fields__
            },
            edits_needed=_spread(
                {seed: mean_edits_needed(record) for seed, record in by_seed.items()}
            ),
        )
        for name, by_seed in sorted(by_name.items(), key=lambda item: order_of(item[0]))
    }


def _masking(attacked: Sequence[Records]) -> dict[str, list[bool | None]]:
    """Whether each check passed, seed by seed; None where it does not apply."""
    checks = [
        check
        for records in attacked
        if isinstance(masking := records.get("masking"), Masking)
        for check in masking.checks
    ]
    return {
        name: [check.passed for check in checks if check.name == name]
        for name in _ordered(check.name for check in checks)
    }


def _transfer(attacked: Mapping[int, Records]) -> dict[str, TransferSpread]:
    """The share of what broke one model that breaks the other, both ways, over seeds."""
    by_seed = {
        seed: record.transfers
        for seed, records in attacked.items()
        if isinstance(record := records.get("transfer"), Transfers)
    }
    return {
        kind: TransferSpread(
            **{
                way: _spread(
                    {
                        seed: getattr(transfers[kind], way).rate
                        for seed, transfers in by_seed.items()
                        if kind in transfers
                    }
                )
                for way in TransferSpread.__struct_fields__
            }
        )
        for kind in _ordered(kind for transfers in by_seed.values() for kind in transfers)
    }


def _spread(by_seed: Mapping[int, Number]) -> SeedSpread | None:
    """What was measured, with its seeds, the mean and a 95 % t interval; None where nothing was."""
    known = {seed: value for seed, value in by_seed.items() if value is not None}
    if not known:
        return None
    interval = mean_interval(list(known.values()))
    return SeedSpread(
        mean=interval.mean,
        low=interval.low,
        high=interval.high,
        n=interval.n,
        seeds=list(known),
        values=list(known.values()),
    )


def _scores(study: StudyConfig, results: Mapping[Cell, Result]) -> list[Score]:
    """AdvGLUE's score per model and size, from the seeds that have all of its tasks."""
    scores = []
    for size in study.sizes:
        for name in study.models:
            by_seed = {
                seed: _score(
                    [
                        run
                        for cell, run in results.items()
                        if (cell.model, cell.seed, cell.size or 0) == (name, seed, size)
                    ]
                )
                for seed in study.seeds
            }
            if any(score is not None for score in by_seed.values()):
                scores.append(Score(size or None, name, _spread(by_seed)))
    return scores


def _score(runs: Sequence[Result]) -> float | None:
    metrics: dict[str, dict[str, float]] = {}
    for run in runs:
        for name, scores in (run.evaluation.advglue or {}).items():
            known = {key: value for key, value in scores.all.metrics.items() if value is not None}
            # a score over fewer metrics would be another score
            if len(known) < len(scores.all.metrics):
                return None
            metrics[name] = known
    try:
        return advglue_score(metrics)
    except ValueError:  # some task is missing
        return None


def _warnings(results: Mapping[Cell, Result], attacks: Mapping[Cell, Records]) -> list[str]:
    lines = [f"{cell.folder}: {line}" for cell, run in results.items() for line in run.warnings]
    return lines + [
        f"{cell.folder}: {name}: {line}"
        for cell, records in attacks.items()
        for name, record in records.items()
        for line in record.warnings
    ]


def _meta(metas: Sequence[ResultMeta]) -> StudyMeta:
    """What all runs have in common, and the sets of what they do not."""

    def different(choose: Callable[[ResultMeta], object]) -> list[str]:
        return _ordered(str(choose(meta)) for meta in metas)

    return StudyMeta(
        versions=different(lambda meta: meta.versions),
        commits=different(lambda meta: meta.commit),
        data=different(lambda meta: {name: rows.digest for name, rows in meta.data.items()}),
        start=different(lambda meta: meta.checkpoints.start),
    )


def _ordered(values: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(values))
