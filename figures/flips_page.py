"""One self-contained page of a verdict: flips.html."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from analysis.flips.records import (
    Calibration,
    Fate,
    Flips,
    Ranking,
    Score,
    principal_scores,
    row_notes,
)
from analysis.ground.files import write_text
from figures import style
from figures.flips import draw_fates, draw_flip_rates, draw_scores, same_group, title_of
from figures.flips_groups import draw_groups, group_table, transfer_table
from figures.records import Number
from figures.template import Heading, Shown, Table, render, shown

SCORES = (
    "AUROC of each score for a flip by each attack, with 95 % intervals over resamples of "
    "sentences. One half tells nothing. The dashed line and its band are confidence among right "
    "answers; scores are larger for inputs that should be more fragile."
)
GROUPS = (
    "What g says beyond confidence by task and kind of model, pooled over seeds, with 95 % "
    "intervals over resamples of sentences, a sentence with all its models. On the right the g of "
    "the explicit model of the same seed against flips of the implicit model."
)
FLIP_RATES = (
    "Observed over predicted flip rates in tenths of the inputs, each predicted by a fit to other "
    "sentences. On the diagonal they agree; the dotted line is the share that flips. Lines: 95 % "
    "intervals over resamples of sentences, the fits held fixed."
)
FATES = (
    "When the fate of an edit is decided. AUROC, for edits that flip the answer, of the size of "
    "the difference of the states over the margin before the edit, after each layer; bands are "
    "95 % intervals over resamples of original texts, thin lines single models."
)
POPULATIONS = {"right": "right answers", "unflipped": "no draft flips"}


@dataclasses.dataclass(frozen=True)
class Flipped:
    """What story.html.j2 shows of a verdict.

    Attributes:
        sentence: the outcome that was fixed beforehand.
        readings: what the plans said beforehand for this outcome.
        shown: by task and kind of model where there are several, else by score.
    """

    sentence: str
    readings: list[str]
    shown: Shown


def tell(record: Flips, folder: Path) -> Flipped:
    """What the report's story shows, its figure written into a folder.

    Raises:
        OSError: if the figure cannot be written.
    """
    return Flipped(
        sentence=record.primary.sentence,
        readings=[
            f"{', '.join(filter(None, (each.attack, each.task, each.kind)))}: {each.sentence}"
            for each in record.readings or []
        ],
        shown=_shown_groups(record, folder) or _shown_scores(record, folder),
    )


def write_page(record: Flips, folder: Path) -> Path:
    """Write flips.html with its figures, which are files of their own too.

    Raises:
        OSError: if a file cannot be written.
    """
    page = render(
        "flips.html.j2",
        record=record,
        facts=_facts(record),
        explored=_explored(record),
        groups=_shown_groups(record, folder),
        group_tables=[t for t in (group_table(record), transfer_table(record)) if t],
        rows_used=row_notes(record),
        scores=_shown_scores(record, folder),
        rankings=[
            (_named(record, ranking), *_score_tables(record, ranking))
            for ranking in record.pooled("right")
        ],
        rates=_shown_rates(record, folder),
        rate_table=_rate_table(record),
        fates=_shown_fates(record, folder),
        fate_tables=[(_of_whom(fate), _fate_table(fate)) for fate in record.fates],
        alone=_alone_table(record),
        models=_model_table(record),
        versions="\n".join(
            [
                *(f"{name} {version}" for name, version in record.versions.items()),
                f"seed {record.seed}",
            ]
        ),
    )
    path = folder / "flips.html"
    write_text(path, page)
    return path


def _facts(record: Flips) -> str:
    attacks = dict.fromkeys(ranking.attack for ranking in record.rankings)
    right = sum(model.right for model in record.models)
    inputs = sum(model.inputs for model in record.models)
    models = style.counted(len(record.models), "model")
    return f"{models}, {right} of {inputs} inputs right; attacks: {', '.join(attacks)}."


def _explored(record: Flips) -> str:
    return (
        f"Everything else on this page is exploratory: {record.explored} other comparisons of a "
        "score with confidence, over all models together, and what follows from them. Their "
        "intervals are not corrected for their number."
    )


def _shown_scores(record: Flips, folder: Path) -> Shown:
    return shown(draw_scores(record), folder, "flips_scores", record.primary.sentence, SCORES)


def _shown_groups(record: Flips, folder: Path) -> Shown | None:
    if not record.has_groups:
        return None
    told = "; ".join(
        f"{_named(record, each)}: {each.score(record.primary.score).gain.signed}"
        for each in record.pooled("right")
        if each.primary
    )
    return shown(draw_groups(record), folder, "flips_groups", f"{told}.", GROUPS)


def _named(record: Flips, ranking: Ranking) -> str:
    """The attack, with task and kind where there are several of them."""
    return title_of(record, ranking).replace("\n", ", ")


def _shown_rates(record: Flips, folder: Path) -> Shown | None:
    fitted = [each for each in record.pooled("right") if each.calibration is not None]
    if not fitted:
        return None
    told = "; ".join(
        f"{_named(record, each)}: Brier score {_briers(each.calibration)}"
        for each in fitted
        if each.calibration is not None
    )
    return shown(draw_flip_rates(record), folder, "flips_rates", told, FLIP_RATES)


def _briers(found: Calibration) -> str:
    fits = ", ".join(f"{_three(fit.brier)} from {fit.name}" for fit in found.fits)
    return f"{_three(found.brier)} of the base rate, {fits}"


def _shown_fates(record: Flips, folder: Path) -> Shown | None:
    if not record.fates:
        return None
    first = record.fates[0]
    told = (
        f"Of what the classifier reads AUROC goes from {first.read[0].words} before the first "
        f"layer to {first.read[-1].words} after the last; the margin alone has "
        f"{first.margin.words}, the edit's size alone {first.size.words}."
    )
    return shown(draw_fates(record), folder, "flips_fates", told, FATES)


def _score_tables(record: Flips, right: Ranking) -> tuple[Table, Table | None]:
    """The scores of an attack, and those that only the level of growth sets apart."""
    principal = principal_scores(record.definitions)
    others = [name for name in record.definitions if name not in principal]
    caption = f"Flips by {_named(record, right)}. 95 % intervals in brackets"
    caption += "; * fixed beforehand." if right.primary else "; all of it exploratory."
    levels = f"Growth of drafts to every layer, flips by {_named(record, right)}."
    table = _score_table(record, right, principal, caption)
    return table, _score_table(record, right, others, levels) if others else None


def _score_table(record: Flips, right: Ranking, names: Sequence[str], caption: str) -> Table:
    populations = [right]
    populations += [each for each in record.pooled("unflipped") if same_group(each, right)]
    groups = [
        Heading(
            f"{POPULATIONS[each.population]}: {each.flipped} of {each.inputs} flipped", columns=3
        )
        for each in populations
    ]
    below = [Heading("AUROC"), Heading("over confidence"), Heading("left\nout")] * len(populations)
    rows = []
    for name in names:
        is_primary = right.primary and name == record.primary.score
        row = [f"{name} *" if is_primary else name]
        for each in populations:
            row += _cells(next((s for s in each.scores if s.name == name), None))
        rows.append(row)
    head = [[Heading("score", rows=2, words=True), *groups], below]
    return Table(caption, head, rows)


def _cells(score: Score | None) -> list[str]:
    """Of a score that is 0 by definition there is nothing to say."""
    if score is None:
        return ["–", "–", "–"]
    gain = "" if score.name == "confidence" else score.gain.signed
    return [score.auroc.words, gain, str(score.left_out)]


def _rate_table(record: Flips) -> Table | None:
    rows = []
    for ranking in record.pooled("right"):
        found = ranking.calibration
        if found is None:
            continue
        base = [_named(record, ranking), "base rate", "", "", _three(found.brier), ""]
        rows.append([*base, _three(found.log_loss), ""])
        for fit in found.fits:
            rows.append(
                [
                    "",
                    fit.name,
                    fit.auroc.words,
                    _three(fit.slope),
                    _three(fit.brier),
                    fit.brier_gain.signed,
                    _three(fit.log_loss),
                    fit.log_loss_gain.signed,
                ]
            )
    if not rows:
        return None
    names = ("AUROC", "slope", "Brier\nscore", "gain over base rate", "log loss\n(nats)")
    head = [Heading("attack", words=True), Heading("fit", words=True)]
    head += [Heading(name) for name in (*names, "gain over base rate")]
    caption = (
        "Predicted flip rates for sentences that the fit has not seen. Slope 1 is calibrated, "
        "less is too sure of itself; there is none where the rates do not differ, or tell all that "
        "flip from all that hold."
    )
    return Table(caption, [head], rows, words=1)


def _of_whom(fate: Fate) -> str:
    return "All models" if len(fate.models) > 1 else fate.model


def _fate_table(fate: Fate) -> Table:
    caption = (
        f"Fate by depth. {_of_whom(fate)}: AUROC of ‖δ‖ over the margin: {fate.flipped} of "
        f"{style.counted(fate.pairs, 'edit')} flip, from "
        f"{style.counted(fate.sentences, 'original text')}, {fate.left_out} left out; margin "
        f"alone {fate.margin.words}, ‖δ₀‖ alone {fate.size.words}."
    )
    names = ("all tokens", "first token", "what the classifier\nreads")
    head = [[Heading("after layer", words=True), *(Heading(name) for name in names)]]
    rows = [
        [str(level), fate.whole[level].words, fate.first[level].words, fate.read[level].words]
        for level in range(len(fate.whole))
    ]
    return Table(caption, head, rows)


def _alone_table(record: Flips) -> Table | None:
    """The primary score on each model alone, where there are several."""
    rows = [
        [
            ranking.attack,
            record.models[ranking.models[0]].name,
            f"{ranking.flipped} of {ranking.inputs}",
            ranking.score("confidence").auroc.words,
            ranking.score(record.primary.score).auroc.words,
            ranking.score(record.primary.score).gain.signed,
        ]
        for ranking in record.rankings
        if ranking.population == "right" and len(ranking.models) == 1
    ]
    if len(record.models) < 2 or not rows:
        return None
    head = [Heading("attack", words=True), Heading("model", words=True)]
    head += [Heading(name) for name in ("flipped", "confidence", record.primary.score)]
    head.append(Heading("over confidence"))
    return Table("The score that was fixed beforehand, model by model.", [head], rows, words=1)


def _model_table(record: Flips) -> Table:
    rows = [
        [model.name, str(model.right), str(model.inputs), model.weights[:12], model.examples[:12]]
        for model in record.models
    ]
    names = ("right", "inputs", "weights", "rows")
    head = [[Heading("model", words=True), *(Heading(name) for name in names)]]
    return Table("Models and rows, by the beginnings of their sha256.", head, rows)


def _three(value: Number) -> str:
    """With three decimals; a dash for what is not known."""
    return "–" if value is None else f"{value:.3f}".replace("-", "−")
