"""What the figures read of the records of predictions, confirmations, studies and calibrations, as
types that the files are held against.

Declared is what is drawn or told; a record holds more. A number that was not finite is null.
"""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from analysis.ground.json_records import Within

Number = float | None
Share = Annotated[float, Within(0, 1)]
MaybeShare = Share | None
Count = Annotated[int, Within(0)]
Positive = Annotated[float, Within(5e-324)]
Layer = Annotated[int, Within(0)]
Layers = list[Layer]


class Interval(TypedDict):
    """A mean with the ends of its interval, null of one seed."""

    mean: Number
    low: Number
    high: Number


class SeedInterval(Interval):
    """Over seeds."""

    seeds: list[int]
    values: list[Number]
    n: Count


class UnderAttack(TypedDict):
    """One attack over seeds."""

    clean_accuracy: SeedInterval | None
    robust_accuracy: SeedInterval | None


class Compared(TypedDict):
    """On some items."""

    hierarchical: Interval | None


class AgainstBaseline(TypedDict):
    """A model beside the baseline."""

    all: Compared


class ComparedModel(TypedDict):
    """One model of a group."""

    name: str
    kind: str
    role: Literal["explicit", "truncated", "implicit"]
    seeds: list[int]
    measures: dict[str, SeedInterval | None]
    attacks: dict[str, UnderAttack]
    masking: dict[str, list[bool | None]]
    against_baseline: AgainstBaseline | None


class Group(TypedDict):
    """All models of one task and size."""

    name: str
    task: str
    size: Count | None
    metric: str
    chance: NotRequired[MaybeShare]
    models: list[ComparedModel]


class Plan(TypedDict):
    """The plan of a study."""

    models: dict[str, dict[str, Any]]


class Study(TypedDict):
    """All runs of a study: study.json."""

    schema: Literal[1]
    name: str
    baseline: str
    study: Plan
    groups: list[Group]
    missing: list[str]
    warnings: list[str]


class Estimate(TypedDict):
    """A statistic over texts with its interval."""

    value: Number
    low: Number
    high: Number


class Statistics(TypedDict):
    """Over texts."""

    median: Number  # null where nothing is known


class PredictedLayer(TypedDict):
    """One layer at one step size."""

    layer: Count
    step_size: Positive
    advantage: Estimate
    worst_change: Estimate
    spectral_change: Estimate
    certain: dict[str, MaybeShare]


class PredictedPlacement(TypedDict):
    """Some layers implicit."""

    layers: Layers
    step_size: Positive
    advantage: Estimate


class Recommended(TypedDict):
    """What is predicted."""

    layers: Layers
    step_size: Positive | None
    sentences: Annotated[list[str], Within(1)]


class PredictionConfig(TypedDict):
    """What a prediction was made of."""

    model: str
    texts: Count


class Prediction(TypedDict):
    """prediction.json."""

    schema: Literal[1]
    config: PredictionConfig
    layers: Annotated[list[PredictedLayer], Within(1)]
    placements: list[PredictedPlacement]
    recommendation: Recommended


class ConfirmedCorrelation(TypedDict):
    """A rank correlation."""

    name: str
    value: Number
    low: Number
    high: Number
    p_value: Number


class ConfirmedOutcome(TypedDict):
    """One placement, predicted and measured."""

    layers: Layers
    predicted: Estimate
    measured: Number
    low: Number
    high: Number
    dev: Number


class Confirmation(TypedDict):
    """confirmation.json."""

    schema: NotRequired[Literal[1]]
    attack: str
    outcomes: list[ConfirmedOutcome]
    correlations: list[ConfirmedCorrelation]
    detectable: Number
    sentence: str


class CalibratedFit(TypedDict):
    """Measured growth as a line in the predicted one."""

    kind: str
    size: Number
    source: str
    slope: Number
    slope_low: Number
    slope_high: Number
    r_squared: Number
    agreement: Number


Growth = list[Annotated[list[Number], Within(1)]]
BothSources = TypedDict("BothSources", {"fine-tuned": Growth, "pretrained": Growth})


class CalibratedSeries(TypedDict):
    """One kind of perturbation at one size."""

    kind: str
    size: Number
    sizes: Statistics
    measured: Growth
    predicted: BothSources


class CalibratedLinearity(TypedDict):
    """Where a linear prediction ends to hold."""

    sizes: list[float]
    error: Growth
    ends: Number


class CalibratedFlips(TypedDict):
    """Edits that flip the answer, and edits that do not."""

    flipped: Count
    held: Count
    difference: Number
    low: Number
    high: Number
    p_value: Number


class CalibrationMeta(TypedDict):
    """What was compared."""

    model: str


class Calibration(TypedDict):
    """calibration.json."""

    schema: Literal[1]
    fits: list[CalibratedFit]
    series: list[CalibratedSeries]
    linearity: dict[str, CalibratedLinearity]
    flips: dict[str, CalibratedFlips]
    meta: CalibrationMeta
