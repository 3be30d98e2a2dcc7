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
MEANINGS = (
    (
        "rank",
        "The most fragile first: right answers by the share of random drafts that flip them, then "
        "by the least margin that a draft leaves; after them wrong answers, and last inputs "
        "without finite numbers.",
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
        "steepest word",
        "The word whose tokens have the largest share of g², and the share, by which the column"
        " is ordered: to first order no equally large change of another word's embeddings moves"
        " the margin as far. It is underlined in the text, of a pair in the second one, which "
        "drafts edit. A dash where the gradient vanishes or the tokenizer does not say where "
        "its tokens stand.",
    ),
    (
        "weakest draft",
        "The random draft, of all families, that leaves the smallest margin; the words that it "
        "changes are underlined. The table file has it for each family.",
    ),
    (
        "|m|/g",
        "How far the embeddings must move for a flip if the margin were linear; the reciprocal of "
        "the condition number. “flat” where the gradient vanishes and first order says nothing.",
    ),
    (
        "relative",
        "g‖e‖/|m|, the relative condition number: per cent of the margin that one per cent of the "
        "embeddings e can move.",
    ),
    ("sd", "Standard deviation of the margin over the random drafts of a family."),
    ("least", "The smallest margin over these drafts."),
    (
        "flipped",
        "Drafts that flip the answer, of those that differ from the text; “wrong” where the answer "
        "is wrong already.",
    ),
    (
        "growth",
        "‖δ_L‖/‖δ_0‖, median over drafts: how much larger the difference of the hidden states is "
        "after all layers than before the first. The table file has it after every layer.",
    ),
)


def write_page(
    record: Condition,
    texts: Sequence[Texts],
    out: Path,
    table: str,
    drafts: Sequence[Mapping[str, Edited]] = (),
) -> Path:
    """Write condition.html with its figure beside it.

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
    drawn = conditioning.draw(record)
    ranked = record.ranked()[:MOST_ROWS]
    page = render(
        "condition.html.j2",
        model=record.model,
        facts=facts(record),
        finding=found,
        shown=shown(drawn, out, "condition", found, conditioning.CAPTION),
        inputs=Listing(
            name="ranked",
            noun="inputs",
            caption="Ranked by the random drafts that flip an answer; a column's heading says what "
            "it is, the list below what it means.",
            head=_head(record),
            rows=[
                Listed(_cells(record, row, texts[row.index], _weakest_draft(row, drafts), rank))
                for rank, row in enumerate(ranked, 1)
            ],
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


def _head(record: Condition) -> list[tuple[str, bool]]:
    """The heading of each column, and whether it holds words."""
    first = {
        "rank": False,
        "g": False,
        "text": True,
        "steepest word,\nshare of g²": True,
        "weakest draft": True,
        "label": True,
        "predicted": True,
        "margin m": False,
        "|m|/g": False,
        "relative": False,
    }
    drafted = [
        (f"{family}:\n{name}", False)
        for family in record.families
        for name in ("sd", "least", "flipped", "growth")
    ]
    return [*first.items(), *drafted]


def _cells(
    record: Condition, row: Input, texts: Texts, draft: Edited | None, rank: int
) -> list[Cell]:
    cells = [
        Cell(str(rank), float(rank)),
        _measured(row.gradient),
        *_steepest(row, texts),
        _weakest(draft),
        Cell(record.labels[row.label], record.labels[row.label], words=True),
        Cell(record.labels[row.predicted], record.labels[row.predicted], words=True),
        _measured(row.margin),
        Cell("flat", None) if row.flat else _measured(row.distance),
        _measured(row.relative),
    ]
    for family in record.families:
        cells += _drafted(row, row.drafts[family])
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


def _drafted(row: Input, drafted: Drafted) -> list[Cell]:
    flipped = f"{drafted.flipped} of {drafted.count}" if drafted.count else "none drawn"
    share = drafted.flipped / drafted.count if drafted.count and not row.wrong else None
    return [
        _measured(drafted.spread),
        _measured(drafted.least),
        Cell("wrong" if row.wrong else flipped, share),
        _measured(drafted.growth[-1]),
    ]


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
