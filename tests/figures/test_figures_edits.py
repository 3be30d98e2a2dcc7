"""The page of edits: self-contained, escaped, marked where something was not solved."""

import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from matplotlib.figure import Figure
from page_checks import check_closed, check_names

from analysis.edits.records import Answer, Damping, Edit, Edits, Walk, Words
from analysis.ground.resampling import FEW
from figures import edits, edits_growth, edits_kinds, edits_map, edits_secants, edits_waterfall

HOSTILE = "<script>alert(1)</script> & {{ 7*7 }}"
GROWTH = [1.5, 0.5, 0.9]


def walk(growth: list[float], end: bool, converged: bool = True) -> Walk:
    count = len(growth)
    sizes = [2.0, *(2.0 * np.cumprod(growth)).tolist()]
    return Walk(
        step_sizes=[1.0] * count,
        growth=growth,
        by_secant=growth,
        predicted=[0.7] * count,
        start=[(-0.2, 0.5 + 0.1 * step) for step in range(count)],
        end=[(0.1, 0.4)] * count if end else [],
        converged=[True] * (count - 1) + [converged],
        sizes=sizes,
    )


def edit(index: int, kind: str = "typo", converged: bool = True) -> Edit:
    walks = {
        "explicit": walk(GROWTH, end=False),
        "implicit": walk([0.9, 0.8, 0.7], end=True, converged=converged),
    }
    sizes = walks["explicit"].sizes
    return Edit(
        index=index,
        kind=kind,
        texts=("", ""),
        cluster=index,
        size_whole=sizes,
        size_first=sizes,
        size_read=sizes,
        answer=Answer(0, 2.0, -1.0, -3.0 / sizes[-1], -1.0),
        counts=(4, 4),
        marks=["same", "changed", "removed", "inserted"],
        shared=1,
        size_tokens=[[0.0, 0.5, 1.0, None]] * 4,
        walks=walks,
    )


def words(text: str = "a text") -> Words:
    return Words(text, "another", [("the", "the"), (text, "dog"), ("sat", None), (None, "ran")])


def record(count: int = 1, left_out: int = 0, converged: bool = True, kind: str = "typo") -> Edits:
    measured = [edit(i, kind, converged) for i in range(count)]
    damping = [
        Damping(
            kind=kind,
            method=method,
            step=step,
            pairs=count,
            of=count,
            clusters=count,
            growth=1.1,
            growth_low=None,
            growth_high=1.3,
            damped=0.5,
            damped_low=0.2,
            damped_high=0.8,
        )
        for method in ("explicit", "implicit")
        for step in range(3)
    ]
    return Edits(
        model="bert",
        identity={},
        layers=3,
        edits=measured,
        left_out={str(count + i): "too long" for i in range(left_out)},
        versions={},
        steps=["0", "1", "2"],
        reads="first token",
        labels=["bad", "good"],
        damping=damping,
    )


def page(found: Edits, folder: Path, text: str = "a text", caution: str = "beside") -> str:
    shown = {one.index: words(text) for one in found.edits}
    path = edits.write_page(found, shown, {index: [caution] for index in shown}, folder)
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "draw",
    [edits_growth.draw, edits_waterfall.draw, edits_secants.draw],
    ids=["growth", "waterfall", "secants"],
)
def test_unsolved_steps_are_marked_in_the_legend(draw):
    def labels(figure: Figure) -> list[str]:
        return [text.get_text() for legend in figure.legends for text in legend.get_texts()]

    solved, unsolved = record(), record(converged=False)
    assert "from an unsolved step on" not in labels(draw(solved, solved.edits[0]))
    assert "from an unsolved step on" in labels(draw(unsolved, unsolved.edits[0]))


def test_the_waterfall_adds_up():
    found = record()
    (panel,) = edits_waterfall.draw(found, found.edits[0]).axes
    bars = [bar for bar in panel.patches if bar.get_width() > 0]
    explicit = bars[:4]
    tops = np.cumsum(np.log(GROWTH))
    ends = [bar.get_y() + bar.get_height() for bar in explicit]
    np.testing.assert_allclose(ends, [*tops, tops[-1]], atol=1e-12)
    np.testing.assert_allclose([bar.get_y() for bar in explicit[:3]], [0, *tops[:2]], atol=1e-12)
    assert explicit[3].get_y() == 0


def test_secants_stand_where_the_step_decides():
    found = record()
    (panel,) = edits_secants.draw(found, found.edits[0]).axes
    drawn = {tuple(np.round(line.get_xydata()[0], 12)) for line in panel.lines}
    assert {(-0.2, 0.5), (-0.2, 0.6), (-0.2, 0.7), (0.1, 0.4)} <= drawn
    centres = {patch.center for patch in panel.patches if hasattr(patch, "radius")}
    assert centres == {(-1, 0), (1, 0)}


def test_the_map_is_darkest_where_the_difference_is_largest():
    found = record()
    mapped = edits_map.token_map(found, found.edits[0], words())
    assert mapped.levels == ["before", "0", "1", "2"]
    assert [(row.sign, row.before, row.after) for row in mapped.rows] == [
        ("", "the", ""),
        ("→", "a text", "dog"),
        ("−", "sat", ""),
        ("+", "", "ran"),
    ]
    light = [int(row.cells[0][1][1:3], 16) for row in mapped.rows]
    assert light[0] > light[1] > light[2] and mapped.rows[3].cells[0] == (
        "–",
        mapped.rows[0].cells[0][1],
    )


def test_the_page_needs_nothing_else_and_tells_all(tmp_path):
    text = page(record(count=8, left_out=2), tmp_path)
    check_closed(text)
    check_names(text)
    assert len(re.findall(r"<h2 id=\"pair-", text)) == edits.DRAWN
    assert "2 pairs were measured and not drawn" in text and "Left out (2)" in text
    assert text.count("beside</p>") == edits.DRAWN
    assert "8 of 8 change what the classifier says" in text
    assert len(re.findall(r"<svg class=\"drawn\" role=\"img\"", text)) == 2 + 3 * edits.DRAWN
    written = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"kinds_growth.pdf", "kinds_damped.png", "pair-0_secants.svg"} <= written


@pytest.mark.parametrize(("originals", "bars"), [(FEW - 1, False), (FEW, True)])
def test_few_originals_have_no_intervals(tmp_path, originals, bars):
    """Neither drawn, nor in the table, and the captions say so."""
    found = record(count=originals)
    for draw in (edits_kinds.draw_growth, edits_kinds.draw_damped):
        lines = [each for panel in draw(found).axes for each in panel.collections]
        segments = [segment for line in lines for segment in line.get_segments()]
        drawn = [each for each in segments if len(each) == 2 and np.isfinite(each).all()]
        # of the made-up record the interval of growth has no lower end
        assert bool(drawn) == (bars and draw is edits_kinds.draw_damped)
    text = page(found, tmp_path)
    assert ("0.2 to 0.8" in text) == bars
    assert text.count(edits_kinds.BARS if bars else edits_kinds.NO_BARS) == 2


@pytest.mark.parametrize(
    ("marks", "moved"),
    [
        (["same", "removed", "same"], True),
        (["inserted", "same"], True),
        (["same", "changed", "same"], False),
        (["same", "removed"], False),
        (["removed", "inserted", "same"], False),
    ],
)
def test_the_map_says_that_tokens_behind_a_deletion_have_moved(marks, moved):
    whole = record()
    sizes = [[1.0] * len(marks)] * 4
    found = msgspec.structs.replace(whole.edits[0], marks=marks, size_tokens=sizes)
    columns = Words("a", "b", [("a", "a")] * len(marks))
    caption = edits_map.token_map(whole, found, columns).caption
    assert caption.endswith(edits_map.MOVED) == moved


def test_the_heading_breaks_after_slashes(tmp_path):
    found = msgspec.structs.replace(record(), model="runs/<b>/checkpoint")
    assert "<h1>Edits through runs/<wbr>&lt;b&gt;/<wbr>checkpoint</h1>" in page(found, tmp_path)


def test_one_pair_has_no_summary(tmp_path):
    text = page(record(), tmp_path)
    assert "Edits by kind" not in text and "Not drawn" not in text
    assert "the edit grows by a factor of 0.675 with explicit steps; 0.504 with implicit" in text
    assert "<del>sat</del>" in text and "<ins>ran</ins>" in text


def test_texts_and_kinds_are_escaped(tmp_path):
    text = page(record(count=2, kind=HOSTILE), tmp_path, HOSTILE, HOSTILE)
    check_closed(text)
    assert "49" not in re.sub(
        r"<svg.*?</svg>|<style>.*?</style>|sha256-[^']*", "", text, flags=re.S
    )
    assert text.count("&lt;script&gt;") >= 6


@pytest.mark.slow
def test_the_same_record_gives_the_same_page(tmp_path):
    assert page(record(count=2), tmp_path / "a") == page(record(count=2), tmp_path / "b")


def test_the_kinds_with_most_pairs_are_drawn_first():
    many = [
        msgspec.structs.replace(row, kind=f"kind {count}", of=count)
        for count in range(12)
        for row in record().damping
    ]
    found = msgspec.structs.replace(record(), damping=many)
    titles = [panel.get_title() for panel in edits_kinds.draw_growth(found).axes]
    assert titles == [f"kind {count} ({count} pairs)" for count in range(11, 2, -1)]


@pytest.mark.slow
def test_what_is_no_number_is_drawn_as_nothing(tmp_path):
    """A solve that diverged leaves no growth, no secant and no size."""
    whole = record(converged=False)
    (found,) = whole.edits
    broken = msgspec.structs.replace(
        found.walks["implicit"],
        growth=[0.9, None, None],
        predicted=[0.7, None, None],
        start=[(-0.2, 0.5), (None, None), (None, None)],
        end=[(0.1, 0.4), (None, None), (None, None)],
        sizes=[2.0, 1.8, None, None],
        converged=[True, False, False],
    )
    walks = {**found.walks, "implicit": broken}
    edit = msgspec.structs.replace(found, walks=walks, answer=None)
    rows = [msgspec.structs.replace(row, growth=None, damped=None) for row in whole.damping]
    for count in (1, 2):
        edits_of = [edit, msgspec.structs.replace(edit, index=1)][:count]
        text = page(msgspec.structs.replace(whole, edits=edits_of, damping=rows), tmp_path)
        assert "– with implicit" in text and ">no</td>" in text
