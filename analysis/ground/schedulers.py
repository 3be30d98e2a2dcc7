"""The `--scheduler` of a command: an executor on a dask.distributed cluster.

dask is loaded only where a scheduler is asked for. `imbert` may import this module as well.
"""

import argparse
import contextlib
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Any

LOCAL = "local"
ADDRESS = re.compile(r"(tcp|tls|ws|wss|ucx)://[^\s/]+:[0-9]{1,5}")
SECONDS = 10.0  # within which a scheduler must answer
RETRIES = 2  # of a unit that failed: its worker may have been short of memory or of disk
COMPARED = ("odestab", "torch")  # packages whose versions change numbers
Report = Callable[[str], None]


def a_scheduler(text: str) -> str:
    """An address with a protocol and a port, or "local"."""
    if text != LOCAL and not ADDRESS.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"expected {LOCAL} or an address like tcp://HOST:PORT, got {text!r}"
        )
    return text


def scheduler_option(options: argparse._ActionsContainer, unit: str) -> None:
    """Where the units of a study are worked on."""
    options.add_argument(
        "--scheduler",
        type=a_scheduler,
        metavar="ADDRESS",
        help=f"let the workers of a dask.distributed scheduler, tcp://HOST:PORT, take the {unit}; "
        f"{LOCAL} starts a scheduler here",
    )


def require_no_shard(scheduler: str | None, shard: tuple[int, int]) -> None:
    """Refuse two ways of sharing the same work.

    Raises:
        ValueError: if both are asked for.
    """
    if scheduler is not None and shard[1] > 1:
        raise ValueError(
            f"--scheduler shares the work itself: expected no --shard, got {shard[0]}/{shard[1]}"
        )


@contextlib.contextmanager
def scheduled(
    scheduler: str | None, workers: int, device: str, say: Report
) -> Iterator[Executor | None]:
    """The executor of a scheduler; None of no scheduler.

    When the block ends, however it ends, what was not finished is cancelled.

    Args:
        scheduler: "local", an address, or None.
        workers: processes of a local one, each with one thread.
        device: that the units compute on; on a GPU each unit asks for `{"GPU": 1}`.
        say: takes lines about the cluster.

    Raises:
        ValueError: if dask.distributed is not installed, no scheduler answers, or no worker has
            what the units need.
        OSError: if workers keep dying over one unit.
    """
    if scheduler is None:
        yield None
        return
    distributed = _distributed()
    needs_gpu = device.startswith("cuda")
    with contextlib.ExitStack() as stack:
        address = scheduler
        if scheduler == LOCAL:
            count = 1 if needs_gpu else workers
            address = stack.enter_context(_local(distributed, count, needs_gpu))
        client = stack.enter_context(_connected(distributed, address))
        _look_at(client, address, needs_gpu, say)
        executor = client.get_executor(
            pure=False, retries=RETRIES, resources={"GPU": 1} if needs_gpu else None
        )
        try:
            yield executor
        except distributed.KilledWorker as error:
            notes = "; ".join(getattr(error, "__notes__", ()))
            raise OSError(
                f"{notes}: every worker that took it died, perhaps for want of memory; "
                "the same command continues this run"
            ) from error
        finally:
            executor.shutdown(wait=False)


def _distributed() -> Any:
    try:
        import distributed
    except ImportError:
        raise ValueError(
            "--scheduler needs dask.distributed, which is not installed: "
            "pip install 'odestab[distributed]'"
        ) from None
    return distributed


@contextlib.contextmanager
def _local(distributed: Any, workers: int, has_gpu: bool) -> Iterator[str]:
    """The address of a cluster of worker processes on this machine, one thread each."""
    with distributed.LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        dashboard_address=":0",  # any free port
        resources={"GPU": 1} if has_gpu else None,
        silence_logs=logging.ERROR,  # when it closes it warns of results that were taken
    ) as cluster:
        yield cluster.scheduler_address


@contextlib.contextmanager
def _connected(distributed: Any, address: str) -> Iterator[Any]:
    """A client that is nobody's default: xarray goes on computing in this process."""
    try:
        with warnings.catch_warnings():
            # versions are compared below, in one line
            warnings.simplefilter("ignore", distributed.versions.VersionMismatchWarning)
            client = distributed.Client(address, timeout=SECONDS, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise ValueError(
            f"--scheduler {address}: no scheduler answered within {SECONDS:g} s "
            f"({type(error).__name__})"
        ) from None
    with client:
        yield client


def _look_at(client: Any, address: str, needs_gpu: bool, say: Report) -> None:
    """Say where the dashboard is and what differs between here and the workers."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    say(f"scheduler: {address}, {len(workers)} workers, dashboard: {client.dashboard_link}")
    if not workers:
        say("warning: the scheduler has no workers yet; waiting for the first")
        return
    if needs_gpu and not any(worker["resources"].get("GPU") for worker in workers.values()):
        raise ValueError(
            f"--scheduler {address}: expected a worker with a GPU, got {len(workers)} without: "
            'start them with --resources "GPU=1"'
        )
    found = client.get_versions(check=False, packages=list(COMPARED))
    for line in differing(found["client"], found["workers"]):
        say(f"warning: {line}")


def differing(here: dict[str, Any], workers: dict[str, dict[str, Any]]) -> list[str]:
    """One line if packages that change numbers have other versions on some workers.

    Raises:
        ValueError: if a worker lacks one: it could not work.
    """
    own = {name: here["packages"][name] for name in COMPARED}
    unlike: dict[str, list[str]] = {}
    for worker, found in workers.items():
        for name in COMPARED:
            version = found["packages"].get(name)
            if version is None:
                raise ValueError(f"worker {worker} has no {name}: expected {own[name]} as here")
            if version != own[name]:
                unlike.setdefault(f"{name} {version} (here {own[name]})", []).append(worker)
    if not unlike:
        return []
    told = "; ".join(
        f"{version} on {len(those)} of {len(workers)} workers" for version, those in unlike.items()
    )
    return [f"versions differ, so numbers may in their last digits: {told}"]
