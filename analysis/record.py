"""What a run folder holds: one safetensors file per cell, written whole or not at all, or packs of
many of them, and the resolved configuration.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from analysis.ground import json_records
from analysis.ground.files import write_bytes as write_bytes
from analysis.ground.json_records import (
    DIGEST,
    Within,
    parse_json,
    read_json,
    read_record,
    require,
)
from analysis.packs import CELL, OpenPacks, packed_cells

SCHEMA = 2  # of 1, cells carried no digest
UNKNOWN = 64 * "0"  # stands for the digest of a cell while it is computed
NEEDED = ("model", "field", "step_sizes", "map_step_sizes")  # entries that no configuration lacks

# equal content is equal bytes
write_json = functools.partial(json_records.write_json, sort_keys=True)
write_record = functools.partial(json_records.write_record, sort_keys=True)


class DamagedCell(ValueError):
    """A cell file that cannot be read back; the message names it."""


Positive = Annotated[float, Within(5e-324)]
Count = Annotated[int, Within(0)]


class RunConfig(TypedDict):
    """What is read of config.json; it holds every choice of the run."""

    model: str
    field: Literal["increment", "outer"]
    step_sizes: Annotated[list[Positive], Within(1)]
    map_step_sizes: Annotated[list[Positive], Within(1)]
    depth: NotRequired[str]
    tolerances: NotRequired[list[Positive]]
    texts: NotRequired[list[str]]
    tokens: NotRequired[list[Count]]
    pairs: NotRequired[list[tuple[str, str, str]]]
    skipped_pairs: NotRequired[list[tuple[Count, str]]]
    status_names: NotRequired[list[str]]
    warnings: NotRequired[list[str]]
    cells: NotRequired[list[str]]
    sizes: NotRequired[list[Positive]]
    encoder_depth: NotRequired[Count]
    versions: NotRequired[dict[str, str]]


class Header(TypedDict):
    """What the header of every cell has."""

    kind: str


@dataclasses.dataclass(frozen=True)
class Cell:
    """One unit of measurement.

    Attributes:
        name: the file's stem, unique in a run.
        header: what was measured on what: "kind", and as the kind needs "layer", "texts" (indices),
            "step_size", "perturbation"; "units" by array name, "seed", and package "versions".
        arrays: the numbers; complex ones have a trailing axis of length 2 (real, imaginary).
    """

    name: str
    header: dict[str, Any]
    arrays: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Run:
    """A run folder read back: its configuration, and the cells that it lists in order of their
    names.
    """

    config: dict[str, Any]
    cells: tuple[Cell, ...]

    def of_kind(self, kind: str) -> list[Cell]:
        """The cells of one kind."""
        return [cell for cell in self.cells if cell.header["kind"] == kind]


def write_cell(folder: Path, cell: Cell) -> None:
    """Write `folder/<name>.safetensors`, the header as JSON in its metadata.

    Raises:
        OSError: if the file cannot be written.
    """
    header = json.dumps({"schema": SCHEMA, DIGEST: UNKNOWN, **cell.header}, sort_keys=True)
    arrays = {name: np.asarray(array, order="C") for name, array in cell.arrays.items()}
    content = save(arrays, {"odestab": header})
    digest = hashlib.sha256(content).hexdigest()
    write_bytes(
        folder / f"{cell.name}.safetensors", content.replace(UNKNOWN.encode(), digest.encode(), 1)
    )


def read_cell(path: Path) -> Cell:
    """Read one cell.

    Raises:
        DamagedCell: if the file is truncated, is no cell, has another schema, or a byte that is not
            as it was written.
    """
    return cell_of(path.read_bytes(), path.stem, str(path))


def cell_of(raw: bytes, name: str, path: str) -> Cell:
    """A cell from the content of its file; `path` is for messages.

    Raises:
        DamagedCell: likewise.
    """
    try:
        length = int.from_bytes(raw[:8], "little")
        metadata = parse_json(raw[8 : 8 + length], "its header")["__metadata__"]
        header = parse_json(metadata["odestab"], "its header")
        arrays = load(raw)
        schema, digest = header.pop("schema"), header.pop(DIGEST, None)
        require(header, Header, "its header")
    except (SafetensorError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DamagedCell(
            f"{path}: not a readable cell ({type(error).__name__}: {error})"
        ) from error
    if schema not in (1, SCHEMA):
        raise DamagedCell(f"{path}: expected schema {SCHEMA}, got {schema}")
    written = hashlib.sha256(raw.replace(str(digest).encode(), UNKNOWN.encode(), 1)).hexdigest()
    if digest != written and (schema, digest) != (1, None):
        raise DamagedCell(f"{path}: not as it was written, expected bytes with the digest {digest}")
    return Cell(name, header, arrays)


class CellFolder:
    """The cells that a run folder holds, in files of their own and in packs.

    Args:
        folder: of the run.
        warn: called with one line for each pack that cannot be opened.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None] = lambda line: None) -> None:
        self.folder = folder / "cells"
        self._warn = warn
        self._packs = OpenPacks()
        self._holders: dict[str, list[Path]] = {}

    def names(self) -> set[str]:
        """Of all cells that are there."""
        # files first: a cell moves from its file to a pack
        files = {path.stem for path in self.folder.glob(f"*{CELL}")}
        self._holders = packed_cells(self.folder, self._warn)
        return files | self._holders.keys()

    def by_pack(self, names: Iterable[str]) -> list[str]:
        """Names in the order in which they are read fastest: files as given, then pack by pack."""
        return sorted(names, key=lambda name: str(self._holders.get(name, [""])[0]))

    def read(self, name: str) -> Cell:
        """One cell: its file, or what a pack holds of it.

        Raises:
            FileNotFoundError: if it is in neither.
            DamagedCell: if it is there, but nowhere as it was written.
        """
        damaged: DamagedCell | None = None
        try:
            return read_cell(self.folder / f"{name}{CELL}")
        except DamagedCell as error:
            damaged = error
        except FileNotFoundError:
            if name not in self._holders:  # it may have been packed since
                self._holders = packed_cells(self.folder, lambda line: None)
        for pack in self._holders.get(name, ()):
            path = f"{pack}: {name}{CELL}"
            try:
                return cell_of(self._packs.read(pack, name), name, path)
            except DamagedCell as error:
                damaged = damaged or error
            except ValueError as error:
                damaged = damaged or DamagedCell(f"{path}: not a readable cell ({error})")
        if damaged is not None:
            raise damaged
        raise FileNotFoundError(f"{self.folder} has no cell {name}")

    def close(self) -> None:
        """Let go of open packs."""
        self._packs.close()


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write a run's configuration, plain JSON values, with a digest."""
    write_record(folder / "config.json", config)


def read_config(folder: Path) -> dict[str, Any]:
    """Read a run's configuration.

    Raises:
        ValueError: if it is not readable, or not what its digest is of.
        FileNotFoundError: if the folder has none.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is no run folder: expected config.json in it")
    try:
        config = read_json(path)
    except ValueError as error:
        raise ValueError(
            f"{path} is not readable JSON ({str(error).removeprefix(f'{path}: ')})"
        ) from None
    if not isinstance(config, dict) or not config.keys() >= {*NEEDED}:
        raise ValueError(
            f"{path} is not the configuration of a run: expected {', '.join(NEEDED)} in it"
        )
    config = read_record(path, RunConfig)
    config.pop(DIGEST, None)  # earlier versions wrote none
    return config


def read_run(folder: Path) -> Run:
    """Read a whole run folder: the cells that its configuration lists, or all where it lists none;
    other files are left alone.

    Raises:
        FileNotFoundError: if it has no config.json, or a cell is missing.
        ValueError: if config.json is not readable.
        DamagedCell: if a cell cannot be read.
    """
    config = read_config(folder)
    cells = CellFolder(folder)
    present = cells.names()
    names = sorted(config.pop("cells", None) or present, key=lambda name: f"{name}{CELL}")
    if absent := [name for name in names if name not in present]:
        raise FileNotFoundError(
            f"{folder} lacks {len(absent)} of {len(names)} cells, one is "
            f"{absent[0]}; run the command that made it again"
        )
    try:
        read = {name: cells.read(name) for name in cells.by_pack(names)}
        return Run(config, tuple(read[name] for name in names))
    except DamagedCell as error:
        raise DamagedCell(f"{error}; run the command that made it again") from error
    finally:
        cells.close()
