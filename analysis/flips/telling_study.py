"""What a verdict says of a study of several tasks or kinds of model, and of its plan, in a terminal
of 80 columns.
"""

import textwrap

from analysis.flips.records import Flips, Model, Ranking
from analysis.flips.study_records import Reading, Transfer

WIDTH = 80


def has_groups(record: Flips) -> bool:
    """Several tasks or kinds of model stand beside each other."""
    return len({(each.task, each.kind) for each in record.rankings}) > 1


def on_plan(record: Flips) -> list[str]:
    """The digest of the plan, and the sentences of it that the numbers select."""
    plan = record.plan
    if plan is None:
        return []
    changed = f", changed {len(plan.changed)} times after its first run" if plan.changed else ""
    lines = [f"plan: {plan.name}, sha256 {plan.digest[:12]}{changed}"]
    if plan.question is None:
        return [*lines, "It has no question, so that nothing selects a reading."]
    lines += textwrap.wrap(f"question: {plan.question.name}", WIDTH)
    for each in record.readings:
        lines += textwrap.wrap(f"{_of(each)}: {each.outcome}. {each.sentence}", WIDTH)
    if not record.readings:
        lines.append("No primary outcome was measured, so that nothing selects a reading.")
    return lines


def on_groups(record: Flips) -> list[str]:
    """The score that was fixed beforehand, by task, kind and attack; * marks primary outcomes."""
    name = record.primary.score
    head = f"{'task':<8}{'kind':<9}{'attack':<13}{'flipped':<14}{'gain of g':<25}AUROC"
    lines = ["AUROC of g less that of confidence, right answers; * fixed beforehand", head]
    lines += [_row(each, name) for each in record.pooled("right")]
    lines += ["", "the same where no draft flips; exploratory", head]
    lines += [_row(each, name) for each in record.pooled("unflipped")]
    return lines


def on_transfers(record: Flips) -> list[str]:
    """Explicit models' scores against implicit models' flips."""
    lines = []
    for transfer in record.transfers:
        lines += ["", *textwrap.wrap(_head(transfer), WIDTH)]
        for each in transfer.compared:
            both = f"{each.score} ({each.auroc.words[:4]}) less {each.other}"
            lines.append(f"{both[:54]:<54} {each.gain.signed}")
    return lines


def on_rows(record: Flips) -> list[str]:
    """Attacks on the first rows alone, rows that were left out, and seeds that are missing."""
    models: dict[str, list[Model]] = {}
    for each in record.joined:
        model = record.models[each.model]
        if each.rows < each.inputs:
            named = ", ".join(name for name in (each.attack, model.task, model.kind) if name)
            words = f"{named}: {each.rows} of {each.inputs} rows used"
            if each.disagreeing:
                words += f", {each.disagreeing} left out, where the two records differ"
            models.setdefault(words, []).append(model)
    lines = [f"{words} ({_who(of)})" for words, of in models.items()]
    return lines + [f"missing: {line}" for line in record.missing]


def _who(models: list[Model]) -> str:
    """The seeds of models of one task and kind, else how many they are."""
    seeds = [model.seed for model in models if model.seed is not None]
    if len(seeds) == len(models):
        return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
    return f"{len(models)} model{'s' if len(models) > 1 else ''}"


def _of(reading: Reading) -> str:
    named = [name for name in (reading.task, reading.kind) if name]
    return ", ".join([reading.attack, *named])


def _row(ranking: Ranking, name: str) -> str:
    found = ranking.score(name)
    kind = (ranking.kind or "all")[:8]
    attack = (f"{ranking.attack} *" if ranking.primary else ranking.attack)[:12]
    flipped = f"{ranking.flipped} of {ranking.inputs}"
    gain = found.gain.signed
    auroc = found.auroc.words[:4]
    return f"{ranking.task[:7]:<8}{kind:<9}{attack:<13}{flipped:<14}{gain:<25}{auroc}"


def _head(transfer: Transfer) -> str:
    seeds = ", ".join(map(str, transfer.seeds))
    return (
        f"{transfer.task}: do scores of {transfer.explicit} rank the flips of {transfer.implicit} "
        f"by {transfer.attack}? Exploratory; seeds {seeds}; {transfer.flipped} of "
        f"{transfer.inputs} flip"
    )
