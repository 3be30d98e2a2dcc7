"""What a run folder holds: one safetensors file per cell, written whole or not at all, and the resolved configuration."""

import contextlib
import dataclasses
import hashlib
import json
import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

SCHEMA = 2  # of 1, cells carried no digest
DIGEST = "digest"  # the entry under which a cell or a configuration carries the sha256 of its content
NEEDED = ("model", "field", "step_sizes", "map_step_sizes")  # entries that no configuration lacks


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
    """A run folder read back: its configuration, and the cells that it lists in order of their names."""

    config: dict[str, Any]
    cells: tuple[Cell, ...]

    def of_kind(self, kind: str) -> list[Cell]:
        """The cells of one kind."""
        return [cell for cell in self.cells if cell.header["kind"] == kind]


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, flush it to the disk and rename it: a killed run leaves the old file or the new one.

    Raises:
        OSError: if the disk is full or the folder cannot be written; it names the file, and the temporary file is removed.
    """
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:  # of a full disk it knows no file
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def sweep_temporaries(folder: Path) -> None:
    """Remove the temporary files of processes of this host that were killed while they wrote into a folder."""
    for path in folder.glob(f".*.{socket.gethostname()}.*"):
        pid = path.name.rpartition(".")[2]
        if pid.isdecimal() and not _is_alive(int(pid)):
            path.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # of another user
        return True
    return True


def write_json(path: Path, content: Any) -> None:
    """Write JSON with sorted keys, so that equal content is equal bytes; NaN and infinities become null."""
    write_bytes(path, (json.dumps(_finite(content), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())


def write_cell(folder: Path, cell: Cell) -> None:
    """Write `folder/<name>.safetensors`, the header as JSON in its metadata, with a digest of both.

    Raises:
        OSError: if the file cannot be written.
    """
    arrays = {name: np.asarray(array, order="C") for name, array in cell.arrays.items()}
    entries = {"schema": SCHEMA, **json.loads(json.dumps(cell.header))}
    header = json.dumps({**entries, DIGEST: content_digest(entries, arrays)}, sort_keys=True)
    write_bytes(folder / f"{cell.name}.safetensors", save(arrays, {"odestab": header}))


def read_cell(path: Path) -> Cell:
    """Read one cell.

    Raises:
        DamagedCell: if the file is truncated, is no cell, has another schema, or other bytes than those of its digest.
    """
    try:
        raw = path.read_bytes()
        length = int.from_bytes(raw[:8], "little")
        header = json.loads(json.loads(raw[8 : 8 + length])["__metadata__"]["odestab"])
        arrays = load(raw)
        expected = header.pop(DIGEST, None)
        whole = expected == content_digest(header, arrays) or (expected is None and header["schema"] == 1)
        schema = header.pop("schema")
    except (SafetensorError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedCell(f"{path}: not a readable cell ({type(error).__name__}: {error})") from error
    if not whole:
        raise DamagedCell(f"{path}: its bytes are not those that were written")
    if schema not in (1, SCHEMA):
        raise DamagedCell(f"{path}: expected schema {SCHEMA}, got {schema}")
    return Cell(path.stem, header, arrays)


def content_digest(entries: dict[str, Any], arrays: dict[str, np.ndarray] | None = None) -> str:
    """Sha256 of plain entries and of arrays with their names, types and shapes."""
    digest = hashlib.sha256(json.dumps(entries, sort_keys=True).encode())
    for name, array in sorted((arrays or {}).items()):
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write a run's configuration, plain JSON values, with a digest."""
    write_json(folder / "config.json", {**config, DIGEST: content_digest(config)})


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
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not readable JSON ({error})") from None
    if not isinstance(config, dict) or not config.keys() >= {*NEEDED}:
        raise ValueError(f"{path} is not the configuration of a run: expected {', '.join(NEEDED)} in it")
    expected = config.pop(DIGEST, None)  # earlier versions wrote none
    if expected not in (None, content_digest(config)):
        raise ValueError(f"{path} is damaged: its content is not what was written")
    return config


def read_run(folder: Path) -> Run:
    """Read a whole run folder: the cells that its configuration lists, or all where it lists none; other files are left alone.

    Raises:
        FileNotFoundError: if it has no config.json, or a cell is missing.
        ValueError: if config.json is not readable.
        DamagedCell: if a cell cannot be read.
    """
    config = read_config(folder)
    names = config.pop("cells", None)
    paths = sorted((folder / "cells" / f"{name}.safetensors" for name in names) if names else (folder / "cells").glob("*.safetensors"))
    if absent := [path.stem for path in paths if not path.exists()]:
        raise FileNotFoundError(
            f"{folder} lacks {len(absent)} of {len(paths)} cells, one is {absent[0]}; run the command that made it again"
        )
    try:
        return Run(config, tuple(map(read_cell, paths)))
    except DamagedCell as error:
        raise DamagedCell(f"{error}; run the command that made it again") from error


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
