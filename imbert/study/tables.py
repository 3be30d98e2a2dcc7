"""A study's record as tables: Markdown for a reader, CSV for a program."""

import csv
import io
from collections.abc import Iterator

from analysis.ground.difference import ROBUST_ACCURACY, Difference
from analysis.ground.question import Question
from analysis.ground.words import counted
from imbert.study.study_record import (
    AttackSpread,
    GradedComparison,
    Group,
    ItemComparison,
    Model,
    SeedSpread,
    Spread,
    Study,
    Verdict,
)
from imbert.study.summary import MEASURES


def markdown(summary: Study) -> str:
    """One table per task and size: mean over seeds and 95 % t interval; adversarial numbers stand
    beside dev.
    """
    parts = [f"# {summary.name}\n", *answers(summary)]
    for group in summary.groups:
        parts += _group_table(group)
        parts += _tests(group, summary.baseline)
        parts += _attack_tests(group, summary.baseline)
        parts += _edit_tests(group, summary.baseline)
    parts += [
        f"\nAdvGLUE score, {score.model}, {score.size or 'all'} rows: {spread(score.score)}\n"
        for score in summary.scores
    ]
    for name, lines in (("Missing", summary.missing), ("Warnings", summary.warnings)):
        parts.append(f"\n## {name}\n\n")
        parts += [f"- {line}\n" for line in lines or ["nothing"]]
    return "".join(parts)


def spread(values: Spread | None, scale: float = 100, digits: int = 1) -> str:
    """Mean and half-width of an interval; the width is left out where there is one seed."""
    if values is None or values.mean is None:
        return "–"
    mean = f"{scale * values.mean:.{digits}f}"
    if values.high is None:
        return mean
    return f"{mean} ± {scale * (values.high - values.mean):.{digits}f}"


def comma_separated(summary: Study) -> str:
    """One line per task, size, model, measure and seed."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["task", "size", "model", "measure", "seed", "value"])
    for group in summary.groups:
        for model in group.models:
            for measure, values in _measured(model):
                for seed, value in zip(values.seeds, values.values, strict=True) if values else []:
                    size = group.size or "all"
                    rows.writerow([group.task, size, model.name, measure, seed, repr(value)])
    return text.getvalue()


def _measured(model: Model) -> Iterator[tuple[str, SeedSpread | None]]:
    """Everything that was measured of a model, in the order of the CSV file."""
    yield from model.measures.items()
    for name, attack in model.attacks.items():
        for key in AttackSpread.__struct_fields__:
            yield f"{name} {key}", getattr(attack, key)
    yield "training loss", model.training.loss
    yield "training minutes", model.training.minutes


def answers(summary: Study) -> list[str]:
    """The question of the plan, where the summary computes its primary outcome, and each group's
    answer.
    """
    question = summary.study.question
    difference = summary.study.difference
    if not isinstance(question, Question) or difference is None:
        return []
    lines = [
        f"\n## Question\n\n{question.name}\n",
        f"\nPrimary outcome, of the plan: {question.primary}\n\n",
    ]
    for group in summary.groups:
        if isinstance(group.verdict, Verdict):
            lines += _answer(group.name, group.verdict, difference, question.threshold)
        else:
            lines.append(f"- {group.name}: nothing to compare yet\n")
    return lines


def _answer(name: str, verdict: Verdict, difference: Difference, threshold: float) -> list[str]:
    """One group's answer: the numbers, what they rest on, the sentence."""
    signs = difference.signs.items()
    terms = "".join(f" {'+' if sign > 0 else '−'} {model}" for model, sign in signs)
    in_shares = difference.measure == ROBUST_ACCURACY
    scale = 100 if in_shares else 1
    interval = Spread(verdict.value, verdict.low, verdict.high, len(verdict.seeds))
    numbers = with_interval(interval, scale, 2)
    of_texts = "" if verdict.clusters is None else f" of {verdict.clusters} texts"
    return [
        f"- {name}, {difference.attack}, {difference.measure},{terms.removeprefix(' +')}: "
        f"{numbers} {'points' if in_shares else 'edits'} (95 %, resampling {verdict.resampled}; "
        f"threshold {scale * threshold:g}); over seeds {spread(verdict.over_seeds, scale, 2)}; "
        f"{sum(verdict.pairs)} examples{of_texts} over {counted(len(verdict.seeds), 'seed')}"
        f" ({', '.join(map(str, verdict.seeds)) or 'none'}), where all are right before\n",
        *(f"- {name}, seed {each.seed} is missing: {each.reason}\n" for each in verdict.missing),
        f"- {name}, **{verdict.outcome}**: {verdict.sentence}\n",
    ]


def _group_table(group: Group) -> list[str]:
    attacks = list(dict.fromkeys(name for model in group.models for name in model.attacks))
    graded = {
        name
        for model in group.models
        for name, attack in model.attacks.items()
        if attack.edits_needed is not None
    }
    captions = [
        *MEASURES.values(),
        *(caption for name in attacks for caption in _attack_captions(name, name in graded)),
        "training loss",
        "minutes",
        "seeds",
    ]
    rule = "|---" * (1 + len(captions))
    parts = [
        f"\n## {group.name}, {group.metric}, %\n",
        f"| model | {' | '.join(captions)} |\n{rule}|\n",
    ]
    for model in group.models:
        seeds = len(model.seeds)
        cells = [spread(model.measures[key]) for key in MEASURES]
        for name in attacks:
            attack = model.attacks.get(name)
            cells.append(_robust(attack, seeds))
            if name in graded:
                cells.append(spread(attack.edits_needed if attack else None, 1, 2))
        cells += [spread(model.training.loss, 1, 3), spread(model.training.minutes, 1, 1)]
        parts.append(f"| {model.name} | {' | '.join([*cells, str(seeds)])} |\n")
    return parts


def _attack_captions(name: str, is_graded: bool) -> list[str]:
    """The columns of one attack."""
    caption = attack_caption(name)
    return [f"{caption}: robust (clean)", *([f"{caption}: edits needed"] if is_graded else [])]


def _robust(attack: AttackSpread | None, seeds: int) -> str:
    """Robust accuracy beside clean accuracy, with the number of seeds where it is not that of the
    model.
    """
    if attack is None or attack.robust_accuracy is None:
        return "–"
    count = attack.robust_accuracy.n
    attacked = "" if count == seeds else f"; {counted(count, 'seed')}"
    return f"{spread(attack.robust_accuracy)} ({spread(attack.clean_accuracy)}{attacked})"


def _tests(group: Group, baseline: str) -> list[str]:
    """The paired tests of a group in words."""
    kinds = {
        "both": f"pairs whose original both it and {baseline} get right",
        "all": "all pairs",
    }
    lines = []
    for model in group.models:
        for name, which in kinds.items() if model.against_baseline else ():
            items: ItemComparison = getattr(model.against_baseline, name)
            if items.pooled is None:
                continue
            lines.append(
                f"- {model.name} − {baseline}, AdvGLUE adversarial, "
                f"{which} ({sum(items.pairs)} over {counted(len(items.pairs), 'seed')}, "
                f"{_of_clusters(items)}): {with_interval(items.hierarchical)} points, "
                f"{_resampling(items)}; over seeds {spread(items.seeds)}; "
                f"{items.pooled.only_a} only it, {items.pooled.only_b} only {baseline} "
                f"(exact p = {items.pooled.p_value:.3g} for these seeds)\n"
            )
    return ["\n", *lines] if lines else []


def _attack_tests(group: Group, baseline: str) -> list[str]:
    """The paired differences under attack, as a table."""
    against = {model.name: model.attacks_against_baseline or {} for model in group.models}
    compared = {name for comparisons in against.values() for name in comparisons}
    attacks = [
        name
        for name in dict.fromkeys(name for model in group.models for name in model.attacks)
        if name in compared
    ]
    if not attacks:
        return []
    kinds = {"both": f"where both it and {baseline} are right before", "all": "all examples"}
    how = (
        "95 %, resampling seeds and examples; of two seeds Student's t, of one seed examples alone"
    )
    captions = " | ".join(map(attack_caption, attacks))
    lines = [
        f"\nRobust accuracy minus {baseline}'s under the same "
        f"attack on the same examples, points [{how}]\n",
        f"\n| model | examples | {captions} | seeds |\n" + "|---" * (3 + len(attacks)) + "|\n",
    ]
    for name, comparisons in against.items():
        counts = sorted({len(comparison.all.pairs) for comparison in comparisons.values()})
        for kind, caption in kinds.items() if comparisons else ():
            cells = [
                with_interval(getattr(comparisons[attack], kind).hierarchical)
                if attack in comparisons
                else "–"
                for attack in attacks
            ]
            lines.append(
                f"| {name} | {caption} | {' | '.join(cells)} | {', '.join(map(str, counts))} |\n"
            )
    return lines


def _edit_tests(group: Group, baseline: str) -> list[str]:
    """The paired differences of the edits that attacks on texts needed, as a table."""
    against = {
        model.name: model.edits_against_baseline
        for model in group.models
        if model.edits_against_baseline
    }
    attacks = list(dict.fromkeys(name for comparisons in against.values() for name in comparisons))
    if not attacks:
        return []
    lines = [
        f"\nEdits needed minus {baseline}'s, where both are right before: words that the attack "
        "changed until the model was wrong, one more than it may change where it never was "
        "[95 %, as above]\n",
        f"\n| model | {' | '.join(attacks)} | seeds |\n" + "|---" * (2 + len(attacks)) + "|\n",
    ]
    for name, comparisons in against.items():
        counts = sorted({len(comparison.pairs) for comparison in comparisons.values()})
        cells = [_graded(comparisons.get(attack)) for attack in attacks]
        lines.append(f"| {name} | {' | '.join(cells)} | {', '.join(map(str, counts))} |\n")
    return lines


def _graded(comparison: GradedComparison | None) -> str:
    return "–" if comparison is None else with_interval(comparison.hierarchical, 1, 2)


def attack_caption(name: str) -> str:
    """An attack by the name of its record, with the radius of its ball in mean word norms where
    there are several.
    """
    kind, _, radius = name.partition("-")
    return f"{kind}, radius {radius}" if radius else name


def _of_clusters(items: ItemComparison) -> str:
    if items.clusters is None:
        return "which of them share a sentence is not known"
    return f"of {items.clusters} sentences"


def _resampling(items: ItemComparison) -> str:
    """How the interval was made, in words."""
    what = "pairs" if items.clusters is None else "sentences"
    if len(items.pairs) == 2:
        return f"Student's t over two seeds, at least what resampling {what} gives"
    return f"resampling {what}" if len(items.pairs) == 1 else f"resampling seeds and {what}"


def with_interval(values: Spread | None, scale: float = 100, digits: int = 1) -> str:
    """A mean and the ends of its interval, with their signs."""
    if values is None:
        return "–"
    mean, low, high = (
        "–" if value is None else f"{scale * value:+.{digits}f}"
        for value in (values.mean, values.low, values.high)
    )
    return f"{mean} [{low}, {high}]"
