"""The points that the page reads out stand where matplotlib draws them, and say their values."""

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from page_checks import check_names

from figures import readings, style, template

PLACES = ["layer 0", "layer 1", "layer 2"]


def drawn(values: np.ndarray, scale: str = "linear") -> Figure:
    """One panel, with a marker at each value and the same values left to be read."""
    with style.house():
        figure = Figure(figsize=(4, 3), layout="constrained")
        panel = figure.subplots()
        for row in values:
            panel.plot([0, 1, 2], row, "o", color="k")
        panel.set_yscale(scale)
    examples = xr.DataArray(values, dims=("text", "layer"), coords={"text": range(len(values))})
    readings.leave(panel, "growth", PLACES, np.arange(3), examples, "#123456")
    return figure


def shown(figure: Figure, folder: Path, name: str = "growth") -> template.Shown:
    return template.shown(figure, folder, name, "finding", "Caption.", kinds=["svg"])


def numbers(path: str) -> np.ndarray:
    return np.array(re.findall(r"M(-?[\d.]+) (-?[\d.]+)h0", path), dtype=float)


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_points_are_where_the_markers_are(scale: str, tmp_path: Path) -> None:
    values = np.array([[1.0, 2.0, 30.0], [0.5, 4.0, 8.0]])
    found = shown(drawn(values, scale), tmp_path)
    uses = re.findall(
        r'<use [^>]*x="([\d.]+)" y="([\d.]+)"[^>]*style="stroke:#000000"', found.drawing
    )
    markers = np.array(uses, dtype=float).reshape(2, 3, 2)
    (group,) = found.groups
    assert [row.who for row in group.rows] == ["", "t0", "t1"]
    for row, expected in zip(group.rows[1:], markers, strict=True):
        # both are rounded, to a tenth and to a hundredth of a point
        np.testing.assert_allclose(numbers(row.path), expected, atol=0.056)
    assert group.places == "layer 0|layer 1|layer 2" and group.rows[1].values == "1|2|30"


def test_the_summary_stands_first_and_says_the_spread(tmp_path: Path) -> None:
    found = shown(drawn(np.array([[1.0, 1, 1], [2, 2, 2], [4, 4, 4]])), tmp_path)
    assert found.groups[0].rows[0].values.split("|")[0] == "2 (80 % from 1.2 to 3.6)"


def test_what_is_not_finite_has_no_point_and_what_is_beyond_stands_on_the_frame(
    tmp_path: Path,
) -> None:
    figure = drawn(np.array([[1.0, np.nan, 50.0]]))
    figure.axes[0].set_ylim(0, 10)
    found = shown(figure, tmp_path)
    row = found.groups[0].rows[1]
    assert row.values == "1||50, beyond the frame"
    points = numbers(row.path)
    box = re.findall(r"[\d.]+", re.findall(r'<path d="([^"]*)"', found.drawing)[1])
    assert len(points) == 2 and points[1, 1] == pytest.approx(min(map(float, box[1::2])), abs=0.06)


def test_a_panel_without_numbers_has_nothing_to_read(tmp_path: Path) -> None:
    assert shown(drawn(np.full((2, 3), np.nan)), tmp_path).groups == []


def test_reading_changes_no_limits() -> None:
    panel = Figure().subplots()
    panel.plot([0, 1], [0, 1])
    before = (panel.get_xlim(), panel.get_ylim())
    far = xr.DataArray([[900.0]], dims=("text", "layer"), coords={"text": [0]})
    readings.leave(panel, "far", ["layer 0"], np.array([77.0]), far, "k")
    assert (panel.get_xlim(), panel.get_ylim()) == before


def test_pairs_and_texts_have_different_names() -> None:
    plain = xr.DataArray([1.0, 2.0], dims="text", coords={"text": [3, 5]})
    edits = xr.DataArray([1.0], dims="pair", coords={"pair": [4], "kind": ("pair", ["typo"])})
    assert readings.who_of(plain) == ["t3", "t5"] and readings.who_of(edits) == ["p4"]


def test_two_figures_of_one_page_share_no_names(tmp_path: Path) -> None:
    figures = [shown(drawn(np.ones((1, 3))), tmp_path, name) for name in ("one", "two")]
    check_names("".join(figure.drawing for figure in figures))
    # a style of one would be a style of all
    assert all("<style" not in figure.drawing for figure in figures)


def test_a_drawing_is_much_smaller_than_its_file(tmp_path: Path) -> None:
    found = shown(drawn(np.random.default_rng(0).random((40, 3))), tmp_path)
    whole = (tmp_path / "growth.svg").stat().st_size
    assert len(found.drawing) < 0.8 * whole
    outside_glyphs = re.sub(r"<defs>.*?</defs>", "", found.drawing, flags=re.S)
    paths = "".join(re.findall(r' d="([^"]*)"', outside_glyphs))
    assert not re.search(r"\.\d{3}", paths)
