"""Signs that a robustness number is an artefact of its gradients or of its solver (after Athalye et
al. 2018 and Carlini et al. 2019).
"""

import math
from collections.abc import Sequence

from msgspec import structs

from imbert.attack_records import AgreementMeasures, Check, SweepMeasures, SweepRow
from imbert.attacks.attack import AttackResult
from imbert.attacks.choice import RADII
from imbert.attacks.embedding_pgd import EmbeddingPGD
from imbert.attacks.gradients import own_solver
from imbert.attacks.transferring import perturbed
from imbert.checks.attack_gain import LEAST_GAIN, gain_check
from imbert.checks.gradient_agreement import gradient_agreement
from imbert.checks.solver_sweep import solver_sweep
from imbert.checks.stronger_attacks import ladder, square_alone, transfer_alone
from imbert.data.tasks import Examples
from imbert.model.classifier import Classifier, frozen
from imbert.model.solver_log import solver_log, statistics
from imbert.records import LayerSolves, number, plain

TOLERANCES = (1e-1, 1e-2, 1e-3, 1e-4)
ITERATIONS = (1, 4, 16)
GRADIENT_ERROR = 1e-3  # at a tolerance of 1e-10 the central differences are good to about 1e-5
# the median over points: an ascent that leaves the gradient by 25 degrees still climbs
COSINE = 0.9
# solves that may fail at the attack's points beyond those that fail on clean texts
FAILED_SHARE = 0.05
FAILED_MOST = 0.5  # and that may fail there at all
RESIDUAL_RATIO = 3.0  # how much a solver with a given number of steps may lose in residual there
SLACK = 0.1  # a success rate of some dozens of examples is known no better
NONE_RIGHT = "no example was right, so that "


def masking_checks(
    classifier: Classifier,
    examples: Examples,
    white_box: Sequence[AttackResult] | None = None,
    gradient_free: Sequence[AttackResult] | None = None,
    seed: int = 0,
    points: int = 8,
    sweep_examples: int = 32,
    tolerances: Sequence[float] = TOLERANCES,
    iterations: Sequence[int] = ITERATIONS,
    baseline: Classifier | None = None,
    radii: Sequence[float] = RADII,
) -> list[Check]:
    """All seven checks, in a fixed order.

    The sweep attacks the first examples once with the run's own solver and once for each tolerance
    and each number of iterations, by ten steps of PGD in the ball of the first white-box result; it
    is by far the dearest.

    Args:
        classifier: the attacked one.
        examples: the attacked ones.
        white_box: results of EmbeddingPGD and EmbeddingAPGD on these examples; None or none runs
            PGD.
        gradient_free: results of Square in the same balls; None or none runs it on what the first
            ball left. What is run takes the ball of the first given result.
        seed: of attacks and directions.
        points: where gradients are compared.
        sweep_examples: how many of the examples the sweep and the ladder attack.
        tolerances: of the sweep.
        iterations: of the sweep.
        baseline: the explicit model with the same tokens and hidden size, whose perturbations are
            put to this one; None is none.
        radii: of the ladder, relative to the mean norm of word embeddings.

    Raises:
        ValueError: if a result is of other examples, of the wrong kind of attack, or a
            gradient-free one has no white-box one in its ball, if there are no radii; and as the
            attacks do.
    """
    white = list(white_box or [])
    free = list(gradient_free or [])
    _require(white, free, len(examples))
    if not radii:
        raise ValueError("radii must have at least 1 radius, got none")
    # the other checks need an attack with gradients to be held against
    if not white:
        attack = EmbeddingPGD(*free[0].ball) if free else EmbeddingPGD()
        white = [attack.run(classifier, examples, seed)]
    first = min(white, key=lambda result: result.ball[1])  # where the loss is the straightest
    ordered = [first, *(result for result in white if result is not first)]
    some = examples.take(range(min(sweep_examples, len(examples))))
    checks = [
        gain_check(classifier, examples, first),
        _gradients(classifier, examples, ordered, points, seed),
        square_alone(classifier, examples, white, free, seed),
        transfer_alone(classifier, examples, white, baseline, seed),
        ladder(classifier, some, first, baseline, radii, seed),
    ]
    return checks + _of_solver(classifier, examples, white[0], some, tolerances, iterations, seed)


def _of_solver(
    classifier: Classifier,
    examples: Examples,
    result: AttackResult,
    swept: Examples,
    tolerances: Sequence[float],
    iterations: Sequence[int],
    seed: int,
) -> list[Check]:
    """The two checks of an implicit model's solver, in the ball of an attack's result."""
    if not classifier.is_implicit:
        sentence = "the model solves no implicit equation"
        return [Check(name, None, {}, sentence) for name in ("residual", "solver_sweep")]
    norm, radius = result.ball
    gradient = str(result.options["gradient"])
    attack = EmbeddingPGD(norm=norm, radius=radius, gradient=gradient, restarts=1)
    own, rows = solver_sweep(classifier, swept, attack, tolerances, iterations, seed)
    truncated = own_solver(classifier).keeps_last
    residual = _residual(classifier, examples, result)
    return [residual, _sweep(own, rows, len(swept), truncated)]


def _require(white: list[AttackResult], free: list[AttackResult], count: int) -> None:
    """Raise ValueError unless the results are of their kinds, of these examples and of balls that
    fit.
    """
    for results, wanted in ((white, True), (free, False)):
        for result in results:
            if "radius" not in result.options or ("gradient" in result.options) != wanted:
                raise ValueError(
                    f"expected {'white-box' if wanted else 'gradient-free'} "
                    f"attacks on embeddings, got {result.attack!r}"
                )
            if result.examples != count:
                raise ValueError(
                    f"the attack {result.attack!r} was on {result.examples} examples, got {count}"
                )
    balls = {result.ball for result in white or free[:1]}
    for result in free:
        if result.ball not in balls:
            raise ValueError(
                f"no white-box attack in the ball {result.ball} of "
                f"{result.attack!r}, got {sorted(balls)}"
            )


def _gradients(
    classifier: Classifier, examples: Examples, white: list[AttackResult], points: int, seed: int
) -> Check:
    """Every kind of gradient is measured.

    A solver with a given number of steps is not judged by the implicit one unless it was used.
    """
    name = "gradients_at_step"
    if all(delta is None for delta in white[0].perturbations):
        return Check(name, None, {}, f"{NONE_RIGHT}there is no point of an attack")
    agreements = gradient_agreement(classifier, examples, white[0], points, seed)
    measures = {agreement.kind: agreement.measures() for agreement in agreements}
    measured = {kind: structs.asdict(one_kind) for kind, one_kind in measures.items()}
    used = {result.statistics.gradient for result in white}
    truncated = classifier.is_implicit and own_solver(classifier).keeps_last
    judged = [kind for kind in measures if kind != "implicit" or not truncated or kind in used]
    if faults := [fault for kind in judged for fault in _gradient_faults(kind, measures[kind])]:
        sentence = f"WARNING: {'; '.join(faults)}: numbers through it are no evidence"
        return Check(name, False, measured, sentence)
    worst = max(number(measures[kind].error_max) for kind in judged)
    gain = min(number(measures[kind].gain_median) for kind in judged)
    sentence = (
        f"{' and '.join(judged)} gradients agree with central differences at the attack's points "
        f"to {worst:.1e}, and over the attack's own step these are {gain:.2g} of them (median)"
    )
    if len(judged) < len(measures):
        sentence += (
            "; the implicit one, of a solution that the solver stops short "
            f"of, is off by {number(measures['implicit'].error_max):.1e}"
        )
    return Check(name, True, measured, sentence)


def _gradient_faults(kind: str, measures: AgreementMeasures) -> list[str]:
    """The first thing that is wrong with a kind of gradient, if anything is."""
    points = measures.points
    solved = points - measures.unsolved
    error = number(measures.error_max)
    # a zero gradient cannot be climbed, and agrees with nothing
    if measures.vanished:
        return [f"the {kind} gradient is zero at {measures.vanished} of {points} points"]
    # the median over the rest would say little
    if solved < points / 2:
        return [
            f"the {kind} gradient is known at {solved} of {points} points only: "
            "the rest are not solved"
        ]
    if not error <= GRADIENT_ERROR:
        off = "nowhere solved" if math.isnan(error) else f"off by {error:.1e}"
        return [
            f"the {kind} gradient is {off} against central differences "
            f"(allowed {GRADIENT_ERROR:.0e})"
        ]
    if not number(measures.cosine_median) >= COSINE:
        return [
            f"the {kind} gradient at the run's tolerances has cosine "
            f"{measures.cosine_median:.2f} with the exact one"
        ]
    if not number(measures.gain_median) >= LEAST_GAIN:
        return [
            f"over the attack's own step the {kind} gradient foresees "
            f"{measures.gain_median:.2g} of a central difference (median)"
        ]
    return []


def _residual(classifier: Classifier, examples: Examples, result: AttackResult) -> Check:
    """How the solvers fare where the attack ended, beside the same examples untouched."""
    indices = [i for i, delta in enumerate(result.perturbations) if delta is not None]
    if not indices:
        return Check("residual", None, {}, f"{NONE_RIGHT}there is no point of an attack")
    on_clean = solver_log(classifier.model)
    on_attacked = solver_log(classifier.model)
    with frozen(classifier.model):
        for batch, delta in perturbed(result, examples, classifier, indices):
            batch.evaluate(0 * delta)
            on_clean.add(statistics(classifier.model))
            batch.evaluate(delta)
            on_attacked.add(statistics(classifier.model))
    clean = on_clean.summary()
    attacked = on_attacked.summary()
    measured = {"clean": plain(clean), "attacked": plain(attacked)}
    keeps_last = own_solver(classifier).keeps_last
    faults = [
        fault
        for before, after in zip(clean, attacked, strict=True)
        if (fault := _residual_fault(before, after, keeps_last))
    ]
    if faults:
        sentence = f"WARNING: the solver gives way to the attack: {'; '.join(faults)}"
        return Check("residual", False, measured, sentence)
    largest = max(number(layer.residual_max) for layer in attacked)
    sentence = f"the solver holds at the attack's points: largest relative residual {largest:.1e}"
    return Check("residual", True, measured, sentence)


def _residual_fault(clean: LayerSolves, attacked: LayerSolves, keeps_last: bool) -> str | None:
    """What is wrong with the solves of a layer; a solver with a given number of steps is judged by
    its residual, as it never fails.
    """
    share = attacked.failed_share
    if share > min(clean.failed_share + FAILED_SHARE, FAILED_MOST):
        return (
            f"layer {attacked.layer} fails on {share:.0%} of the "
            f"attacked examples, {clean.failed_share:.0%} of the clean ones"
        )
    before = max(number(clean.residual_median_mean), 1e-30)
    ratio = number(attacked.residual_median_mean) / before
    # such a solver never reports failure, so its residual is all there is to judge by
    if keeps_last and ratio > RESIDUAL_RATIO:
        return f"layer {attacked.layer}'s residual is {ratio:.1f} times that on clean texts"
    return None


def _sweep(own: SweepRow, rows: list[SweepRow], examples: int, truncated: bool) -> Check:
    """Whether solving better than the run did makes the model easier to break."""
    measured = plain(SweepMeasures(own, rows, examples, truncated))
    success = number(own.success_rate)
    if math.isnan(success):
        return Check("solver_sweep", None, measured, f"{NONE_RIGHT}there was nothing to break")
    assert own.rtol is not None
    better = [row for row in rows if row.rtol is not None and row.rtol < own.rtol]
    k = own.iterations or 0
    more = [row for row in rows if row.iterations is not None and row.iterations > k]
    longest = [max(more, key=lambda row: row.iterations or 0)] if more else []
    # two examples more or less are no evidence
    slack = max(SLACK, 2 / examples)
    faults = [row for row in [*better, *longest] if number(row.success_rate) > success + slack]
    tried = f"success {success:.2f} with the run's solver"
    if faults:
        fault = f"the robustness is the solver's, not the model's: {tried}, {_settings(faults)}"
        return Check("solver_sweep", False, measured, f"WARNING: {fault}")
    others = _settings([*better[-1:], *longest]) or "nothing else tried"
    sentence = f"no better solver makes the model easier to break: {tried}, {others}"
    return Check("solver_sweep", True, measured, sentence)


def _settings(rows: list[SweepRow]) -> str:
    """The success rate under each solver."""
    return ", ".join(
        f"{row.success_rate:.2f} with "
        + (f"rtol {row.rtol:.0e}" if row.rtol is not None else f"k = {row.iterations}")
        for row in rows
    )
