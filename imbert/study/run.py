"""Run a study: train every cell, attack every trained model, summarise; killed at any moment, it
does only what is missing.
"""

import contextlib
import csv
import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.ground.files import sweep
from analysis.ground.json_records import DamagedRecord, read_json
from imbert.result import FolderInUseError, write_json, write_record, write_text
from imbert.study.plan import STAGES, Cell, StudyConfig
from imbert.study.summary import FAILED, MEASURES, RESULT, summarise

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
Work = Callable[[StudyConfig, Cell, Path, Path, Report], None]


def run_study(
    study: StudyConfig,
    out: Path,
    data: Path,
    stages: Sequence[str] = STAGES,
    shard: tuple[int, int] = (0, 1),
    report: Report = print,
) -> dict[str, Any]:
    """Do what is missing of a study's stages for this rank's cells, then write study.json, table.md
    and study.csv.

    Any number of processes may work in one folder: a cell that another holds is passed over.

    Args:
        study: what to run.
        out: the study's folder.
        data: where relative paths start.
        stages: of STAGES; training and attacking are separate so that one can be repeated without
            the other.
        shard: this rank and how many there are; it takes cells[rank::ranks].
        report: takes lines about progress.

    Returns:
        The summary.

    Raises:
        ValueError: if a record is damaged, or a result is of other choices, data or checkpoints.
        OSError: if something cannot be read or written.
    """
    rank, ranks = shard
    sweep(out)
    if {"train", "attack"} & {*stages}:
        _require_inputs(study, out, data)
    cells = list(study.cells())[rank::ranks]
    out.mkdir(parents=True, exist_ok=True)
    for stage, name, work in (
        ("train", "train", _train),
        ("attack", "attack", _attack),
        ("attack", "transfer", _transfer),
    ):
        for number, cell in enumerate(cells if stage in stages else [], 1):
            _guarded(
                work,
                name,
                study,
                cell,
                out,
                data,
                _after(f"[{number}/{len(cells)}] {name} {cell.folder}: ", report),
            )
    if "summarise" not in stages:
        return {}
    summary = summarise(study, out, data)
    write_record(out / "study.json", summary)
    write_text(out / "table.md", markdown(summary))
    write_text(out / "study.csv", comma_separated(summary))
    return read_json(out / "study.json")


def shard_of_ranks() -> tuple[int, int]:
    """This process's rank under torchrun, whose variables are then removed: each run of a study
    trains in one process.
    """
    shard = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    for name in RANK_VARIABLES:
        os.environ.pop(name, None)
    return shard


def markdown(summary: Mapping[str, Any]) -> str:
    """One table per task and size: mean over seeds and 95 % t interval; adversarial numbers stand
    beside dev.
    """
    parts = [f"# {summary['name']}\n"]
    for group in summary["groups"]:
        attacks = list(
            dict.fromkeys(name for model in group["models"] for name in model["attacks"])
        )
        captions = [
            *MEASURES.values(),
            *(f"{attack_caption(name)}: robust (clean)" for name in attacks),
            "training loss",
            "minutes",
            "seeds",
        ]
        parts.append(f"\n## {group['name']}, {group['metric']}, %\n")
        parts.append(
            "| model | " + " | ".join(captions) + " |\n" + "|---" * (1 + len(captions)) + "|\n"
        )
        for model in group["models"]:
            seeds, training = len(model["seeds"]), model["training"]
            cells = [told(model["measures"][key]) for key in MEASURES]
            cells += [_robust(model["attacks"].get(name), seeds) for name in attacks]
            cells += [told(training["loss"], 1, 3), told(training["minutes"], 1, 1), str(seeds)]
            parts.append(f"| {model['name']} | " + " | ".join(cells) + " |\n")
        parts += _tests(group, summary["baseline"]) + _attack_tests(group, summary["baseline"])
    parts += [
        f"\nAdvGLUE score, {one['model']}, {one['size'] or 'all'} rows: {told(one['score'])}\n"
        for one in summary["scores"]
    ]
    for name in ("missing", "warnings"):
        parts += [f"\n## {name.capitalize()}\n\n"] + [
            f"- {line}\n" for line in summary[name] or ["nothing"]
        ]
    return "".join(parts)


def told(found: Mapping[str, Any] | None, scale: float = 100, digits: int = 1) -> str:
    """Mean and half-width of an interval; the width is left out where there is one seed."""
    if found is None or found["mean"] is None:
        return "–"
    mean, width = f"{scale * found['mean']:.{digits}f}", found["high"]
    return (
        mean if width is None else f"{mean} ± {scale * (found['high'] - found['mean']):.{digits}f}"
    )


def comma_separated(summary: Mapping[str, Any]) -> str:
    """One line per task, size, model, measure and seed."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["task", "size", "model", "measure", "seed", "value"])
    for group in summary["groups"]:
        for model in group["models"]:
            found = dict(model["measures"])
            for name, attack in model["attacks"].items():
                found |= {
                    f"{name} {key}": attack[key]
                    for key in ("clean_accuracy", "robust_accuracy", "success_rate", "queries")
                }
            found |= {
                "training loss": model["training"]["loss"],
                "training minutes": model["training"]["minutes"],
            }
            for measure, values in found.items():
                for seed, value in (
                    zip(values["seeds"], values["values"], strict=True) if values else []
                ):
                    rows.writerow(
                        [
                            group["task"],
                            group["size"] or "all",
                            model["name"],
                            measure,
                            seed,
                            repr(value),
                        ]
                    )
    return text.getvalue()


def _robust(attack: Mapping[str, Any] | None, seeds: int) -> str:
    """Robust accuracy beside clean accuracy, with the number of seeds where it is not that of the
    model.
    """
    if attack is None:
        return "–"
    count = attack["robust_accuracy"]["n"]
    return f"{told(attack['robust_accuracy'])} ({told(attack['clean_accuracy'])}" + (
        ")" if count == seeds else f"; {_seeds(count)})"
    )


def _seeds(count: int) -> str:
    return f"{count} seed{'s' if count != 1 else ''}"


def _tests(group: Mapping[str, Any], baseline: str) -> list[str]:
    """The paired tests of a group in words."""
    lines = []
    for model in group["models"]:
        for name, which in (
            ("both", f"pairs whose original both it and {baseline} get right"),
            ("all", "all pairs"),
        ):
            found = (model["against_baseline"] or {}).get(name)
            if found and found["pooled"]:
                pooled, both, pairs = found["pooled"], found["hierarchical"], found["pairs"]
                lines.append(
                    f"- {model['name']} − {baseline}, AdvGLUE adversarial, "
                    f"{which} ({sum(pairs)} over {_seeds(len(pairs))}, "
                    f"{_of_clusters(found)}): {_difference(both)} points, "
                    f"{_resampling(found)}; over seeds {told(found['seeds'])}; "
                    f"{pooled['only_a']} only it, {pooled['only_b']} only {baseline} "
                    f"(exact p = {pooled['p_value']:.3g} for these seeds)\n"
                )
    return ["\n", *lines] if lines else []


def _attack_tests(group: Mapping[str, Any], baseline: str) -> list[str]:
    """The paired differences under attack, as a table."""
    against = {
        model["name"]: model.get("attacks_against_baseline") or {} for model in group["models"]
    }
    attacks = list(
        dict.fromkeys(
            name
            for model in group["models"]
            for name in model["attacks"]
            if any(name in f for f in against.values())
        )
    )
    if not attacks:
        return []
    kinds = {"both": f"where both it and {baseline} are right before", "all": "all examples"}
    how = (
        "95 %, resampling seeds and examples; of two seeds Student's t, of one seed examples alone"
    )
    captions = " | ".join(map(attack_caption, attacks))
    lines = [
        f"\nRobust accuracy minus {baseline}'s under the same "
        f"attack on the same examples, points [{how}]\n",
        f"\n| model | examples | {captions} | seeds |\n" + "|---" * (3 + len(attacks)) + "|\n",
    ]
    for name, found in against.items():
        counts = sorted({len(one["all"]["pairs"]) for one in found.values()})
        for kind, caption in kinds.items() if found else ():
            cells = [
                _difference(found[attack][kind]["hierarchical"] if attack in found else None)
                for attack in attacks
            ]
            lines.append(
                f"| {name} | {caption} | {' | '.join(cells)} | {', '.join(map(str, counts))} |\n"
            )
    return lines


def attack_caption(name: str) -> str:
    """An attack by the name of its record, with the radius of its ball in mean word norms where
    there are several.
    """
    kind, _, radius = name.partition("-")
    return f"{kind}, radius {radius}" if radius else name


def _of_clusters(found: Mapping[str, Any]) -> str:
    clusters = found["clusters"]
    return (
        "which of them share a sentence is not known"
        if clusters is None
        else f"of {clusters} sentences"
    )


def _resampling(found: Mapping[str, Any]) -> str:
    """How the interval was made, in words."""
    if len(found["pairs"]) == 2:
        return (
            "Student's t over two seeds, at least what resampling "
            f"{'pairs' if found['clusters'] is None else 'sentences'} gives"
        )
    what = "pairs" if found["clusters"] is None else "sentences"
    return f"resampling {what}" if len(found["pairs"]) == 1 else f"resampling seeds and {what}"


def _difference(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "–"
    low, mean, high = (
        "–" if found[key] is None else f"{100 * found[key]:+.1f}" for key in ("low", "mean", "high")
    )
    return f"{mean} [{low}, {high}]"


def _after(title: str, report: Report) -> Report:
    return lambda line: report(title + line)


def _guarded(
    work: Work, stage: str, study: StudyConfig, cell: Cell, out: Path, data: Path, report: Report
) -> None:
    """Do one cell's work; what fails is written into its folder and the study goes on, but a full
    disk ends it.
    """
    failed = out / cell.folder / FAILED.format(stage=stage)
    try:
        work(study, cell, out, data, report)
        failed.unlink(missing_ok=True)
    except FolderInUseError:
        report("in use by another process, passed over")
    except (ValueError, ArithmeticError, RuntimeError) as error:
        line = " ".join(str(error).split())
        write_json(failed, {"error": line, "kind": type(error).__name__})
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


def _train(study: StudyConfig, cell: Cell, out: Path, data: Path, report: Report) -> None:
    from imbert.training.finetune import finetune, finished

    if (out / cell.folder / RESULT).exists():
        with contextlib.suppress(DamagedRecord):
            finished(cell.run, out / cell.folder, data)
            return
    result = finetune(cell.run, out / cell.folder, data, report)
    found = result["evaluation"].get("dev")
    report(
        f"done: dev {found['metrics'] if found else 'not measured'}, "
        f"{result['meta']['training']['wall_seconds'] / 60:.1f} minutes"
    )


def _attack(study: StudyConfig, cell: Cell, out: Path, data: Path, report: Report) -> None:
    if not study.is_attacked(cell) or not (out / cell.folder / RESULT).exists():
        return
    from imbert.attacks.stage import attack_cell

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
        or not all((out / one.folder / RESULT).exists() for one in (cell, twin))
    ):
        return
    from imbert.attacks.stage import transfer_cell

    assert study.attacks is not None
    transfer_cell(cell, twin, study.attacks, out, data, report)
