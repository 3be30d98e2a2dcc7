"""Whether anything but the model's own gradient breaks more of it: random search, another model's
perturbations, a larger ball.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from imbert.attacks.base import AttackResult
from imbert.attacks.embedding_ball import EmbeddingBall
from imbert.attacks.embedding_pgd import EmbeddingPGD
from imbert.attacks.square import Square
from imbert.attacks.transfer import perturbed_logits
from imbert.checks.check import Ball, Check, ball_of, broken_by
from imbert.data.tasks import Examples
from imbert.model.classifier import Classifier

QUERIES = 1000  # of a random search, below which finding nothing says nothing
ALONE = 0.02  # share of the attacked examples that another attack may break alone
NOISE = 0.5  # share of what the attack breaks that noise of the same size may break
RUNG = 3.0  # from one radius to the next where the ladder must go on
LONGEST = 10.0  # the last radius: a random perturbation of ten words' norm breaks any model


def square_alone(
    classifier: Classifier,
    examples: Examples,
    white: Sequence[AttackResult],
    free: Sequence[AttackResult],
    seed: int,
) -> Check:
    """What random search breaks and the white-box attacks in the same ball do not.

    Where no result is given, it runs in the first white-box attack's ball, on the examples that
    withstood that.
    """
    rows = list(free) or [_search(classifier, examples, white, seed)]
    balls = []
    for result in rows:
        partners = [other for other in white if ball_of(other) == ball_of(result)]
        found = _alone(ball_of(result), partners, set(result.changed))
        balls.append(
            {**found, "broken_by_square": len(result.changed), "queries": result.options["queries"]}
        )
    check = _told("square_alone", balls, "random search breaks")
    if check.passed and (fewest := min(one["queries"] for one in balls)) < QUERIES:
        return dataclasses.replace(
            check,
            passed=None,
            sentence=f"a random search of {fewest} queries is no "
            f"evidence, at least {QUERIES} are needed",
        )
    return check


def transfer_alone(
    classifier: Classifier,
    examples: Examples,
    white: Sequence[AttackResult],
    baseline: Classifier | None,
    seed: int,
) -> Check:
    """What perturbations made on the explicit baseline, projected to the model's ball, break and
    the model's own do not.
    """
    if baseline is None:
        return Check(
            "transfer_alone",
            None,
            {},
            "no explicit baseline was given, whose perturbations could be put to the model",
        )
    balls = []
    for ball in dict.fromkeys(map(ball_of, white)):
        partners = [other for other in white if ball_of(other) == ball]
        broken = _transferred(classifier, examples, partners[0], baseline, seed)
        balls.append({**_alone(ball, partners, broken), "broken_by_transfer": len(broken)})
    return _told("transfer_alone", balls, "perturbations of the explicit baseline break")


def ladder(
    classifier: Classifier,
    examples: Examples,
    first: AttackResult,
    baseline: Classifier | None,
    radii: Sequence[float],
    seed: int,
) -> Check:
    """Robust accuracy in larger and larger balls, up to one where a plain model is at chance: so
    must any model be whose gradients lead on.

    With a baseline the ladder goes on until that is at chance, and the model must be so too.
    Without one it goes on until the model is, and noise of that size must not do nearly as well: in
    many dimensions a direction that means something breaks a model far earlier.
    """
    norm, chance = first.options["norm"], 1 / examples.task.labels
    attack = EmbeddingPGD(
        norm=norm, radius=radii[0], restarts=1, gradient=first.options["gradient"]
    )
    rungs = list[dict[str, Any]]()
    for radius in _rungs(radii):
        climb = dataclasses.replace(attack, radius=radius)
        own = climb.run(classifier, examples, seed)
        noise = (
            Square(norm=norm, radius=radius, queries=1)
            .run(classifier, examples, seed)
            .robust_accuracy
        )
        plain = (
            None
            if baseline is None
            else dataclasses.replace(climb, gradient="auto")
            .run(baseline, examples, seed)
            .robust_accuracy
        )
        rungs.append(
            {
                "radius": radius,
                "clean": own.clean_accuracy,
                "robust": own.robust_accuracy,
                "noise": noise,
                "baseline": plain,
            }
        )
        if own.clean_accuracy == 0:
            return Check(
                "ladder",
                None,
                {"rungs": rungs},
                "no example was right, so that there is nothing to attack",
            )
        if radius >= max(radii) and (own.robust_accuracy if plain is None else plain) <= chance:
            break
    measured = {"norm": norm, "chance": chance, "examples": len(examples), "rungs": rungs}
    return _climbed(measured)


def _climbed(measured: dict[str, Any]) -> Check:
    rungs, chance = measured["rungs"], measured["chance"]
    last = rungs[-1]
    told = (
        "; ".join(f"{one['robust']:.0%} right at {one['radius']:g}" for one in rungs)
        + " mean word norms"
    )
    if last["baseline"] is not None and last["baseline"] > chance:
        return Check(
            "ladder",
            None,
            measured,
            f"the baseline is above chance at the largest radius of all: {told}",
        )
    if last["robust"] > chance:
        alone = last["baseline"] is None
        where = "at the largest radius of all" if alone else "where the baseline is not"
        fault = f"above chance ({chance:.0%}) {where}"
        return Check("ladder", False, measured, f"WARNING: gradients are masked: {told}, {fault}")
    if last["baseline"] is None and last["clean"] - last["noise"] >= NOISE * (
        last["clean"] - last["robust"]
    ):
        fault = f"where noise of that size leaves {last['noise']:.0%}"
        return Check("ladder", False, measured, f"WARNING: gradients are masked: {told}, {fault}")
    return Check(
        "ladder", True, measured, f"larger balls break the model as they break a plain one: {told}"
    )


def _rungs(radii: Sequence[float]) -> list[float]:
    """The radii ascending, and further ones up to the longest."""
    rungs = sorted(radii)
    while rungs[-1] < LONGEST:
        rungs.append(min(RUNG * rungs[-1], LONGEST))
    return rungs


def _search(
    classifier: Classifier, examples: Examples, white: Sequence[AttackResult], seed: int
) -> AttackResult:
    """Random search in the first ball, on the examples that the white-box attacks left."""
    ball = ball_of(white[0])
    broken = broken_by([one for one in white if ball_of(one) == ball])
    left = [i for i in range(len(examples)) if i not in broken]
    square = Square(norm=ball[0], radius=ball[1], queries=QUERIES)
    if not left:
        return dataclasses.replace(
            white[0], attack=square.name, options=square.options(), changed=[]
        )
    found = square.run(classifier, examples.take(left), seed)
    return dataclasses.replace(found, changed=[left[i] for i in found.changed])


def _transferred(
    classifier: Classifier, examples: Examples, first: AttackResult, baseline: Classifier, seed: int
) -> set[int]:
    """Examples, right before, that PGD's perturbations of the baseline break in the model."""
    norm, radius = ball_of(first)
    right = {row["index"] for row in first.per_example if row["right_before"]}
    if not right:
        return set()
    ball = EmbeddingBall(norm, first.statistics["absolute_radius"])
    source = EmbeddingPGD(norm=norm, radius=radius).run(baseline, examples, seed)
    inside = tuple(
        None if one is None else ball.project(one[None])[0] for one in source.perturbations
    )
    rows = [i for i, one in enumerate(inside) if one is not None and i in right]
    logits = perturbed_logits(
        dataclasses.replace(source, perturbations=inside), examples, classifier, rows
    )
    return (
        set(np.asarray(rows)[logits.argmax(axis=1) != examples.labels[rows]].tolist())
        if rows
        else set()
    )


def _alone(ball: Ball, white: Sequence[AttackResult], broken: set[int]) -> dict[str, Any]:
    own = broken_by(list(white))
    return {
        "norm": ball[0],
        "radius": ball[1],
        "white_box": [one.attack for one in white],
        "attacked": sum(row["right_before"] for row in white[0].per_example),
        "broken_by_white_box": len(own),
        "alone": sorted(broken - own),
    }


def _told(name: str, balls: list[dict[str, Any]], what: str) -> Check:
    """Judged by the examples that fall to the other attack alone, ball by ball: equal counts can
    hide different examples.
    """
    if not any(one["attacked"] for one in balls):
        return Check(
            name, None, {"balls": balls}, "no example was right, so that there was nothing to break"
        )
    worst = max(balls, key=lambda one: len(one["alone"]) / max(one["attacked"], 1))
    told = (
        f"{what} {len(worst['alone'])} of {worst['attacked']} examples "
        "that white-box attacks in the same ball do not"
    )
    if len(worst["alone"]) > ALONE * worst["attacked"]:
        return Check(
            name,
            False,
            {"balls": balls},
            f"WARNING: gradients are masked: {told} (radius {worst['radius']:g})",
        )
    return Check(name, True, {"balls": balls}, f"white-box attacks are the strongest: {told}")
