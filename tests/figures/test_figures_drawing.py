"""What holds for every figure: where it draws, its labels, its colours, and that odd data do not
break it.
"""

from collections.abc import Callable

import numpy as np
import pytest
import synthetic
from drawing_checks import draw_on_given_axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from analysis.run import Measurements
from figures import growth, propagation, spectra, stability_map, style

DRAWINGS: dict[str, Callable[..., Figure]] = {
    "propagation": propagation.draw,
    "linearity": propagation.draw_linearity,
    "spectra": spectra.draw,
    "stability_map": stability_map.draw,
    "growth": growth.draw,
    "advantage": growth.draw_advantage,
}
SYMBOLS = {  # what the axes must say: x, y
    "propagation": ("$l$", "G_l"),
    "linearity": (r"\|\delta_0\|", "G_L"),
    "spectra": (r"z = h\lambda", "Im"),
    "stability_map": ("$h$", "layer"),
    "growth": ("layer", "growth"),
    "advantage": ("layer", r"\|E\delta\|\,/\,\|M^{-1}\delta\|"),
}
every_drawing = pytest.mark.parametrize("name", DRAWINGS)


ODD: dict[str, Callable[[], Measurements]] = {
    "empty": synthetic.empty,
    "one layer": lambda: synthetic.summary(
        layers=1, texts=1, kinds={}, dense=False, steps=[0.5], map_steps=[0.5]
    ),
    "one text": lambda: synthetic.summary(layers=2, texts=1, kinds={"gaussian": 1}),
    "stable": lambda: synthetic.summary(layers=2, stable=True, kinds={"typo": 3}),
    "unconverged": lambda: synthetic.summary(layers=2, converged=False),
    "not a number": lambda: synthetic.not_a_number(synthetic.summary(layers=2, texts=3)),
    "hostile names": lambda: synthetic.summary(layers=2, kinds={"_$\\frac{": 2, "<b>": 3}),
}


def shown_colours(figure: Figure) -> set[str]:
    lines = [line for ax in figure.axes for line in ax.get_lines()]
    return {to_hex(line.get_color()).upper() for line in lines} | {
        to_hex(colour).upper()
        for ax in figure.axes
        for drawn in ax.collections
        for colour in drawn.get_edgecolor()
    }


@every_drawing
def test_draws_a_figure_of_its_own(name: str) -> None:
    figure = DRAWINGS[name](synthetic.summary(layers=3, texts=4))
    assert figure.axes and any(ax.has_data() for ax in figure.axes)
    figure.draw_without_rendering()


@every_drawing
def test_draws_on_a_given_axes_and_makes_no_figure(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = draw_on_given_axes(DRAWINGS[name], synthetic.summary(layers=3, texts=4), monkeypatch)
    figure.draw_without_rendering()


@every_drawing
def test_a_panel_anywhere_in_a_grid_is_labelled(name: str) -> None:
    panel = Figure().subplots(2, 3)[0, 2]
    DRAWINGS[name](synthetic.summary(layers=3, texts=4), ax=panel)
    assert panel.get_xlabel() and panel.get_ylabel()


@every_drawing
def test_fills_an_array_of_axes(name: str) -> None:
    axes = Figure().subplots(2, 3)
    DRAWINGS[name](synthetic.summary(layers=6, texts=2), ax=axes)
    filled = {"linearity": 1, "advantage": 1, "growth": 2, "stability_map": 2}.get(name, 6)
    assert [ax.has_data() for ax in axes.ravel()] == [i < filled for i in range(6)]


@every_drawing
def test_axes_say_their_symbols(name: str) -> None:
    axes = DRAWINGS[name](synthetic.summary(layers=3, texts=4)).axes
    x, y = SYMBOLS[name]
    assert any(x in ax.get_xlabel() for ax in axes) and any(y in ax.get_ylabel() for ax in axes)


def test_the_logarithmic_norm_has_a_panel_of_its_own() -> None:
    assert any(r"h\mu_2" in ax.get_ylabel() for ax in growth.draw(synthetic.summary(layers=2)).axes)


@pytest.mark.parametrize("name", ["propagation", "linearity", "spectra", "growth"])
def test_colours_mean_the_same_everywhere(name: str) -> None:
    assert {style.COLOURS["explicit"], style.COLOURS["implicit"]} <= shown_colours(
        DRAWINGS[name](synthetic.summary(layers=3))
    )


def test_truncated_solvers_and_the_lemniscate_have_their_colours() -> None:
    assert {style.COLOURS["truncated"], style.COLOURS["lemniscate"]} <= shown_colours(
        spectra.draw(synthetic.summary(layers=1))
    )


def test_growth_one_is_the_middle_of_the_colour_map() -> None:
    colours, norm = style.growth_colours(np.array([0.5, 3.0, np.nan]))
    assert float(norm(1.0)) == pytest.approx(0.5) and float(norm(3.0)) == pytest.approx(1.0)
    red, green, blue, _ = colours(0.5)
    assert min(red, green, blue) > 0.95


@every_drawing
@pytest.mark.parametrize("case", ODD)
def test_odd_data_neither_raise_nor_warn(name: str, case: str) -> None:
    DRAWINGS[name](ODD[case]()).draw_without_rendering()


@pytest.mark.parametrize("draw", [propagation.draw, propagation.draw_linearity, growth.draw])
def test_a_step_size_that_was_not_measured_is_refused(draw: Callable[..., Figure]) -> None:
    with pytest.raises(ValueError, match=r"step_size must be one of \[0\.25, 0\.5, 1\.0\], got 3"):
        draw(synthetic.summary(layers=1), step_size=3)
