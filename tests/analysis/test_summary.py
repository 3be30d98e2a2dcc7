"""Tables of a small real run: their shapes, their statistics, and JSON without NaN."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from analysis.record import Run, read_run, write_json
from analysis.summary import METHODS, Summary, as_complex, statistics, summarise
from analysis.tables import tables, unconverged

TEXTS, LAYERS, TYPOS, TOKENS = 6, 2, 2, (5, 8, 5, 8, 4, 4)


@pytest.fixture(scope="module")
def summary(finished: Path) -> Summary:
    return summarise(read_run(finished))


def test_spectra(summary):
    assert [one.layer for one in summary.spectra] == list(range(LAYERS))
    for one in summary.spectra:
        assert one.leading.shape == one.residuals.shape == one.converged.shape == (TEXTS, 8)
        assert one.leading.dtype == complex and one.converged.dtype == bool and one.center == -1
        assert one.full_texts == tuple(range(TEXTS))
        assert [len(full) for full in one.full] == [16 * count for count in TOKENS]
        assert one.outside.shape == (TEXTS, 1) and ((one.outside >= 0) & (one.outside <= 1)).all()
        assert all(
            bulk >= 2 * count for bulk, count in zip(one.bulk, TOKENS, strict=True)
        )  # two directions a token: Mathematics, 4


def test_leading_eigenvalues_are_those_of_the_full_spectrum(finished):
    run = read_run(finished)
    layers = {
        (cell.header["layer"], text): cell.arrays["eigenvalues"][i]
        for cell in run.of_kind("layer")
        for i, text in enumerate(cell.header["texts"])
    }
    for cell in run.of_kind("dense"):
        distances = np.sort(np.abs(as_complex(cell.arrays["spectrum"]) + 1))[::-1][:8]
        leading = np.abs(as_complex(layers[cell.header["layer"], cell.header["texts"][0]]) + 1)
        np.testing.assert_allclose(
            leading[0], distances[0], rtol=1e-2
        )  # residuals are 1e-3 of it; non-normal, not defective


def test_growth(summary):
    assert [(one.layer, one.step_size) for one in summary.growth] == [
        (layer, 1.0) for layer in range(LAYERS)
    ]
    for one in summary.growth:
        for values in (
            one.logarithmic_norm,
            one.status,
            one.residual,
            one.evaluations,
            one.advantage,
            one.advantage_error,
        ):
            assert values.shape == (TEXTS,) and np.isfinite(values).all()
        assert one.converged.keys() == {
            "eigenvalues",
            "logarithmic_norm",
            "explicit_worst",
            "implicit_worst",
        }
        assert all(
            flags.shape == (TEXTS,) and flags.dtype == bool for flags in one.converged.values()
        )
        for method in METHODS:
            assert (
                one.worst[method].shape
                == one.spectral[method].shape
                == one.certain[method].shape
                == (TEXTS,)
            )
            assert (
                one.spectral[method] <= 1.01 * one.worst[method]
            ).all()  # a spectral radius is at most the norm


def test_curves(summary):
    kinds = {(one.perturbation, one.method) for one in summary.curves}
    assert kinds == {(kind, method) for kind in ("gaussian", "worst", "typo") for method in METHODS}
    for one in summary.curves:
        examples = TYPOS if one.perturbation == "typo" else TEXTS
        assert one.measured.shape == one.predicted.shape == (
            examples,
            LAYERS + 1,
        ) and one.converged.shape == (examples, LAYERS)
        np.testing.assert_allclose(one.measured[:, 0], 1, rtol=1e-12)
        assert np.isnan(one.size) == (one.perturbation == "typo")
    smallest = [one for one in summary.curves if one.size == 1e-5]
    assert len(smallest) == 4
    for one in smallest:
        np.testing.assert_allclose(
            one.measured, one.predicted, rtol=1e-3
        )  # linear to the perturbation's size, 1e-5 of the state


def test_regions_and_maps(summary):
    assert [one.name for one in summary.regions] == [
        "explicit",
        "implicit",
        "truncated",
        "truncated",
        "lemniscate",
    ]
    for region in summary.regions:
        assert (
            region.amplification.shape == (len(region.im), len(region.re))
            and region.step_size == 1.0
        )
    assert [one.method for one in summary.maps] == list(METHODS)
    for one in summary.maps:
        assert one.growth.shape == one.certain.shape == (LAYERS, len(one.step_sizes), TEXTS)
        at_one = np.flatnonzero(one.step_sizes == 1.0)[0]
        spectral = np.stack([growth.spectral[one.method] for growth in summary.growth])
        np.testing.assert_allclose(one.growth[:, at_one], spectral, rtol=1e-12)


def test_statistics():
    found = statistics(np.array([[1.0, np.nan], [3.0, np.nan], [2.0, 5.0], [np.inf, np.nan]]))
    assert found["median"] == [2.0, 5.0] and found["examples"] == 4
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


def test_summary_json_is_finite_or_null(summary, finished, tmp_path):
    write_json(tmp_path / "summary.json", tables(summary))
    text = (tmp_path / "summary.json").read_text(encoding="utf-8")
    assert text == (finished / "summary.json").read_text(encoding="utf-8")
    found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in summary.json"))
    assert found.keys() == {"config", "layers", "curves", "spectra", "maps", "unconverged"}
    assert all(leaf is None or isinstance(leaf, str | int | float) for leaf in leaves(found))
    assert {row["size"] for row in found["curves"] if row["perturbation"] == "typo"} == {None}
    assert all(row["explicit_worst_growth"]["median"] > 0 for row in found["layers"])


def test_what_did_not_converge_is_counted(summary):
    counts = unconverged(summary)
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
    paths = [one for one in summary.curves if one.method == "implicit"]
    assert counts["implicit solve on a perturbed path"]["of"] == sum(
        one.converged.size for one in paths
    )
    first = summary.growth[0]
    status, worst = (
        first.status.copy(),
        {**first.converged, "explicit_worst": np.zeros(TEXTS, dtype=bool)},
    )
    status[:2] = 1
    damaged = (dataclasses.replace(first, status=status, converged=worst), *summary.growth[1:])
    counts = unconverged(dataclasses.replace(summary, growth=damaged))
    assert (
        counts["implicit solve of a step"]["failed"] == 2
        and counts["explicit worst growth"]["failed"] == TEXTS
    )


def test_an_empty_run_has_empty_tables(summary):
    empty = summarise(Run(summary.config, ()))
    assert empty.curves == empty.spectra == empty.growth == empty.regions == empty.maps == ()
    assert tables(empty)["unconverged"] == {}
