"""Attack a trained checkpoint with one attack of each kind, check for masked gradients, and put
what broke it to another model.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from analysis.ground.files import sweep
from analysis.ground.identity import file_digest
from analysis.ground.json_records import read_record
from imbert.attacks import (
    AbstractAttack,
    AttackResult,
    CharacterEdits,
    EmbeddingAPGD,
    EmbeddingPGD,
    Square,
    WordSubstitution,
    load_synonyms,
    transfer,
)
from imbert.attacks.base import plain
from imbert.checks.masking import masking_checks
from imbert.data.tasks import Examples
from imbert.model.solver_log import failures
from imbert.records import Attack, attack_kind
from imbert.result import Stopwatch, finite, folder_lock, versions, write_json, write_record
from imbert.study.plan import OF_TEXTS, RADII, AttackChoice, Cell
from imbert.training.evaluate import load_classifier, read_split
from imbert.training.finetune import CHECKPOINT
from imbert.training.inputs import digest_of_file, model_of
from imbert.training.run_config import RunConfig

WHITE_BOX, GRADIENT_FREE = ("pgd", "apgd"), ("square",)
ATTACKS, MASKING, TRANSFER, TEXTS = "attacks", "masking", "transfer", "texts"
Report = Callable[[str], None]
Records = dict[str, dict[str, Any]]


def attack_checkpoint(
    checkpoint: Path,
    run: RunConfig,
    choice: AttackChoice,
    data: Path,
    out: Path,
    report: Report,
    baseline: Path | None = None,
) -> Records:
    """Run the attacks and masking checks that are not in `out` yet, one JSON file each.

    Changed texts go to out/texts, for transfers on this machine: the licences of the data forbid to
    publish them.

    Args:
        checkpoint: a folder with safetensors weights.
        run: its task, its source of dev examples and its texts' length.
        choice: which attacks, on how many examples.
        data: where relative paths start.
        out: where the records go.
        report: takes a line for each attack.
        baseline: the checkpoint of an explicit model, whose perturbations the masking checks put to
            this one; None is none.

    Returns:
        All records by name, with a list "warnings" each.

    Raises:
        ValueError: if the checkpoint, the task or a file does not fit.
        OSError: if something cannot be read or written.
    """
    classifier, examples = load_classifier(checkpoint, run), attacked_examples(run, choice, data)
    of = {**_of_model(checkpoint, run), "examples": examples.digest}
    (out / TEXTS).mkdir(parents=True, exist_ok=True)
    for folder in (out, out / TEXTS):
        sweep(folder)
    results: dict[str, AttackResult] = {}
    embedded = [name for name, (kind, _) in choice.records.items() if kind not in OF_TEXTS]
    of_checks = of | {"choice": _identity(choice), "kinds": embedded, "radii": list(choice.radii)}
    of_checks["baseline"] = None if baseline is None else _of_model(baseline, run)
    needs_masking = choice.masking and _present(out, MASKING, of_checks, report) is None
    for name, (kind, radius) in choice.records.items():
        of_attack = (
            of
            | {"choice": _identity(choice, radius)}
            | (_of_tables(choice, data) if kind == "words" else {})
        )
        known = _present(out, name, of_attack, report)
        if (
            known is not None and radius is not None
        ):  # since its record was written a default may have changed
            options = plain(_attack(kind, radius, choice, data).options() | {"seed": choice.seed})
            known = known if known["options"] == options else None
        if known is None or (
            needs_masking and name in embedded
        ):  # the checks need perturbations, which no record holds
            watch = Stopwatch.start()
            result = results[name] = _attack(kind, radius, choice, data).run(
                classifier, examples, choice.seed
            )
            _write(out, name, of_attack, result, watch, run.train.failed_limit)
            accuracies = f"clean {result.clean_accuracy:.3f}, robust {result.robust_accuracy:.3f}"
            report(f"{name}: {accuracies}, {watch.read().wall_seconds:.0f} s")
    if needs_masking:
        watch = Stopwatch.start()
        white, free = (
            [result for result in results.values() if result.attack in kinds]
            for kinds in (WHITE_BOX, GRADIENT_FREE)
        )
        white = white or [
            _attack("pgd", radius, choice, data).run(classifier, examples, choice.seed)
            for radius in choice.radii
        ]
        other = None if baseline is None else load_classifier(baseline, run)
        checks = masking_checks(
            classifier,
            examples,
            white,
            free,
            choice.seed,
            sweep_examples=choice.sweep_examples,
            baseline=other,
        )
        record = {
            "checks": [check.to_json() for check in checks],
            "warnings": [check.sentence for check in checks if check.passed is False],
        }
        write_record(
            out / f"{MASKING}.json",
            {**record, "of": of_checks, "spent": watch.read(), "versions": versions()},
        )
        report(
            "masking: "
            f"{', '.join(f'{check.name} {check.passed}' for check in checks)}, "
            f"{watch.read().wall_seconds:.0f} s"
        )
    wanted = [*choice.records, *([MASKING] if choice.masking else [])]
    return {name: read_record(out / f"{name}.json", attack_kind(name)) for name in wanted}


def attack_cell(
    cell: Cell,
    choice: AttackChoice,
    out: Path,
    data: Path,
    report: Report,
    baseline: Cell | None = None,
) -> None:
    """Attack one run of a study.

    Args:
        cell: the run.
        choice: which attacks.
        out: the study's folder.
        data: where relative paths start.
        report: takes lines about progress.
        baseline: the trained run of the baseline with the same seed; None for the baseline itself.

    Raises:
        FolderInUseError: if another process attacks this run.
        ValueError: if something does not fit.
        OSError: if something cannot be read or written.
    """
    folder, other = (
        out / cell.folder,
        None if baseline is None else out / baseline.folder / CHECKPOINT,
    )
    with folder_lock(folder):
        attack_checkpoint(
            folder / CHECKPOINT, cell.run, choice, data, folder / ATTACKS, report, other
        )


def transfer_cell(
    cell: Cell, baseline: Cell, choice: AttackChoice, out: Path, data: Path, report: Report
) -> None:
    """Put what broke a run of a study to the baseline of its seed, and the other way round, for
    attacks of texts that both have had.

    Args:
        cell: the run.
        baseline: the run of the baseline with the same seed.
        choice: which attacks.
        out: the study's folder.
        data: where relative paths start.
        report: takes lines about progress.

    Raises:
        FolderInUseError: if another process attacks this run.
        ValueError: if something does not fit.
        OSError: if something cannot be read or written.
    """
    here, there = out / cell.folder, out / baseline.folder
    with folder_lock(here):
        examples = attacked_examples(cell.run, choice, data)
        models = {
            folder: _of_model(folder / CHECKPOINT, cell.run) | {"examples": examples.digest}
            for folder in (here, there)
        }
        attacked = {
            kind: [_attacked(folder, kind, of) for folder, of in models.items()]
            for kind in choice.kinds
            if kind in OF_TEXTS
        }
        kinds = [kind for kind, digests in attacked.items() if all(digests)]
        of: dict[str, Any] = models[here] | {
            "kinds": kinds,
            "choice": _identity(choice),
            "baseline": models[there],
        }
        of |= {"texts": {kind: attacked[kind] for kind in kinds}}
        if not kinds or _present(here / ATTACKS, TRANSFER, of, report):
            return
        ways = {
            "to_baseline": (here, load_classifier(there / CHECKPOINT, cell.run)),
            "from_baseline": (there, load_classifier(here / CHECKPOINT, cell.run)),
        }
        found = {
            kind: {
                way: transfer(_read(source / ATTACKS, kind), examples, target).to_json()
                for way, (source, target) in ways.items()
            }
            for kind in kinds
        }
        write_record(
            here / ATTACKS / f"{TRANSFER}.json", {"transfers": found, "warnings": [], "of": of}
        )
        report(
            "transfer: "
            + ", ".join(
                f"{kind} {way} {one['rate']}"
                for kind, both in found.items()
                for way, one in both.items()
            )
        )


def attacked_examples(run: RunConfig, choice: AttackChoice, data: Path) -> Examples:
    """The first examples of the dev split.

    Raises:
        ValueError: if a row is malformed.
        OSError: if the file cannot be read.
    """
    examples = read_split(run, data, "dev")
    return examples.take(range(min(choice.examples, len(examples))))


def _attack(kind: str, radius: float | None, choice: AttackChoice, data: Path) -> AbstractAttack:
    if kind not in OF_TEXTS:
        assert radius is not None
        climb = {
            name: value
            for name in ("gradient", "restarts")
            if (value := getattr(choice, name)) is not None
        }
        if kind in GRADIENT_FREE:
            return Square(norm=choice.norm, radius=radius)
        return {"pgd": EmbeddingPGD, "apgd": EmbeddingAPGD}[kind](
            norm=choice.norm, radius=radius, **climb
        )
    if kind == "characters":
        return CharacterEdits()
    antonyms = None if choice.antonyms is None else data / choice.antonyms
    return WordSubstitution(synonyms=load_synonyms(data / choice.synonyms, antonyms=antonyms))


def _identity(choice: AttackChoice, radius: float | None = None) -> dict[str, Any]:
    """What changes the numbers of an attack at a radius; which others run does not.

    Records from before some choices stay good.

    The first radius was the only one, and told as none.
    """
    told = {
        name: value
        for name, value in dataclasses.asdict(choice).items()
        if name not in ("kinds", "masking", "seeds")
    }
    told["radius"] = None if radius == RADII[0] else radius
    return {
        name: value
        for name, value in told.items()
        if value is not None or name not in ("gradient", "restarts")
    }


def _of_model(checkpoint: Path, run: RunConfig) -> dict[str, Any]:
    """What an attack's record says of the attacked model, by content, and of how it reads texts."""
    identity = model_of(checkpoint)
    digests = {
        "checkpoint": identity["weights"],
        "config": identity["config"],
        "tokenizer": identity["tokenizer"],
    }
    return digests | {"task": run.data.task, "max_length": run.data.max_length}


def _of_tables(choice: AttackChoice, data: Path) -> dict[str, Any]:
    """The digests of the word tables."""
    tables = {"synonyms": choice.synonyms, "antonyms": choice.antonyms}
    return {
        "tables": {
            name: digest_of_file(data / table)
            for name, table in tables.items()
            if table is not None
        }
    }


def _present(out: Path, name: str, of: dict[str, Any], report: Report) -> Any:
    """A record that is there and of this model, these examples and these choices, else None; a
    damaged one is told and made again.
    """
    path = out / f"{name}.json"
    try:
        record = read_record(path, attack_kind(name)) if path.exists() else None
    except ValueError as error:
        report(f"damaged record, measured again: {error}")
        return None
    return record if record is not None and finite(of) == record["of"] else None


def _write(
    out: Path, name: str, of: dict[str, Any], result: AttackResult, watch: Stopwatch, limit: float
) -> None:
    record = {
        **result.to_json(),
        "warnings": failures(
            "solver at the attack's points", result.statistics.get("solver", []), limit
        ),
    }
    if name in OF_TEXTS:
        write_json(out / TEXTS / f"{name}.json", result.texts)
        record["texts_digest"] = file_digest(out / TEXTS / f"{name}.json")
    write_record(
        out / f"{name}.json", {**record, "of": of, "spent": watch.read(), "versions": versions()}
    )


def _attacked(folder: Path, kind: str, of: dict[str, Any]) -> str | None:
    """The digest of the texts that an attack changed, if they are there, as they were written, and
    of this model and these examples.
    """
    path, texts = folder / ATTACKS / f"{kind}.json", folder / ATTACKS / TEXTS / f"{kind}.json"
    if not (path.exists() and texts.exists()):
        return None
    record = read_record(path, Attack)
    same = all(record["of"].get(name) == value for name, value in of.items()) and record.get(
        "texts_digest"
    ) == file_digest(texts)
    return str(record["texts_digest"]) if same else None


def _read(folder: Path, kind: str) -> AttackResult:
    """An attack on texts as it was before it was written."""
    record, texts = (
        read_record(folder / f"{kind}.json", Attack),
        read_record(folder / TEXTS / f"{kind}.json", list[list[str]]),
    )
    if len(texts) != record["examples"] or any(index >= len(texts) for index in record["changed"]):
        raise ValueError(
            f"{folder}: expected texts of the "
            f"{record['examples']} attacked examples, got {len(texts)}"
        )
    kept = {
        field.name: record[field.name]
        for field in dataclasses.fields(AttackResult)
        if field.name in record
    }
    return AttackResult(
        **kept, texts=tuple(tuple(text) for text in texts), perturbations=(None,) * len(texts)
    )
