"""Predicted flip rates are those of sentences that the fit has not seen."""

import numpy as np
import pytest
import scipy.special

from analysis.flips.crossfit import (
    FOLDS,
    SMALLEST,
    _folds,
    calibration,
    calibration_line,
    cross_fitted,
)
from analysis.flips.ranking import Answers
from analysis.ground.resampling import cluster_weights

COUNT = 600
FITS = {"one": ["a"], "both": ["a", "b"]}


def answers(
    log_odds: np.ndarray, flipped: np.ndarray, sentences: np.ndarray | None = None
) -> Answers:
    count = len(flipped)
    columns = np.arange(count) if sentences is None else sentences
    weights = cluster_weights(np.arange(int(columns.max()) + 1), 200, 0)
    noise = np.random.default_rng(9).normal(size=count)
    return Answers({"a": log_odds, "b": noise, "confidence": noise}, flipped, columns, weights)


@pytest.fixture(scope="module")
def log_odds() -> np.ndarray:
    return np.random.default_rng(0).normal(size=COUNT) * 1.5


def test_what_follows_the_model_is_calibrated(log_odds: np.ndarray) -> None:
    random = np.random.default_rng(1)
    flipped = random.random(COUNT) < scipy.special.expit(log_odds)
    found = calibration([answers(log_odds, flipped)], FITS, 0)
    assert found is not None and (found.inputs, found.left_out) == (COUNT, 0)
    one, both = found.fits
    # The slope's standard error is 1/√Σ p(1 − p)x² ≈ 0.08.
    for fit in (one, both):
        assert fit.slope == pytest.approx(1.0, abs=0.25)
        assert fit.intercept == pytest.approx(0.0, abs=0.25)
        assert fit.brier < found.brier and fit.log_loss < found.log_loss
        assert fit.brier_gain.above_zero and fit.log_loss_gain.above_zero
        assert fit.brier_gain.value == pytest.approx(found.brier - fit.brier)
    known = np.subtract.outer(log_odds[flipped], log_odds[~flipped])
    assert one.auroc.value == pytest.approx((known > 0).mean(), abs=0.03)
    assert sum(each.inputs for each in one.bins) == COUNT and len(one.bins) == 10
    predicted = [each.predicted for each in one.bins]
    assert predicted == sorted(predicted)
    for each in one.bins:
        assert each.observed.value == pytest.approx(each.predicted, abs=0.2)


def test_permuted_labels_are_foretold_by_nothing(log_odds: np.ndarray) -> None:
    """Forty features fit anything that they see: on unseen sentences they say nothing."""
    random = np.random.default_rng(2)
    aurocs = []
    slopes = []
    for _ in range(6):
        flipped = random.permutation(np.arange(COUNT) < COUNT // 2)
        features = {f"f{k}": random.normal(size=COUNT) for k in range(40)}
        sample = answers(log_odds, flipped)
        noisy = Answers(features, flipped, sample.sentences, sample.weights)
        found = calibration([noisy], {"all": list(features)}, 0)
        assert found is not None
        aurocs.append(found.fits[0].auroc.value)
        slopes.append(found.fits[0].slope)
        assert found.fits[0].log_loss > found.log_loss
    # Standard error of a mean of six AUROCs of 300 against 300: 0.024/√6 = 0.010.
    assert np.mean(aurocs) == pytest.approx(0.5, abs=0.04)
    assert np.mean(slopes) == pytest.approx(0.0, abs=0.2)


def test_a_score_that_says_nothing_is_chance_and_not_below() -> None:
    """Base rates of the other folds are low where a fold's own is high: ranks across folds would
    be below chance.
    """
    flipped = np.random.default_rng(7).random(100) < 0.5
    found = calibration([answers(np.zeros(100), flipped)], {"one": ["a"]}, 0)
    assert found is not None and found.fits[0].auroc.value == 0.5
    assert found.fits[0].brier == pytest.approx(found.brier, abs=1e-6)
    # Base rates alone would have a slope of −4 to −11.
    assert found.fits[0].slope is None and found.fits[0].intercept is None


def test_a_sentence_is_never_in_its_own_fit() -> None:
    """Five models' copies of a sentence flip alike, at random: a fit that saw a copy would know."""
    random = np.random.default_rng(3)
    sentences = np.repeat(np.arange(150), 4)
    of_sentence = random.random(150) < 0.5
    score = np.repeat(random.normal(size=150), 4)  # names the sentence, and tells nothing of it
    flipped = of_sentence[sentences]
    sample = answers(score, flipped, sentences)
    found = calibration([sample], {"one": ["a"]}, 0)
    assert found is not None
    assert found.fits[0].brier_gain.value is not None and found.fits[0].brier_gain.value < 0.005


def test_a_rate_does_not_see_its_own_fold() -> None:
    """Another outcome of the inputs of a fold leaves their own rates as they are."""
    random = np.random.default_rng(4)
    features = random.normal(size=(100, 2))
    flipped = random.random(100) < 0.5
    folds = np.arange(100) % FOLDS
    rates = cross_fitted(features, flipped, folds)
    other = np.where(folds == 2, ~flipped, flipped)
    changed = cross_fitted(features, other, folds)
    assert np.array_equal(rates[folds == 2], changed[folds == 2])
    assert not np.allclose(rates[folds != 2], changed[folds != 2])


def test_units_and_outliers_of_a_score_do_not_matter() -> None:
    random = np.random.default_rng(5)
    features = random.normal(size=(100, 1))
    flipped = random.random(100) < scipy.special.expit(features[:, 0])
    folds = np.arange(100) % FOLDS
    rates = cross_fitted(features, flipped, folds)
    assert np.array_equal(rates, cross_fitted(np.exp(9 * features), flipped, folds))


def test_many_scores_of_few_inputs_are_not_believed() -> None:
    """Twenty scores separate 32 inputs perfectly: unseen ones would cost 6 to 8 nats."""
    features = np.random.default_rng(0).normal(size=(40, 20))
    flipped = np.arange(40) % 2 == 0
    rates = cross_fitted(features, flipped, np.arange(40) // 2 % FOLDS)
    assert -np.log(np.where(flipped, rates, 1 - rates)).mean() < 2.0


def test_where_all_flips_are_in_one_fold_losses_stay_finite() -> None:
    """The other folds, which have none, would call a flip impossible."""
    folds = _folds(100, 0)
    flipped = np.zeros(100, dtype=bool)
    flipped[np.flatnonzero(folds == 0)[:6]] = True
    score = np.arange(100.0)
    found = calibration([answers(score, flipped)], {"one": ["a"]}, 0)
    assert found is not None and np.isfinite([found.log_loss, found.fits[0].log_loss]).all()
    rates = cross_fitted(score[:, None], flipped, folds)
    assert rates.min() >= SMALLEST and rates.max() <= 1 - SMALLEST


def test_what_separates_perfectly_still_has_finite_losses() -> None:
    score = np.arange(100.0)
    found = calibration([answers(score, score >= 50)], {"one": ["a"]}, 0)
    assert found is not None and np.isfinite(found.fits[0].log_loss)
    assert found.fits[0].auroc.value == pytest.approx(1.0, abs=0.01)
    assert found.fits[0].brier < 0.1 < found.brier
    assert found.fits[0].slope is None, "of what is separated the slope is infinite"
    first, last = found.fits[0].bins[0], found.fits[0].bins[-1]
    assert (first.observed.value, last.observed.value) == (0.0, 1.0)
    assert first.observed.low is None, "no interval of no width where none flips"


@pytest.mark.parametrize(
    ("flips", "holds", "is_known"),
    [
        ((0.3, 0.5), (0.4, 0.2), True),
        ((0.5, 0.4), (0.2, 0.3), False),
        ((0.2, 0.3), (0.5, 0.4), False),
        ((0.4, 0.5), (0.4, 0.2), False),  # they touch in a tie: still separated
        ((0.4, 0.4), (0.4, 0.4), False),
    ],
)
def test_a_slope_is_known_where_its_regression_has_an_answer(
    flips: tuple[float, float], holds: tuple[float, float], is_known: bool
) -> None:
    rate = np.array([*flips, *holds])
    flipped = np.array([True, True, False, False])
    intercept, slope = calibration_line(rate, flipped, np.zeros(4))
    assert (intercept is not None, slope is not None) == (is_known, is_known)
    of_two_fits = np.array([0.3, 0.5, 0.3, 0.5])
    assert calibration_line(of_two_fits, flipped, np.array([0, 1, 0, 1])) == (None, None)


def test_fits_are_made_within_a_model_and_judged_on_common_inputs(log_odds: np.ndarray) -> None:
    random = np.random.default_rng(6)
    flipped = random.random(COUNT) < scipy.special.expit(log_odds)
    rising = answers(log_odds, flipped)
    falling = answers(-log_odds, flipped)  # of a model where the score has the other sign
    both = calibration([rising, falling], {"one": ["a"]}, 0)
    alone = calibration([rising], {"one": ["a"]}, 0)
    assert both is not None and alone is not None
    assert both.fits[0].auroc.value == pytest.approx(alone.fits[0].auroc.value, abs=0.01)
    assert both.fits[0].brier == pytest.approx(alone.fits[0].brier, abs=1e-3)
    unknown = log_odds.copy()
    unknown[:50] = np.nan
    found = calibration([answers(unknown, flipped)], FITS, 0)
    assert found is not None and (found.inputs, found.left_out) == (COUNT - 50, 50)


def test_too_few_flips_have_no_fit(log_odds: np.ndarray) -> None:
    assert calibration([answers(log_odds, np.arange(COUNT) < 4)], FITS, 0) is None
    assert calibration([answers(np.full(COUNT, np.nan), log_odds > 0)], FITS, 0) is None
