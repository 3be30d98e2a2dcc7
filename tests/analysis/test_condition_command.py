"""`odestab condition`: what it writes and prints, how it goes on, and what it refuses."""

import csv
import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from classifiers import TABLE, save_classifier
from tiny_study import Command

from analysis.conditioning.condition import run
from analysis.conditioning.config import ConditionConfig
from analysis.conditioning.measure import Classifier, States
from analysis.conditioning.prepare import Prepared, prepare
from analysis.conditioning.records import Condition, Input, read_condition
from analysis.ground.json_records import write_record
from figures import condition_page
from imbert.data.tasks import Examples, task

CONDITION = ("condition", "classifier", "--data", "table.tsv", "--drafts", "3", "--workers", "1")
LABELS = (1, 0, 1, 0, 1)


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_classifier(tmp_path_factory.mktemp("condition") / "classifier")


@pytest.fixture
def drawing(
    classifier: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    """The command in a folder that holds `classifier` and `table.tsv`."""
    (tmp_path / "classifier").symlink_to(classifier)
    (tmp_path / "table.tsv").write_text(TABLE)
    monkeypatch.chdir(tmp_path)
    return Command(capsys)


@pytest.fixture
def odestab(drawing: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The same, where no page is drawn."""
    monkeypatch.setattr(condition_page, "write_page", lambda *arguments: Path("page"))
    return drawing


def read(folder: str) -> Condition:
    return read_condition(Path(folder) / "condition.json")


def test_the_command_writes_a_record_a_table_and_a_page(drawing: Command) -> None:
    outcome = drawing(*CONDITION, "--families", "characters", "words", "--out", "out")
    assert outcome.code == 0 and len(outcome.err) == 1
    record = read("out")
    assert [row.label for row in record.inputs] == list(LABELS) and record.labels_given
    assert record.labels == ["bad", "good"] and record.layers == 2
    assert record.columns == ("text", "label") and record.max_tokens == 12
    texts = [line.split("\t")[0] for line in TABLE.splitlines()[1:]]
    examples = Examples(
        task("sst2"), tuple((t,) for t in texts), np.array(LABELS), tuple("abcde"), "made"
    )
    assert record.examples == examples.digest
    with open("out/inputs.csv", newline="") as file:
        table = list(csv.DictReader(file))
    ranked = [row.index for row in record.ranked()]
    assert [row["text"] for row in table] == [texts[index] for index in ranked]
    assert [float(row["gradient"]) for row in table] == [row.gradient for row in record.ranked()]
    words = [row.steepest and row.steepest.word((texts[row.index],)) for row in record.ranked()]
    assert [row["steepest_word"] for row in table] == words and all(words)
    assert all(row["steepest_word"] in row["text"].split() for row in table)
    assert not any(text in Path("out/condition.json").read_text() for text in texts[:2])
    shown = outcome.out.splitlines()
    assert shown[0] == (
        f"5 inputs, {sum(not row.right for row in record.inputs)} answered wrong. "
        "The 5 most fragile, by random edits:"
    )
    assert all(len(line) <= 80 for line in shown[:-3])
    assert shown[1].split()[:3] == ["chars", "words", "least"]
    assert re.search(rf"  {words[0]} +{texts[ranked[0]]}$", shown[2])
    page = Path("out/condition.html").read_text()
    without_marks = re.sub("</?mark>", "", page)
    assert "<mark>" in page and all(text in without_marks for text in texts)
    for row in table:
        drafts = {row["characters_draft"], row["words_draft"]} - {""}
        assert row["text"] not in drafts and any(draft in without_marks for draft in drafts)
    assert not re.search(r"(?:src|href)=\"(?!#|data:)", page)  # one file, nothing beside it


def test_words_without_a_table_are_drafted_where_they_are_asked_for_and_warned_of(
    odestab: Command,
) -> None:
    outcome = odestab(*CONDITION, "--out", "letters")
    assert outcome.err == [] and list(read("letters").families) == ["characters"]
    shown = outcome.out.splitlines()
    assert shown[1].split()[:2] == ["chars", "least"] and "words  " not in outcome.out
    assert any(line.startswith("wrong    answered wrong already") for line in shown)
    outcome = odestab(*CONDITION, "--families", "words", "--out", "words")
    (warning,) = outcome.err
    assert "opposites among them (easy, difficult): a flip by words may be right" in warning
    (family,) = read("words").families.values()
    assert family.may_change_meaning and "opposites among them" in (family.source or "")
    Path("words.json").write_text(json.dumps({"cat": ["dog"], "ran": ["sat"]}))
    outcome = odestab(*CONDITION, "--synonyms", "words.json", "--out", "table")
    families = read("table").families
    assert outcome.err == [] and list(families) == ["characters", "words"]
    assert not any(family.may_change_meaning for family in families.values())


def test_records_of_the_studies_name_no_word_and_are_read() -> None:
    studies = Path(__file__).parents[2] / "docs" / "studies" / "conditioning"
    record = read_condition(studies / "runs" / "seed-0" / "condition.json")
    assert all(row.steepest is None for row in record.inputs)
    assert all(drafted.weakest is None for drafted in record.inputs[0].drafts.values())
    assert not any(family.may_change_meaning for family in record.families.values())


def test_names_and_numbers_of_labels_give_one_record(odestab: Command) -> None:
    odestab(*CONDITION, "--out", "names")
    lines = TABLE.splitlines()[1:]
    numbers = [
        f"{line.split(chr(9))[0]}\t{label}" for line, label in zip(lines, LABELS, strict=True)
    ]
    Path("table.tsv").write_text("\n".join(["text\tlabel", *numbers]) + "\n")
    odestab(*CONDITION, "--out", "numbers")
    assert Path("names/condition.json").read_bytes() == Path("numbers/condition.json").read_bytes()


def test_labels_of_other_names_are_given_their_outputs(odestab: Command) -> None:
    odestab(*CONDITION, "--out", "own")
    theirs = TABLE.replace("GOOD", "good").replace("good", "fun=yes").replace("bad", "0")
    Path("table.tsv").write_text(theirs)
    meant = ("--labels", "fun=yes=good", "0=0")  # the last "=" counts
    assert odestab(*CONDITION, *meant, "--out", "theirs").code == 0
    assert Path("own/condition.json").read_bytes() == Path("theirs/condition.json").read_bytes()
    Path("table.tsv").write_text(theirs.replace("\t0", "\t-1"))  # a dash begins an option
    meant = ("--labels=-1=0", "--labels=fun=yes=good")
    assert odestab(*CONDITION, *meant, "--out", "dash").code == 0
    assert Path("own/condition.json").read_bytes() == Path("dash/condition.json").read_bytes()
    Path("table.tsv").write_text(theirs)
    odestab.refuses((*CONDITION, "--labels", "yes"), "expected LABEL=OUTPUT, .*, got 'yes'")
    odestab.refuses((*CONDITION, "--labels", "0=bad"), r"table\.tsv:2: .* one of 0, got 'fun=yes'")


def test_a_column_of_texts_hides_no_other(odestab: Command) -> None:
    table = TABLE.replace("text\t", "characters_draft\t").splitlines()
    lines = [f"{line}\tsecond {place}" for place, line in enumerate(table[1:])]
    Path("table.tsv").write_text("\n".join([table[0] + "\ttext_characters_draft", *lines]) + "\n")
    columns = ("--text-column", "characters_draft", "--pair-column", "text_characters_draft")
    odestab(*CONDITION, *columns, "--out", "out")
    with open("out/inputs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    texts = {line.split("\t")[0] for line in table[1:]}
    assert {row["text_characters_draft"] for row in rows} == texts
    assert {row["text_text_characters_draft"][:7] for row in rows} == {"second "}
    assert not texts & {row["characters_draft"] for row in rows}


def test_without_labels_the_predicted_ones_count(odestab: Command) -> None:
    odestab(*CONDITION, "--out", "with")
    Path("table.tsv").write_text("\n".join(line.split("\t")[0] for line in TABLE.splitlines()))
    outcome = odestab(*CONDITION, "--out", "without", "--format", "parquet")
    record = read("without")
    assert not record.labels_given and record.columns == ("text",)
    assert [row.label for row in record.inputs] == [row.predicted for row in read("with").inputs]
    assert "labels are the predicted ones" in outcome.out
    assert len(pd.read_parquet("without/inputs.parquet")) == 5


def test_synonyms_of_a_table_are_told_of(odestab: Command) -> None:
    Path("words.json").write_text(json.dumps({"cat": ["dog", "mats"], "ran": ["sat"]}))
    Path("opposed.txt").write_text("cat dog\n")
    words = ("--families", "words", "--synonyms", "words.json", "--antonyms", "opposed.txt")
    assert odestab(*CONDITION, *words, "--out", "out").code == 0
    record = read("out")
    source = record.families["words"].source
    assert source is not None and list(record.families) == ["words"]
    assert source.startswith("synonyms in words.json, sha256 ")
    assert ", without the antonyms in opposed.txt, sha256 " in source
    assert [row.drafts["words"].count for row in record.inputs] == [3, 3, 3, 3, 0]


def test_pairs_are_measured_too(odestab: Command) -> None:
    Path("table.tsv").write_text("premise\thypothesis\nthe cat sat\tthe cat ran\n")
    assert odestab(*CONDITION, "--out", "out").code == 0
    assert read("out").inputs[0].tokens == 9


def test_a_text_cannot_steer_the_terminal(odestab: Command) -> None:
    Path("table.tsv").write_text("text\nthe \x1b[2Jcat\x00 \u202esat \x9b1m\n")
    out = odestab(*CONDITION).out
    assert "the \ufffd[2Jcat\ufffd \ufffdsat \ufffd1m" in out
    assert all(letter.isprintable() or letter == "\n" for letter in out)


def test_what_was_not_solved_is_told_of(odestab: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("table.tsv").write_text(TABLE)
    forward = Classifier.run

    def unsolved(classifier: Classifier, batch: Mapping[str, Any]) -> States:
        states = forward(classifier, batch)
        return dataclasses.replace(states, solved=torch.zeros_like(states.solved))

    monkeypatch.setattr(Classifier, "run", unsolved)
    (warning,) = odestab(*CONDITION, "--out", "out").err
    assert "5 of 5 inputs or drafts of them have an implicit step that was not" in warning
    record = read("out")
    assert not any(row.solved for row in record.inputs)
    assert "5 with implicit steps that were not solved" in condition_page.facts(record)
    with Path("out/inputs.csv").open() as file:
        assert {row["solved"] for row in csv.DictReader(file)} == {"False"}


def test_a_text_that_is_too_long_is_cut_with_a_warning(odestab: Command) -> None:
    Path("table.tsv").write_text("text\n" + "the cat " * 9 + "\ncat\n")
    outcome = odestab(*CONDITION, "--out", "out")
    assert outcome.err == [
        "odestab: warning: 1 text is longer than the 12 tokens that the model takes, and cut there"
    ]
    assert [row.truncated for row in read("out").inputs] == [True, False]


def test_texts_are_cut_after_fewer_tokens_than_the_model_takes(odestab: Command) -> None:
    Path("table.tsv").write_text("text\n" + "the cat " * 9 + "\ncat\n")
    outcome = odestab(*CONDITION, "--max-tokens", "6", "--out", "out")
    assert outcome.err == [
        "odestab: warning: 1 text is longer than the 6 tokens that are read, and cut there"
    ]
    record = read("out")
    assert record.max_tokens == 6 and [row.tokens for row in record.inputs] == [6, 3]
    again = odestab(*CONDITION, "--out", "out")
    assert again.code == 2 and "belongs to a run with another max_tokens" in again.err[-1]
    odestab.refuses([*CONDITION, "--max-tokens", "0", "--out", "other"], "--max-tokens")


def test_one_token_of_each_text_is_read_at_least(odestab: Command) -> None:
    Path("table.tsv").write_text("text\nthe cat\n")
    Path("pairs.tsv").write_text("sentence1\tsentence2\nthe cat\tthe mat\n")
    message = "max_tokens must be >= 3, the special tokens and one of each text, got 2"
    odestab.refuses([*CONDITION, "--max-tokens", "2", "--out", "out"], message)
    columns = ["--text-column", "sentence1", "--pair-column", "sentence2"]
    pairs = ["condition", "classifier", "--data", "pairs.tsv", *columns, "--workers", "1"]
    message = "max_tokens must be >= 5, the special tokens and one of each text, got 4"
    odestab.refuses([*pairs, "--max-tokens", "4", "--out", "out"], message)


def test_as_many_tokens_as_the_model_takes_are_the_same_plan_as_none(odestab: Command) -> None:
    Path("table.tsv").write_text("text\n" + "the cat " * 9 + "\ncat\n")
    first = odestab(*CONDITION, "--out", "out")
    assert first.code == 0
    for most in ("12", "40"):
        again = odestab(*CONDITION, "--max-tokens", most, "--out", "out")
        assert again.code == 0 and again.err == first.err


# Going on


def prepared(**choices: object) -> Prepared:
    config = ConditionConfig("classifier", Path("table.tsv"), drafts=3, chunk=2)
    return prepare(dataclasses.replace(config, **choices), pytest.fail)


class Stopped(Exception):
    pass


def stop(chunks: Iterable[list[Input]], total: int) -> Iterable[list[Input]]:
    """Ends after the first of three chunks."""
    assert total == 5
    yield next(iter(chunks))
    raise Stopped


def test_an_interrupted_run_goes_on_to_the_same_bytes(odestab: Command, tmp_path: Path) -> None:
    inputs = prepared()
    run(inputs, tmp_path / "whole", pytest.fail)
    with pytest.raises(Stopped):
        run(inputs, tmp_path / "parts", pytest.fail, stop)
    (first,) = (tmp_path / "parts" / "chunks").glob("*.json")
    before = first.stat().st_mtime_ns
    run(inputs, tmp_path / "parts", pytest.fail)
    assert first.stat().st_mtime_ns == before
    whole, parts = (tmp_path / name / "condition.json" for name in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes()


def test_a_damaged_chunk_is_measured_again(odestab: Command, tmp_path: Path) -> None:
    inputs = prepared()
    run(inputs, tmp_path / "out", pytest.fail)
    record = (tmp_path / "out" / "condition.json").read_bytes()
    chunks = sorted((tmp_path / "out" / "chunks").glob("*.json"))
    chunks[0].write_bytes(chunks[0].read_bytes().replace(b'"margin": ', b'"margin": 1', 1))
    chunks[1].write_text("{")
    warnings: list[str] = []
    run(inputs, tmp_path / "out", warnings.append)
    assert [line.split(":")[0] for line in warnings] == ["damaged chunk, measured again"] * 2
    assert (tmp_path / "out" / "condition.json").read_bytes() == record


@pytest.mark.slow
def test_processes_measure_the_same_bytes(odestab: Command, tmp_path: Path) -> None:
    inputs = prepared(chunk=1)
    run(inputs, tmp_path / "one", pytest.fail)
    run(inputs, tmp_path / "two", pytest.fail, workers=2)
    one, two = (tmp_path / name / "condition.json" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_a_folder_of_something_else_is_refused(odestab: Command, classifier: Path) -> None:
    odestab(*CONDITION, "--out", "out")
    again = (*CONDITION, "--out", "out")
    odestab.refuses((*again, "--drafts", "4"), "out belongs to a run with another families; ")
    odestab.refuses((*again, "--seed", "1"), "out belongs to a run with another seed; ")
    plan = Path("out/plan.json").read_bytes()
    older = json.loads(plan)
    del older["digest"], older["fields"]
    write_record(Path("out/plan.json"), older)
    odestab.refuses(again, "out belongs to a run with another fields; ")
    Path("out/plan.json").write_bytes(plan)
    with open("table.tsv", "a") as file:
        file.write("the mat\tgood\n")
    odestab.refuses(again, "out belongs to a run with another data; choose another folder")
    Path("table.tsv").write_text(TABLE)
    other = save_classifier(Path("other"), head=2.0)
    odestab.refuses(
        ("condition", other, *CONDITION[2:], "--out", "out"), "a run with another model; "
    )


# Bad input


@pytest.mark.parametrize(
    ("table", "arguments", "message"),
    [
        (TABLE.replace("bad", "awful"), (), r"table\.tsv:3: expected a label of the model, one of"),
        (TABLE.replace("bad", "2"), (), r"table\.tsv:3: expected a label of the model, one of 0, "),
        ("body\ncat\n", (), r"table\.tsv: expected a column sentence or text, .*, got body"),
        ("", (), "expected a column sentence or text, .*, got none"),
        ("text\n\n", (), r"table\.tsv:2: expected a text that is not empty"),
        (TABLE, ("--label-column", "gold"), "expected a column gold, got text, label"),
        (TABLE, ("--antonyms", "a.txt"), r"antonyms need a table of synonyms, got a\.txt alone"),
        (
            TABLE,
            ("--families", "characters", "--synonyms", "a.json"),
            r"synonyms need the family words, got a\.json with characters",
        ),
        (TABLE, ("--device", "nowhere"), "device 'nowhere' cannot be used with float32 here: "),
        (TABLE, ("--families", "words", "words"), "families must be some of .*, got words, words"),
    ],
)
def test_wrong_input_is_one_line(
    odestab: Command, table: str, arguments: tuple[str, ...], message: str
) -> None:
    Path("table.tsv").write_text(table)
    odestab.refuses((*CONDITION, *arguments), message)
    assert not Path("runs").exists()


def test_a_model_without_margins_is_refused(odestab: Command, checkpoint: Path) -> None:
    one = save_classifier(Path("one"), outputs=1)
    odestab.refuses(
        ("condition", one, *CONDITION[2:]), "must have at least 2 outputs, got 1: a regression"
    )
    several = save_classifier(Path("several"))
    config = json.loads((several / "config.json").read_text())
    for problem in ("regression", "multi_label_classification"):
        (several / "config.json").write_text(json.dumps({**config, "problem_type": problem}))
        odestab.refuses(
            ("condition", several, *CONDITION[2:]),
            f"must answer with one of its outputs, got problem_type '{problem}'",
        )
    odestab.refuses(
        ("condition", checkpoint, *CONDITION[2:]),
        "must be a sequence classifier, got a checkpoint without the weights of its head",
    )
