"""What imbert is to train and attack to test a prediction: the recommended run, and the study of
all its placements.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from analysis.confirmation.verdict import PRIMARY
from analysis.prediction.records import Prediction

EXAMPLES = 500  # that are attacked
DATA = (
    'source = "."',
    "validation = 500  # rows held out of the training file to choose the checkpoint",
    "",
)


def run_toml(prediction: Prediction, digest: str) -> str:
    """A run for `imbert finetune` of what is recommended, or of the explicit model where nothing
    is.

    Args:
        prediction: the prediction.
        digest: sha256 of its file, by which the run names it.
    """
    found = prediction.recommendation
    lines = [
        f"# Predicted from {len(prediction.config['texts'])} "
        "unlabelled texts: see prediction.json.",
        *([] if found.layers else ["# No implicit step is predicted to help."]),
        "# imbert finetune run.toml --data DIR --out RUN, where DIR holds "
        "the task's files: of GLUE, or train.tsv and dev.tsv.",
        "",
        "[model]",
        *_model(prediction, found.layers),
        "",
        "[data]",
        'task = "sst2"  # or another',
        *DATA,
        *_names(digest),
    ]
    return "\n".join(lines)


def study_toml(prediction: Prediction, digest: str) -> str:
    """A study for `imbert study` of all placements of one step size, whose outcome `odestab
    confirm` holds against the prediction.

    Args:
        prediction: the prediction.
        digest: sha256 of its file, by which every run names it.
    """
    h = _step_size(prediction)
    placed = [one.layers for one in prediction.placements if one.step_size == h]
    lines = [
        f"# {len(placed)} placements of implicit steps of h = "
        f"{h:g}, to hold prediction.json against.",
        "# imbert study study.toml --data DIR --out STUDY, where DIR holds "
        "the task's files: of GLUE, or train.tsv and dev.tsv.",
        "# odestab confirm prediction.json STUDY",
        "",
        "[study]",
        'name = "placements of implicit steps"',
        'baseline = "none"',
        "seeds = [0]",
        'tasks = ["sst2"]  # or another',
        "sizes = [0]  # training rows, 0 is all",
        "",
        "[data]",
        *DATA,
        *_names(digest),
        f"[attacks]  # on the first {EXAMPLES} rows of dev; texts are changed, no gradient is used",
        f'kinds = ["{PRIMARY}"]',
        f"examples = {EXAMPLES}",
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
