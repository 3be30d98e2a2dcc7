"""The style lasts as long as its context, and equal figures are equal bytes."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import synthetic
from matplotlib.figure import Figure

from figures import growth, selection, style


def test_the_style_ends_with_its_context() -> None:
    before = mpl.rcParams["font.size"]
    with style.house():
        assert mpl.rcParams["svg.fonttype"] == "path"
    assert mpl.rcParams["font.size"] == before


def test_the_callers_settings_do_not_reach_our_figures(tmp_path: Path) -> None:
    def saved(folder: Path) -> bytes:
        return style.save(growth.draw(synthetic.summary(layers=2)), folder, "growth")[
            "svg"
        ].read_bytes()

    ours = saved(tmp_path / "plain")
    with mpl.rc_context(
        {"font.size": 20, "lines.linewidth": 9, "svg.hashsalt": "other", "xtick.labelsize": 30}
    ):
        assert saved(tmp_path / "other") == ours


def test_three_formats_without_dates(tmp_path: Path) -> None:
    paths = style.save(
        growth.draw(synthetic.summary(layers=2)), tmp_path / "made" / "here", "growth"
    )
    assert {path.name for path in paths.values()} == {"growth.svg", "growth.pdf", "growth.png"}
    assert (
        b"<dc:date>" not in paths["svg"].read_bytes()
        and b"CreationDate" not in paths["pdf"].read_bytes()
    )


def test_no_text_needs_a_font(tmp_path: Path) -> None:
    assert (
        b"<text"
        not in style.save(growth.draw(synthetic.summary(layers=1)), tmp_path, "growth")[
            "svg"
        ].read_bytes()
    )


def test_fewer_axes_than_panels_take_the_first_panels() -> None:
    axes = Figure().subplots(1, 2)
    assert len(style.panels(axes, 5)[1]) == 2


def test_a_text_is_not_read_as_mathematics() -> None:
    assert style.plain("_a$b$") == r"a\$b\$"


def test_bands_are_percentiles_without_what_is_not_finite() -> None:
    values = np.array([[1.0, np.nan], [2.0, np.nan], [np.inf, np.nan], [3.0, np.nan]])
    found = selection.band(values)
    np.testing.assert_allclose(found.median, [2.0, np.nan])
    np.testing.assert_allclose(found.low, [np.quantile([1, 2, 3], 0.1), np.nan])
    assert np.isnan(selection.band(np.zeros((0, 3))).median).all()


@pytest.mark.parametrize(
    ("measured", "wanted", "expected"),
    [([0.5, 1.0, 2.0], None, 1.0), ([0.25, 0.5], None, 0.5), ([0.1], 0.1, 0.1)],
)
def test_the_step_size_drawn(measured: list[float], wanted: float | None, expected: float) -> None:
    assert selection.step_size(measured, wanted) == expected
