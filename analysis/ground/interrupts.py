"""Ctrl-C that Python drops, where it comes inside a callback whose exceptions are ignored, is
raised again between two cells.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_asked = threading.Event()


@contextlib.contextmanager
def kept_interrupts() -> Iterator[None]:
    """Remember Ctrl-C within; what was not raised by the end is raised there."""
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    _asked.clear()
    if ours:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
        raise_interrupt()
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def raise_interrupt() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed."""
    if _asked.is_set():
        raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    _asked.set()
    signal.default_int_handler(number, frame)
