"""A prediction in plain sentences."""

import math
from collections.abc import Sequence
from typing import Any

from analysis.ground.resampling import FEW
from analysis.prediction.records import (
    ERROR,
    RESAMPLES,
    SHARE,
    SOLVED,
    Estimate,
    LayerPrediction,
    Placement,
)


def reasons(
    advantage: Estimate, worst_change: Estimate, solved: float, worst: dict[str, Any]
) -> tuple[str, ...]:
    """Why a layer is left out."""
    found = []
    if solved < SOLVED:
        found.append(f"{1 - solved:.0%} of its implicit steps were not solved")
    if not advantage.low > 0:
        found.append(
            "the resamples do not settle that an implicit step damps "
            f"random perturbations more: advantage {advantage} nats"
        )
    if not worst_change.high <= 0:
        found.append(
            "the resamples do not settle that it lowers worst growth: "
            f"medians {_against(worst)}, and of each text log(explicit/implicit), which is above 0 "
            f"where the implicit step grows less, has the median {worst_change.negative()} nats"
        )
    return tuple(found) or (
        "the three conditions hold one by one, but together "
        f"in fewer than {SHARE:.0%} of resamples",
    )


def of_nothing(found: Sequence[LayerPrediction]) -> tuple[str, ...]:
    """No layer is eligible."""
    return (
        "No implicit step is predicted to help: no layer meets the "
        f"conditions in {SHARE:.0%} of resamples of the texts.",
        *_each(found),
    )


def of_placement(
    found: Sequence[LayerPrediction],
    chosen: Sequence[LayerPrediction],
    placement: Placement,
    place: int,
    cost: float,
    share_of_resamples: float,
) -> tuple[str, ...]:
    """The predicted placement, every layer, the solver with the tolerance at that place, and what
    is not guaranteed.
    """
    evaluations, error = (
        [one.evaluations[place] for one in chosen],
        max(one.error[place] for one in chosen),
    )
    enough = (
        ""
        if error <= ERROR
        else f", more than the {ERROR:g} wanted, which no tolerance tried reaches"
    )
    guaranteed = [one.layer for one in chosen if one.h_mu_below_one == 1]
    where = f"in {named(guaranteed)} alone" if guaranteed else "in none of these layers"
    truncated = sum(one.truncated_advantage for one in chosen)
    return (
        f"Predicted: implicit steps of h = {placement.step_size:g} in "
        f"{placement.name}, which damp random perturbations "
        f"{placement.advantage} nats more than explicit ones, layers added up, to "
        f"{math.exp(-placement.advantage.value):.2f} of what those leave in the geometric mean. "
        f"The conditions hold in {share_of_resamples:.0%} of {RESAMPLES} resamples of the texts.",
        *_each(found),
        f"Solver: at rtol {chosen[0].tolerances[place]:g} it takes "
        f"{_from_to(evaluations)} evaluations a layer, "
        f"the whole model {cost:.1f} times the explicit one's in prediction. "
        f"Its median error is up to {error:.2f} of what sets the two methods apart{enough}. "
        "Fixed-point iterations that are stopped early damp "
        f"{truncated:.2f} nats more than explicit steps.",
        "hμ₂ < 1, below which the implicit step is unique, holds on all texts "
        f"{where}: that it is solved is measured, not known.",
    )


def _from_to(counts: Sequence[float]) -> str:
    low, high = f"{min(counts):.0f}", f"{max(counts):.0f}"
    return low if low == high else f"{low} to {high}"


def of_few(texts: int) -> str:
    """What so few texts are worth."""
    return f"Only {texts} texts: resamples of fewer than {FEW} say little of how sure this is."


def named(layers: Sequence[int]) -> str:
    """Layers in words."""
    return (
        "none"
        if not layers
        else f"layer {layers[0]}"
        if len(layers) == 1
        else f"layers {', '.join(map(str, layers))}"
    )


def _each(found: Sequence[LayerPrediction]) -> list[str]:
    several = len({one.step_size for one in found}) > 1
    return [_told(one, f", h = {one.step_size:g}" if several else "") for one in found]


def _told(one: LayerPrediction, at: str) -> str:
    if one.reasons:
        return f"Layer {one.layer}{at}: left out, as {'; '.join(one.reasons)}."
    return (
        f"Layer {one.layer}{at}: advantage {one.advantage} "
        f"nats, worst growth {_against(one.worst)}."
    )


def _against(worst: dict[str, Any]) -> str:
    implicit, explicit = (
        "unknown" if worst[m]["median"] is None else f"{worst[m]['median']:.3g}"
        for m in ("implicit", "explicit")
    )
    return f"{implicit} against {explicit} of the explicit step"
