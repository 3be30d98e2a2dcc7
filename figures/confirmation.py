"""Predicted against measured robustness of placements of implicit steps, from the record of a
confirmation.
"""

import dataclasses
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import style
from figures.findings import number
from figures.records import Confirmation, ConfirmedCorrelation, ConfirmedOutcome, not_a_number
from figures.template import Shown, shown

CAPTION = (
    "Predicted advantage and measured robustness of each placement of implicit "
    "steps. Lines: 95 % intervals over texts and attacked examples."
)


@dataclasses.dataclass(frozen=True)
class Confirmed:
    """What the page says of a confirmation: its finding, and what could have been found."""

    finding: str
    power: list[str]
    shown: Shown


@style.house()
def draw(record: Confirmation, ax: style.Target = None) -> Figure:
    """Each placement's measured outcome over its predicted advantage, with 95 % intervals, and its
    accuracy on dev beside it.

    The explicit model, whose outcome is 0 by definition and which is not ranked, is a hollow
    marker.

    Args:
        record: of a confirmation.
        ax: None for a new figure; else one or two Axes.
    """
    figure, axes = style.panels(ax, 2, columns=2, height=2.9, width_ratios=[2, 1])
    for outcome in record.outcomes:
        _draw_outcome(axes[0], outcome)
    axes[0].axhline(0, color=style.GUIDE, linewidth=0.8, zorder=0)
    axes[0].set_xlabel("predicted advantage, layers added up (nats)")
    axes[0].set_ylabel(
        "flipped more rarely than the explicit\nmodel by "
        f"{style.plain(record.attack)} (share of examples)"
    )
    axes[0].set_title("\n".join(_title(correlation) for correlation in record.correlations))
    # a given Axes alone shows the outcome
    if len(axes) > 1:
        _draw_dev(axes[1], record)
    return figure


def _draw_outcome(ax: Axes, outcome: ConfirmedOutcome) -> None:
    colour = _colour(outcome)
    x = not_a_number(outcome.predicted.value)
    y = not_a_number(outcome.measured)
    predicted_ends = (not_a_number(outcome.predicted.low), not_a_number(outcome.predicted.high))
    ax.hlines(y, *predicted_ends, color=colour, linewidth=0.8)
    ax.vlines(x, not_a_number(outcome.low), not_a_number(outcome.high), color=colour, linewidth=0.8)
    style.dots(ax, x, y, colour, hollow=not outcome.layers)
    ax.annotate(
        style.placement(outcome.layers), (x, y), (3, 3), textcoords="offset points", fontsize=6
    )


def _draw_dev(ax: Axes, record: Confirmation) -> None:
    heights = np.arange(len(record.outcomes))
    for height, outcome in zip(heights, record.outcomes, strict=True):
        style.dots(ax, not_a_number(outcome.dev), height, _colour(outcome))
    ax.set_yticks(heights, [style.placement(outcome.layers) for outcome in record.outcomes])
    ax.set_xlim(0, 1)
    ax.set_xlabel("accuracy on dev")
    ax.set_ylabel("implicit layers")


def _colour(outcome: ConfirmedOutcome) -> str:
    return style.COLOURS["implicit" if outcome.layers else "explicit"]


def _title(correlation: ConfirmedCorrelation) -> str:
    if correlation.value is None:
        return f"{correlation.name}: undefined"
    low, high = not_a_number(correlation.low), not_a_number(correlation.high)
    return (
        f"{correlation.name} {correlation.value:+.2f} [{low:+.2f}, {high:+.2f}], "
        f"p = {not_a_number(correlation.p_value):.2g}"
    ).replace("-", "−")


def tell(record: Confirmation, folder: Path) -> Confirmed:
    """What story.html.j2 shows of a confirmation, its figure written into a folder."""
    power = []
    # older records do not say it
    if record.detectable is not None:
        power.append(
            f"A difference of {number(100 * record.detectable, 2)} % of the examples "
            "would be seen in 80 % of such pairs of models."
        )
    if record.powers:
        chances = ", ".join(
            f"{number(chance, 2)} at {number(100 * spread)} points"
            for spread, chance in record.powers.items()
        )
        noise = number(100 * not_a_number(record.noise), 2)
        power.append(
            f"Probability that a perfect prediction is confirmed under {noise} points of noise "
            f"from training seeds, by the true outcomes' spread: {chances}."
        )
    drawn = draw(record)
    return Confirmed(
        finding=record.sentence,
        power=power,
        shown=shown(drawn, folder, "story_confirmation", record.sentence, CAPTION),
    )
