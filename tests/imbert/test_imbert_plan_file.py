"""A study's folder belongs to one plan by content; another one is refused, or recorded."""

from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET

from analysis.ground.question import Question
from imbert import __main__ as command
from imbert.result import read_json
from imbert.study.plan import read_study
from imbert.study.plan_file import PLAN, PlanChange, hold_plan, read_plan_record
from imbert.study.summary import summarise

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
    with pytest.raises(ValueError, match=rf"belongs to the plan {before[:12]}, got .*--plan-cha"):
        held(other, out)
    assert read_plan_record(out).plan == before
    record, lines = held(other, out, changed=True)
    assert record.changes == [PlanChange(before, record.plan)] and record.plan != before
    assert len(lines) == 1 and before[:12] in lines[0]
    assert summarise(read_study(other), out).plan_changes == record.changes
    with pytest.raises(ValueError, match="belongs to the plan"):
        held(first, out)


def test_the_command_refuses_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = a_plan(tmp_path, TABLES)
    other = a_plan(tmp_path, TABLES + QUESTION, "other.toml")
    out = tmp_path / "out"
    summary = ["--out", str(out), "--stages", "summarise"]
    assert command.main(["study", str(first), *summary]) == 0
    assert read_json(out / "study.json")["plan"] == read_json(out / PLAN)["plan"]
    capsys.readouterr()
    assert command.main(["study", str(other), *summary]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert command.main(["study", str(other), *summary, "--plan-changed"]) == 0
    assert len(read_json(out / "study.json")["plan_changes"]) == 1


@pytest.mark.parametrize(
    ("line", "wrong", "match"),
    [
        ('primary = "dev accuracy"', 'primary = " "', r"question\.primary must be a text"),
        (', between = "Not told apart."', "", "question.reading must have a sentence for each of"),
        ('"It helps."', "3", "question.reading.above must be a text, got 3"),
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
    ends = [(0.11, 0.2), (0.1, 0.2), (-0.1, 0.09), (-0.1, 0.1), (None, None)]
    assert [question.outcome(*each) for each in ends] == [
        "above",
        "between",
        "below",
        "between",
        "between",
    ]
