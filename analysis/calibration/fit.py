"""How well predicted growth says what measured growth is, and up to which size of perturbation."""

import dataclasses

import numpy as np

from analysis.ground.resampling import cluster_weights, percentile_interval

RESAMPLES = 2_000
ROUNDING = 1e-12  # of sums of squares, above 1e3 rounding errors of float64
# nats of log growth, about 10 %, by which a linear prediction may be off where it is said to hold
TOLERATED = 0.1


@dataclasses.dataclass(frozen=True)
class Fit:
    """Measured log growth of single steps as a line in the predicted one, over steps × texts.

    Steps differ more than texts do, so that most of R² can be what any list of six numbers would
    say: `layer_means` is how much that is, and `r_squared_within` what is left to tell of the texts
    within each step.

    Attributes:
        slope: of least squares, with the ends of its 95 % interval over resamples of the texts,
            those made from one original together; NaN of one.
        slope_low: likewise.
        slope_high: likewise.
        intercept: nats.
        r_squared: of that line, with its interval.
        r_squared_low: likewise.
        r_squared_high: likewise.
        r_squared_within: of the line through both less their mean over the texts of each step, with
            its interval; NaN where one of them does not vary within the steps.
        r_squared_within_low: likewise.
        r_squared_within_high: likewise.
        layer_means: R² of the measured mean of each step as the prediction, which knows nothing of
            a text.
        agreement: 1 − Σ(measured − predicted)²/Σ(measured − mean)², of the prediction as it is;
            negative where the mean says more.
        bias: mean of measured − predicted, nats.
        points: steps × texts that were solved on both paths.
        texts: among them.
        clusters: the originals that these were made from.
    """

    slope: float
    slope_low: float
    slope_high: float
    intercept: float
    r_squared: float
    r_squared_low: float
    r_squared_high: float
    r_squared_within: float
    r_squared_within_low: float
    r_squared_within_high: float
    layer_means: float
    agreement: float
    bias: float
    points: int
    texts: int
    clusters: int


@dataclasses.dataclass(frozen=True)
class Linearity:
    """Where the linear prediction of growth ends to hold, from one direction at several sizes.

    Attributes:
        sizes: relative sizes of the perturbation.
        error: median over texts of |log G measured − log G predicted| after each step,
            `[size][step]`, nats.
        ends: the size at which that of the last step reaches 0.1 nats, between sizes by a power
            law; None where it does not.
        ends_by_step: likewise after each step.
    """

    sizes: tuple[float, ...]
    error: list[list[float]]
    ends: float | None
    ends_by_step: tuple[float | None, ...]


def fit(
    predicted: np.ndarray, measured: np.ndarray, seed: int, clusters: np.ndarray | None = None
) -> Fit | None:
    """Fit measured to predicted log growth; None where fewer than three points were solved.

    Args:
        predicted: `(texts, steps)`, nats; what is not finite in either is left out.
        measured: likewise.
        seed: of the resamples.
        clusters: `(texts,)`, equal for texts that are made from one; None makes each its own.
    """
    known = np.isfinite(predicted) & np.isfinite(measured)
    if known.sum() < 3:
        return None
    groups = np.arange(len(predicted)) if clusters is None else np.asarray(clusters)
    weights = cluster_weights(groups, RESAMPLES, seed)
    p, m = np.where(known, predicted, 0.0), np.where(known, measured, 0.0)
    sums = np.stack(
        [weights @ quantity for quantity in (known.astype(float), p, m, p * p, m * m, p * m)],
        axis=2,
    )  # resamples, steps, 6
    slopes, intercepts, squares = _line(sums.sum(axis=1))
    within, means = _within(sums)
    left, right = predicted[known], measured[known]
    with np.errstate(invalid="ignore", divide="ignore"):
        agreement = 1 - np.square(right - left).sum() / np.square(right - right.mean()).sum()
    count = len(np.unique(groups[known.any(axis=1)]))
    if count < 2:  # one original has no resamples that differ
        slopes[1:] = squares[1:] = within[1:] = np.nan
    return Fit(
        float(slopes[0]),
        *percentile_interval(slopes[1:]),
        float(intercepts[0]),
        float(squares[0]),
        *percentile_interval(squares[1:]),
        float(within[0]),
        *percentile_interval(within[1:]),
        float(means[0]),
        agreement=float(agreement),
        bias=float((right - left).mean()),
        points=int(known.sum()),
        texts=int(known.any(axis=1).sum()),
        clusters=count,
    )


def linearity(sizes: np.ndarray, predicted: np.ndarray, measured: np.ndarray) -> Linearity:
    """Where the prediction ends to hold.

    Args:
        sizes: ascending.
        predicted: log growth from the first state on, `(sizes, texts, steps)`, nats.
        measured: likewise; NaN where it was not solved.
    """
    off = np.abs(measured - predicted)
    error = np.array(
        [[_median(off[s, :, step]) for step in range(off.shape[2])] for s in range(len(sizes))]
    )
    ends = tuple(_reached(sizes, error[:, step]) for step in range(error.shape[1]))
    return Linearity(tuple(map(float, sizes)), error.tolist(), ends[-1], ends)


def _line(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slope, intercept and R² from Σ1, Σp, Σm, Σp², Σm², Σpm."""
    n, p, m, pp, mm, pm = sums.T
    with np.errstate(invalid="ignore", divide="ignore"):
        across, over, along = pm - p * m / n, pp - p * p / n, mm - m * m / n
        slope = across / over
        return slope, (m - slope * p) / n, across**2 / (over * along)


def _within(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """R² within the steps, and of the steps' measured means, from the sums of each step,
    `(resamples, steps, 6)`.
    """
    n, p, m, pp, mm, pm = np.moveaxis(sums, 2, 0)
    n = np.maximum(n, 1)  # a step that no text has solved adds nothing
    across, over, along = (
        (product - a * b / n).sum(axis=1) for product, a, b in ((pm, p, m), (pp, p, p), (mm, m, m))
    )
    total, count = m.sum(axis=1), sums[..., 0].sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = mm.sum(axis=1)
        flat = (over <= ROUNDING * pp.sum(axis=1)) | (
            along <= ROUNDING * scale
        )  # what is left is the rounding of sums
        return np.where(flat, np.nan, across**2 / (over * along)), 1 - along / (
            scale - total**2 / count
        )


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
