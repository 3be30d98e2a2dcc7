"""Runs the parts one after the other, each in a process of its own with a time limit, and keeps
what is finished at every moment.
"""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from imbert.result import write_json

RESULT, LOG = "gpu.json", "gpu.log"
POLL = 1.0  # seconds between two looks at the record of a running part
GRACE = 10.0  # seconds that a part has to end by itself after its time
LEAST = 10.0  # seconds under which a part is not begun
TAIL = 3000  # characters of a failed part's output that its record keeps


@dataclasses.dataclass(frozen=True)
class Part:
    """One part of the measurement.

    Attributes:
        name: of it.
        target: what it is to show, and what the floor is.
        minutes: its share of the eight that are the default; a shorter run shortens all alike.
        command: its program and first arguments.
    """

    name: str
    target: str
    minutes: float
    command: tuple[str, ...]


def of_module(name: str, minutes: float, target: str) -> Part:
    """The part that a module of this package is."""
    return Part(name, target, minutes, (sys.executable, "-m", f"benchmarks.gpu.{name}"))


PARTS = (  # by worth: what is measured first is measured most surely
    of_module("right", 1.75, "every check of correctness passes on the device"),
    of_module(
        "solver",
        1.5,
        "a solver iteration costs at most 8 % (fixed point), 25 % "
        "(Anderson 3), 35 % (Anderson 5) over a bare evaluation, "
        "without a host sync, and a solve a third of torchdeq's time; the "
        "floor is the bytes of the stages over the copy bandwidth",
    ),
    of_module(
        "spectra",
        1.25,
        "at least 60 % of the device's time is in matrix products; "
        "the floor is their operations over the ceiling",
    ),
    of_module(
        "training",
        1.5,
        "an IM-BERT step beside BERT's, in time and memory; the "
        "floor is BERT's step and the counted evaluations",
    ),
    of_module(
        "study", 2.0, "runs of the study's plan, whose accuracies are within noise of a processor's"
    ),
)


def run_parts(
    parts: Sequence[Part],
    out: Path,
    work: Path,
    minutes: float,
    arguments: Sequence[str],
    machine: Mapping[str, Any],
    environment: Mapping[str, str],
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run the parts that the folder does not hold yet; a part that fails or hangs leaves its
    traceback, and the rest goes on.

    Args:
        parts: in the order of their worth.
        out: the folder of gpu.json and gpu.log.
        work: a folder for what the parts need and nobody keeps.
        minutes: of all parts together.
        arguments: given to every part.
        machine: what runs them, for the record.
        environment: variables of the parts' processes.
        report: takes lines about progress.

    Returns:
        The record: `machine`, and for each part its target, status ("finished", "failed", "out of
            time" or "not begun") and numbers.
    """
    end = time.monotonic() + 60 * minutes
    for folder in (out, work):
        folder.mkdir(parents=True, exist_ok=True)
    record = _begun(out / RESULT, machine)
    whole = sum(part.minutes for part in parts)
    for part in parts:
        entry = record["parts"].get(part.name, {})
        if entry.get("status") == "finished":
            report(f"{part.name}: finished before")
            continue
        limit = min(60 * minutes * part.minutes / whole, end - time.monotonic() - GRACE)
        if part is parts[-1]:  # it takes what the others have left
            limit = end - time.monotonic() - GRACE
        entry = record["parts"][part.name] = {
            "target": part.target,
            "status": "not begun",
            "date": machine.get("date"),
            "code": machine.get("code"),
        }
        if limit >= LEAST:
            entry["status"] = "running"
            write_json(out / RESULT, record)
            report(f"{part.name}: at most {limit:.0f} s")
            _run(
                part,
                limit,
                [*arguments, "--out", str(out), "--work", str(work)],
                environment,
                (out, work),
                lambda entry=entry, **now: _keep(out, record, entry, now),
            )
        write_json(out / RESULT, record)
        report(f"{part.name}: {entry['status']}")
    return record


def _begun(path: Path, machine: Mapping[str, Any]) -> dict[str, Any]:
    """The record of an interrupted run on the same machine and code, else a new one."""
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["machine"] == dict(machine):
            return found
    return {"machine": dict(machine), "parts": {}}


def _keep(out: Path, record: dict[str, Any], entry: dict[str, Any], now: dict[str, Any]) -> None:
    entry.update(now)
    write_json(out / RESULT, record)


def _run(
    part: Part,
    limit: float,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folders: tuple[Path, Path],
    keep: Callable[..., None],
) -> None:
    """One part's process; its record is read again and again, so that a lost machine loses no
    finished row.
    """
    out, work = folders
    numbers = work / f"{part.name}.json"
    numbers.unlink(missing_ok=True)
    command = [
        *part.command,
        "--record",
        str(numbers),
        "--end",
        f"{time.time() + limit:.1f}",
        *arguments,
    ]
    start, seen = time.monotonic(), ""
    with (out / LOG).open("a+", encoding="utf-8", errors="replace") as log:
        log.write(f"\n=== {part.name}: {' '.join(part.command)}\n")
        log.flush()
        began = log.tell()
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        try:
            while (
                code := _waited(process, POLL)
            ) is None and time.monotonic() < start + limit + GRACE:
                seen = _passed_on(numbers, seen, keep)
        finally:
            _end(process)
        _passed_on(numbers, seen, keep)
        numbers.unlink(missing_ok=True)
        seconds = round(time.monotonic() - start, 1)
        if code == 0:
            keep(status="finished", seconds=seconds)
            return
        log.seek(began)
        status = "out of time" if code is None else "failed"
        keep(status=status, seconds=seconds, exit=code, output=log.read()[-TAIL:])


def _waited(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def _passed_on(numbers: Path, seen: str, keep: Callable[..., None]) -> str:
    """Keep the part's rows where there are new ones."""
    text = numbers.read_text(encoding="utf-8") if numbers.is_file() else ""
    if text and text != seen:
        keep(numbers=json.loads(text))
    return text


def _end(process: subprocess.Popen[bytes]) -> None:
    """Nothing that a part has started goes on after it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
