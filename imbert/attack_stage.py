"""Attack a trained checkpoint with one attack of each kind, check for masked gradients, and put what broke it to another model."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from analysis.identity import file_digest
from analysis.json_records import read_record
from analysis.whole_files import sweep
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
from imbert.evaluate import load_classifier, read_split
from imbert.finetune import CHECKPOINT
from imbert.inputs import digest_of_file, model_of
from imbert.masking import masking_checks
from imbert.records import Attack, attack_kind
from imbert.result import Stopwatch, finite, folder_lock, versions, write_json, write_record
from imbert.run_config import RunConfig
from imbert.solver_log import failures
from imbert.study_config import OF_TEXTS, AttackChoice, Cell
from imbert.tasks import Examples

WHITE_BOX, GRADIENT_FREE = ("pgd", "apgd"), ("square",)
ATTACKS, MASKING, TRANSFER, TEXTS = "attacks", "masking", "transfer", "texts"
Report = Callable[[str], None]
Records = dict[str, dict[str, Any]]


def attack_checkpoint(checkpoint: Path, run: RunConfig, choice: AttackChoice, data: Path, out: Path, report: Report) -> Records:
    """Run the attacks and masking checks that are not in `out` yet, one JSON file each.

    Changed texts go to out/texts, for transfers on this machine: the licences of the data forbid to publish them.

    Args:
        checkpoint: a folder with safetensors weights.
        run: its task, its source of dev examples and its texts' length.
        choice: which attacks, on how many examples.
        data: where relative paths start.
        out: where the records go.
        report: takes a line for each attack.

    Returns:
        All records by name, with a list "warnings" each.

    Raises:
        ValueError: if the checkpoint, the task or a file does not fit.
        OSError: if something cannot be read or written.
    """
    classifier, examples = load_classifier(checkpoint, run), attacked_examples(run, choice, data)
    of = {**_of_model(checkpoint, run), "examples": examples.digest, "choice": _identity(choice)}
    (out / TEXTS).mkdir(parents=True, exist_ok=True)
    for folder in (out, out / TEXTS):
        sweep(folder)
    results: dict[str, AttackResult] = {}
    embedded = [kind for kind in choice.kinds if kind in (*WHITE_BOX, *GRADIENT_FREE)]
    of_checks = of | {"kinds": embedded}
    needs_masking = choice.masking and not _present(out, MASKING, of_checks, report)
    for kind in choice.kinds:
        of_kind = of | (_of_tables(choice, data) if kind == "words" else {})
        if not _present(out, kind, of_kind, report) or (needs_masking and kind in embedded):  # the checks need perturbations
            watch = Stopwatch.start()
            result = results[kind] = _attack(kind, choice, data).run(classifier, examples, choice.seed)
            _write(out, kind, of_kind, result, watch, run.train.failed_limit)
            accuracies = f"clean {result.clean_accuracy:.3f}, robust {result.robust_accuracy:.3f}"
            report(f"{kind}: {accuracies}, {watch.read().wall_seconds:.0f} s")
    if needs_masking:
        watch = Stopwatch.start()
        white, free = ([results[kind] for kind in kinds if kind in results] for kinds in (WHITE_BOX, GRADIENT_FREE))
        if not (white or free):
            white = [EmbeddingPGD(**choice.ball).run(classifier, examples, choice.seed)]
        checks = masking_checks(classifier, examples, white, free, choice.seed, sweep_examples=choice.sweep_examples)
        record = {
            "checks": [check.to_json() for check in checks],
            "warnings": [check.sentence for check in checks if check.passed is False],
        }
        write_record(out / f"{MASKING}.json", {**record, "of": of_checks, "spent": watch.read(), "versions": versions()})
        report(f"masking: {', '.join(f'{check.name} {check.passed}' for check in checks)}, {watch.read().wall_seconds:.0f} s")
    wanted = [*choice.kinds, *([MASKING] if choice.masking else [])]
    return {name: read_record(out / f"{name}.json", attack_kind(name)) for name in wanted}


def attack_cell(cell: Cell, choice: AttackChoice, out: Path, data: Path, report: Report) -> None:
    """Attack one run of a study.

    Args:
        cell: the run.
        choice: which attacks.
        out: the study's folder.
        data: where relative paths start.
        report: takes lines about progress.

    Raises:
        FolderInUseError: if another process attacks this run.
        ValueError: if something does not fit.
        OSError: if something cannot be read or written.
    """
    folder = out / cell.folder
    with folder_lock(folder):
        attack_checkpoint(folder / CHECKPOINT, cell.run, choice, data, folder / ATTACKS, report)


def transfer_cell(cell: Cell, baseline: Cell, choice: AttackChoice, out: Path, data: Path, report: Report) -> None:
    """Put what broke a run of a study to the baseline of its seed, and the other way round, for attacks of texts that both have had.

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
        models = {folder: _of_model(folder / CHECKPOINT, cell.run) | {"examples": examples.digest} for folder in (here, there)}
        attacked = {kind: [_attacked(folder, kind, of) for folder, of in models.items()] for kind in choice.kinds if kind in OF_TEXTS}
        kinds = [kind for kind, digests in attacked.items() if all(digests)]
        of: dict[str, Any] = models[here] | {"kinds": kinds, "choice": _identity(choice), "baseline": models[there]}
        of |= {"texts": {kind: attacked[kind] for kind in kinds}}
        if not kinds or _present(here / ATTACKS, TRANSFER, of, report):
            return
        ways = {
            "to_baseline": (here, load_classifier(there / CHECKPOINT, cell.run)),
            "from_baseline": (there, load_classifier(here / CHECKPOINT, cell.run)),
        }
        found = {
            kind: {way: transfer(_read(source / ATTACKS, kind), examples, target).to_json() for way, (source, target) in ways.items()}
            for kind in kinds
        }
        write_record(here / ATTACKS / f"{TRANSFER}.json", {"transfers": found, "warnings": [], "of": of})
        report("transfer: " + ", ".join(f"{kind} {way} {one['rate']}" for kind, both in found.items() for way, one in both.items()))


def attacked_examples(run: RunConfig, choice: AttackChoice, data: Path) -> Examples:
    """The first examples of the dev split.

    Raises:
        ValueError: if a row is malformed.
        OSError: if the file cannot be read.
    """
    examples = read_split(run, data, "dev")
    return examples.take(range(min(choice.examples, len(examples))))


def _attack(kind: str, choice: AttackChoice, data: Path) -> AbstractAttack:
    if kind in WHITE_BOX:
        climb = {name: value for name in ("gradient", "restarts") if (value := getattr(choice, name)) is not None}
        return {"pgd": EmbeddingPGD, "apgd": EmbeddingAPGD}[kind](**choice.ball, **climb)
    if kind in GRADIENT_FREE:
        return Square(**choice.ball)
    if kind == "characters":
        return CharacterEdits()
    antonyms = None if choice.antonyms is None else data / choice.antonyms
    return WordSubstitution(synonyms=load_synonyms(data / choice.synonyms, antonyms=antonyms))


def _identity(choice: AttackChoice) -> dict[str, Any]:
    """What changes the numbers of an attack; which other attacks run does not. Records from before the last two choices stay good."""
    told = {name: value for name, value in dataclasses.asdict(choice).items() if name not in ("kinds", "masking", "seeds")}
    return {name: value for name, value in told.items() if value is not None or name not in ("gradient", "restarts")}


def _of_model(checkpoint: Path, run: RunConfig) -> dict[str, Any]:
    """What an attack's record says of the attacked model, by content, and of how it reads texts."""
    identity = model_of(checkpoint)
    digests = {"checkpoint": identity["weights"], "config": identity["config"], "tokenizer": identity["tokenizer"]}
    return digests | {"task": run.data.task, "max_length": run.data.max_length}


def _of_tables(choice: AttackChoice, data: Path) -> dict[str, Any]:
    """The digests of the word tables."""
    tables = {"synonyms": choice.synonyms, "antonyms": choice.antonyms}
    return {"tables": {name: digest_of_file(data / table) for name, table in tables.items() if table is not None}}


def _present(out: Path, name: str, of: dict[str, Any], report: Report) -> bool:
    """Whether a record is there and of this model, these examples and these choices; a damaged one is told and made again."""
    path = out / f"{name}.json"
    try:
        return path.exists() and finite(of) == read_record(path, attack_kind(name))["of"]
    except ValueError as error:
        report(f"damaged record, measured again: {error}")
        return False


def _write(out: Path, kind: str, of: dict[str, Any], result: AttackResult, watch: Stopwatch, limit: float) -> None:
    record = {**result.to_json(), "warnings": failures("solver at the attack's points", result.statistics.get("solver", []), limit)}
    if kind in OF_TEXTS:
        write_json(out / TEXTS / f"{kind}.json", result.texts)
        record["texts_digest"] = file_digest(out / TEXTS / f"{kind}.json")
    write_record(out / f"{kind}.json", {**record, "of": of, "spent": watch.read(), "versions": versions()})


def _attacked(folder: Path, kind: str, of: dict[str, Any]) -> str | None:
    """The digest of the texts that an attack changed, if they are there, as they were written, and of this model and these examples."""
    path, texts = folder / ATTACKS / f"{kind}.json", folder / ATTACKS / TEXTS / f"{kind}.json"
    if not (path.exists() and texts.exists()):
        return None
    record = read_record(path, Attack)
    same = all(record["of"].get(name) == value for name, value in of.items()) and record.get("texts_digest") == file_digest(texts)
    return str(record["texts_digest"]) if same else None


def _read(folder: Path, kind: str) -> AttackResult:
    """An attack on texts as it was before it was written."""
    record, texts = read_record(folder / f"{kind}.json", Attack), read_record(folder / TEXTS / f"{kind}.json", list[list[str]])
    if len(texts) != record["examples"] or any(index >= len(texts) for index in record["changed"]):
        raise ValueError(f"{folder}: expected texts of the {record['examples']} attacked examples, got {len(texts)}")
    kept = {field.name: record[field.name] for field in dataclasses.fields(AttackResult) if field.name in record}
    return AttackResult(**kept, texts=tuple(tuple(text) for text in texts), perturbations=(None,) * len(texts))
