"""Whether the gradients that an attack climbs are those of the loss: against central differences
where the attack ended.
"""

import copy
import dataclasses
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

import odestab as od
from imbert.attack_records import AgreementMeasures
from imbert.attacks.attack import AttackResult
from imbert.attacks.embedding_attack import EmbeddedBatch
from imbert.attacks.embedding_ball import EmbeddingBall, generator_of
from imbert.attacks.gradients import at_tolerance, kind_of_gradient, own_solver, through
from imbert.attacks.transferring import perturbed
from imbert.checks.attack_gain import attack_step
from imbert.data.tasks import Examples
from imbert.model.classifier import Classifier, frozen
from imbert.model.stepping_model import implicit_layers

TIGHT = 1e-10  # tolerances of the solver and of the adjoint in the float64 copy
# t of (L(δ + tu) − L(δ − tu)) / 2t: truncation t², and TIGHT/t of the solver's error
DIFFERENCES = (1e-4, 1e-5, 1e-6)
# a point whose difference is this near needs no smaller t; a loss may bend within 1e-3
AGREES = 1e-4
MAX_ITERATIONS = 500


@dataclasses.dataclass(frozen=True)
class Agreement:
    """One kind of gradient at the points.

    Attributes:
        kind: "explicit", "implicit" or "unrolled".
        errors: per point, the larger |g·u − d| / max(|g·u|, |d|) over the directions u, d the
            central difference, in float64 at a tolerance of 1e-10 and at the t where it agrees
            best; NaN where a solver did not get there.
        vanished: points whose gradient is zero.
        cosines: per point, between the gradient of the run's own precision and tolerances and the
            float64 one.
        gains: per point, the central difference over the attack's own step, [L(δ + ηu) − L(δ −
            ηu)]/2η, over g·u, u the steepest ascent; NaN where g is zero or a solver did not get
            there.
    """

    kind: str
    errors: list[float]
    vanished: int
    cosines: list[float]
    gains: list[float]

    def measures(self) -> AgreementMeasures:
        """The numbers of the record."""
        errors = np.array(self.errors)
        cosines = np.array(self.cosines)
        return AgreementMeasures(
            points=len(errors),
            unsolved=int(np.isnan(errors).sum()),
            vanished=self.vanished,
            error_max=_of_known(np.max, errors),
            cosine_median=float(np.median(cosines)),
            cosine_min=float(cosines.min()),
            gain_median=_of_known(np.median, np.array(self.gains)),
        )


def _of_known(function: Callable[[np.ndarray], float], values: np.ndarray) -> float:
    """Of the values that are numbers; NaN where none is."""
    known = values[~np.isnan(values)]
    return float(function(known)) if len(known) else math.nan


def gradient_agreement(
    classifier: Classifier, examples: Examples, result: AttackResult, points: int = 8, seed: int = 0
) -> list[Agreement]:
    """Directional derivatives of the margin at the first perturbed points: along the gradient and
    along a random direction.

    A solver with a given number of steps keeps them: the map that ran is differenced then, and the
    implicit function theorem need not give its gradient.

    Args:
        classifier: the attacked one.
        examples: the attacked ones.
        result: of an attack on word embeddings.
        points: how many.
        seed: of the random directions.

    Raises:
        ValueError: if the attack left no perturbation.
    """
    indices = [i for i, delta in enumerate(result.perturbations) if delta is not None][:points]
    if not indices:
        raise ValueError(f"the attack {result.attack!r} left no perturbation to differentiate at")
    exact = dataclasses.replace(
        classifier, model=copy.deepcopy(classifier.model).double(), batch_size=len(indices)
    )
    rounded = dataclasses.replace(classifier, batch_size=len(indices))
    kinds = (
        ["implicit", "unrolled"]
        if classifier.is_implicit
        else [kind_of_gradient(classifier, "auto")]
    )
    with frozen(exact.model), frozen(rounded.model):
        [(batch, delta)] = perturbed(result, examples, exact, indices)
        [(own, own_delta)] = perturbed(result, examples, rounded, indices)
        return [
            _agreement(kind, batch, delta, own, own_delta, seed, *attack_step(result))
            for kind in kinds
        ]


def _agreement(
    kind: str,
    batch: EmbeddedBatch,
    delta: Tensor,
    own: EmbeddedBatch,
    own_delta: Tensor,
    seed: int,
    ball: EmbeddingBall,
    step: float,
) -> Agreement:
    exact = batch.classifier
    tight = at_tolerance(own_solver(exact), TIGHT, MAX_ITERATIONS) if exact.is_implicit else None
    with through(own.classifier, kind):
        rough = own.differentiate(own_delta)[2].double().to(delta)
    with through(exact, kind, tight, TIGHT):
        gradient = batch.differentiate(delta)[2]
        solved = _solved(exact, len(delta))
        errors = torch.zeros(len(delta), dtype=delta.dtype, device=delta.device)
        for direction in (_unit(gradient), _unit(_random(batch, delta, seed))):
            errors = torch.maximum(errors, _error(batch, delta, gradient, direction, solved))
        # the steepest ascent over the attack's own step
        steepest = ball.steepest(gradient)
        promised = 2 * step * (gradient * steepest).flatten(1).sum(dim=1)
        achieved = _rise(batch, delta, steepest, step)
        is_known = solved & _solved(exact, len(delta)) & (promised > 0)
        gains = torch.where(is_known, achieved / promised, torch.nan)
    errors = torch.where(solved, errors, torch.nan)
    cosines = (_unit(rough) * _unit(gradient)).flatten(1).sum(dim=1)
    vanished = int((gradient.flatten(1).abs().amax(dim=1) == 0).sum())
    return Agreement(kind, errors.tolist(), vanished, cosines.tolist(), gains.tolist())


def _error(
    batch: EmbeddedBatch, delta: Tensor, gradient: Tensor, direction: Tensor, solved: Tensor
) -> Tensor:
    """The relative error of the slope along a direction, at the t where it agrees best; which
    points are solved at every t is kept in `solved`.
    """
    along = (gradient * direction).flatten(1).sum(dim=1)
    least = torch.full_like(along, torch.inf)
    tiny = torch.finfo(delta.dtype).tiny
    for t in DIFFERENCES:
        difference = _rise(batch, delta, direction, t) / (2 * t)
        scale = torch.maximum(along.abs(), difference.abs()).clamp(min=tiny)
        least = torch.minimum(least, (along - difference).abs() / scale)
        solved &= _solved(batch.classifier, len(delta))
        if bool((least <= AGREES).all()):
            break
    return least


def _rise(batch: EmbeddedBatch, delta: Tensor, direction: Tensor, t: float) -> Tensor:
    """L(δ + tu) − L(δ − tu)."""
    ahead, behind = (batch.evaluate(delta + sign * t * direction)[1] for sign in (1, -1))
    return ahead - behind


def _solved(classifier: Classifier, count: int) -> Tensor:
    """Which examples every solver solved in the last pass; a solver with a given number of steps
    has nothing to solve.
    """
    solved = torch.ones(count, dtype=torch.bool, device=classifier.model.device)
    if classifier.is_implicit and not own_solver(classifier).keeps_last:
        for layer in implicit_layers(classifier.model):
            for solve in layer.solutions:
                solved &= solve.status == od.Status.CONVERGED
    return solved


def _random(batch: EmbeddedBatch, like: Tensor, seed: int) -> Tensor:
    """A random direction on the words of each example."""
    drawn = torch.randn(
        like.shape, generator=generator_of(seed, len(like)), dtype=torch.float64
    ).to(like)
    return drawn * batch.words[:, :, None]


def _unit(direction: Tensor) -> Tensor:
    flat = direction.flatten(1)
    return direction / flat.norm(dim=1).clamp(min=torch.finfo(flat.dtype).tiny)[:, None, None]
