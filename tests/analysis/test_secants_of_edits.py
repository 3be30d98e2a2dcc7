"""Secants of a small real run: exact growth, pairs of unequal token counts, shares of them."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import odestab as od
from analysis import sweep
from analysis.config import Pair, StudyConfig
from analysis.ground.resampling import proportion_interval
from analysis.quantities.secants import rows, settled_only, share_damped
from analysis.run import Measurements, open_run, read_measurements

UNEQUAL = 2  # "the mat" against "the mats on"


@pytest.fixture(scope="module")
def found(finished: Path) -> Measurements:
    return read_measurements(finished)


def test_every_pair_that_the_model_can_tell_apart_is_measured(found: Measurements) -> None:
    secants = found["secants"]
    assert dict(zip(secants["pair"].values, secants["kind"].values, strict=True)) == {
        0: "typo",
        1: "typo",
        UNEQUAL: "synonym",
    }
    assert secants["secant"].sizes == {"pair": 3, "layer": 2, "scheme": 2, "step_size": 1}
    assert bool(secants["secant_converged"].all())
    # [CLS], "the" and [SEP] of five tokens side by side.
    assert float(secants["secant_overlap"].sel(pair=UNEQUAL)) == pytest.approx(3 / 5)


def test_growth_is_the_stability_function_and_adds_up(found: Measurements) -> None:
    one = found["secants"].sel(step_size=1.0)
    z, growth = one["secant"], one["secant_growth"]
    explicit = abs(1 + z.sel(scheme="explicit"))
    np.testing.assert_allclose(growth.sel(scheme="explicit"), explicit, rtol=1e-12)
    implicit = 1 / abs(1 - z.sel(scheme="implicit"))
    np.testing.assert_allclose(growth.sel(scheme="implicit"), implicit, rtol=1e-12)
    through = one["secant_cumulative"].isel(passed=-1)
    np.testing.assert_allclose(growth.prod("layer"), through.transpose("pair", "scheme"), 1e-12)
    # Pairs of equal token counts are propagated too, and grow alike: exactly under explicit steps,
    # to the tolerance of the solver, 1e-8, under implicit ones.
    edits = found["propagation"]["edit_growth"].sel(step_size=1.0).isel(passed=-1)
    for method, tolerance in (("explicit", 1e-10), ("implicit", 1e-4)):
        np.testing.assert_allclose(
            through.sel(scheme=method, pair=edits["pair"].values),
            edits.sel(scheme=method),
            rtol=tolerance,
        )


def test_unequal_token_counts_are_aligned(desk: Path, found: Measurements) -> None:
    encoder, tokenizer = od.load_encoder(str(desk / "bert"))
    texts = [tokenizer([text], return_tensors="pt") for text in ("the mat", "the mats on")]
    paths = [od.trace(encoder, batch, field="increment") for batch in texts]
    alignment = od.align(*(batch["input_ids"] for batch in texts))
    expected = od.secants(*paths, od.ExplicitEuler(1.0), alignment=alignment)
    known = found["secants"].sel(pair=UNEQUAL, scheme="explicit", step_size=1.0)
    np.testing.assert_allclose(known["secant"], expected.points[0].numpy(), rtol=1e-4)
    size = expected.sizes[0, 0] / paths[0].states[0].norm()
    assert float(known["secant_edit_size"]) == pytest.approx(float(size), rel=1e-4)


def test_a_pair_that_is_too_long_is_named_and_left_out(desk: Path) -> None:
    long = "the cat sat on the mat the dog ran"
    lines: list[str] = []
    longest = Pair("edit", "the cat", long + " on"), Pair("edit", long + " the", long + " on")
    config = StudyConfig("bert", ("the cat",), longest, layers=(1,))
    prepared = sweep.prepare(config, lines.append)
    assert [line.split(":")[0] for line in lines] == ["pair 1 left out of propagation"]
    (cell,) = (cell for cell in prepared.cells if cell.kind == "secants")
    secants = sweep.measure_in_memory(prepared, [cell])["secants"]
    assert secants["pair"].values.tolist() == [0, 1] and secants["layer"].values.tolist() == [1]
    assert secants["secant_cumulative"].sizes["passed"] == 3  # through all layers
    too_long = (Pair("edit", "the cat", long + " on the mat"),)
    prepared = sweep.prepare(StudyConfig("bert", ("the cat",), too_long), lines.append)
    assert lines[1:] == ["pair 1 left out: 14 tokens, more than the 12 that the model takes"]
    assert not [cell for cell in prepared.cells if cell.kind == "secants"]


def test_beyond_an_unsolved_step_no_edit_is_solved(
    desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the layer of that step is not among the chosen ones."""

    def first_unsolved(*arguments: Any, **options: Any) -> od.SecantPath:
        path = od_secants(*arguments, **options)
        converged = path.converged.clone()
        converged[0, 0] = False
        return dataclasses.replace(path, converged=converged)

    od_secants = od.secants
    monkeypatch.setattr(od, "secants", first_unsolved)
    edits = (Pair("edit", "the cat", "the dog"), Pair("edit", "the mat", "the mats"))
    prepared = sweep.prepare(StudyConfig("bert", ("the cat",), edits, layers=(1,)), print)
    cells = [cell for cell in prepared.cells if cell.kind == "secants"]
    found = sweep.measure_in_memory(prepared, cells)["secants"]
    assert found["layer"].values.tolist() == [1]
    solved = found["secant_converged"].sel(layer=1, scheme="explicit")
    assert solved.values.ravel().tolist() == [False, True]


def growths(values: list[float], clusters: list[int]) -> xr.DataArray:
    return xr.DataArray(values, {"cluster": ("pair", clusters)}, "pair")


def test_pairs_of_one_original_widen_the_interval() -> None:
    values = [0.5, 1.5] * 20
    alone = share_damped(growths(values, list(range(40))))
    # Twenty originals, of each all edits damped or none.
    together = share_damped(growths(sorted(values), [i // 10 for i in range(40)]))
    assert alone.mean == together.mean == 0.5 and alone.n == together.n == 40
    wilson = proportion_interval(20, 40)
    assert alone.low <= wilson.low and together.low < alone.low and together.high > alone.high
    assert share_damped(growths([0.5, 0.5], [0, 1])).low == proportion_interval(2, 2).low
    assert share_damped(growths([np.nan, 2.0], [0, 1])).n == 1
    assert share_damped(growths([np.nan], [0])).n == 0


def test_what_was_not_solved_enters_no_median(found: Measurements) -> None:
    secants = found["secants"].copy(deep=True)
    secants["secant_converged"].loc[{"pair": 0, "scheme": "implicit"}] = False
    lost = settled_only(secants)["secant_growth"].sel(scheme="implicit", pair=0)
    assert bool(np.isnan(lost).all())
    every = {(row["layer"], row["method"], row["kind"]): row for row in rows(secants)}
    assert every[0, "implicit", "all"]["damped"]["of"] == 2
    assert every[0, "explicit", "all"]["damped"]["of"] == 3
    assert every[1, "explicit", "typo"]["re"]["examples"] == 2


def test_an_opened_run_gives_them(finished: Path) -> None:
    run = open_run(finished)
    damped = run.secant_growth.sel(scheme="implicit", step_size=1.0) < 1
    assert dict(damped.sizes) == {"pair": 3, "layer": 2}
    assert run.original.sel(pair=UNEQUAL).item() == "the mat"
    assert run.secant.attrs["units"] == "1/h" and "ζ" in run.secant.attrs["long_name"]
