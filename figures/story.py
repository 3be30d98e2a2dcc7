"""What a report tells beyond its own run: what was predicted, what fine-tuning and attacks showed,
and the controls, from typed records. Its words without numbers stand in story.html.j2.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from matplotlib.figure import Figure
from msgspec import UNSET

from analysis.ground.json_records import read_json
from figures import calibration, confirmation, prediction, records, robustness, style
from figures.findings import number
from figures.template import Heading, Shown, Table, shown

KEYS = {  # of each record: an entry that no other has
    "prediction": "recommendation",
    "confirmation": "correlations",
    "study": "groups",
    "calibration": "linearity",
}
STEPS = ("field", "step_size", "substeps", "dropout")  # what an explicit model may change
# the last two are in records from before the checks were held against a model that is masked for
# certain
CHECKS = {
    "gain": "a step of the attack gains what its gradient promises",
    "gradients_at_step": "gradients agree with differences at the attacked points, "
    "small ones and those of the attack's own step",
    "square_alone": "random search breaks nothing that attacks with gradients do not",
    "transfer_alone": "perturbations of the explicit baseline break "
    "nothing that the model's own do not",
    "ladder": "larger balls bring the model to chance",
    "residual": "the solver holds at the attacked points",
    "solver_sweep": "solving better makes the model no easier to break",
    "gradient_free": "attacks without gradients do not beat those with them",
    "gradients": "gradients through the solver agree with differences at the attacked points",
}
CAPTIONS = {
    "prediction": "What an implicit step changes in each layer, and what placements are predicted "
    "to gain. Statistics over texts with 95 % intervals.",
    "study": "Accuracy on dev, on AdvGLUE's originals and adversarial sentences, and under "
    "attack. Means over seeds with 95 % intervals; dots are seeds.",
    "confirmation": "Predicted advantage and measured robustness of each placement of implicit "
    "steps. Lines: 95 % intervals over texts and attacked examples.",
    "calibration": "Measured log growth of each step on each text over the predicted one, and the "
    "error of the prediction against the size of a perturbation.",
}


@dataclasses.dataclass(frozen=True)
class Story:
    """The records that a report goes on to tell of; None where there is none.

    Attributes:
        prediction: of `odestab predict`.
        confirmation: of `odestab confirm`.
        study: of `imbert study`.
        calibration: of `odestab calibrate`.
    """

    prediction: records.Prediction | None = None
    confirmation: records.Confirmation | None = None
    study: records.Study | None = None
    calibration: records.Calibration | None = None


@dataclasses.dataclass(frozen=True)
class Predicted:
    """What the page says of a prediction: where it comes from, its finding, more sentences."""

    source: str
    finding: str
    sentences: Sequence[str]
    shown: Shown


@dataclasses.dataclass(frozen=True)
class Trained:
    """What the page says of a study: a finding and a table for each group."""

    groups: list[tuple[str, Table]]
    missing: Sequence[str]
    warnings: Sequence[str]
    shown: Shown


@dataclasses.dataclass(frozen=True)
class Controls:
    """Whether it is the discretisation, the size of the step, or the attacks that explain what
    implicit steps do.
    """

    refinement: str
    explicit: list[str]
    checks: list[str]


@dataclasses.dataclass(frozen=True)
class Confirmed:
    """What the page says of a confirmation: its finding, and what could have been found."""

    finding: str
    power: list[str]
    shown: Shown


@dataclasses.dataclass(frozen=True)
class Calibrated:
    """What the page says of a calibration."""

    model: str
    sentences: list[str]
    shown: Shown


@dataclasses.dataclass(frozen=True)
class Told:
    """What story.html.j2 shows; None where there is no such record."""

    predicted: Predicted | None
    trained: Trained | None
    confirmed: Confirmed | None
    calibrated: Calibrated | None
    controls: Controls | None


def read_story(
    prediction: Path | None = None,
    confirmation: Path | None = None,
    study: Path | None = None,
    calibration: Path | None = None,
) -> Story:
    """The records in some files.

    Raises:
        ValueError: if a file is not JSON, or not the record that its name promises.
        OSError: if it cannot be read.
    """
    story = Story(
        prediction=_read(prediction, "prediction", records.Prediction),
        confirmation=_read(confirmation, "confirmation", records.Confirmation),
        study=_read(study, "study", records.Study),
        calibration=_read(calibration, "calibration", records.Calibration),
    )
    if story.study is not None:
        _require_plans(story.study, study)
    return story


R = TypeVar("R", bound=records.Record)


def _read(path: Path | None, name: str, kind: type[R]) -> R | None:
    if path is None:
        return None
    values = read_json(path)
    if not isinstance(values, dict) or KEYS[name] not in values or values.get("schema", 1) != 1:
        raise ValueError(
            f"{path}: expected the record of a {name}, with {KEYS[name]!r}, of schema 1"
        )
    return records.read(path, kind)


def _require_plans(study: records.Study, path: Path | None) -> None:
    for group in study.groups:
        for model in group.models:
            if model.name not in study.study.models:
                raise ValueError(
                    f"{path}: expected the plan of every model in study.models, "
                    f"got none of {model.name!r}"
                )


def tell(story: Story, folder: Path, refinement: str = "") -> Told:
    """What the page says of the records that are there.

    Args:
        story: the records.
        folder: where their figures go.
        refinement: what refining the steps of the pretrained model showed; empty where it was not
            measured.

    Raises:
        OSError: if a figure cannot be written.
    """
    return Told(
        predicted=_predicted(story.prediction, folder) if story.prediction else None,
        trained=_trained(story.study, folder) if story.study else None,
        confirmed=_confirmed(story.confirmation, folder) if story.confirmation else None,
        calibrated=_calibrated(story.calibration, folder) if story.calibration else None,
        controls=_controls(story.study, refinement) if story.study else None,
    )


def _shown(figure: Figure, folder: Path, name: str, finding: str) -> Shown:
    return shown(figure, folder, f"story_{name}", finding, CAPTIONS[name])


def _predicted(record: records.Prediction, folder: Path) -> Predicted:
    finding, *sentences = record.recommendation.sentences
    texts = style.counted(record.config.texts, "text")
    return Predicted(
        source=f"From {texts} without labels and the weights of {record.config.model} alone:",
        finding=finding,
        sentences=sentences,
        shown=_shown(prediction.draw(record), folder, "prediction", finding),
    )


def _trained(record: records.Study, folder: Path) -> Trained:
    return Trained(
        groups=[(_against(group, record.baseline), _measures(group)) for group in record.groups],
        missing=record.missing,
        warnings=record.warnings,
        shown=_shown(robustness.draw(record), folder, "study", f"Study {record.name}"),
    )


def _against(group: records.Group, baseline: str) -> str:
    """Every model's difference to the baseline on all adversarial pairs."""
    differences = [(model.name, _difference(model)) for model in group.models]
    compared = [f"{name} {difference}" for name, difference in differences if difference]
    if not compared:
        return f"{group.name}: no model has been compared with {baseline} yet."
    return (
        f"{group.name}: against {baseline}, on all adversarial pairs of AdvGLUE, 95 % intervals "
        f"(over seeds and the sentences that pairs were made from): {'; '.join(compared)}."
    )


def _difference(model: records.ComparedModel) -> str:
    """A model's difference to the baseline on all adversarial pairs; empty where it was not
    compared.
    """
    paired = model.against_baseline and model.against_baseline.all.hierarchical
    if not paired or paired.low is None:
        return ""
    mean, low, high = (
        number(100 * records.not_a_number(end), 2) for end in (paired.mean, paired.low, paired.high)
    )
    return f"{mean} points ({low} to {high})"


def _measures(group: records.Group) -> Table:
    labels = [label.replace("\n", " ") for label in robustness.MEASURES.values()]
    return Table(
        caption=f"{group.name}: {group.metric}, per cent, mean ± half a 95 % interval over seeds.",
        head=[[Heading(label) for label in ("model", *labels, "seeds")]],
        rows=[
            [
                model.name,
                *(_per_cent(model.measures.get(name)) for name in robustness.MEASURES),
                str(len(model.seeds)),
            ]
            for model in group.models
        ],
    )


def _per_cent(interval: records.Interval | None) -> str:
    if interval is None or interval.mean is None:
        return "–"
    mean = f"{100 * interval.mean:.1f}"
    if interval.low is None:
        return mean
    return f"{mean} ± {100 * (records.not_a_number(interval.high) - interval.mean):.1f}"


def _controls(record: records.Study, refinement: str) -> Controls:
    explicit = []
    checks = []
    for group in record.groups:
        for model in group.models:
            if model.role == "explicit" and (difference := _difference(model)):
                changed = ", ".join(_changed(model, record.study)) or "training alone"
                explicit.append(f"{model.name}, {group.name} ({changed}): {difference}.")
            if any(one is not None for passed in model.masking.values() for one in passed):
                failures = "; ".join(_failures(model)) or "every check passed"
                checks.append(f"{model.name}, {group.name}: {failures}.")
    return Controls(refinement, explicit, checks)


def _changed(model: records.ComparedModel, plan: records.Plan) -> list[str]:
    """What the plan of an explicit model changes of its steps."""
    planned = plan.models[model.name]
    settings = {name: getattr(planned, name) for name in STEPS}
    if model.kind == "ex-bert" and settings["field"] is UNSET:
        settings["field"] = "outer"  # by definition of this model, whose plan need not say so
    return [
        f"{name.replace('_', ' ')} {setting}"
        for name, setting in settings.items()
        if setting is not UNSET
    ]


def _failures(model: records.ComparedModel) -> list[str]:
    """The masking checks that failed for some seed."""
    return [
        f"{CHECKS.get(name, name)}: {sum(one is False for one in passed)} "
        f"of {sum(one is not None for one in passed)} failed"
        for name, passed in model.masking.items()
        if any(one is False for one in passed)
    ]


def _confirmed(record: records.Confirmation, folder: Path) -> Confirmed:
    power = []
    if record.detectable is not None:
        power.append(
            f"A difference of {number(100 * record.detectable, 2)} % of the examples "
            "would be seen in 80 % of such pairs of models."
        )
    if record.powers:
        chances = ", ".join(
            f"{number(records.not_a_number(chance), 2)} at {number(100 * spread)} points"
            for spread, chance in record.powers.items()
        )
        noise = number(100 * records.not_a_number(record.noise), 2)
        power.append(
            f"Probability that a perfect prediction is confirmed under {noise} points of noise "
            f"from training seeds, by the true outcomes' spread: {chances}."
        )
    drawn = confirmation.draw(record)
    return Confirmed(
        finding=record.sentence,
        power=power,
        shown=_shown(drawn, folder, "confirmation", record.sentence),
    )


def _calibrated(record: records.Calibration, folder: Path) -> Calibrated:
    drawn = calibration.draw(record)
    return Calibrated(
        model=record.meta.model,
        sentences=[
            *(_fit(fit) for fit in _first_of_each(record.fits)),
            *(_flip(name, flips) for name, flips in record.flips.items()),
        ],
        shown=_shown(drawn, folder, "calibration", "Predicted against measured growth"),
    )


def _first_of_each(fits: Sequence[records.CalibratedFit]) -> list[records.CalibratedFit]:
    """Each kind and source at its smallest size, which a record names first."""
    by_kind: dict[tuple[str, str], records.CalibratedFit] = {}
    for fit in fits:
        by_kind.setdefault((fit.kind, fit.source), fit)
    return list(by_kind.values())


def _fit(fit: records.CalibratedFit) -> str:
    size = "" if fit.size is None else f" of size {number(fit.size)}"
    within = ""
    if fit.r_squared_within is not UNSET:
        within = (
            f" (within layers {number(fit.r_squared_within)}; the layers' "
            f"means alone {number(fit.layer_means)})"
        )
    return (
        f"{fit.kind}{size}, from the {fit.source} linearisation: "
        f"R² {number(fit.r_squared)}{within}, "
        f"slope {number(fit.slope)} ({number(fit.slope_low)} to {number(fit.slope_high)}), "
        f"agreement {number(fit.agreement)}."
    )


def _flip(name: str, flips: records.CalibratedFlips) -> str:
    """What sets pairs that flip apart; growth through all steps is chosen by its own outcome, and
    is said to be so.
    """
    difference = number(flips.difference, 2)
    auroc = "" if flips.auroc is UNSET else f", AUROC {number(flips.auroc, 2)}"
    evidence = (
        f"{number(flips.low, 2)} to {number(flips.high, 2)}, p = {number(flips.p_value, 2)}"
        f"{auroc}; {flips.flipped} and {flips.held} pairs"
    )
    if name == "margin":
        return (
            f"Margin of the originals of pairs that flip: {difference} above the others' "
            f"({evidence})."
        )
    caution = ""
    if name == "measured":
        caution = " The answer is read off the last state: this is chosen by its own outcome."
    return (
        f"{name} growth of edits that flip the answer: {difference} nats above the others' "
        f"({evidence}).{caution}"
    )
