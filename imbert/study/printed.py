"""What a study says in a terminal of 80 columns; table.md holds all of it."""

from collections.abc import Callable, Iterator, Sequence

from analysis.ground.terminal import WIDEST, wrapped
from imbert.study.study_record import Group, Model, Spread, Study
from imbert.study.summary import MEASURES
from imbert.study.tables import answers, attack_caption, spread, with_interval

NAME = 32  # columns of the names of rows
CELL = 16  # columns of a model's mean and interval, of which three stand side by side
DIFFERENCE = 24  # of a difference and the ends of its interval, two side by side
# in the row below it, the adversarial texts whose original a model has right
CAPTIONS = {**MEASURES, "conditional": "  where the original is right"}
Row = tuple[str, Callable[[Model], str]]


def told(summary: Study) -> list[str]:
    """The answers to the plan's question, a table of each group, and what is missing."""
    lines = _answers(summary)
    for group in summary.groups:
        lines += [*_means(group), *_differences(group, summary.baseline), ""]
    for score in summary.scores:
        rows = "all" if score.size is None else str(score.size)
        lines += wrapped(f"AdvGLUE score, {score.model}, {rows} rows: {spread(score.score)}", 2)
    for name, sentences in (("missing", summary.missing), ("warning", summary.warnings)):
        for sentence in sentences:
            lines += wrapped(f"{name}: {sentence}", 2)
    return lines


def _answers(summary: Study) -> list[str]:
    """What table.md says to the question of the plan, without its marks."""
    lines: list[str] = []
    for line in "".join(answers(summary)).splitlines():
        plain = line.replace("**", "").removeprefix("## ").removeprefix("- ")
        lines += wrapped(plain, 2) if plain else []
    return [*lines, ""] if lines else []


def _means(group: Group) -> list[str]:
    """Means over seeds: measures in rows, models in columns."""
    rows = [
        ("seeds", lambda model: str(len(model.seeds))),
        *(_measure(name, caption) for name, caption in CAPTIONS.items()),
    ]
    for attack in dict.fromkeys(name for model in group.models for name in model.attacks):
        rows += _attack(attack)
    rows += [
        ("training loss", lambda model: spread(model.training.loss, 1, 3)),
        ("minutes of training", lambda model: spread(model.training.minutes, 1, 1)),
    ]
    several = any(len(model.seeds) > 1 for model in group.models)
    seeds = ", mean over seeds ± half a 95 % interval" if several else ""
    heading = wrapped(f"{group.name}: {group.metric} in %{seeds}", 2)
    return [*heading, *_table(group.models, rows, CELL)]


def _measure(name: str, caption: str) -> Row:
    return caption, lambda model: spread(model.measures.get(name))


def _attack(name: str) -> list[Row]:
    """Accuracy before and under an attack, and how many edits it needs where it counts them."""

    def of(field: str, scale: float, digits: int) -> Callable[[Model], str]:
        def cell(model: Model) -> str:
            attack = model.attacks.get(name)
            return spread(getattr(attack, field) if attack else None, scale, digits)

        return cell

    def seeds(model: Model) -> str:
        """How many were attacked, where it is not how many were trained."""
        attack = model.attacks.get(name)
        robust = attack.robust_accuracy if attack else None
        return "–" if robust is None or robust.n == len(model.seeds) else str(robust.n)

    caption = attack_caption(name)
    return [
        (f"{caption}: before", of("clean_accuracy", 100, 1)),
        (f"{caption}: under it", of("robust_accuracy", 100, 1)),
        (f"{caption}: edits needed", of("edits_needed", 1, 2)),
        (f"{caption}: seeds, where fewer", seeds),
    ]


def _differences(group: Group, baseline: str) -> list[str]:
    """Robust accuracy less the baseline's, where both are right before."""
    models = [model for model in group.models if model.attacks_against_baseline]
    names = dict.fromkeys(name for model in models for name in model.attacks_against_baseline or {})
    if not names:
        return []

    def of(name: str) -> Callable[[Model], str]:
        def cell(model: Model) -> str:
            compared = (model.attacks_against_baseline or {}).get(name)
            value: Spread | None = compared.both.hierarchical if compared else None
            return with_interval(value)

        return cell

    heading = (
        f"Robust accuracy less that of {baseline}, points [95 % interval], where both are right "
        "before the attack"
    )
    rows = [(attack_caption(name), of(name)) for name in names]
    return ["", *wrapped(heading, 2), *_table(models, rows, DIFFERENCE)]


def _table(models: Sequence[Model], rows: Sequence[Row], cell: int) -> Iterator[str]:
    """Rows that some model has a value in, as many models side by side as there is room for."""
    longest = max((len(model.name) for model in models), default=0)
    cell = min(max(cell, longest + 1), WIDEST - NAME)
    side_by_side = (WIDEST - NAME) // cell
    for start in range(0, len(models), side_by_side):
        part = models[start : start + side_by_side]
        yield _line("", [model.name for model in part], cell)
        for caption, of in rows:
            cells = [of(model) for model in part]
            if set(cells) != {"–"}:
                yield _line(caption, cells, cell)


def _line(caption: str, cells: Sequence[str], cell: int) -> str:
    name = caption if len(caption) < NAME else f"{caption[: NAME - 2]}…"
    return f"{name:<{NAME}}" + "".join(f"{each[: cell - 1]:>{cell}}" for each in cells)
