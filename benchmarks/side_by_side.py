"""What every benchmark shares: alternatives timed in turns within one run, the machine and
versions, a table and a JSON file.
"""

import argparse
import ctypes
import functools
import gc
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import odestab as od
from analysis.config import default_model_folder, default_texts
from analysis.ground.json_records import write_json

RESULTS = Path(__file__).parent / "results"


def arguments(description: str, **defaults: Any) -> argparse.Namespace:
    """Options of a benchmark: those given with their defaults, a list taking several values, and
    --threads, --device and --out.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="of torch and BLAS (default: 1, which a busy machine disturbs least)",
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--out",
        type=Path,
        default=None,
        help=f"JSON file (default: {RESULTS.name}/ beside the scripts)",
    )
    for name, default in defaults.items():
        many = isinstance(default, list)
        kind = type(default[0] if many else default)
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=kind, nargs="+" if many else None, default=default
        )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_float32_matmul_precision("highest")
    return options


def seconds(run: Callable[[], Any], device: str) -> dict[str, float]:
    """Wall-clock and CPU seconds of one call; a GPU is waited for."""
    synchronize(device)
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    synchronize(device)
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def peak_bytes(run: Callable[[], Any], device: str) -> int | None:
    """The most memory that one call holds beyond what was held before; None where the system does
    not say (on a CPU, all but Linux).

    From the first call on the process asks the system for every tensor anew, and is slower: what is
    timed belongs into another one.
    """
    if device.startswith("cuda"):
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        return torch.cuda.max_memory_allocated() - before
    if not Path("/proc/self/clear_refs").exists():
        return None
    ctypes.CDLL(None).mallopt(
        -3, 65536
    )  # M_MMAP_THRESHOLD: what is freed leaves the process, what was freed before is not used again
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
    before = _resident("VmRSS")
    run()
    return _resident("VmHWM") - before


def _resident(which: str) -> int:
    line = next(
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith(which)
    )
    return 1024 * int(line.split()[1])


def in_turns(
    alternatives: Mapping[str, Callable[[], Any]], rounds: int, device: str, at_least: float = 0.0
) -> dict[str, dict[str, float]]:
    """The least seconds of each alternative over some rounds; each round runs all of them, so that
    a slow spell hits all alike.

    In a round an alternative runs once, or again until it took `at_least` seconds: of short ones
    the least over few runs would be chance.
    """
    for run in alternatives.values():
        run()  # warm
    times: dict[str, list[dict[str, float]]] = {name: [] for name in alternatives}
    for _ in range(rounds):
        for name, run in alternatives.items():
            spent = 0.0
            while not spent or spent < at_least:
                times[name].append(seconds(run, device))
                spent += times[name][-1]["wall"]
    return {
        name: {clock: min(one[clock] for one in found) for clock in ("wall", "cpu")}
        for name, found in times.items()
    }


def synchronize(device: str) -> None:
    """Wait for a GPU; a CPU has nothing in flight."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def passages(tokenizer: Any, count: int, tokens: int) -> list[str]:
    """Texts of at least so many tokens, made of the built-in sentences in different orders."""
    sentences, _ = default_texts()
    found = []
    for first in range(count):
        words = [sentences[(first * 7 + i) % len(sentences)] for i in range(len(sentences))]
        text = " ".join(words)
        while len(tokenizer(text, verbose=False)["input_ids"]) < tokens:
            text = f"{text} {text}"
        found.append(text)
    return found


def trajectory_of_passages(
    count: int, tokens: int, dtype: torch.dtype, device: str, only: int | None = None
) -> od.Trajectory:
    """The embedded default model on passages of exactly so many tokens, or on one of them alone."""
    encoder, tokenizer = load_model(dtype, device)
    texts = passages(tokenizer, count, tokens)
    batch = tokenizer(
        texts if only is None else [texts[only]],
        truncation=True,
        max_length=tokens,
        return_tensors="pt",
    )
    return od.trace(encoder, batch.to(device))


@functools.cache
def load_model(dtype: torch.dtype, device: str) -> Any:
    """The embedded default model and its tokenizer."""
    return od.load_encoder(default_model_folder(), dtype, device)


def machine(device: str) -> dict[str, Any]:
    """What ran where."""
    model = next(
        (line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")),
        platform.processor(),
    )
    found = {
        "cpu": model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
    }
    if device.startswith("cuda"):
        found["gpu"] = torch.cuda.get_device_name()
    return found | {
        name: version(name) for name in ("torch", "scipy", "numpy", "transformers", "odestab")
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def publish(name: str, result: dict[str, Any], options: argparse.Namespace) -> Path:
    """Write the JSON file: the command, the machine, the numbers."""
    command = " ".join(["python", f"benchmarks/{name}.py", *sys.argv[1:]])
    path = options.out or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"command": command, "machine": machine(options.device), **result})
    return path


def table(rows: list[dict[str, Any]]) -> str:
    """Rows of equal keys as aligned text."""
    cells = [
        list(rows[0]),
        *[[f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows],
    ]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )
