"""Flip rates predicted from scores, for sentences that the fit has not seen, beside the base rate.

A logistic regression on normal scores: each score of an input is replaced by the normal quantile of
its rank among the inputs fitted to, so that units, outliers and monotone changes of a score do not
matter.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.optimize
import scipy.special

from analysis.flips.ranking import Answers, enough_sentences, estimate
from analysis.flips.records import Bin, Calibration, Fit
from analysis.ground.auroc import concordance

FOLDS = 5
BINS = 10
PENALTY = 1.0  # on the squared slopes: a normal prior of unit width, which separable data need
EQUAL = 1e-9  # log odds that differ by no more than rounding
SMALLEST = 1e-6  # of a predicted rate: log loss and log odds stay finite


def calibration(
    models: Sequence[Answers], fits: Mapping[str, Sequence[str]], seed: int
) -> Calibration | None:
    """Cross-fit flip rates within each model, with the same folds of sentences for all.

    Args:
        models: the right answers of each, under one attack.
        fits: by name, the scores that each reads. All are judged on inputs that have all scores.
        seed: of the folds.

    Returns:
        None where fewer than five sentences flip, or hold, for some model.
    """
    names = sorted({name for scores in fits.values() for name in scores})
    known = [
        answers.only(np.all([np.isfinite(answers.score(name)) for name in names], axis=0))
        for answers in models
    ]
    for answers in known:
        flips = answers.flipped
        if not enough_sentences(answers.sentences[flips], answers.sentences[~flips]):
            return None
    folds = _folds(known[0].weights.shape[1], seed)
    base = np.concatenate([_base_rates(answers, folds) for answers in known])
    flipped = np.concatenate([answers.flipped for answers in known])
    counted = sum(len(answers.flipped) for answers in models)
    return Calibration(
        folds=FOLDS,
        inputs=len(flipped),
        left_out=counted - len(flipped),
        flipped=int(flipped.sum()),
        brier=float(_brier(base, flipped).mean()),
        log_loss=float(_log_loss(base, flipped).mean()),
        fits=[_fit(name, scores, known, folds, base) for name, scores in fits.items()],
    )


def cross_fitted(features: np.ndarray, flipped: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """The flip rate of each input, from a fit to the other folds, `(inputs,)`.

    Args:
        features: `(inputs, scores)`, finite.
        flipped: `(inputs,)` bool.
        folds: `(inputs,)`.
    """
    rates = np.empty(len(flipped))
    for fold in np.unique(folds):
        inside = folds == fold
        seen = features[~inside]
        design = _normal_scores(seen, seen)
        coefficients = _logistic(design, flipped[~inside], PENALTY)
        new = _normal_scores(seen, features[inside])
        rates[inside] = scipy.special.expit(_with_intercept(new) @ coefficients)
    return np.clip(rates, SMALLEST, 1 - SMALLEST)


def _folds(sentences: int, seed: int) -> np.ndarray:
    """The fold of each sentence."""
    return np.random.default_rng([seed, sentences]).permutation(sentences) % FOLDS


def _base_rates(answers: Answers, folds: np.ndarray) -> np.ndarray:
    """The share of flips in the other folds, by input."""
    of_inputs = folds[answers.sentences]
    rates = np.empty(len(of_inputs))
    for fold in np.unique(of_inputs):
        rates[of_inputs == fold] = answers.flipped[of_inputs != fold].mean()
    return np.clip(rates, SMALLEST, 1 - SMALLEST)


def _fit(
    name: str,
    scores: Sequence[str],
    models: Sequence[Answers],
    folds: np.ndarray,
    base: np.ndarray,
) -> Fit:
    rates = [
        cross_fitted(
            np.stack([answers.score(score) for score in scores], axis=1),
            answers.flipped,
            folds[answers.sentences],
        )
        for answers in models
    ]
    rate = np.concatenate(rates)
    flipped = np.concatenate([answers.flipped for answers in models])
    weight = np.concatenate([answers.of_inputs for answers in models], axis=1)
    fitted = np.concatenate([FOLDS * i + folds[each.sentences] for i, each in enumerate(models)])
    intercept, slope = calibration_line(rate, flipped, fitted)
    return Fit(
        name=name,
        scores=list(scores),
        auroc=estimate(_auroc_within(rate, flipped, weight, fitted)),
        intercept=intercept,
        slope=slope,
        brier=float(_brier(rate, flipped).mean()),
        brier_gain=estimate(_mean(_brier(base, flipped) - _brier(rate, flipped), weight)),
        log_loss=float(_log_loss(rate, flipped).mean()),
        log_loss_gain=estimate(_mean(_log_loss(base, flipped) - _log_loss(rate, flipped), weight)),
        bins=_bins(rate, flipped, weight),
    )


def _auroc_within(
    rate: np.ndarray, flipped: np.ndarray, weight: np.ndarray, fitted: np.ndarray
) -> np.ndarray:
    """AUROC of the rates that one fit predicts: those of two fits differ by the fits too."""
    ordered = pairs = np.zeros(len(weight))
    for fit in np.unique(fitted):
        inside = fitted == fit
        more, count = concordance(rate[inside], flipped[inside], weight[:, inside])
        ordered, pairs = ordered + more, pairs + count
    with np.errstate(invalid="ignore"):
        return np.asarray(ordered / pairs)


def calibration_line(
    rate: np.ndarray, flipped: np.ndarray, fitted: np.ndarray
) -> tuple[float | None, float | None]:
    """Intercept and slope of the outcome's logistic regression on the predicted log odds.

    Args:
        rate: `(inputs,)`, in (0, 1).
        flipped: `(inputs,)` bool.
        fitted: `(inputs,)`, which fit predicts each rate.

    Returns:
        None where the regression has no answer: rates that separate all that flip from all that
        hold have an infinite slope; rates that are equal within each fit differ between fits by
        their base rates alone, which are low exactly where more of the left-out inputs flip.
    """
    log_odds = scipy.special.logit(rate)
    flips, holds = log_odds[flipped], log_odds[~flipped]
    is_separated = flips.min() >= holds.max() or flips.max() <= holds.min()
    if is_separated or all(np.ptp(log_odds[fitted == fit]) < EQUAL for fit in np.unique(fitted)):
        return None, None
    intercept, slope = _logistic(log_odds[:, None], flipped, 0.0)
    return float(intercept), float(slope)


def _bins(rate: np.ndarray, flipped: np.ndarray, weight: np.ndarray) -> list[Bin]:
    """Tenths by predicted rate."""
    parts = np.array_split(np.argsort(rate, kind="stable"), BINS)
    found = []
    for part in parts:
        if not len(part):
            continue
        outcome = flipped[part].astype(float)
        # Resamples of none, or of all, are none or all: they would give an interval of no width.
        varies = 0 < outcome.sum() < len(part)
        observed = estimate(_mean(outcome, weight[:, part]), varies)
        found.append(Bin(float(rate[part].mean()), observed, len(part)))
    return found


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.asarray((weights @ values) / weights.sum(axis=1))


def _brier(rate: np.ndarray, flipped: np.ndarray) -> np.ndarray:
    return np.square(rate - flipped)


def _log_loss(rate: np.ndarray, flipped: np.ndarray) -> np.ndarray:
    return -np.log(np.where(flipped, rate, 1 - rate))


def _normal_scores(seen: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Normal quantiles of the mid-ranks of features among those that were seen, by column."""
    columns = []
    for known, values in zip(np.sort(seen, axis=0).T, features.T, strict=True):
        ranks = np.searchsorted(known, values, "left") + np.searchsorted(known, values, "right")
        columns.append(scipy.special.ndtri((ranks + 1) / (2 * len(known) + 2)))
    return np.stack(columns, axis=1)


def _with_intercept(features: np.ndarray) -> np.ndarray:
    return np.hstack([np.ones((len(features), 1)), features])


def _logistic(features: np.ndarray, flipped: np.ndarray, penalty: float) -> np.ndarray:
    """Intercept and slopes of the largest penalised likelihood; the intercept has no penalty."""
    design = _with_intercept(features)
    sign = np.where(flipped, 1.0, -1.0)
    penalties = np.full(design.shape[1], penalty)
    penalties[0] = 0.0

    def loss(coefficients: np.ndarray) -> tuple[float, np.ndarray]:
        odds = sign * (design @ coefficients)
        value = np.logaddexp(0.0, -odds).sum() + 0.5 * (penalties * coefficients**2).sum()
        gradient = penalties * coefficients - design.T @ (sign * scipy.special.expit(-odds))
        return float(value), gradient

    start = np.zeros(design.shape[1])
    return np.asarray(scipy.optimize.minimize(loss, start, jac=True, method="BFGS").x)
