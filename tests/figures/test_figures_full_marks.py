"""What the figures of a run of full depth draw is what the records hold."""

import dataclasses

import numpy as np
import pytest
import synthetic_full
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.summary import METHODS, Density
from figures import (
    complex_plane,
    density,
    directions,
    exponents,
    pseudospectra,
    refinement,
    selection,
    style,
    sublayers,
)

SUMMARY = synthetic_full.summary(layers=2, texts=5, kinds={}, dense=False)
SPOILT = synthetic_full.summary(layers=3, texts=3, kinds={}, dense=False, converged=False)


def lines_of(ax: Axes, colour: object, marker: str | None = None) -> list[Line2D]:
    return [
        line
        for line in ax.get_lines()
        if line.get_color() == colour and (marker is None or line.get_marker() == marker)
    ]


def legend_of(figure: Figure) -> str:
    return "\n".join(entry.get_text() for legend in figure.legends for entry in legend.get_texts())


def hollow(ax: Axes) -> int:
    return sum(
        len(line.get_xdata())
        for line in ax.get_lines()
        if line.get_marker() == "o" and line.get_markerfacecolor() == "white"
    )


def test_the_lower_half_plane_mirrors_the_upper_one() -> None:
    im, level = complex_plane.both_halves(
        np.array([0.0, 1.0, 2.0]), np.array([[1.0, 10.0], [0.1, 1.0], [np.nan, 0.01]])
    )
    np.testing.assert_array_equal(im, [-2, -1, 0, 1, 2])
    np.testing.assert_allclose(
        level, [[np.nan, -2], [-1, 0], [0, 1], [-1, 0], [np.nan, -2]], atol=1e-15
    )
    apart, _ = complex_plane.both_halves(np.array([0.5, 1.0]), np.ones((2, 1)))
    np.testing.assert_array_equal(apart, [-1, -0.5, 0.5, 1])


def test_the_levels_are_those_of_a_normal_matrix() -> None:
    """σ_min(zI) = |z|: the line of level −0.5 is the circle of radius 10^(−1/2), to the spacing of
    the grid.
    """
    re, im = np.linspace(-2, 2, 81), np.linspace(0, 2, 41)
    one = dataclasses.replace(
        SUMMARY.nonnormality[0], re=re, im=im, sigma_min=np.abs(re[None, :] + 1j * im[:, None])
    )
    close = pseudospectra.draw(dataclasses.replace(SUMMARY, nonnormality=(one,))).axes[1]
    lines = next(
        drawn
        for drawn in close.collections
        if isinstance(drawn, QuadContourSet) and not drawn.filled
    )
    circle = lines.get_paths()[list(lines.levels).index(-0.5)].vertices
    radii = np.hypot(circle[:, 0], circle[:, 1])
    np.testing.assert_allclose(radii, 10**-0.5, rtol=0.01)


def test_pseudospectra_draw_eigenvalues_range_and_discs() -> None:
    one = SUMMARY.nonnormality[0]
    whole, close = pseudospectra.draw(SUMMARY, layer=0).axes[:2]
    boundary = lines_of(whole, complex_plane.RANGE)[0]
    np.testing.assert_allclose(
        boundary.get_xdata() + 1j * boundary.get_ydata(), [*one.boundary, one.boundary[0]]
    )
    for method, sign in (("explicit", 1), ("implicit", -1)):
        disc = lines_of(close, style.COLOURS[method])[0]
        np.testing.assert_allclose(np.abs(1 + sign * (disc.get_xdata() + 1j * disc.get_ydata())), 1)
    drawn = sum(len(line.get_xdata()) for line in lines_of(close, style.INK, "o"))
    bulk = int((np.abs(one.eigenvalues + 1) <= 1e-3).sum())
    assert (
        bulk == 4
        and drawn == len(one.eigenvalues) - bulk
        and "×4" in [text.get_text() for text in close.texts]
    )


def test_titles_give_departure_gap_and_the_kind_of_the_kreiss_constant() -> None:
    bound = dataclasses.replace(
        SUMMARY.nonnormality[0],
        henrici=3.0,
        frobenius=4.0,
        spectral_abscissa=0.5,
        logarithmic_norm=2.0,
    )
    bound = dataclasses.replace(bound, kreiss=7.0, kreiss_scale=1.25, kreiss_kind="bound")
    exact = dataclasses.replace(bound, kreiss_scale=1.0, kreiss_kind="exact")
    for one, kreiss in ((bound, "$K(E/1.25)$ ≥ 7"), (exact, "$K(E)$ = 7")):
        whole, close = pseudospectra.draw(dataclasses.replace(SUMMARY, nonnormality=(one,))).axes[
            :2
        ]
        assert (
            "= 0.75" in whole.get_title()
            and "$ = 1.5" in close.get_title()
            and kreiss in close.get_title()
        )


def test_bounds_say_that_they_are_bounds_and_mark_what_did_not_converge() -> None:
    figure, exact = pseudospectra.draw_bounds(SPOILT), pseudospectra.draw(SPOILT)
    assert "at least this large" in legend_of(figure) and "at least" not in legend_of(exact)
    assert (
        "upper bound" in figure.axes[-1].get_xlabel()
        and "upper bound" not in exact.axes[-1].get_xlabel()
    )
    assert [hollow(ax) for ax in figure.axes[:6:2]] == [
        2,
        2,
        2,
    ] and "boundary point not converged" in legend_of(figure)
    assert "not converged" not in legend_of(pseudospectra.draw_bounds(SUMMARY))


def test_the_typical_text_is_the_median_one_in_every_layer() -> None:
    reach = np.array([1.0, 3.0, 2.0, 9.0, 0.5])
    bounds = synthetic_full.changed(
        SUMMARY,
        "bounds",
        texts=lambda _: (4, 5, 6, 7, 8),
        boundary=lambda _: reach[:, None] * np.array([1, 1j, -1, -1j]),
    ).bounds
    np.testing.assert_array_equal(pseudospectra.abscissae(bounds[0]), reach)
    assert pseudospectra.typical_text(bounds) == 6 and pseudospectra.typical_text(()) == 0


def test_a_density_of_squares_becomes_one_of_singular_values() -> None:
    squares = np.linspace(0, 9, 3001)
    one = Density(
        0, "gram", squares, np.full((1, 3001), 1 / 9), np.full((1, 3001), 0.01 / 9)
    )  # uniform on [0, 9]
    found = density.per_unit_length(one)
    np.testing.assert_allclose(found.points, np.sqrt(squares))
    np.testing.assert_allclose(np.trapezoid(found.density, found.points), 1, rtol=1e-6)
    share, error = density.share_above(found, 1.0)
    np.testing.assert_allclose(
        [share[0], error[0]], [8 / 9, 0.01 * 8 / 9], rtol=1e-3
    )  # of order of the spacing at the border


def test_a_density_shows_texts_and_probes_apart() -> None:
    one = next(one for one in SUMMARY.densities if one.of == "symmetric" and one.layer == 0)
    gram, symmetric = density.draw(SUMMARY, layer=0).axes[:2]
    solid = next(
        line
        for line in symmetric.get_lines()
        if line.get_linestyle() == "-" and len(line.get_xdata()) > 2
    )
    shown = solid.get_ydata() > symmetric.get_ylim()[0]
    np.testing.assert_allclose(solid.get_ydata()[shown], np.median(one.density, axis=0)[shown])
    dotted = [line for line in symmetric.get_lines() if line.get_linestyle() == ":"]
    upper = np.median(one.density, axis=0) + np.median(one.error, axis=0)
    np.testing.assert_allclose(dotted[1].get_ydata()[shown], upper[shown])
    assert len(dotted) == 2 and symmetric.get_yscale() == "log"
    assert [
        line.get_xdata()[0] for ax in (gram, symmetric) for line in lines_of(ax, style.GUIDE)
    ] == [1, 0]


def test_shares_by_position_lose_nothing() -> None:
    shares = np.full((3, 12), np.nan)
    shares[0] = np.arange(1, 13) / 78
    shares[1, :3] = 0.5, 0.2, 0.3
    names, columns = directions.by_position(shares)
    assert names == ["0", "1", "2", "3", "4", "5", "rest", "last"]
    np.testing.assert_allclose(columns[0], np.array([1, 2, 3, 4, 5, 6, 45, 12]) / 78)
    np.testing.assert_allclose(columns[1], [0.5, 0.2, *[np.nan] * 5, 0.3])
    assert np.isnan(columns[2]).all()
    np.testing.assert_allclose(np.nansum(columns[:2], axis=1), 1)


def test_directions_show_medians_as_colours_and_numbers() -> None:
    entering = directions.draw(SUMMARY).axes[0]
    one = next(one for one in SUMMARY.directions if one.layer == 1 and one.step_size == 1)
    expected = np.nanmedian(directions.by_position(one.entering["explicit"])[1], axis=0)
    np.testing.assert_allclose(np.asarray(entering.collections[0].get_array())[1], expected)
    assert f"{100 * expected[0]:.0f}" in [text.get_text() for text in entering.texts]


def test_the_first_tokens_share_is_drawn_with_its_spread() -> None:
    panel = directions.draw(SUMMARY).axes[4]
    line = next(
        line for line in lines_of(panel, style.COLOURS["implicit"], "o") if len(line.get_xdata())
    )
    expected = [
        np.median(one.entering["implicit"][:, 0])
        for one in SUMMARY.directions
        if one.step_size == 1
    ]
    np.testing.assert_allclose(line.get_ydata(), expected)
    assert len(panel.collections) == len(METHODS)


def test_halves_and_whole_are_drawn_beside_each_other() -> None:
    panel, norms = sublayers.draw(SUMMARY).axes
    for half, marker in (("attention", "^"), ("feed_forward", "v")):
        of_half = [one for one in SUMMARY.sublayers if one.half == half and one.step_size == 1]
        line = next(
            line
            for line in lines_of(panel, style.COLOURS["explicit"], marker)
            if len(line.get_xdata())
        )
        np.testing.assert_allclose(
            line.get_ydata(), [np.median(one.worst["explicit"]) for one in of_half]
        )
        norm = next(line for line in lines_of(norms, style.INK, marker) if len(line.get_xdata()))
        np.testing.assert_allclose(
            norm.get_ydata(), [np.median(one.logarithmic_norm) for one in of_half]
        )
    whole = [np.median(one.worst["implicit"]) for one in SUMMARY.growth if one.step_size == 1]
    line = next(
        line for line in lines_of(panel, style.COLOURS["implicit"], "o") if len(line.get_xdata())
    )
    np.testing.assert_allclose(line.get_ydata(), whole)


def test_halves_that_did_not_converge_are_hollow() -> None:
    figure = sublayers.draw(SPOILT)
    white = [
        line
        for line in figure.axes[0].get_lines()
        if line.get_markerfacecolor() == "white" and len(line.get_xdata())
    ]
    assert sum(len(line.get_xdata()) for line in white) == 3 and "hollow" in legend_of(
        figure
    )  # both halves and the whole of layer 2
    assert "hollow" not in legend_of(sublayers.draw(SUMMARY))


def test_refinement_draws_growth_against_the_size_of_the_steps() -> None:
    one = next(one for one in SUMMARY.refinements if one.layer == 1 and one.step_size == 0.5)
    ax = refinement.draw(SUMMARY, layer=1, step_size=0.5).axes[0]
    line = next(
        line for line in lines_of(ax, style.COLOURS["implicit"]) if line.get_linestyle() == "-"
    )
    np.testing.assert_allclose(line.get_xdata(), [0.5, 0.25, 0.125])
    np.testing.assert_allclose(line.get_ydata(), np.median(one.worst["implicit"], axis=0))
    assert lines_of(ax, style.INK)[0].get_ydata()[0] == pytest.approx(np.median(one.flow))
    assert [hollow(panel) for panel in refinement.draw(SPOILT).axes] == [1, 1, 1]


def test_exponents_draw_medians_over_every_text() -> None:
    ax = exponents.draw(SUMMARY).axes[0]
    explicit = next(
        one for one in SUMMARY.exponents if one.method == "explicit" and one.step_size == 1
    )
    dots, *_ = lines_of(ax, style.COLOURS["explicit"], "o")
    assert len(dots.get_xdata()) == explicit.values.size
    medians = next(
        line
        for line in lines_of(ax, style.COLOURS["explicit"], "o")
        if len(line.get_xdata()) == explicit.values.shape[1]
    )
    np.testing.assert_allclose(medians.get_ydata(), selection.band(explicit.values).median)
    assert "hollow" in legend_of(exponents.draw(SPOILT)) and "hollow" not in legend_of(
        exponents.draw(SUMMARY)
    )
