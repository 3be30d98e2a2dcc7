"""The datasets of a small real run: their dims, their statistics, and JSON without NaN."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from analysis.quantities import METHODS
from analysis.quantities.labelled import as_complex, statistics
from analysis.quantities.propagation import growths
from analysis.quantities.registry import unconverged
from analysis.record import Run, read_run
from analysis.run import Measurements, measurements, read_measurements, write_summary

TEXTS, LAYERS, TYPOS, TOKENS = 6, 2, 2, (5, 8, 5, 8, 4, 4)


@pytest.fixture(scope="module")
def found(finished: Path) -> Measurements:
    return read_measurements(finished)


def test_spectra(found):
    spectrum, dense = found["spectrum"], found["dense"]
    assert dict(spectrum["eigenvalue"].sizes) == {"layer": LAYERS, "text": TEXTS, "rank": 8}
    assert spectrum["layer"].values.tolist() == list(range(LAYERS))
    for name in ("eigenvalue_residual", "eigenvalue_converged"):
        assert spectrum[name].dims == spectrum["eigenvalue"].dims
    assert (
        spectrum["eigenvalue"].dtype == complex and spectrum["eigenvalue_converged"].dtype == bool
    )
    assert (spectrum["center"] == -1).all()
    assert dense["text"].values.tolist() == list(range(TEXTS))
    known = np.isfinite(dense["full_eigenvalue"]).sum("eigenvalue_index")
    share = dense["share_outside_lemniscate"]
    for layer in range(LAYERS):
        assert known.sel(layer=layer).values.tolist() == [16 * count for count in TOKENS]
        # Two directions a token: Mathematics, 4.
        assert (dense["bulk"].sel(layer=layer).values >= 2 * np.array(TOKENS)).all()
    assert ((share >= 0) & (share <= 1)).all()


def test_leading_eigenvalues_are_those_of_the_full_spectrum(finished, found):
    leading = np.abs(found["spectrum"]["eigenvalue"] + 1)
    for cell in read_run(finished).of_kind("dense"):
        distances = np.sort(np.abs(as_complex(cell.arrays["spectrum"]) + 1))[::-1][:8]
        farthest = leading.sel(layer=cell.header["layer"], text=cell.header["texts"][0])
        # Residuals are 1e-3 of it; non-normal, not defective.
        np.testing.assert_allclose(farthest.isel(rank=0), distances[0], rtol=1e-2)


def test_growth(found):
    growth = found["growth"]
    assert growth["layer"].values.tolist() == list(range(LAYERS))
    assert growth["step_size"].values.tolist() == [1.0] and growth.sizes["text"] == TEXTS
    by_step = (
        "solve_status",
        "solve_residual",
        "solve_evaluations",
        "advantage",
        "advantage_error",
    )
    for name in by_step:
        assert set(growth[name].dims) == {"layer", "text", "step_size"}
        assert np.isfinite(growth[name]).all()
    assert np.isfinite(growth["logarithmic_norm"]).all()
    for name in ("worst_growth", "spectral_growth"):
        assert set(growth[name].dims) == {"layer", "text", "step_size", "scheme"}
    flags = ("logarithmic_norm_converged", "worst_growth_converged", "spectral_growth_certain")
    assert all(growth[name].dtype == bool for name in flags)
    # A spectral radius is at most the norm.
    assert (growth["spectral_growth"] <= 1.01 * growth["worst_growth"]).all()


def test_perturbations(found):
    curves = growths(found["propagation"])
    assert {one.kind for one in curves} == {"gaussian", "worst", "typo"}
    for one in curves:
        examples = TYPOS if one.kind == "typo" else TEXTS
        values = one.values
        assert (values.sizes["example"], values.sizes["passed"]) == (examples, LAYERS + 1)
        assert values["converged"].sizes["step"] == LAYERS
        np.testing.assert_allclose(values["measured"].isel(passed=0), 1, rtol=1e-12)
        assert np.isnan(one.size) == (one.kind == "typo")
    smallest = [one for one in curves if one.size == 1e-5]
    assert len(smallest) == 2
    for one in smallest:
        # Linear to the perturbation's size, 1e-5 of the state.
        np.testing.assert_allclose(one.values["measured"], one.values["predicted"], rtol=1e-3)


def test_regions_and_maps(found):
    regions = found["regions"]
    assert regions["region_name"].values.tolist() == [
        *("explicit", "implicit", "truncated", "truncated", "lemniscate")
    ]
    assert regions["step_size"].values.tolist() == [1.0]
    assert regions["region_re"].dims == ("step_size", "region_column")
    stable = found["stability_map"]
    assert stable["scheme"].values.tolist() == list(METHODS)
    for name in ("map_certain", "map_boundary"):
        assert stable[name].dims == stable["map_growth"].dims and stable[name].dtype == bool
    at_one = stable["map_growth"].sel(map_step_size=1.0, drop=True)
    spectral = found["growth"]["spectral_growth"].sel(step_size=1.0, drop=True)
    xr.testing.assert_allclose(at_one.transpose(*spectral.dims), spectral, rtol=1e-12)


def test_statistics():
    values = np.array([[1.0, np.nan], [3.0, np.nan], [2.0, 5.0], [np.inf, np.nan]])
    expected = {"median": [2.0, 5.0], "examples": 4}
    for labelled in (values, xr.DataArray(values, dims=("text", "token"))):
        assert {name: statistics(labelled)[name] for name in expected} == expected
    assert statistics(np.array([[np.nan], [np.nan]]))["median"] == [None]
    assert statistics(np.array([np.nan]))["p90"] is None
    assert statistics(np.arange(11.0)) == {"median": 5.0, "p10": 1.0, "p90": 9.0, "examples": 11}


def leaves(content: object) -> list[object]:
    if isinstance(content, dict):
        return [leaf for value in content.values() for leaf in leaves(value)]
    return (
        [leaf for value in content for leaf in leaves(value)]
        if isinstance(content, list)
        else [content]
    )


def test_summary_json_is_finite_or_null(found, finished, tmp_path):
    write_summary(tmp_path, found, pytest.fail)
    text = (tmp_path / "summary.json").read_text(encoding="utf-8")
    assert text == (finished / "summary.json").read_text(encoding="utf-8")
    read = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in summary.json"))
    entries = {"config", "layers", "curves", "spectra", "maps", "unconverged"}
    entries |= {"secants", "relative_graphs"}
    assert read.keys() == entries | {"digest"}
    assert all(leaf is None or isinstance(leaf, str | int | float) for leaf in leaves(read))
    assert {row["size"] for row in read["curves"] if row["perturbation"] == "typo"} == {None}
    assert all(row["explicit_worst_growth"]["median"] > 0 for row in read["layers"])


def test_what_did_not_converge_is_counted(found):
    counts = unconverged(found.datasets)
    assert counts["eigenvalues"]["of"] == TEXTS * LAYERS * 8
    assert (
        counts["explicit worst growth"]
        == counts["implicit worst growth"]
        == {"failed": 0, "of": TEXTS * LAYERS}
    )
    assert (
        counts["implicit solve of a step"]["of"]
        == counts["logarithmic norm"]["of"]
        == TEXTS * LAYERS
    )
    paths = [
        one.values["converged"].sel(scheme="implicit") for one in growths(found["propagation"])
    ]
    assert counts["implicit solve on a perturbed path"]["of"] == sum(one.size for one in paths)
    growth = found["growth"].copy(deep=True)
    growth["solve_status"].loc[{"layer": 0, "text": [0, 1]}] = 1
    growth["worst_growth_converged"].loc[{"layer": 0, "scheme": "explicit"}] = False
    counts = unconverged({**found.datasets, "growth": growth})
    assert (
        counts["implicit solve of a step"]["failed"] == 2
        and counts["explicit worst growth"]["failed"] == TEXTS
    )


def test_an_empty_run_has_empty_tables(found):
    empty = measurements(Run(dict(found.config), ()))
    assert not any(empty.datasets.values())
    written = empty.summary()
    assert written["unconverged"] == {} and written["layers"] == written["curves"] == []
