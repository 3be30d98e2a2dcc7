"""A run folder read as one labelled dataset, exported as tables, and its summary found damaged."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import analysis
from analysis.quantities import QUANTITIES, Quantity
from analysis.quantities.quantity import counted
from analysis.record import Cell, Run
from analysis.run import Measurements, measurements, read_measurements, tables

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "read-a-run.md"


@pytest.fixture(scope="module")
def run(finished: Path) -> xr.Dataset:
    return analysis.open_run(finished)


def test_a_run_is_one_dataset_with_units_and_labels(run: xr.Dataset) -> None:
    assert {"layer", "text", "pair", "step_size", "method", "map_step_size"} <= {*run.dims}
    assert run["text"].values.tolist() == [0, 1, 2, 3, 4, 5]
    assert run["sentence"].sel(text=0).item() == "the cat sat"
    assert run["tokens"].values.tolist() == [5, 8, 5, 8, 4, 4]
    assert run["original"].sel(pair=0).item() == "the cat ran"
    assert run["logarithmic_norm"].attrs["units"] == "1/h" and run.attrs["field"] == "increment"
    for name, values in run.data_vars.items():
        assert values.attrs["long_name"] and values.attrs["units"], name
    frame = run["worst_growth"].sel(scheme="implicit", step_size=1.0).to_pandas()
    assert frame.shape == (2, 6) and (frame > 0).all(axis=None)
    assert frame.equals(
        run["worst_growth"].sel({"method": "implicit"}).sel(step_size=1.0).to_pandas()
    )


def test_what_was_not_measured_is_nan_and_no_flag(finished: Path, monkeypatch) -> None:
    found = read_measurements(finished)
    half = {**found.datasets, "spectrum": found["spectrum"].isel(text=slice(0, 2))}
    monkeypatch.setattr(
        "analysis.run.read_measurements", lambda _: Measurements(found.config, half)
    )
    run = analysis.open_run(finished)
    assert run["eigenvalue_converged"].dtype == bool
    known = run["eigenvalue_converged"].any(["layer", "rank"])
    np.testing.assert_array_equal(known, np.isfinite(run["eigenvalue"]).any(["layer", "rank"]))
    assert int(known.sum()) == 2


def test_the_examples_of_the_page_run(finished: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "demo").symlink_to(finished)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", HOW_TO.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 7  # the opening, and six examples
    scope: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, HOW_TO.name, "exec"), scope)


def test_importing_the_package_loads_nothing() -> None:
    code = "import sys, analysis; print(sorted({'xarray', 'torch', 'numpy'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="has no attribute 'close_run'"):
        analysis.close_run  # noqa: B018


@pytest.mark.slow
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_every_table_is_exported(odestab, run_folder: Path, form: str) -> None:
    outcome = odestab("export", "run", "--format", form, "--out", "tables")
    assert outcome.code == 0
    written = {path.stem: path for path in Path("tables").iterdir()}
    *files, words = outcome.out.splitlines()
    assert sorted(files) == sorted(f"table: {path}" for path in written.values())
    assert words.startswith("next: ")
    expected = dict(tables(read_measurements(run_folder)))
    assert written.keys() == expected.keys() and "growth" in written
    for name, frame in expected.items():
        path = written[name]
        read = pd.read_csv(path) if form == "csv" else pd.read_parquet(path)
        assert list(read.columns) == list(frame.columns) and len(read) == len(frame) > 0
        for column in frame.select_dtypes("number"):
            # What is in single precision is written in as few digits as tell it apart.
            values = read[column].astype(frame[column].dtype)
            np.testing.assert_array_equal(values, frame[column])


def test_a_table_has_a_row_for_each_combination_of_labels(finished: Path) -> None:
    found = read_measurements(finished)
    growth = dict(tables(found))["growth"]
    assert (
        len(growth) == 2 * 6 * 1 * 2
        and not growth.duplicated(["layer", "text", "step_size", "method"]).any()
    )
    row = growth.query("layer == 1 and text == 3 and method == 'implicit'").iloc[0]
    own = found["growth"].sel(layer=1, text=3, step_size=1.0, scheme="implicit")
    assert row["worst_growth"] == float(own["worst_growth"])
    assert row["logarithmic_norm"] == float(own["logarithmic_norm"])
    eigenvalues = dict(tables(found))["dense-full_eigenvalue"]
    # One row for each of 16 hidden numbers of each token, none beyond a text's end.
    assert len(eigenvalues) == 2 * 16 * sum((5, 8, 5, 8, 4, 4))
    assert eigenvalues[["full_eigenvalue_re", "full_eigenvalue_im"]].notna().all(axis=None)


def test_export_refuses_in_one_line(odestab, desk: Path) -> None:
    odestab.refuses(["export", "run"], "run is no run folder: expected config.json in it")
    odestab.refuses(["export", "run", "--format", "xlsx"], "--format: invalid choice: 'xlsx'")
    odestab.refuses(["export"], "required: RUN")


def test_export_to_a_place_that_is_a_file_is_one_line(odestab, run_folder: Path) -> None:
    Path("taken").touch()
    odestab.refuses(["export", "run", "--out", "taken"], "taken: File exists")


@pytest.mark.slow
def test_tables_lie_in_the_run_folder_by_default(odestab, run_folder: Path) -> None:
    assert odestab("export", "run").code == 0
    assert (run_folder / "tables" / "growth.csv").is_file()


@pytest.mark.parametrize("command", [("report", "run"), ()])
def test_a_damaged_summary_is_named_and_written_again(odestab, run_folder: Path, command) -> None:
    path = run_folder / "summary.json"
    whole = path.read_bytes()
    for damage in (whole.replace(b'"seed": 0', b'"seed": 1'), whole[:-20], b"\xff"):
        path.write_bytes(damage)
        outcome = odestab(*command) if command else odestab.analyze()
        assert outcome.code == 0
        named = [line for line in outcome.err if "damaged summary, written again" in line]
        assert len(named) == 1 and "summary.json" in named[0]
        assert path.read_bytes() == whole


def test_a_summary_without_a_digest_is_of_an_earlier_version(odestab, run_folder: Path) -> None:
    path = run_folder / "summary.json"
    whole = path.read_bytes()
    content = json.loads(whole)
    del content["digest"]
    path.write_text(json.dumps(content))
    outcome = odestab.analyze()
    assert outcome.code == 0 and not any("damaged" in line for line in outcome.err)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("command", [("report", "run"), ("export", "run"), ()])
def test_a_damaged_configuration_is_one_line(odestab, run_folder: Path, command) -> None:
    path = run_folder / "config.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    outcome = odestab(*command) if command else odestab.analyze()
    assert outcome.code == 2 and "config.json" in outcome.err[-1]
    assert "the file was changed" in outcome.err[-1]


def test_cells_of_an_earlier_version_are_read(finished: Path) -> None:
    """They hold no boundaries of the stability map."""
    found = read_measurements(finished)
    cells = []
    for cell in analysis.run.read_run(finished).cells:
        arrays = {name: a for name, a in cell.arrays.items() if not name.endswith("_map_boundary")}
        cells.append(Cell(cell.name, cell.header, arrays))
    earlier = measurements(Run(dict(found.config), tuple(cells)))
    assert "map_boundary" not in earlier["stability_map"]
    assert earlier.summary() == found.summary() or str(earlier.summary()) == str(found.summary())


def test_a_new_quantity_is_planned_measured_summarised_and_listed(
    desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file and its place in the registry are all it takes."""
    from analysis import sweep
    from analysis.cells import CellPlan
    from analysis.config import StudyConfig
    from analysis.quantities import registry
    from analysis.quantities.labelled import joined, variable

    def of_cell(cell: Cell) -> xr.Dataset:
        length = variable("text", cell.arrays["length"], "length of a text", "tokens")
        return xr.Dataset({"length": length}, coords={"text": cell.header["texts"]})

    lengths = Quantity(
        name="lengths",
        cell="lengths",
        depths=("quick",),
        plan=lambda scope: [CellPlan("lengths", chunk) for chunk in scope.texts],
        measure=lambda study, plan: ({}, {"length": np.array([np.nan] * len(plan.texts))}),
        dataset=lambda run: joined(run.of_kind("lengths"), of_cell),
        shortfalls=lambda dataset: counted(
            "length", np.isnan(dataset["length"]), "not finite", "all"
        ),
        units={"length": "tokens"},
        table=("lengths", lambda dataset: [{"texts": dataset.sizes["text"]}]),
    )
    monkeypatch.setattr(registry, "QUANTITIES", (*QUANTITIES, lengths))
    config = StudyConfig("bert", ("the cat", "the dog ran"), layers=(0,))
    prepared = sweep.prepare(config, pytest.fail)
    own = [cell for cell in prepared.cells if cell.kind == "lengths"]
    assert [cell.name for cell in own] == ["lengths-t0000"]
    found = sweep.measure_in_memory(prepared, own)
    assert found.summary()["lengths"] == [{"texts": 2}]
    assert [one.quantity for one in found.shortfalls()] == ["length"]
    assert [name for name, _ in tables(found)] == ["lengths"]
