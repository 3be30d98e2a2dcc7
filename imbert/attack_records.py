"""What attacks, masking checks and transfers leave as JSON, as frozen types; see
`imbert.records`.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Annotated, TypedDict

import msgspec
from msgspec import UNSET, UnsetType

from imbert.records import Count, Digests, LayerSolves, MaybeShare, Number, Record, Share, read
from imbert.result import Spent
from imbert.toml_tables import Plain


class ExampleOutcome(Record, frozen=True, omit_defaults=True, kw_only=True):
    """One example under attack; each attack measures some of the last six."""

    index: Count
    cluster: Count | None = None
    right_before: bool
    right_after: bool
    queries: Count
    edits: Count
    loss_first: Number = None
    loss_best: Number = None
    size: Number = None
    confidence_before: Number = None
    confidence_after: Number = None
    words: Number = None


class AttackStatistics(Record, frozen=True, omit_defaults=True, kw_only=True):
    """Of a whole attack: on word embeddings, or on texts."""

    seconds: float
    absolute_radius: float | None = None
    mean_row_norm: float | None = None
    loss: str | None = None
    gradient: str | None = None
    gradients_not_finite: Count | None = None
    unconfirmed: Count | None = None
    solver: list[LayerSolves] | None = None
    edits_of_flipped: Number | UnsetType = UNSET
    budget_used_up: Count | None = None


class AttackSums(TypedDict):
    """What an attack's record says of all its examples together; see `Attack`."""

    examples: int
    clean_accuracy: float
    robust_accuracy: float
    success_rate: float
    queries: float
    queries_max: int
    changed: list[int]


def attack_sums(rows: Sequence[ExampleOutcome]) -> AttackSums:
    """The sums over examples, at least one; `success_rate` is NaN where none was right."""
    attacked = [row for row in rows if row.right_before]
    changed = [row.index for row in attacked if not row.right_after]
    queries = [row.queries for row in attacked]
    return AttackSums(
        examples=len(rows),
        clean_accuracy=len(attacked) / len(rows),
        robust_accuracy=(len(attacked) - len(changed)) / len(rows),
        success_rate=len(changed) / len(attacked) if attacked else math.nan,
        queries=fmean(queries) if queries else 0.0,
        queries_max=max(queries, default=0),
        changed=changed,
    )


def text_statistics(
    queries: Sequence[int], edits_of_flipped: Sequence[int], budget: int
) -> AttackStatistics:
    """Those of an attack on texts, whose seconds are set later.

    Args:
        queries: of each example that was attacked.
        edits_of_flipped: of each that flipped.
        budget: of queries.
    """
    return AttackStatistics(
        seconds=0.0,
        edits_of_flipped=fmean(edits_of_flipped) if edits_of_flipped else None,
        budget_used_up=sum(count >= budget for count in queries),
    )


class OfModel(Record, frozen=True, omit_defaults=True, kw_only=True):
    """The model that something was measured on, by content, and how it reads texts."""

    checkpoint: str | None
    config: str | None = None
    tokenizer: str | None = None
    task: str | None = None
    max_length: Count | None = None


class OfExamples(OfModel, frozen=True, kw_only=True):
    """The same with the examples, by content."""

    examples: str


class OfAttack(OfExamples, frozen=True, kw_only=True):
    """What the record of an attack belongs to."""

    choice: dict[str, Plain]
    tables: Digests | None = None


class OfMasking(OfExamples, frozen=True, kw_only=True):
    """What masking checks belong to."""

    choice: dict[str, Plain]
    kinds: list[str] | UnsetType = UNSET
    radii: list[float] | UnsetType = UNSET
    baseline: OfModel | UnsetType | None = UNSET


class OfTransfer(OfExamples, frozen=True, kw_only=True):
    """What transfers between two runs belong to."""

    choice: dict[str, Plain]
    kinds: list[str]
    baseline: OfExamples
    texts: dict[str, list[str]] | UnsetType = UNSET


class Attack(Record, frozen=True, kw_only=True):
    """One attack on one checkpoint: attacks/NAME.json."""

    attack: str
    options: dict[str, Plain]
    examples: Count
    clean_accuracy: Share
    robust_accuracy: Share
    success_rate: MaybeShare
    queries: Annotated[float, msgspec.Meta(ge=0)]
    queries_max: Count
    changed: list[Count]
    per_example: list[ExampleOutcome]
    statistics: AttackStatistics
    warnings: list[str] = msgspec.field(default_factory=list)
    texts_digest: str | UnsetType = UNSET
    of: OfAttack
    spent: Spent | None = None
    versions: dict[str, str] | None = None


class Check(Record, frozen=True):
    """One masking check.

    `name` is "gain", "gradients_at_step", "square_alone", "transfer_alone", "ladder", "residual" or
    "solver_sweep". Records from before the checks were held against a model that is masked for
    certain have "gradients" and "gradient_free" instead.

    Attributes:
        name: of the check.
        passed: None where it does not apply.
        measured: the entries of the check's own measures, below; empty where it does not apply.
        sentence: the outcome; a warning where it failed.
    """

    name: str
    passed: bool | None
    measured: Mapping[str, Plain]
    sentence: str


class GainMeasures(Record, frozen=True):
    """What "gain" measures: achieved over promised gain of the first step of an attack."""

    attack: str
    norm: str
    radius: float
    step: float
    examples: Count
    vanished: Count
    gain_median: Number
    gain_min: Number
    least: float


class AgreementMeasures(Record, frozen=True):
    """What "gradients_at_step" measures of one kind of gradient."""

    points: Count
    unsolved: Count
    vanished: Count
    error_max: Number
    cosine_median: Number
    cosine_min: Number
    gain_median: Number


class BallMeasures(Record, frozen=True, omit_defaults=True):
    """What "square_alone" and "transfer_alone" measure in one ball: the examples that fall to the
    other attack alone.
    """

    norm: str
    radius: float
    white_box: list[str]
    attacked: Count
    broken_by_white_box: Count
    alone: list[Count]
    broken_by_square: Count | None = None
    queries: Count | None = None
    broken_by_transfer: Count | None = None


class Rung(Record, frozen=True):
    """What "ladder" measures at one radius; `baseline` is None without one."""

    radius: float
    clean: Share
    robust: Share
    noise: Share
    baseline: MaybeShare


class LadderMeasures(Record, frozen=True):
    """What "ladder" measures."""

    norm: str
    chance: Share
    examples: Count
    rungs: list[Rung]


class SweepRow(Record, frozen=True):
    """An attack on the same model with another solver.

    Attributes:
        rtol: the tolerance; None where the iterations are given.
        iterations: k, the last iterate kept; None where the solver goes on to the tolerance.
        clean_accuracy: under this solver.
        robust_accuracy: against an attack through this solver.
        success_rate: of that attack.
        moved: share of the run's own adversarial perturbations, found with the run's solver, that
            break the model under this one; NaN where there is none.
    """

    rtol: float | None
    iterations: int | None
    clean_accuracy: Share
    robust_accuracy: Share
    success_rate: MaybeShare
    moved: MaybeShare


class SweepMeasures(Record, frozen=True):
    """What "solver_sweep" measures: the run's own solver and others."""

    own: SweepRow
    rows: list[SweepRow]
    examples: Count
    truncated: bool


class Masking(Record, frozen=True, kw_only=True):
    """The masking checks: attacks/masking.json."""

    checks: list[Check]
    warnings: list[str] = msgspec.field(default_factory=list)
    of: OfMasking
    spent: Spent | None = None
    versions: dict[str, str] | None = None


class Transfer(Record, frozen=True):
    """Adversarial examples of a source put to a target.

    Attributes:
        attack: that found them.
        broken: how many broke the source.
        counted: those of them on which the target was right before.
        transferred: those of these that the target gets wrong.
        rate: transferred / counted; NaN, null in the file, where none is counted.
        target_clean_accuracy: on the examples as they were.
        target_accuracy: on all examples, those that broke the source in their adversarial form.
        changed: indices of the examples that were transferred.
    """

    attack: str
    broken: Count
    counted: Count
    transferred: Count
    rate: MaybeShare
    target_clean_accuracy: Share
    target_accuracy: Share
    changed: list[Count]


class BothWays(Record, frozen=True):
    """Between a run and the baseline."""

    to_baseline: Transfer
    from_baseline: Transfer


class Transfers(Record, frozen=True, kw_only=True):
    """Of each attack on texts: attacks/transfer.json."""

    transfers: dict[str, BothWays]
    warnings: list[str] = msgspec.field(default_factory=list)
    of: OfTransfer


AttackRecord = Attack | Masking | Transfers


def read_attack(path: Path) -> AttackRecord:
    """What is in attacks/NAME.json: the masking checks, the transfers, else an attack.

    Raises:
        ValueError: if it is damaged, or an entry is unknown, missing or wrong.
        OSError: if it cannot be read.
    """
    kinds: dict[str, type[AttackRecord]] = {"masking": Masking, "transfer": Transfers}
    return read(path, kinds.get(path.stem, Attack))
