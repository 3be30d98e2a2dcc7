"""A study of fine-tuned models: accuracy on dev beside accuracy on adversarial texts, and under
each attack, from its record.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from msgspec import UNSET

from figures import style, whiskers
from figures.findings import number
from figures.records import (
    Compared,
    ComparedModel,
    Difference,
    Group,
    Interval,
    Question,
    SeedInterval,
    Study,
    Verdict,
    not_a_number,
)
from figures.template import Heading, Shown, Table, shown

MEASURES = {
    "dev": "dev",
    "original": "AdvGLUE\noriginals",
    "adversarial": "AdvGLUE\nadversarial",
    "conditional": "adversarial where\noriginal is right",
}
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h", "p", "*", "d", "8")
LEAST = 3  # seeds: the interval of two is as wide as the axis, and their dots say more
WIDE = 7  # columns, beyond which counts stand closer together

CAPTION = (
    "Accuracy on dev, on AdvGLUE's originals and adversarial sentences, and under attack, {seeds}."
)


@dataclasses.dataclass(frozen=True)
class Trained:
    """What the page says of a study: its question, empty where the plan has none, with the verdict
    on each group; a finding and a table for each group.
    """

    question: str
    verdicts: list[str]
    groups: list[tuple[str, Table]]
    missing: Sequence[str]
    warnings: Sequence[str]
    shown: Shown


@style.house()
def draw(study: Study, ax: style.Target = None) -> Figure:
    """Per task and size a panel of accuracies on dev and AdvGLUE, and one of accuracies before and
    under each attack where there are any.

    Markers are means over seeds, lines 95 % t intervals of three or more, small dots the seeds.
    Where fewer seeds were attacked than trained, n says how many, model by model in the order of
    the markers. Columns of one attack in growing balls ("pgd-0.1", "pgd-0.3") are a ladder: a thin
    line joins the rungs of each model, and each is named by its radius r in mean word norms.

    Args:
        study: the record of a study.
        ax: None for a new figure; else Axes, filled in order.
    """
    panels = [
        (group, draw_panel)
        for group in study.groups
        for draw_panel in (_draw_measures, _draw_attacks)
        if draw_panel is _draw_measures or _attacks(group.models)
    ]
    figure, axes = style.panels(ax, len(panels), columns=1, height=2.5, below=0.3)
    for panel, (group, draw_panel) in zip(axes, panels, strict=False):
        draw_panel(panel, group)
    style.legend(figure, axes, _handles(study.groups), ax is None, columns=4)
    return figure


def _draw_measures(ax: Axes, group: Group) -> None:
    for i, model in enumerate(group.models):
        x = whiskers.beside(range(len(MEASURES)), i, len(group.models))
        _points(ax, x, [model.measures.get(name) for name in MEASURES], model.role, _marker(i))
    _columns(ax, list(MEASURES.values()), group)
    ax.set_title(f"{_title(group)}: {_over_seeds([group], LEAST)}")


def _draw_attacks(ax: Axes, group: Group) -> None:
    names = _attacks(group.models)
    for i, model in enumerate(group.models):
        x = whiskers.beside(range(len(names)), i, len(group.models))
        before = [_before(model, name) for name in names]
        under = [_under(model, name) for name in names]
        _points(ax, x, before, model.role, _marker(i), hollow=True)
        _points(ax, x, under, model.role, _marker(i))
        _join_ladders(ax, x, names, _numbers(under, "mean"), style.COLOURS[model.role])
    for place, name in enumerate(names):
        _count_seeds(ax, place, name, group.models, crowded=len(names) > WIDE)
    _columns(ax, [_caption(name) for name in names], group)
    ax.set_title(f"{_title(group)}: before (hollow) and under each attack, the same examples")


def _before(model: ComparedModel, attack: str) -> SeedInterval | None:
    """Accuracy on the attacked examples as they were."""
    return model.attacks[attack].clean_accuracy if attack in model.attacks else None


def _under(model: ComparedModel, attack: str) -> SeedInterval | None:
    return model.attacks[attack].robust_accuracy if attack in model.attacks else None


def _join_ladders(
    ax: Axes, x: np.ndarray, names: Sequence[str], robust: np.ndarray, colour: str
) -> None:
    """A thin line through the columns of each attack that has several radii."""
    kinds = [name.partition("-")[0] for name in names]
    for kind in dict.fromkeys(kinds):
        rungs = [column for column, each in enumerate(kinds) if each == kind]
        if len(rungs) > 1:
            ax.plot(x[rungs], robust[rungs], color=colour, linewidth=0.7, alpha=0.6, zorder=0)


def _count_seeds(
    ax: Axes, place: int, attack: str, models: Sequence[ComparedModel], crowded: bool
) -> None:
    """Say how many seeds were attacked where that is not how many were trained."""
    attacked = [before.n if (before := _before(model, attack)) else 0 for model in models]
    # as many as the legend says
    if attacked == [len(model.seeds) for model in models]:
        return
    # one number where it is the same for all models
    counts = attacked if len(set(attacked)) > 1 else attacked[:1]
    ax.text(
        place,
        0.99,
        f"n = {(',' if crowded else ', ').join(map(str, counts))}",
        ha="center",
        va="top",
        fontsize=5 if crowded else 6,
        color=style.GUIDE,
    )


def _caption(name: str) -> str:
    """An attack, and below it the radius of its ball where its record is a rung of a ladder."""
    kind, _, radius = name.partition("-")
    return f"{style.plain(kind)}\nr = {radius}" if radius else style.plain(kind)


def _numbers(intervals: Sequence[SeedInterval | None], name: str) -> np.ndarray:
    """One field of each interval; NaN where there is none."""
    return np.array(
        [np.nan if each is None else not_a_number(getattr(each, name)) for each in intervals]
    )


def _points(
    ax: Axes,
    x: np.ndarray,
    intervals: Sequence[SeedInterval | None],
    role: str,
    marker: str,
    hollow: bool = False,
) -> None:
    """Means with intervals; what was not measured, or has no interval, is left out."""
    colour = style.COLOURS[role]
    enough = [each if each is not None and each.n >= LEAST else None for each in intervals]
    low = np.clip(_numbers(enough, "low"), 0, 1)
    high = np.clip(_numbers(enough, "high"), 0, 1)
    ax.vlines(x, low, high, color=colour, linewidth=1, alpha=0.5 if hollow else 1)
    for place, interval in zip(x, intervals, strict=True):
        seeds = () if interval is None or hollow else interval.values
        values = [not_a_number(value) for value in seeds]
        style.dots(ax, np.full(len(seeds), place), values, style.GUIDE, ".", 2.5, zorder=1)
    style.dots(ax, x, _numbers(intervals, "mean"), colour, marker, 4.5, hollow)


def _columns(ax: Axes, captions: Sequence[str], group: Group) -> None:
    """One tick per quantity with faint lines between, and the level of chance."""
    ax.set_xticks(range(len(captions)), captions)
    whiskers.separate(ax, range(len(captions)))
    if group.chance is not None:
        _draw_chance(ax, group.chance)
    ax.set_ylim(0, 1)
    ax.set_ylabel(style.plain(group.metric))
    if not any(model.seeds for model in group.models):
        style.nothing(ax)


def _draw_chance(ax: Axes, chance: float) -> None:
    ax.axhline(chance, color=style.GUIDE, linewidth=0.8, linestyle=style.LEMNISCATE, zorder=0)
    ax.text(
        1.01,
        chance,
        "chance",
        transform=ax.get_yaxis_transform(),
        ha="left",
        va="center",
        fontsize=7,
        color=style.GUIDE,
    )


def _handles(groups: Sequence[Group]) -> list[Artist]:
    """One entry per model, with its number of seeds."""
    entries: dict[str, Artist] = {}
    for group in groups:
        for i, model in enumerate(group.models):
            label = f"{style.plain(model.name)} ({style.counted(len(model.seeds), 'seed')})"
            entry = style.key(label, style.COLOURS[model.role], _marker(i))
            entries.setdefault(model.name, entry)
    return list(entries.values())


def _marker(place: int) -> str:
    return MARKERS[place % len(MARKERS)]


def _attacks(models: Sequence[ComparedModel]) -> list[str]:
    return list(dict.fromkeys(name for model in models for name in model.attacks))


def _title(group: Group) -> str:
    return f"{style.plain(group.task)}, {group.size or 'all'} rows"


def _over_seeds(groups: Sequence[Group], least: int = 2) -> str:
    """What a number is of, where intervals take a least number of seeds."""
    models = [model for group in groups for model in group.models]
    if max((len(model.seeds) for model in models), default=0) < 2:
        return "one seed each, without intervals"
    counts = [len(model.seeds) for model in models]
    counts += [
        0 if each.robust_accuracy is None else each.robust_accuracy.n
        for model in models
        for each in model.attacks.values()
    ]
    few = min(counts) < least
    return "means over seeds, 95 % intervals" + (f" of {least} seeds or more" if few else "")


def tell(record: Study, folder: Path) -> Trained:
    """What story.html.j2 shows of a study, its figure written into a folder."""
    caption = CAPTION.format(seeds=_over_seeds(record.groups, LEAST))
    question = record.study.question if isinstance(record.study.question, Question) else None
    return Trained(
        question="" if question is None else question.name,
        verdicts=[
            f"{group.name}: {_verdict(group.verdict, question)}"
            for group in record.groups
            if isinstance(group.verdict, Verdict)
        ],
        groups=[(_against(group, record.baseline), _measures(group)) for group in record.groups],
        missing=record.missing,
        warnings=record.warnings,
        shown=shown(draw(record), folder, "story_study", f"Study {record.name}", caption),
    )


def _verdict(verdict: Verdict, question: Question | None) -> str:
    """The sentence of the plan that the numbers of a group select, with the numbers."""
    difference = None if question is None else question.difference
    # nothing was compared
    if not isinstance(difference, Difference) or verdict.low is None:
        return verdict.sentence
    scale, unit = (100, "points") if difference.measure == "robust accuracy" else (1, "edits")
    value, low, high = (
        number(scale * not_a_number(end), 2) for end in (verdict.value, verdict.low, verdict.high)
    )
    return (
        f"{verdict.sentence} {difference.measure.capitalize()} under {difference.attack}, "
        f"{difference.model} less {difference.over}: {value} {unit} ({low} to {high}), "
        f"{style.counted(len(verdict.seeds), 'seed')}."
    )


def _against(group: Group, baseline: str) -> str:
    """Every model's difference to the baseline on all adversarial pairs, by how its interval was
    made.
    """
    compared: dict[str, list[str]] = {}
    for model in group.models:
        if model.against_baseline and (paired := difference(model)):
            how = _resampling(model.against_baseline.all)
            compared.setdefault(how, []).append(f"{model.name} {paired}")
    if not compared:
        return f"{group.name}: no model has been compared with {baseline} yet."
    by_interval = " ".join(f"{how}: {'; '.join(told)}." for how, told in compared.items())
    return (
        f"{group.name}: against {baseline}, on all adversarial pairs of AdvGLUE, with 95 % "
        f"intervals. {by_interval}"
    )


def _resampling(compared: Compared) -> str:
    """What an interval resamples, as its record says; records call sentences clusters."""
    resampled = compared.resampled
    if resampled is UNSET:
        resampled = "clusters" if len(compared.pairs) == 1 else "seeds and clusters"
    what = "pairs" if compared.clusters is None else "sentences"
    how = resampled.replace("clusters", what)
    if resampled == "clusters":
        how = f"{what} alone, of one seed"
    if not how.startswith("Student"):  # of two seeds
        how = f"Resampling {how}"
    if compared.clusters is not None:
        return how
    return f"{how} (which pairs share a sentence is not known)"


def difference(model: ComparedModel) -> str:
    """A model's difference to the baseline on all adversarial pairs; empty where it was not
    compared.
    """
    paired = model.against_baseline and model.against_baseline.all.hierarchical
    # one seed has a difference without an interval, which is no finding
    if not paired or paired.low is None:
        return ""
    mean, low, high = (
        number(100 * not_a_number(end), 2) for end in (paired.mean, paired.low, paired.high)
    )
    return f"{mean} points ({low} to {high})"


def _measures(group: Group) -> Table:
    labels = [label.replace("\n", " ") for label in MEASURES.values()]
    return Table(
        caption=f"{group.name}: {group.metric}, per cent, {_over_seeds([group])}.",
        head=[[Heading(label) for label in ("model", *labels, "seeds")]],
        rows=[
            [
                model.name,
                *(_per_cent(model.measures.get(name)) for name in MEASURES),
                str(len(model.seeds)),
            ]
            for model in group.models
        ],
    )


def _per_cent(interval: Interval | None) -> str:
    if interval is None or interval.mean is None:
        return "–"
    mean = f"{100 * interval.mean:.1f}"
    if interval.low is None:
        return mean
    return f"{mean} ± {100 * (not_a_number(interval.high) - interval.mean):.1f}"
