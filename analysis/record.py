"""What a run folder holds: one safetensors file per cell, written whole or not at all, and the resolved configuration."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

SCHEMA = 1


class DamagedCell(ValueError):
    """A cell file that cannot be read back; the message names it."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """One unit of measurement.

    Attributes:
        name: the file's stem, unique in a run.
        header: what was measured on what: "kind", and as the kind needs "layer", "texts" (indices), "step_size", "perturbation";
            "units" by array name, "seed", and package "versions".
        arrays: the numbers; complex ones have a trailing axis of length 2 (real, imaginary).
    """

    name: str
    header: dict[str, Any]
    arrays: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Run:
    """A run folder read back: its configuration and all its cells, in order of their names."""

    config: dict[str, Any]
    cells: tuple[Cell, ...]

    def of_kind(self, kind: str) -> list[Cell]:
        """The cells of one kind."""
        return [cell for cell in self.cells if cell.header["kind"] == kind]


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, flush it to the disk and rename it: a killed run leaves the old file or the new one.

    Raises:
        OSError: if the disk is full or the folder cannot be written; the temporary file is removed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write JSON with sorted keys, so that equal content is equal bytes; NaN and infinities become null."""
    write_bytes(path, (json.dumps(_finite(content), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())


def write_cell(folder: Path, cell: Cell) -> None:
    """Write `folder/<name>.safetensors`, the header as JSON in its metadata.

    Raises:
        OSError: if the file cannot be written.
    """
    header = json.dumps({"schema": SCHEMA, **cell.header}, sort_keys=True)
    arrays = {name: np.ascontiguousarray(array) for name, array in cell.arrays.items()}
    write_bytes(folder / f"{cell.name}.safetensors", save(arrays, {"odestab": header}))


def read_cell(path: Path) -> Cell:
    """Read one cell.

    Raises:
        DamagedCell: if the file is truncated, is no cell, or has another schema.
    """
    try:
        raw = path.read_bytes()
        length = int.from_bytes(raw[:8], "little")
        header = json.loads(json.loads(raw[8 : 8 + length])["__metadata__"]["odestab"])
        arrays = load_file(path)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DamagedCell(f"{path}: not a readable cell ({type(error).__name__}: {error})") from error
    if header.pop("schema", None) != SCHEMA:
        raise DamagedCell(f"{path}: expected schema {SCHEMA}")
    return Cell(path.stem, header, arrays)


def read_run(folder: Path) -> Run:
    """Read a whole run folder.

    Raises:
        FileNotFoundError: if it has no config.json.
        DamagedCell: if a cell cannot be read.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is no run folder: expected config.json in it")
    config = json.loads(path.read_text(encoding="utf-8"))
    return Run(config, tuple(read_cell(path) for path in sorted((folder / "cells").glob("*.safetensors"))))


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {str(key): _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    if isinstance(content, np.ndarray):
        return _finite(content.tolist())
    if isinstance(content, np.generic):
        return _finite(content.item())
    if isinstance(content, float) and not np.isfinite(content):
        return None
    return content
