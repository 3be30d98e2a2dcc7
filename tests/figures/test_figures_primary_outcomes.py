"""The figure of all studies shows the numbers of their records."""

import csv
import json
import re
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import style
from figures.flips import PRIMARY
from figures.primary_outcomes import draw, main, read_outcomes, table

STUDIES = Path(__file__).parents[2] / "docs" / "studies"
LIST = """
[[panel]]
unit = "points"
scale = 100
limit = 10
digits = 1

[[panel.outcome]]
label = "a study: implicit − $BERT$"
role = "implicit"
record = "one/study.json"
at = "models[name=im-bert].all"
value = "mean"
count = "models[name=im-bert].pairs"
of = "pairs"
seeds = "models[name=im-bert].pairs"

[[panel.outcome]]
label = "a study: dropout"
role = "explicit"
record = "one/study.json"
at = "models[name=dropout].all"
value = "mean"
note = "a control"

[[panel.outcome]]
label = "a plan"
role = "implicit"
note = "planned"

[[panel]]
unit = "AUROC"
limit = 0.2

[[panel.outcome]]
label = "g"
role = "gradient"
record = "flips.json"
at = "gain"
seeds = "seeds"
"""
STUDY = {
    "models": [
        {
            "name": "im-bert",
            "all": {"mean": 0.015, "low": -0.02, "high": 0.05},
            "pairs": [131, 131],
        },
        {"name": "dropout", "all": {"mean": 0.01, "low": -0.6, "high": 0.04}},
    ]
}
FLIPS = {"gain": {"value": 0.091, "low": 0.079, "high": 0.105}, "seeds": 1}


@pytest.fixture
def outcomes(tmp_path: Path) -> Path:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "study.json").write_text(json.dumps(STUDY))
    (tmp_path / "flips.json").write_text(json.dumps(FLIPS))
    (tmp_path / "outcomes.toml").write_text(LIST, encoding="utf-8")
    return tmp_path / "outcomes.toml"


def points(ax: Axes) -> dict[float, tuple[float, str]]:
    """Each outcome's number and colour by its place."""
    return {
        float(line.get_ydata()[0]): (float(line.get_xdata()[0]), str(line.get_color()))
        for line in ax.lines
        if line.get_marker() in "osD^" and line.get_marker() != "None"
    }


def intervals(ax: Axes) -> list[list[float]]:
    return [segment[:, 0].tolist() for lines in ax.collections for segment in lines.get_segments()]


def test_outcomes_stand_at_their_numbers_in_the_colours_of_their_methods(outcomes: Path) -> None:
    figure = draw(read_outcomes(outcomes), outcomes.parent)
    accuracy, auroc = figure.axes
    found = points(accuracy)
    assert found[0] == pytest.approx((1.5, style.COLOURS["implicit"]))
    assert found[1] == pytest.approx((1.0, style.COLOURS["explicit"]))
    assert found.keys() == {0, 1}, "a plan has no number"
    assert intervals(accuracy)[0] == pytest.approx([-2.0, 5.0])
    assert points(auroc)[0] == pytest.approx((0.091, PRIMARY))
    assert intervals(auroc) == [pytest.approx([0.079, 0.105])]
    assert [text.get_text() for text in accuracy.texts] == [
        *("+1.5 [−2.0, +5.0]", "262 pairs, 2 seeds"),
        *("+1.0 [−60.0, +4.0]", "a control"),
        *("planned", ""),
    ]
    assert [text.get_text() for text in auroc.texts] == ["+0.09 [+0.08, +0.10]", "1 seed"]
    assert accuracy.get_xlabel() == "points" and auroc.get_xlabel() == "AUROC"
    labels = [tick.get_text() for tick in accuracy.get_yticklabels()]
    assert labels == [r"a study: implicit − \$BERT\$", "a study: dropout", "a plan"]


def test_an_interval_beyond_the_axis_ends_in_an_arrow(outcomes: Path) -> None:
    accuracy, _ = draw(read_outcomes(outcomes), outcomes.parent).axes
    assert intervals(accuracy)[1] == pytest.approx([-10.0, 4.0])
    arrows = [line for line in accuracy.lines if line.get_marker() in ("<", ">")]
    assert [(line.get_marker(), line.get_xdata()[0], line.get_ydata()[0]) for line in arrows] == [
        ("<", -10.0, 1)
    ]


def test_nothing_is_drawn_over_anything(outcomes: Path) -> None:
    figure = draw(read_outcomes(outcomes), outcomes.parent)
    with mpl.rc_context({"savefig.bbox": "tight"}):
        figure.draw_without_rendering()
    for ax in figure.axes:
        boxes = [text.get_window_extent() for text in ax.texts if text.get_text()]
        boxes += [tick.get_window_extent() for tick in ax.get_yticklabels()]
        assert not any(a.overlaps(b) for a in boxes for b in boxes if a is not b)


def test_somebody_elses_panels_are_drawn_on(outcomes: Path) -> None:
    figure = Figure()
    axes = figure.subplots(2, 1)
    assert draw(read_outcomes(outcomes), outcomes.parent, ax=axes) is figure
    assert not figure.legends and axes[0].get_legend_handles_labels()[1]


def test_the_command_writes_figure_and_table(
    outcomes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(outcomes)]) == 0
    written = outcomes.parent
    assert capsys.readouterr().out.strip() == str(written / "primary_outcomes.svg")
    assert (written / "primary_outcomes.png").exists()
    rows = (written / "primary_outcomes.csv").read_text(encoding="utf-8")
    lines = list(csv.DictReader(rows.splitlines()))
    assert [line["value"] for line in lines] == ["1.5", "1.0", "", "0.091"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('role = "gradient"', 'role = "g"'), "role: expected one of implicit, .*, got g"),
        (("name=im-bert].all", "name=bert].all"), "expected one entry with name=bert, got 0"),
        (('label = "g"', 'title = "g"'), "title"),
        (("[[panel]]", "[[panel"), "outcomes.toml: "),
        (("limit = 10", "limit = 1.2"), r"limit: expected at least \|1.5\|, got 1.2"),
    ],
)
def test_a_wrong_list_is_one_line(
    outcomes: Path, change: tuple[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes.write_text(LIST.replace(*change), encoding="utf-8")
    assert main([str(outcomes)]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert re.search(message, told)


def test_the_published_table_is_that_of_the_records() -> None:
    found = table(read_outcomes(STUDIES / "outcomes.toml"), STUDIES)
    assert (STUDIES / "primary_outcomes.csv").read_text(encoding="utf-8") == found, (
        "run python -m figures.primary_outcomes docs/studies/outcomes.toml"
    )
