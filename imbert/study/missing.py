"""What of a study has not been run, or failed."""

from collections.abc import Mapping
from pathlib import Path

from imbert.attack_records import AttackRecord
from imbert.attacks.registry import changes_texts
from imbert.records import Failure, read
from imbert.study.plan import Cell, StudyConfig

Records = Mapping[str, AttackRecord]  # of a run by name
FAILED = "failed-{stage}.json"


def what_is_missing(study: StudyConfig, out: Path, attacks: Mapping[Cell, Records]) -> list[str]:
    """What a study asks for and does not have, with the reason where it is known.

    Args:
        study: its plan.
        out: its folder.
        attacks: the records of each run that has a result.

    Raises:
        ValueError: if the record of a failure is damaged.
    """
    by_folder = {cell.folder: records for cell, records in attacks.items()}
    lines = []
    for cell in study.cells():
        if cell.folder not in by_folder:
            lines.append(f"{cell.folder}: {_failure(out, cell, 'train') or 'not run yet'}")
        elif study.is_attacked(cell) and (lacking := _lacking(study, cell, by_folder[cell.folder])):
            reasons = [_failure(out, cell, stage) for stage in ("attack", "transfer")]
            known = [reason for reason in reasons if reason is not None]
            lines.append(f"{cell.folder}: {'; '.join([*lacking, *known])}")
    return lines


def failed_runs(study: StudyConfig, out: Path) -> list[str]:
    """The records of stages that failed and were not done since."""
    files = [FAILED.format(stage=stage) for stage in ("train", "attack", "transfer")]
    return [
        f"{cell.folder}/{file}"
        for cell in study.cells()
        for file in files
        if (out / cell.folder / file).exists()
    ]


def _lacking(study: StudyConfig, cell: Cell, records: Records) -> list[str]:
    """What an attacked run does not have yet."""
    choice = study.attacks
    if choice is None:
        return []
    names = [name for name in choice.records if name not in records]
    lacking = [f"no attack {', '.join(names)} yet"] if names else []
    if choice.masking and "masking" not in records:
        lacking.append("no masking checks yet")
    is_put_to_other = cell.model != study.baseline and any(map(changes_texts, choice.kinds))
    if is_put_to_other and "transfer" not in records:
        lacking.append("no transfer yet")
    return lacking


def _failure(out: Path, cell: Cell, stage: str) -> str | None:
    """Why a stage failed; None if it did not."""
    path = out / cell.folder / FAILED.format(stage=stage)
    return f"failed: {read(path, Failure).error}" if path.exists() else None
