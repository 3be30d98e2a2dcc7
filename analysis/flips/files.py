"""What is read of the files that a verdict takes. Knows imbert's files, not imbert."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from analysis.conditioning.records import Condition
from analysis.edits.records import Edits
from analysis.ground.frozen_record import PartialRecord
from analysis.ground.question import Question

IMPLICIT = "im-bert"
# choices of [train] that show a run and change no number of it: its digest is without them
SHOWN = ("report_to", "logging_dir", "progress")


class Outcome(PartialRecord, frozen=True):
    """One example under attack."""

    index: int
    right_before: bool
    right_after: bool


class OfModel(PartialRecord, frozen=True):
    """What was attacked, by content; older records have less."""

    checkpoint: str | None
    examples: str
    config: str | None = None
    tokenizer: str | None = None
    task: str | None = None
    max_length: int | None = None


class Attack(PartialRecord, frozen=True):
    """What is read of an attack's record."""

    attack: str
    options: dict[str, Any]
    per_example: list[Outcome]
    of: OfModel

    @property
    def choice(self) -> str:
        """Its options as a key: only attacks with equal ones are pooled over models."""
        return json.dumps({**self.options, "seed": None}, sort_keys=True)


@dataclasses.dataclass(frozen=True)
class Arm:
    """Which model of a study one is.

    Attributes:
        task: that it was trained on; empty where it is not known.
        kind: "bert", "ex-bert" or "im-bert"; empty where it is not known.
        seed: of training; None where it is not known.
        is_implicit: whether its steps are: not those of im-bert with the method explicit_euler.
        run: digest of all its choices; empty where it is not known.
    """

    task: str
    kind: str
    seed: int | None
    is_implicit: bool = False
    run: str = dataclasses.field(default="", compare=False)

    @property
    def words(self) -> str:
        """As it is named: sst2, im-bert, seed 3."""
        return f"{self.task}, {self.kind}, seed {self.seed}"


class ChosenModel(PartialRecord, frozen=True):
    """The table [model] of a run."""

    kind: str = "bert"
    method: str | None = None

    @property
    def is_implicit(self) -> bool:
        """Whether its steps are."""
        return self.kind == IMPLICIT and self.method != "explicit_euler"


class ChosenData(PartialRecord, frozen=True):
    """The table [data] of a run."""

    task: str


class ChosenTraining(PartialRecord, frozen=True):
    """The table [train] of a run."""

    seed: int


class Choices(PartialRecord, frozen=True):
    """What a run was to be."""

    model: ChosenModel
    data: ChosenData
    train: ChosenTraining


class Checkpoints(PartialRecord, frozen=True):
    """Digest of the weights after training."""

    final: str | None


class RunMeta(PartialRecord, frozen=True):
    """What says which weights a run left."""

    checkpoints: Checkpoints


class Run(PartialRecord, frozen=True):
    """What is read of result.json: which run has which weights."""

    run: dict[str, dict[str, Any]]
    meta: RunMeta

    def __post_init__(self) -> None:
        # what is not as it should be is told when the file is read
        _ = self.choices

    @property
    def choices(self) -> Choices:
        """What is read of the run's tables."""
        return msgspec.convert(self.run, Choices)

    @property
    def digest(self) -> str:
        """Sha256 of the choices that make the run what it is, as plan.json names it."""
        train = {name: value for name, value in self.run["train"].items() if name not in SHOWN}
        identity = {**self.run, "train": train}
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    @property
    def weights(self) -> str:
        """Digest; empty where there was none to take."""
        return self.meta.checkpoints.final or ""

    @property
    def arm(self) -> Arm:
        """Which model of a study it left."""
        chosen = self.choices
        return Arm(
            chosen.data.task,
            chosen.model.kind,
            chosen.train.seed,
            chosen.model.is_implicit,
            self.digest,
        )


class PlanChange(PartialRecord, frozen=True):
    """Digests of a plan that was replaced, and of the one in its place."""

    before: str
    after: str


class StudyPlan(PartialRecord, frozen=True):
    """What is read of a study's plan.json: the digest of its file, and what was fixed in it."""

    name: str
    tasks: list[str]
    kinds: list[str]
    plan: str
    question: Question | None
    changes: list[PlanChange]
    runs: list[str] | None = None

    def covers(self, arms: Iterable[Arm]) -> bool:
        """Whether models are of this study: of its runs, where both say which those are, and of its
        tasks and kinds; of those that are not known, any.
        """
        return all(
            (not arm.task or arm.task in self.tasks)
            and (not arm.kind or arm.kind in self.kinds)
            and (self.runs is None or not arm.run or arm.run in self.runs)
            for arm in arms
        )


@dataclasses.dataclass(frozen=True)
class Attacked:
    """An attack beside the condition of the model that it attacked.

    Attributes:
        model: index among the conditions.
        path: of the attack's record.
        attack: what it says.
        disagreeing: rows that the model has right in only one of the two records: they are close to
            the boundary, and left out.
    """

    model: int
    path: Path
    attack: Attack
    disagreeing: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Files:
    """All records of a verdict.

    Attributes:
        conditions: one for each model.
        attacked: every attack with its model.
        edits: perhaps none.
        arms: of each condition.
        missing: runs that were given and have no condition.
        plans: of the studies whose models these are; no two of one task and kind.
    """

    conditions: tuple[Condition, ...]
    attacked: tuple[Attacked, ...]
    edits: tuple[Edits, ...]
    arms: tuple[Arm, ...]
    missing: tuple[str, ...] = ()
    plans: tuple[StudyPlan, ...] = ()
