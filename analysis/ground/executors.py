"""Work through any `concurrent.futures.Executor`: threads, processes, or those of a cluster.

An executor is handed units of work that hold all they need, as its workers share nothing with the
process that asks. `imbert` may import this module as well.
"""

import itertools
import queue
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Executor, Future
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

Unit = TypeVar("Unit")
Result = TypeVar("Result")

# Units that an executor is given ahead of their results: a scheduler keeps a few kB of each, and a
# million at once would be its whole memory.
AHEAD = 1024


def completed(
    executor: Executor,
    work: Callable[[Unit], Result],
    units: Iterable[Unit],
    name: Callable[[Unit], str],
    ahead: int = AHEAD,
) -> Iterator[Result]:
    """What each unit comes to, in the order in which they get ready.

    When one fails, or the iterator is closed, units that have not begun are cancelled. The
    executor stays open: it belongs to the caller.

    Args:
        executor: where the work is done.
        work: a function of a module, as other processes take no other.
        units: what is worked on; each is pickled for executors of other processes.
        name: of a unit, for the error of one that fails.
        ahead: how many units are handed over before the first result is taken.

    Raises:
        Exception: the one that the work raised, with a note that names its unit.
        OSError: if a process of the executor dies, or its scheduler ends.
    """
    ready: queue.SimpleQueue[Future[Result]] = queue.SimpleQueue()
    pending: dict[Future[Result], Unit] = {}
    upcoming = iter(units)

    def hand_over(count: int) -> None:
        for unit in itertools.islice(upcoming, count):
            future = _submitted(executor, work, unit)
            pending[future] = unit
            future.add_done_callback(ready.put)

    try:
        hand_over(ahead)
        while pending:
            future = ready.get()
            unit = pending.pop(future)
            hand_over(1)
            yield _result(future, name(unit))
    finally:
        for future in pending:
            future.cancel()


def _submitted(executor: Executor, work: Callable[[Unit], Result], unit: Unit) -> "Future[Result]":
    """What becomes of a unit; an executor that has ended takes none, and fails each in its turn, so
    that results which were ready before are not lost.
    """
    try:
        return executor.submit(work, unit)
    except BrokenProcessPool as error:
        future: Future[Result] = Future()
        future.set_exception(error)
        return future


def _result(future: "Future[Result]", name: str) -> Result:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise OSError(
            f"a worker process died while {name} waited, perhaps for want of memory; "
            "the same command continues this run"
        ) from error
    except CancelledError as error:  # not by us: we cancel what we no longer wait for
        raise OSError(
            f"{name} was cancelled, as the executor or its scheduler ended; "
            "the same command continues this run"
        ) from error
    except Exception as error:
        if not getattr(error, "__notes__", None):  # the work may have named a part of the unit
            error.add_note(f"in {name}")
        raise
