"""Devices that cannot be used, and memory that is too small, told in one line."""

import contextlib
from collections.abc import Iterator


def require_device(device: str, dtype: str) -> None:
    """Refuse a device that torch cannot compute on here.

    Raises:
        ValueError: with torch's reason.
    """
    import torch  # late: files that load no torch may import this module

    try:
        torch.ones(1, dtype=getattr(torch, dtype), device=device).item()
    except (RuntimeError, AssertionError, TypeError) as error:  # each device has its own
        reason = str(error).split("\n")[0]
        raise ValueError(f"device {device!r} cannot be used with {dtype} here: {reason}") from None


@contextlib.contextmanager
def memory_errors(advice: str) -> Iterator[None]:
    """Turn what torch raises for want of memory, some RuntimeError, into a MemoryError that says
    what to do.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        wanting = ("out of memory", "allocate memory", "not enough memory")
        if isinstance(error, RuntimeError) and not any(words in str(error) for words in wanting):
            raise
        wanting_memory = MemoryError(f"not enough memory; {advice}")
        for note in getattr(error, "__notes__", ()):  # what was measured
            wanting_memory.add_note(note)
        raise wanting_memory from error
