"""How robust a model is when its implicit steps are solved more or less exactly than in the run."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from imbert.attacks.base import AbstractAttack, AttackResult
from imbert.attacks.gradients import at_iterations, at_tolerance, own_solver
from imbert.attacks.transfer import perturbed_logits
from imbert.data.tasks import Examples
from imbert.model.classifier import Classifier
from imbert.model.stepping_model import stepping


@dataclasses.dataclass(frozen=True)
class SweepRow:
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
    clean_accuracy: float
    robust_accuracy: float
    success_rate: float
    moved: float


def solver_sweep(
    classifier: Classifier,
    examples: Examples,
    attack: AbstractAttack,
    tolerances: Sequence[float],
    iterations: Sequence[int],
    seed: int = 0,
) -> tuple[SweepRow, list[SweepRow]]:
    """The attack under the run's own solver, and again under others.

    Args:
        classifier: an implicit model.
        examples: what is attacked.
        attack: on word embeddings.
        tolerances: the solver's, each with the run's own kind of solver, the run's own left out;
            none are tried for one with a given number of steps.
        iterations: each k, the solver stopped there; a chain of solvers and Newton's method are
            replaced by Anderson mixing.
        seed: of the attack.

    Returns:
        The row of the run's own solver, and those of the others.
    """
    solver = own_solver(classifier)
    result = attack.run(classifier, examples, seed)
    steps = getattr(solver, "steps", None)
    own = SweepRow(
        solver.rtol,
        steps,
        result.clean_accuracy,
        result.robust_accuracy,
        result.success_rate,
        _moved(result, examples, classifier),
    )
    others: list[tuple[Any, float | None, int | None]] = []
    if not solver.keeps_last:
        others += [
            (at_tolerance(solver, rtol), rtol, None) for rtol in tolerances if rtol != solver.rtol
        ]
    others += [(at_iterations(solver, k), None, k) for k in iterations]
    rows = []
    for other, rtol, k in others:
        with stepping(classifier.model, solver=other):
            again = attack.run(classifier, examples, seed)
            moved = _moved(result, examples, classifier)
        rows.append(
            SweepRow(
                rtol, k, again.clean_accuracy, again.robust_accuracy, again.success_rate, moved
            )
        )
    return own, rows


def _moved(result: AttackResult, examples: Examples, classifier: Classifier) -> float:
    if not result.changed:
        return float("nan")
    logits = perturbed_logits(result, examples, classifier, result.changed)
    return float(np.mean(logits.argmax(axis=1) != examples.labels[result.changed]))
