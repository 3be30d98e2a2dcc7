"""What every part shares: its options, the record that it writes as it goes, and its time limit."""

import argparse
import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from imbert.result import write_json


@dataclasses.dataclass(frozen=True)
class Choices:
    """What a part is told.

    Attributes:
        record: the file that it writes.
        out: where files go that are to be kept.
        work: where it may work; a later call finds what an earlier one left.
        device: where it runs.
        end: the time, in seconds since 1970, at which it ends by itself, keeping what it has.
        rehearse: toy sizes, for a machine without a GPU.
        data: the folder of training files; None leaves out what needs them.
        plan: the study that is carried on.
    """

    record: Path
    out: Path
    work: Path
    device: str
    end: float
    rehearse: bool
    data: Path | None
    plan: Path

    @property
    def on_gpu(self) -> bool:
        """Whether there are device events, graphs and kernels to count."""
        return self.device.startswith("cuda")


class Record:
    """A JSON file that is whole after every row, so that nothing finished is lost.

    Args:
        path: of the file.
        end: of the part, in seconds since 1970.
    """

    def __init__(self, path: Path, end: float) -> None:
        self.path, self.end = path, end
        self.values: dict[str, Any] = {}

    def keep(self, name: str, value: Any) -> None:
        """Set a value and write the file."""
        self.values[name] = value
        write_json(self.path, self.values)

    def add(self, name: str, row: dict[str, Any]) -> None:
        """Add a row to a table and write the file."""
        self.keep(name, [*self.values.get(name, []), row])
        print(f"{name}: {row}", flush=True)

    @property
    def left(self) -> float:
        """Seconds until the part should end."""
        return self.end - time.time()

    @contextlib.contextmanager
    def failing(self, name: str) -> Iterator[None]:
        """What fails inside is a row of `failures`, and the part goes on."""
        try:
            yield
        except Exception as error:
            self.add("failures", {"what": name, "error": " ".join(f"{error!r}".split())[:500]})


def choices() -> Choices:
    """The options of a part's process, as the runner gives them."""
    parser = argparse.ArgumentParser()
    for name in ("record", "out", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--end", type=float, required=True)
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--plan", type=Path, required=True)
    return Choices(**vars(parser.parse_args()))


def halved(run: Callable[[int], Any], size: int) -> tuple[Any, int]:
    """What `run` gives at a size, or at half of it as often as memory asks for; and the size.

    Raises:
        torch.OutOfMemoryError: if size 1 is too much.
    """
    while True:
        try:
            return run(size), size
        except torch.OutOfMemoryError:
            if size == 1:
                raise
        torch.cuda.empty_cache()  # outside the handler, whose traceback holds the tensors
        size //= 2
        print(f"too little memory: the size is halved to {size}", flush=True)
