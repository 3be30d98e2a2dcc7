"""The figures of a run of full depth: where they draw, their labels, and that odd data do not break
them.
"""

import functools
from collections.abc import Callable

import numpy as np
import pytest
import synthetic
import synthetic_full
from drawing_checks import draw_on_given_axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from figures import density, directions, exponents, pseudospectra, refinement, style, sublayers

DRAWINGS: dict[str, Callable[..., Figure]] = {
    "pseudospectra": pseudospectra.draw,
    "bounds": pseudospectra.draw_bounds,
    "density": density.draw,
    "directions": directions.draw,
    "sublayers": sublayers.draw,
    "refinement": refinement.draw,
    "exponents": exponents.draw,
}
SYMBOLS = {  # what the axes must say: x, y
    "pseudospectra": (r"\mathrm{Re}\,z", r"\mathrm{Im}\,z"),
    "bounds": (r"\mathrm{Re}\,z", r"\mathrm{Im}\,z"),
    "density": (r"\sigma", "per unit"),
    "directions": ("token position", "layer"),
    "sublayers": ("layer", "worst growth"),
    "refinement": ("h/m", "worst growth"),
    "exponents": ("exponent $i$", "nats per layer"),
}
PANELS = {
    "pseudospectra": 4,
    "bounds": 4,
    "density": 4,
    "directions": 6,
    "sublayers": 2,
    "refinement": 2,
    "exponents": 1,
}  # of two layers
SUMMARY = synthetic_full.summary(layers=2, texts=3, kinds={}, dense=False)
ONE = synthetic_full.summary(layers=1, texts=1, kinds={}, dense=False, steps=[0.5], converged=False)
ODD = {
    "empty": synthetic.empty(),
    "quick depth": synthetic.summary(layers=1, texts=2, kinds={}),
    "one text, unconverged": ONE,
    "not a number": synthetic_full.not_a_number(ONE),
}


@functools.cache
def drawn(name: str) -> Figure:
    """A figure of its own of two layers, for tests that only look at it."""
    return DRAWINGS[name](SUMMARY)


every_drawing = pytest.mark.parametrize("name", DRAWINGS)


@every_drawing
def test_draws_a_figure_of_its_own(name: str) -> None:
    figure = drawn(name)
    assert (
        sum(ax.has_data() for ax in figure.axes if ax.get_label() != "<colorbar>") == PANELS[name]
    )
    figure.draw_without_rendering()


@every_drawing
def test_draws_on_a_given_axes_and_makes_no_figure(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = draw_on_given_axes(DRAWINGS[name], SUMMARY, monkeypatch).axes[0]
    assert not left.get_legend()
    assert left.get_xlabel() and left.get_ylabel()


@every_drawing
def test_axes_say_their_symbols(name: str) -> None:
    axes = drawn(name).axes
    x, y = SYMBOLS[name]
    assert any(x in ax.get_xlabel() for ax in axes) and any(y in ax.get_ylabel() for ax in axes)


@every_drawing
@pytest.mark.parametrize("case", ODD)
def test_odd_data_neither_raise_nor_warn(name: str, case: str) -> None:
    DRAWINGS[name](ODD[case]).draw_without_rendering()


@pytest.mark.parametrize(
    "name", ["pseudospectra", "bounds", "directions", "sublayers", "refinement", "exponents"]
)
def test_the_methods_have_their_colours(name: str) -> None:
    shown = {to_hex(line.get_color()).upper() for ax in drawn(name).axes for line in ax.get_lines()}
    assert {style.COLOURS["explicit"], style.COLOURS["implicit"]} <= shown


@pytest.mark.parametrize("name", ["pseudospectra", "bounds", "density", "refinement"])
def test_one_layer_can_be_chosen(name: str) -> None:
    assert 0 < len(DRAWINGS[name](SUMMARY, layer=1).axes) < len(drawn(name).axes)
    with pytest.raises(ValueError, match=r"layer must be one of \[0, 1\], got 7"):
        DRAWINGS[name](SUMMARY, layer=7)


@pytest.mark.parametrize("name", ["directions", "sublayers", "refinement", "exponents"])
def test_a_step_size_that_was_not_measured_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"step_size must be one of \[0\.25, 0\.5, 1\.0\], got 3"):
        DRAWINGS[name](SUMMARY, step_size=3)


def test_another_step_size_draws_its_own_discs() -> None:
    ax = pseudospectra.draw(SUMMARY, layer=0, step_size=0.5).axes[1]
    disc = next(line for line in ax.get_lines() if line.get_color() == style.COLOURS["explicit"])
    np.testing.assert_allclose(np.hypot(1 + 0.5 * disc.get_xdata(), 0.5 * disc.get_ydata()), 1)
