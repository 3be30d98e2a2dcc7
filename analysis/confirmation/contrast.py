"""The placement that was predicted to gain most beside the one that was predicted to gain least.

Two placements are enough, where ranks need five: seeds and examples say how sure it is.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from analysis.confirmation.outcomes import Pairs, by_seed, resampled
from analysis.confirmation.runs import Source
from analysis.ground.resampling import Interval, mean_interval, percentile_interval, widened

Layers = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Contrast:
    """Two placements, predicted and measured.

    Attributes:
        most: implicit layers of the placement with the largest predicted advantage.
        least: of the one with the smallest.
        value: by how much more rarely the first is flipped, as a share, mean over seeds.
        low: end of its 95 % interval over resamples of seeds and examples, at least Student's over
            seeds; of one seed over examples alone.
        high: likewise.
        seeds: that both have.
    """

    most: Layers
    least: Layers
    value: float
    low: float
    high: float
    seeds: tuple[int, ...]


def _chosen(advantages: Mapping[Layers, float]) -> list[tuple[Layers, Layers]]:
    """The placements that are compared, each time that with the largest predicted advantage and
    that with the smallest: of all, and of those of equally many implicit layers, since predicted
    advantages go with their number.
    """
    groups = [list(advantages)]
    for count in sorted({len(layers) for layers in advantages}):
        groups.append([layers for layers in advantages if len(layers) == count])
    ends = [
        (max(group, key=advantages.__getitem__), min(group, key=advantages.__getitem__))
        for group in groups
    ]
    return list(dict.fromkeys(pair for pair in ends if pair[0] != pair[1]))


def contrasts_of(
    placements: Mapping[Layers, Pairs], predicted: Mapping[Layers, Mapping[str, float]], seed: int
) -> tuple[Contrast, ...]:
    """What was predicted to gain most beside what was predicted to gain least, seed by seed.

    Args:
        placements: the runs of each beside the explicit ones.
        predicted: advantages.
        seed: of resamples.

    Raises:
        ValueError: if two that are compared have no seed in common, or there are no two of unequal
            advantage.
    """
    contrasts = []
    chosen = _chosen({layers: predicted[layers]["value"] for layers in placements})
    if not chosen:
        raise ValueError(
            "expected two placements of unequal predicted advantage that were run, got "
            f"{' and '.join(map(_named, placements))}"
        )
    for most, least in chosen:
        ends = [placements[most], placements[least]]
        seeds = sorted(set.intersection(*({one.seed for one, _ in pairs} for pairs in ends)))
        if not seeds:
            raise ValueError(
                f"expected runs with {_named(most)} and with {_named(least)} of one seed at least, "
                "got none"
            )
        first, second = ([pair for pair in pairs if pair[0].seed in seeds] for pairs in ends)
        rows = resampled([first, second], seed)
        drawn = rows[0] - rows[1]
        interval = Interval(float(drawn[0]), *percentile_interval(drawn[1:]), len(seeds))
        # resamples of a few seeds see less than their variance
        interval = widened(interval, mean_interval(by_seed(first) - by_seed(second)))
        contrasts.append(
            Contrast(most, least, interval.mean, interval.low, interval.high, tuple(seeds))
        )
    return tuple(contrasts)


def told(found: Sequence[Contrast], source: Source, runs: int, attack: str) -> str:
    """What follows, in words.

    Args:
        found: at least one.
        source: of the prediction.
        runs: of the other seeds.
        attack: by which robustness was measured.
    """
    lines = [
        "Predicted from the fine-tuned explicit model of seed "
        f"{source.seed}, whose runs are left out.",
        *(_told(each, attack) for each in found),
    ]
    if source.named < runs:
        lines.append(
            f"Of {runs} runs {source.named} name the prediction: the records of the others do not "
            "show that it was made before them."
        )
    return " ".join(lines)


def _told(found: Contrast, attack: str) -> str:
    outcome = "not told apart"
    if found.low > 0:
        outcome = "confirmed"
    elif found.high < 0:
        outcome = "refuted, what was predicted to help more helps less"
    seeds = ", ".join(map(str, found.seeds))
    # any rule that says "more layers" would say the same of these
    counted = (
        " These differ in the number of implicit layers, with which predicted advantages go."
        if len(found.most) != len(found.least)
        else ""
    )
    alone = " Of one seed: what others would say is not known." if len(found.seeds) == 1 else ""
    return (
        f"Predicted to gain more by {_named(found.most)} than by {_named(found.least)}: "
        f"by {attack} flipped more rarely by {found.value:+.3f} [{found.low:+.3f}, "
        f"{found.high:+.3f}] (seeds {seeds}), {outcome}.{counted}{alone}"
    )


def _named(layers: Layers) -> str:
    return f"implicit steps in {'-'.join(map(str, layers))}" if layers else "no implicit step"
