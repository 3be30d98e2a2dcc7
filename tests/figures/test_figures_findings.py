"""The sentences follow the numbers: opposite numbers, opposite findings."""

import dataclasses

import numpy as np
import pytest
import synthetic
import xarray as xr

from analysis.run import Measurements
from figures import findings, growth, propagation, spectra, stability_map
from figures.layer_rows import layer_rows, verdict


def test_who_damps_more_flips_with_the_advantage() -> None:
    towards = synthetic.changed(synthetic.summary(), "growth", advantage=np.abs)
    against = synthetic.changed(synthetic.summary(), "growth", advantage=lambda one: -np.abs(one))
    assert (
        "at h = 1 the implicit one in 6, the explicit one in 0 of 6 layers"
        in growth.finding_on_advantage(towards)
    )
    assert (
        "at h = 1 the implicit one in 0, the explicit one in 6 of 6 layers"
        in growth.finding_on_advantage(against)
    )


def test_an_advantage_without_a_standard_error_decides_nothing() -> None:
    sure = synthetic.changed(synthetic.summary(texts=1), "growth", advantage=lambda _: 1.0)
    unsure = synthetic.changed(sure, "growth", advantage_error=lambda _: np.nan)
    assert {row.damps_more() for row in layer_rows(sure)} == {"implicit"}
    assert {row.damps_more() for row in layer_rows(unsure)} == {"undecided"}


def test_one_text_without_an_advantage_leaves_its_layer_open() -> None:
    lost = synthetic.changed(
        synthetic.summary(),
        "growth",
        advantage=lambda one: np.abs(one).where((one["layer"] != 3) | (one["text"] != 5)),
    )
    assert [row.damps_more() for row in layer_rows(lost)].index("undecided") == 3


@pytest.mark.parametrize("errors, who", [(1.9, "undecided"), (2.1, "implicit"), (-2.1, "explicit")])
def test_two_standard_errors_decide_who_damps_more(errors: float, who: str) -> None:
    # Fails if any advantage but zero counts as one.
    row = dataclasses.replace(layer_rows(synthetic.summary())[0], advantage_error=0.01)
    assert dataclasses.replace(row, advantage=errors * 0.01).damps_more() == who


def test_growth_names_the_worst_layer_and_counts() -> None:
    whole = synthetic.summary()
    number = synthetic.by_layer(whole["growth"], float)
    explicit = xr.where(number == 4, 3.0, 2.0)
    summary = synthetic.changed(
        whole,
        "growth",
        worst_growth=lambda one: xr.where(one["scheme"] == "explicit", explicit, 1.0 + number),
    )
    said = growth.finding(summary)
    assert (
        "most in layer 4 (median 3×)" in said
        and "smaller worst growth in 1 of 6 layers (layer 0)" in said
    )
    damped = synthetic.changed(
        summary, "growth", worst_growth=lambda _: synthetic.by_method(0.5, 0.1)
    )
    assert "damps worst-case perturbations least" in growth.finding(
        damped
    ) and "worst growth in all 6 layers" in growth.finding(damped)


def test_growth_admits_what_did_not_converge() -> None:
    assert "enter this in 2 of 6 layers (layers 2–3)" in growth.finding(
        synthetic.summary(converged=False)
    )
    assert "did not converge" not in growth.finding(synthetic.summary())


def test_the_guarantee_is_held_violated_or_open() -> None:
    held = synthetic.changed(synthetic.summary(), "growth", logarithmic_norm=lambda _: 0.9)
    assert findings.guarantee(held) == "At h = 1 the median text has hμ₂ < 1 in all 6 layers."
    assert "violates it in all 6 layers, most in layer 3" in findings.guarantee(synthetic.summary())
    unconverged = synthetic.changed(
        held, "growth", logarithmic_norm_converged=lambda one: (one["layer"] != 2) | ~one
    )
    said = findings.guarantee(unconverged)
    assert "hμ₂ < 1 in 5 of 6 layers (layers 0–1, 3–5)" in said
    assert said.endswith("; μ₂ that did not converge leaves it open in 1 of 6 layers (layer 2).")
    lost = synthetic.changed(
        held, "growth", logarithmic_norm=lambda one: one.where(one["layer"] != 2)
    )
    assert "hμ₂ < 1 in 5 of 6 layers (layers 0–1, 3–5)" in findings.guarantee(lost)


def test_propagation_counts_the_kinds_that_end_lower() -> None:
    wins, loses = (
        propagation.finding(synthetic.summary()),
        propagation.finding(synthetic.summary(implicit_wins=False)),
    )
    assert wins.endswith("The implicit path ends lower for 6 of 6 kinds of perturbation.")
    assert loses.endswith("The implicit path ends lower for 0 of 6 kinds of perturbation.")


def test_linearity_names_the_largest_accurate_size() -> None:
    summary = synthetic.summary()
    assert "explicit at sizes up to 0.1" in propagation.finding_on_linearity(summary)
    off = synthetic.changed(summary, "propagation", gaussian_growth_predicted=lambda one: 3 * one)
    assert "explicit at none of the measured sizes" in propagation.finding_on_linearity(off)
    lost = synthetic.changed(
        summary,
        "propagation",
        gaussian_growth=lambda one: one.where(one["gaussian_nominal_size"] != 1e-3),
    )
    assert "explicit at sizes up to 0.0001" in propagation.finding_on_linearity(lost)


def test_spectra_count_what_each_step_amplifies() -> None:
    summary = synthetic.summary(layers=2, texts=3, dense=False)

    def placed(z: complex) -> Measurements:
        return synthetic.changed(summary, "spectrum", eigenvalue=lambda _: z)

    assert "explicit Euler step amplifies 0 and the implicit 0" in spectra.finding(placed(-0.5))
    near = spectra.finding(placed(0.75))
    assert (
        "explicit Euler step amplifies 48 and the implicit 48" in near
        and "distance of 0.25 (layer 0)" in near
    )
    assert "amplifies 48 and the implicit 0" in spectra.finding(placed(3))


def test_the_map_counts_layers_with_a_stable_step() -> None:
    some = stability_map.finding(synthetic.summary(stable=True, map_steps=[0.5, 1.0, 3.0]))
    assert (
        "the explicit Euler step is stable at some step size in all 6 layers" in some
        and "Between h = 0.5 and 3" in some
    )
    assert (
        "explicit Euler step is stable at some step size in none of the 6 layers"
        in stability_map.finding(synthetic.summary())
    )


@pytest.mark.parametrize(("rightmost", "why"), [(0.2, True), (-0.2, False), (np.nan, False)])
def test_the_map_says_why_no_step_is_stable(rightmost: float, why: bool) -> None:
    run = synthetic.changed(
        synthetic.summary(layers=2), "spectrum", eigenvalue=lambda _: rightmost + 1j
    )
    said = stability_map.finding(run)
    assert ("No smaller h makes the explicit step stable in all 2 layers" in said) == why
    assert ("|1 + hλ| > 1 for every h > 0" in said) == why
    calm = synthetic.summary(layers=2, stable=True, map_steps=[0.5, 1.0, 3.0])
    assert "No smaller h" not in stability_map.finding(calm)


def test_one_text_is_not_called_most_texts() -> None:
    assert "for most texts," in stability_map.finding(synthetic.summary(layers=1, texts=3))
    assert "for the one text," in stability_map.finding(synthetic.summary(layers=1, texts=1))


def test_a_lower_bound_below_one_settles_nothing() -> None:
    sure, unsure = np.ones(4, dtype=bool), np.zeros(4, dtype=bool)
    assert (
        verdict(np.full(4, 0.9), sure) == "stable" and verdict(np.full(4, 1.1), sure) == "unstable"
    )
    assert (
        verdict(np.full(4, 0.9), unsure) == "unsettled"
        and verdict(np.full(4, 1.1), unsure) == "unstable"
    )
    assert (
        verdict(np.full(4, np.nan), sure) == "unsettled"
        and verdict(np.full(4, 1 + 1e-12), sure) == "stable"
    )


def test_everything_converged_only_where_it_did() -> None:
    assert findings.of_convergence(synthetic.summary()).startswith("Everything converged")
    all_solved = "All 48 implicit solves converged."
    assert findings.of_solves(synthetic.summary(layers=2)) == all_solved
    one = synthetic.summary(layers=1, texts=1, steps=[1.0])
    assert findings.of_solves(one) == "The one implicit solve converged."
    summary = synthetic.summary(converged=False)
    said = findings.of_convergence(summary)
    assert (
        said.startswith("Not everything converged")
        and "leading eigenvalues: not converged (12)" in said
    )
    assert (
        "implicit solve: MAX_ITERATIONS (6)" in said
        and "6 with the status MAX_ITERATIONS" in findings.of_solves(summary)
    )
    assert findings.of_convergence(synthetic.empty()).startswith("Nothing was measured")


@pytest.mark.parametrize(
    "fault", ["worst_growth", "spectral_growth", "advantage", "logarithmic_norm"]
)
def test_a_value_that_is_no_number_is_not_called_converged(fault: str) -> None:
    spoilt = synthetic.changed(synthetic.summary(), "growth", **{fault: lambda _: np.nan})
    assert {one.fault for one in spoilt.shortfalls()} == {"not finite"}


def test_a_status_without_a_name_is_given_by_number() -> None:
    odd = synthetic.changed(synthetic.summary(layers=1), "growth", solve_status=lambda _: 9)
    assert "status 9: not" not in findings.of_convergence(
        odd
    ) and "implicit solve: status 9 (24)" in findings.of_convergence(odd)


def test_rows_hold_medians_and_a_mean_with_its_standard_error() -> None:
    summary = synthetic.summary(texts=5)
    row, one = layer_rows(summary, 0.5)[2], summary["growth"].sel(layer=2, step_size=0.5)
    advantage = one["advantage"].values
    assert row.worst["implicit"] == np.median(one["worst_growth"].sel(scheme="implicit"))
    assert row.advantage == pytest.approx(advantage.mean())
    assert row.advantage_error == pytest.approx(advantage.std(ddof=1) / np.sqrt(5))
    outside = summary["dense"]["share_outside_lemniscate"].sel(layer=2, step_size=0.5)
    assert row.outside == pytest.approx(float(outside.mean()))


def test_there_are_rows_for_every_step_size() -> None:
    summary = synthetic.summary(layers=2)
    assert [[row.layer for row in layer_rows(summary, h)] for h in synthetic.STEPS] == [[0, 1]] * 3
    assert layer_rows(synthetic.empty()) == []


def test_an_empty_run_says_so() -> None:
    nothing = synthetic.empty()
    for finding in (
        growth.finding,
        growth.finding_on_advantage,
        spectra.finding,
        stability_map.finding,
        propagation.finding,
    ):
        assert finding(nothing) == findings.NOTHING
    assert (
        propagation.finding_on_linearity(nothing) == findings.guarantee(nothing) == findings.NOTHING
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (17.84, "17.8"),
        (-0.5, "−0.5"),
        (1.3e6, "1.3 · 10⁶"),
        (np.nan, "–"),
        (np.inf, "∞"),
        (None, "–"),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    assert findings.number(value) == text


def test_ranges_join_neighbours() -> None:
    assert (
        findings.ranges([0, 1, 2, 5], range(6)) == "0–2, 5"
        and findings.ranges([], range(3)) == "none"
    )
    assert findings.ranges([0.1, 0.5], [0.1, 0.2, 0.5]) == "0.1, 0.5"
