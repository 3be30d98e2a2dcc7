"""Secants beside eigenvalues: where they are drawn, and sentences that follow the numbers."""

import numpy as np
import pytest
import synthetic
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis.run import Measurements
from figures import findings, secants, spectra, style


def placed(eigenvalue: complex, growth: float) -> Measurements:
    """All eigenvalues at one place, and all edits with one growth."""
    run = synthetic.changed(
        synthetic.summary(layers=2, texts=3), "spectrum", eigenvalue=lambda _: eigenvalue
    )
    return synthetic.changed(run, "secants", secant_growth=lambda _: growth)


def marked(ax: Axes, kind: str) -> list[Line2D]:
    marker, colour = style.EDITS[kind]
    return [
        line
        for line in ax.get_lines()
        if line.get_marker() == marker and line.get_color() == colour
    ]


def test_shares_are_told_from_the_least_to_the_most() -> None:
    assert secants.finding(placed(-0.5, 0.5)).startswith(
        "At h = 1 the explicit step damps 100 % of 33 edits (made from 17 originals), by layer, "
        "the implicit one 100 %. "
    )
    run = synthetic.changed(
        placed(-0.5, 0.5), "secants", secant_growth=lambda values: values + values["layer"]
    )
    assert "damps 0–100 % of 33 edits" in secants.finding(run)


def test_eigenvalues_and_edits_agree_or_not() -> None:
    for run in (placed(-0.5, 0.5), placed(0.75, 2.0)):
        assert "Leading eigenvalues agree" in secants.finding(run)
    for run, eigenvalues, edits in ((placed(0.75, 0.5), 0, 100), (placed(-0.5, 2.0), 100, 0)):
        told = secants.finding(run)
        assert (
            "chosen for being extreme, disagree about the explicit step in all 2 layers, which "
            f"damps {eigenvalues} % of them there and {edits} % of the edits" in told
        )
        assert "about the implicit step in all 2 layers" in told


def test_the_graph_bounds_what_eigenvalues_say() -> None:
    told = secants.finding(placed(0.75, 0.5))
    # 33 edits in two layers; the graphs are those of discs about −1 that hold all of them.
    assert "66 of 66 secants at the start of explicit steps lie within" in told
    assert "a leading eigenvalue of any text by at most 1.75" in told
    far = synthetic.changed(placed(0.75, 0.5), "secants", secant=lambda _: 50.0)
    assert "0 of 66 secants at the start of explicit steps lie within" in secants.finding(far)
    without = synthetic.with_dataset(far, "relative_graph", synthetic.empty()["relative_graph"])
    assert "relative graph" not in secants.finding(without)


def test_a_pair_that_was_not_solved_counts_nowhere_and_is_marked() -> None:
    run = synthetic.summary(layers=2, kinds={"typo": 6}, converged=False)
    (lost,) = (one for one in secants.damped(run) if (one.layer, one.method) == (1, "implicit"))
    assert lost.edits.n == 5
    assert "secant of an edit, implicit" in {one.quantity for one in run.shortfalls()}
    told = secants.finding(run)
    assert "implicit one 100 % (not known of all edits in 1 of 2 layers (layer 1))." in told
    shares, _, panel = secants.draw(run).axes
    hollow = [line for line in shares.get_lines() if line.get_markerfacecolor() == "white"]
    assert [line.get_xdata().tolist() for line in hollow if len(line.get_xdata())] == [
        [pytest.approx(1.15)]
    ]
    assert [line.get_markerfacecolor() for line in marked(panel, "typo")].count("white") == 1
    known = secants.draw(synthetic.summary(layers=2, kinds={"typo": 6})).axes[2]
    assert sum(len(line.get_xdata()) for line in marked(known, "typo")[1::2]) == 0


def test_layers_where_nothing_is_known_agree_with_nothing() -> None:
    run = placed(-0.5, 0.5)
    solved = run["secants"]["secant_converged"]
    first = (solved["layer"] == 0) | (solved["scheme"] == "explicit")
    partly = synthetic.changed(run, "secants", secant_converged=lambda values: values & first)
    told = secants.finding(partly)
    assert "implicit one 100 % (not known of all edits in 1 of 2 layers (layer 1))." in told
    assert "agree: in every layer where both are known a step damps at least half" in told
    assert "agree: in every layer a step" in secants.finding(run)
    unknown = synthetic.changed(run, "spectrum", eigenvalue=lambda _: np.nan)
    assert "eigenvalues are not known where the share of edits is." in secants.finding(unknown)


@pytest.mark.parametrize("width", [1e-3, 0.1, 1.0, 30.0])
def test_growth_of_any_range_has_a_scale(width: float) -> None:
    run = synthetic.summary(layers=2)
    spread = np.linspace(1, 1 + width, run["secants"]["secant_growth"].size)
    narrow = synthetic.changed(
        run, "secants", secant_growth=lambda values: spread.reshape(values.shape)
    )
    figure = secants.draw(narrow)
    figure.draw_without_rendering()
    for panel in figure.axes[1:]:
        low, high = panel.get_ylim()
        shown = [text.get_text() for text in panel.get_yticklabels()]
        ticks = zip(panel.get_yticks(), shown, strict=True)
        seen = [words for at, words in ticks if low <= at <= high and words]
        assert len(seen) == len(set(seen)) >= 2


def test_secants_stand_over_the_regions_in_the_colour_of_their_kind() -> None:
    run = synthetic.summary(layers=2)
    figure = spectra.draw(run, layer=1)
    filled, hollow = marked(figure.axes[0], "synonym")
    one = run["secants"].sel(layer=1, step_size=1.0)
    one = one.isel(pair=np.flatnonzero(one["kind"].values == "synonym"))
    for line, method, face in (
        (filled, "explicit", style.EDITS["synonym"][1]),
        (hollow, "implicit", "white"),
    ):
        z = one["secant"].sel(scheme=method).values
        np.testing.assert_allclose(line.get_xdata(), z.real)
        np.testing.assert_allclose(line.get_ydata(), z.imag)
        assert line.get_markerfacecolor() == face
    shown = "\n".join(entry.get_text() for entry in figure.legends[0].get_texts())
    assert "edits: typo" in shown and "edits: edit" in shown and "hollow: implicit" in shown


def test_no_two_kinds_look_alike() -> None:
    kinds = ("typo", "swap", "paraphrase", "negation", "attack")
    run = synthetic.summary(layers=1, kinds=dict.fromkeys(kinds, 2))
    marks = secants.marks_of(run["secants"])
    assert list(marks) == ["typo", "negation", "attack", "paraphrase", "swap"]
    assert len(set(marks.values())) == len(kinds)
    assert marks["typo"] == style.EDITS["typo"]
    for figure in (secants.draw(run), spectra.draw(run)):
        entries = {
            (str(key.get_marker()), key.get_color())
            for key in figure.legends[0].legend_handles
            if isinstance(key, Line2D)
        }
        assert set(marks.values()) <= entries


def test_secants_of_another_step_size_are_not_drawn() -> None:
    run = synthetic.summary(layers=1)
    ax = spectra.draw(run, step_size=0.3).axes[0]
    assert not marked(ax, "typo")
    with pytest.raises(ValueError, match="step_size must be one of"):
        secants.draw(run, step_size=0.3)


def test_a_run_without_edits_says_so() -> None:
    run = synthetic.summary(layers=1, kinds={"gaussian": 4})
    assert secants.finding(run) == findings.NOTHING
    assert not run["secants"] and secants.draw(run).axes
