"""A labelled table given as texts: its texts are read, and plans train on it."""

import tomllib
from pathlib import Path

import pytest
from test_prediction import summary

from analysis.__main__ import main
from analysis.config import Pair, read_texts
from analysis.edits.pairs import read_pairs
from analysis.ground.labelled_tables import USUAL, ColumnNames
from analysis.prediction import no_run, no_study, plan_data, predict, run_toml, study_toml
from imbert.study.plan import read_study
from imbert.training.run_config import read_run

TABLES = {
    "a.tsv": "sentence\tlabel\na film\t1\nanother\t0\na film\t1\n",
    "b.tsv": "Sentence\na film\nanother\n",
    "a.txt": "sentence\tlabel\na film\t1\nanother\t0\n",
    "a.csv": 'text,label\n"a film",1\nanother,0\n',
    "a.jsonl": '{"text": "a film", "label": 1}\n{"text": "another", "label": 0}\n',
}


def put(folder: Path, name: str, content: str) -> Path:
    (folder / name).write_text(content)
    return folder / name


@pytest.mark.parametrize("name", TABLES)
def test_the_texts_of_a_table_are_its_texts(tmp_path: Path, name: str) -> None:
    assert read_texts(put(tmp_path, name, TABLES[name])) == (("a film", "another"), ())


def test_named_columns_make_a_table(tmp_path: Path) -> None:
    path = put(tmp_path, "a.tsv", "review\tmood\na film\tgood\nanother\tbad\n")
    with pytest.raises(ValueError, match=r"'good' is a label, no side of an edit; .*--text-column"):
        read_texts(put(tmp_path, "b.tsv", "a film\tgood\nb\tbad\nc\tgood\nd\tbad\n"))
    assert read_texts(path, ColumnNames("review"))[0] == ("a film", "another")
    with pytest.raises(ValueError, match=r"a\.tsv:1: expected a column mine, got review, mood"):
        read_texts(path, ColumnNames("mine"))


def test_pairs_count_by_themselves_or_are_edits(tmp_path: Path) -> None:
    path = put(tmp_path, "a.csv", "premise,hypothesis,label\na,b,0\na,c,1\n")
    assert read_texts(path) == (("a", "b", "c"), ())
    with pytest.raises(ValueError, match=r"expected pairs, .* columns original and edited"):
        read_pairs(path)
    sides = ColumnNames("premise", "hypothesis")
    assert read_pairs(path, sides) == (Pair("edit", "a", "b"), Pair("edit", "a", "c"))
    path = put(tmp_path, "b.csv", "kind,original,edited\ntypo,a cat,a cta\n")
    assert read_texts(path) == (("a cat",), (Pair("typo", "a cat", "a cta"),))
    path = put(tmp_path, "b.csv", "original,edited\na,b\nc,c\n")
    with pytest.raises(ValueError, match=r"b\.csv:3: original and edited text must differ"):
        read_pairs(path)


@pytest.mark.parametrize("command", [["analyze"], ["edits", "--text", "a", "--edited", "b"]])
def test_columns_are_of_a_table(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--text-column", "review"]) == 2
    assert "columns are named of the table --texts, which is not given" in capsys.readouterr().err


def test_a_plan_trains_on_the_users_table(tmp_path: Path) -> None:
    rows = "".join(f"text {i},{i % 3}\n" for i in range(50))
    path = put(tmp_path, "own.csv", "review,mood\n" + rows)
    data = plan_data(path, ColumnNames("review", None, "mood"))
    prediction = predict(summary([-0.1, -0.1, 0.3], [-0.2, -0.2, -0.2]))
    for name, plan in (("run.toml", run_toml), ("study.toml", study_toml)):
        (tmp_path / name).write_text(plan(prediction, "0" * 64, data, "bert"))
    chosen = read_run(tmp_path / "run.toml").data
    assert (chosen.task, chosen.source) == ("own", str(path))
    assert (chosen.text_column, chosen.label_column) == ("review", "mood")
    assert (chosen.dev_rows, chosen.validation) == (10, 8)
    study = read_study(tmp_path / "study.toml")
    assert study.tasks == ("own",) and study.attacks is not None and study.attacks.examples == 10
    assert all(cell.run.data == chosen for cell in study.cells())


def test_both_files_of_splits_are_read_where_they_are(tmp_path: Path) -> None:
    path = put(tmp_path, "train.tsv", TABLES["a.tsv"])
    assert any("dev_rows" in line for line in plan_data(path, USUAL).lines)
    put(tmp_path, "dev.tsv", TABLES["a.tsv"])
    for split in ("train", "dev"):
        lines = plan_data(tmp_path / f"{split}.tsv", USUAL).lines
        chosen = tomllib.loads("\n".join(lines))
        assert chosen["source"] == str(tmp_path / "{split}.tsv") and "dev_rows" not in chosen


def test_names_of_any_script_stand_in_a_plan(tmp_path: Path) -> None:
    path = put(tmp_path, "😀.csv", "😀\x7f,é\n" + "a,x\nb,y\nc,x\n")
    chosen = tomllib.loads("\n".join(plan_data(path, ColumnNames("😀\x7f", None, "é")).lines))
    assert chosen["text_column"] == "😀\x7f" and chosen["source"] == str(path)


@pytest.mark.parametrize(
    "name", ["b.tsv", "edits.csv", "lines.txt", "scores.csv", "one class.csv", "few.csv"]
)
def test_texts_without_classes_leave_the_task_open(tmp_path: Path, name: str) -> None:
    contents = {
        **TABLES,
        "edits.csv": "original,edited\na,b\n",
        "lines.txt": "a\nb\n",
        "scores.csv": "text,label\na,0.5\nb,1.5\nc,1\n",
        "one class.csv": "text,label\na,x\nb,x\nc,X\n",
        "few.csv": "text,label\na,x\nb,y\n",
    }
    assert plan_data(put(tmp_path, name, contents[name]), USUAL).task == "sst2"
    assert plan_data(None, USUAL).task == "sst2"


def test_a_plan_that_cannot_run_says_why() -> None:
    prediction = predict(summary([-0.1, -0.1, 0.3], [-0.2, -0.2, -0.2]))
    assert no_run("bert") is None and no_study(prediction, "roberta") is None
    for plan in (run_toml, study_toml):
        text = plan(prediction, "0" * 64, family="gpt2")
        assert tomllib.loads(text) == {} and "no implicit layers for models of gpt2" in text
    few = predict(summary([-0.1, 0.3], [-0.2, -0.2]))
    assert tomllib.loads(run_toml(few, "0" * 64, family="bert"))["model"]["kind"] == "im-bert"
    text = study_toml(few, "0" * 64, family="bert")
    assert tomllib.loads(text) == {} and "at least 5 placements" in text and "have 3" in text
