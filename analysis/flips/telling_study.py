"""What a verdict says of a study of several tasks or kinds of model, and of its plan, in a terminal
of 80 columns.
"""

import textwrap

from analysis.flips.records import Flips, Plan, Ranking
from analysis.flips.study_records import Reading, Transfer

WIDTH = 80


def on_plans(record: Flips) -> list[str]:
    """The digest of each plan, and the sentences of it that the numbers select."""
    return [line for plan in record.plans for line in _on_plan(record, plan)]


def _on_plan(record: Flips, plan: Plan) -> list[str]:
    changed = f", changed {len(plan.changed)} times after its first run" if plan.changed else ""
    lines = textwrap.wrap(f"plan: {plan.name}, sha256 {plan.digest[:12]}{changed}", WIDTH)
    if plan.question is None:
        return [*lines, "It has no question, so that nothing selects a reading."]
    lines += textwrap.wrap(f"question: {plan.question.name}", WIDTH)
    readings = [each for each in record.readings if each.plan == plan.digest]
    for each in readings:
        lines += textwrap.wrap(f"{_of(each)}: {each.outcome}. {each.sentence}", WIDTH)
    if not readings:
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
