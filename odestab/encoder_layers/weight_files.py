"""Which files a checkpoint folder's weights are read from: safetensors inside it, nothing else.

Loads no torch.
"""

import json
import struct
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


def weight_files(folder: str | Path) -> tuple[Path, ...]:
    """The safetensors files that hold a checkpoint's weights, as transformers chooses among them.

    A file that config.json names as `transformers_weights` comes first, then model.safetensors,
    then the shards of its index.

    Args:
        folder: a checkpoint folder.

    Raises:
        ValueError: if there are none, the only ones are pickled, or a name in config.json or in the
            index is not of a safetensors file inside the folder.
        OSError: if config.json or an index cannot be read.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     (pathlib.Path(folder) / "model.safetensors").touch()
    ...     [path.name for path in od.weight_files(folder)]
    ['model.safetensors']
    """
    folder = Path(folder)
    chosen = _named_by_config(folder / "config.json")
    candidates = (
        [chosen]
        if chosen is not None
        else [name for name in (WHOLE, INDEX) if (folder / name).is_file()]
    )
    if not candidates:
        pickled = sorted(path.name for path in folder.glob("*") if path.suffix in PICKLED)
        got = (
            f"pickled weights ({', '.join(pickled)}), which are refused"
            if pickled
            else "no weights"
        )
        raise ValueError(f"{folder}: expected weights in {WHOLE}, got {got}")
    name = candidates[0]
    names = shards(folder / name) if name.endswith(".index.json") else (name,)
    files = tuple(folder / name for name in names)
    if absent := [path.name for path in files if not path.is_file()]:
        raise ValueError(
            f"{folder}: expected every file of its weights, got no {', '.join(absent[:3])}"
        )
    return files


def shards(index: Path) -> tuple[str, ...]:
    """The files that an index names, sorted.

    Raises:
        ValueError: if it is no index, or names a file that is not safetensors or not inside its
            folder.
        OSError: if it cannot be read.
    """
    named = _json_object(index).get("weight_map")
    if (
        not isinstance(named, dict)
        or not named
        or not all(isinstance(name, str) for name in named.values())
    ):
        raise ValueError(
            f"{index}: expected a weight_map from names of "
            f"weights to files, got {type(named).__name__}"
        )
    names = tuple(sorted(set(named.values())))
    for name in names:
        require_safe_name(name, index)
    return names


def require_safe_name(name: str, source: str | Path) -> None:
    """Refuse the name of a weights file that is pickled or leads out of the folder.

    Raises:
        ValueError: with the name.
    """
    if not name.endswith(".safetensors"):
        raise ValueError(
            f"{source}: expected weights in safetensors files, got {name!r}, which is refused"
        )
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        if path.anchor or ".." in path.parts:
            raise ValueError(
                f"{source}: expected weights inside the checkpoint's folder, got {name!r}"
            )


def stored_types(files: Iterable[Path]) -> dict[str, str]:
    """The type of every stored weight by its name ("F32", "I64", …), from the headers alone.

    Raises:
        ValueError: if a header is not readable.
        OSError: if a file is not.

    >>> import pathlib, safetensors.torch, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder) / "model.safetensors"
    ...     safetensors.torch.save_file({"bias": torch.zeros(2).half()}, file)
    ...     od.stored_types([file])
    {'bias': 'F16'}
    """
    types: dict[str, str] = {}
    for path in files:
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else -1
            header = file.read(length) if 0 <= length <= path.stat().st_size else b""
        try:
            types |= {
                name: entry["dtype"]
                for name, entry in json.loads(header).items()
                if name != "__metadata__"
            }
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise ValueError(
                f"{path}: expected safetensors weights, got a damaged header"
            ) from None
    return types


def _named_by_config(config: Path) -> str | None:
    """The weights file that a configuration chooses; None for the usual ones."""
    if not config.is_file():
        return None
    name = _json_object(config).get("transformers_weights")
    if name is None:
        return None
    require_safe_name(str(name).removesuffix(".index.json"), config)
    return str(name)


def _json_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not readable JSON ({error})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content
