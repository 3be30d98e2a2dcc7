"""What a verdict says in words and in a table for a terminal of 80 columns."""

import textwrap
from collections.abc import Sequence

from analysis.flips.records import (
    CHANCE,
    Calibration,
    Fate,
    Flips,
    Population,
    Ranking,
    Score,
    principal_scores,
    row_notes,
)
from analysis.flips.telling_study import (
    WIDTH,
    on_groups,
    on_plans,
    on_transfers,
)
from analysis.ground.words import counted

COLUMNS = 3  # attacks side by side
POPULATIONS: dict[Population, str] = {
    "right": "that the models get right",
    "unflipped": "among them that no draft flips",
}


def primary_sentence(rankings: Sequence[Ranking], attacks: Sequence[str], score: str) -> str:
    """The outcome that was fixed beforehand, whatever it is."""
    parts = []
    of_one_group = len({(each.task, each.kind) for each in rankings}) < 2
    for ranking in rankings:
        found = ranking.score(score)
        against = f"against {ranking.attack}" if of_one_group else f"against {labelled(ranking)}"
        if found.gain.value is None:
            parts.append(f"not known {against}, {_why_unknown(ranking, found)}")
            continue
        both = f"{short(found.auroc.value)} and {short(found.confidence.value)}"
        rows = f"{found.flipped + found.held} inputs of {found.sentences} sentences"
        parts.append(f"{found.gain.signed} {against}: {_meaning(found)} ({both}; {rows})")
    untested = [name for name in attacks if not any(_is_of(each, name) for each in rankings)]
    if untested:
        parts.append(f"not tested against {' and '.join(untested)}")
    return (
        "Fixed beforehand: AUROC of gradient size g less that of confidence, for flips among "
        f"right answers, is {'; '.join(parts)}."
    )


def alone_sentence(rankings: Sequence[Ranking], primaries: Sequence[Ranking], score: str) -> str:
    """The primary outcome where inputs of several models are compared with each other too, and on
    each model alone, from the least to the largest; empty for one model.
    """
    of_one_group = len({(each.task, each.kind) for each in primaries}) < 2
    alone = []
    across = []
    for primary in primaries:
        values = [
            each.score(score).gain.value
            for each in rankings
            if (each.attack, each.population) == (primary.attack, primary.population)
            and (each.task, each.kind) == (primary.task, primary.kind)
            and len(each.models) == 1
        ]
        against = f"against {primary.attack}" if of_one_group else f"against {labelled(primary)}"
        known = [value for value in values if value is not None]
        if len(primary.models) > 1 and known:
            ends = f"{min(known):+.3f} to {max(known):+.3f}".replace("-", "−")
            alone.append(f"{ends} {against}")
        if primary.across is not None:
            across.append(f"{primary.across.signed} {against}")
    if not alone:
        return ""
    told_alone = f"Single models have {'; '.join(alone)}."
    return (
        "Only inputs of one model are compared with each other; comparing those of different "
        f"models too gives {'; '.join(across)}. {told_alone}"
    )


def labelled(ranking: Ranking) -> str:
    """The attack with the task and the kind of model: words (sst2, im-bert)."""
    words = [ranking.task or "one task", ranking.kind or "all kinds"]
    return f"{ranking.attack} ({', '.join(words)})"


def _is_of(ranking: Ranking, attack: str) -> bool:
    return ranking.attack == attack or ranking.attack.startswith(f"{attack} ")


def _why_unknown(ranking: Ranking, found: Score) -> str:
    if not ranking.inputs:
        return "where no answer is right"
    if ranking.flipped in (0, ranking.inputs):
        return "where none flips, or none holds"
    if found.flipped and found.held:
        return "where of each model all inputs flip, or all hold"
    without = "holds" if found.flipped else "flips"
    return f"where g or confidence is no number for any input that {without}"


def _meaning(found: Score) -> str:
    ends = (found.auroc.high, found.confidence.high)
    worse = all(end is not None and end < CHANCE for end in ends)
    return _difference(found) + (" and both rank worse than chance" if worse else "")


def _difference(found: Score) -> str:
    if found.gain.low is None:
        return "too few sentences flip, or hold, for an interval"
    if found.gain.above_zero:
        return "g says more than confidence"
    if found.gain.below_zero:
        return "g says less than confidence"
    return "the two are not told apart"


def told(record: Flips) -> list[str]:
    """The lines of the terminal: the primary outcome first, then tables."""
    lines = textwrap.wrap(f"{record.primary.sentence} {record.primary.alone}", WIDTH)
    attacks = list(dict.fromkeys(ranking.attack for ranking in record.rankings))
    counts = f"{counted(len(record.models), 'model')}, {counted(len(attacks), 'attack')}"
    lines += textwrap.wrap(
        f"All else is exploratory: {record.explored} other comparisons with confidence of "
        f"{counts}, their intervals not corrected for their number.",
        WIDTH,
    )
    if readings := on_plans(record):
        lines += ["", *readings]
    if record.has_groups:
        lines += ["", *on_groups(record), *on_transfers(record)]
    else:
        lines += _on_scores(record)
    if rows := row_notes(record):
        lines += ["", *(part for line in rows for part in textwrap.wrap(line, WIDTH))]
    lines += _on_calibration(record)
    for fate in record.fates[:1]:
        lines += ["", *_on_fate(fate)]
    return lines


def _on_scores(record: Flips) -> list[str]:
    """Every score, inputs of each population, the attacks side by side."""
    lines = []
    for population, words in POPULATIONS.items():
        pooled = record.pooled(population)
        lines += ["", *textwrap.wrap(f"AUROC of each score for a flip, inputs {words}", WIDTH)]
        for start in range(0, len(pooled), COLUMNS):
            lines += _table(pooled[start : start + COLUMNS])
    return [*lines, "+ and −: the interval of the difference to confidence lies above or below 0"]


def _table(rankings: Sequence[Ranking]) -> list[str]:
    lines = [_row("", [ranking.attack[:18] for ranking in rankings])]
    lines.append(_row("flipped", [f"{each.flipped} of {each.inputs}" for each in rankings]))
    names = dict.fromkeys(score.name for ranking in rankings for score in ranking.scores)
    for name in principal_scores(names):
        lines.append(_row(name, [_cell(ranking.score(name)) for ranking in rankings]))
    return lines


def _row(name: str, cells: Sequence[str]) -> str:
    """22 columns for the name, 19 for each cell."""
    return (f"{name[:21]:<22}" + "".join(f"{cell:<19}" for cell in cells)).rstrip()


def _cell(score: Score) -> str:
    mark = ""
    if score.gain.above_zero:
        mark = "+"
    if score.gain.below_zero:
        mark = "−"
    return f"{score.auroc.words}{mark}"


def _on_calibration(record: Flips) -> list[str]:
    lines = []
    for ranking in record.pooled("right"):
        if ranking.calibration is not None:
            of_one_group = not record.has_groups
            label = ranking.attack if of_one_group else labelled(ranking)
            lines.append(_brier(label, ranking.calibration))
    if not lines:
        return ["", "No flip rates are predicted: too few sentences flip, or hold."]
    head = "Brier score of predicted flip rates, sentences that the fit has not seen"
    names = f"{'':<28}{'base rate':<12}{'confidence':<12}{'gradient':<12}together"
    return ["", head, names, *lines]


def _brier(attack: str, found: Calibration) -> str:
    cells = [found.brier, *(fit.brier for fit in found.fits)]
    return f"{attack[:27]:<28}" + "".join(f"{value:<12.3f}" for value in cells).rstrip()


def _on_fate(fate: Fate) -> list[str]:
    edits = f"{fate.flipped} of {counted(fate.pairs, 'edit')} flip"
    head = f"AUROC of ‖δ_l‖ over the margin, {edits}; alone: "
    head += f"margin {short(fate.margin.value)}, ‖δ_0‖ {short(fate.size.value)}"
    lines = textwrap.wrap(head, WIDTH)
    levels = range(len(fate.whole))
    per_line = 13
    for start in range(0, len(levels), per_line):
        part = levels[start : start + per_line]
        lines.append(f"{'after layer':<12}" + "".join(f"{level:>5}" for level in part))
        for name, row in (("all tokens", fate.whole), ("first", fate.first), ("read", fate.read)):
            lines.append(f"{name:<12}" + "".join(f"{short(row[level].value):>5}" for level in part))
    return lines


def short(value: float | None) -> str:
    """Two digits, or a dash."""
    return "–" if value is None else f"{value:.2f}"
