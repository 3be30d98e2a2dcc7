"""What was fixed beforehand by task and kind of model, and explicit models' scores against implicit
models' flips: from the record of a verdict on several of them.
"""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.flips.records import Estimate, Flips, Ranking, Transfer
from figures import style
from figures.flips import PRIMARY, ends, same_group
from figures.records import not_a_number
from figures.template import Heading, Table

ROW = 0.2  # inches of a row
AROUND = 0.75  # inches of axis and title
BESIDE = 0.16  # between the two populations, in rows
TRANSFERS = {  # what the second panel shows
    ("explicit gradient", "confidence"): ("g of the explicit model, over own confidence", "D"),
    ("explicit gradient", "gradient"): ("g of the explicit model, over own g", "s"),
}


@style.house()
def draw_groups(record: Flips, ax: style.Target = None) -> Figure:
    """AUROC of g less that of confidence by task, kind and attack, and the same of the explicit
    model's g for flips of the implicit model; the interval is to be held against the threshold.

    Args:
        record: of a verdict.
        ax: None for a new figure; else one Axes for the groups and one for the transfers.
    """
    groups = record.pooled("right")
    transfers = record.transfers
    height = ROW * max(len(groups), len(transfers)) + AROUND
    figure, axes = style.panels(
        ax,
        2 if transfers else 1,
        columns=2,
        height=height,
        below=0.45,
        width_ratios=[1.25, 1] if transfers else None,
    )
    _gains(axes[0], record, groups)
    if transfers and len(axes) > 1:
        _transfers(axes[1], transfers)
    handles = [
        style.key("fixed beforehand", PRIMARY, "o"),
        style.key("exploratory", style.INK, "o"),
        style.key("of them, no draft flips", style.INK, "o", hollow=True),
    ]
    if transfers:
        handles += [style.key(name, style.INK, marker) for name, marker in TRANSFERS.values()]
    style.legend(figure, axes, handles, ax is None, columns=3 if transfers else 4)
    return figure


def _gains(ax: Axes, record: Flips, groups: Sequence[Ranking]) -> None:
    name = record.primary.score
    for place, ranking in enumerate(groups):
        colour = PRIMARY if ranking.primary else style.INK
        _mark(ax, place - BESIDE, ranking.score(name).gain, colour)
    for each in record.pooled("unflipped"):
        place = next(i for i, other in enumerate(groups) if same_group(each, other))
        _mark(ax, place + BESIDE, each.score(name).gain, style.INK, hollow=True)
    _rows(ax, [_label(each) for each in groups], _thresholds(record))
    ax.set_title("AUROC of g less that of confidence")
    ax.set_xlabel("difference")


def _transfers(ax: Axes, transfers: Sequence[Transfer]) -> None:
    for place, transfer in enumerate(transfers):
        for (score, other), (_, marker) in TRANSFERS.items():
            shift = -BESIDE if other == "confidence" else BESIDE
            found = next(
                each for each in transfer.compared if (each.score, each.other) == (score, other)
            )
            _mark(ax, place + shift, found.gain, style.INK, marker=marker)
    labels = [f"{each.task}, {each.attack} (n = {each.inputs})" for each in transfers]
    _rows(ax, labels, [0.0])
    ax.set_title(f"flips of {transfers[0].implicit} by scores of {transfers[0].explicit}")
    ax.set_xlabel("difference of AUROC")


def _mark(
    ax: Axes, place: float, found: Estimate, colour: str, hollow: bool = False, marker: str = "o"
) -> None:
    if found.value is None:
        return
    low, high = ends(found)
    ax.hlines(place, low, high, color=colour, linewidth=0.9)
    ax.plot(
        not_a_number(found.value),
        place,
        marker=marker,
        markersize=3.2,
        color=colour,
        markerfacecolor="white" if hollow else colour,
    )


def _rows(ax: Axes, labels: Sequence[str], thresholds: Sequence[float]) -> None:
    for threshold in thresholds:
        ax.axvline(threshold, color=style.GUIDE, linewidth=0.8, zorder=0)
    ax.set_yticks(range(len(labels)), [style.plain(label) for label in labels])
    ax.set_ylim(len(labels) - 0.5, -0.5)


def _thresholds(record: Flips) -> list[float]:
    """Of the questions of the plans; 0 without one."""
    asked = {plan.question.threshold for plan in record.plans if plan.question is not None}
    return sorted(asked) or [0.0]


def _label(ranking: Ranking) -> str:
    parts = [ranking.task or "one task", ranking.kind or "all kinds", ranking.attack]
    return f"{', '.join(parts)} (n = {ranking.inputs})"


def group_table(record: Flips) -> Table:
    """The primary score by task, kind and attack, with the reading of the plan."""
    readings = {(each.task, each.kind, each.attack): each.outcome for each in record.readings}
    rows = []
    for ranking in record.pooled("right"):
        found = ranking.score(record.primary.score)
        rows.append(
            [
                ranking.task or "–",
                ranking.kind or "all",
                f"{ranking.attack} *" if ranking.primary else ranking.attack,
                str(len(ranking.models)),
                str(ranking.inputs),
                str(found.sentences),
                str(ranking.flipped),
                found.auroc.words,
                found.confidence.words,
                found.gain.signed,
                readings.get((ranking.task, ranking.kind, ranking.attack), "–"),
            ]
        )
    head = [Heading(name, words=True) for name in ("task", "kind", "attack")]
    head += [Heading(name) for name in ("models", "inputs", "sen-\ntences", "flipped")]
    head += [Heading(name) for name in ("g", "confidence", "over confidence", "reading")]
    caption = "AUROC of g and of confidence by task and kind of model; * fixed beforehand."
    return Table(caption, [head], rows, words=3)


def transfer_table(record: Flips) -> Table | None:
    """Explicit models' scores against implicit models' flips."""
    rows = [
        [
            transfer.task,
            transfer.attack,
            each.score,
            each.other,
            f"{each.flipped} of {each.flipped + each.held}",
            each.auroc.words,
            each.of_other.words,
            each.gain.signed,
        ]
        for transfer in record.transfers
        for each in transfer.compared
    ]
    if not rows:
        return None
    kinds = dict.fromkeys(f"{each.explicit} for {each.implicit}" for each in record.transfers)
    head = [Heading(name, words=True) for name in ("task", "attack", "score", "other")]
    head += [Heading(name) for name in ("flipped", "AUROC", "of the other", "difference")]
    caption = (
        f"Scores of explicit models against flips of implicit ones of the same seeds "
        f"({', '.join(kinds)}); names without “explicit” are the implicit model's own. "
        "All of it exploratory."
    )
    return Table(caption, [head], rows, words=4)
