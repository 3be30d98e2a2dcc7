"""Packs: many cells of a run in one file, for runs whose cells would be thousands of files.

A pack is a zip archive of cell files as they were written, named by its content. Packing moves
files into a new pack and never changes an old one, so a killed run loses nothing, and ranks that
share a folder cannot get into each other's way.
"""

import contextlib
import hashlib
import importlib.util
import io
import zipfile
import zlib
from collections.abc import Callable, Collection
from pathlib import Path

from analysis.ground.files import write_bytes

STORES = ("auto", "files", "zarr")
MANY = 2000  # cells, beyond which "auto" is "zarr"
PACKED = 2000  # cells of a pack: at most so many files lie beside the packs of each rank
CELL = ".safetensors"
PACK = "pack-*.zip"
EPOCH = (1980, 1, 1, 0, 0, 0)  # of every member: equal cells are equal packs
# what zipfile raises for an archive or a member that is not as it was written
DAMAGED = (ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error)
Report = Callable[[str], None]


def packs_cells(store: str, cells: int, warn: Report) -> bool:
    """Whether a run of so many cells is kept in packs, and what it measured in one Zarr store.

    Args:
        store: of `STORES`.
        cells: of the run.
        warn: called with one line where "auto" would, but zarr is not installed.

    Raises:
        ValueError: if the choice is another one, or needs zarr, which is not installed.
    """
    if store not in STORES:
        raise ValueError(f"store must be one of {', '.join(STORES)}, got {store!r}")
    if store == "files" or (store == "auto" and cells <= MANY):
        return False
    if importlib.util.find_spec("zarr") is not None:
        return True
    remedy = "zarr is not installed: pip install 'odestab[distributed]'"
    if store == "zarr":
        raise ValueError(f"--store zarr: {remedy}")
    warn(f"{cells} cells are as many files, as {remedy}")
    return False


def pack(folder: Path, names: Collection[str]) -> Path | None:
    """Move the files of those of some cells that are there into one pack; None if none is.

    Raises:
        OSError: if the pack cannot be written; the files stay.
    """
    content = io.BytesIO()
    packed = []
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        # a folder has few files, as others are packed already; a run may have millions of names
        for path in sorted(folder.glob(f"*{CELL}")):
            if path.stem not in names:
                continue
            with contextlib.suppress(FileNotFoundError):  # another process has packed it
                member = path.read_bytes()
                archive.writestr(zipfile.ZipInfo(path.name, EPOCH), member, zipfile.ZIP_DEFLATED)
                packed.append(path)
    if not packed:
        return None
    digest = hashlib.sha256(content.getbuffer()).hexdigest()[:16]
    target = folder / PACK.replace("*", digest)
    write_bytes(target, content.getvalue())
    for path in packed:  # the pack is on the disk by now
        path.unlink(missing_ok=True)
    return target


def packed_cells(folder: Path, warn: Report) -> dict[str, list[Path]]:
    """The packs that hold each cell, by its name, the newest first: a cell that was measured again,
    as it was damaged or of another model, is in a newer one.

    Args:
        folder: of the cells.
        warn: called with one line for each pack that cannot be opened.
    """
    holders: dict[str, list[Path]] = {}
    for path in sorted(folder.glob(PACK), key=_newest_first):
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except DAMAGED as error:
            warn(f"damaged pack, its cells are missing: {path} ({error})")
            continue
        for name in names:
            holders.setdefault(name.removesuffix(CELL), []).append(path)
    return holders


def _newest_first(pack: Path) -> tuple[int, str]:
    return -pack.stat().st_mtime_ns, pack.name


class OpenPacks:
    """Packs that are read from, one after the other: the newest stays open."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._archive: zipfile.ZipFile | None = None

    def read(self, pack: Path, name: str) -> bytes:
        """The file of one cell.

        Raises:
            ValueError: if the pack or this member of it is damaged.
        """
        try:
            if self._archive is None or pack != self._path:
                self.close()
                self._archive = zipfile.ZipFile(pack)
                self._path = pack
            return self._archive.read(f"{name}{CELL}")
        except DAMAGED as error:
            raise ValueError(f"{type(error).__name__}: {error}") from None

    def close(self) -> None:
        """Let go of the archive."""
        if self._archive is not None:
            self._archive.close()
            self._archive = None
