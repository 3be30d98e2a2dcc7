"""Executors for tests: threads that take nothing but what can be sent to another process."""

import pickle
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any


def _work(sent: bytes) -> bytes:
    function, arguments, options = pickle.loads(sent)
    return pickle.dumps(function(*arguments, **options))


class PicklingExecutor(Executor):
    """Two threads; work and results go through pickle, as to and from another machine."""

    def __init__(self) -> None:
        self.threads = ThreadPoolExecutor(2)
        self.sent: list[int] = []

    def submit(self, fn: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        sent = pickle.dumps((fn, arguments, options))
        self.sent.append(len(sent))
        future: Future[Any] = Future()
        self.threads.submit(_work, sent).add_done_callback(lambda done: _settle(future, done))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.threads.shutdown(wait, cancel_futures=cancel_futures)


def _settle(future: Future[Any], done: Future[bytes]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    error = done.exception()
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(pickle.loads(done.result()))


class HeldExecutor(Executor):
    """Nothing is done until the test does it."""

    def __init__(self) -> None:
        self.held: list[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = []

    def submit(self, fn: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.held.append((future, fn, arguments))
        return future

    def do(self, place: int) -> None:
        """Do what was submitted at a place."""
        future, function, arguments = self.held[place]
        try:
            future.set_result(function(*arguments))
        except ValueError as error:
            future.set_exception(error)
