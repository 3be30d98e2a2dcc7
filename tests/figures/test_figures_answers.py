"""The opening answers say what the numbers of the run say, and nothing that was not measured."""

import numpy as np
import pytest
import synthetic
import xarray as xr

from analysis.prediction.records import SHOWN
from analysis.run import Measurements
from figures import weighing
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
        found = answer(run, 0)
        assert ("In all 2 layers no smaller step helps." in found.sentence) == bool(found.grounds)
        return " ".join(found.grounds)

    grows, decays = np.log(1.25) + 2j, -2.5 + 0j
    words = "the equation linearised at these states"
    said = told(first=grows, second=2 * grows)
    assert words in said and "has Re λ > 0" in said and "for every h > 0" in said
    assert (
        "over depth h = 1 (1 is one layer) by a factor e^(h Re λ) of at least 1.25 to 1.56" in said
    )
    # a step that overshoots, what did not converge, what is no number, what is told as 1
    for first, second in ((decays, decays), (grows, decays), (grows, np.nan), (np.nan, grows)):
        assert words not in told(first=first, second=second)
    assert words not in told(first=1e-9, second=1e-9)
    assert words not in told(converged=False, first=grows, second=grows)


def test_one_text_is_not_called_most_texts() -> None:
    def sentence(texts: int) -> str:
        return answer(synthetic.summary(layers=1, texts=texts), 0).sentence

    assert "for the one text in layer 0 (the only one measured)" in sentence(1)
    assert "for most texts in layer 0" in sentence(3)


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


def test_an_edit_is_told_with_the_spread_that_there_is() -> None:
    assert answer(with_edits([2.0], [2.0]), 1).sentence.endswith(
        "one edit, which says little of others."
    )
    assert "3 edits, from 1 to 4." in answer(with_edits([1.0, 2.0, 4.0], [2.0] * 3), 1).sentence
    many = [1.0, *[2.0] * 10, 9.0]
    assert "from 2 to 2 for eight in ten." in answer(with_edits(many, many), 1).sentence


def weighed(
    noise: float = 0.0,
    worst: float = 1.0,
    spectral: float = 1.0,
    edits: float | None = None,
    certain: bool = True,
    layers: int = 2,
) -> Measurements:
    """A run in which the implicit step's growth is so many times the explicit one's, and damps
    noise by so many nats more.
    """
    kinds = {} if edits is None else {"typo": 3}
    run = synthetic.summary(layers=layers, texts=3, kinds=kinds)
    run = synthetic.changed(
        run,
        "growth",
        advantage=lambda _: noise,
        advantage_error=lambda _: 0.01,
        worst_growth=lambda _: synthetic.by_method(10.0, 10.0 * worst),
        spectral_growth=lambda _: synthetic.by_method(1.5, 1.5 * spectral),
        spectral_growth_certain=lambda _: certain,
    )
    if edits is None:
        return run
    ends = synthetic.by_method(2.0, 2.0 * edits)
    return synthetic.changed(run, "propagation", edit_growth=lambda one: xr.zeros_like(one) + ends)


NOISE, WORST, REPEATED = "of random noise", "of the worst direction", "under repeated steps"


@pytest.mark.parametrize(
    ("choices", "verdict"),
    [
        (
            {"noise": 0.5, "worst": 0.5, "spectral": 0.5, "edits": 0.5},
            f"It damps more: less growth {NOISE}, {WORST}, {REPEATED} and of edits",
        ),
        (
            {"noise": -0.5, "worst": 2, "spectral": 2, "edits": 2},
            f"It damps less: more growth {NOISE}, {WORST}, {REPEATED} and of edits",
        ),
        # the trial that read "Yes": noise alone is damped more
        (
            {"noise": 0.088, "worst": 16.7 / 11.7, "spectral": 4.27 / 1.77},
            f"Mixed: less growth {NOISE}, more {WORST} and {REPEATED}",
        ),
        (
            {"noise": 0.5, "worst": 2},
            f"Mixed: less growth {NOISE}, more {WORST}, no clear difference {REPEATED}",
        ),
        (
            {"noise": 0.5, "worst": 0.5, "spectral": 0.5, "edits": 2},
            f"Mixed: less growth {NOISE}, {WORST} and {REPEATED}, more of edits",
        ),
        (
            {"noise": 0.5},
            f"It damps more: less growth {NOISE}, but no clear difference {WORST} and {REPEATED}",
        ),
        (
            {"spectral": 2},
            f"It damps less: more growth {REPEATED}, but no clear difference {NOISE} and {WORST}",
        ),
        (
            {"noise": 0.5, "worst": 0.5, "spectral": 2, "certain": False},
            f"It damps more: less growth {NOISE} and {WORST}, but no clear difference {REPEATED}",
        ),
        ({}, f"Undecided: no clear difference in growth {NOISE}, {WORST} and {REPEATED}"),
        (
            {"edits": 1.004},  # the same to three digits
            f"Undecided: no clear difference in growth {NOISE}, {WORST}, {REPEATED} and of edits",
        ),
    ],
)
@pytest.mark.parametrize("layers", [1, 2])
def test_whether_an_implicit_step_would_help(
    choices: dict[str, float], verdict: str, layers: int
) -> None:
    found = answer(weighed(layers=layers, **choices), 2)
    head, which = verdict.split(": ")
    assert found.verdict == head
    assert found.sentence.startswith(f"{which[0].upper()}{which[1:]}. {weighing.LEFT_OPEN} ")
    assert found.sentence.endswith(f" {SHOWN}.")
    through = [each for each in found.grounds if weighing.THROUGH in each]
    layer_by_layer = [each for each in found.grounds if each not in through]
    assert len(layer_by_layer) == 3
    assert all(("(the only one measured)" in each) == (layers == 1) for each in layer_by_layer)


def test_a_terminal_shows_an_answer_and_each_ground_by_itself() -> None:
    answered = Answer("Is it?", "Yes", "All are.", ("one", "two"))
    assert answered.lines == ["Is it? Yes. All are.", "- one", "- two"]


def test_a_topic_is_told_with_its_reach_where_the_reaches_differ() -> None:
    def verdict(one_step: str, through: str) -> str:
        return weighing.verdict(
            [
                weighing.Compared(weighing.WORST, weighing.ONE_STEP, one_step, ""),
                weighing.Compared(weighing.WORST, weighing.THROUGH, through, ""),
            ]
        )

    assert verdict("less", "less") == f"It damps more: less growth {WORST}"
    mixed = f"Mixed: less growth {WORST} in one step, more {WORST} through all layers"
    assert verdict("less", "more") == mixed


def test_the_layers_of_each_outcome_are_told() -> None:
    run = weighed()
    first = run["growth"]["layer"] == 0
    run = synthetic.changed(
        run, "growth", advantage=lambda one: xr.where(first, 0.5, -0.5) + 0 * one
    )
    found = answer(run, 2)
    assert (
        "Growth of random noise, in one step: less in 1 of 2 layers (layer 0), more in 1 of 2 "
        "layers (layer 1)"
    ) in found.grounds
    assert (
        "Growth of the worst direction, in one step: no clear difference in all 2 layers"
    ) in found.grounds
    assert found.verdict.startswith("Undecided")


def test_lower_bounds_and_what_is_not_known_are_not_called_equal() -> None:
    run = synthetic.changed(
        weighed(spectral=0.25, certain=False),
        "growth",
        worst_growth=lambda one: one.where(one["layer"] > 0),
    )
    grounds = answer(run, 2).grounds
    assert "Growth under repeated steps: no clear difference in all 2 layers" in grounds
    (worst,) = [each for each in grounds if "worst direction, in one step" in each]
    assert worst.endswith("not known in 1 of 2 layers (layer 0)")
    (repeated,) = [
        each
        for each in answer(weighed(spectral=0.25, certain=False, layers=1), 2).grounds
        if "under repeated steps" in each
    ]
    assert repeated.endswith("no clear difference (explicit 1.5, implicit 0.375, lower bounds)")


def test_edits_are_counted_beside_their_medians() -> None:
    run = with_edits([2.0, 2.0, 9.0, 2.0], [1.0, 1.0, 9.0, 3.0])
    assert (
        "Growth of edits, through all layers: no clear difference (less for 2 of 4; medians: "
        "explicit 2, implicit 2)"
    ) in answer(run, 2).grounds


@pytest.mark.parametrize(
    ("growth", "certain", "verdict"),
    [
        ((0.5, 0.5), (True, False), "At least in part"),
        ((2.0, 0.5), (True, False), "Not in every layer"),
        ((2.0, 0.5), (True, True), "Only in part"),
        ((2.0, 2.0), (True, True), "No"),
    ],
)
def test_layers_left_open_are_neither_stable_nor_unstable(
    growth: tuple[float, float], certain: tuple[bool, bool], verdict: str
) -> None:
    run = with_spectral_growth(*growth)
    sure = synthetic.by_layer(run["growth"], lambda i: certain[i]).astype(bool)
    run = synthetic.changed(run, "growth", spectral_growth_certain=lambda _: sure)
    assert answer(run, 0).verdict == verdict


def test_what_was_not_measured_is_not_known() -> None:
    assert [each.verdict for each in answers(synthetic.empty())] == [UNKNOWN] * 3
    lost = answers(synthetic.not_a_number(synthetic.summary(layers=2, texts=3)))
    assert lost[1].verdict == lost[2].verdict == UNKNOWN
