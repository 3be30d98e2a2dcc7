"""Result records: plain JSON written at once or not at all, with what is needed to read the numbers
years later.
"""

import contextlib
import dataclasses
import fcntl
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import msgspec
import torch

from analysis.ground.files import flush_folder, sweep, write_bytes
from analysis.ground.identity import file_digest as file_digest
from analysis.ground.json_records import read_json as read_json
from analysis.ground.json_records import read_record, sealed
from imbert.toml_tables import named

SCHEMA: Final = 1
VERSIONED = (
    "odestab",
    "torch",
    "transformers",
    "accelerate",
    "tokenizers",
    "safetensors",
    "numpy",
    "scipy",
)
CODE = Path(__file__).resolve().parent.parent


class FolderInUseError(ValueError):
    """Another process works in this run folder."""


@dataclasses.dataclass(frozen=True)
class Spent:
    """Time and memory since a start.

    Attributes:
        wall_seconds: on the clock.
        cpu_seconds: of all threads of this process.
        peak_memory_mib: the largest resident memory since the start; where the system cannot tell,
            since the process began.
        device_memory_mib: the largest memory of tensors on a GPU since the start; None without one.
    """

    wall_seconds: float
    cpu_seconds: float
    peak_memory_mib: float
    device_memory_mib: float | None = None


@dataclasses.dataclass(frozen=True)
class Stopwatch:
    """Starts when it is made.

    Attributes:
        wall: the clock at the start.
        cpu: the processor time at the start.
    """

    wall: float = dataclasses.field(default_factory=time.monotonic)
    cpu: float = dataclasses.field(default_factory=time.process_time)

    @classmethod
    def start(cls, earlier: tuple[float, float] = (0.0, 0.0)) -> "Stopwatch":
        """Start time and memory anew: peaks from before do not count.

        Args:
            earlier: wall and processor seconds that were spent on the same work before.
        """
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text(
                "5"
            )  # Linux: the peak of resident memory begins again
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        return cls(time.monotonic() - earlier[0], time.process_time() - earlier[1])

    def read(self) -> Spent:
        """What was spent since the start."""
        device = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None
        wall, cpu = time.monotonic() - self.wall, time.process_time() - self.cpu
        return Spent(round(wall, 3), round(cpu, 3), round(_peak_mib(), 1), device)


def _peak_mib() -> float:
    """The largest resident memory since it was last begun anew."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
            1024 if sys.platform != "darwin" else 1024**2
        )


def write_json(path: Path, values: Any) -> None:
    """Write a file under a temporary name, then rename it: it is there whole or not at all.

    Values that are not finite become null.

    Raises:
        OSError: if it cannot be written; nothing is left behind.
    """
    write_text(
        path, json.dumps(finite(values), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    )


def write_text(path: Path, text: str) -> None:
    """The same for a text.

    Raises:
        OSError: if it cannot be written; nothing is left behind.
    """
    write_bytes(path, text.encode())
    flush_folder(path.parent)


def write_record(path: Path, values: Mapping[str, Any]) -> None:
    """Write a record with the digest of its entries, so that a byte that changes later is found.

    Raises:
        OSError: if it cannot be written; nothing is left behind.
    """
    write_json(path, sealed(finite(values)))


def finite(values: Any) -> Any:
    """The same plain values with None for every number that is not finite, NumPy scalars as
    Python's.
    """
    if isinstance(values, msgspec.Struct):
        return finite(msgspec.to_builtins(values, enc_hook=finite))
    if isinstance(values, Mapping):
        return {str(key): finite(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [finite(value) for value in values]
    if dataclasses.is_dataclass(values) and not isinstance(values, type):
        return finite(dataclasses.asdict(values))
    if hasattr(values, "tolist"):  # NumPy and torch
        return finite(values.tolist())
    return None if isinstance(values, float) and not math.isfinite(values) else values


def open_folder(
    out: Path,
    name: str,
    resolved: dict[str, Any],
    complete: Callable[[Any], Any] = lambda values: values,
) -> None:
    """Create a run folder, or check that an existing one belongs to the same choices, written as
    `name`.

    Args:
        out: the folder.
        name: of the file.
        resolved: the choices.
        complete: fills in the defaults of choices that an older version did not have.

    Raises:
        ValueError: if it does not; what differs is named.
        OSError: if it cannot be created or written.
    """
    out.mkdir(parents=True, exist_ok=True)
    if not (out / name).exists():
        write_json(out / name, resolved)
        return
    existing = read_record(out / name, dict[str, Any])
    require_same(out, "belongs to another run", named(out / name, complete, existing), resolved)


def require_same(out: Path, said: str, existing: Any, wanted: Any) -> None:
    """Refuse a folder of other choices.

    Raises:
        ValueError: naming them.
    """
    before, now = _flat(finite(existing)), _flat(finite(wanted))
    differing = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if differing:
        raise ValueError(
            f"{out} {said} (not the same: {', '.join(differing)}); choose another folder"
        )


@contextlib.contextmanager
def folder_lock(out: Path) -> Iterator[None]:
    """Hold a run folder; the lock ends with the process, however it ends.

    Raises:
        FolderInUseError: if another process holds it.
        OSError: if the folder cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUseError(f"{out} is in use by another process") from None
        sweep(out)
        yield


def versions() -> dict[str, str]:
    """Version of each package that changes numbers, and of Python."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in VERSIONED:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def git_commit() -> str | None:
    """The commit of the code, with "+" if files of it have changed since; None outside a repository
    or without git.
    """
    try:
        commit = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", "imbert", "odestab")
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changed else "")


def bits(right: Any) -> str:
    """A string of 0 and 1, one per example, so that paired tests can be done from the record."""
    return "".join("1" if one else "0" for one in right)


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(CODE), *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(values, dict):
        return {prefix: values}
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}.{key}" if prefix else key)
    return flat
