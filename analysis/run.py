"""A run folder: its configuration, its cells, what is missing of them, and all that was measured as
labelled arrays and as tables.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from analysis.cells import CellPlan
from analysis.ground.files import sweep as sweep_temporary
from analysis.ground.json_records import DamagedRecord, digest_of, read_record
from analysis.ground.write_tables import require_format, write_table
from analysis.quantities import registry
from analysis.quantities.quantity import Shortfall
from analysis.record import (
    Cell,
    CellFolder,
    DamagedCell,
    Run,
    read_config,
    read_run,
    write_config,
    write_record,
)
from analysis.zarr_store import read_store, write_store

DERIVED = (  # entries of a configuration that follow from the others and the model
    "cells",
    "declared",
    "directed",
    "encoder_depth",
    "hidden",
    "map_step_sizes",
    "sizes",
    "skipped_pairs",
    "status_names",
    "tokens",
    "warnings",
)
KEPT = ("model", "field", "dtype", "depth", "seed", "weights")  # attributes of an opened run
Report = Callable[[str], None]


@dataclasses.dataclass(frozen=True, eq=False)
class Measurements:
    """What a run measured.

    Attributes:
        config: its resolved configuration.
        datasets: by the name of a quantity; without variables where it was not measured.
    """

    config: Mapping[str, Any]
    datasets: Mapping[str, xr.Dataset]

    def __getitem__(self, quantity: str) -> xr.Dataset:
        """The dataset of one quantity."""
        return self.datasets[quantity]

    def shortfalls(self) -> list[Shortfall]:
        """Everything that did not converge, is a lower bound, or is not a finite number."""
        return registry.shortfalls(self.datasets)

    def summary(self) -> dict[str, Any]:
        """What summary.json holds."""
        return registry.summary(self.config, self.datasets)


def measurements(run: Run) -> Measurements:
    """The cells of a run as one labelled dataset for each quantity."""
    return Measurements(run.config, registry.datasets(run))


def read_measurements(folder: Path) -> Measurements:
    """The same of a run folder.

    Raises:
        ValueError: if its configuration or a cell is damaged; the message names it.
        FileNotFoundError: if it is no run folder, or a cell is missing.
    """
    return measurements(read_run(folder))


def open_run(folder: str | Path) -> xr.Dataset:
    """Everything that a run measured as one dataset: dims with coordinates (text, layer, step_size,
    method …), and variables with a name and a unit.

    What was measured on some texts alone is NaN on the others, and its flags are False there. The
    dim `method` has a second label `scheme`, as `sel` has an argument `method` of its own:
    `sel(scheme="implicit")`, or `sel({"method": "implicit"})`.

    Of a run that wrote a Zarr store, values are read when they are asked for.

    Args:
        folder: that `odestab analyze`, `predict` or `calibrate` wrote.

    Raises:
        ValueError: if its configuration, a cell or its store is damaged; the message names it.
        FileNotFoundError: if it is no run folder, or a cell is missing.
    """
    folder = Path(folder)
    config = read_config(folder)
    whole = read_store(folder, digest_of(config))
    if whole is None:
        found = read_measurements(folder)
        whole = merged(found.datasets)
    return _labelled(config, whole)


def merged(datasets: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """The datasets of all quantities as one, whose labels are plain coordinates."""
    parts = [dataset for dataset in datasets.values() if dataset]
    unset = {
        name: False
        for part in parts
        for name, array in part.data_vars.items()
        if array.dtype == bool
    }
    whole = xr.merge(
        parts,
        join="outer",
        compat="no_conflicts",
        fill_value=unset or np.nan,
        combine_attrs="drop_conflicts",
    )
    for dim in ("text", "pair"):
        whole = whole.sortby(dim) if dim in whole.dims else whole
    return whole


def _labelled(config: Mapping[str, Any], whole: xr.Dataset) -> xr.Dataset:
    """A merged dataset with the second label of methods, the texts and the attributes."""
    if "scheme" in whole.dims:
        whole = whole.rename(scheme="method")
        whole = whole.assign_coords(scheme=("method", whole["method"].values))
        whole = whole.set_xindex("scheme")
    whole.attrs = {name: config[name] for name in KEPT if name in config}
    return whole.assign_coords(_words(config, whole))


def _words(config: Mapping[str, Any], whole: xr.Dataset) -> dict[str, Any]:
    """The texts and pairs themselves, as coordinates beside their indices."""
    coords: dict[str, Any] = {}
    texts, tokens, pairs = (config.get(name) or [] for name in ("texts", "tokens", "pairs"))
    if "text" in whole.dims and len(texts) > whole["text"].max():
        coords["sentence"] = ("text", [texts[i] for i in whole["text"].values])
    if "text" in whole.dims and len(tokens) > whole["text"].max():
        coords["tokens"] = ("text", [tokens[i] for i in whole["text"].values])
    if "pair" in whole.dims and len(pairs) > whole["pair"].max():
        coords["original"] = ("pair", [pairs[i][1] for i in whole["pair"].values])
        coords["edited"] = ("pair", [pairs[i][2] for i in whole["pair"].values])
    return coords


def tables(found: Measurements) -> Iterator[tuple[str, pd.DataFrame]]:
    """Every table of a run by its name: one row for each combination of labels.

    A quantity has one, or one for each set of dims: what has no step size or scheme is repeated
    over them.
    """
    for name, dataset in found.datasets.items():
        groups: dict[tuple[str, ...], list[str]] = {}
        for each, array in dataset.data_vars.items():
            dims = sorted({*map(str, array.dims)} - {"step_size", "scheme"})
            groups.setdefault(tuple(dims), []).append(str(each))
        for names in groups.values():
            yield name if len(groups) == 1 else f"{name}-{names[0]}", _tidy(dataset[names])


def _tidy(dataset: xr.Dataset) -> pd.DataFrame:
    """A row for each combination of labels, complex numbers in two columns."""
    split: dict[str, xr.DataArray] = {}
    for name, array in dataset.data_vars.items():
        if np.iscomplexobj(array):
            known = ~np.isnan(array)  # of a complex NaN one part may be a number
            parts = {"re": array.real, "im": array.imag}
            split |= {f"{name}_{part}": values.where(known) for part, values in parts.items()}
        else:
            split[str(name)] = array
    frame = xr.Dataset(split, attrs=dataset.attrs).to_dataframe().reset_index()
    frame = frame.rename(columns={"scheme": "method"})
    if any(array.dtype == bool for array in split.values()):
        return frame
    # Without flags, a row of nothing is where a shorter text or grid has ended.
    return frame.dropna(how="all", subset=list(split)).reset_index(drop=True)


def export(found: Measurements, out: Path, form: str) -> list[Path]:
    """Write every table of a run, each file whole or not at all.

    Args:
        found: of the run.
        out: the folder of the files.
        form: "csv" or "parquet".

    Raises:
        ValueError: if the format is another one.
        OSError: if a file cannot be written.
    """
    require_format(form)
    out.mkdir(parents=True, exist_ok=True)
    return [write_table(frame, out, name, form) for name, frame in tables(found)]


def write_summary(folder: Path, found: Measurements, warn: Report) -> None:
    """Write summary.json from what was measured; one that was damaged is named first.

    Raises:
        OSError: if it cannot be written.
    """
    path = folder / "summary.json"
    try:
        if path.exists():
            read_record(path, dict)
    except DamagedRecord as error:
        warn(f"damaged summary, written again from the cells: {error}")
    write_record(path, found.summary())


def write_whole(folder: Path, found: Measurements) -> None:
    """Write what was measured as one Zarr store, which `open_run` reads as it is asked for.

    Raises:
        OSError: if it cannot be written.
    """
    write_store(folder, merged(found.datasets), digest_of(read_config(folder)))


def open_folder(out: Path, resolved: dict[str, Any]) -> None:
    """Create a run folder, or check that an existing one belongs to the same configuration.

    Raises:
        ValueError: if it does not; the choices, or the parts of the model, that differ are named.
        OSError: if it cannot be created or written.
    """
    (out / "cells").mkdir(parents=True, exist_ok=True)
    for folder in (out, out / "cells"):
        sweep_temporary(folder)
    if not (out / "config.json").exists():
        if CellFolder(out).names():
            raise ValueError(
                f"{out} has cells but no config.json that tells of what; choose another folder"
            )
        write_config(out, resolved)
        return
    try:
        existing = read_config(out)
    except ValueError as error:
        raise ValueError(f"{error}; choose another folder") from None
    differing = sorted(
        key for key in existing.keys() | resolved.keys() if existing.get(key) != resolved.get(key)
    )
    if differing:
        named = [key for key in differing if key not in DERIVED] or differing
        raise ValueError(
            f"{out} belongs to a run with another configuration (not the "
            f"same: {', '.join(named)}); choose another folder"
        )


def missing(
    cells: Iterable[CellPlan], known_by: Mapping[str, str], out: Path, warn: Report
) -> list[CellPlan]:
    """The cells that a folder lacks; damaged ones, and those of another model, are named and listed
    as missing.
    """
    folder = CellFolder(out, warn)
    present = folder.names()
    wanted = {cell.name: cell for cell in cells}
    whole = set()
    for name in folder.by_pack([name for name in wanted if name in present]):
        try:
            expected = {**wanted[name].header(), **known_by}
            _require_own(folder.read(name), expected, folder.folder)
            whole.add(name)
        except DamagedCell as error:
            warn(f"damaged cell, measured again: {error}")
    folder.close()
    return [cell for name, cell in wanted.items() if name not in whole]


def _require_own(cell: Cell, expected: dict[str, Any], folder: Path) -> None:
    """Refuse a cell that is not of what it is expected to be of."""
    for key, value in expected.items():
        if cell.header.get(key) != value:
            raise DamagedCell(
                f"{folder / cell.name}.safetensors: not a cell of this run: expected {key} "
                f"{value}, got {cell.header.get(key)}"
            )
