"""Runs of a study by an executor: what workers report, what fails, and where its folder is not."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from executors import PicklingExecutor
from tiny_runs import tiny_study

from imbert.__main__ import main
from imbert.study import elsewhere
from imbert.study.run_study import run_study


@pytest.fixture
def executor() -> Iterator[PicklingExecutor]:
    with PicklingExecutor() as executor:
        yield executor


def test_runs_report_and_fail_as_in_one_process(
    tiny_folder: Path,
    tmp_path: Path,
    executor: PicklingExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def trained(study, cell, out, data, report):
        if out.name == "many":  # a worker starts in another folder
            assert out.is_absolute() and data.is_absolute()
        (out / cell.folder).mkdir(parents=True)
        report("first")
        if cell.model == "bert":
            raise FloatingPointError("the loss is not finite")
        report("second")

    monkeypatch.setattr("imbert.study.run_study._train", trained)
    monkeypatch.chdir(tmp_path)
    told: dict[str, list[str]] = {"one": [], "many": []}
    study = tiny_study(tiny_folder)
    for name, executed_by in (("one", None), ("many", executor)):
        run_study(
            study,
            Path(name),
            Path(),
            ("train",),
            report=told[name].append,
            executor=executed_by,
        )
    assert sorted(told["many"]) == sorted(told["one"]) and len(told["one"]) == 8
    assert told["many"][0].startswith("[") and "train runs/sst2-32/" in told["many"][0]
    failed = [path.relative_to("many") for path in Path("many").rglob("failed-train.json")]
    assert sorted(failed) == sorted(
        path.relative_to("one") for path in Path("one").rglob("failed-train.json")
    )
    assert len(failed) == 2
    record = json.loads((Path("many") / failed[0]).read_text())
    assert record["error"] == "the loss is not finite"
    assert not list(Path("many").glob(".shared-*"))  # the token is gone with the workers


def test_a_worker_that_does_not_see_the_folder_is_told_before_it_trains(
    tiny_folder: Path,
    tmp_path: Path,
    executor: PicklingExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "imbert.study.run_study._train", lambda *_: pytest.fail("trained in a private folder")
    )
    monkeypatch.setattr(elsewhere, "write_text", lambda path, text: None)
    with pytest.raises(ValueError, match=r"is not the study's folder: expected a file system"):
        run_study(tiny_study(tiny_folder), tmp_path, tmp_path, ("train",), executor=executor)
    assert not (tmp_path / "runs").exists()


def test_a_scheduler_and_a_shard_are_two_ways_of_sharing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "study.toml").write_text('[study]\nname = "a"\n[models.bert]\n')
    arguments = ["study", str(tmp_path / "study.toml"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--scheduler", "local", "--shard", "0/2"]) == 2
    assert "--scheduler shares the work itself: expected no --shard" in capsys.readouterr().err
    assert main([*arguments, "--scheduler", "somewhere"]) == 2
    assert "expected local or an address like tcp://HOST:PORT" in capsys.readouterr().err


@pytest.mark.slow
def test_runs_by_an_executor_are_those_of_one_process(
    tiny_folder: Path, data: Path, tmp_path: Path, executor: PicklingExecutor
) -> None:
    study = tiny_study(tiny_folder, study={"seeds": [0]})
    summaries = [
        run_study(study, tmp_path / name, data, report=lambda line: None, executor=executed_by)
        for name, executed_by in (("one", None), ("many", executor))
    ]
    one, many = summaries
    assert one is not None and many is not None and one.missing == many.missing == []
    # threads train one at a time: they share torch's generator
    for cell in study.cells():
        weights = f"{cell.folder}/checkpoint/model.safetensors"
        assert (tmp_path / "many" / weights).read_bytes() == (
            tmp_path / "one" / weights
        ).read_bytes()
