"""What a calibration says in a terminal: tables of 80 columns with the numbers of the record."""

import json
from pathlib import Path

import pytest

from analysis.calibration.telling import told

STUDY = Path(__file__).parents[2] / "docs" / "studies" / "calibration"


@pytest.mark.parametrize("name", ["bert", "ex-bert", "im-bert"])
def test_every_fit_is_a_row_that_fits(name: str) -> None:
    record = json.loads((STUDY / f"{name}.json").read_text())
    lines = told(record)
    assert max(map(len, lines)) <= 80
    for fit, line in zip(record["fits"], lines[1:], strict=False):
        assert line.split()[0] == fit["kind"] and fit["source"] in line
        assert f" {fit['r_squared']:.3f} " in line and line.endswith(f" {fit['agreement']:.3f}")
    below = "\n".join(lines[len(record["fits"]) :])
    assert all(f"\n{name} " in below for name in record["flips"])
    assert ("chosen by its own outcome" in below) == ("measured" in record["flips"])


def test_what_is_not_known_is_a_dash() -> None:
    names = ("r_squared", "r_squared_within", "layer_means", "slope", "slope_low", "slope_high")
    fit = {"kind": "gaussian", "size": None, "source": "fine-tuned", "agreement": None}
    line = told({"fits": [fit | dict.fromkeys(names)], "flips": {}})[1]
    assert line.split() == ["gaussian", "its", "own", "fine-tuned", *6 * ["–"]]
