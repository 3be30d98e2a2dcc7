"""How likely a study of placements is to see that a prediction is right, in words."""

from analysis.ground.resampling import LEVEL

SPREADS = (0.01, 0.02, 0.03)  # standard deviations of the true outcomes, as shares of the examples


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
