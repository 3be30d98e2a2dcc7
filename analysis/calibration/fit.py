"""How well predicted growth says what measured growth is, and up to which size of perturbation."""

import dataclasses

import numpy as np

from analysis.confirmation.rank import percentiles

RESAMPLES = 2_000
TOLERATED = 0.1  # nats of log growth, about 10 %, by which a linear prediction may be off where it is said to hold


@dataclasses.dataclass(frozen=True)
class Fit:
    """Measured log growth of single steps as a line in the predicted one, over steps × texts.

    Attributes:
        slope: of least squares, with the ends of its 95 % interval over resamples of the texts; NaN of one text.
        slope_low: likewise.
        slope_high: likewise.
        intercept: nats.
        r_squared: of that line, with its interval.
        r_squared_low: likewise.
        r_squared_high: likewise.
        agreement: 1 − Σ(measured − predicted)²/Σ(measured − mean)², of the prediction as it is; negative where the mean says more.
        bias: mean of measured − predicted, nats.
        points: steps × texts that were solved on both paths.
        texts: among them.
    """

    slope: float
    slope_low: float
    slope_high: float
    intercept: float
    r_squared: float
    r_squared_low: float
    r_squared_high: float
    agreement: float
    bias: float
    points: int
    texts: int


@dataclasses.dataclass(frozen=True)
class Linearity:
    """Where the linear prediction of growth ends to hold, from one direction at several sizes.

    Attributes:
        sizes: relative sizes of the perturbation.
        error: median over texts of |log G measured − log G predicted| after each step, `[size][step]`, nats.
        ends: the size at which that of the last step reaches 0.1 nats, between sizes by a power law; None where it does not.
        ends_by_step: likewise after each step.
    """

    sizes: tuple[float, ...]
    error: list[list[float]]
    ends: float | None
    ends_by_step: tuple[float | None, ...]


def fit(predicted: np.ndarray, measured: np.ndarray, seed: int) -> Fit | None:
    """Fit measured to predicted log growth; None where fewer than three points were solved.

    Args:
        predicted: `(texts, steps)`, nats; what is not finite in either is left out.
        measured: likewise.
        seed: of the resamples.
    """
    known = np.isfinite(predicted) & np.isfinite(measured)
    if known.sum() < 3:
        return None
    count, texts = len(predicted), int(known.any(axis=1).sum())
    drawn = np.random.default_rng([seed, count]).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    p, m = np.where(known, predicted, 0.0), np.where(known, measured, 0.0)
    sums = np.stack([quantity.sum(axis=1) for quantity in (known.astype(float), p, m, p * p, m * m, p * m)], axis=1)
    slopes, intercepts, squares = _line(np.vstack([np.ones(count), drawn]) @ sums)
    left, right = predicted[known], measured[known]
    with np.errstate(invalid="ignore", divide="ignore"):
        agreement = 1 - np.square(right - left).sum() / np.square(right - right.mean()).sum()
    if texts < 2:  # one text has no resamples that differ
        slopes[1:] = squares[1:] = np.nan
    return Fit(
        float(slopes[0]), *percentiles(slopes[1:]), float(intercepts[0]), float(squares[0]), *percentiles(squares[1:]),
        agreement=float(agreement), bias=float((right - left).mean()), points=int(known.sum()), texts=texts,
    )  # fmt: skip


def linearity(sizes: np.ndarray, predicted: np.ndarray, measured: np.ndarray) -> Linearity:
    """Where the prediction ends to hold.

    Args:
        sizes: ascending.
        predicted: log growth from the first state on, `(sizes, texts, steps)`, nats.
        measured: likewise; NaN where it was not solved.
    """
    off = np.abs(measured - predicted)
    error = np.array([[_median(off[s, :, step]) for step in range(off.shape[2])] for s in range(len(sizes))])
    ends = tuple(_reached(sizes, error[:, step]) for step in range(error.shape[1]))
    return Linearity(tuple(map(float, sizes)), error.tolist(), ends[-1], ends)


def _line(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slope, intercept and R² from Σ1, Σp, Σm, Σp², Σm², Σpm."""
    n, p, m, pp, mm, pm = sums.T
    with np.errstate(invalid="ignore", divide="ignore"):
        across, over, along = pm - p * m / n, pp - p * p / n, mm - m * m / n
        slope = across / over
        return slope, (m - slope * p) / n, across**2 / (over * along)


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def _reached(sizes: np.ndarray, error: np.ndarray) -> float | None:
    """The first size at which the error is what is tolerated, on lines between logarithms."""
    beyond = np.flatnonzero(error >= TOLERATED)
    if not len(beyond):
        return None
    first = int(beyond[0])
    if first == 0 or not error[first - 1] > 0:
        return float(sizes[first])
    (a, b), (low, high) = np.log(sizes[first - 1 : first + 1]), np.log(error[first - 1 : first + 1])
    return float(np.exp(a + (b - a) * (np.log(TOLERATED) - low) / (high - low)))
