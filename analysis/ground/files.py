"""Files that are there whole or not at all, and what a killed process left of them."""

import contextlib
import errno
import os
import re
import socket
from pathlib import Path

HOST = socket.gethostname()  # folders are shared: a process number means nothing on another host
TEMPORARY = re.compile(rf"\..+\.{re.escape(HOST)}\.([0-9]{{1,10}})")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, flush it to the disk and rename it: a killed run leaves
    the old file or the new one.

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
    except OSError as error:  # of a full disk it knows no file
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


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
        if found and path.is_file() and not _is_alive(int(found[1])):
            with contextlib.suppress(OSError):
                path.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # of another user
        return True
    return True
