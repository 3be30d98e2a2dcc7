"""Whether a step of an attack gains what its gradient promises."""

import math

import numpy as np
import torch
from msgspec import structs
from torch import Tensor

from imbert.attack_records import Check, GainMeasures
from imbert.attacks.attack import AttackResult
from imbert.attacks.embedding_attack import EmbeddedBatch, embedded
from imbert.attacks.embedding_ball import EmbeddingBall
from imbert.attacks.embedding_pgd import EmbeddingPGD
from imbert.attacks.gradients import through
from imbert.attacks.losses import margin
from imbert.data.tasks import Examples
from imbert.model.classifier import Classifier, frozen
from imbert.records import number

# the median; a fine-tuned MiniLM has 1.2, and 0.26 under a sinusoid whose slope is 3 times the
# identity's
LEAST_GAIN = 0.5


def attack_step(result: AttackResult) -> tuple[EmbeddingBall, float]:
    """The ball of a white-box attack, and the absolute size η of its steps: 2.5 r/steps, what was
    chosen, or the first one of APGD.
    """
    ball = absolute_ball(result)
    if result.attack != EmbeddingPGD.name:  # the first step is longer than the ball
        return ball, ball.radius
    is_chosen = result.options.get("step_size") is not None
    relative = result.number("step_size") if is_chosen else 2.5 / result.number("steps")
    return ball, ball.radius * min(1.0, relative)


def absolute_ball(result: AttackResult) -> EmbeddingBall:
    """The ball of an attack on word embeddings that had an example to attack."""
    assert result.statistics.absolute_radius is not None
    return EmbeddingBall(result.ball[0], result.statistics.absolute_radius)


def gains(
    batch: EmbeddedBatch, delta: Tensor, ball: EmbeddingBall, step: float
) -> tuple[Tensor, Tensor]:
    """η g·u and L(δ + ηu) − L(δ) per example, u the steepest ascent in the ball's norm and L the
    loss: promised and achieved gain.

    Args:
        batch: the examples, with the loss.
        delta: where they stand.
        ball: whose norm the step has; its radius is not used.
        step: η.
    """
    _, before, gradient = batch.differentiate(delta)
    direction = ball.steepest(gradient)
    promised = step * (gradient * direction).flatten(1).sum(dim=1)
    return promised, batch.evaluate(delta + step * direction)[1] - before


def gain_check(classifier: Classifier, examples: Examples, result: AttackResult) -> Check:
    """The share of the promised gain that the first step of a white-box attack from the clean text
    achieves.

    A gradient can be right to all digits and yet say nothing: of a loss that trembles faster than
    the attack's step it is the slope of the tremor. Then [m(e) − m(e + ηu)]/(η‖g‖), with the margin
    m = −L, is near 0; it is near 1 where the loss is straight along the step.
    """
    rows = [row.index for row in result.per_example if row.right_before]
    if not rows:
        return Check("gain", None, {}, "no example was right, so that there is nothing to attack")
    ball, step = attack_step(result)
    ratios = _ratios(classifier, examples, result, rows, ball, step)
    known = ratios[~np.isnan(ratios)]
    return _judged(
        GainMeasures(
            attack=result.attack,
            norm=ball.norm,
            radius=result.ball[1],
            step=step / ball.radius,
            examples=len(rows),
            vanished=len(ratios) - len(known),
            gain_median=float(np.median(known)) if len(known) else math.nan,
            gain_min=float(known.min()) if len(known) else math.nan,
            least=LEAST_GAIN,
        )
    )


def _judged(measures: GainMeasures) -> Check:
    measured = structs.asdict(measures)
    if measures.vanished > measures.examples / 2:
        fault = f"the gradient is zero on {measures.vanished} of {measures.examples} clean examples"
        return Check("gain", False, measured, f"WARNING: gradients are masked: {fault}")
    sentence = (
        "a step of the attack gains "
        f"{measures.gain_median:.2g} of what its gradient promises (median)"
    )
    if not number(measures.gain_median) >= LEAST_GAIN:
        fault = f"{sentence}, at least {LEAST_GAIN:g} expected"
        return Check("gain", False, measured, f"WARNING: gradients are masked: {fault}")
    return Check("gain", True, measured, sentence)


def _ratios(
    classifier: Classifier,
    examples: Examples,
    result: AttackResult,
    rows: list[int],
    ball: EmbeddingBall,
    step: float,
) -> np.ndarray:
    """Achieved over promised gain of each example; NaN where the gradient vanishes or is not
    finite.
    """
    ratios = list[float]()
    with (
        frozen(classifier.model),
        through(classifier, result.statistics.gradient or "explicit"),
    ):
        for start in range(0, len(rows), classifier.batch_size):
            some = rows[start : start + classifier.batch_size]
            batch = embedded(
                classifier, [examples.texts[i] for i in some], examples.labels[some], margin
            )
            promised, achieved = gains(batch, torch.zeros_like(batch.embeddings), ball, step)
            ratios += torch.where(promised > 0, achieved / promised, torch.nan).double().tolist()
    return np.where(np.isfinite(ratios), ratios, np.nan)
