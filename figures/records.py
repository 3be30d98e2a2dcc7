"""What the figures read of predictions, confirmations, studies and calibrations, as typed records.

A file is read once, by `read`, and held against its type. Declared is what is drawn or told; a file
holds more. A number that was not finite is null in the file and None here.
"""

from pathlib import Path
from typing import Annotated, Literal, TypeVar

from msgspec import UNSET, Meta, UnsetType

from analysis.ground.frozen_record import PartialRecord
from analysis.ground.json_records import read_record
from analysis.ground.typed_records import typed as typed

Number = float | None
Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
Layers = tuple[Count, ...]
Setting = str | int | float | bool | None  # as a plan writes it


class Interval(PartialRecord, frozen=True):
    """A mean with the ends of its interval, None of one seed."""

    mean: Number
    low: Number
    high: Number


class SeedInterval(Interval, frozen=True):
    """Over seeds."""

    values: tuple[Number, ...]
    n: Count


class UnderAttack(PartialRecord, frozen=True):
    """Accuracies on the same examples before and under one attack."""

    clean_accuracy: SeedInterval | None
    robust_accuracy: SeedInterval | None


class Compared(PartialRecord, frozen=True):
    """A difference on some items, seed by seed; older files do not say what was resampled."""

    hierarchical: Interval | None
    pairs: tuple[Count, ...] = ()
    clusters: Count | None = None  # sentences that pairs were made from, None where not known
    resampled: str | UnsetType = UNSET


class AgainstBaseline(PartialRecord, frozen=True):
    """A model beside the baseline, on all adversarial pairs."""

    all: Compared


class ComparedModel(PartialRecord, frozen=True):
    """One model of a group."""

    name: str
    kind: str
    role: Literal["explicit", "truncated", "implicit"]
    seeds: tuple[int, ...]
    measures: dict[str, SeedInterval | None]
    attacks: dict[str, UnderAttack]
    masking: dict[str, tuple[bool | None, ...]]
    against_baseline: AgainstBaseline | None


class Verdict(PartialRecord, frozen=True):
    """What the runs of a group say to the question of the plan."""

    outcome: str
    sentence: str
    value: Number
    low: Number
    high: Number
    seeds: tuple[int, ...]


class Group(PartialRecord, frozen=True):
    """All models of one task and size."""

    name: str
    task: str
    size: Count | None
    metric: str
    models: tuple[ComparedModel, ...]
    chance: Share | None = None
    verdict: Verdict | UnsetType = UNSET


class PlannedModel(PartialRecord, frozen=True):
    """What the plan of a model changes of its explicit steps; UNSET where it says nothing."""

    field: Setting | UnsetType = UNSET
    step_size: Setting | UnsetType = UNSET
    substeps: Setting | UnsetType = UNSET
    dropout: Setting | UnsetType = UNSET


class Difference(PartialRecord, frozen=True):
    """What the primary outcome of a plan is a difference of."""

    attack: str
    model: str
    over: str
    measure: str


class Question(PartialRecord, frozen=True):
    """The question of a plan."""

    name: str
    difference: Difference | UnsetType = UNSET


class Plan(PartialRecord, frozen=True):
    """The plan of a study."""

    models: dict[str, PlannedModel]
    question: Question | UnsetType = UNSET


class Study(PartialRecord, frozen=True):
    """All runs of a study: study.json."""

    schema: Literal[1]
    name: str
    baseline: str
    study: Plan
    groups: tuple[Group, ...]
    missing: tuple[str, ...]
    warnings: tuple[str, ...]


class Estimate(PartialRecord, frozen=True):
    """A statistic over texts with its interval."""

    value: Number
    low: Number
    high: Number


class Statistics(PartialRecord, frozen=True):
    """Over texts."""

    median: Number  # None where nothing is known


class PredictedLayer(PartialRecord, frozen=True):
    """One layer at one step size."""

    layer: Count
    step_size: Positive
    advantage: Estimate
    worst_change: Estimate
    spectral_change: Estimate
    certain: dict[str, Share | None]


class PredictedPlacement(PartialRecord, frozen=True):
    """Some layers implicit."""

    layers: Layers
    step_size: Positive
    advantage: Estimate


class Recommended(PartialRecord, frozen=True):
    """What is predicted, in sentences of which the first is the finding."""

    layers: Layers
    step_size: Positive | None
    sentences: Annotated[tuple[str, ...], Meta(min_length=1)]


class PredictionConfig(PartialRecord, frozen=True):
    """What a prediction was made of."""

    model: str
    texts: Count


class Prediction(PartialRecord, frozen=True):
    """prediction.json."""

    schema: Literal[1]
    config: PredictionConfig
    layers: Annotated[tuple[PredictedLayer, ...], Meta(min_length=1)]
    placements: tuple[PredictedPlacement, ...]
    recommendation: Recommended


class ConfirmedCorrelation(PartialRecord, frozen=True):
    """A rank correlation."""

    name: str
    value: Number
    low: Number
    high: Number
    p_value: Number


class ConfirmedOutcome(PartialRecord, frozen=True):
    """One placement, predicted and measured."""

    layers: Layers
    predicted: Estimate
    measured: Number
    low: Number
    high: Number
    dev: Number


class Confirmation(PartialRecord, frozen=True):
    """confirmation.json; the noise and the powers by spread are not in older files."""

    attack: str
    outcomes: tuple[ConfirmedOutcome, ...]
    correlations: tuple[ConfirmedCorrelation, ...]
    detectable: Number
    sentence: str
    schema: Literal[1] = 1
    noise: Number = None
    powers: dict[float, Number] | None = None


class CalibratedFit(PartialRecord, frozen=True):
    """Measured growth as a line in the predicted one; older files know the pooled R² alone."""

    kind: str
    size: Number
    source: str
    slope: Number
    slope_low: Number
    slope_high: Number
    r_squared: Number
    agreement: Number
    r_squared_within: Number | UnsetType = UNSET
    layer_means: Number = None


Growth = tuple[Annotated[tuple[Number, ...], Meta(min_length=1)], ...]


class BothSources(PartialRecord, rename={"fine_tuned": "fine-tuned"}, frozen=True):
    """Predicted growth, by the model whose linearisation it comes from."""

    fine_tuned: Growth
    pretrained: Growth


class CalibratedSeries(PartialRecord, frozen=True):
    """One kind of perturbation at one size."""

    kind: str
    size: Number
    sizes: Statistics
    measured: Growth
    predicted: BothSources


class CalibratedLinearity(PartialRecord, frozen=True):
    """Where a linear prediction ends to hold."""

    sizes: tuple[float, ...]
    error: Growth
    ends: Number


class CalibratedFlips(PartialRecord, frozen=True):
    """Edits that flip the answer, and edits that do not; older files have no AUROC."""

    flipped: Count
    held: Count
    difference: Number
    low: Number
    high: Number
    p_value: Number
    auroc: Number | UnsetType = UNSET


class CalibrationMeta(PartialRecord, frozen=True):
    """What was compared."""

    model: str


class Calibration(PartialRecord, frozen=True):
    """calibration.json."""

    schema: Literal[1]
    fits: tuple[CalibratedFit, ...]
    series: tuple[CalibratedSeries, ...]
    linearity: dict[str, CalibratedLinearity]
    flips: dict[str, CalibratedFlips]
    meta: CalibrationMeta


class RunConfig(PartialRecord, frozen=True):
    """config.json of a run folder, whose lists may be missing."""

    model: str
    field: str
    step_sizes: tuple[float, ...]
    map_step_sizes: tuple[float, ...]
    layers: tuple[int, ...] | None = None
    texts: tuple[str, ...] | None = None
    tokens: tuple[int, ...] | None = None
    pairs: tuple[tuple[str, str, str], ...] | None = None
    skipped_pairs: tuple[tuple[int, str], ...] | None = None
    warnings: tuple[str, ...] | None = None


R = TypeVar("R", bound=PartialRecord)


def read(path: Path, kind: type[R]) -> R:
    """The record in a file.

    Raises:
        ValueError: one line that names the file, if it is no strict JSON, its digest is wrong, or
            an entry is missing or not as declared.
        OSError: if it cannot be read.
    """
    return typed(read_record(path, dict), kind, path)


def not_a_number(value: Number) -> float:
    """A number to draw, NaN for None."""
    return float("nan") if value is None else value
