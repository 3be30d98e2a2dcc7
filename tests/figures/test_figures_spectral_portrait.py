"""The picture of an operator of one's own: what is drawn, from which record, into which file."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

import odestab as od
from figures import portrait, spectral_portrait, style

MATRIX = [[-1.0, 4.0, 0.0], [0.0, -2.0, 4.0], [0.0, 0.0, -1.5]]


def record(method: Any = "rk4", **options: Any) -> od.SpectralPortrait:
    return od.spectral_portrait(MATRIX, method, 0.5, **{"points": 15, **options})


def labels(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def level_line(figure: Figure) -> np.ndarray:
    """|R(z)| = 1 as it was drawn: the last set of contours."""
    paths = figure.axes[0].collections[-1].get_paths()
    points = np.concatenate([path.vertices for path in paths])
    return points[:, 0] + 1j * points[:, 1]


def test_one_call_draws_what_the_record_holds(tmp_path: Path) -> None:
    path = tmp_path / "mine.svg"
    figure = portrait(MATRIX, "rk4", h=0.5, points=15, path=path)
    again = portrait(record())
    style.write(again, tmp_path / "again.svg")
    assert path.read_bytes() == (tmp_path / "again.svg").read_bytes()
    axes = figure.axes[0]
    assert axes.get_title() == "RK4, $h$ = 0.5"
    assert axes.get_xlabel() == r"$\mathrm{Re}\,z$" and axes.get_ylabel() == r"$\mathrm{Im}\,z$"
    drawn = [line.get_xdata() for line in axes.lines if line.get_marker() == "o"]
    assert sorted(np.concatenate(drawn)) == pytest.approx([-1.0, -0.75, -0.5])
    assert labels(figure) == [
        "eigenvalues of $hJ$",
        r"$\varepsilon$-pseudospectra",
        "numerical range",
        "scaled relative graph",
        "$|R(z)| = 1$",
        "stable: $|R(z)| < 1$",
    ]


@pytest.mark.parametrize("method", ["explicit", "implicit", "rk4", "trapezoidal"])
def test_the_region_is_where_it_is_in_the_colour_of_the_method(method: str) -> None:
    figure = portrait(record(method, parts=[], points=81))
    z = level_line(figure)
    R = {
        "explicit": lambda z: 1 + z,
        "implicit": lambda z: 1 / (1 - z),
        "rk4": lambda z: 1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24,
        "trapezoidal": lambda z: (1 + z / 2) / (1 - z / 2),
    }[method]
    # Cells are 1/14 wide, between whose corners matplotlib takes log|R| for linear.
    assert len(z) > 20 and np.abs(np.abs(R(z)) - 1).max() < 0.05
    colour = style.COLOURS["implicit" if method in ("implicit", "trapezoidal") else "explicit"]
    line = figure.axes[0].collections[-1]
    assert np.allclose(line.get_edgecolor()[0], to_rgba(colour))


def test_parts_that_were_not_asked_for_are_neither_drawn_nor_named() -> None:
    figure = portrait(record(parts=["range"]))
    assert labels(figure) == ["numerical range", "$|R(z)| = 1$", "stable: $|R(z)| < 1$"]
    assert len(figure.axes) == 1, "a colour bar without pseudospectra"
    assert len(figure.axes[0].lines) == 1  # the range; no point of it is doubtful


def test_what_did_not_converge_is_hollow_and_a_bound_is_dashed() -> None:
    made = record()
    unsure = dataclasses.replace(
        made, settled=made.settled & False, complete=False, inner=True, graph_settled=False
    )
    texts = labels(portrait(unsure))
    assert "hollow: not converged" in texts and "leading eigenvalues of $hJ$" in texts
    assert r"$\varepsilon$-pseudospectra, at least this large" in texts
    assert "scaled relative graph, not converged" in texts


def test_it_draws_on_given_axes() -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert spectral_portrait.draw(record(), ax=left) is figure
    assert left.has_data() and not right.has_data() and not figure.legends
    assert left.get_legend_handles_labels()[1]


@pytest.mark.parametrize("value", [0.5, 2.0])
def test_a_function_that_is_stable_nowhere_or_everywhere_has_no_boundary(value: float) -> None:
    figure = portrait(record(lambda z: value, parts=["eigenvalues"]))
    assert figure.axes[0].get_title() == "R(z), $h$ = 0.5"


def test_wrong_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="a computed portrait must come alone, got h, parts too"):
        portrait(record(), h=1.0, parts=["range"])
    with pytest.raises(ValueError, match=r"figure files must end in .*, got mine.gif"):
        portrait(record(parts=[]), path=tmp_path / "mine.gif")
    with pytest.raises(ValueError, match="x must be the state"):
        portrait(lambda y: y)
