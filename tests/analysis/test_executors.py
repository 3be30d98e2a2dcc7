"""Cells by an executor are those of one process, however they get ready."""

import dataclasses
import operator
import os
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from executors import HeldExecutor, PicklingExecutor

from analysis import sweep, units
from analysis.cells import CellPlan, sharing_a_path
from analysis.config import Excerpt, Pair, StudyConfig, numbered, read_texts
from analysis.ground.commands import one_line
from analysis.ground.devices import memory_errors
from analysis.ground.executors import completed
from analysis.ground.processes import processes
from analysis.units import unit_of


@pytest.fixture
def executor() -> Iterator[PicklingExecutor]:
    with PicklingExecutor() as executor:
        yield executor


@pytest.fixture
def prepared(desk: Path) -> sweep.Sweep:
    texts, pairs = read_texts(Path("texts.tsv"))
    return sweep.prepare(StudyConfig("bert", texts, pairs, dense_limit=160), lambda line: None)


def test_results_come_as_they_get_ready_and_few_units_are_ahead():
    class Doing(HeldExecutor):
        def submit(self, fn, /, *arguments, **options):
            future = super().submit(fn, *arguments, **options)
            if len(self.held) > 1:  # the newest first
                self.do(len(self.held) - 1)
            return future

    doing = Doing()
    results = []
    for result in completed(doing, operator.neg, range(1, 5), str, ahead=2):
        results.append(result)
        assert len(doing.held) <= 2 + len(results)
        if len(results) == 3:
            doing.do(0)
    assert results == [-2, -3, -4, -1]


def test_a_unit_that_fails_raises_its_own_error_by_name_and_cancels_the_rest():
    class Failing(HeldExecutor):
        def submit(self, fn, /, *arguments, **options):
            future = super().submit(fn, *arguments, **options)
            if len(self.held) == 2:
                self.do(1)
            return future

    failing = Failing()
    with pytest.raises(ValueError, match="invalid literal") as raised:
        list(completed(failing, int, ["1", "two", "3"], lambda unit: f"unit {unit}", ahead=3))
    assert raised.value.__notes__ == ["in unit two"]
    assert [future.cancelled() for future, _, _ in failing.held] == [True, False, True]


def test_a_stream_that_is_closed_as_by_ctrl_c_cancels_what_has_not_begun():
    class Doing(HeldExecutor):
        def submit(self, fn, /, *arguments, **options):
            future = super().submit(fn, *arguments, **options)
            if len(self.held) == 1:
                self.do(0)
            return future

    doing = Doing()
    stream = completed(doing, operator.neg, range(1, 9), str, ahead=3)
    assert next(stream) == -1
    stream.close()
    assert [future.cancelled() for future, _, _ in doing.held] == [False, True, True, True]


def test_a_dead_process_of_an_executor_is_told_in_one_line():
    class Broken(HeldExecutor):
        def submit(self, fn, /, *arguments, **options):
            future = super().submit(fn, *arguments, **options)
            future.set_exception(BrokenProcessPool("terminated"))
            return future

    with pytest.raises(OSError, match="a worker process died while a waited"):
        list(completed(Broken(), len, ["a"], str))


def test_what_was_ready_when_a_process_died_is_not_lost():
    class Dying(HeldExecutor):
        def submit(self, fn, /, *arguments, **options):
            if len(self.held) == 2:  # both are done, and the pool is broken by now
                raise BrokenProcessPool("terminated")
            future = super().submit(fn, *arguments, **options)
            self.do(len(self.held) - 1)
            return future

    results = []
    with pytest.raises(OSError, match="a worker process died while 3 waited"):
        for result in completed(Dying(), operator.neg, range(1, 9), str, ahead=2):
            results.append(result)
    assert results == [-1, -2]


def test_a_scheduler_that_ends_is_told_in_one_line():
    class Ended(HeldExecutor):
        def submit(self, fn, /, *arguments, **options):
            future = super().submit(fn, *arguments, **options)
            future.cancel()
            return future

    with pytest.raises(OSError, match="a was cancelled, as the executor or its scheduler ended"):
        list(completed(Ended(), len, ["a"], str))


@pytest.mark.slow
def test_an_executor_gives_the_bytes_of_one_process(prepared, executor, finished, tmp_path):
    assert sweep.run(prepared, tmp_path / "other", pytest.fail, executor=executor) is not None
    for path in [*(finished / "cells").iterdir(), finished / "summary.json"]:
        own = tmp_path / "other" / path.relative_to(finished)
        assert own.read_bytes() == path.read_bytes(), path.name
    assert max(executor.sent) < 4000  # bytes of a unit, which has no other unit's texts


def test_a_failing_cell_is_named_and_the_run_goes_on(
    prepared, executor, finished, tmp_path, monkeypatch
):
    cells = [cell for cell in prepared.cells if cell.kind == "layer"]
    names = [cell.name for cell in cells]
    few = dataclasses.replace(prepared, cells=cells, resolved={**prepared.resolved, "cells": names})
    measure = units.measure

    def broken(study, cell):
        if cell.name == names[-1]:
            raise ValueError("this layer cannot be measured")
        return measure(study, cell)

    monkeypatch.setattr(units, "measure", broken)
    with pytest.raises(ValueError, match="this layer cannot be measured") as raised:
        sweep.run(few, tmp_path, pytest.fail, executor=executor)
    assert raised.value.__notes__ == [f"in cell {names[-1]}"]
    assert one_line(raised.value) == f"this layer cannot be measured; in cell {names[-1]}"
    assert not (tmp_path / "summary.json").exists()
    lacking = [cell.name for cell in sweep.lacking_cells(few, tmp_path, pytest.fail)]
    again: list[str] = []

    def counted(study, cell):
        again.append(cell.name)
        return measure(study, cell)

    monkeypatch.setattr(units, "measure", counted)
    assert sweep.run(few, tmp_path, pytest.fail, executor=executor) is not None
    assert again == lacking and names[-1] in lacking
    for name in names:
        path = f"cells/{name}.safetensors"
        assert (tmp_path / path).read_bytes() == (finished / path).read_bytes()


def test_a_worker_with_another_model_is_refused(prepared, executor):
    known = {**prepared.study.known_by, "weights": "of another model"}
    cells = [cell for cell in prepared.cells if cell.kind == "layer"][:1]
    with pytest.raises(ValueError, match=rf"{cells[0].name}: a worker has another model"):
        list(units.measured_by(executor, prepared.study.config, cells, known))


def test_a_unit_has_the_texts_of_its_cells_alone():
    pairs = (Pair("typo", "a", "b"), Pair("typo", "c", "d"), Pair("swap", "a", "e"))
    config = StudyConfig("no/such/folder", ("a", "c", "f"), pairs)
    unit = unit_of(config, [CellPlan("layer", (1, 2), layer=0)])
    assert list(numbered(unit.config.texts)) == [(1, "c"), (2, "f")]
    assert (len(unit.config.pairs), unit.config.model) == (0, "no/such/folder")
    of_pairs = unit_of(config, [CellPlan("secants", (2,), step_size=1.0, perturbation="swap")])
    assert list(numbered(of_pairs.config.pairs)) == [(0, pairs[0]), (2, pairs[2])]
    assert of_pairs.config.first_pair("a") == config.first_pair("a") == 0
    assert unit_of(config, [CellPlan("truncated")]).config.texts == Excerpt(((0, "a"),))
    attack = CellPlan("declared", (2,), perturbation="attack")
    assert list(unit_of(config, [attack]).config.texts) == ["f"]


def test_a_folder_is_looked_for_from_anywhere(desk):
    unit = unit_of(StudyConfig("bert", ("a",)), [CellPlan("layer", (0,), layer=0)])
    assert Path(str(unit.config.model)).is_absolute() and unit.name == "cell layer-l00-t0000"


def test_want_of_memory_keeps_the_name_of_its_cell():
    with pytest.raises(MemoryError) as raised, memory_errors("smaller cells need less"):
        error = RuntimeError("DefaultCPUAllocator: can't allocate memory")
        error.add_note("in cell layer-l00-t0000")
        raise error
    assert raised.value.__notes__ == ["in cell layer-l00-t0000"]


def test_processes_leave_the_environment_as_it_was(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with processes(1):
        monkeypatch.setenv("OF_THE_CALLER", "kept")
    assert os.environ["OMP_NUM_THREADS"] == "3" and "MKL_NUM_THREADS" not in os.environ
    assert os.environ["OF_THE_CALLER"] == "kept"


def test_what_was_measured_of_a_path_is_kept_when_its_next_cell_fails(prepared, monkeypatch):
    group = next(group for group in sharing_a_path(prepared.cells) if len(group) > 1)

    def failing(study, cell):
        if cell == group[-1]:
            raise MemoryError("too little")
        return cell

    monkeypatch.setattr(units, "measure", failing)
    measured = []
    with pytest.raises(MemoryError):
        for cell in units.measured_together(prepared.study, group):
            measured.append(cell)
    assert measured == group[:-1]
