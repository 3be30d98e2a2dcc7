"""The sentences of a run of full depth follow the numbers: opposite numbers, opposite findings."""

import dataclasses

import numpy as np
import synthetic
import synthetic_full

from analysis.summary import METHODS, Density
from figures import findings, full_findings
from figures.tables import shortfalls

SUMMARY = synthetic_full.summary(layers=3, texts=4, kinds={}, dense=False)


def test_pseudospectra_name_the_worst_layer_and_what_moves_farthest() -> None:
    placed = [
        dataclasses.replace(
            one,
            frobenius=4.0,
            henrici=1.0 + one.layer,
            spectral_abscissa=0.5,
            logarithmic_norm=1.0 + one.layer,
            pseudospectral_abscissa=0.5 + one.epsilons * (2.0 + (one.layer == 1)),
            kreiss=5.0 - one.layer,
        )
        for one in SUMMARY.nonnormality
    ]
    said = full_findings.of_pseudospectra(dataclasses.replace(SUMMARY, nonnormality=tuple(placed)))
    assert "is 25–75 % of ‖J‖_F" in said and "most in layer 2 (ω − α = 2.5)" in said
    assert "by 3 times that norm (layer 1)" in said and "at least 5 times (layer 0)" in said


def test_bounds_count_what_did_not_converge() -> None:
    changed = synthetic_full.changed(
        SUMMARY, "bounds", henrici_bound=lambda one: np.full(4, 0.2 + 0.1 * one.layer)
    )
    said = full_findings.of_bounds(changed)
    assert (
        "On 4 longer texts" in said
        and "at least 20–40 % of ‖J‖_F" in said
        and "did not converge" not in said
    )
    spoilt = full_findings.of_bounds(
        synthetic_full.summary(layers=3, texts=4, kinds={}, dense=False, converged=False)
    )
    assert "24 of its 192 points over all texts and layers did not converge" in spoilt


def test_densities_give_the_share_that_is_stretched() -> None:
    at = np.linspace(-1, 1, 2001)
    uniform = [
        Density(layer, "symmetric", at, np.full((3, 2001), 0.5), np.full((3, 2001), 0.01))
        for layer in range(2)
    ]
    shifted = dataclasses.replace(uniform[1], points=at + 0.5)
    said = full_findings.of_densities(dataclasses.replace(SUMMARY, densities=(uniform[0], shifted)))
    assert (
        "at least 50–75 % of all directions grow at first" in said
        and "most in layer 1 (standard error at most 1.5 %)" in said
    )


def test_directions_count_the_layers_led_by_the_first_token() -> None:
    def on_first(share: float) -> synthetic.Summary:
        rows = np.tile([share, 0.1, 0.9 - share], (4, 1))
        same = dict.fromkeys(METHODS, rows)
        return synthetic_full.changed(
            SUMMARY, "directions", entering=lambda _: same, leaving=lambda _: same
        )

    assert "the explicit step in all 3 layers, with 80 % at most" in full_findings.of_directions(
        on_first(0.8)
    )
    assert (
        "the implicit step in none of the 3 layers, with 30 % at most"
        in full_findings.of_directions(on_first(0.3))
    )


def test_sublayers_name_the_half_that_grows_more() -> None:
    def ahead(half: str) -> synthetic.Summary:
        grown = synthetic_full.changed(
            SUMMARY,
            "sublayers",
            worst=lambda one: {
                method: np.full(4, 9.0 if one.half == half else 3.0) for method in METHODS
            },
        )
        return synthetic_full.changed(
            grown,
            "sublayers",
            logarithmic_norm=lambda one: np.full(4, 2.0 if one.half == half else 0.5),
        )

    attention, forward = (
        full_findings.of_sublayers(ahead("attention")),
        full_findings.of_sublayers(ahead("feed_forward")),
    )
    assert (
        "under the explicit step in all 3 layers (largest: attention half of layer 0, 9×)"
        in attention
    )
    assert "in none of the 3 layers (largest: feed-forward half of layer 0, 9×)" in forward
    assert "For the attention half hμ₂ < 1 holds in none of the 3 layers." in attention
    assert "For the attention half hμ₂ < 1 holds in all 3 layers." in forward


def test_refinement_gives_the_difference_before_and_after() -> None:
    placed = synthetic_full.changed(
        SUMMARY,
        "refinements",
        flow=lambda _: np.full(4, 4.0),
        worst=lambda _: {
            "explicit": np.tile([8.0, 6.0, 4.4], (4, 1)),
            "implicit": np.tile([2.0, 3.0, 4.0], (4, 1)),
        },
    )
    said = full_findings.of_refinement(placed)
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
    placed = synthetic_full.changed(
        SUMMARY,
        "exponents",
        values=lambda one: np.array(
            [[0.5], [0.5], [0.5], [0.1 if one.method == "explicit" else 0.2]]
        ),
    )
    said = full_findings.of_exponents(placed)
    assert (
        "0.5 nats per layer (a factor of 1.65) under explicit" in said
        and "smaller one for 0 of 4 texts" in said
    )
    lower = synthetic_full.changed(
        placed, "exponents", values=lambda one: one.values - (one.method == "implicit")
    )
    assert "−0.5 nats per layer (a factor of 0.607) under implicit" in full_findings.of_exponents(
        lower
    )
    assert "smaller one for 4 of 4 texts" in full_findings.of_exponents(lower)


def test_a_run_without_them_says_so() -> None:
    for summary in (synthetic.empty(), synthetic_full.not_a_number(SUMMARY)):
        for finding in (
            full_findings.of_pseudospectra,
            full_findings.of_bounds,
            full_findings.of_densities,
            full_findings.of_directions,
        ):
            assert finding(summary) == findings.NOTHING
        for finding in (
            full_findings.of_sublayers,
            full_findings.of_refinement,
            full_findings.of_exponents,
        ):
            assert finding(summary) == findings.NOTHING


def test_what_did_not_converge_is_listed() -> None:
    assert not shortfalls(SUMMARY)
    found = shortfalls(
        synthetic_full.summary(layers=3, texts=4, kinds={}, dense=False, converged=False)
    )
    listed = {(one.quantity, one.fault): one.total for one in found}
    assert (
        listed["numerical range, longer texts", "not converged"] == 4 * 16
        and listed["refinement, implicit", "not converged"] == 4 * 3
    )
    assert listed["Lyapunov exponents, explicit", "not converged"] == 4 * 4
    assert ("worst growth, attention half, implicit", "not converged") in listed
    lost = {
        one.quantity
        for one in shortfalls(synthetic_full.not_a_number(SUMMARY))
        if one.fault == "not finite"
    }
    assert {
        "spectral density (gram)",
        "worst direction, implicit",
        "refinement, linear flow",
        "pseudospectra, longer texts",
    } <= lost
