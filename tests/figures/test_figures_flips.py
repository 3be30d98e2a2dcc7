"""The pictures and the page of a verdict on flips show the numbers of its record."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import synthetic_flips
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from page_checks import check_closed

from figures import style
from figures.flips import PRIMARY, draw_fates, draw_flip_rates, draw_scores, shown_fates
from figures.flips_groups import draw_groups
from figures.flips_page import write_page

ROWS = ["confidence", "gradient", "words growth 2"]


def markers(ax: Axes) -> list[tuple[float, float, str]]:
    return [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]), str(line.get_markerfacecolor()))
        for line in ax.lines
        if line.get_marker() == "o" and len(line.get_xdata())
    ]


def test_scores_stand_at_their_values_beside_confidence() -> None:
    figure = draw_scores(synthetic_flips.flips())
    assert len(figure.axes) == 2
    ticks = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert ticks == ROWS, "of growth the last level alone"
    for panel, primary in zip(figure.axes, (True, False), strict=True):
        found = markers(panel)
        right, unflipped = found[:3], found[3:]
        assert [x for x, _, _ in right] == pytest.approx([0.6, 0.75, 0.55])
        assert [x for x, _, _ in unflipped] == pytest.approx([0.5, 0.65, 0.45])
        assert {face for _, _, face in unflipped} == {"white"}
        assert (right[1][2] == PRIMARY) == primary
        dashed = [line for line in panel.lines if line.get_linestyle() == "--"]
        assert [line.get_xdata()[0] for line in dashed] == pytest.approx([0.6])


def test_flip_rates_stand_over_what_was_predicted() -> None:
    figure = draw_flip_rates(synthetic_flips.flips())
    assert len(figure.axes) == 2
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
    series = [line for line in lines if line.get_marker() not in ("", "None")]
    assert len(series) == 3
    for line in series:
        assert np.allclose(line.get_xdata(), [0.2, 0.6])
        assert np.allclose(line.get_ydata(), [0.25, 1.0])


def test_fates_of_all_models_are_drawn_over_those_of_each() -> None:
    record = synthetic_flips.flips()
    assert [fate.model for fate in shown_fates(record)] == ["all"]
    (panel,) = draw_fates(record).axes
    thick = [line for line in panel.lines if line.get_marker() not in ("", "None")]
    assert np.allclose(thick[0].get_ydata(), [0.5, 0.7, 0.9])
    assert np.isnan(thick[2].get_ydata()[0]), "what is not known is not drawn"
    levels = [line for line in panel.lines if len(line.get_xdata()) == 3]
    assert len(levels) == 3 + 2 * 3
    of_two_depths = msgspec.structs.replace(record, fates=record.fates[1:])
    assert len(draw_fates(of_two_depths).axes) == 2


@pytest.mark.parametrize("few", [False, True])
def test_what_is_missing_is_not_drawn(few: bool) -> None:
    record = synthetic_flips.flips(fates=False, few=few, fitted=False)
    draw_scores(record)
    for figure in (draw_flip_rates(record), draw_fates(record)):
        assert len(figure.axes) == 1 and len(figure.axes[0].texts) == 1


def test_on_a_panel_of_somebody_else() -> None:
    ax = Figure().subplots()
    assert draw_scores(synthetic_flips.flips(), ax) is ax.figure
    assert len(markers(ax)) == 6


def test_the_page_begins_with_the_primary_outcome(tmp_path: Path) -> None:
    record = synthetic_flips.flips()
    page = write_page(record, tmp_path).read_text(encoding="utf-8")
    assert "Fixed beforehand: &lt;b&gt;g&lt;/b&gt; &amp; confidence." in page
    assert page.index("Fixed beforehand:") < page.index("11 other comparisons")
    assert "<i>0</i>" not in page and "&lt;i&gt;0&lt;/i&gt;" in page
    assert page.count('scope="row">gradient *') == 1, "fixed for the characters alone"
    assert "0.75 [0.70, 0.80]" in page and "+0.150 [+0.100, +0.200]" in page
    check_closed(page)
    for name in ("flips_scores", "flips_rates", "flips_fates"):
        assert (tmp_path / f"{name}.png").exists()


@pytest.mark.slow
def test_a_slope_that_is_not_known_is_a_dash(tmp_path: Path) -> None:
    record = synthetic_flips.flips()
    first, *others = record.rankings
    assert first.calibration is not None
    fits = [msgspec.structs.replace(fit, slope=None) for fit in first.calibration.fits]
    calibration = msgspec.structs.replace(first.calibration, fits=fits)
    rankings = [msgspec.structs.replace(first, calibration=calibration), *others]
    changed = msgspec.structs.replace(record, rankings=rankings)
    page = write_page(changed, tmp_path).read_text(encoding="utf-8")
    table = page[page.index("Predicted flip rates for") :].partition("</table>")[0]
    assert table.count("<td>–</td>") == len(fits) and "nan" not in table


def test_a_page_without_fits_and_edits(tmp_path: Path) -> None:
    record = synthetic_flips.flips(fates=False, few=True, fitted=False)
    page = write_page(record, tmp_path).read_text(encoding="utf-8")
    assert "Too few sentences flip, or hold, to fit flip rates." in page
    assert "Fate by depth" not in page and not (tmp_path / "flips_fates.svg").exists()


def test_groups_stand_at_their_gains_with_the_primary_ones_marked() -> None:
    figure = draw_groups(synthetic_flips.grouped())
    assert figure.get_figwidth() == style.WIDTH
    gains, transfers = figure.axes
    ticks = [tick.get_text() for tick in gains.get_yticklabels()]
    assert ticks == [
        f"sst2, {kind}, characters (n = 50)" for kind in ("all kinds", "bert", "im-bert")
    ]
    found = markers(gains)
    assert [x for x, _, _ in found] == pytest.approx([0.15] * 3 + [0.05] * 3)
    assert [face == PRIMARY for _, _, face in found] == [False, True, True, False, False, False]
    assert {face for _, _, face in found[3:]} == {"white"}
    marks = {
        str(line.get_marker()): float(line.get_xdata()[0])
        for line in transfers.lines
        if line.get_marker() in ("D", "s")
    }
    assert marks == pytest.approx({"D": 0.08, "s": -0.03})


def test_one_attack_of_two_kinds_is_two_panels() -> None:
    figure = draw_scores(synthetic_flips.grouped())
    titles = [panel.get_title().split(":")[0] for panel in figure.axes]
    assert titles[1:] == ["sst2, bert\ncharacters", "sst2, im-bert\ncharacters"]
    assert all(len(markers(panel)) == 2 * len(ROWS) for panel in figure.axes)
