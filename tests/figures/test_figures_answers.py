"""The opening answers say what the numbers of the run say, and nothing that was not measured."""

import numpy as np
import pytest
import synthetic
import xarray as xr

from analysis.run import Measurements
from figures.answers import UNKNOWN, Answer, answers


def answer(run: Measurements, place: int) -> Answer:
    return answers(run)[place]


def with_edits(explicit: list[float], implicit: list[float]) -> Measurements:
    """A run whose edits end with the given growth at the last layer."""
    run = synthetic.summary(layers=2, texts=3, kinds={"typo": len(explicit)})
    growth = run["propagation"]["edit_growth"]
    ends = xr.DataArray(
        [explicit, implicit], {"scheme": ["explicit", "implicit"]}, ("scheme", "pair")
    )
    return synthetic.changed(
        run, "propagation", edit_growth=lambda before: xr.zeros_like(growth) + ends
    )


def with_spectral_growth(*by_layer: float) -> Measurements:
    run = synthetic.summary(layers=len(by_layer), texts=3)
    return synthetic.changed(
        run,
        "growth",
        spectral_growth=lambda before: synthetic.by_layer(run["growth"], lambda i: by_layer[i]),
        spectral_growth_certain=lambda before: True,
    )


@pytest.mark.parametrize(
    ("growth", "verdict", "words"),
    [
        ((0.5, 0.9), "Yes", "in all 2 layers no direction grows when the step is repeated"),
        ((1.5, 2.0), "No", "grows by a factor of 1.5 to 2 each time"),
        ((0.5, 2.0), "Only in part", "grows by a factor of 2 each time"),
    ],
)
def test_whether_a_layer_is_a_stable_step(
    growth: tuple[float, float], verdict: str, words: str
) -> None:
    found = answer(with_spectral_growth(*growth), 0)
    assert found.verdict == verdict and words in found.sentence


def test_growth_of_the_linearised_equation_is_told_beside_that_of_the_step() -> None:
    def told(converged: bool = True, **by_layer: complex) -> str:
        first, second = by_layer["first"], by_layer["second"]
        run = synthetic.changed(
            with_spectral_growth(1.5, 2.0),
            "spectrum",
            eigenvalue=lambda one: xr.where(one["layer"] == 0, first, second) + 0 * one,
            eigenvalue_converged=lambda one: xr.full_like(one, converged),
        )
        return answer(run, 0).sentence

    grows, decays = np.log(1.25) + 2j, -2.5 + 0j
    words = "in the equation linearised at these states"
    assert told(first=grows, second=2 * grows).endswith(
        f"repeated, and by at least 1.25 to 1.56 {words}."
    )
    # a step that overshoots, what did not converge, what is no number, what is told as 1
    for first, second in ((decays, decays), (grows, decays), (grows, np.nan), (np.nan, grows)):
        assert words not in told(first=first, second=second)
    assert words not in told(first=1e-9, second=1e-9)
    assert words not in told(converged=False, first=grows, second=grows)


def test_lower_bounds_leave_stability_open() -> None:
    run = synthetic.changed(
        with_spectral_growth(0.5, 0.5), "growth", spectral_growth_certain=lambda before: False
    )
    found = answer(run, 0)
    assert (
        found.verdict == UNKNOWN
        and "in all 2 layers the eigenvalues found leave it open" in found.sentence
    )


@pytest.mark.parametrize(
    ("ends", "verdict", "median"),
    [
        ([2.0, 3.0, 4.0], "It grows", "3 times"),
        ([0.2, 0.5, 0.4], "It shrinks", "0.4 times"),
        ([0.95, 1.0, 1.05], "It keeps its size", "1 times"),
    ],
)
def test_what_happens_to_an_edit(ends: list[float], verdict: str, median: str) -> None:
    found = answer(with_edits(ends, ends), 1)
    assert found.verdict == verdict and median in found.sentence and "3 edits" in found.sentence


def test_an_edit_that_one_method_lost_counts_for_neither() -> None:
    found = answer(with_edits([2.0, 2.0, 9.0], [2.0, 2.0, np.nan]), 1)
    assert "2 times" in found.sentence and "2 edits" in found.sentence


@pytest.mark.parametrize(
    ("advantage", "implicit", "verdict"),
    [(0.5, 1.0, "Yes"), (-0.5, 3.0, "No"), (0.5, 3.0, "In part"), (-0.5, 1.0, "In part")],
)
def test_whether_an_implicit_step_would_help(
    advantage: float, implicit: float, verdict: str
) -> None:
    run = synthetic.changed(
        with_edits([2.0] * 3, [implicit] * 3),
        "growth",
        advantage=lambda before: advantage,
        advantage_error=lambda before: 0.01,
    )
    found = answer(run, 2)
    assert found.verdict == verdict
    assert f"leaves {3 if implicit < 2 else 0} of 3 edits smaller" in found.sentence


def test_what_was_not_measured_is_not_known() -> None:
    assert [each.verdict for each in answers(synthetic.empty())] == [UNKNOWN] * 3
    lost = answers(synthetic.not_a_number(synthetic.summary(layers=2, texts=3)))
    assert lost[1].verdict == lost[2].verdict == UNKNOWN
