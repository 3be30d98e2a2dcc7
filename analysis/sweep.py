"""Run a study into a folder: measure what is missing, cell by cell, then summarise. A killed run loses at most the cell in flight."""

import dataclasses
import json
import platform
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import odestab as od
from analysis.cells import CellPlan, plan
from analysis.config import StudyConfig
from analysis.measure import Study, load_study, measure
from analysis.record import DamagedCell, Run, read_cell, read_run, write_cell, write_json
from analysis.summary import Summary, summarise
from analysis.tables import tables

VERSIONED = ("odestab", "torch", "transformers", "numpy", "scipy")
Report = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A study with its cells.

    Attributes:
        study: the loaded model and its configuration.
        cells: everything to measure.
        resolved: the configuration as it is written to config.json.
    """

    study: Study
    cells: list[CellPlan]
    resolved: dict[str, Any]


def prepare(config: StudyConfig, warn: Report) -> Sweep:
    """Load the model, count tokens, and list the cells.

    Args:
        config: the study.
        warn: called with one line for each text that is truncated and each pair that is left out.

    Raises:
        ValueError: if the model cannot be loaded or a layer does not exist.
    """
    study = load_study(config)
    counts = study.token_counts(list(config.texts))
    tokens = [min(count, study.max_tokens) for count in counts]
    warnings = [
        f"text {i + 1} has {count} tokens; truncated to the {study.max_tokens} that the model takes"
        for i, count in enumerate(counts)
        if count > study.max_tokens
    ]
    pair_tokens, skipped = _pair_tokens(study)
    warnings += [f"pair {i + 1} left out: {reason}" for i, reason in skipped]
    for line in warnings:
        warn(line)
    first = study.trace((config.texts[0],))
    layers = config.chosen_layers(first.depth)
    cells = plan(config, layers, tokens, first.states[0].shape[2], pair_tokens)
    resolved = config.as_dict() | {
        "layers": layers,
        "depth": first.depth,
        "hidden": first.states[0].shape[2],
        "tokens": tokens,
        "skipped_pairs": skipped,
        "warnings": warnings,
        "weights": study.weights,
        "status_names": [status.name for status in od.Status],
        "versions": versions(),
    }
    return Sweep(study, cells, json.loads(json.dumps(resolved)))


def run(sweep: Sweep, out: Path, warn: Report, progress: Callable[[list[CellPlan]], Iterable[CellPlan]] = iter) -> Summary:
    """Measure the missing cells of a run folder and write its summary.json.

    Args:
        sweep: what to measure.
        out: the run folder; created if needed, continued if it holds the same configuration.
        warn: called with one line for each damaged cell that is measured again.
        progress: wraps the list of missing cells, a progress bar for instance.

    Raises:
        ValueError: if the folder belongs to a run with another configuration.
        OSError: if it cannot be written; cells that are already there stay.
    """
    open_folder(out, sweep.resolved)
    for cell in progress(missing(sweep.cells, out, warn)):
        write_cell(out / "cells", measure(sweep.study, cell))
    found = read_run(out)
    wanted = {cell.name for cell in sweep.cells}
    summary = summarise(Run(found.config, tuple(cell for cell in found.cells if cell.name in wanted)))
    write_json(out / "summary.json", tables(summary))
    return summary


def measure_in_memory(sweep: Sweep, cells: list[CellPlan]) -> Summary:
    """Measure some cells of a study without a run folder, for a single figure."""
    return summarise(Run(sweep.resolved, tuple(measure(sweep.study, cell) for cell in cells)))


def open_folder(out: Path, resolved: dict[str, Any]) -> None:
    """Create a run folder, or check that an existing one belongs to the same configuration.

    Raises:
        ValueError: if it does not; the first keys that differ are named.
        OSError: if it cannot be created or written.
    """
    (out / "cells").mkdir(parents=True, exist_ok=True)
    path = out / "config.json"
    if not path.exists():
        write_json(path, resolved)
        return
    try:
        existing = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not readable JSON ({error}); choose another folder") from None
    differing = sorted(key for key in existing.keys() | resolved.keys() if existing.get(key) != resolved.get(key))
    if differing:
        raise ValueError(f"{out} belongs to a run with another configuration ({', '.join(differing)} differ); choose another folder")


def missing(cells: list[CellPlan], out: Path, warn: Report) -> list[CellPlan]:
    """The cells that a folder lacks; damaged ones are named, removed and listed as missing."""
    found = []
    for cell in cells:
        path = out / "cells" / f"{cell.name}.safetensors"
        try:
            if path.exists() and read_cell(path):
                continue
        except DamagedCell as error:
            warn(f"damaged cell, measured again: {error}")
            path.unlink()
        found.append(cell)
    return found


def versions() -> dict[str, str]:
    """Versions of what computes the numbers."""
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _pair_tokens(study: Study) -> tuple[dict[int, int], list[tuple[int, str]]]:
    """Token counts of the pairs whose sides have the same number, and the others with the reason why they are left out."""
    pairs = study.config.pairs
    originals = study.token_counts([pair.original for pair in pairs])
    edited = study.token_counts([pair.edited for pair in pairs])
    usable, skipped = {}, []
    for i, (a, b) in enumerate(zip(originals, edited, strict=True)):
        if a != b:
            skipped.append((i, f"{a} against {b} tokens; a state difference needs the same number"))
        elif a > study.max_tokens:
            skipped.append((i, f"{a} tokens, more than the {study.max_tokens} that the model takes"))
        else:
            usable[i] = a
    return usable, skipped
