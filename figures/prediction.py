"""A prediction from its record: what an implicit step does to each layer, and what placements
are predicted to gain.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.ground.resampling import FEW
from analysis.prediction.records import TESTED
from figures import style
from figures.records import Estimate, PredictedLayer, Prediction, not_a_number
from figures.template import Shown, shown
from figures.whiskers import beside, layer_axis

QUANTITIES = {
    "advantage": ("o", "implicit advantage (random perturbations)", 1),
    "worst_change": ("s", "worst growth, log(explicit/implicit)", -1),
    "spectral_change": ("D", "spectral growth, log(explicit/implicit)", -1),
}
SHADES = {"advantage": style.INK, "worst_change": "#7A7A7A", "spectral_change": "#B5B5B5"}
CAPTION = (
    "What an implicit step changes in each layer, and what placements are predicted "
    "to gain. Statistics over texts"
)
INTERVALS = " with 95 % intervals over texts."
NO_INTERVALS = f", without intervals, of which fewer than {FEW} texts say little."


@dataclasses.dataclass(frozen=True)
class Predicted:
    """What the page says of a prediction: where it comes from, its finding, more sentences."""

    source: str
    finding: str
    sentences: Sequence[str]
    shown: Shown


@style.house()
def draw(record: Prediction, ax: style.Target = None) -> Figure:
    """Per step size a panel of the layers, by how many nats an implicit step damps more, and one of
    the placements' predicted advantage.

    Markers are statistics over texts, lines their 95 % intervals over resamples of the texts, which
    fewer than FEW texts do not have.
    Recommended layers are blue. Hollow where the eigenvalues found do not settle the spectral
    growth of every text.

    Args:
        record: of a prediction.
        ax: None for a new figure; else Axes, filled in order.
    """
    steps = sorted({layer.step_size for layer in record.layers})
    figure, axes = style.panels(ax, 2 * len(steps), columns=2, height=2.7, below=0.3)
    for i, panel in enumerate(axes):
        (_draw_placements if i % 2 else _draw_layers)(panel, record, steps[i // 2])
    handles: list[Artist] = [
        style.key(label, SHADES[name], marker) for name, (marker, label, _) in QUANTITIES.items()
    ]
    handles.append(style.key("predicted placement", style.COLOURS["implicit"], "o"))
    style.legend(figure, axes, handles, ax is None, columns=2)
    return figure


def _draw_layers(ax: Axes, record: Prediction, h: float) -> None:
    layers = [layer for layer in record.layers if layer.step_size == h]
    chosen = _chosen(record, h)
    for i, (name, (marker, _, sign)) in enumerate(QUANTITIES.items()):
        places = beside([layer.layer for layer in layers], i, len(QUANTITIES))
        for place, layer in zip(places, layers, strict=True):
            colour = style.COLOURS["implicit"] if layer.layer in chosen else SHADES[name]
            value, low, high = (sign * end for end in _ends(getattr(layer, name)))
            if _has_intervals(record):
                ax.vlines(place, low, high, color=colour, linewidth=1)
            style.dots(ax, place, value, colour, marker, hollow=not _is_sure(layer, name))
    ax.axhline(0, color=style.GUIDE, linewidth=0.8, zorder=0)
    layer_axis(ax, sorted(layer.layer for layer in layers))
    ax.set_ylabel("implicit damps more by (nats)")
    few = "" if _has_intervals(record) else ", too few for intervals"
    ax.set_title(f"$h = {h:g}$, {style.counted(record.config.texts, 'text')}{few}")


def _has_intervals(record: Prediction) -> bool:
    return record.config.texts >= FEW


def _is_sure(layer: PredictedLayer, quantity: str) -> bool:
    """Whether the eigenvalues found settle the spectral growth of every text; the rest is."""
    return quantity != "spectral_change" or set(layer.certain.values()) == {1.0}


def _draw_placements(ax: Axes, record: Prediction, h: float) -> None:
    placements = [placement for placement in record.placements if placement.step_size == h]
    # the best first, at the top, as the record has them
    heights = np.arange(len(placements))[::-1]
    best = _chosen(record, h)
    for height, placement in zip(heights, placements, strict=True):
        value, low, high = _ends(placement.advantage)
        is_best = bool(best) and set(placement.layers) == best
        colour = style.COLOURS["implicit"] if is_best else style.INK
        if _has_intervals(record):
            ax.hlines(height, low, high, color=colour, linewidth=1)
        style.dots(ax, value, height, colour)
    ax.axvline(0, color=style.GUIDE, linewidth=0.8, zorder=0)
    ax.set_yticks(heights, [style.placement(placement.layers) for placement in placements])
    ax.set_xlabel("predicted advantage, layers added up (nats)")
    ax.set_ylabel("implicit layers")


def _chosen(record: Prediction, h: float) -> set[int]:
    recommended = record.recommendation
    return set(recommended.layers) if recommended.step_size == h else set()


def _ends(estimate: Estimate) -> tuple[float, float, float]:
    return not_a_number(estimate.value), not_a_number(estimate.low), not_a_number(estimate.high)


def tell(record: Prediction, folder: Path) -> Predicted:
    """What story.html.j2 shows of a prediction, its figure written into a folder."""
    finding, *sentences = record.recommendation.sentences
    # a prediction from before it was tested has no word of the test, one of another version its own
    if not any(sentence.startswith(TESTED.split(",")[0]) for sentence in sentences):
        sentences.append(TESTED)
    texts = style.counted(record.config.texts, "text")
    caption = CAPTION + (INTERVALS if _has_intervals(record) else NO_INTERVALS)
    return Predicted(
        source=f"From {texts} without labels and the weights of {record.config.model} alone:",
        finding=finding,
        sentences=sentences,
        shown=shown(draw(record), folder, "story_prediction", finding, caption),
    )
