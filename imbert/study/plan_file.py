"""The plan that a study's folder belongs to, by content: OUT/plan.json. It binds from the first
result or saved state of a run, and is not replaced in silence from then on.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from msgspec import UNSET, UnsetType, field

from analysis.ground.frozen_record import PartialRecord
from analysis.ground.question import Question
from imbert.data.tasks import OWN
from imbert.records import Record, plain, read
from imbert.result import write_record
from imbert.study.plan import StudyConfig

PLAN = "plan.json"
STUDY = "study.json"
UNKNOWN = "unknown"
# of a run, in its folder: its result, its training before the evaluation, a saved state
TRACES = ("result.json", "train.json", "training/checkpoint-*")
Report = Callable[[str], None]


class PlanChange(Record, frozen=True):
    """One plan put in the place of another while the folder had runs.

    Attributes:
        before: sha256 of the plan's file until then; "unknown" where the runs were found without
            any record of their plan.
        after: sha256 of it from then on.
    """

    before: str
    after: str


class PlanRecord(Record, frozen=True, kw_only=True):
    """plan.json of a study's folder.

    Attributes:
        schema: of this file.
        name: of the study.
        tasks: of the study.
        kinds: of its models.
        plan: sha256 of the contents of the plan's file, as it is now.
        question: of the plan; None where it has none.
        changes: while there were runs, in their order; the first `before` is the plan of the first
            run.
        runs: digests of the choices of all its runs; lacking in records of earlier versions, and
            for data of one's own, whose columns and classes are known only when it is read.
    """

    schema: Literal[1] = 1
    name: str
    tasks: list[str]
    kinds: list[str]
    plan: str
    question: Question | None
    changes: list[PlanChange]
    runs: list[str] | UnsetType = UNSET


class SummarisedPlan(PartialRecord, frozen=True):
    """What study.json says of its plan; nothing in those of earlier versions."""

    plan: str | None = None
    plan_changes: list[PlanChange] = field(default_factory=list)


def read_plan_record(out: Path) -> PlanRecord | None:
    """The plan of a study's folder; None where it has no record of it.

    Raises:
        ValueError: if the record is damaged.
        OSError: if it cannot be read.
    """
    path = out / PLAN
    return read(path, PlanRecord) if path.exists() else None


def hold_plan(
    study: StudyConfig, content: bytes, out: Path, report: Report, changed: bool = False
) -> PlanRecord:
    """The plan of a study's folder. While no run has a result or a saved state, another plan takes
    its place; afterwards it needs another folder, or is declared.

    Runs without plan.json are adopted, and the change says from which plan, as far as study.json
    knows.

    Args:
        study: what the plan's file says.
        content: of the plan's file.
        out: the study's folder.
        report: takes a line about a plan that was changed.
        changed: another plan is taken, and both digests are recorded.

    Raises:
        ValueError: if the folder belongs to another plan, or its record is damaged.
        OSError: if the record cannot be read or written.
    """
    digest = hashlib.sha256(content).hexdigest()
    earlier = read_plan_record(out)
    if earlier is not None and earlier.plan == digest:
        return earlier
    before, changes = _plan_before(out, earlier)
    if before is not None and before != digest:
        # what no record knows cannot be compared, and is adopted
        if before != UNKNOWN and not changed:
            raise ValueError(
                f"{out} belongs to the plan {before[:12]}, got {digest[:12]}; choose another "
                "folder, or record the change by --plan-changed"
            )
        changes = [*changes, PlanChange(before, digest)]
        report(f"the plan is another one: {before[:12]} before, {digest[:12]} now; recorded")
    record = _record(study, digest, changes)
    out.mkdir(parents=True, exist_ok=True)
    write_record(out / PLAN, plain(record))
    return record


def _plan_before(out: Path, earlier: PlanRecord | None) -> tuple[str | None, list[PlanChange]]:
    """Digest of the plan that binds the folder, None where none does, and the changes so far."""
    has_runs = any(next(out.glob(f"runs/*/*/seed-*/{trace}"), None) for trace in TRACES)
    if earlier is not None:
        return (earlier.plan if has_runs else None), earlier.changes
    # plan.json may have been removed, and the summary still names the plan
    path = out / STUDY
    summary = read(path, SummarisedPlan) if path.exists() else SummarisedPlan()
    return summary.plan or (UNKNOWN if has_runs else None), summary.plan_changes


def _record(study: StudyConfig, digest: str, changes: list[PlanChange]) -> PlanRecord:
    question = study.question if isinstance(study.question, Question) else None
    cells = list(study.cells())
    return PlanRecord(
        name=study.name,
        tasks=list(study.tasks),
        kinds=list(dict.fromkeys(cell.run.model.kind for cell in cells)),
        plan=digest,
        question=question,
        changes=changes,
        runs=UNSET if OWN in study.tasks else [cell.run.digest for cell in cells],
    )
