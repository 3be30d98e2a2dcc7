"""Times of a device, what its profiler counts, and the ceilings of the machine that both are held
against.
"""

import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

LAUNCH = ("LaunchKernel", "GraphLaunch")
SYNC = ("StreamSynchronize", "EventSynchronize")
COPY_BYTES, SMALL_COPY_BYTES = 2**31, 2**20
PRODUCT, SMALL_PRODUCT = 8192, 64
DEAREST = 10


def microseconds(run: Callable[[], Any], device: str, repeats: int = 20) -> float:
    """The median over some runs after two that warm up, by device events; elsewhere of one run by
    the clock, which shows nothing.
    """
    if not device.startswith("cuda"):
        return _once(run, device)
    for _ in range(2):
        run()
    return statistics.median(_once(run, device) for _ in range(repeats))


def _once(run: Callable[[], Any], device: str) -> float:
    if not device.startswith("cuda"):
        start = time.perf_counter()
        run()
        return 1e6 * (time.perf_counter() - start)
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    run()
    end.record()
    end.synchronize()
    return 1e3 * begin.elapsed_time(end)


def profiled(run: Callable[[], Any], device: str) -> dict[str, Any]:
    """Of one run: microseconds inside kernels, launches, host syncs, and the dearest kernels with
    their calls and microseconds.

    On a CPU an operation stands for a kernel, and there are neither launches nor syncs.
    """
    on_gpu = device.startswith("cuda")
    run()
    events = events_of(run, device)
    # A kernel stands among the events of the device and again as the own time of the operation that
    # launched it.
    kernels = [event for event in events if not on_gpu or event.device_type == DeviceType.CUDA]
    spent = [
        (event.self_device_time_total if on_gpu else event.self_cpu_time_total, event)
        for event in kernels
    ]
    spent.sort(key=lambda pair: -pair[0])
    return {
        "kernel us": sum(time for time, _ in spent),
        "launches": sum(
            event.count for event in events if any(name in event.key for name in LAUNCH)
        ),
        "syncs": sum(event.count for event in events if any(name in event.key for name in SYNC)),
        "dearest": [
            [event.key[:80], event.count, round(time, 1)] for time, event in spent[:DEAREST]
        ],
    }


def events_of(run: Callable[[], Any], device: str) -> Any:
    """What the profiler counts in one run, added up by operation and kernel."""
    activities = [
        ProfilerActivity.CPU,
        *([ProfilerActivity.CUDA] if device.startswith("cuda") else []),
    ]
    with warnings.catch_warnings(), profile(activities=activities, acc_events=True) as profiler:
        warnings.simplefilter("ignore")
        run()
    return profiler.key_averages()


def ceilings(device: str) -> dict[str, float]:
    """What this machine can do at most: TB/s of a copy (read and written), TFLOP/s of products,
    host microseconds of a launch.
    """
    on_gpu = device.startswith("cuda")
    source = torch.empty(
        COPY_BYTES if on_gpu else SMALL_COPY_BYTES, dtype=torch.uint8, device=device
    )
    target = torch.empty_like(source)
    found = {
        "copy TB/s": 2e-6 * source.numel() / microseconds(lambda: target.copy_(source), device, 10)
    }
    del source, target
    n = PRODUCT if on_gpu else SMALL_PRODUCT
    for name, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32), ("fp64", torch.float64)):
        a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
        found[f"{name} TFLOP/s"] = 2e-6 * n**3 / microseconds(lambda a=a, b=b: a @ b, device, 5)
    found["launch us"] = _launch(device)
    return found


def _launch(device: str, count: int = 200) -> float:
    """Host microseconds of the smallest operation: what a loop of small kernels pays for each."""
    x = torch.zeros(1, device=device)
    for _ in range(count):
        x.add_(1.0)
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(count):
        x.add_(1.0)
    return 1e6 * (time.perf_counter() - start) / count


def graphed(
    function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor
) -> Callable[[torch.Tensor], torch.Tensor]:
    """The function as a CUDA graph of its kernels; its results lie in one place, where the next
    call writes.

    Args:
        function: without syncs and random numbers.
        x: an argument; later ones are of its shape.
    """
    kept = x.clone()
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            function(kept)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = function(kept)

    def call(y: torch.Tensor) -> torch.Tensor:
        kept.copy_(y)
        graph.replay()
        return result

    return call
