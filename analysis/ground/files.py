"""Files that are there whole or not at all, what a killed process left of them, and folders that
one process holds.
"""

import contextlib
import errno
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import filelock

HOST = socket.gethostname()  # folders are shared: a process number means nothing on another host
YOUNG = 3600.0  # seconds for which a temporary file counts as in use where nobody can be asked
TEMPORARY = re.compile(rf"\..+\.{re.escape(HOST)}\.([0-9]{{1,10}})")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, flush it to the disk, rename it and flush its folder: a
    killed run or a power loss leaves the old file or the new one.

    Raises:
        OSError: if the disk is full or the folder cannot be written; it names the file, and the
            temporary file is removed.
    """
    temporary = path.with_name(f".{path.name}.{HOST}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        flush_folder(path.parent)
    except OSError as error:  # of a full disk it knows no file
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of a text in UTF-8.

    Raises:
        OSError: likewise.
    """
    write_bytes(path, text.encode())


class FolderInUseError(ValueError):
    """Another process works in this run folder."""


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold a run folder, created if needed, and sweep it; the lock ends with the process, however
    it ends.

    Raises:
        FolderInUseError: if another process holds it.
        OSError: if the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise FolderInUseError(f"{folder} is in use by another process") from None
    try:
        sweep(folder)
        yield
    finally:
        lock.release()


def flush_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, where the system can: else a power loss may undo a
    rename.

    Raises:
        OSError: if they cannot be written.
    """
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (
            errno.EINVAL,
            errno.ENOTSUP,
        ):  # of a file system that keeps no order of names
            raise
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove the temporary files that killed processes of this machine left in a folder; those of
    living ones stay.
    """
    for path in folder.glob(".*"):
        found = TEMPORARY.fullmatch(path.name)
        if found and path.is_file() and not _in_use(path, int(found[1])):
            with contextlib.suppress(OSError):
                path.unlink()


def _in_use(path: Path, process: int) -> bool:
    """Whether the process that a temporary file is named after may still be writing it."""
    if os.name == "nt":  # where signal 0 is Ctrl-C
        return time.time() - path.stat().st_mtime < YOUNG
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # of another user
        return True
    return True
