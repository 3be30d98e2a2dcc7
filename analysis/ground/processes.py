"""Work in processes of one thread each, which end with the one that started them."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_processes(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    begin: Callable[..., None],
    arguments: tuple[Any, ...] = (),
) -> Iterator[Result]:
    """What each item comes to, in the order in which they get ready.

    Args:
        work: a function of a module, as processes take no other.
        items: what is worked on.
        workers: how many processes.
        begin: called once in each process, after it is set up.
        arguments: that it is called with.

    Raises:
        OSError: if a process dies.
    """
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _begin, (begin, arguments))
    try:
        with _one_thread_each():
            waiting = [pool.submit(work, item) for item in items]
        for done in as_completed(waiting):
            yield done.result()
    except BrokenProcessPool as error:
        raise OSError(
            "a worker process died, perhaps for want of memory; "
            "try --workers 1, which continues this run"
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started inside have a LAPACK of one thread: it reads the environment when it is
    loaded, before torch can be told.
    """
    before = dict(os.environ)
    os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _begin(begin: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Set up a process: no life without the parent, a silent death on Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    begin(*arguments)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
