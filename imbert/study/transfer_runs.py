"""Put what broke one run of a study to another, both ways."""

from pathlib import Path

from msgspec import structs

from analysis.ground.identity import file_digest
from imbert.attack_records import Attack, BothWays, OfExamples, OfTransfer, Transfers
from imbert.attacks.attack import AttackResult
from imbert.attacks.choice import AttackChoice
from imbert.attacks.registry import changes_texts
from imbert.attacks.transferring import transfer
from imbert.data.tasks import Examples
from imbert.records import as_written, plain, read
from imbert.result import folder_lock, write_record
from imbert.study.attack_runs import (
    FOLDER,
    Report,
    attacked_examples,
    identity,
    of_model,
    present,
    shared_fields,
)
from imbert.study.flipped_texts import texts_file
from imbert.study.plan import Cell
from imbert.training.evaluate import load_classifier
from imbert.training.finetune import CHECKPOINT
from imbert.training.run_config import RunConfig

TRANSFER = "transfer"


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
    own = out / cell.folder
    twin = out / baseline.folder
    with folder_lock(own):
        examples = attacked_examples(cell.run, choice, data)
        of = _of_transfer(own, twin, cell.run, choice, examples)
        # nothing that both have had, or done before with the same texts
        if not of.kinds or present(own / FOLDER, TRANSFER, of, report):
            return
        to_twin = load_classifier(twin / CHECKPOINT, cell.run)
        to_own = load_classifier(own / CHECKPOINT, cell.run)
        transfers = {
            kind: BothWays(
                to_baseline=transfer(_read_result(own / FOLDER, kind), examples, to_twin),
                from_baseline=transfer(_read_result(twin / FOLDER, kind), examples, to_own),
            )
            for kind in of.kinds
        }
        record = as_written(Transfers(transfers=transfers, of=of))
        write_record(own / FOLDER / f"{TRANSFER}.json", plain(record))
        rates = ", ".join(
            f"{kind} to_baseline {ways.to_baseline.rate}, "
            f"{kind} from_baseline {ways.from_baseline.rate}"
            for kind, ways in record.transfers.items()
        )
        report(f"transfer: {rates}")


def _of_transfer(
    own: Path, twin: Path, run: RunConfig, choice: AttackChoice, examples: Examples
) -> OfTransfer:
    """What the transfers of a run belong to: those attacks on texts that both runs have had."""
    models = {
        folder: OfExamples(
            **structs.asdict(of_model(folder / CHECKPOINT, run)), examples=examples.digest
        )
        for folder in (own, twin)
    }
    texts: dict[str, list[str]] = {}
    for kind in filter(changes_texts, choice.kinds):
        digests = [_texts_digest(folder, kind, of) for folder, of in models.items()]
        known = [digest for digest in digests if digest is not None]
        if len(known) == len(models):
            texts[kind] = known
    return OfTransfer(
        **structs.asdict(models[own]),
        kinds=list(texts),
        choice=identity(choice),
        baseline=models[twin],
        texts=texts,
    )


def _texts_digest(folder: Path, kind: str, of: OfExamples) -> str | None:
    """The digest of the texts that an attack changed, if they are there, as they were written, and
    of this model and these examples.
    """
    path = folder / FOLDER / f"{kind}.json"
    texts = texts_file(folder / FOLDER, kind)
    if not (path.exists() and texts.exists()):
        return None
    record = read(path, Attack)
    belongs = all(getattr(record.of, name) == value for name, value in structs.asdict(of).items())
    return file_digest(texts) if belongs and record.texts_digest == file_digest(texts) else None


def _read_result(folder: Path, kind: str) -> AttackResult:
    """An attack on texts as it was before it was written."""
    record = read(folder / f"{kind}.json", Attack)
    texts = read(texts_file(folder, kind), list[list[str]])
    if len(texts) != record.examples or any(index >= len(texts) for index in record.changed):
        raise ValueError(
            f"{folder}: expected texts of the {record.examples} attacked examples, got {len(texts)}"
        )
    return AttackResult(
        **{field: getattr(record, field) for field in shared_fields()},
        texts=tuple(tuple(text) for text in texts),
        perturbations=(None,) * len(texts),
    )
