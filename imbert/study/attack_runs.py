"""Attack a trained checkpoint with each chosen attack, and check for masked gradients."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from msgspec import UNSET, UnsetType, structs

from analysis.ground.files import sweep
from analysis.ground.identity import file_digest
from imbert.attack_records import (
    Attack,
    AttackRecord,
    Masking,
    OfAttack,
    OfExamples,
    OfMasking,
    OfModel,
    OfTransfer,
    read_attack,
)
from imbert.attacks.attack import AbstractAttack, AttackResult
from imbert.attacks.choice import RADII, AttackChoice
from imbert.attacks.registry import ATTACKS, changes_texts
from imbert.checks.masking import masking_checks
from imbert.data.tasks import Examples
from imbert.model.classifier import Classifier
from imbert.model.solver_log import failures
from imbert.records import plain
from imbert.result import Stopwatch, folder_lock, versions, write_json, write_record
from imbert.study.flipped_texts import TEXTS, texts_file, write_flipped
from imbert.study.plan import Cell
from imbert.toml_tables import Plain
from imbert.training.evaluate import load_classifier
from imbert.training.finetune import CHECKPOINT
from imbert.training.inputs import digest_of_file, model_of
from imbert.training.read_rows import read_split
from imbert.training.run_config import RunConfig

FOLDER = "attacks"  # of a run
MASKING = "masking"
DEFAULTS = ("gradient", "restarts")  # choices that an attack has defaults of its own for
NO_IDENTITY = ("kinds", "masking", "seeds")  # choices that say which others run
Report = Callable[[str], None]
Named = tuple[str, tuple[str, float | None]]  # an attack's name, kind and radius
Progress = Callable[[Iterable[Named], int], Iterable[Named]]
Of = OfAttack | OfMasking | OfTransfer


@dataclasses.dataclass(frozen=True)
class _Stage:
    """One checkpoint under attack.

    Attributes:
        classifier: the model.
        examples: what is attacked.
        of: what its records belong to.
        run: its choices.
        choice: which attacks.
        data: where relative paths start.
        out: where the records go.
        report: takes lines about progress.
        progress: wraps the stream of attacks.
        tells_accuracies: whether a line about an attack says how it went.
    """

    classifier: Classifier
    examples: Examples
    of: OfExamples
    run: RunConfig
    choice: AttackChoice
    data: Path
    out: Path
    report: Report
    progress: Progress
    tells_accuracies: bool

    def made(self, kind: str, radius: float | None) -> AbstractAttack:
        """An attack of the choice; one on texts has no radius."""
        return ATTACKS[kind].load().chosen(self.choice, radius or RADII[0], self.data)

    def attack(self, kind: str, radius: float | None) -> AttackResult:
        """Run it."""
        return self.made(kind, radius).run(self.classifier, self.examples, self.choice.seed)


def attack_checkpoint(
    checkpoint: Path,
    run: RunConfig,
    choice: AttackChoice,
    data: Path,
    out: Path,
    report: Report,
    baseline: Path | None = None,
    progress: Progress = lambda attacks, total: attacks,
    tells_accuracies: bool = True,
) -> dict[str, AttackRecord]:
    """Run the attacks and masking checks that are not in `out` yet, one JSON file each.

    Changed texts go to out/texts, NAME.json for transfers and NAME.tsv for people, on this machine
    alone: the licences of the data forbid to publish them.

    Args:
        checkpoint: a folder with safetensors weights.
        run: its task, its source of dev examples and its texts' length.
        choice: which attacks, on how many examples.
        data: where relative paths start.
        out: where the records go.
        report: takes a line for each attack.
        baseline: the checkpoint of an explicit model, whose perturbations the masking checks put to
            this one; None is none.
        progress: wraps the stream of attacks, of which the total is given: a progress bar for
            instance.
        tells_accuracies: whether the line of an attack says how it went, beside what it took.

    Returns:
        All records by name.

    Raises:
        ValueError: if the checkpoint, the task or a file does not fit.
        OSError: if something cannot be read or written.
    """
    # what is wrong in files is said before the model is loaded
    choice.require_tables(data)
    examples = attacked_examples(run, choice, data)
    classifier = load_classifier(checkpoint, run)
    of = OfExamples(**structs.asdict(of_model(checkpoint, run)), examples=examples.digest)
    stage = _Stage(
        classifier, examples, of, run, choice, data, out, report, progress, tells_accuracies
    )
    (out / TEXTS).mkdir(parents=True, exist_ok=True)
    for folder in (out, out / TEXTS):
        sweep(folder)
    of_checks = _of_checks(stage, None if baseline is None else of_model(baseline, run))
    needs_masking = choice.masking and present(out, MASKING, of_checks, report) is None
    results = _attack_all(stage, needs_masking)
    if needs_masking:
        _check_all(stage, of_checks, results, baseline)
    wanted = [*choice.records, *([MASKING] if choice.masking else [])]
    records = {name: read_attack(out / f"{name}.json") for name in wanted}
    for name, record in records.items():
        if isinstance(record, Attack) and changes_texts(record.attack):
            write_flipped(out, name, record, examples)
    return records


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
    folder = out / cell.folder
    other = None if baseline is None else out / baseline.folder / CHECKPOINT
    with folder_lock(folder):
        attack_checkpoint(
            folder / CHECKPOINT, cell.run, choice, data, folder / FOLDER, report, other
        )


def attacked_examples(run: RunConfig, choice: AttackChoice, data: Path) -> Examples:
    """The first examples of the dev split.

    Raises:
        ValueError: if a row is malformed.
        OSError: if the file cannot be read.
    """
    examples = read_split(run, data, "dev")
    return examples.take(range(min(choice.examples, len(examples))))


def _attack_all(stage: _Stage, needs_masking: bool) -> dict[str, AttackResult]:
    """Run what has no record yet, and for the masking checks every attack on word embeddings: they
    need perturbations, which no record holds.
    """
    results: dict[str, AttackResult] = {}
    attacks = _wanted_attacks(stage, needs_masking)
    wanted = stage.choice.records
    for name, _ in stage.progress(wanted.items(), len(wanted)):
        if name in attacks:
            of, attack = attacks[name]
            watch = Stopwatch.start()
            result = attack.run(stage.classifier, stage.examples, stage.choice.seed)
            results[name] = result
            _write(stage, name, of, result, watch)
            accuracies = f"clean {result.clean_accuracy:.3f}, robust {result.robust_accuracy:.3f}, "
            told = accuracies if stage.tells_accuracies else ""
            stage.report(f"{name}: {told}{watch.read().wall_seconds:.0f} s")
    return results


def _wanted_attacks(
    stage: _Stage, needs_masking: bool
) -> dict[str, tuple[OfAttack, AbstractAttack]]:
    """The attacks to run with what their records belong to, all made before the first one runs: a
    malformed table of words costs no attack.
    """
    attacks = {}
    for name, (kind, radius) in stage.choice.records.items():
        of = _of_attack(stage, kind, radius)
        # the checks look at perturbations, which are not on the disk
        checked = needs_masking and not changes_texts(kind)
        if checked or not _is_known(stage, name, kind, radius, of):
            attacks[name] = of, stage.made(kind, radius)
    return attacks


def _is_known(stage: _Stage, name: str, kind: str, radius: float | None, of: OfAttack) -> bool:
    """Whether the record of an attack is there, with the options that the attack has today."""
    record = present(stage.out, name, of, stage.report)
    if not isinstance(record, Attack):
        return False
    if changes_texts(kind):
        return True
    # since the record was written a default may have changed
    options = {**stage.made(kind, radius).options(), "seed": stage.choice.seed}
    return record.options == plain(options)


def _check_all(
    stage: _Stage, of: OfMasking, results: Mapping[str, AttackResult], baseline: Path | None
) -> None:
    """Make the masking checks, in the balls of the attacks that ran."""
    watch = Stopwatch.start()
    choice = stage.choice
    embedded = [result for result in results.values() if not changes_texts(result.attack)]
    white = [result for result in embedded if ATTACKS[result.attack].uses == "gradients"]
    free = [result for result in embedded if ATTACKS[result.attack].uses == "answers"]
    checks = masking_checks(
        stage.classifier,
        stage.examples,
        white or [stage.attack("pgd", radius) for radius in choice.radii],
        free,
        choice.seed,
        sweep_examples=choice.sweep_examples,
        baseline=None if baseline is None else load_classifier(baseline, stage.run),
    )
    record = Masking(
        checks=checks,
        warnings=[check.sentence for check in checks if check.passed is False],
        of=of,
        spent=watch.read(),
        versions=versions(),
    )
    write_record(stage.out / f"{MASKING}.json", plain(record))
    failed = [check.name for check in checks if check.passed is False]
    passed = sum(check.passed is True for check in checks)
    open_ones = ", ".join(check.name for check in checks if check.passed is None)
    said = f"{passed} of {len(checks)} checks passed, failed: {', '.join(failed) or 'none'}"
    said += f", without a verdict: {open_ones}" if open_ones else ""
    stage.report(f"masking: {said}, {watch.read().wall_seconds:.0f} s")


def identity(choice: AttackChoice, radius: float | None = None) -> dict[str, Plain]:
    """What changes the numbers of an attack at a radius.

    Records from before some choices stay good: the first radius was the only one, and null, and
    what an attack has its own default for was no choice.
    """
    values = {
        name: value for name, value in structs.asdict(choice).items() if name not in NO_IDENTITY
    }
    values["radius"] = None if radius == RADII[0] else radius
    return {
        name: value for name, value in values.items() if value is not None or name not in DEFAULTS
    }


def of_model(checkpoint: Path, run: RunConfig) -> OfModel:
    """What an attack's record says of the attacked model, by content, and of how it reads texts."""
    digests = model_of(checkpoint)
    return OfModel(
        checkpoint=digests.weights,
        config=digests.config,
        tokenizer=digests.tokenizer,
        task=run.data.task,
        max_length=run.data.max_length,
    )


def _of_attack(stage: _Stage, kind: str, radius: float | None) -> OfAttack:
    tables = ATTACKS[kind].load().tables(stage.choice)
    digests = {name: digest_of_file(stage.data / table) for name, table in tables.items()}
    return OfAttack(
        **structs.asdict(stage.of), choice=identity(stage.choice, radius), tables=digests or None
    )


def _of_checks(stage: _Stage, baseline: OfModel | None) -> OfMasking:
    choice = stage.choice
    return OfMasking(
        **structs.asdict(stage.of),
        choice=identity(choice),
        kinds=[name for name, (kind, _) in choice.records.items() if not changes_texts(kind)],
        radii=list(choice.radii),
        baseline=baseline,
    )


def present(out: Path, name: str, of: Of, report: Report) -> AttackRecord | None:
    """A record that is there and of this model, these examples and these choices, else None; a
    damaged one is named and made again.
    """
    path = out / f"{name}.json"
    try:
        record = read_attack(path) if path.exists() else None
    except ValueError as error:
        report(f"damaged record, measured again: {error}")
        return None
    return record if record is not None and record.of == of else None


def _write(stage: _Stage, name: str, of: OfAttack, result: AttackResult, watch: Stopwatch) -> None:
    digest: str | UnsetType = UNSET
    if changes_texts(result.attack):
        texts = texts_file(stage.out, name)
        write_json(texts, result.texts)
        digest = file_digest(texts)
    solves = result.statistics.solver or []
    limit = stage.run.train.failed_limit
    record = Attack(
        **{field: getattr(result, field) for field in shared_fields()},
        warnings=failures("solver at the attack's points", solves, limit),
        texts_digest=digest,
        of=of,
        spent=watch.read(),
        versions=versions(),
    )
    write_record(stage.out / f"{name}.json", plain(record))


def shared_fields() -> list[str]:
    """What an attack's result and its record both have."""
    fields = {field.name for field in dataclasses.fields(AttackResult)}
    return [name for name in Attack.__struct_fields__ if name in fields]
