"""How robust a model is when its implicit steps are solved more or less exactly than in the run."""

from collections.abc import Sequence

import numpy as np

import odestab as od
from imbert.attack_records import SweepRow as SweepRow
from imbert.attacks.attack import AbstractAttack, AttackResult
from imbert.attacks.gradients import at_iterations, at_tolerance, own_solver
from imbert.attacks.transferring import perturbed_logits
from imbert.data.tasks import Examples
from imbert.model.classifier import Classifier
from imbert.model.stepping_model import stepping


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
    own = _row(solver.rtol, getattr(solver, "steps", None), result, result, examples, classifier)
    others: list[tuple[od.AbstractImplicitSolver, float | None, int | None]] = []
    if not solver.keeps_last:
        others += [
            (at_tolerance(solver, rtol), rtol, None) for rtol in tolerances if rtol != solver.rtol
        ]
    others += [(at_iterations(solver, k), None, k) for k in iterations]
    rows = []
    for other, rtol, k in others:
        with stepping(classifier.model, solver=other):
            again = attack.run(classifier, examples, seed)
            rows.append(_row(rtol, k, again, result, examples, classifier))
    return own, rows


def _row(
    rtol: float | None,
    iterations: int | None,
    attacked: AttackResult,
    own: AttackResult,
    examples: Examples,
    classifier: Classifier,
) -> SweepRow:
    """The attack through a solver, and what the own solver's perturbations do under it."""
    return SweepRow(
        rtol,
        iterations,
        attacked.clean_accuracy,
        attacked.robust_accuracy,
        attacked.success_rate,
        _moved(own, examples, classifier),
    )


def _moved(result: AttackResult, examples: Examples, classifier: Classifier) -> float:
    if not result.changed:
        return float("nan")
    logits = perturbed_logits(result, examples, classifier, result.changed)
    return float(np.mean(logits.argmax(axis=1) != examples.labels[result.changed]))
