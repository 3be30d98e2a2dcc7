"""A study's record as tables: Markdown for a reader, CSV for a program."""

import csv
import io
from collections.abc import Iterator

from imbert.records import Number
from imbert.study.study_record import (
    AttackSpread,
    Group,
    ItemComparison,
    Model,
    SeedSpread,
    Spread,
    Study,
)
from imbert.study.summary import MEASURES


def markdown(summary: Study) -> str:
    """One table per task and size: mean over seeds and 95 % t interval; adversarial numbers stand
    beside dev.
    """
    parts = [f"# {summary.name}\n"]
    for group in summary.groups:
        parts += _group_table(group)
        parts += _tests(group, summary.baseline)
        parts += _attack_tests(group, summary.baseline)
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


def _group_table(group: Group) -> list[str]:
    attacks = list(dict.fromkeys(name for model in group.models for name in model.attacks))
    captions = [
        *MEASURES.values(),
        *(f"{attack_caption(name)}: robust (clean)" for name in attacks),
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
        cells += [_robust(model.attacks.get(name), seeds) for name in attacks]
        cells += [spread(model.training.loss, 1, 3), spread(model.training.minutes, 1, 1)]
        parts.append(f"| {model.name} | {' | '.join([*cells, str(seeds)])} |\n")
    return parts


def _robust(attack: AttackSpread | None, seeds: int) -> str:
    """Robust accuracy beside clean accuracy, with the number of seeds where it is not that of the
    model.
    """
    if attack is None or attack.robust_accuracy is None:
        return "–"
    count = attack.robust_accuracy.n
    attacked = "" if count == seeds else f"; {_seeds(count)}"
    return f"{spread(attack.robust_accuracy)} ({spread(attack.clean_accuracy)}{attacked})"


def _seeds(count: int) -> str:
    return f"{count} seed{'s' if count != 1 else ''}"


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
                f"{which} ({sum(items.pairs)} over {_seeds(len(items.pairs))}, "
                f"{_of_clusters(items)}): {_difference(items.hierarchical)} points, "
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
                _difference(getattr(comparisons[attack], kind).hierarchical)
                if attack in comparisons
                else "–"
                for attack in attacks
            ]
            lines.append(
                f"| {name} | {caption} | {' | '.join(cells)} | {', '.join(map(str, counts))} |\n"
            )
    return lines


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


def _difference(values: Spread | None) -> str:
    if values is None:
        return "–"
    return f"{_points(values.mean)} [{_points(values.low)}, {_points(values.high)}]"


def _points(value: Number) -> str:
    return "–" if value is None else f"{100 * value:+.1f}"
