"""All runs of a study together, as study.json holds them."""

from pathlib import Path
from typing import Literal

from msgspec import UNSET, UnsetType

from analysis.ground.question import Outcome
from imbert.records import Count, Number, Record, read
from imbert.study.plan import StudyConfig
from imbert.study.plan_file import PlanChange


class Spread(Record, frozen=True):
    """A mean and its interval; None at the ends where one value says nothing of the spread."""

    mean: Number
    low: Number
    high: Number
    n: Count


class SeedSpread(Spread, frozen=True):
    """The same over seeds, with what was measured at each."""

    seeds: list[int]
    values: list[float]


class Paired(Record, frozen=True):
    """Two models on the same items; see `analysis.ground.resampling.PairedTest`."""

    difference: Number
    low: Number
    high: Number
    p_value: Number
    only_a: Count
    only_b: Count
    clusters: Count | None = None


class ItemComparison(Record, frozen=True):
    """Two models, seed by seed, on a choice of items."""

    pairs: list[Count]
    clusters: Count | None
    resampled: str
    pooled: Paired | None
    seeds: Spread | None
    hierarchical: Spread | None


class GradedComparison(Record, frozen=True):
    """The same of a difference that each item has, such as of edits needed: "hierarchical" is the
    interval to read.
    """

    pairs: list[Count]
    clusters: Count | None
    resampled: str
    seeds: Spread | None
    hierarchical: Spread | None


class Comparison(Record, frozen=True):
    """On the items that both models have right before they are changed, and on all."""

    both: ItemComparison
    all: ItemComparison


class AttackSpread(Record, frozen=True):
    """An attack over seeds, always with the clean accuracy on the same examples.

    `edits_needed` is the restricted mean of `imbert.study.edits_needed` over the examples that the
    model has right before; None of attacks on word embeddings, and in earlier versions.
    """

    clean_accuracy: SeedSpread | None
    robust_accuracy: SeedSpread | None
    success_rate: SeedSpread | None
    queries: SeedSpread | None
    edits_needed: SeedSpread | None = None


class TrainingSpread(Record, frozen=True):
    """How well and how long a model was trained, over seeds."""

    loss: SeedSpread | None
    minutes: SeedSpread | None
    steps: list[Count]
    evaluations: Number
    failed_share: Number


class TransferSpread(Record, frozen=True):
    """The share of what broke one model that breaks the other, both ways, over seeds."""

    to_baseline: SeedSpread | None
    from_baseline: SeedSpread | None


class Model(Record, frozen=True):
    """One model of a group over its seeds."""

    name: str
    kind: str
    role: Literal["explicit", "truncated", "implicit"]
    seeds: list[int]
    measures: dict[str, SeedSpread | None]
    training: TrainingSpread
    attacks: dict[str, AttackSpread]
    masking: dict[str, list[bool | None]]
    transfer: dict[str, TransferSpread]
    against_baseline: Comparison | None
    attacks_against_baseline: dict[str, Comparison] | None = None
    edits_against_baseline: dict[str, GradedComparison] | None = None


class MissingSeed(Record, frozen=True):
    """A seed of the plan without its part in a verdict, and why."""

    seed: int
    reason: str


class Verdict(Record, frozen=True, kw_only=True):
    """What the runs of a group say to the question of the plan.

    Attributes:
        outcome: which one the interval is; "unknown" where nothing could be compared.
        sentence: of the plan, for that outcome; it says first if the study is not complete, and
            last if there is one seed, or Student's interval over the seeds is no such outcome.
        preliminary: whether seeds of the plan are missing.
        value: the primary outcome, a difference or a difference of differences; in shares, or in
            edits.
        low: lower end of its interval, which `resampled` describes.
        high: upper end.
        over_seeds: Student's interval over seeds, to read beside.
        seeds: whose runs were paired.
        pairs: how many examples all its models have right before, seed by seed.
        clusters: how many texts these are.
        resampled: what the interval resamples.
        missing: the other seeds of the plan.
    """

    outcome: Outcome | Literal["unknown"]
    sentence: str
    preliminary: bool
    value: Number
    low: Number
    high: Number
    over_seeds: Spread | None
    seeds: list[int]
    pairs: list[Count]
    clusters: Count | None
    resampled: str
    missing: list[MissingSeed]


class Group(Record, frozen=True):
    """All models of one task and size; with a verdict where the question of the plan names the
    difference that decides it, and its models ran.
    """

    name: str
    task: str
    size: Count | None
    metric: str
    chance: float | None
    models: list[Model]
    verdict: Verdict | UnsetType = UNSET


class Score(Record, frozen=True):
    """AdvGLUE's score of a model over seeds."""

    size: Count | None
    model: str
    score: SeedSpread | None


class StudyMeta(Record, frozen=True):
    """What all runs of a study have in common, as sets of texts."""

    versions: list[str]
    commits: list[str]
    data: list[str]
    start: list[str]


class Study(Record, frozen=True):
    """All runs of a study together: study.json.

    `plan` is the sha256 of the plan's file, as plan.json has it, and `plan_changes` what was
    declared since the first run; folders of earlier versions have neither.
    """

    schema: Literal[1]
    name: str
    baseline: str
    study: StudyConfig
    groups: list[Group]
    scores: list[Score]
    missing: list[str]
    warnings: list[str]
    meta: StudyMeta
    plan: str | UnsetType = UNSET
    plan_changes: list[PlanChange] | UnsetType = UNSET

    @property
    def runs(self) -> list[str]:
        """The folders of all runs that it was made from."""
        return [
            f"runs/{group.name}/{model.name}/seed-{seed}"
            for group in self.groups
            for model in group.models
            for seed in model.seeds
        ]


def read_study_record(path: Path) -> Study:
    """The record of a study.

    Raises:
        ValueError: if it is damaged, or an entry is unknown, missing or wrong.
        OSError: if it cannot be read.
    """
    return read(path, Study)
