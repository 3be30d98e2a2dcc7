"""A regularised model that has learnt nothing looks stable: the record says so."""

import numpy as np

from imbert.data.tasks import Examples
from imbert.records import Training
from imbert.training.run_config import RunConfig


def no_better_than_chance(run: RunConfig, training: Training, validation: Examples) -> list[str]:
    """A line if the kept model of a regularised run is right on the held-out rows no more often
    than the commonest class would be; nothing where accuracy is no metric of the task.
    """
    choice = run.train.regularizer
    best = [entry.validation for entry in training.log if entry.step == training.best_step]
    accuracy = None if not best or best[0] is None else best[0].accuracy
    if choice is None or accuracy is None:
        return []
    majority = float(np.bincount(validation.labels).max() / len(validation))
    if accuracy > majority:
        return []
    return [
        f"regularizer {choice.kind}: validation accuracy {accuracy:.1%} is no more than the share "
        f"{majority:.1%} of the commonest class: the model may have learnt nothing, and looks "
        "robust for it"
    ]
