"""What a report tells beyond its own run: what was predicted, what fine-tuning and attacks showed,
controls, limits; from plain records.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from analysis.ground.json_records import read_json, read_record
from figures import calibration, confirmation, page, prediction, records, robustness, style
from figures.findings import number

Record = Mapping[str, Any]
KEYS = {  # of each record: an entry that no other has
    "prediction": "recommendation",
    "confirmation": "correlations",
    "study": "groups",
    "calibration": "linearity",
}
KINDS = {
    "prediction": records.Prediction,
    "confirmation": records.Confirmation,
    "study": records.Study,
    "calibration": records.Calibration,
}
LIMITS = (
    "Growth is that of hidden states; a classifier reads some of their directions and not others.",
    "Advantages of layers are measured one by one along the explicit path, and "
    "added up: an implicit layer changes the states of the next.",
    "Where hμ₂ < 1 fails, nothing guarantees that an implicit step has one "
    "solution; what is reported is the one that the solver found.",
    "A solver stopped after k iterations is a polynomial, and its "
    "model is not the implicit one, however it is called.",
    "What holds for one checkpoint, one task and a few seeds need not hold for others.",
)
STEPS = (
    "field",
    "step_size",
    "substeps",
    "dropout",
)  # what an explicit model may change of its steps
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
    "prediction": "What an implicit step changes in each layer, and what placements "
    "are predicted to gain. Statistics over texts with 95 % "
    "intervals.",
    "study": "Accuracy on dev, on AdvGLUE's originals and adversarial sentences, "
    "and under attack. Means over seeds with 95 % intervals; "
    "dots are seeds.",
    "confirmation": "Predicted advantage and measured robustness of each placement of "
    "implicit steps. Lines: 95 % intervals over texts and "
    "attacked examples.",
    "calibration": "Measured log growth of each step on each text over the predicted "
    "one, and the error of the prediction against the size "
    "of a perturbation.",
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

    prediction: Record | None = None
    confirmation: Record | None = None
    study: Record | None = None
    calibration: Record | None = None


def read_story(**paths: Path | None) -> Story:
    """The records of some files, by the names of a story's attributes.

    Raises:
        ValueError: if a file is not JSON, or not the record that its name promises.
        OSError: if it cannot be read.
    """
    return Story(
        **{name: None if path is None else _read(name, path) for name, path in paths.items()}
    )


def question(model: str) -> str:
    """What the page asks."""
    asked = (
        "Is each layer of this model a stable step of a differential equation? "
        "Would an implicit step of the same layer damp perturbations "
        "more? And does a model fine-tuned with such steps resist attacks "
        "better? Spectra and growth answer the first two below; the "
        "third takes fine-tuning."
    )
    return page.section("The question", "question", page.paragraph(asked))


def told(story: Story, folder: Path, refinement: str = "") -> list[str]:
    """The sections of the records that are there, in the order in which one follows from the other,
    and the limits of it all.

    Args:
        story: the records.
        folder: where their figures go.
        refinement: what refining the steps of the pretrained model showed; empty where it was not
            measured.

    Raises:
        OSError: if a figure cannot be written.
    """
    sections = (
        (story.prediction, _predicted),
        (story.study, _trained),
        (story.confirmation, _confirmed),
        (story.calibration, _calibrated),
    )
    found = [section(record, folder) for record, section in sections if record is not None]
    if story.study is not None:
        found.append(_controls(story.study, refinement))
    return [*found, page.section("Limits", "limits", _list(LIMITS))]


def _predicted(record: Record, folder: Path) -> str:
    sentences = record["recommendation"]["sentences"]
    config = record["config"]
    asked = (
        f"From {style.counted(int(config['texts']), 'text')} without "
        f"labels and the weights of {config['model']} alone:"
    )
    shown = _figure(
        prediction.draw(record), folder, "story_prediction", sentences[0], CAPTIONS["prediction"]
    )
    return page.section(
        "What was predicted",
        "predicted",
        page.paragraph(asked),
        page.paragraph(sentences[0], "finding"),
        _list(sentences[1:]),
        shown,
    )


def _trained(record: Record, folder: Path) -> str:
    pieces = []
    for group in record["groups"]:
        pieces += [page.paragraph(_against(group, record["baseline"]), "finding"), _measures(group)]
    shown = _figure(
        robustness.draw(record), folder, "story_study", f"Study {record['name']}", CAPTIONS["study"]
    )
    missing = [f"Not run yet: {text}" for text in record["missing"]]
    notes = page.details(
        f"Missing ({len(missing)}) and warnings ({len(record['warnings'])})",
        _list([*missing, *record["warnings"]]),
    )
    return page.section(
        "What fine-tuning showed",
        "fine-tuning",
        *pieces,
        shown,
        notes if missing or record["warnings"] else "",
    )


def _against(group: Record, baseline: str) -> str:
    """Every model's difference to the baseline on all adversarial pairs."""
    parts = [f"{model['name']} {paired}" for model in group["models"] if (paired := _paired(model))]
    if not parts:
        return f"{group['name']}: no model has been compared with {baseline} yet."
    what = (
        "on all adversarial pairs of AdvGLUE, 95 % intervals (over "
        "seeds and the sentences that pairs were made from)"
    )
    return f"{group['name']}: against {baseline}, {what}: {'; '.join(parts)}."


def _paired(model: Record) -> str:
    """A model's difference to the baseline on all adversarial pairs; empty where it was not
    compared.
    """
    paired = ((model.get("against_baseline") or {}).get("all") or {}).get("hierarchical")
    if paired is None or paired["low"] is None:
        return ""
    low, mean, high = (number(100 * paired[key], 2) for key in ("low", "mean", "high"))
    return f"{mean} points ({low} to {high})"


def _measures(group: Record) -> str:
    names = list(robustness.MEASURES)
    head = "".join(
        f'<th scope="col">{page.escape(name)}</th>'
        for name in (
            "model",
            *(label.replace("\n", " ") for label in robustness.MEASURES.values()),
            "seeds",
        )
    )
    rows = [
        [
            model["name"],
            *(_percent(model["measures"].get(name)) for name in names),
            str(len(model["seeds"])),
        ]
        for model in group["models"]
    ]
    return page.table(
        f"{group['name']}: {group['metric']}, per cent, mean ± half a 95 % interval over seeds.",
        f"<tr>{head}</tr>",
        rows,
    )


def _controls(record: Record, refinement: str) -> str:
    """Whether it is the discretisation, the size of the step, or the attacks that explain what
    implicit steps do.
    """
    asked = (
        "Robust accuracy is evidence only where gradients are not masked and "
        "the solver did what it was asked. Checked for each seed:"
    )
    pieces = [
        page.paragraph(
            refinement or "Step refinement has not been measured in this run: --depth full does."
        ),
        page.paragraph(
            "Without implicitness, everything else equal: what other "
            "explicit steps change on AdvGLUE's adversarial sentences."
        ),
        _list(
            _explicit_controls(record)
            or ["No explicit model has been compared with the baseline yet."]
        ),
        page.paragraph(asked),
        _list(_checks(record) or ["No model has been checked yet."]),
    ]
    return page.section("Controls", "controls", *pieces)


def _explicit_controls(record: Record) -> list[str]:
    """Every other explicit model, with what its plan changes, and its difference to the
    baseline.
    """
    lines = []
    for group in record["groups"]:
        for model in group["models"]:
            if model["role"] == "explicit" and (paired := _paired(model)):
                plan = record["study"]["models"][model["name"]]
                plan = {"field": "outer", **plan} if model["kind"] == "ex-bert" else plan
                changed = [
                    f"{name.replace('_', ' ')} {plan[name]}" for name in STEPS if name in plan
                ]
                lines.append(
                    f"{model['name']}, {group['name']} "
                    f"({', '.join(changed) or 'training alone'}): {paired}."
                )
    return lines


def _checks(record: Record) -> list[str]:
    """The masking checks of every attacked model."""
    lines = []
    for group in record["groups"]:
        for model in group["models"]:
            failed = [
                f"{CHECKS.get(name, name)}: {sum(one is False for one in passed)} "
                f"of {sum(one is not None for one in passed)} failed"
                for name, passed in model["masking"].items()
                if any(one is False for one in passed)
            ]
            known = any(one is not None for passed in model["masking"].values() for one in passed)
            if known:
                lines.append(
                    f"{model['name']}, {group['name']}: "
                    f"{'; '.join(failed) or 'every check passed'}."
                )
    return lines


def _confirmed(record: Record, folder: Path) -> str:
    shown = _figure(
        confirmation.draw(record),
        folder,
        "story_confirmation",
        record["sentence"],
        CAPTIONS["confirmation"],
    )
    least, able = record["detectable"], ""
    if least is not None:
        able = page.paragraph(
            f"A difference of {number(100 * least, 2)} % of the examples "
            "would be seen in 80 % of such pairs of models."
        )
    if powers := record.get("powers"):  # older records have none
        chances = ", ".join(
            f"{number(power, 2)} at {number(100 * float(spread))} points"
            for spread, power in powers.items()
        )
        noise = f"{number(100 * record['noise'], 2)} points of noise from training seeds"
        able += page.paragraph(
            "Probability that a perfect prediction is confirmed under "
            f"{noise}, by the true outcomes' spread: {chances}."
        )
    return page.section(
        "Was the prediction right?",
        "confirmed",
        page.paragraph(record["sentence"], "finding"),
        able,
        shown,
    )


def _calibrated(record: Record, folder: Path) -> str:
    said = []
    for row in _least(record["fits"]):
        what = (
            row["kind"] if row["size"] is None else f"{row['kind']} of size {number(row['size'])}"
        )
        within = ""
        if "r_squared_within" in row:  # older records know the pooled one alone
            within = (
                f" (within layers {number(row['r_squared_within'])}; the "
                f"layers' means alone {number(row['layer_means'])})"
            )
        slope = (
            f"slope {number(row['slope'])} "
            f"({number(row['slope_low'])} to {number(row['slope_high'])})"
        )
        told = (
            f"R² {number(row['r_squared'])}{within}, {slope}, agreement {number(row['agreement'])}"
        )
        said.append(f"{what}, from the {row['source']} linearisation: {told}.")
    said += [_flip(name, one) for name, one in record["flips"].items()]
    shown = _figure(
        calibration.draw(record),
        folder,
        "story_calibration",
        "Predicted against measured growth",
        CAPTIONS["calibration"],
    )
    title = f"Does a linearisation foresee growth in {record['meta']['model']}?"
    return page.section(title, "calibrated", _list(said), shown)


def _flip(name: str, one: Record) -> str:
    """What sets pairs that flip apart; growth through all steps is chosen by its own outcome, and
    is said to be so.
    """
    sure = f"{number(one['low'], 2)} to {number(one['high'], 2)}, p = {number(one['p_value'], 2)}"
    pairs = f"{one['flipped']} and {one['held']} pairs"
    auroc = f", AUROC {number(one['auroc'], 2)}" if "auroc" in one else ""
    if name == "margin":
        return (
            "Margin of the originals of pairs that flip: "
            f"{number(one['difference'], 2)} above the others' ({sure}{auroc}; {pairs})."
        )
    caution = (
        " The answer is read off the last state: this is chosen by its own outcome."
        if name == "measured"
        else ""
    )
    found = f"{number(one['difference'], 2)} nats above the others' ({sure}{auroc}; {pairs})."
    return f"{name} growth of edits that flip the answer: {found}{caution}"


def _least(fits: Sequence[Record]) -> list[Record]:
    """Each kind and source at the smallest size."""
    found: dict[tuple[str, str], Record] = {}
    for row in fits:
        found.setdefault((row["kind"], row["source"]), row)
    return list(found.values())


def _figure(drawn: Figure, folder: Path, name: str, alternative: str, caption: str) -> str:
    svg = style.save(drawn, folder, name)["svg"]
    return page.figure(
        svg, f"{caption.split('.')[0]}. {alternative}", caption, float(drawn.get_figwidth())
    )


def _list(items: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{page.escape(item)}</li>" for item in items) + "</ul>"


def _percent(one: Record | None) -> str:
    if one is None or one["mean"] is None:
        return "–"
    mean = f"{100 * one['mean']:.1f}"
    return mean if one["low"] is None else f"{mean} ± {100 * (one['high'] - one['mean']):.1f}"


def _read(name: str, path: Path) -> Record:
    found = read_json(path)
    if not isinstance(found, dict) or KEYS[name] not in found or found.get("schema", 1) != 1:
        raise ValueError(
            f"{path}: expected the record of a {name}, with {KEYS[name]!r}, of schema 1"
        )
    record: Record = read_record(path, KINDS[name])
    for group in record["groups"] if name == "study" else ():
        if unplanned := [
            model["name"]
            for model in group["models"]
            if model["name"] not in record["study"]["models"]
        ]:
            raise ValueError(
                f"{path}: expected the plan of every model in "
                f"study.models, got none of {unplanned[0]!r}"
            )
    return record
