"""The page of a conditioning record: every input in one ranked table, beside the user's texts."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from analysis.conditioning.records import LAST, Condition, Drafted, Input
from analysis.ground.files import write_text
from analysis.ground.text_edits import Edited, Texts
from figures import conditioning, style
from figures.findings import number
from figures.template import Cell, Listed, Listing, render, shown

PAGE = "condition.html"
MOST_ROWS = 2000  # of the table in the page; the table file has all
FOLDED = ("label", "predicted", "relative")  # columns that are shown when all are asked for
FOLDED_OF_FAMILY = ("sd", "least", "growth")
MEANINGS = (
    (
        "rank",
        "The most fragile first: right answers by the share of all drafts that flip them, then by "
        "the least margin that a draft leaves; after them wrong answers, and last inputs without "
        "finite numbers.",
    ),
    (
        "flipped",
        "Drafts of a family that flip the answer, of those that differ from the text; “wrong” "
        "where the answer is wrong already.",
    ),
    (
        "weakest draft",
        "The draft, of all families, that leaves the smallest margin. The words that it changes "
        "are underlined: together they leave the margin beside it, and the answer “flips” where "
        "that is not positive, else it “holds”. The table file has this draft of each family.",
    ),
    (
        "answer",
        "What the model answers to the text as it is; where that is wrong, the label too.",
    ),
    (
        "margin m",
        "The label's logit less the largest other one: negative where the model answers otherwise.",
    ),
    (
        "g",
        "‖∇m‖, the size of the margin's gradient at the word embeddings: how fast a change of the "
        "words can move the margin.",
    ),
    (
        "|m|/g",
        "How far the embeddings must move for a flip if the margin were linear; the reciprocal of "
        "the condition number. “flat” where the gradient vanishes and first order says nothing.",
    ),
    (
        "steepest word",
        "The word whose tokens have the largest share of g², and the share, by which the column"
        " is ordered: to first order no equally large change of another word's embeddings moves"
        " the margin as far. It is underlined in the text, of a pair in the second one, which "
        "drafts edit. A dash where the gradient vanishes, no word is read or the tokenizer does "
        "not say where its tokens stand.",
    ),
    (
        "relative",
        "g‖e‖/|m|, the relative condition number: per cent of the margin that one per cent of the "
        "embeddings e can move.",
    ),
    ("sd", "Standard deviation of the margin over the drafts of a family."),
    ("least", "The smallest margin over these drafts."),
    (
        "growth",
        "‖δ_L‖/‖δ_0‖, median over drafts: how much larger the difference of the hidden states is "
        "after all layers than before the first. The table file has it after every layer.",
    ),
)
NEIGHBOURS = (
    "Drafts by words were drawn without a table of synonyms: a word is replaced by near "
    "neighbours in the model's own word embeddings, opposites among them (difficult for easy). "
    "Such a draft can change what the text says, and then it is right that the answer flips. The "
    "ranking counts it all the same."
)


def write_page(
    record: Condition,
    texts: Sequence[Texts],
    out: Path,
    table: str,
    drafts: Sequence[Mapping[str, Edited]] = (),
) -> Path:
    """Write condition.html with its figures beside it.

    Args:
        record: of the inputs.
        texts: of each input, in the order of the file.
        out: the folder.
        table: the name of the file that has every input.
        drafts: by family the weakest draft of each input, in the order of the file; none are shown
            without them.

    Raises:
        OSError: if a file cannot be written.
    """
    found = conditioning.finding(record)
    gradients = shown(conditioning.draw(record), out, "condition", found, conditioning.CAPTION)
    growth = shown(
        conditioning.draw_growth(record),
        out,
        "condition_growth",
        conditioning.growth_finding(record),
        conditioning.GROWTH_CAPTION,
    )
    ranked = record.ranked()[:MOST_ROWS]
    page = render(
        "condition.html.j2",
        model=record.model,
        facts=facts(record),
        finding=found,
        warning=NEIGHBOURS if _of_neighbours(record) else "",
        pictures=(gradients, growth),
        inputs=Listing(
            name="ranked",
            noun="inputs",
            caption="Ranked by the random drafts that flip an answer. A draft is the text with a "
            "few words edited at random; what each column means stands below the table.",
            head=_head(record),
            rows=[
                Listed(_cells(record, row, texts[row.index], _weakest_draft(row, drafts), rank))
                for rank, row in enumerate(ranked, 1)
            ],
            folded=len(FOLDED) + len(FOLDED_OF_FAMILY) * len(record.families),
        ),
        rows=len(ranked),
        left_out=len(record.inputs) - len(ranked),
        table=table,
        meanings=MEANINGS,
        families=[(name, _drawn(record, name)) for name in record.families],
        configuration=_configuration(record),
    )
    write_text(out / PAGE, page)
    return out / PAGE


def facts(record: Condition) -> str:
    """What the margins are of, and what is wrong with some of them, in a sentence."""
    labels = "labels of the file" if record.labels_given else "the predicted labels"
    cut = sum(row.truncated for row in record.inputs)
    lost = sum(not row.finite for row in record.inputs)
    unsolved = sum(not row.solved for row in record.inputs)
    parts = [
        style.counted(len(record.inputs), "input"),
        f"margins of {labels}",
        f"{record.layers} layers",
        *([f"{cut} cut to {record.max_tokens} tokens"] if cut else []),
        *([f"{lost} without finite numbers"] if lost else []),
        *([f"{unsolved} with implicit steps that were not solved"] if unsolved else []),
    ]
    return ", ".join(parts) + "."


def _of_neighbours(record: Condition) -> bool:
    return any(family.may_change_meaning for family in record.families.values())


def _head(record: Condition) -> list[tuple[str, bool]]:
    """The heading of each column, and whether it holds words; what ranks stands first."""
    return [
        ("rank", False),
        ("text", True),
        *((f"{family}:\nflipped", False) for family in record.families),
        ("weakest draft:\nmargin", False),
        ("weakest draft", True),
        ("answer", True),
        ("margin m", False),
        ("g", False),
        ("|m|/g", False),
        ("steepest word,\nshare of g²", True),
        *((name, name != "relative") for name in FOLDED),
        *((f"{family}:\n{name}", False) for family in record.families for name in FOLDED_OF_FAMILY),
    ]


def _cells(
    record: Condition, row: Input, texts: Texts, draft: Edited | None, rank: int
) -> list[Cell]:
    label, predicted = record.labels[row.label], record.labels[row.predicted]
    answer = f"{predicted}, not {label}" if row.wrong else predicted
    text, steepest = _steepest(row, texts)
    cells = [
        Cell(str(rank), float(rank)),
        text,
        *(_flipped(row, row.drafts[family]) for family in record.families),
        _least(row),
        _weakest(draft),
        Cell(answer, answer, words=True),
        _measured(row.margin),
        _measured(row.gradient),
        Cell("flat", None) if row.flat else _measured(row.distance),
        steepest,
        Cell(label, label, words=True),
        Cell(predicted, predicted, words=True),
        _measured(row.relative),
    ]
    for drafted in (row.drafts[family] for family in record.families):
        cells += map(_measured, (drafted.spread, drafted.least, drafted.growth[-1]))
    return cells


def _steepest(row: Input, texts: Texts) -> list[Cell]:
    """The texts, and the word of them with the largest share of g², with the share."""
    text = " | ".join(texts)
    if row.steepest is None:
        return [Cell(text, text, words=True, long=True), Cell("–", None, words=True)]
    before = len(text) - len(texts[LAST])
    place = (before + row.steepest.begin, before + row.steepest.end)
    named = f"{row.steepest.word(texts)}, {row.steepest.share:.2f}"
    return [
        Cell(text, text, words=True, long=True, marked=(place,)),
        Cell(named, row.steepest.share, words=True),
    ]


def _weakest_draft(row: Input, drafts: Sequence[Mapping[str, Edited]]) -> Edited | None:
    """The draft with the smallest margin of all families, where one is known."""
    of_row = drafts[row.index] if drafts else {}
    margins = {family: row.drafts[family].least for family in of_row}
    known = {family: least for family, least in margins.items() if least is not None}
    return of_row[min(known, key=known.__getitem__)] if known else None


def _weakest(draft: Edited | None) -> Cell:
    if draft is None:
        return Cell("–", None, words=True)
    return Cell(draft.text, draft.text, words=True, long=True, marked=draft.changed)


def _least(row: Input) -> Cell:
    """The smallest margin of all drafts, and whether it is a flip."""
    if row.least is None:
        return Cell("–", None)
    fate = "" if not row.right else " flips" if row.least <= 0 else " holds"
    return Cell(f"{number(row.least)}{fate}", row.least)


def _flipped(row: Input, drafted: Drafted) -> Cell:
    flipped = f"{drafted.flipped} of {drafted.count}" if drafted.count else "none drawn"
    share = drafted.flipped / drafted.count if drafted.count and not row.wrong else None
    return Cell("wrong" if row.wrong else flipped, share)


def _measured(value: float | None) -> Cell:
    return Cell(number(value), value)


def _drawn(record: Condition, name: str) -> str:
    family = record.families[name]
    how = {
        "characters": "In each of a few words one letter is swapped, left out, put in or replaced "
        "by a look-alike.",
        "words": f"A few words are replaced: {family.source}.",
    }[name]
    return (
        f"{how} {style.counted(family.drafts, 'draft')} of each text, of at most "
        f"{style.counted(family.max_edits, 'word')}; function words and negations stay."
    )


def _configuration(record: Condition) -> str:
    values = msgspec.to_builtins(record)
    kept = {name: value for name, value in values.items() if name != "inputs"}
    return json.dumps(kept, indent=1, sort_keys=True, ensure_ascii=False)
