"""One text, one layer, one seed: words and legends claim no spread and no share that one cannot
have.
"""

import numpy as np
import pytest
import synthetic
import synthetic_full
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from test_figures_robustness import drawn, study
from test_figures_story import records

from analysis.run import Measurements
from figures import (
    calibration,
    density,
    directions,
    exponents,
    findings,
    growth,
    propagation,
    refinement,
    report,
    robustness,
    spectra,
)
from figures.pictures import PICTURES
from figures.records import Calibration, Study, typed


def words(figure: Figure) -> str:
    """Every title and every entry of a legend."""
    titles = [panel.get_title() for panel in figure.axes]
    entries = [entry.get_text() for each in figure.legends for entry in each.get_texts()]
    return "\n".join([*titles, *entries])


def full(texts: int) -> Measurements:
    return synthetic_full.summary(layers=1, texts=texts, kinds={}, dense=False)


def of_one_layer(**choices: object) -> Measurements:
    return synthetic.summary(layers=1, texts=3, **choices)


@pytest.mark.parametrize("picture", [density, directions, refinement])
def test_one_text_has_no_band(picture) -> None:
    assert "10–90 %" in words(picture.draw(full(texts=3)))
    of_one = words(picture.draw(full(texts=1)))
    assert "10–90 %" not in of_one and "median" not in of_one and "1 text" in of_one


def test_captions_say_where_there_is_one_text(tmp_path, monkeypatch) -> None:
    from figures import style

    monkeypatch.setattr(style, "_WITHOUT_DATES", {"svg": style._WITHOUT_DATES["svg"]})
    for texts in (1, 2):
        run = synthetic.summary(layers=1, texts=texts, kinds={}, dense=False)
        page = report.write_report(run, tmp_path).read_text(encoding="utf-8")
        assert (report.OF_ONE in page) is (texts == 1)
    assert all(each.medians is ("Medians over texts" in each.caption) for each in PICTURES)


def test_one_example_of_propagation_has_no_band() -> None:
    def shown(examples: int) -> str:
        run = synthetic.summary(layers=2, texts=3, kinds={"gaussian": examples}, dense=False)
        return words(propagation.draw(run, perturbation="gaussian"))

    assert "10–90 % of examples" in shown(3) and "(median)" in shown(3)
    assert "n = 1" in shown(1) and "10–90 %" not in shown(1) and "(median)" not in shown(1)


def test_one_layer_is_no_share_of_layers() -> None:
    assert findings.share([3], [3]) == "layer 3"
    assert findings.share([], [3]) == "no layer measured"
    assert findings.share([0], [0, 3]) == "1 of 2 layers (layer 0)"
    calm, wild = of_one_layer(stable=True), of_one_layer(stable=False)
    for run in (calm, wild):
        for told in (
            findings.guarantee(run),
            growth.finding(run),
            growth.finding_on_advantage(run),
        ):
            assert "of 1 layer" not in told and "all 1" not in told, told
            assert "most in layer" not in told and "least in layer" not in told, told


@pytest.mark.parametrize(
    ("method", "advantage"),
    [("the implicit one", 1.0), ("the explicit one", -1.0), ("neither", 0.0)],
)
def test_of_one_layer_the_step_that_damps_more_is_named(method: str, advantage: float) -> None:
    run = synthetic.changed(of_one_layer(), "growth", advantage=lambda _: advantage)
    told = growth.finding_on_advantage(run)
    assert f"{method}, in layer 0" in told and " 0, the" not in told


def test_the_exponents_of_one_text_are_compared_without_a_count() -> None:
    told = exponents.finding(full(texts=1))
    assert " of 1 texts" not in told and told.endswith("the smaller one.")


def test_counts_of_leading_eigenvalues_say_how_these_were_chosen() -> None:
    told = spectra.finding(of_one_layer(dense=False))
    assert told.startswith("Leading eigenvalues are chosen for being extreme")


def test_one_seed_has_no_interval_in_any_word(tmp_path, monkeypatch) -> None:
    from figures import style

    monkeypatch.setattr(style, "_WITHOUT_DATES", {"svg": style._WITHOUT_DATES["svg"]})
    for seeds, said in ((1, "one seed each, without intervals"), (3, "over seeds, 95 %")):
        record = study(seeds)
        assert said in words(drawn(record)) and ("95 %" in words(drawn(record))) == (seeds > 1)
        told = robustness.tell(typed(record, Study, "here"), tmp_path)
        assert said in told.shown.caption
        assert all(said in table.caption for _, table in told.groups)


def test_the_interval_of_two_seeds_is_in_the_table_alone(tmp_path, monkeypatch) -> None:
    from figures import style

    monkeypatch.setattr(style, "_WITHOUT_DATES", {"svg": style._WITHOUT_DATES["svg"]})

    def lines(seeds: int) -> int:
        heights = [
            abs(segment[1, 1] - segment[0, 1])
            for panel in drawn(study(seeds)).axes
            for one in panel.collections
            if isinstance(one, LineCollection)
            for segment in one.get_segments()
            if len(segment) == 2
        ]
        return int(np.isfinite(heights).sum())

    assert lines(2) == 0 < lines(3)
    record = study(2)
    assert "95 % intervals of 3 seeds or more" in words(drawn(record))
    told = robustness.tell(typed(record, Study, "here"), tmp_path)
    assert "95 % intervals of 3 seeds or more" in told.shown.caption
    assert all("over seeds, 95 % intervals" in table.caption for _, table in told.groups)


def test_linearity_that_does_not_end_is_said_in_words() -> None:
    plain = records()["calibration"]
    plain["linearity"]["worst"] = {**plain["linearity"]["gaussian"], "ends": None}
    record = typed(plain, Calibration, "here")
    (panel,) = [
        panel for panel in calibration.draw(record).axes if "through all steps" in panel.get_title()
    ]
    assert "beyond" not in panel.get_title() and "0.1 nats off at" in panel.get_title()
    ends = [each.ends for each in record.linearity.values()]
    assert panel.get_title().count(": no size tried") == ends.count(None)
