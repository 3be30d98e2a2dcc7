"""The sentences of a run of full depth follow the numbers: opposite numbers, opposite findings."""

import numpy as np
import synthetic
import synthetic_full
import xarray as xr
from synthetic import by_layer, by_method, changed

from analysis.run import Measurements
from figures import (
    density,
    directions,
    exponents,
    findings,
    pseudospectra,
    refinement,
    sublayers,
)

SUMMARY = synthetic_full.summary(layers=3, texts=4, kinds={}, dense=False)
SPOILT = synthetic_full.summary(layers=3, texts=4, kinds={}, dense=False, converged=False)


def test_pseudospectra_name_the_worst_layer_and_what_moves_farthest() -> None:
    layer = by_layer(SUMMARY["nonnormality"], float)
    moved = 0.5 + SUMMARY["nonnormality"]["epsilon"] * (2.0 + (layer == 1))
    placed = changed(
        SUMMARY,
        "nonnormality",
        frobenius_norm=lambda _: 4.0,
        departure=lambda _: 1.0 + layer,
        spectral_abscissa=lambda _: 0.5,
        numerical_abscissa=lambda _: 1.0 + layer,
        pseudospectral_abscissa=lambda _: moved,
        kreiss_constant=lambda _: 5.0 - layer,
    )
    said = pseudospectra.finding(placed)
    assert "is 25–75 % of ‖J‖_F" in said and "most in layer 2 (ω − α = 2.5)" in said
    assert "by 3 times that norm (layer 1)" in said and "at least 5 times (layer 0)" in said


def test_bounds_count_what_did_not_converge() -> None:
    said = pseudospectra.finding_on_bounds(
        changed(
            SUMMARY,
            "bounds",
            departure_bound=lambda one: 0.2 + 0.1 * by_layer(SUMMARY["bounds"], float),
        )
    )
    assert (
        "On 4 longer texts" in said
        and "at least 20–40 % of ‖J‖_F" in said
        and "did not converge" not in said
    )
    spoilt = pseudospectra.finding_on_bounds(SPOILT)
    assert "24 of its 192 points over all texts and layers did not converge" in spoilt


def test_densities_give_the_share_that_is_stretched() -> None:
    points = SUMMARY["density"]["symmetric_point"].values
    at = np.linspace(-1, 1, len(points))
    layer = by_layer(SUMMARY["density"], float)
    # Uniform on [−1, 1], and in the last layer on the upper half of it alone, twice as high.
    grid = xr.DataArray(at, dims="symmetric_point")
    height = xr.where(layer == 2, 1.0 * (grid >= 0), 0.5)
    uniform = changed(
        SUMMARY,
        "density",
        symmetric_density=lambda one: height.assign_coords(
            symmetric_point=one["symmetric_point"].values
        ),
        symmetric_density_error=lambda _: 0.01,
    )
    dataset = uniform["density"].assign_coords(symmetric_point=at)
    said = density.finding(synthetic.with_dataset(uniform, "density", dataset))
    assert (
        "at least 50–100 % of all directions grow at first" in said
        and "most in layer 2 (standard error at most 1.0 %)" in said
    )


def test_directions_count_the_layers_led_by_the_first_token() -> None:
    def on_first(share: float) -> Measurements:
        return changed(
            SUMMARY,
            "directions",
            direction_share=lambda one: xr.where(one["token"] == 0, share, (1 - share) / 10),
        )

    assert "the explicit step in all 3 layers, with 80 % at most" in directions.finding(
        on_first(0.8)
    )
    assert "the implicit step in none of the 3 layers, with 30 % at most" in directions.finding(
        on_first(0.3)
    )


def ahead(half: str) -> Measurements:
    return changed(
        SUMMARY,
        "sublayers",
        half_worst_growth=lambda one: xr.where(one["half"] == half, 9.0, 3.0),
        half_logarithmic_norm=lambda one: xr.where(one["half"] == half, 2.0, 0.5),
    )


def test_sublayers_name_the_half_that_grows_more() -> None:
    attention, forward = (sublayers.finding(ahead(half)) for half in ("attention", "feed_forward"))
    assert (
        "under the explicit step in all 3 layers (largest: attention half of layer 0, 9×)"
        in attention
    )
    assert "in none of the 3 layers (largest: feed-forward half of layer 0, 9×)" in forward
    assert "For the attention half hμ₂ < 1 holds in none of the 3 layers." in attention
    assert "For the attention half hμ₂ < 1 holds in all 3 layers." in forward


def test_a_half_whose_norm_did_not_converge_holds_nothing() -> None:
    unsure = changed(
        ahead("feed_forward"),
        "sublayers",
        half_logarithmic_norm_converged=lambda one: (one["layer"] != 1) | ~one,
    )
    said = sublayers.finding(unsure)
    assert (
        "For the attention half hμ₂ < 1 holds in 2 of 3 layers (layers 0, 2); not settled in 1 of "
        "3 layers (layer 1)." in said
    )


def test_refinement_gives_the_difference_before_and_after() -> None:
    parts = SUMMARY["refinement"]["parts"]
    explicit = xr.DataArray([8.0, 6.0, 4.4], {"parts": parts}, "parts")
    implicit = xr.DataArray([2.0, 3.0, 4.0], {"parts": parts}, "parts")
    placed = changed(
        SUMMARY,
        "refinement",
        flow_growth=lambda _: 4.0,
        refined_growth=lambda one: xr.where(one["scheme"] == "explicit", explicit, implicit),
    )
    said = refinement.finding(placed)
    assert (
        "taken in 1 step (h = 1), the worst growths of the two "
        "methods differ by a factor of up to 4 " in said
    )
    assert (
        "in 4 steps, by up to 1.1." in said
        and "explicit one differs by up to 2, refined by up to 1.1" in said
    )
    assert "implicit one differs by up to 2, refined by up to 1." in said


def test_exponents_compare_the_methods_text_by_text() -> None:
    last = by_method(0.1, 0.2)
    placed = changed(
        SUMMARY, "exponents", exponent=lambda one: xr.where(one["text"] == 3, last, 0.5)
    )
    said = exponents.finding(placed)
    assert (
        "0.5 nats per layer (a factor of 1.65) under explicit" in said
        and "smaller one for 0 of 4 texts" in said
    )
    lower = changed(placed, "exponents", exponent=lambda one: one - by_method(0.0, 1.0))
    said = exponents.finding(lower)
    assert "−0.5 nats per layer (a factor of 0.607) under implicit" in said
    assert "smaller one for 4 of 4 texts" in said
    lost = changed(lower, "exponents", exponent=lambda one: one.where(one["text"] != 0))
    assert "smaller one for 3 of 4 texts" in exponents.finding(lost)


def test_a_run_without_them_says_so() -> None:
    for summary in (synthetic.empty(), synthetic_full.not_a_number(SUMMARY)):
        for finding in (
            pseudospectra.finding,
            pseudospectra.finding_on_bounds,
            density.finding,
            directions.finding,
            sublayers.finding,
            refinement.finding,
            exponents.finding,
        ):
            assert finding(summary) == findings.NOTHING


def test_what_did_not_converge_is_listed() -> None:
    assert not SUMMARY.shortfalls()
    listed = {(one.quantity, one.fault): one.total for one in SPOILT.shortfalls()}
    assert (
        listed["numerical range, longer texts", "not converged"] == 4 * 16
        and listed["refinement, implicit", "not converged"] == 4 * 3
    )
    assert listed["Lyapunov exponents, explicit", "not converged"] == 4 * 4
    assert ("worst growth, attention half, implicit", "not converged") in listed
    lost = {
        one.quantity
        for one in synthetic_full.not_a_number(SUMMARY).shortfalls()
        if one.fault == "not finite"
    }
    assert {
        "spectral density (gram)",
        "worst direction, implicit",
        "refinement, linear flow",
        "pseudospectra, longer texts",
    } <= lost
