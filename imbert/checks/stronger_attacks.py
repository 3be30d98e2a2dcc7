"""Whether anything but the model's own gradient breaks more of it: random search, another model's
perturbations, a larger ball.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from msgspec import structs

from imbert.attack_records import BallMeasures, Check, LadderMeasures, Rung
from imbert.attacks.attack import AttackResult, Ball
from imbert.attacks.embedding_pgd import EmbeddingPGD
from imbert.attacks.square import Square
from imbert.attacks.transferring import perturbed_logits
from imbert.checks.attack_gain import absolute_ball
from imbert.data.tasks import Examples
from imbert.model.classifier import Classifier
from imbert.records import plain

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
    results = list(free) or [_search(classifier, examples, white, seed)]
    balls = []
    for result in results:
        partners = [other for other in white if other.ball == result.ball]
        alone = _alone(result.ball, partners, set(result.changed))
        balls.append(
            structs.replace(
                alone,
                broken_by_square=len(result.changed),
                queries=int(result.number("queries")),
            )
        )
    check = _judged("square_alone", balls, "random search breaks")
    fewest = min(int(result.number("queries")) for result in results)
    if check.passed and fewest < QUERIES:
        sentence = (
            f"a random search of {fewest} queries is no evidence, at least {QUERIES} are needed"
        )
        return structs.replace(check, passed=None, sentence=sentence)
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
    for ball in dict.fromkeys(result.ball for result in white):
        partners = [other for other in white if other.ball == ball]
        broken = _transferred(classifier, examples, partners[0], baseline, seed)
        alone = _alone(ball, partners, broken)
        balls.append(structs.replace(alone, broken_by_transfer=len(broken)))
    return _judged("transfer_alone", balls, "perturbations of the explicit baseline break")


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
    norm = first.ball[0]
    chance = 1 / examples.task.labels
    gradient = str(first.options["gradient"])
    rungs: list[Rung] = []
    for radius in _rungs(radii):
        climb = EmbeddingPGD(norm=norm, radius=radius, restarts=1, gradient=gradient)
        rung = _rung(classifier, examples, climb, baseline, seed)
        rungs.append(rung)
        if rung.clean == 0:
            sentence = "no example was right, so that there is nothing to attack"
            return Check("ladder", None, {"rungs": plain(rungs)}, sentence)
        weakest = rung.robust if rung.baseline is None else rung.baseline
        if radius >= max(radii) and weakest <= chance:
            break
    return _climbed(LadderMeasures(norm, chance, len(examples), rungs))


def _rung(
    classifier: Classifier,
    examples: Examples,
    climb: EmbeddingPGD,
    baseline: Classifier | None,
    seed: int,
) -> Rung:
    """The attack, one random perturbation of its size, and the attack on the baseline."""
    own = climb.run(classifier, examples, seed)
    one_draw = Square(norm=climb.norm, radius=climb.radius, queries=1)
    noise = one_draw.run(classifier, examples, seed).robust_accuracy
    explicit = dataclasses.replace(climb, gradient="auto")
    return Rung(
        radius=climb.radius,
        clean=own.clean_accuracy,
        robust=own.robust_accuracy,
        noise=noise,
        baseline=None
        if baseline is None
        else explicit.run(baseline, examples, seed).robust_accuracy,
    )


def _climbed(ladder: LadderMeasures) -> Check:
    measured = plain(ladder)
    last = ladder.rungs[-1]
    rungs = "; ".join(f"{rung.robust:.0%} right at {rung.radius:g}" for rung in ladder.rungs)
    sentence = f"{rungs} mean word norms"
    if last.baseline is not None and last.baseline > ladder.chance:
        fault = f"the baseline is above chance at the largest radius of all: {sentence}"
        return Check("ladder", None, measured, fault)
    masked = f"WARNING: gradients are masked: {sentence}"
    if last.robust > ladder.chance:
        alone = last.baseline is None
        where = "at the largest radius of all" if alone else "where the baseline is not"
        fault = f"{masked}, above chance ({ladder.chance:.0%}) {where}"
        return Check("ladder", False, measured, fault)
    # without a baseline, a random perturbation that does nearly as well explains the fall
    fall = last.clean - last.robust
    if last.baseline is None and last.clean - last.noise >= NOISE * fall:
        fault = f"{masked}, where noise of that size leaves {last.noise:.0%}"
        return Check("ladder", False, measured, fault)
    return Check(
        "ladder",
        True,
        measured,
        f"larger balls break the model as they break a plain one: {sentence}",
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
    norm, radius = white[0].ball
    broken = broken_by(result for result in white if result.ball == white[0].ball)
    left = [i for i in range(len(examples)) if i not in broken]
    square = Square(norm=norm, radius=radius, queries=QUERIES)
    if not left:
        return dataclasses.replace(
            white[0], attack=square.name, options=square.options(), changed=[]
        )
    result = square.run(classifier, examples.take(left), seed)
    return dataclasses.replace(result, changed=[left[i] for i in result.changed])


def _transferred(
    classifier: Classifier, examples: Examples, first: AttackResult, baseline: Classifier, seed: int
) -> set[int]:
    """Examples, right before, that PGD's perturbations of the baseline break in the model."""
    right = {row.index for row in first.per_example if row.right_before}
    if not right:
        return set()
    norm, radius = first.ball
    ball = absolute_ball(first)
    source = EmbeddingPGD(norm=norm, radius=radius).run(baseline, examples, seed)
    inside = tuple(
        None if delta is None else ball.project(delta[None])[0] for delta in source.perturbations
    )
    rows = [i for i, delta in enumerate(inside) if delta is not None and i in right]
    if not rows:
        return set()
    projected = dataclasses.replace(source, perturbations=inside)
    logits = perturbed_logits(projected, examples, classifier, rows)
    is_wrong = logits.argmax(axis=1) != examples.labels[rows]
    return set(np.asarray(rows)[is_wrong].tolist())


def broken_by(results: Iterable[AttackResult]) -> set[int]:
    """Indices of the examples that at least one of the attacks breaks."""
    return set().union(*(result.changed for result in results))


def _alone(ball: Ball, white: Sequence[AttackResult], broken: set[int]) -> BallMeasures:
    own = broken_by(white)
    return BallMeasures(
        norm=ball[0],
        radius=ball[1],
        white_box=[result.attack for result in white],
        attacked=sum(row.right_before for row in white[0].per_example),
        broken_by_white_box=len(own),
        alone=sorted(broken - own),
    )


def _judged(name: str, balls: list[BallMeasures], what: str) -> Check:
    """Judged by the examples that fall to the other attack alone, ball by ball: equal counts can
    hide different examples.
    """
    measured = {"balls": [plain(ball) for ball in balls]}
    if not any(ball.attacked for ball in balls):
        return Check(
            name, None, measured, "no example was right, so that there was nothing to break"
        )
    worst = max(balls, key=lambda ball: len(ball.alone) / max(ball.attacked, 1))
    sentence = (
        f"{what} {len(worst.alone)} of {worst.attacked} examples "
        "that white-box attacks in the same ball do not"
    )
    if len(worst.alone) > ALONE * worst.attacked:
        fault = f"WARNING: gradients are masked: {sentence} (radius {worst.radius:g})"
        return Check(name, False, measured, fault)
    return Check(name, True, measured, f"white-box attacks are the strongest: {sentence}")
