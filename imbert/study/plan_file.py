"""The plan that a study's folder belongs to, by content: OUT/plan.json, written before the first
run and never replaced in silence.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from analysis.ground.question import Question
from imbert.records import Record, plain, read
from imbert.result import write_record
from imbert.study.plan import StudyConfig

PLAN = "plan.json"
Report = Callable[[str], None]


class PlanChange(Record, frozen=True):
    """One plan put in the place of another while the folder had runs.

    Attributes:
        before: sha256 of the plan's file until then.
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
        changes: that were declared, in their order; the first `before` is the plan of the first
            run.
    """

    schema: Literal[1] = 1
    name: str
    tasks: list[str]
    kinds: list[str]
    plan: str
    question: Question | None
    changes: list[PlanChange]


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
    """The plan of a study's folder, written at its first run; another one needs another folder, or
    is declared.

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
    changes = []
    if earlier is not None:
        if not changed:
            raise ValueError(
                f"{out} belongs to the plan {earlier.plan[:12]}, got {digest[:12]}; choose another "
                "folder, or record the change by --plan-changed"
            )
        changes = [*earlier.changes, PlanChange(earlier.plan, digest)]
        report(f"the plan is another one: {earlier.plan[:12]} before, {digest[:12]} now; recorded")
    question = study.question if isinstance(study.question, Question) else None
    record = PlanRecord(
        name=study.name,
        tasks=list(study.tasks),
        kinds=list(dict.fromkeys(cell.run.model.kind for cell in study.cells())),
        plan=digest,
        question=question,
        changes=changes,
    )
    out.mkdir(parents=True, exist_ok=True)
    write_record(out / PLAN, plain(record))
    return record
