"""What a large run measured as one Zarr store, which `open_run` reads as it is asked for.

The store is one file, a zip archive of chunks. It follows from the cells, as summary.json does.
zarr is loaded only where a store is written or read.
"""

import io
import zipfile
from pathlib import Path
from typing import Any

import xarray as xr

from analysis.ground.files import write_bytes
from analysis.packs import DAMAGED, EPOCH

STORE = "measurements.zarr.zip"
OF = "of"  # attribute: the digest of the configuration that the store was measured with
TEXTS = 4096  # of a chunk along the dim of texts, or of pairs
LONG = ("text", "pair")


def write_store(folder: Path, whole: xr.Dataset, of: str) -> Path:
    """Write a dataset into the store of a run folder; equal datasets are equal bytes.

    Args:
        folder: of the run.
        whole: every variable of the run, without coordinates that its configuration holds.
        of: the digest of that configuration.

    Raises:
        OSError: if it cannot be written.
    """
    from zarr.storage import MemoryStore

    chunks = {
        name: {"chunks": tuple(_chunk(str(dim), size) for dim, size in array.sizes.items())}
        for name, array in whole.variables.items()
        if array.ndim and array.size
    }
    entries: dict[str, Any] = {}
    # Format 2 has a type for strings; of format 3's, zarr warns that others may not read them.
    whole.assign_attrs({OF: of}).to_zarr(
        MemoryStore(entries), zarr_format=2, consolidated=True, encoding=chunks
    )
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:  # chunks are compressed as they are
        for key in sorted(entries):
            archive.writestr(zipfile.ZipInfo(key, EPOCH), entries[key].to_bytes())
    write_bytes(folder / STORE, content.getvalue())
    return folder / STORE


def _chunk(dim: str, size: int) -> int:
    return min(size, TEXTS) if dim in LONG else size


def read_store(folder: Path, of: str) -> xr.Dataset | None:
    """The dataset of a run folder's store, its values read when they are asked for; None where
    there is no store, or one of another configuration, or no zarr to read it.

    Raises:
        ValueError: if the store is damaged.
    """
    path = folder / STORE
    if not path.exists():
        return None
    try:
        from zarr.storage import ZipStore
    except ImportError:
        return None
    try:
        whole = xr.open_zarr(ZipStore(path, mode="r"), chunks=_by_dask(), consolidated=True)
    except DAMAGED as error:
        raise ValueError(
            f"{path}: not a readable store ({type(error).__name__}: {error}); "
            "delete it: the cells hold the same"
        ) from None
    if whole.attrs.pop(OF, None) != of:
        whole.close()
        return None
    # as the cells have them: variable strings come back as NumPy's own type
    strings = [name for name, array in whole.variables.items() if array.dtype.kind == "T"]
    return whole.assign({name: whole[name].astype(object) for name in strings})


def _by_dask() -> dict[str, int] | None:
    """Chunks of dask where it is installed; else xarray reads what is indexed."""
    try:
        import dask.array  # noqa: F401
    except ImportError:
        return None
    return {}
