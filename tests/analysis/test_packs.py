"""A large run is a few files, which hold the bytes of thousands, and is read as it is asked for."""

import dataclasses
import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
import xarray as xr

from analysis import open_run, packs, sweep, units
from analysis.packs import MANY, pack, packed_cells, packs_cells
from analysis.record import CellFolder, DamagedCell, read_run, write_cell
from analysis.zarr_store import STORE


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def stored(run_folder: Path, odestab) -> Path:
    """The finished run after the same command with a Zarr store."""
    assert odestab.analyze("--store", "zarr").code == 0
    return run_folder


def spoilt(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 255
    path.write_bytes(content)


def test_a_stored_run_is_four_files_with_the_bytes_of_many(stored, finished):
    (packed,) = (stored / "cells").iterdir()
    assert files_of(stored) == {
        "config.json",
        "summary.json",
        STORE,
        f"cells/{packed.name}",
    }
    with zipfile.ZipFile(packed) as archive:
        inside = {name: archive.read(name) for name in archive.namelist()}
    assert inside == bytes_of(finished / "cells") and len(inside) > 20
    assert (stored / "summary.json").read_bytes() == (finished / "summary.json").read_bytes()
    for own, other in zip(read_run(stored).cells, read_run(finished).cells, strict=True):
        assert (own.name, own.header) == (other.name, other.header)


def test_the_same_command_again_measures_nothing_and_changes_no_byte(stored, odestab, monkeypatch):
    monkeypatch.setattr(units, "measure", lambda *_: pytest.fail("measured"))
    before = bytes_of(stored)
    assert odestab.analyze("--store", "zarr").code == 0 and bytes_of(stored) == before
    assert odestab.analyze().code == 0 and bytes_of(stored) == before  # and by its number of cells


def test_a_stored_run_opens_as_the_same_arrays_which_are_not_read_yet(stored, finished):
    lazy, whole = open_run(stored), open_run(finished)
    assert lazy["worst_growth"].chunks is not None and whole["worst_growth"].chunks is None
    alone = lazy["worst_growth"].sel(scheme="implicit", layer=1).load()
    xr.testing.assert_identical(alone, whole["worst_growth"].sel(scheme="implicit", layer=1))
    lazy.load()
    xr.testing.assert_identical(lazy, whole)
    assert {name: array.dtype for name, array in lazy.variables.items()} == {
        name: array.dtype for name, array in whole.variables.items()
    }


def test_without_dask_values_are_read_as_they_are_indexed(stored, finished, monkeypatch):
    monkeypatch.setitem(sys.modules, "dask.array", None)
    lazy = open_run(stored)
    assert lazy["worst_growth"].chunks is None and not lazy["worst_growth"].variable._in_memory
    xr.testing.assert_identical(lazy.load(), open_run(finished))


@pytest.mark.parametrize("case", ["another configuration", "no zarr"])
def test_a_store_that_cannot_be_used_is_passed_over(stored, finished, monkeypatch, case):
    if case == "no zarr":
        monkeypatch.setitem(sys.modules, "zarr.storage", None)
    else:
        shutil.copy(finished / "config.json", stored)
        config = json.loads((stored / "config.json").read_text())
        config.pop("digest")
        (stored / "config.json").write_text(json.dumps({**config, "seed": 1}))
    found = open_run(stored)
    assert found["worst_growth"].chunks is None and found["worst_growth"].notnull().any()


def test_a_damaged_store_is_named(stored):
    path = stored / STORE
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=rf"{STORE}: not a readable store .*; delete it"):
        open_run(stored)


@pytest.mark.slow
def test_a_damaged_cell_of_a_pack_is_named_and_measured_again(stored, odestab, finished):
    (packed,) = (stored / "cells").iterdir()
    name = "layer-l01-t0004.safetensors"
    with zipfile.ZipFile(packed) as archive:
        spoilt(packed, archive.getinfo(name).header_offset + 200)
    with pytest.raises(DamagedCell, match=rf"{packed.name}: {name}: not .*run the command that"):
        read_run(stored)
    outcome = odestab.analyze("--store", "zarr")
    damaged = [line for line in outcome.err if "damaged" in line]
    assert outcome.code == 0 and len(damaged) == 1
    assert f"damaged cell, measured again: run/cells/{packed.name}: {name}" in damaged[0]
    assert len(list((stored / "cells").iterdir())) == 2  # what was measured again has its own pack
    assert CellFolder(stored).read(name.split(".")[0]).header["layer"] == 1
    assert odestab.analyze("--store", "zarr").err == [
        line for line in outcome.err if "damaged" not in line
    ]
    assert (stored / "summary.json").read_bytes() == (finished / "summary.json").read_bytes()


def test_a_damaged_pack_is_named_and_its_cells_are_missing(run_folder, odestab):
    names = [path.stem for path in (run_folder / "cells").iterdir()]
    path = pack(run_folder / "cells", ["layer-l01-t0004"])
    assert path is not None
    path.write_bytes(b"no archive")
    with pytest.raises(FileNotFoundError, match=r"lacks 1 of \d+ cells, one is layer-l01-t0004"):
        read_run(run_folder)
    outcome = odestab.analyze()
    told = [line for line in outcome.err if "damaged pack, its cells are missing" in line]
    assert outcome.code == 0 and path.name in told[0]
    assert len(read_run(run_folder).cells) == len(names)


def test_a_cell_that_was_measured_again_is_read_from_the_newer_pack(run_folder, finished, odestab):
    name = "layer-l01-t0004"
    cells = run_folder / "cells"
    cell = CellFolder(run_folder).read(name)
    write_cell(cells, dataclasses.replace(cell, header={**cell.header, "weights": 64 * "f"}))
    of_another_model = pack(cells, [name])
    assert of_another_model is not None
    of_another_model = of_another_model.rename(cells / "pack-0.zip")
    os.utime(of_another_model, (1, 1))
    outcome = odestab.analyze("--store", "zarr")
    assert outcome.code == 0 and sum("not a cell of this run" in line for line in outcome.err) == 1
    assert CellFolder(run_folder).read(name).header == cell.header
    again = odestab.analyze("--store", "zarr")
    assert not any("not a cell of this run" in line for line in again.err)
    assert (run_folder / "summary.json").read_bytes() == (finished / "summary.json").read_bytes()


def test_a_cell_that_is_packed_while_it_is_looked_for_is_found(run_folder):
    folder = CellFolder(run_folder)
    names = folder.names()
    pack(run_folder / "cells", names)
    assert {folder.read(name).name for name in names} == names
    with pytest.raises(FileNotFoundError, match="has no cell nothing"):
        folder.read("nothing")


def test_equal_cells_are_equal_packs_and_a_pack_of_nothing_is_none(run_folder, finished, tmp_path):
    other = Path(shutil.copytree(finished, tmp_path / "other"))
    names = [path.stem for path in (other / "cells").iterdir()][:3]
    first = pack(run_folder / "cells", names)
    second = pack(other / "cells", {*names})
    assert first is not None and second is not None and first.name == second.name
    assert first.read_bytes() == second.read_bytes()
    assert packed_cells(other / "cells", pytest.fail) == {name: [second] for name in names}
    assert pack(other / "cells", names) is None


@pytest.mark.slow
def test_a_long_run_packs_on_its_way(run_folder, odestab, monkeypatch):
    kept: list[int] = []
    write = sweep.write_cell

    def counted(folder, cell):
        write(folder, cell)
        kept.append(len(list(folder.glob("*.safetensors"))))

    monkeypatch.setattr(sweep, "write_cell", counted)
    monkeypatch.setattr(sweep, "PACKED", 2)
    for path in (run_folder / "cells").glob("layer-*"):
        path.unlink()
    for path in (run_folder / "cells").glob("dense-*"):
        path.unlink()
    pack(run_folder / "cells", CellFolder(run_folder).names())
    assert odestab.analyze("--store", "zarr", "--workers", "1").code == 0
    assert max(kept) == 2 and len(kept) > 4
    assert len(list((run_folder / "cells").glob("*"))) == 1 + (len(kept) + 1) // 2


def test_the_number_of_cells_chooses_the_store(monkeypatch):
    lines: list[str] = []
    assert not packs_cells("auto", MANY, lines.append)
    assert packs_cells("auto", MANY + 1, lines.append) and packs_cells("zarr", 1, lines.append)
    assert not packs_cells("files", 10**6, lines.append) and lines == []
    with pytest.raises(ValueError, match=r"store must be one of auto, files, zarr, got 'sql'"):
        packs_cells("sql", 1, lines.append)
    monkeypatch.setattr(packs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"--store zarr: zarr is not installed: pip install"):
        packs_cells("zarr", 1, lines.append)
    assert not packs_cells("auto", MANY + 1, lines.append)
    assert len(lines) == 1 and "zarr is not installed" in lines[0]
