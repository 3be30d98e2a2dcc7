"""Signs that a robustness number is an artefact of its gradients or of its solver (after Athalye et
al. 2018 and Carlini et al. 2019).
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from imbert.attacks.base import AttackResult
from imbert.attacks.embedding_pgd import EmbeddingPGD
from imbert.attacks.gradients import own_solver
from imbert.attacks.transfer import perturbed
from imbert.checks.attack_gain import LEAST_GAIN, gain_check
from imbert.checks.check import Check, ball_of
from imbert.checks.gradient_agreement import gradient_agreement
from imbert.checks.stronger_attacks import ladder, square_alone, transfer_alone
from imbert.data.tasks import Examples
from imbert.model.classifier import Classifier, frozen
from imbert.model.solver_log import SolverLog, solver_log, statistics
from imbert.study.plan import RADII
from imbert.study.solver_sweep import SweepRow, solver_sweep

TOLERANCES = (1e-1, 1e-2, 1e-3, 1e-4)
ITERATIONS = (1, 4, 16)
GRADIENT_ERROR = 1e-3  # at a tolerance of 1e-10 the central differences are good to about 1e-5
COSINE = (
    0.9  # the median over points: an ascent that leaves the gradient by 25 degrees still climbs
)
FAILED_SHARE = (
    0.05  # solves that may fail at the attack's points beyond those that fail on clean texts
)
FAILED_MOST = 0.5  # and that may fail there at all
RESIDUAL_RATIO = 3.0  # how much a solver with a given number of steps may lose in residual there
SLACK = 0.1  # a success rate of some dozens of examples is known no better


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
    white, free = list(white_box or []), list(gradient_free or [])
    _require(white, free, len(examples))
    if not radii:
        raise ValueError("radii must have at least 1 radius, got none")
    ball: dict[str, Any] = {
        name: one.options[name] for one in [*white, *free][:1] for name in ("norm", "radius")
    }
    white = white or [EmbeddingPGD(**ball).run(classifier, examples, seed)]
    first = min(
        white, key=lambda one: float(one.options["radius"])
    )  # where the loss is the straightest
    some = examples.take(range(min(sweep_examples, len(examples))))
    checks = [
        gain_check(classifier, examples, first),
        _gradients(
            classifier, examples, [first, *(one for one in white if one is not first)], points, seed
        ),
        square_alone(classifier, examples, white, free, seed),
        transfer_alone(classifier, examples, white, baseline, seed),
        ladder(classifier, some, first, baseline, radii, seed),
    ]
    if not classifier.is_implicit:
        sentence = "the model solves no implicit equation"
        return [
            *checks,
            *(Check(name, None, {}, sentence) for name in ("residual", "solver_sweep")),
        ]
    options = {name: white[0].options[name] for name in ("norm", "radius", "gradient")}
    own, rows = solver_sweep(
        classifier, some, EmbeddingPGD(**options, restarts=1), tolerances, iterations, seed
    )
    truncated = own_solver(classifier).keeps_last
    return [
        *checks,
        _residual(classifier, examples, white[0]),
        _sweep(own, rows, len(some), truncated),
    ]


def _require(white: list[AttackResult], free: list[AttackResult], count: int) -> None:
    for results, wanted in ((white, True), (free, False)):
        for one in results:
            if "radius" not in one.options or ("gradient" in one.options) != wanted:
                raise ValueError(
                    f"expected {'white-box' if wanted else 'gradient-free'} "
                    f"attacks on embeddings, got {one.attack!r}"
                )
            if one.examples != count:
                raise ValueError(
                    f"the attack {one.attack!r} was on {one.examples} examples, got {count}"
                )
    balls = {ball_of(one) for one in white or free[:1]}
    for one in free:
        if ball_of(one) not in balls:
            raise ValueError(
                f"no white-box attack in the ball {ball_of(one)} of "
                f"{one.attack!r}, got {sorted(balls)}"
            )


def _gradients(
    classifier: Classifier, examples: Examples, white: list[AttackResult], points: int, seed: int
) -> Check:
    """Every kind of gradient is measured.

    A solver with a given number of steps is not judged by the implicit one unless it was used.
    """
    if all(one is None for one in white[0].perturbations):
        return Check(
            "gradients_at_step",
            None,
            {},
            "no example was right, so that there is no point of an attack",
        )
    measured = {
        one.kind: one.measured()
        for one in gradient_agreement(classifier, examples, white[0], points, seed)
    }
    used = {one.statistics.get("gradient") for one in white}
    truncated = classifier.is_implicit and own_solver(classifier).keeps_last
    judged = [kind for kind in measured if kind != "implicit" or not truncated or kind in used]
    if faults := [fault for kind in judged for fault in _gradient_faults(kind, measured[kind])]:
        return Check(
            "gradients_at_step",
            False,
            measured,
            f"WARNING: {'; '.join(faults)}: numbers through it are no evidence",
        )
    worst = max(measured[kind]["error_max"] for kind in judged)
    gain = min(measured[kind]["gain_median"] for kind in judged)
    sentence = (
        f"{' and '.join(judged)} gradients agree with central "
        f"differences at the attack's points to {worst:.1e}"
    )
    sentence += f", and over the attack's own step these are {gain:.2g} of them (median)"
    if len(judged) < len(measured):
        sentence += (
            "; the implicit one, of a solution that the solver stops short "
            f"of, is off by {measured['implicit']['error_max']:.1e}"
        )
    return Check("gradients_at_step", True, measured, sentence)


def _gradient_faults(kind: str, one: dict[str, Any]) -> list[str]:
    if one["vanished"]:
        return [f"the {kind} gradient is zero at {one['vanished']} of {one['points']} points"]
    if (solved := one["points"] - one["unsolved"]) < one["points"] / 2:
        return [
            f"the {kind} gradient is known at {solved} of "
            f"{one['points']} points only: the rest are not solved"
        ]
    if not one["error_max"] <= GRADIENT_ERROR:
        error = (
            "nowhere solved" if math.isnan(one["error_max"]) else f"off by {one['error_max']:.1e}"
        )
        return [
            f"the {kind} gradient is {error} against central "
            f"differences (allowed {GRADIENT_ERROR:.0e})"
        ]
    if not one["cosine_median"] >= COSINE:
        return [
            f"the {kind} gradient at the run's tolerances has cosine "
            f"{one['cosine_median']:.2f} with the exact one"
        ]
    if not one["gain_median"] >= LEAST_GAIN:
        return [
            f"over the attack's own step the {kind} gradient foresees "
            f"{one['gain_median']:.2g} of a central difference (median)"
        ]
    return []


def _residual(classifier: Classifier, examples: Examples, result: AttackResult) -> Check:
    """How the solvers fare where the attack ended, beside the same examples untouched."""
    indices = [i for i, one in enumerate(result.perturbations) if one is not None]
    if not indices:
        return Check(
            "residual", None, {}, "no example was right, so that there is no point of an attack"
        )
    logs: dict[str, SolverLog] = {
        "clean": solver_log(classifier.model),
        "attacked": solver_log(classifier.model),
    }
    with frozen(classifier.model):
        for batch, delta in perturbed(result, examples, classifier, indices):
            for log, at in zip(logs.values(), (0 * delta, delta), strict=True):
                batch.evaluate(at)
                log.add(statistics(classifier.model))
    measured = {name: log.summary() for name, log in logs.items()}
    faults = []
    for clean, attacked in zip(measured["clean"], measured["attacked"], strict=True):
        share, before = attacked["failed_share"], clean["failed_share"]
        ratio = attacked["residual_median_mean"] / max(clean["residual_median_mean"], 1e-30)
        if share > min(before + FAILED_SHARE, FAILED_MOST):
            faults.append(
                f"layer {attacked['layer']} fails on {share:.0%} of the "
                f"attacked examples, {before:.0%} of the clean ones"
            )
        elif own_solver(classifier).keeps_last and ratio > RESIDUAL_RATIO:
            faults.append(
                f"layer {attacked['layer']}'s residual is {ratio:.1f} times that on clean texts"
            )
    if faults:
        return Check(
            "residual",
            False,
            measured,
            f"WARNING: the solver gives way to the attack: {'; '.join(faults)}",
        )
    largest = max(one["residual_max"] for one in measured["attacked"])
    return Check(
        "residual",
        True,
        measured,
        f"the solver holds at the attack's points: largest relative residual {largest:.1e}",
    )


def _sweep(own: SweepRow, rows: list[SweepRow], examples: int, truncated: bool) -> Check:
    """Whether solving better than the run did makes the model easier to break."""
    measured = {
        "own": dataclasses.asdict(own),
        "rows": [dataclasses.asdict(one) for one in rows],
        "examples": examples,
        "truncated": truncated,
    }
    if math.isnan(own.success_rate):
        return Check(
            "solver_sweep",
            None,
            measured,
            "no example was right, so that there was nothing to break",
        )
    assert own.rtol is not None
    better = [one for one in rows if one.rtol is not None and one.rtol < own.rtol]
    more = [
        one for one in rows if one.iterations is not None and one.iterations > (own.iterations or 0)
    ]
    longest = max(more, key=lambda one: one.iterations or 0, default=None)
    slack = max(SLACK, 2 / examples)
    faults = [
        one
        for one in [*better, *([longest] if longest else [])]
        if one.success_rate > own.success_rate + slack
    ]
    tried = f"success {own.success_rate:.2f} with the run's solver"
    if faults:
        told = ", ".join(f"{one.success_rate:.2f} with {_setting(one)}" for one in faults)
        return Check(
            "solver_sweep",
            False,
            measured,
            f"WARNING: the robustness is the solver's, not the model's: {tried}, {told}",
        )
    told = ", ".join(
        f"{one.success_rate:.2f} with {_setting(one)}"
        for one in [*better[-1:], *([longest] if longest else [])]
    )
    return Check(
        "solver_sweep",
        True,
        measured,
        "no better solver makes the model easier to break: "
        f"{tried}, {told or 'nothing else tried'}",
    )


def _setting(row: SweepRow) -> str:
    return f"rtol {row.rtol:.0e}" if row.rtol is not None else f"k = {row.iterations}"
