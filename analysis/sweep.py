"""Run a study into a folder: measure what is missing, cell by cell, then summarise.

A killed run loses at most the cell in flight.
"""

import contextlib
import dataclasses
import functools
import gc
import json
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, NamedTuple

import torch

import odestab as od
from analysis.cells import CellPlan, Scope, in_good_order
from analysis.config import StudyConfig
from analysis.ground.devices import memory_errors, require_device
from analysis.ground.interrupts import raise_interrupt
from analysis.ground.processes import processes
from analysis.ground.versions import versions
from analysis.packs import PACKED, pack, packs_cells
from analysis.quantities.registry import plan
from analysis.record import Cell, Run, write_cell
from analysis.run import (
    Measurements,
    Report,
    measurements,
    missing,
    open_folder,
    read_measurements,
    write_summary,
    write_whole,
)
from analysis.study import Study, load_study
from analysis.units import measured_by, measured_together, useful_workers

LESS = "shorter texts or a smaller --dense-limit need less"
Progress = Callable[[Iterable[Cell], int], Iterable[Cell]]


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A study with its cells.

    Attributes:
        config: the choices.
        known_by: digests of the model, which each cell has.
        cells: everything to measure.
        resolved: the configuration as it is written to config.json.
    """

    config: StudyConfig
    known_by: dict[str, str]
    cells: list[CellPlan]
    resolved: dict[str, Any]

    @functools.cached_property
    def study(self) -> Study:
        """The loaded model."""
        return load_study(self.config)

    def forget(self) -> None:
        """Let go of the model, for as long as nobody asks for it: others measure."""
        self.__dict__.pop("study", None)
        gc.collect()  # modules and their hooks refer to each other


def prepare(config: StudyConfig, warn: Report) -> Sweep:
    """Load the model, count tokens, and list the cells.

    Args:
        config: the study.
        warn: called with one line for each text that is truncated and each pair that is left out.

    Raises:
        ValueError: if the device or the model cannot be used, a layer does not exist, or a text has
            no tokens or no finite states.
    """
    require_device(config.device, config.dtype)
    study = load_study(config)
    tokens, truncated = _tokens(study)
    pairs = _pairs(study)
    warnings = truncated + pairs.warnings()
    for line in warnings:
        warn(line)
    first = study.trace((config.texts[0],))
    if not all(state.isfinite().all() for state in first.states):
        raise ValueError(
            f"model {config.as_dict()['model']!r} must have finite "
            f"states in {config.dtype}; on text 1 they are not"
        )
    layers = config.chosen_layers(first.depth)
    hidden = first.states[0].shape[2]
    directed = tuple(sorted(study.directions))
    padded = od.takes_padding(study.encoder)
    scope = Scope(config, layers, tokens, hidden, pairs.equal, directed, pairs.aligned, padded)
    cells = plan(scope)
    resolved = config.as_dict() | {
        "layers": layers,
        "encoder_depth": first.depth,
        "hidden": hidden,
        "tokens": tokens,
        "skipped_pairs": pairs.skipped,
        "warnings": warnings,
        "weights": study.weights,
        **study.identity,
        "directed": directed,
        "declared": getattr(study.encoder.config, "declared_steps", None),
        "status_names": [status.name for status in od.Status],
        "versions": versions(),
        "cells": [cell.name for cell in cells],
    }
    sweep = Sweep(config, study.known_by, cells, json.loads(json.dumps(resolved)))
    sweep.__dict__["study"] = study  # not loaded twice
    return sweep


def run(
    sweep: Sweep,
    out: Path,
    warn: Report,
    progress: Progress = lambda cells, total: cells,
    workers: int = 1,
    shard: tuple[int, int] = (0, 1),
    executor: Executor | None = None,
    store: str = "auto",
) -> Measurements | None:
    """Measure the missing cells of a run folder and write its summary.json.

    Any number of ranks may work in one folder: cells are written whole, and a cell that two ranks
    measure has the same bytes.

    Args:
        sweep: what to measure.
        out: the run folder; created if needed, continued if it holds the same configuration.
        warn: called with one line for each damaged cell that is measured again.
        progress: wraps the stream of measured cells, of which the total is given: a progress bar
            for instance.
        workers: processes to measure in; the numbers do not depend on it.
        shard: this rank and how many there are; it measures cells[rank::ranks].
        executor: measures in place of own processes: of threads, of processes, or of a cluster,
            whose workers need the model but not the run folder, which this process alone writes.
        store: "files", a file a cell; "zarr", packs of cells, and all that was measured in one Zarr
            store; or "auto", which is "zarr" of more than `MANY` cells.

    Returns:
        What was measured; None while cells of other ranks are missing: the rank that comes last
        writes the summary.

    Raises:
        ValueError: if the folder belongs to a run with another configuration, or a worker of the
            executor has another model.
        OSError: if it cannot be written; cells that are already there stay.
        MemoryError: if a cell needs more memory than there is; likewise.
    """
    packs = packs_cells(store, len(sweep.cells), warn)
    open_folder(out, sweep.resolved)
    mine = {cell.name for cell in sweep.cells[shard[0] :: shard[1]]}
    lacking = [cell for cell in lacking_cells(sweep, out, warn) if cell.name in mine]
    with memory_errors(LESS), contextlib.closing(_stream(sweep, lacking, workers, executor)) as new:
        for number, cell in enumerate(progress(new, len(lacking)), 1):
            write_cell(out / "cells", cell)
            if packs and number % PACKED == 0:
                pack(out / "cells", mine)
            raise_interrupt()
    if packs:
        pack(out / "cells", mine)
    if shard[1] > 1 and lacking_cells(sweep, out, warn):
        return None
    found = read_measurements(out)
    write_summary(out, found, warn)
    if packs:
        write_whole(out, found)
    return found


def _stream(
    sweep: Sweep, lacking: list[CellPlan], workers: int, executor: Executor | None
) -> Generator[Cell]:
    """Measured cells, by whom it may be."""
    config = sweep.config
    if config.device == "cpu":
        torch.set_num_threads(1)  # as in a worker: equal numbers with and without
    useful = useful_workers(config, len(lacking), workers)
    if executor is not None or useful > 1:
        sweep.forget()
    if executor is not None:
        yield from measured_by(executor, config, lacking, sweep.known_by)
    elif useful > 1:
        with processes(useful) as own:
            yield from measured_by(own, config, lacking, sweep.known_by)
    else:
        yield from _measured_here(sweep, lacking)


def _measured_here(sweep: Sweep, cells: list[CellPlan]) -> Generator[Cell]:
    if sweep.study.known_by != sweep.known_by:  # loaded again
        raise ValueError(
            f"model {sweep.config.model or 'the embedded default'}: expected what was there when "
            "the run was prepared, got another one"
        )
    for group in in_good_order(cells):
        yield from measured_together(sweep.study, group)


def lacking_cells(sweep: Sweep, out: Path, warn: Report) -> list[CellPlan]:
    """The cells of a sweep that a folder lacks."""
    return missing(sweep.cells, sweep.known_by, out, warn)


def measure_in_memory(sweep: Sweep, cells: list[CellPlan]) -> Measurements:
    """Measure some cells of a study without a run folder, for a single figure."""
    with memory_errors(LESS):
        found = tuple(_measured_here(sweep, cells))
    return measurements(Run(sweep.resolved, found))


def _tokens(study: Study) -> tuple[list[int], list[str]]:
    """Token counts of the texts as they are measured, and a warning for each that is truncated."""
    counts, limit = study.token_counts(list(study.config.texts)), study.max_tokens
    if 0 in counts:
        raise ValueError(
            f"text {counts.index(0) + 1} must have at least one token, "
            f"got {study.config.texts[counts.index(0)]!r}"
        )
    warnings = [
        f"text {i} has {count} tokens; truncated to the {limit} that the model takes"
        for i, count in enumerate(counts, 1)
        if count > limit
    ]
    return [min(count, limit) for count in counts], warnings


class _Pairs(NamedTuple):
    """Token counts of pairs by index, and what is left out.

    Attributes:
        equal: of pairs whose sides have the same number.
        aligned: of the longer side of every pair that can be told apart and is not too long.
        skipped: pairs that are not in `equal`, with the reason.
    """

    equal: dict[int, int]
    aligned: dict[int, int]
    skipped: list[tuple[int, str]]

    def warnings(self) -> list[str]:
        """One line for each pair that is left out; of propagation alone where tokens are
        aligned.
        """
        return [
            f"pair {i + 1} left out{' of propagation' * (i in self.aligned)}: {reason}"
            for i, reason in self.skipped
        ]


def _pairs(study: Study) -> _Pairs:
    """Which pairs can be measured, and how."""
    pairs, limit = study.config.pairs, study.max_tokens
    originals = study.token_counts([pair.original for pair in pairs])
    edited = study.token_counts([pair.edited for pair in pairs])
    found = _Pairs({}, {}, [])
    for i, (a, b) in enumerate(zip(originals, edited, strict=True)):
        longer = max(a, b)
        same = a == b and (
            study.tokenizer(pairs[i].original)["input_ids"]
            == study.tokenizer(pairs[i].edited)["input_ids"]
        )
        if same:
            reason = "the same tokens on both sides; the model cannot tell them apart"
        elif longer > limit:
            reason = f"{longer} tokens, more than the {limit} that the model takes"
        elif a != b:
            reason = f"{a} against {b} tokens; a state difference needs the same number"
            if min(a, b) > 0:
                found.aligned[i] = longer
        else:
            found.equal[i] = found.aligned[i] = longer
            continue
        found.skipped.append((i, reason))
    return found
