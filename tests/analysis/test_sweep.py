"""A study is measured once, in any order and grouping, and nothing that was measured is lost."""

import dataclasses
import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from analysis import record, sweep, units
from analysis.config import Pair, StudyConfig, read_texts
from analysis.ground.json_records import finite
from analysis.quantities.propagation import growths
from analysis.record import read_config
from analysis.run import Measurements


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the cells that are measured from now on."""
    names: list[str] = []
    measure = units.measure

    def counted(study, cell):
        names.append(cell.name)
        return measure(study, cell)

    monkeypatch.setattr(units, "measure", counted)
    return names


@pytest.fixture
def config(desk: Path) -> StudyConfig:
    texts, pairs = read_texts(Path("texts.tsv"))
    return StudyConfig("bert", texts, pairs)


def refuse(line: str) -> None:
    raise AssertionError(line)


def test_the_resolved_configuration_is_the_file_and_says_what_was_left_out(run_folder, config):
    lines: list[str] = []
    resolved = sweep.prepare(dataclasses.replace(config, dense_limit=160), lines.append).resolved
    assert read_config(run_folder) == resolved
    assert (
        resolved["layers"] == [0, 1]
        and resolved["encoder_depth"] == 2
        and resolved["depth"] == "quick"
        and resolved["hidden"] == 16
    )
    assert resolved["texts"] == list(config.texts) and resolved["tokens"] == [5, 8, 5, 8, 4, 4]
    assert resolved["skipped_pairs"] == [
        [2, "4 against 5 tokens; a state difference needs the same number"],
        [3, "the same tokens on both sides; the model cannot tell them apart"],
    ]
    assert (
        lines
        == resolved["warnings"]
        == [
            f"pair 3 left out of propagation: {resolved['skipped_pairs'][0][1]}",
            f"pair 4 left out: {resolved['skipped_pairs'][1][1]}",
        ]
    )
    assert sorted(resolved["cells"]) == sorted(
        path.stem for path in (run_folder / "cells").iterdir()
    )


def test_the_same_command_again_measures_nothing_and_changes_no_byte(run_folder, odestab, measured):
    before = bytes_of(run_folder)
    assert odestab.analyze().code == 0
    assert measured == [] and bytes_of(run_folder) == before


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_that_share_a_folder_give_the_records_of_one(
    finished, desk, odestab, measured, ranks
):
    told = [
        odestab.analyze("--shard", f"{rank}/{ranks}", "--workers", "1")
        for rank in reversed(range(ranks))
    ]
    assert [one.code for one in told] == [0] * ranks and [
        ("report" in one.out) for one in told
    ] == [False] * (ranks - 1) + [True]
    assert (
        sorted(measured)
        == sorted(set(measured))
        == sorted(path.stem for path in (finished / "cells").iterdir())
    )
    assert bytes_of(desk / "run") == bytes_of(finished)


@pytest.mark.slow
def test_two_ranks_that_write_the_same_cells_do_no_harm(finished, desk, odestab):
    assert odestab.analyze("--shard", "0/2", "--workers", "1").code == 0
    assert odestab.analyze("--workers", "1").code == 0
    assert bytes_of(desk / "run") == bytes_of(finished)


@pytest.mark.slow
def test_a_cell_measured_alone_is_the_cell_measured_in_turn(run_folder, odestab, measured):
    names = ["propagation-h1-worst-t0000", "layer-l01-t0000", "propagation-h1-typo-t0000"]
    before = bytes_of(run_folder)
    cells = sorted(
        (
            path
            for path in (run_folder / "cells").iterdir()
            if path.stem.startswith(tuple(n[:-6] for n in names))
        ),
        reverse=True,
    )
    for path in cells:
        path.unlink()
        assert odestab.analyze().code == 0
        assert measured[-1] == path.stem
    assert len(measured) == len(cells) >= 3 and bytes_of(run_folder) == before


@pytest.mark.parametrize("damage", ["truncated", "random", "another cell", "another model"])
def test_a_damaged_cell_is_named_and_measured_again(run_folder, odestab, measured, damage):
    before = bytes_of(run_folder)
    path = run_folder / "cells" / "dense-l00-t0000.safetensors"
    own = record.read_cell(path)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "random":
        path.write_bytes(np.random.default_rng(0).bytes(1000))
    elif damage == "another cell":
        shutil.copy(path.with_name("dense-l01-t0000.safetensors"), path)
    else:
        record.write_cell(
            path.parent, dataclasses.replace(own, header={**own.header, "weights": "0" * 64})
        )
    if damage in ("truncated", "random"):
        odestab.refuses(["report", "run"], "dense-l00-t0000.*run the command that made it again")
    outcome = odestab.analyze()
    assert outcome.code == 0 and measured == [path.stem]
    damaged = [line for line in outcome.err if "damaged" in line]
    assert len(damaged) == 1 and str(path.relative_to(Path.cwd())) in damaged[0]
    assert bytes_of(run_folder) == before


def test_files_that_are_no_cells_of_the_run_disturb_nobody(run_folder, odestab, measured):
    (run_folder / "cells" / "stray.safetensors").write_bytes(b"stray")
    (run_folder / "cells" / "folder.safetensors").mkdir()
    (run_folder / "cells" / ".layer-l00-t0000.safetensors.123").write_bytes(b"left by a killed run")
    summary = (run_folder / "summary.json").read_bytes()
    assert odestab.analyze().code == 0 and odestab("report", "run").code == 0
    assert measured == [] and (run_folder / "summary.json").read_bytes() == summary


@pytest.mark.slow
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_loses_nothing(run_folder, odestab, monkeypatch, call):
    before, cells = bytes_of(run_folder), run_folder / "cells"
    # in the order in which they are measured
    lost = sorted(cells.glob("dense-*"), key=lambda path: path.stem.split("-")[::-1])
    for path in (*lost, run_folder / "summary.json"):
        path.unlink()
    kept, original = bytes_of(run_folder), getattr(os, call)
    # A cell is renamed once; its bytes and then its folder are flushed. The third one fails.
    left = [5 if call == "fsync" else 3]

    def until_full(*arguments):
        left[0] -= 1
        if left[0] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, until_full)
        outcome = odestab.analyze("--workers", 1)  # the cells in their order
    assert outcome.code == 1
    assert [line for line in outcome.err if "warning" not in line] == [
        f"odestab: error: {Path('run', 'cells', lost[2].name)}: No space left on device"
    ]
    after = bytes_of(run_folder)
    assert after == kept | {path.name: before[path.name] for path in lost[:2]}
    odestab.refuses(
        ["report", "run"],
        f"lacks {len(lost) - 2} of {len(list(cells.iterdir())) + len(lost) - 2} cells",
    )
    assert odestab.analyze().code == 0 and bytes_of(run_folder) == before


def test_want_of_memory_is_one_line(run_folder, odestab, monkeypatch):
    def greedy(*_):
        return torch.empty(2**60)

    next((run_folder / "cells").glob("dense-*")).unlink()
    monkeypatch.setattr(units, "measure", greedy)
    outcome = odestab.analyze()
    assert outcome.code == 1 and "not enough memory; shorter texts" in outcome.err[-1]


def test_another_failure_is_not_taken_for_want_of_memory(desk, config, monkeypatch):
    def broken(*_):
        raise RuntimeError("illegal memory access")

    prepared = sweep.prepare(config, lambda line: None)
    monkeypatch.setattr(units, "measure", broken)
    with pytest.raises(RuntimeError, match="illegal"):
        sweep.measure_in_memory(prepared, prepared.cells[:1])


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (("--seed", "1"), "seed"),
        (("--step-size", "0.5"), "step_sizes"),
        (("--depth", "full"), "depth"),
        (("--limit", "1", "--field", "outer"), "field, pairs, texts"),
    ],
)
def test_a_run_with_another_configuration_is_left_alone(run_folder, odestab, changed, named):
    before = bytes_of(run_folder)
    outcome = odestab.analyze(*changed)
    expected = (
        "odestab: error: run belongs to a run with another "
        f"configuration (not the same: {named}); choose another folder"
    )
    assert outcome.code == 2 and outcome.err[-1] == expected
    assert bytes_of(run_folder) == before


def test_cells_without_a_configuration_are_not_trusted(run_folder, odestab):
    (run_folder / "config.json").unlink()
    outcome = odestab.analyze()
    assert outcome.code == 2 and "run has cells but no config.json" in outcome.err[-1]


def largest_difference(a: xr.DataArray, b: xr.DataArray) -> float:
    """Relative to the largest entry, label by label."""
    b = b.reindex_like(a).transpose(*a.dims)
    return float(np.abs(a - b).max(skipna=False) / np.abs(b).max())


@pytest.mark.slow
def test_values_of_a_text_do_not_depend_on_its_batch_mates(config):
    tight = dataclasses.replace(
        config,
        texts=config.texts[:4],
        pairs=config.pairs[:2],
        layers=(1,),
        rtol=1e-8,
        growth_rtol=1e-5,
        eigenvalues=4,
    )
    found: list[Measurements] = []
    for chunk in (1, 3):
        prepared = sweep.prepare(dataclasses.replace(tight, chunk=chunk), refuse)
        cells = [
            cell for cell in prepared.cells if {"layer", "typo"} & {cell.kind, cell.perturbation}
        ]
        found.append(sweep.measure_in_memory(prepared, cells))
    alone, together = found
    spectra = [one["spectrum"] for one in found]
    assert all(bool(one["eigenvalue_converged"].all()) for one in spectra)
    distances = [np.abs(one["eigenvalue"] + 1) for one in spectra]
    assert largest_difference(*distances) <= 1e-6
    assert all(bool(one["growth"]["worst_growth_converged"].all()) for one in found)
    for name in ("logarithmic_norm", "worst_growth", "spectral_growth"):
        # Of second order in growth_rtol.
        assert largest_difference(alone["growth"][name], together["growth"][name]) <= 1e-6
    (one,), (other,) = (growths(each["propagation"]) for each in found)
    for method, solved in (("implicit", 2e-5), ("explicit", 1e-9)):
        # A perturbed path is solved 1e-5 below the perturbation.
        for name in ("measured", "predicted"):
            values = (each.values[name].sel(scheme=method) for each in (one, other))
            assert largest_difference(*values) <= solved


def test_an_edit_pair_of_each_side_alone(desk):
    config = StudyConfig(
        "bert",
        ("the cat",),
        (Pair("edit", "the cat", "the dog"), Pair("edit", "the cat", "the dog ran")),
    )
    lines: list[str] = []
    prepared = sweep.prepare(config, lines.append)
    assert lines == [
        "pair 2 left out of propagation: 4 against 5 tokens; "
        "a state difference needs the same number"
    ]
    edits = [cell for cell in prepared.cells if cell.perturbation == "edit"]
    assert [(cell.kind, cell.texts) for cell in edits] == [
        ("propagation", (0,)),
        ("secants", (0, 1)),
    ]
    measured = sweep.measure_in_memory(prepared, edits)["propagation"]
    assert [np.isnan(one.size) for one in growths(measured)] == [True]


@pytest.mark.slow
def test_single_precision_and_two_step_sizes(desk):
    config = StudyConfig(
        "bert", ("the cat",), dtype="float32", step_sizes=(0.5, 1.0), layers=(1,), field="outer"
    )
    prepared = sweep.prepare(config, refuse)
    found = sweep.measure_in_memory(prepared, prepared.cells)
    assert found["growth"]["layer"].values.tolist() == [1]
    for name in ("growth", "propagation", "regions"):
        assert found[name]["step_size"].values.tolist() == [0.5, 1.0]
    json.dumps(finite(found.summary()), allow_nan=False)
