"""What the figures of a run of full depth draw is what the records hold."""

import numpy as np
import pytest
import synthetic
import synthetic_full
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.quantities import METHODS
from analysis.quantities.bounds import abscissae
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


def of_one_layer(quantity: str, **changes: object) -> synthetic.Measurements:
    """The first layer alone, with other numbers."""
    one = SUMMARY[quantity].isel(layer=[0])
    alone = synthetic.with_dataset(SUMMARY, quantity, one)
    makes = {name: lambda _, value=value: value for name, value in changes.items()}
    return synthetic.changed(alone, quantity, **makes)


def test_the_levels_are_those_of_a_normal_matrix() -> None:
    """σ_min(zI) = |z|: the line of level −0.5 is the circle of radius 10^(−1/2), to the spacing of
    the grid.
    """
    one = SUMMARY["nonnormality"].isel(layer=[0])
    re, im = np.linspace(-2, 2, 81), np.linspace(0, 2, 41)
    drop = ["sigma_min", "pseudospectrum_re", "pseudospectrum_im"]
    drop += ["pseudospectrum_row", "pseudospectrum_column"]
    grid = xr.Dataset(
        {
            "sigma_min": (
                ("layer", "pseudospectrum_row", "pseudospectrum_column"),
                np.abs(re[None, :] + 1j * im[:, None])[None],
            )
        },
        coords={
            "pseudospectrum_re": (("layer", "pseudospectrum_column"), re[None]),
            "pseudospectrum_im": (("layer", "pseudospectrum_row"), im[None]),
        },
    )
    placed = one.drop_vars(drop).merge(grid)
    close = pseudospectra.draw(synthetic.with_dataset(SUMMARY, "nonnormality", placed)).axes[1]
    lines = next(
        drawn
        for drawn in close.collections
        if isinstance(drawn, QuadContourSet) and not drawn.filled
    )
    circle = lines.get_paths()[list(lines.levels).index(-0.5)].vertices
    radii = np.hypot(circle[:, 0], circle[:, 1])
    np.testing.assert_allclose(radii, 10**-0.5, rtol=0.01)


def test_pseudospectra_draw_eigenvalues_range_and_discs() -> None:
    one = SUMMARY["nonnormality"].isel(layer=0)
    edge, eigenvalues = one["numerical_range"].values, one["short_eigenvalue"].values
    whole, close = pseudospectra.draw(SUMMARY, layer=0).axes[:2]
    boundary = lines_of(whole, complex_plane.RANGE)[0]
    np.testing.assert_allclose(boundary.get_xdata() + 1j * boundary.get_ydata(), [*edge, edge[0]])
    for method, sign in (("explicit", 1), ("implicit", -1)):
        disc = lines_of(close, style.COLOURS[method])[0]
        np.testing.assert_allclose(np.abs(1 + sign * (disc.get_xdata() + 1j * disc.get_ydata())), 1)
    drawn = sum(len(line.get_xdata()) for line in lines_of(close, style.INK, "o"))
    bulk = int((np.abs(eigenvalues + 1) <= 1e-3).sum())
    assert (
        bulk == 4
        and drawn == len(eigenvalues) - bulk
        and "×4" in [text.get_text() for text in close.texts]
    )


def test_titles_give_departure_gap_and_the_kind_of_the_kreiss_constant() -> None:
    numbers = {
        "departure": 3.0,
        "frobenius_norm": 4.0,
        "spectral_abscissa": 0.5,
        "numerical_abscissa": 2.0,
        "kreiss_constant": 7.0,
    }
    for kind, scale, kreiss in (("bound", 1.25, "$K(E/1.25)$ ≥ 7"), ("exact", 1.0, "$K(E)$ = 7")):
        run = of_one_layer("nonnormality", **numbers, kreiss_scale=scale)
        dataset = run["nonnormality"].assign(kreiss_kind=("layer", [kind]))
        whole, close = pseudospectra.draw(
            synthetic.with_dataset(run, "nonnormality", dataset)
        ).axes[:2]
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
    texts = [4, 5, 6, 7, 8]
    reach = xr.DataArray([1.0, 3.0, 2.0, 9.0, 0.5], {"text": texts}, "text")
    around = xr.DataArray([1, 1j, -1, -1j], dims="bound_angle")
    bounds = xr.Dataset({"range_bound": (reach * around).expand_dims(layer=[0, 1])})
    np.testing.assert_array_equal(abscissae(bounds).isel(layer=0), reach)
    assert pseudospectra.typical_text(bounds) == 6 and pseudospectra.typical_text(xr.Dataset()) == 0


def test_a_density_of_squares_becomes_one_of_singular_values() -> None:
    squares = np.linspace(0, 9, 3001)
    one = density.Density(
        squares, np.full((1, 3001), 1 / 9), np.full((1, 3001), 0.01 / 9)
    )  # uniform on [0, 9]
    found = density.per_unit_length(one)
    np.testing.assert_allclose(found.points, np.sqrt(squares))
    np.testing.assert_allclose(np.trapezoid(found.density, found.points), 1, rtol=1e-6)
    share, error = density.share_above(found, 1.0)
    np.testing.assert_allclose(
        [share[0], error[0]], [8 / 9, 0.01 * 8 / 9], rtol=1e-3
    )  # of order of the spacing at the border


def test_a_density_shows_texts_and_probes_apart() -> None:
    one = density.of_layer(SUMMARY, 0, "symmetric")
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
    share = SUMMARY["directions"]["direction_share"]
    one = share.sel(layer=1, step_size=1, scheme="explicit", side="entering")
    expected = np.nanmedian(
        directions.by_position(one.transpose("text", "token").values)[1], axis=0
    )
    np.testing.assert_allclose(np.asarray(entering.collections[0].get_array())[1], expected)
    assert f"{100 * expected[0]:.0f}" in [text.get_text() for text in entering.texts]


def test_the_first_tokens_share_is_drawn_with_its_spread() -> None:
    panel = directions.draw(SUMMARY).axes[4]
    line = next(
        line for line in lines_of(panel, style.COLOURS["implicit"], "o") if len(line.get_xdata())
    )
    share = SUMMARY["directions"]["direction_share"]
    first = share.sel(step_size=1, scheme="implicit", side="entering", token=0)
    expected = first.median("text")
    np.testing.assert_allclose(line.get_ydata(), expected)
    assert len(panel.collections) == len(METHODS)


def test_halves_and_whole_are_drawn_beside_each_other() -> None:
    panel, norms = sublayers.draw(SUMMARY).axes
    halves, whole = SUMMARY["sublayers"].sel(step_size=1), SUMMARY["growth"].sel(step_size=1)
    for half, marker in (("attention", "^"), ("feed_forward", "v")):
        of_half = halves.sel(half=half)
        line = next(
            line
            for line in lines_of(panel, style.COLOURS["explicit"], marker)
            if len(line.get_xdata())
        )
        np.testing.assert_allclose(
            line.get_ydata(), of_half["half_worst_growth"].sel(scheme="explicit").median("text")
        )
        norm = next(line for line in lines_of(norms, style.INK, marker) if len(line.get_xdata()))
        np.testing.assert_allclose(
            norm.get_ydata(), of_half["half_logarithmic_norm"].median("text")
        )
    line = next(
        line for line in lines_of(panel, style.COLOURS["implicit"], "o") if len(line.get_xdata())
    )
    expected = whole["worst_growth"].sel(scheme="implicit").median("text")
    np.testing.assert_allclose(line.get_ydata(), expected)


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
    one = SUMMARY["refinement"].sel(layer=1, step_size=0.5)
    growth = one["refined_growth"].sel(scheme="implicit")
    ax = refinement.draw(SUMMARY, layer=1, step_size=0.5).axes[0]
    line = next(
        line for line in lines_of(ax, style.COLOURS["implicit"]) if line.get_linestyle() == "-"
    )
    np.testing.assert_allclose(line.get_xdata(), [0.5, 0.25, 0.125])
    np.testing.assert_allclose(line.get_ydata(), growth.median("text"))
    assert lines_of(ax, style.INK)[0].get_ydata()[0] == pytest.approx(
        float(one["flow_growth"].median())
    )
    assert [hollow(panel) for panel in refinement.draw(SPOILT).axes] == [1, 1, 1]


def test_exponents_draw_medians_over_every_text() -> None:
    ax = exponents.draw(SUMMARY).axes[0]
    explicit = SUMMARY["exponents"]["exponent"].sel(scheme="explicit", step_size=1)
    explicit = explicit.transpose("text", "order")
    dots, *_ = lines_of(ax, style.COLOURS["explicit"], "o")
    assert len(dots.get_xdata()) == explicit.size
    medians = next(
        line
        for line in lines_of(ax, style.COLOURS["explicit"], "o")
        if len(line.get_xdata()) == explicit.sizes["order"]
    )
    np.testing.assert_allclose(medians.get_ydata(), selection.band(explicit).median)
    assert "hollow" in legend_of(exponents.draw(SPOILT)) and "hollow" not in legend_of(
        exponents.draw(SUMMARY)
    )
