"""What is not certain is marked: every variable of every quantity, found from the registry, with
one value that is no number or did not converge.
"""

import dataclasses
import functools

import numpy as np
import pytest
import synthetic
import synthetic_full
import xarray as xr

from analysis.quantities import METHODS, QUANTITIES
from analysis.quantities.registry import shortfalls_of
from analysis.record import Run
from analysis.run import Measurements, measurements
from figures import findings
from figures.picture import doubt
from figures.pictures import PICTURES, pictures_of

AT_POLES = ("region_amplification", "truncated_amplification")  # infinite is right there
WITHOUT_PICTURES = {"solves", "declared"}  # of predictions and calibrations, which have records
# coordinates of a measurement and how it was made, no measurements themselves
GIVEN = {"dimension", "short_dimension", "bulk", "nonnormality_text", "relative_graph_products"}


@functools.cache
def whole() -> Measurements:
    """Every quantity, all of it certain."""
    full = synthetic_full.run(
        layers=2,
        texts=3,
        steps=[0.5, 1.0],
        map_steps=[0.5, 1.0],
        dense=False,
        kinds={"gaussian": 3, "worst": 3, "typo": 2},
    )
    texts = [0, 1, 2]
    by_tolerance = np.ones((3, 2, 2))
    solves = {
        "evaluations": 8 * by_tolerance,
        "converged": by_tolerance > 0,
        "error": 0.01 * by_tolerance,
        "truncated_advantage": np.ones((3, 2)),
    }
    paths = np.ones((1, 3, 3))
    declared = {
        "measured": paths,
        "predicted": paths,
        "converged": np.ones((1, 3, 2), dtype=bool),
        "size": np.full((1, 3), 0.1),
    }
    truncated = {
        "re": np.linspace(-4, 4, 5),
        "im": np.linspace(0, 3, 4),
        "amplification": np.ones((1, 2, 4, 5)),
    }
    cells = [
        *full.cells,
        synthetic.cell("truncated", truncated, [], labels=["fixed point, k = 5"]),
        *(synthetic.cell("solves", solves, texts, layer=layer) for layer in range(2)),
        *(
            synthetic.cell(
                "declared", {**declared, "sizes": np.array([size])}, texts, perturbation=kind
            )
            for kind, size in (
                ("gaussian", 0.1),
                ("worst", 0.1),
                ("attack", np.nan),
                ("typo", np.nan),
            )
        ),
    ]
    return measurements(Run({**full.config, "tolerances": [0.1, 0.01]}, tuple(cells)))


def variables() -> list[tuple[str, str]]:
    """Every measured variable of every quantity."""
    return [
        (quantity.name, str(name))
        for quantity in QUANTITIES
        for name, values in whole()[quantity.name].data_vars.items()
        if values.dtype.kind in "bfci" and name not in GIVEN
    ]


def poisoned(quantity: str, name: str, value: object) -> Measurements:
    """The whole run with one value of a variable replaced: of the first text in the last layer."""
    values = whole()[quantity][name]
    spoilt = values.astype(np.result_type(values.dtype, np.asarray(value).dtype), copy=True)
    spoilt[tuple(-1 if dim == "layer" else 0 for dim in values.dims)] = value
    dataset = whole()[quantity].assign({name: spoilt})
    return synthetic.with_dataset(whole(), quantity, dataset)


def poisons(name: str, values: xr.DataArray) -> list[object]:
    """What makes a value of a variable uncertain."""
    if values.dtype == bool:
        return [name == "map_boundary"]  # the only flag that is set where something is wrong
    if values.dtype.kind == "i":
        return [1, np.nan]  # a status other than convergence
    return [np.nan] if name in AT_POLES else [np.nan, np.inf, -np.inf]


def test_every_quantity_is_made_up_and_certain() -> None:
    assert [name for name, dataset in whole().datasets.items() if not dataset] == []
    assert whole().shortfalls() == []


@pytest.mark.parametrize(("quantity", "name"), variables())
def test_a_value_that_is_not_certain_is_listed_and_told(quantity: str, name: str) -> None:
    (known,) = (one for one in QUANTITIES if one.name == quantity)
    drawn = [one for one in PICTURES if quantity in (one.quantity, *one.also)]
    for value in poisons(name, whole()[quantity][name]):
        run = poisoned(quantity, name, value)
        found = shortfalls_of(known, run.datasets)
        assert sum(one.count for one in found) >= 1, value
        assert quantity in WITHOUT_PICTURES or any(doubt(one.shortfalls(run)) for one in drawn)


def test_what_is_listed_is_in_the_sentence_on_convergence_and_in_the_summary() -> None:
    lost = synthetic.not_a_number(whole())
    assert findings.of_convergence(lost).startswith("Not everything converged")
    for row in lost.summary()["layers"]:
        assert row["explicit_spectral_growth_settled"] == 0
        assert row["explicit_worst_growth"]["median"] is None


@pytest.mark.parametrize("name", [picture.name for picture in PICTURES])
def test_a_picture_of_what_is_not_certain_is_drawn(name: str) -> None:
    (picture,) = (one for one in PICTURES if one.name == name)
    of_quantity = [one for one in variables() if one[0] in (picture.quantity, *picture.also)]
    run = whole()
    for quantity, variable in of_quantity:
        spoilt = poisoned(quantity, variable, poisons(variable, whole()[quantity][variable])[0])
        dataset = run[quantity].assign({variable: spoilt[quantity][variable]})
        run = synthetic.with_dataset(run, quantity, dataset)
    picture.draw(run, 1.0).draw_without_rendering()
    assert "Uncertain over all layers and step sizes" in picture.told(run, 1.0)


def test_pictures_and_quantities_agree() -> None:
    known = {quantity.name for quantity in QUANTITIES}
    drawn = {name for picture in PICTURES for name in (picture.quantity, *picture.also)}
    assert drawn <= known and known - drawn == WITHOUT_PICTURES
    assert len({picture.name for picture in PICTURES}) == len(PICTURES)
    assert pictures_of(whole()) == list(PICTURES)


@pytest.mark.parametrize("name", [picture.name for picture in PICTURES])
def test_every_picture_has_a_title_a_finding_and_a_caption(name: str) -> None:
    (picture,) = (one for one in PICTURES if one.name == name)
    assert picture.title and picture.caption.endswith(".")
    told = picture.told(whole(), 1.0)
    assert told.endswith(".") and told != findings.NOTHING
    nothing = dataclasses.replace(whole(), datasets=synthetic.empty().datasets)
    assert picture.told(nothing, 1.0) == findings.NOTHING


def test_a_settled_layer_needs_every_text() -> None:
    for method in METHODS:
        lost = synthetic.changed(
            whole(),
            "growth",
            worst_growth=lambda one, method=method: one.where(
                (one["scheme"] != method) | (one["text"] != 0)
            ),
        )
        said = PICTURES[0].finding(lost, 1.0)
        assert "did not converge or are lower bounds enter this in all 2 layers" in said
