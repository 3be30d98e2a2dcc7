"""The page of a conditioning record: ranked without a script, no text of it executed."""

import re
from pathlib import Path

import msgspec
import pytest
from page_checks import check_closed

from analysis.conditioning.records import Condition, Drafted, Family, Input, Steepest
from analysis.ground.text_edits import Edited
from figures import condition_page, conditioning

HOSTILE = "<script>alert(1)</script> & \"a\" 'b'"
TEXTS = ("the ferry leaves", "a quiet harbour", HOSTILE, "noon")


def drafted(flipped: int, count: int = 4, growth: float | None = 1.5) -> Drafted:
    if not count:
        return Drafted(0, None, None, 0, [None, None, None])
    return Drafted(count, 0.2, 0.1 - flipped, flipped, [1.0, 1.2, growth])


def made(index: int, gradient: float | None, margin: float | None, flipped: int = 0) -> Input:
    known = gradient is not None and margin is not None
    return Input(
        index=index,
        text=f"{index:064d}",
        words=3,
        tokens=5,
        label=1,
        predicted=int(margin is None or margin > 0),
        margin=margin,
        gradient=gradient,
        distance=abs(margin) / gradient if known and gradient else None,
        relative=None,
        flat=gradient == 0,
        drafts={"characters": drafted(flipped), "words": drafted(0, count=0)},
        finite=known,
    )


def record(*inputs: Input) -> Condition:
    return Condition(
        model=HOSTILE,
        identity={"digest": None},
        labels=["bad", "good"],
        labels_given=True,
        examples="0" * 64,
        families={
            "characters": Family(4, 3, None),
            "words": Family(4, 3, f"synonyms in {HOSTILE}"),
        },
        seed=0,
        layers=2,
        inputs=list(inputs),
        versions={"python": "3"},
    )


SOME = (made(0, 0.5, 1.0), made(1, 2.0, 0.5, 3), made(2, 1.0, -0.25, 4), made(3, None, None))


def rows(page: str) -> list[list[str]]:
    body = page.split("<tbody>")[1].split("</tbody>")[0]
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.S) for row in body.split("</tr>")]
    return [row for row in cells if row]


def test_inputs_are_ranked_by_drafts_and_wrong_answers_come_after_them(tmp_path: Path) -> None:
    steep = made(4, 5.0, 2.0)  # no draft flips it
    untouched = msgspec.structs.replace(
        made(5, 9.0, 0.3), drafts={name: drafted(0, 0) for name in ("characters", "words")}
    )
    found = record(*SOME, steep, untouched)
    # 1: drafts flip it; 4 and 0: no draft does, least alike, g decides; 5: the margin stands for
    # the least; 2: wrong; 3: no numbers
    assert [row.index for row in found.ranked()] == [1, 4, 0, 5, 2, 3]
    texts = [(text,) for text in (*TEXTS, "steep", "untouched")]
    path = condition_page.write_page(found, texts, tmp_path, "inputs.csv")
    page = path.read_text()
    table = rows(page)
    assert [row[0] for row in table] == ["1", "2", "3", "4", "5", "6"]
    assert [row[1] for row in table] == ["2", "5", "0.5", "9", "1", "–"]
    assert [row[3:5] for row in table] == [["–"] * 2] * 6  # a record that names no word
    assert [row[12] for row in table[:5]] == ["3 of 4", "0 of 4", "0 of 4", "none drawn", "wrong"]
    assert len({len(row) for row in table} | {len(re.findall('<th scope="col"', page))}) == 1
    assert "the list below what it" in page


def test_the_steepest_word_and_what_the_weakest_draft_changes_are_marked(tmp_path: Path) -> None:
    drafts = {"characters": drafted(2), "words": drafted(3)}
    named = msgspec.structs.replace(SOME[0], steepest=Steepest(2, 7, 0.625), drafts=drafts)
    texts = [("first & so", "a <dull> day")]
    edits = {
        "characters": Edited("a <dul> day", ((3, 6),)),
        "words": Edited("a <bland> hour", ((3, 8), (10, 14))),
    }
    path = condition_page.write_page(record(named), texts, tmp_path, "inputs.csv", [edits])
    (row,) = rows(path.read_text())
    assert row[2] == "first &amp; so | a <mark>&lt;dull</mark>&gt; day"
    assert row[3] == "&lt;dull, 0.62"
    assert row[4] == "a &lt;<mark>bland</mark>&gt; <mark>hour</mark>"  # the least of both families


def test_texts_and_names_are_escaped(tmp_path: Path) -> None:
    texts = [(text,) for text in TEXTS]
    page = condition_page.write_page(record(*SOME), texts, tmp_path, "inputs.csv").read_text()
    assert "alert(1)" in page
    check_closed(page)


def test_a_long_table_ends_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(condition_page, "MOST_ROWS", 3)
    texts = [(text,) for text in TEXTS]
    page = condition_page.write_page(record(*SOME), texts, tmp_path, "inputs.csv").read_text()
    assert len(rows(page)) == 3 and "1 more stand in inputs.csv" in page


def test_the_finding_compares_gradients_of_flipped_inputs_with_the_others() -> None:
    assert conditioning.finding(record(*SOME)) == (
        "Some random draft flips 1 of 2 inputs answered as labelled. Their median g is 2, the "
        "others' 0.5."
    )
    assert conditioning.finding(record(SOME[0])) == (
        "Some random draft flips 0 of 1 inputs answered as labelled."
    )
    assert conditioning.finding(record(SOME[3])) == "No input is answered as labelled."


def test_the_figure_shows_each_kind_and_the_growth_of_drafts() -> None:
    figure = conditioning.draw(record(*SOME))
    gradients, growth = figure.axes
    points = {
        line.get_marker(): (list(line.get_xdata()), list(line.get_ydata()))
        for line in gradients.lines
        if len(line.get_xdata()) == 1
    }
    assert points == {"o": ([1.0], [0.5]), "v": ([0.5], [2.0]), "x": ([-0.25], [1.0])}
    assert [1.0, 1.2, 1.5] in [list(line.get_ydata()) for line in growth.lines]


@pytest.mark.parametrize("inputs", [SOME[3:], (made(0, 0.0, 1.0),)])
def test_records_without_numbers_are_drawn(inputs: tuple[Input, ...]) -> None:
    lost = tuple(
        msgspec.structs.replace(row, drafts={name: drafted(0, 0) for name in row.drafts})
        for row in inputs
    )
    assert len(conditioning.draw(record(*lost)).axes) == 2
