"""Result records: what a run spent, what it belongs to, and its folder."""

import contextlib
import dataclasses
import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch

from analysis.ground.files import FolderInUseError as FolderInUseError
from analysis.ground.files import folder_lock as folder_lock
from analysis.ground.files import write_text as write_text
from analysis.ground.identity import file_digest as file_digest
from analysis.ground.json_records import finite as finite
from analysis.ground.json_records import read_json as read_json
from analysis.ground.json_records import read_record
from analysis.ground.json_records import write_json as write_json
from analysis.ground.json_records import write_record as write_record
from analysis.ground.versions import TRAINING
from analysis.ground.versions import git_commit as git_commit
from analysis.ground.versions import versions as versions_of
from imbert.toml_tables import named

SCHEMA: Final = 1

versions = functools.partial(versions_of, TRAINING)


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
        # where the system does not allow it the peak counts from the start of the process
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
        wall = time.monotonic() - self.wall
        cpu = time.process_time() - self.cpu
        return Spent(round(wall, 3), round(cpu, 3), round(_peak_mib(), 1), device)


def _peak_mib() -> float:
    """Largest resident memory since it was last begun anew; NaN where the system cannot tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return _peak_since_the_start()


def _peak_since_the_start() -> float:
    try:
        import resource  # late: Windows has none
    except ImportError:
        return float("nan")
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


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
    before = _flat(finite(existing))
    now = _flat(finite(wanted))
    differing = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if differing:
        raise ValueError(
            f"{out} {said} (not the same: {', '.join(differing)}); choose another folder"
        )


def bits(right: Any) -> str:
    """A string of 0 and 1, one per example, so that paired tests can be done from the record."""
    return "".join("1" if is_right else "0" for is_right in right)


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(values, dict):
        return {prefix: values}
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}.{key}" if prefix else key)
    return flat
