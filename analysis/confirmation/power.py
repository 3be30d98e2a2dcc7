"""How likely a study of placements is to see that a prediction is right, when seeds scatter what it
measures.
"""

import numpy as np

from analysis.confirmation.rank import LEVEL, STATISTICS, correlation

TRIALS = 10_000
SPREADS = (0.01, 0.02, 0.03)  # standard deviations of the true outcomes, as shares of the examples


def ranking_power(
    placements: int, spread: float, noise: float, trials: int = TRIALS, seed: int = 0
) -> float:
    """P(the rank test confirms a prediction that is perfect), by simulation.

    The true outcomes are equally spaced in the predicted order; to each comes independent Gaussian
    noise. What two placements have in common, as the explicit model of their seed, moves no rank
    and is no noise here.

    Args:
        placements: how many are ranked; the explicit model is none of them.
        spread: standard deviation of the true outcomes.
        noise: standard deviation of a placement's measured outcome about its true one; of S seeds
            that of one over √S.
        trials: simulated studies.
        seed: of the noise.

    Returns:
        The share of studies whose Spearman correlation is positive and significant at the 5 %
        level, two-sided.

    Raises:
        ValueError: if there are fewer than three placements, or spread or noise is negative or not
            finite.
    """
    if placements < 3:
        raise ValueError(f"placements must be >= 3, got {placements}")
    for name, value in (("spread", spread), ("noise", noise)):
        if not (np.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be >= 0 and finite, got {value}")
    order = np.arange(float(placements))
    truth = spread * (order - order.mean()) / order.std()
    random = np.random.default_rng([seed, placements])
    measured = truth + noise * random.standard_normal((trials, placements))
    together = np.zeros(placements, dtype=int)
    critical = correlation("Spearman", order, order[:, None], seed).critical
    return float((STATISTICS["Spearman"](order, measured, together) >= critical - 1e-9).mean())


def seed_scatter(outcomes: np.ndarray) -> float:
    """Standard deviation by which seeds move one placement against the others; NaN of one seed or
    one placement.

    Args:
        outcomes: `(placements, seeds)`; what a seed does to all placements alike is taken off, as
            ranks do not see it.
    """
    placements, seeds = outcomes.shape
    if min(placements, seeds) < 2:
        return float("nan")
    left = (
        outcomes
        - outcomes.mean(axis=1, keepdims=True)
        - outcomes.mean(axis=0, keepdims=True)
        + outcomes.mean()
    )
    return float(np.sqrt(np.square(left).sum() / ((placements - 1) * (seeds - 1))))


def told(noise: float | None, placements: int, powers: dict[str, float]) -> str:
    """What the rank test could have seen, in one sentence."""
    if noise is None:
        return (
            "How much seeds scatter a placement is not known from one "
            "seed, and so not what the rank test could have seen."
        )
    spreads = ", ".join(f"{100 * float(spread):g}" for spread in powers)
    chances = ", ".join(f"{power:.2f}" for power in powers.values())
    return (
        f"With noise of {100 * noise:.1f} points a placement, a perfect "
        f"prediction of {placements} placements whose true outcomes have a "
        f"standard deviation of {spreads} points is confirmed with a "
        f"probability of {chances} (at the {1 - LEVEL:.0%} level)."
    )
