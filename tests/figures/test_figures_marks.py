"""What a figure must show: who did not converge, sizes, regions, bounds, directions."""

import numpy as np
import pytest
import synthetic
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from figures import growth, propagation, spectra, stability_map, style


def hollow(ax: Axes) -> int:
    """Number of hollow markers in a panel."""
    return sum(
        len(line.get_xdata())
        for line in ax.get_lines()
        if line.get_marker() != "None" and line.get_markerfacecolor() in ("white", "none")
    )


def texts(figure: Figure) -> str:
    legends = [entry.get_text() for legend in figure.legends for entry in legend.get_texts()]
    return "\n".join(
        [
            *(ax.get_title() for ax in figure.axes),
            *(text.get_text() for ax in figure.axes for text in ax.texts),
            *legends,
        ]
    )


def test_one_panel_for_each_kind_with_its_number_of_examples() -> None:
    titles = [ax.get_title() for ax in propagation.draw(synthetic.summary(layers=2)).axes]
    assert [title.splitlines()[0] for title in titles] == [
        *("Gaussian noise (n = 16)", "worst direction (n = 16)", "typo (n = 12)"),
        *("synonym (n = 10)", "negation (n = 6)", "edit (n = 5)"),
    ]


def test_the_smallest_size_is_drawn_and_named() -> None:
    figure = propagation.draw(synthetic.summary(layers=2), perturbation="gaussian")
    assert "10^{-4}" in figure.axes[0].get_title() and len(figure.axes) == 1


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="perturbation must be one of"):
        propagation.draw(synthetic.summary(layers=1), perturbation="noise")


def test_paths_start_at_one_and_end_at_the_measured_median() -> None:
    summary = synthetic.summary(layers=3)
    ax = propagation.draw(summary, perturbation="typo").axes[0]
    typo = propagation.smallest(propagation.at_step_size(summary), "typo").values["measured"]
    measured = typo.sel(scheme="explicit").transpose("example", "passed").values
    line = next(line for line in ax.get_lines() if line.get_color() == style.COLOURS["explicit"])
    np.testing.assert_allclose(line.get_ydata(), np.median(measured, axis=0))
    assert (
        list(line.get_xdata()) == [0, 1, 2, 3]
        and line.get_ydata()[0] == 1
        and ax.get_yscale() == "log"
    )


def test_failed_solves_are_marked_where_they_happened_and_counted() -> None:
    summary = synthetic.summary(layers=4, converged=False)
    ax = propagation.draw(summary, perturbation="gaussian").axes[0]
    assert (
        hollow(ax) == 2 and "3 of 16 not solved, left out" in ax.get_title()
    )  # layers 2 and 3 of 4 failed
    figure = propagation.draw(synthetic.summary(layers=4))
    assert sum(hollow(ax) for ax in figure.axes) == 0 and "hollow" not in texts(figure)


def test_linearity_draws_the_median_error_against_size() -> None:
    summary = synthetic.summary(layers=2)
    curves = [one for one in propagation.at_step_size(summary) if one.kind == "gaussian"]
    expected = [
        float(np.abs(np.log(last["measured"]) - np.log(last["predicted"])).median())
        for last in (one.values.sel(scheme="implicit").isel(passed=-1) for one in curves)
    ]
    ax = propagation.draw_linearity(summary).axes[0]
    line = next(line for line in ax.get_lines() if line.get_color() == style.COLOURS["implicit"])
    np.testing.assert_allclose(line.get_ydata(), expected)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


def test_growth_is_hollow_where_a_text_did_not_converge() -> None:
    figure = growth.draw(synthetic.summary(layers=4, converged=False))
    assert hollow(figure.axes[0]) == 4 and "hollow" in texts(
        figure
    )  # worst and spectral growth, in layers 2 and 3
    assert hollow(growth.draw(synthetic.summary(layers=4)).axes[0]) == 0


def test_advantage_names_both_directions() -> None:
    shown = texts(growth.draw_advantage(synthetic.summary(layers=2)))
    assert (
        "implicit\ndamps more" in shown
        and "explicit\ndamps more" in shown
        and "$h = 0.25$" in shown
    )


def test_spectra_have_one_panel_per_layer_of_equal_aspect_and_limits() -> None:
    axes = spectra.draw(synthetic.summary(layers=4)).axes
    assert (
        len(axes) == 4
        and {ax.get_aspect() for ax in axes} == {1.0}
        and len({(*ax.get_xlim(), *ax.get_ylim()) for ax in axes}) == 1
    )


def test_the_bulk_is_one_dot_with_its_count() -> None:
    summary = synthetic.summary(layers=1)
    assert f"×{int(summary['dense']['bulk'].sum())}" in texts(spectra.draw(summary))


def test_eigenvalues_scale_with_the_step_size() -> None:
    summary = synthetic.summary(layers=1, dense=False)
    ax = spectra.draw(summary, layer=0, step_size=0.5).axes[0]
    drawn = next(
        line
        for line in ax.get_lines()
        if line.get_color() == style.INK
        and len(line.get_xdata()) == summary["spectrum"]["eigenvalue"].size
    )
    np.testing.assert_allclose(
        np.sort(drawn.get_xdata()),
        np.sort(0.5 * summary["spectrum"]["eigenvalue"].real.values.ravel()),
    )


def test_a_truncated_region_is_drawn_only_at_its_own_step_size() -> None:
    run = synthetic.summary(layers=1)
    assert sorted({one.name for one in spectra.regions_at(run, 0.3)}) == [
        "explicit",
        "implicit",
        "lemniscate",
    ]
    truncated = [one for one in spectra.regions_at(run, 0.5) if one.name == "truncated"]
    own = run["regions"].sel(step_size=0.5)["region_amplification"]
    assert len(truncated) == 2
    for one in truncated:
        np.testing.assert_array_equal(one.amplification, own.sel(region=one.label))


def test_an_unknown_layer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"layer must be one of \[0, 1\], got 7"):
        spectra.draw(synthetic.summary(layers=2), layer=7)


def test_a_far_eigenvalue_is_counted_and_does_not_shrink_the_picture() -> None:
    summary = synthetic.summary(layers=1, dense=False)
    far = synthetic.changed(
        summary,
        "spectrum",
        eigenvalue=lambda one: one.where((one["text"] > 0) | (one["rank"] > 0), 500),
    )
    figure = spectra.draw(far)
    assert figure.axes[0].get_xlim()[1] < 10 and "1 beyond the frame" in texts(figure)


def test_map_hatches_lower_bounds_and_outlines_the_stable_cells() -> None:
    summary = synthetic.summary(layers=2, converged=False)
    panel = stability_map.draw(summary, method="implicit").axes[0]
    hatched = [
        patch for patch in panel.patches if isinstance(patch, Rectangle) and patch.get_hatch()
    ]
    assert len(hatched) == 2 * sum(h > 2 for h in synthetic.MAP_STEPS)
    assert not [
        patch
        for patch in stability_map.draw(summary, method="explicit").axes[0].patches
        if patch.get_hatch()
    ]
    stable = texts(
        stability_map.draw(synthetic.summary(layers=2, stable=True, map_steps=[0.5, 1.0, 3.0]))
    )
    assert r"$\max|R(h\lambda)| = 1$" in stable


def test_eigenvalues_that_are_no_numbers_are_counted() -> None:
    lost = synthetic.changed(
        synthetic.summary(layers=1),
        "spectrum",
        eigenvalue=lambda one: one.where((one["text"] > 0) | (one["rank"] > 1)),
    )
    assert "2 not finite" in texts(spectra.draw(lost))


def test_map_dots_what_is_on_the_boundary_and_the_finding_names_it() -> None:
    summary = synthetic.summary(layers=2)
    step = synthetic.MAP_STEPS[3]
    edge = synthetic.changed(
        summary,
        "stability_map",
        map_boundary=lambda one: (
            (one["layer"] == 1) & (one["map_step_size"] == step) & (one["scheme"] == "implicit")
        ),
    )
    figure = stability_map.draw(edge)
    dotted = [
        [patch.get_xy() for patch in ax.patches if patch.get_hatch() == stability_map.EDGE["hatch"]]
        for ax in figure.axes[:2]
    ]
    assert [len(found) for found in dotted] == [0, 1] and dotted[1][0][1] == 0.5
    assert "on the boundary for some text" in texts(figure)
    assert "for some text the implicit one in 1 of 2 layers (layer 1)." in stability_map.finding(
        edge
    )
    assert "boundary" not in stability_map.finding(summary)


def test_a_map_without_stored_boundaries_is_drawn() -> None:
    summary = synthetic.summary(layers=1)
    without = summary["stability_map"].drop_vars("map_boundary")
    stability_map.draw(synthetic.with_dataset(summary, "stability_map", without))
    assert "boundary" not in stability_map.finding(
        synthetic.with_dataset(summary, "stability_map", without)
    )


def test_map_axis_follows_its_grid() -> None:
    assert stability_map.is_geometric(np.geomspace(0.01, 2, 9)) and not stability_map.is_geometric(
        np.linspace(0.1, 2, 9)
    )
    ax = stability_map.draw(
        synthetic.summary(layers=2, map_steps=[0.5, 1.0, 1.5, 2.0]), method="explicit"
    ).axes[0]
    assert ax.get_xscale() == "linear"


def test_map_of_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="method must be one of"):
        stability_map.draw(synthetic.summary(layers=1), method="trapezoidal")
