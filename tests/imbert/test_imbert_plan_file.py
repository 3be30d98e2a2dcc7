"""A study's folder belongs to one plan by content; another one is refused, or recorded."""

from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET, structs

from analysis.flips.files import Run
from analysis.ground.question import Question
from analysis.ground.typed_records import read_typed
from imbert import __main__ as command
from imbert.result import read_json, write_record
from imbert.study.plan import read_study
from imbert.study.plan_file import PLAN, PlanChange, PlanRecord, hold_plan, read_plan_record
from imbert.study.summary import summarise

STUDIES = Path(__file__).parents[2] / "docs" / "studies"
PUBLISHED = sorted(STUDIES.rglob(PLAN))
TABLES = '[study]\nname = "s"\nbaseline = "a"\nsizes = [32]\n[models.a]\n'
QUESTION = """
[question]
name = "Does it help?"
primary = "dev accuracy"
reading = { above = "It helps.", below = "It harms.", between = "Not told apart." }
"""


def a_plan(folder: Path, text: str, name: str = "study.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def held(path: Path, out: Path, **options: Any) -> Any:
    lines: list[str] = []
    record = hold_plan(read_study(path), path.read_bytes(), out, lines.append, **options)
    return record, lines


def a_run_begins(out: Path, trace: str = "training/checkpoint-2") -> None:
    """A saved state, a result or anything else in the folder of a run."""
    (out / "runs" / "sst2-32" / "a" / "seed-0" / trace).mkdir(parents=True)


def test_the_first_run_writes_the_plan_and_the_same_one_continues(tmp_path: Path) -> None:
    path = a_plan(tmp_path, TABLES + QUESTION)
    out = tmp_path / "out"
    record, lines = held(path, out)
    assert (record.question.threshold, record.changes, lines) == (0.0, [], [])
    before = (out / PLAN).read_bytes()
    assert held(path, out)[0] == record == read_plan_record(out)
    assert (out / PLAN).read_bytes() == before
    assert summarise(read_study(path), out).plan == record.plan


def test_a_folder_without_a_plan_continues_and_has_one_then(tmp_path: Path) -> None:
    path = a_plan(tmp_path, TABLES)
    out = tmp_path / "out"
    assert summarise(read_study(path), out).plan is UNSET
    record, _ = held(path, out)
    assert record.question is None and summarise(read_study(path), out).plan == record.plan


def test_another_plan_is_refused_unless_it_is_declared(tmp_path: Path) -> None:
    first = a_plan(tmp_path, TABLES + QUESTION)
    other = a_plan(tmp_path, TABLES + QUESTION + "# a remark\n", "other.toml")
    out = tmp_path / "out"
    before = held(first, out)[0].plan
    a_run_begins(out)
    with pytest.raises(ValueError, match=rf"belongs to the plan {before[:12]}, got .*--plan-cha"):
        held(other, out)
    assert read_plan_record(out).plan == before
    record, lines = held(other, out, changed=True)
    assert record.changes == [PlanChange(before, record.plan)] and record.plan != before
    assert len(lines) == 1 and before[:12] in lines[0]
    assert summarise(read_study(other), out).plan_changes == record.changes
    with pytest.raises(ValueError, match="belongs to the plan"):
        held(first, out)


def test_a_plan_binds_from_the_first_state_of_a_run(tmp_path: Path) -> None:
    first = a_plan(tmp_path, TABLES + '[data]\nsource = "glu"\n')
    mended = a_plan(tmp_path, TABLES + '[data]\nsource = "glue"\n', "mended.toml")
    out = tmp_path / "out"
    held(first, out)
    a_run_begins(out, "failed-train.json")
    record, lines = held(mended, out)
    assert (record.changes, lines) == ([], []) and read_plan_record(out) == record


@pytest.mark.parametrize("trace", ["result.json", "train.json", "training/checkpoint-2"])
def test_each_trace_of_a_run_binds(tmp_path: Path, trace: str) -> None:
    out = tmp_path / "out"
    held(a_plan(tmp_path, TABLES), out)
    a_run_begins(out, trace)
    with pytest.raises(ValueError, match="belongs to the plan"):
        held(a_plan(tmp_path, TABLES + QUESTION, "other.toml"), out)


def test_runs_without_any_record_of_a_plan_are_adopted(tmp_path: Path) -> None:
    out = tmp_path / "out"
    a_run_begins(out, "result.json")
    record, lines = held(a_plan(tmp_path, TABLES), out)
    assert record.changes == [PlanChange("unknown", record.plan)] and len(lines) == 1


def test_a_plan_whose_record_was_removed_still_binds(tmp_path: Path) -> None:
    first = a_plan(tmp_path, TABLES)
    other = a_plan(tmp_path, TABLES + QUESTION, "other.toml")
    out = tmp_path / "out"
    before = held(first, out)[0].plan
    a_run_begins(out, "result.json")
    write_record(out / "study.json", {"name": "s", "plan": before})
    (out / PLAN).unlink()
    with pytest.raises(ValueError, match=rf"belongs to the plan {before[:12]}, got .*--plan-cha"):
        held(other, out)
    assert held(other, out, changed=True)[0].changes[0].before == before
    (out / PLAN).unlink()
    # under the plan that the summary names nothing changed
    assert held(first, out)[0].changes == []


def test_the_changes_in_a_summary_outlast_the_plans_record(tmp_path: Path) -> None:
    path = a_plan(tmp_path, TABLES)
    out = tmp_path / "out"
    digest = held(path, out)[0].plan
    change = {"before": "0" * 64, "after": digest}
    write_record(out / "study.json", {"plan": digest, "plan_changes": [change]})
    (out / PLAN).unlink()
    assert held(path, out)[0].changes == [PlanChange("0" * 64, digest)]


def test_a_plan_names_its_runs_as_a_verdict_finds_them(tmp_path: Path) -> None:
    shown = "[train]\nprogress = true\nlearning_rate = 3e-5\n"
    path = a_plan(tmp_path, TABLES + shown)
    record, _ = held(path, tmp_path / "out")
    run = next(read_study(path).cells()).run
    assert "progress" in run.as_dict()["train"]
    values = {"run": run.as_dict(), "meta": {"checkpoints": {"start": None, "final": None}}}
    write_record(tmp_path / "result.json", values)
    found = read_typed(tmp_path / "result.json", Run)
    assert record.runs == [run.digest] == [found.digest]


def test_a_plan_of_an_earlier_version_is_read_and_left_as_it_is(tmp_path: Path) -> None:
    path = a_plan(tmp_path, TABLES)
    out = tmp_path / "out"
    held(path, out)
    earlier = {name: value for name, value in read_json(out / PLAN).items() if name != "runs"}
    del earlier["digest"]
    write_record(out / PLAN, earlier)
    before = (out / PLAN).read_bytes()
    assert held(path, out)[0].runs is UNSET and (out / PLAN).read_bytes() == before


def test_the_command_refuses_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = a_plan(tmp_path, TABLES)
    other = a_plan(tmp_path, TABLES + QUESTION, "other.toml")
    out = tmp_path / "out"
    summary = ["--out", str(out), "--stages", "summarise"]
    assert command.main(["study", str(first), *summary]) == 0
    assert read_json(out / "study.json")["plan"] == read_json(out / PLAN)["plan"]
    a_run_begins(out)
    capsys.readouterr()
    assert command.main(["study", str(other), *summary]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert command.main(["study", str(other), *summary, "--plan-changed"]) == 0
    assert len(read_json(out / "study.json")["plan_changes"]) == 1


def file_of(record: Path) -> Path:
    """Of X/plan.json X/study.toml, of X/NAME/plan.json X/NAME.toml."""
    of_study = record.with_name("study.toml")
    return of_study if of_study.exists() else record.parent.with_suffix(".toml")


def belongs(record: PlanRecord, plan: Path) -> bool:
    """Whether a record is of the plan in a file, as it is now."""
    again, _ = held(plan, plan.parent / "empty")
    # what was declared since the first run is history, and earlier versions name no runs
    runs = UNSET if record.runs is UNSET else again.runs
    return record == structs.replace(again, changes=record.changes, runs=runs)


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.relative_to(STUDIES).as_posix())
def test_every_published_plan_is_that_of_its_file(path: Path, tmp_path: Path) -> None:
    record = read_plan_record(path.parent)
    assert record is not None
    text = file_of(path).read_text(encoding="utf-8")
    plan = a_plan(tmp_path, text)
    assert belongs(record, plan)
    assert [each.after for each in record.changes[-1:]] in ([], [record.plan])
    reading = {"above": "a", "below": "b", "between": "c"}
    assert not belongs(structs.replace(record, question=Question("q", "p", reading)), plan)
    changed = a_plan(tmp_path, text + "# a remark\n", "changed.toml")
    assert not belongs(record, changed), "another file is another plan, whatever it says"


@pytest.mark.parametrize(
    ("line", "wrong", "match"),
    [
        ('primary = "dev accuracy"', 'primary = " "', r"question\.primary must be a text"),
        (', between = "Not told apart."', "", "question.reading must have a sentence for each of"),
        ('"It helps."', "3", "question.reading.above must be a text, got 3"),
        ('primary = "dev accuracy"\n', "", r"\[question\] must have name, .*, got no primary"),
        ("[question]", "[question]\nlimit = 1", r"\[question\]: expected keys among name"),
        ("[question]", '[question]\nthreshold = "0"', "question.threshold must be a finite number"),
    ],
)
def test_a_question_that_is_wrong_is_refused(
    tmp_path: Path, line: str, wrong: str, match: str
) -> None:
    path = a_plan(tmp_path, TABLES + QUESTION.replace(line, wrong))
    with pytest.raises(ValueError, match=match):
        read_study(path)


def test_an_interval_selects_its_sentence() -> None:
    reading = {"above": "a", "below": "b", "between": "c"}
    question = Question("q", "p", reading, threshold=0.1)
    ends = [(0.11, 0.2), (0.1, 0.2), (-0.1, 0.09), (-0.1, 0.1)]
    assert [question.outcome(*each) for each in ends] == ["above", "between", "below", "between"]


@pytest.mark.parametrize("ends", [(None, None), (0.2, None), (None, 0.0), (float("nan"), 0.2)])
def test_an_interval_that_was_not_measured_is_no_outcome(ends: tuple[Any, Any]) -> None:
    question = Question("q", "p", {"above": "a", "below": "b", "between": "c"}, threshold=0.1)
    with pytest.raises(ValueError, match="an outcome needs both ends of an interval, got"):
        question.outcome(*ends)
