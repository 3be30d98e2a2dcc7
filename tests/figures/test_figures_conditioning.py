"""The page of a conditioning record: ranked without a script, no text of it executed."""

import re
from pathlib import Path

import msgspec
import pytest
from browser import BROWSER, browser
from page_checks import check_closed

from analysis.conditioning.records import NEAREST, Condition, Drafted, Family, Input, Steepest
from analysis.ground.text_edits import Edited
from figures import condition_page, conditioning

HOSTILE = "<script>alert(1)</script> & \"a\" 'b'"
KINDS = ("characters", "words")
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
    assert [row[2] for row in table[:5]] == ["3 of 4", "0 of 4", "0 of 4", "none drawn", "wrong"]
    assert [row[4] for row in table] == [
        *("−2.9 flips", "0.1 holds", "0.1 holds", "–"),  # of all drafts; –: nothing was drafted
        *("−3.9", "0.1"),  # answered wrong, or without an answer: nothing flips or holds
    ]
    assert [row[6] for row in table] == [*["good"] * 4, "bad, not good", "good"]
    assert [row[8] for row in table] == ["2", "5", "0.5", "9", "1", "–"]
    assert [row[10] for row in table] == ["–"] * 6  # a record that names no word
    assert len({len(row) for row in table} | {len(re.findall('<th scope="col"', page))}) == 1
    headings = re.findall('<th scope="col"(.*?)>(.*?)</th>', page)
    names = [name.replace("<br>", " ") for _, name in headings]
    assert names[:6] == [
        *("rank", "text", "characters: flipped", "words: flipped"),
        *("weakest draft: margin", "weakest draft"),
    ]
    folded = [name for name, (kind, _) in zip(names, headings, strict=True) if "folded" in kind]
    assert folded == [
        *("label", "predicted", "relative"),
        *(f"{family}: {name}" for family in found.families for name in ("sd", "least", "growth")),
    ]
    assert page.count("folded") > len(folded) * len(table)
    assert "stands below the table" in page and "without a table" not in page


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
    assert row[1] == "first &amp; so | a <mark>&lt;dull</mark>&gt; day"
    assert row[10] == "&lt;dull, 0.62"
    assert 'data-value="0.625"' in path.read_text()  # by which its column is ordered
    assert row[5] == "a &lt;<mark>bland</mark>&gt; <mark>hour</mark>"  # the least of both families


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


def test_words_that_are_drafted_without_a_table_are_warned_of(tmp_path: Path) -> None:
    near = {"words": Family(4, 3, f"the 8 {NEAREST} by cosine")}
    texts = [(text,) for text in TEXTS]
    for families, warned in (({}, False), (near, True)):
        found = record(*SOME)
        found = msgspec.structs.replace(found, families={**found.families, **families})
        page = condition_page.write_page(found, texts, tmp_path, "inputs.csv").read_text()
        opening = page.split("<h2")[0]
        assert ("opposites among them" in opening) == warned
        assert ("<code>--synonyms FILE</code>" in opening) == warned


def test_the_finding_counts_what_changes_and_compares_gradients() -> None:
    tried = "4 misspellings and 4 exchanges of words of each text were tried, of at most 3 words at"
    assert conditioning.finding(record(*SOME)) == (
        f"Random edits change 1 of 2 right answers: {tried} once. The other 1 held, which does not "
        "make it safe: other edits were not tried."
    )
    alone = msgspec.structs.replace(
        record(SOME[1]), labels_given=False, families={"characters": Family(1, 1, None)}
    )
    assert conditioning.finding(alone) == (
        "Random edits change 1 of 1 answers: 1 misspelling of each text was tried, of at most 1 "
        "word at once."
    )
    assert conditioning.finding(record(SOME[3])) == "No input is answered as labelled."
    changed = [made(i, g, 1.0, 2) for i, g in enumerate((1.0, 3.0, 5.0, 7.0, 9.0))]
    held = [made(9 + i, g, 1.0) for i, g in enumerate((0.0, 2.0, 2.0, 4.0, 4.0))]
    # of 25 pairs the one that changes has the larger g in 1 + 3 + 5 + 5 + 5
    assert " in 76 % of pairs of " in conditioning.finding(record(*changed, *held))
    assert "pairs" not in conditioning.finding(record(*changed, *held[1:]))


def test_the_figures_show_each_kind_and_the_growth_of_drafts() -> None:
    (gradients,) = conditioning.draw(record(*SOME)).axes
    points = {
        line.get_marker(): (list(line.get_xdata()), list(line.get_ydata()))
        for line in gradients.lines
        if len(line.get_xdata()) == 1
    }
    assert points == {"o": ([1.0], [0.5]), "v": ([0.5], [2.0]), "x": ([-0.25], [1.0])}
    (growth,) = conditioning.draw_growth(record(*SOME)).axes
    assert [1.0, 1.2, 1.5] in [list(line.get_ydata()) for line in growth.lines]
    assert conditioning.growth_finding(record(*SOME)) == (
        "After all layers the median is 1.5 times with misspellings."
    )


def test_a_large_gradient_does_not_crush_the_others_and_none_stands_on_the_edge() -> None:
    figure = conditioning.draw(record(made(0, 0.2, 1.0), made(1, 48.0, 2.0), made(2, 0.0, 9.0)))
    (ax,) = figure.axes
    figure.draw_without_rendering()
    height = {
        value: float(ax.transAxes.inverted().transform(ax.transData.transform((1.0, value)))[1])
        for value in (0.2, 1.0, 48.0)
    }
    assert height[0.2] > 0 and height[48.0] < 1
    assert height[1.0] - height[0.2] > 0.2  # on a linear axis 0.02
    (edge,) = (line for line in ax.lines if list(line.get_xdata()) == [9.0])
    ends = ax.transAxes.inverted().transform(edge.get_transform().transform([(9.0, 0.0)]))[0]
    assert ends[1] == pytest.approx(0) and 0 < ends[0] < 1


@pytest.mark.parametrize("inputs", [SOME[3:], (made(0, 0.0, 1.0),)])
def test_records_without_numbers_are_drawn(inputs: tuple[Input, ...]) -> None:
    lost = tuple(
        msgspec.structs.replace(row, drafts={name: drafted(0, 0) for name in row.drafts})
        for row in inputs
    )
    for draw in (conditioning.draw, conditioning.draw_growth):
        figure = draw(record(*lost))
        figure.draw_without_rendering()
        assert len(figure.axes) == 1


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no browser")
def test_what_ranks_is_on_the_screen_and_the_rest_is_shown_on_demand(tmp_path: Path) -> None:
    text = "the museum shop was a waste of a whole evening and left us all without a map"
    named = msgspec.structs.replace(
        SOME[1], steepest=Steepest(4, 10, 0.5), drafts={name: drafted(2) for name in KINDS}
    )
    wrong = msgspec.structs.replace(named, index=1, predicted=0, margin=-0.465)
    found = record(named, wrong)
    found = msgspec.structs.replace(found, model="runs/mine", labels=["negative", "positive"])
    edits = [{"characters": Edited(text, ((4, 10),))}] * 2
    path = condition_page.write_page(found, [(text,)] * 2, tmp_path, "inputs.csv", edits)
    right = "Math.max(...Array.from(document.querySelectorAll('thead th:nth-child(-n + {})'), "
    right += "head => head.getBoundingClientRect().right))"
    box = "document.querySelector('.ranked .scroll')"
    with browser(tmp_path) as page:
        for width, columns in ((400, 4), (1280, 11), (1900, 11)):
            page.open(path, width, script=False)
            end = page.evaluate(f"{box}.getBoundingClientRect().right")
            assert page.evaluate(right.format(columns)) <= end <= width, width
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            pictures = "Array.from(document.querySelectorAll('figure .scroll'))"
            assert page.evaluate(f"{pictures}.every(one => one.scrollWidth <= one.clientWidth)")
        assert page.evaluate(f"{box}.clientWidth") > 1500  # the page uses the width
        shown = (
            "Array.from(document.querySelectorAll('thead th')).filter(e => e.offsetWidth).length"
        )
        assert page.evaluate(shown) == 11
        page.click(*page.centre(".unfold"))
        assert page.evaluate(shown) == 11 + 3 + 2 * 3
