"""What imbert is to train and attack to test a prediction: the recommended run, and the study of
all its placements; or why it cannot.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from analysis.confirmation.verdict import FEWEST, PRIMARY
from analysis.ground.stepping_families import STEPPING_FAMILIES
from analysis.prediction.plan_data import GLUE, PlanData
from analysis.prediction.records import Prediction


def no_run(family: str | None) -> str | None:
    """Why no run can be trained; None where it can, or the family is not known.

    Args:
        family: `model_type` of the model.
    """
    if family is None or family in STEPPING_FAMILIES:
        return None
    return (
        f"imbert has no implicit layers for models of {family}, only for those of "
        f"{', '.join(STEPPING_FAMILIES)}"
    )


def no_study(prediction: Prediction, family: str | None) -> str | None:
    """Why no study can test the prediction; None where it can.

    Args:
        prediction: the prediction.
        family: `model_type` of the model; None where it is not known.
    """
    placed = sum(bool(layers) for layers in _placed(prediction))
    if placed < FEWEST:
        return (
            f"a rank correlation needs at least {FEWEST} placements of implicit steps, and these "
            f"layers have {placed}"
        )
    return no_run(family)


def run_toml(
    prediction: Prediction, digest: str, data: PlanData = GLUE, family: str | None = None
) -> str:
    """A run for `imbert finetune` of what is recommended, or of the explicit model where nothing
    is; comments that say why not where imbert cannot train it.

    Args:
        prediction: the prediction.
        digest: sha256 of its file, by which the run names it.
        data: that it trains on.
        family: `model_type` of the model; None where it is not known.
    """
    recommended = prediction.recommendation
    texts = len(prediction.config["texts"])
    head = f"# Predicted from {texts} unlabelled texts: see prediction.json."
    if (reason := no_run(family)) is not None:
        return f"{head}\n# No run: {reason}.\n"
    lines = [
        head,
        *([] if recommended.layers else ["# No implicit step is predicted to help."]),
        *_usage("finetune run.toml", "RUN", data),
        "",
        "[model]",
        *_model(prediction, recommended.layers),
        "",
        "[data]",
        f'task = "{data.task}"{_or_another(data)}',
        *data.lines,
        "",
        *_names(digest),
    ]
    return "\n".join(lines)


def study_toml(
    prediction: Prediction, digest: str, data: PlanData = GLUE, family: str | None = None
) -> str:
    """A study for `imbert study` of all placements of one step size, whose outcome `odestab
    confirm` holds against the prediction; comments that say why not where none can.

    Args:
        prediction: the prediction.
        digest: sha256 of its file, by which every run names it.
        data: that it trains on.
        family: `model_type` of the model; None where it is not known.
    """
    if (reason := no_study(prediction, family)) is not None:
        return f"# No study can test prediction.json: {reason}.\n"
    placed = _placed(prediction)
    lines = [
        f"# {len(placed)} placements of implicit steps of h = "
        f"{_step_size(prediction):g}, to hold prediction.json against.",
        *_usage("study study.toml", "STUDY", data),
        "# odestab confirm prediction.json STUDY",
        "",
        "[study]",
        'name = "placements of implicit steps"',
        'baseline = "none"',
        "seeds = [0]",
        f'tasks = ["{data.task}"]{_or_another(data)}',
        "sizes = [0]  # training rows, 0 is all",
        "",
        "[data]",
        *data.lines,
        "",
        *_names(digest),
        f"[attacks]  # on the first {data.examples} rows of dev; texts are changed, no gradient is "
        "used",
        f'kinds = ["{PRIMARY}"]',
        f"examples = {data.examples}",
        "masking = false",
        "",
    ]
    for layers in placed:
        lines += [
            f"[models.{'-'.join(['layers', *map(str, layers)]) if layers else 'none'}]",
            *_model(prediction, layers),
            "",
        ]
    return "\n".join(lines)


def _placed(prediction: Prediction) -> list[tuple[int, ...]]:
    """The placements of the step size that is tested, the explicit model among them."""
    h = _step_size(prediction)
    return [place.layers for place in prediction.placements if place.step_size == h]


def _usage(command: str, out: str, data: PlanData) -> list[str]:
    """How a plan is run, as comments."""
    files = ", where DIR holds the task's files: of GLUE, or train.tsv and dev.tsv."
    return [f"# imbert {command}{data.where} --out {out}{files if data.where else ''}"]


def _or_another(data: PlanData) -> str:
    return "  # or another" if data is GLUE else ""


def _model(prediction: Prediction, layers: Sequence[int]) -> list[str]:
    """The lines of a [model] table."""
    found, config = prediction.recommendation, prediction.config
    model = (
        str(Path(config["model"]).resolve()) if Path(config["model"]).is_dir() else config["model"]
    )  # wherever the plan lies
    checkpoint = f"checkpoint = {json.dumps(model)}"
    if not layers:
        return [checkpoint, 'kind = "bert"']
    rtol = found.rtol or prediction.layers[0].tolerances[-1]
    return [
        checkpoint,
        'kind = "im-bert"',
        f"implicit_layers = {list(layers)}",
        f'field = "{config["field"]}"',
        f"step_size = {_step_size(prediction)!r}",
        f'solver = {{ name = "Auto", rtol = {rtol!r}, compaction = true }}',
        'adjoint = { name = "ImplicitAdjoint", rtol = 1e-1 }',
    ]


def _step_size(prediction: Prediction) -> float:
    """The recommended h, or the largest one."""
    return prediction.recommendation.step_size or max(one.step_size for one in prediction.layers)


def _names(digest: str) -> list[str]:
    return [
        "[evaluate]",
        f'prediction = "{digest}"  # sha256 of the prediction.json that this is to test',
        "",
    ]
