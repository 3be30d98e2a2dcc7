"""`odestab edits`: what it writes and prints, and one clear line for what can be wrong."""

import re
from pathlib import Path

import pandas as pd
import pytest
import transformers
from tiny_study import TEXTS, saved, tiny_config

import figures.edits
from analysis.edits.records import read_edits
from analysis.edits.telling import PREDICTED
from analysis.ground.files import folder_lock

ONE = ("--text", "the cat sat on the mat", "--edited", "the dog sat on the mat")


@pytest.fixture
def undrawn(monkeypatch):
    monkeypatch.setattr(
        figures.edits, "write_page", lambda record, words, beside, out: out / "edits.html"
    )


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ([], "expected --text with --edited, or --texts, got neither"),
        (["--text", "a"], "expected --text with --edited, or --texts, got --text"),
        (["--edited", "a"], "got --edited"),
        ([*ONE, "--texts", "texts.tsv"], "got --text and --edited and --texts"),
        (["--text", "", "--edited", "a"], "--text: expected a text, got an empty one"),
        (["--text", "a", "--edited", " "], "--edited: expected a text, got an empty one"),
        (["--text", "a", "--edited", "a"], "original and edited text must differ, got 'a' twice"),
        (["--texts", "plain.tsv"], "plain.tsv: expected pairs, .* got 2 texts without an edit"),
        (["--texts", "gap.tsv"], "gap.tsv: line 2 is empty or has an empty column"),
        (["--texts", "alike.tsv"], "alike.tsv: line 1: original and edited text must differ"),
        (["--texts", "nowhere.tsv"], "nowhere.tsv: No such file"),
        ([*ONE, "--step-size", "0"], "step size must be > 0"),
        ([*ONE, "--format", "xlsx"], "--format: invalid choice: 'xlsx'"),
    ],
)
def test_wrong_usage_is_one_line_before_anything_is_loaded(odestab, monkeypatch, arguments, match):
    Path("plain.tsv").write_text("the cat sat\nthe dog\n")
    Path("gap.tsv").write_text("typo\tthe cat\tthe dog\ntypo\tthe cat\t\n")
    Path("alike.tsv").write_text("typo\tthe cat\tthe cat\n")
    monkeypatch.setattr("odestab.load_encoder", lambda *_: pytest.fail("loaded a model"))
    odestab.refuses(["edits", "bert", *arguments], match)
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("original", "edited", "match"),
    [
        ("the  cat", "the cat", "both texts have the same tokens: δ = 0"),
        ("the cat " * 8, "the cat", "18 tokens, more than the 12 that the model takes"),
        ("the cat", "\u200b", "its edited text has no token beside special ones"),
    ],
)
def test_a_pair_that_cannot_be_measured_is_one_line(odestab, original, edited, match):
    odestab.refuses(["edits", "bert", "--text", original, "--edited", edited], match)


@pytest.mark.usefixtures("undrawn")
def test_one_pair_is_told_step_by_step(odestab):
    outcome = odestab("edits", "bert", *ONE, "--out", "out")
    assert (outcome.code, outcome.err) == (0, [])
    lines = outcome.out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[1].split() == ["layer", "explicit", "implicit", "predicted", "converged"]
    record = read_edits(Path("out/edits.json"))
    (edit,) = record.edits
    for step, line in enumerate(lines[2:4]):
        name, explicit, implicit, predicted, converged = line.split()
        walk = edit.walks["implicit"]
        assert (name, converged) == (str(step), "yes")
        assert float(explicit) == pytest.approx(edit.walks["explicit"].growth[step], abs=6e-4)
        assert float(implicit) == pytest.approx(walk.growth[step], abs=6e-4)
        assert float(predicted) == pytest.approx(walk.predicted[step], abs=6e-4)
    assert lines[5] == PREDICTED
    assert lines[4].split()[0] == "all" and lines[-2] == "page: out/edits.html"
    assert lines[-1].startswith("next: open the page") and lines[-1].endswith(" out/tables")


@pytest.mark.usefixtures("undrawn")
def test_no_table_of_another_format_stays_and_a_folder_in_use_is_refused(odestab):
    tables = Path("out/tables")
    for form, pair in (("csv", ONE), ("parquet", ONE)):
        assert odestab("edits", "bert", *pair, "--out", "out", "--format", form).code == 0
        assert {path.suffix for path in tables.iterdir()} == {f".{form}"}
    with folder_lock(Path("out")):
        outcome = odestab("edits", "bert", *ONE, "--out", "out")
    assert outcome.code == 2 and outcome.err == ["odestab: error: out is in use by another process"]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_many_pairs_are_in_the_record_and_the_tables(odestab, form):
    outcome = odestab(
        "edits", "bert", "--texts", "texts.tsv", "--out", "out", "--format", form, "--step-size", 2
    )
    assert outcome.code == 0 and all(len(line) <= 80 for line in outcome.out.splitlines())
    assert outcome.err == [
        "odestab: warning: pair 3 left out: both texts have the same tokens: δ = 0, the model "
        "cannot tell them apart"
    ]
    assert outcome.out.startswith("3 pairs, 2 kinds, h = 2: ")
    record = read_edits(Path("out/edits.json"))
    assert (record.left_out.keys(), record.as_run, record.step_size) == ({"3"}, "model", 2.0)
    read = pd.read_csv if form == "csv" else pd.read_parquet
    tables = {path.stem: read(path) for path in Path("out/tables").iterdir()}
    assert {name: len(table) for name, table in tables.items()} == {
        "pairs": 3,
        "steps": 3 * 3 * 2,
        "levels": 3 * 3,
        "tokens": 3 * sum(len(edit.marks) for edit in record.edits),
        "damping": 2 * 3 * 2,
    }
    steps = tables["steps"].set_index(["pair", "method", "layer"]).sort_index()
    for edit in record.edits:
        for method, walk in edit.walks.items():
            rows = steps.loc[(edit.index, method)]
            assert rows["growth"].tolist() == pytest.approx(walk.growth, rel=1e-15)
            assert rows["start_im"].tolist() == pytest.approx(
                [point[1] for point in walk.start], rel=1e-15
            )
    assert tables["levels"]["size_whole"].tolist() == pytest.approx(
        [size for edit in record.edits for size in edit.size_whole]
    )
    # No text is part of the record or of a table.
    written = Path("out/edits.json").read_text()
    assert not any(text in written for line in TEXTS.splitlines() for text in line.split("\t")[1:])


@pytest.mark.usefixtures("undrawn")
def test_a_classifier_says_its_margins_and_what_it_reads(odestab, desk):
    config = tiny_config(initializer_range=0.3, num_labels=2)
    for labels, name in ((2, "classifier"), (1, "regression")):
        config.num_labels = labels
        saved(desk / name, config, transformers.AutoModelForSequenceClassification)
    pair = ("--text", "cat", "--edited", "dog ran", "--out", "out")
    printed = odestab("edits", "classifier", *pair).out
    assert all(len(line) <= 80 for line in printed.splitlines())
    out = " ".join(printed.split())
    (edit,) = read_edits(Path("out/edits.json")).edits
    assert f"{edit.answer.margin_before:.3f} before".replace("-", "−") in out
    assert "gain of the readout" in out
    assert "3 against 4 tokens: a token of one text stands opposite nothing" in out
    assert "first token, which is all that the classifier reads" in out
    assert "The texts share no token" in out
    out = odestab("edits", "regression", *pair).out
    assert "one output: a regression has no margin" in out


def test_a_damaged_record_is_named(tmp_path):
    path = tmp_path / "edits.json"
    path.write_text('{"schema": 1, "model": "bert", "novel": 1}')
    with pytest.raises(ValueError, match=re.escape(f"{path}: Object contains unknown field")):
        read_edits(path)
    path.write_text('{"schema": 2}')
    with pytest.raises(ValueError, match="expected the record of edits of schema 1, got 2"):
        read_edits(path)
