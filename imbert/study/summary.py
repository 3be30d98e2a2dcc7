"""A study's runs and attacks as one record: means over seeds with intervals, and paired tests
against the baseline.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.ground.json_records import read_record
from analysis.ground.resampling import mean_interval
from imbert.data.advglue import advglue_score, read_advglue
from imbert.data.tasks import task
from imbert.records import Failure, attack_kind
from imbert.result import SCHEMA, finite, read_result, require_same
from imbert.study.comparison import Run, on_advglue, under_attacks
from imbert.study.plan import ATTACKS as KINDS
from imbert.study.plan import OF_TEXTS, Cell, StudyConfig
from imbert.toml_tables import named
from imbert.training.run_config import run_config

MEASURES = {  # name: caption
    "dev": "dev",
    "original": "AdvGLUE originals",
    "adversarial": "AdvGLUE adversarial",
    "conditional": "AdvGLUE adversarial where the original is right",
}
RESULT, ATTACKS, FAILED = "result.json", "attacks", "failed-{stage}.json"


def summarise(study: StudyConfig, out: Path, data: Path | None = None) -> dict[str, Any]:
    """Everything that the table, the CSV and the figure show, from the files of a study's folder.

    Args:
        study: what was to be run.
        out: the study's folder.
        data: where relative paths start; AdvGLUE's file there says which pairs share an original
            where a run's record does not yet.

    Raises:
        ValueError: if a record is damaged.
        OSError: if it cannot be read.
    """
    cells = list(study.cells())
    present = [cell for cell in cells if (out / cell.folder / RESULT).exists()]
    results = {cell: _with_clusters(_result(out, cell), data) for cell in present}
    attacks = {cell: read_attacks(out / cell.folder / ATTACKS) for cell in results}
    groups = [
        _group(study, [cell for cell in cells if cell.group == name], results, attacks)
        for name in _ordered(cell.group for cell in cells)
    ]
    return finite(
        {
            "schema": SCHEMA,
            "name": study.name,
            "baseline": study.baseline,
            "study": study.as_dict(),
            "groups": groups,
            "scores": _scores(study, results),
            "missing": _missing(study, out, cells, results, attacks),
            "warnings": _warnings(results, attacks),
            "meta": _meta(results),
        }
    )


def _result(out: Path, cell: Cell) -> Run:
    """A cell's result, which must be of the choices that the study has now."""
    found = read_result(out / cell.folder / RESULT)
    run = named(out / cell.folder / RESULT, run_config, found["run"])
    require_same(
        out / cell.folder, "has the result of another run", run.as_dict(), cell.run.as_dict()
    )
    return found


def _with_clusters(result: Run, data: Path | None) -> Run:
    """The record of a run with AdvGLUE's clusters, from the file if it is the one that the run was
    evaluated on.
    """
    file = result["run"]["evaluate"].get("advglue")
    found = result["evaluation"].get("advglue") or {}
    if (
        data is None
        or file is None
        or not (data / file).is_file()
        or all("clusters" in one for one in found.values())
    ):
        return result
    for name, one in found.items():
        pairs = read_advglue(data / file, name)
        if pairs.adversarial.digest == result["meta"]["data"].get(f"advglue {name}", {}).get(
            "digest"
        ):
            one["clusters"] = pairs.original.clusters.tolist()
    return result


def read_attacks(folder: Path) -> dict[str, Any]:
    """The attacks on one run by name.

    Raises:
        ValueError: if a file is damaged.
    """
    return {
        path.stem: read_record(path, attack_kind(path.stem))
        for path in sorted(folder.glob("*.json"))
    }


def measures(result: Run) -> dict[str, float | None]:
    """The numbers of one run by the names of MEASURES; AdvGLUE's tasks for one GLUE task count
    equally, as in its score.
    """
    evaluation, found = result["evaluation"], dict[str, float | None]()
    dev = evaluation.get("dev")
    found["dev"] = (
        dev["metrics"].get(task(result["run"]["data"]["task"]).metrics[0]) if dev else None
    )
    tasks = list((evaluation.get("advglue") or {}).values())
    for name in ("original", "adversarial", "conditional"):
        values = [one[f"{name}_accuracy"] for one in tasks]
        found[name] = float(np.mean(values)) if values and None not in values else None
    return found


def role(model: Mapping[str, Any]) -> str:
    """What a model's steps are: "explicit", "truncated" (a given number of gradient descent steps)
    or "implicit".
    """
    if model.get("kind", "bert") != "im-bert" or model.get("method") == "explicit_euler":
        return "explicit"
    return (
        "truncated" if (model.get("solver") or {}).get("name") == "GradientDescent" else "implicit"
    )


def _group(
    study: StudyConfig, cells: list[Cell], results: Mapping[Cell, Run], attacks: Mapping[Cell, Any]
) -> dict[str, Any]:
    """All models of one task and size."""
    done = {
        name: {cell.seed: cell for cell in cells if cell.model == name and cell in results}
        for name in study.models
    }
    models = []
    for name, by_seed in done.items():
        runs = {seed: results[cell] for seed, cell in by_seed.items()}
        attacked = {seed: attacks[cell] for seed, cell in by_seed.items()}
        shared = [seed for seed in by_seed if seed in done[study.baseline]]
        pairs = [
            (by_seed[seed], done[study.baseline][seed]) for seed in shared if name != study.baseline
        ]
        models.append(
            {
                "name": name,
                "kind": study.models[name].get("kind", "bert"),
                "role": role(study.models[name]),
                "seeds": list(by_seed),
                "measures": {
                    key: _interval({seed: measures(run)[key] for seed, run in runs.items()})
                    for key in MEASURES
                },
                "training": _training(runs),
                "attacks": _attacks(attacked),
                "masking": _masking(list(attacked.values())),
                "transfer": _transfer(attacked),
                "against_baseline": on_advglue([(results[a], results[b]) for a, b in pairs]),
                "attacks_against_baseline": under_attacks(
                    [(attacks[a], attacks[b]) for a, b in pairs]
                ),
            }
        )
    first, labels = cells[0], task(cells[0].task).labels
    metric = task(first.task).metrics[0]
    chance = 1 / labels if labels > 1 and metric == "accuracy" else None
    return {
        "name": first.group,
        "task": first.task,
        "size": first.size,
        "metric": metric,
        "chance": chance,
        "models": models,
    }


def _training(runs: Mapping[int, Run]) -> dict[str, Any]:
    """How well and how long a model was trained."""
    last = {seed: run["train"]["log"][-1] for seed, run in runs.items()}
    solver = [one for run in runs.values() for one in run["meta"]["solver"]["training"]]
    return {
        "loss": _interval(
            {seed: one["training"]["loss"] for seed, one in last.items() if "training" in one}
        ),
        "minutes": _interval(
            {seed: run["meta"]["training"]["wall_seconds"] / 60 for seed, run in runs.items()}
        ),
        "steps": [run["train"]["steps"] for run in runs.values()],
        "evaluations": float(np.mean([one["evaluations_mean"] for one in solver]))
        if solver
        else None,
        "failed_share": float(np.mean([one["failed_share"] for one in solver])) if solver else None,
    }


def _attacks(found: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Each attack over seeds, always with the clean accuracy on the same examples."""
    known = _ordered(
        name for one in found.values() for name in one if "robust_accuracy" in one[name]
    )
    names = sorted(known, key=_rung)
    return {
        name: {
            key: _interval({seed: one[name][key] for seed, one in found.items() if name in one})
            for key in ("clean_accuracy", "robust_accuracy", "success_rate", "queries")
        }
        for name in names
    }


def _rung(name: str) -> tuple[int, float]:
    """The place of an attack's record: by kind, and by radius on its ladder."""
    kind, _, radius = name.partition("-")
    return KINDS.index(kind) if kind in KINDS else len(KINDS), float(radius) if radius.replace(
        ".", ""
    ).isdigit() else 0.0


def _masking(found: Sequence[Mapping[str, Any]]) -> dict[str, list[bool | None]]:
    """Whether each check passed, seed by seed; None where it does not apply."""
    checks = [one["masking"]["checks"] for one in found if "masking" in one]
    return {
        name: [check["passed"] for one in checks for check in one if check["name"] == name]
        for name in _ordered(c["name"] for one in checks for c in one)
    }


def _transfer(found: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """The share of what broke one model that breaks the other, both ways, over seeds."""
    by_seed = {
        seed: one["transfer"]["transfers"] for seed, one in found.items() if "transfer" in one
    }
    return {
        kind: {
            way: _interval(
                {seed: one[kind][way]["rate"] for seed, one in by_seed.items() if kind in one}
            )
            for way in ("to_baseline", "from_baseline")
        }
        for kind in _ordered(kind for one in by_seed.values() for kind in one)
    }


def _interval(by_seed: Mapping[int, float | None]) -> dict[str, Any] | None:
    """What was measured, with its seeds, the mean and a 95 % t interval; None where nothing was."""
    kept = {seed: float(value) for seed, value in by_seed.items() if value is not None}
    if not kept:
        return None
    interval = mean_interval(list(kept.values()))
    found = {"seeds": list(kept), "values": list(kept.values())}
    return found | {
        "mean": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "n": interval.n,
    }


def _scores(study: StudyConfig, results: Mapping[Cell, Run]) -> list[dict[str, Any]]:
    """AdvGLUE's score per model and size, from the seeds that have all of its tasks."""
    found = []
    for size in study.sizes:
        for name in study.models:
            scores = {}
            for seed in study.seeds:
                runs = [
                    run
                    for cell, run in results.items()
                    if (cell.model, cell.seed, cell.size or 0) == (name, seed, size)
                ]
                scores[seed] = _score(runs)
            if any(score is not None for score in scores.values()):
                found.append({"size": size or None, "model": name, "score": _interval(scores)})
    return found


def _score(runs: Sequence[Run]) -> float | None:
    tasks = {
        name: one["all"]["metrics"]
        for run in runs
        for name, one in (run["evaluation"].get("advglue") or {}).items()
    }
    if any(value is None for metrics in tasks.values() for value in metrics.values()):
        return None
    try:
        return advglue_score(tasks)
    except ValueError:  # some task is missing
        return None


def _missing(
    study: StudyConfig,
    out: Path,
    cells: list[Cell],
    results: Mapping[Cell, Run],
    attacks: Mapping[Cell, Any],
) -> list[str]:
    """What the study asks for and does not have, with the reason where it is known."""
    lines = []
    for cell in cells:
        if cell not in results:
            lines.append(f"{cell.folder}: {_failure(out, cell, 'train') or 'not run yet'}")
        elif study.attacks is not None and study.is_attacked(cell):
            found, kinds = attacks[cell], study.attacks.kinds
            lacking = [name for name in study.attacks.records if name not in found]
            wanted = [f"no attack {', '.join(lacking)} yet"] if lacking else []
            if study.attacks.masking and "masking" not in found:
                wanted.append("no masking checks yet")
            if (
                cell.model != study.baseline
                and set(kinds) & set(OF_TEXTS)
                and "transfer" not in found
            ):
                wanted.append("no transfer yet")
            failed = [
                one for stage in ("attack", "transfer") if (one := _failure(out, cell, stage))
            ]
            if wanted:
                lines.append(f"{cell.folder}: {'; '.join([*wanted, *failed])}")
    return lines


def _failure(out: Path, cell: Cell, stage: str) -> str | None:
    """Why a stage failed; None if it did not."""
    path = out / cell.folder / FAILED.format(stage=stage)
    return f"failed: {read_record(path, Failure)['error']}" if path.exists() else None


def _warnings(results: Mapping[Cell, Run], attacks: Mapping[Cell, Any]) -> list[str]:
    lines = [f"{cell.folder}: {line}" for cell, run in results.items() for line in run["warnings"]]
    return lines + [
        f"{cell.folder}: {name}: {line}"
        for cell, found in attacks.items()
        for name, one in found.items()
        for line in one.get("warnings", [])
    ]


def _meta(results: Mapping[Cell, Run]) -> dict[str, Any]:
    """What all runs have in common, and the sets of what they do not."""
    every = [run["meta"] for run in results.values()]

    def told(choose: Callable[[Run], Any]) -> list[Any]:
        return _ordered(str(choose(meta)) for meta in every)

    return {
        "versions": told(lambda meta: meta["versions"]),
        "commits": told(lambda meta: meta["commit"]),
        "data": told(lambda meta: {name: one["digest"] for name, one in meta["data"].items()}),
        "start": told(lambda meta: meta["checkpoints"]["start"]),
    }


def _ordered(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))
