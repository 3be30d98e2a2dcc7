"""States of a training that a killed run goes on from: whole by the digest of every file, or not
used.

A state is a folder `checkpoint-STEP` as transformers' Trainer writes it: weights, optimiser,
scheduler, random state, history. Once it is on the disk, a list of the digests of its files is
written beside them.
"""

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from analysis.ground.files import flush_folder
from analysis.ground.identity import file_digest
from imbert.records import read
from imbert.result import write_json

WHOLE = "whole"  # the list, written when everything else is on the disk
NEEDED = ("model.safetensors", "config.json", "optimizer.pt", "scheduler.pt", "trainer_state.json")
KEPT = 2  # states, beside the best of each


class _History(msgspec.Struct, frozen=True):
    """What is read of transformers' trainer_state.json here."""

    best_global_step: int | None = None


def mark_whole(state: Path) -> None:
    """Flush a state to the disk and write down the digest of each of its files.

    Raises:
        OSError: if something cannot be written.
    """
    files = sorted(path for path in state.rglob("*") if path.is_file())
    # a digest of what is only in the page cache would vouch for a file that a power cut empties
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    for folder in {path.parent for path in files}:
        flush_folder(folder)
    write_json(
        state / WHOLE,
        {
            path.relative_to(state).as_posix(): file_digest(path)
            for path in files
            if path.name != WHOLE
        },
    )
    flush_folder(state.parent)


def step_of(state: Path) -> int:
    """The step at which a state was saved."""
    return int(state.name.rpartition("-")[2])


def last_state(folder: Path) -> Path | None:
    """The newest state of a training folder that can be gone on from: whole, as is the best one
    that its history names.
    """
    return next(iter(_usable(folder)), None)


def remove_unusable(folder: Path, report: Callable[[str], None]) -> None:
    """Remove states that a kill left half-written or that were damaged since, and all that came
    after the newest good one.

    Args:
        folder: of the training.
        report: takes a line about each state that had been whole.
    """
    good = last_state(folder)
    for state in _states(folder):
        usable = good is not None and (step_of(state) <= step_of(good)) and _is_whole(state)
        # what came after a damaged state was computed from it, or may have been
        if not usable:
            if (state / WHOLE).exists():
                report(
                    f"the state of step {step_of(state)} is damaged: going on from "
                    f"{f'step {step_of(good)}' if good else 'the start'}"
                )
            shutil.rmtree(state)


def remove_older(folder: Path) -> None:
    """Keep the newest states and those that were the best when they were saved."""
    kept = [state for state in _states(folder) if (state / WHOLE).exists()][:KEPT]
    # a run that goes on from a state needs the best of before too
    kept += [best for state in kept if (best := _best(state)) is not None]
    for state in _states(folder):
        if kept and state not in kept and step_of(state) < step_of(kept[0]):
            shutil.rmtree(state)


def _states(folder: Path) -> list[Path]:
    """Newest first."""
    numbered = [
        state for state in folder.glob("checkpoint-*") if state.name.rpartition("-")[2].isdecimal()
    ]
    return sorted(numbered, key=step_of, reverse=True)


def _usable(folder: Path) -> list[Path]:
    whole = {state: _is_whole(state) for state in _states(folder)}
    return [
        state
        for state, good in whole.items()
        if good and ((best := _best(state)) is None or whole.get(best, False))
    ]


def _best(state: Path) -> Path | None:
    """The state whose weights were the best so far."""
    with contextlib.suppress(ValueError, OSError):
        step = read(state / "trainer_state.json", _History).best_global_step
        return None if not step else state.with_name(f"checkpoint-{step}")
    return None


def _is_whole(state: Path) -> bool:
    """Whether every file is there as it was written, and every part of a state among them."""
    try:
        listed = read(state / WHOLE, dict[str, str])
        # one file for each process, whose number is in its name
        random_state = any(name.startswith("rng_state") for name in listed)
        if not (random_state and {*NEEDED} <= listed.keys()):
            return False
        return all(file_digest(state / name) == digest for name, digest in listed.items())
    except (ValueError, OSError):
        return False
