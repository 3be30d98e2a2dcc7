"""Tables of one's own: columns and classes by name, from a file, a saved dataset or the hub."""

import csv
import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from tiny import save_tiny, sentences

from analysis.__main__ import main as odestab
from imbert.__main__ import main as imbert
from imbert.data.read_examples import read_examples
from imbert.training.finetune import finetune
from imbert.training.own_data import measured, resolved
from imbert.training.read_rows import read_split
from imbert.training.run_config import RunConfig, run_config

ROWS = [("a fine film", "good"), ("a dull film", "bad"), ("a film", "so so"), ("fine", "good")]


def table(path: Path, rows: list[tuple[Any, ...]], header: str = "review,mood") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header.split(","), *rows])
    return path


def run_of(**data: Any) -> RunConfig:
    columns = {"text_column": "review", "label_column": "mood", "dev_rows": 1}
    return run_config({"data": {**columns, "source": "own.csv", **data}})


def test_a_task_is_ones_own_where_columns_are_named() -> None:
    assert run_of().data.task == "own"
    assert run_config({"data": {"task": "sst2", "text_column": "review"}}).data.task == "sst2"
    assert run_config({}).data.task == "sst2"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"labels": ["a"]}, r"data\.labels must be at least 2 names"),
        ({"labels": ["a", "A "]}, r"data\.labels must be at least 2 names"),
        ({"labels": ["1", "1.0"]}, r"data\.labels must be at least 2 names"),
        ({"labels": ["a", "b"], "regression": True}, "labels mean nothing for a regression"),
        ({"task": "sst2", "labels": ["a", "b"]}, r"labels is known of the task 'sst2' of GLUE"),
        ({"task": "sst2", "pair_column": "more"}, "task 'sst2' has 1 texts, got review, more"),
        ({"pair_column": "review"}, "must differ from each other, got review, review, mood"),
        ({"text_column": ""}, r"data\.text_column must be a name, got an empty one"),
        ({"splits": {"valid": "a.csv"}}, r"data\.splits must be one of train, dev"),
        ({"splits": {"dev": 3}}, r"data\.splits\.dev must be a name, got 3"),
    ],
)
def test_choices_that_do_not_fit_are_named(data: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        run_of(**data)


@pytest.mark.parametrize(
    ("labels", "classes", "numbers"),
    [
        (["good", "bad", "so so", "Good"], ("bad", "good", "so so"), [1, 0, 2, 1]),
        (["2", "10", "2", "1"], ("1", "2", "10"), [1, 2, 1, 0]),
        (["0.0", "1.0", "1", "0"], ("0", "1"), [0, 1, 1, 0]),
        (["True", "False", "True", "True"], ("False", "True"), [1, 0, 1, 1]),
        (["--", "-", "+", "-"], ("+", "-", "--"), [2, 1, 0, 1]),
    ],
)
def test_classes_are_those_of_the_training_file(
    tmp_path: Path, labels: list[str], classes: tuple[str, ...], numbers: list[int]
) -> None:
    rows = [(f"text {place}", label) for place, label in enumerate(labels)]
    table(tmp_path / "own.csv", rows)
    run = resolved(run_of(), tmp_path)
    assert run.data.labels == classes
    examples = read_examples(run.data.learnt(), tmp_path / "own.csv", "train", run.data.table())
    assert examples.labels.tolist() == numbers and examples.labels.dtype == np.int64
    assert resolved(run, tmp_path) == run  # what is whole stays


def test_named_classes_keep_their_order_and_numbers_mean_them(tmp_path: Path) -> None:
    table(tmp_path / "own.csv", [("a", "so so"), ("b", "0"), ("c", "bad")])
    run = resolved(run_of(labels=["so so", "bad"]), tmp_path)
    assert run.data.labels == ("so so", "bad")
    examples = read_examples(run.data.learnt(), tmp_path / "own.csv", "train", run.data.table())
    assert examples.labels.tolist() == [0, 0, 1]
    table(tmp_path / "own.csv", [("a", "fine"), ("b", "bad")])
    said = (
        r"own\.csv:2: expected a label of own, one of 0, 1 \(so.*; write .*, labels in a run's TOML"
    )
    with pytest.raises(ValueError, match=said):
        read_split(run, tmp_path, "train")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["a", "", "b"], r"own\.csv:3: expected a class in column mood, .*, got ''"),
        (["a", "2.5", "b"], r"own\.csv:3: .*of a score: regression = true.*got '2\.5'"),
        (["nan", "1", "2"], r"own\.csv:2: expected a class in column mood, .*got 'nan'"),
        (["a", "A", "a"], r"own\.csv: expected at least 2 classes in column mood, got a"),
        ([f"label {i}" for i in range(12)], "several rows share in column mood, got 12 different"),
    ],
)
def test_what_are_no_classes_is_said(tmp_path: Path, labels: list[str], said: str) -> None:
    table(tmp_path / "own.csv", [("a text", label) for label in labels])
    with pytest.raises(ValueError, match=said):
        resolved(run_of(), tmp_path)


def test_a_score_is_any_number_where_it_is_asked_for(tmp_path: Path) -> None:
    table(tmp_path / "own.csv", [("a", "-3"), ("b", "7.5"), ("c", "1e3")])
    run = resolved(run_of(regression=True), tmp_path)
    assert run.data.learnt().labels == 1
    examples = read_examples(run.data.learnt(), tmp_path / "own.csv", "train", run.data.table())
    assert examples.labels.tolist() == [-3.0, 7.5, 1000.0]
    table(tmp_path / "own.csv", [("a", "high")])
    with pytest.raises(ValueError, match=r"a label of own, a finite number, got 'high'$"):
        read_split(run, tmp_path, "train")


def test_columns_are_found_by_their_usual_names(tmp_path: Path) -> None:
    table(tmp_path / "own.csv", [("a", "b", "x"), ("c", "d", "y")], "premise,hypothesis,Label")
    choice = {"task": "own", "source": "own.csv", "dev_rows": 1}
    run = resolved(run_config({"data": choice}), tmp_path)
    assert (run.data.text_column, run.data.pair_column) == ("premise", "hypothesis")
    assert run.data.label_column == "Label" and run.data.labels == ("x", "y")
    table(tmp_path / "own.csv", [("a", "x")], "text,mood")
    with pytest.raises(ValueError, match=r"own\.csv:1: expected a column label, got text, mood"):
        resolved(run_config({"data": choice}), tmp_path)


def test_glue_tasks_take_named_columns(tmp_path: Path) -> None:
    table(tmp_path / "train.csv", [("a fine film", "positive"), ("dull", "0")])
    data = {"task": "sst2", "text_column": "review", "label_column": "mood", "source": "."}
    assert read_split(run_config({"data": data}), tmp_path, "train").labels.tolist() == [1, 0]


def test_one_file_is_not_both_trained_and_measured_on(tmp_path: Path) -> None:
    table(tmp_path / "own.csv", ROWS * 5)
    run = run_config(
        {"data": {"text_column": "review", "label_column": "mood", "source": "own.csv"}}
    )
    with pytest.raises(ValueError, match=r"own\.csv: expected another file for dev"):
        resolved(run, tmp_path)
    held = resolved(run_of(dev_rows=8), tmp_path)
    train, dev = (read_split(held, tmp_path, split) for split in ("train", "dev"))
    assert len(dev) == 8 and len(train) == 12
    assert sorted(train.ids + dev.ids, key=int) == [str(line) for line in range(2, 22)]
    assert {label: dev.labels.tolist().count(label) for label in (0, 1, 2)} == {1: 4, 0: 2, 2: 2}


def test_a_run_whose_rows_are_refused_claims_no_folder(tmp_path: Path) -> None:
    table(tmp_path / "own.csv", ROWS)
    with pytest.raises(ValueError, match=r"data\.validation: .* with 3 rows, got 500"):
        finetune(run_of(), tmp_path / "run", tmp_path)
    assert not (tmp_path / "run" / "run.json").exists()


def test_files_of_splits_may_be_named(tmp_path: Path) -> None:
    table(tmp_path / "mine.csv", ROWS)
    table(tmp_path / "theirs.csv", ROWS[:2])
    names = {"train": "mine.csv", "dev": "theirs.csv"}
    columns = {"text_column": "review", "label_column": "mood"}
    run = resolved(run_config({"data": {**columns, "source": ".", "splits": names}}), tmp_path)
    assert [len(read_split(run, tmp_path, split)) for split in names] == [4, 2]
    with pytest.raises(FileNotFoundError, match=r"none\.csv: no such file, named for the split"):
        resolved(
            run_config({"data": {**columns, "splits": {"train": "none.csv"}, "source": "."}}),
            tmp_path,
        )


def test_a_saved_dataset_keeps_the_names_of_its_classes(tmp_path: Path) -> None:
    classes = datasets.ClassLabel(names=["worse", "better"])
    features = datasets.Features({"review": datasets.Value("string"), "mood": classes})
    rows = datasets.Dataset.from_dict({"review": ["a", "b"], "mood": [1, 0]}, features=features)
    datasets.DatasetDict({"train": rows, "test": rows}).save_to_disk(str(tmp_path / "saved"))
    run = run_of(source="saved", dev_rows=1)
    whole = resolved(run, tmp_path)
    assert whole.data.labels == ("worse", "better")
    # numbers mean the dataset's names, whatever the order in the model is
    named = resolved(run_of(source="saved", labels=["better", "worse"]), tmp_path)
    source = tmp_path / "saved"
    examples = read_examples(named.data.learnt(), source, "test", named.data.table())
    assert examples.labels.tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"saved: expected the split 'dev', got train, test; name"):
        read_examples(named.data.learnt(), source, "dev", named.data.table())
    with pytest.raises(ValueError, match="expected a column text, got review, mood"):
        resolved(run_of(source="saved", text_column="text"), tmp_path)


def test_nothing_is_measured_on_the_rows_of_training(tmp_path: Path) -> None:
    rows = datasets.Dataset.from_dict({"review": ["a", "b"], "mood": ["x", "y"]})
    rows.save_to_disk(str(tmp_path / "one"))
    columns = {"text_column": "review", "label_column": "mood"}
    table(tmp_path / "own.csv", [("a", "x"), ("b", "y")])
    (tmp_path / "dev.csv").symlink_to("own.csv")
    for data in (
        {"source": "one"},
        {"source": "hub:own/er", "splits": {"dev": "train"}},
        {"source": "hub:own/er", "splits": {"train": "validation"}},
        {"source": ".", "splits": {"train": "own.csv", "dev": "dev.csv"}},
    ):
        with pytest.raises(ValueError, match=r"expected another (split|file) for dev than for"):
            resolved(run_config({"data": {**columns, **data}}), tmp_path)
    assert resolved(run_of(source="one"), tmp_path).data.labels == ("x", "y")


def test_a_dataset_of_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[str, ...]] = []

    def load_dataset(*names: str, split: str) -> Any:
        asked.append((*names, split))
        if names[0] == "no/net":
            raise ConnectionError("no route\nand a long explanation")
        return datasets.Dataset.from_dict({"review": ["a", "b"], "mood": ["x", "y"]})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    run = resolved(run_of(source="hub:own/er", hub_config="small"), tmp_path)
    assert run.data.labels == ("x", "y")
    read_examples(run.data.learnt(), "hub:own/er", "dev", run.data.table())
    assert asked == [("own/er", "small", "train"), ("own/er", "small", "validation")]
    said = "source 'hub:no/net': expected to load no/net train, got ConnectionError: no route$"
    with pytest.raises(ValueError, match=said):
        resolved(run_of(source="hub:no/net"), tmp_path)


def test_a_checkpoint_tells_its_classes(tmp_path: Path) -> None:
    table(tmp_path / "own.csv", ROWS)
    config = tmp_path / "config.json"
    run = run_of(dev_rows=1)
    for names, labels in (
        ({"0": "good", "2": "so so", "1": "bad"}, ("good", "bad", "so so")),
        ({"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}, ("0", "1", "2")),
        (None, ("0", "1")),
    ):
        config.write_text(json.dumps({} if names is None else {"id2label": names}))
        assert measured(run, tmp_path, tmp_path).data.labels == labels
    config.write_text(json.dumps({"id2label": {"0": "LABEL_0"}}))
    assert measured(run, tmp_path, tmp_path).data.regression is True


@pytest.mark.slow
def test_an_own_table_goes_through_every_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fine-tuned, evaluated, attacked, studied, conditioned and confirmed: pairs, three classes."""
    monkeypatch.chdir(tmp_path)
    save_tiny(Path("tiny"))
    for split, count in (("train", 48), ("dev", 18)):
        texts, labels = sentences(count, len(split))
        classes = ["yes" if label else "no" for label in labels]
        classes[::3] = ["maybe"] * len(classes[::3])
        rows = [(text, "the film", name) for text, name in zip(texts, classes, strict=True)]
        table(Path(f"{split}.csv"), rows, "claim,reply,verdict")
    shared = """
[data]
source = "{split}.csv"
text_column = "claim"
pair_column = "reply"
label_column = "verdict"
validation = 12
max_length = 24
[train]
epochs = 2
batch_size = 16
learning_rate = 3e-3
device = "cpu"
"""
    Path("run.toml").write_text(f'[model]\ncheckpoint = "tiny"\n{shared}')
    assert imbert(["finetune", "run.toml", "--out", "run"]) == 0
    assert imbert(["finetune", "run.toml", "--out", "run"]) == 0  # and again from its record
    written = json.loads(Path("run/checkpoint/config.json").read_text())
    assert list(written["id2label"].values()) == ["maybe", "no", "yes"]
    assert imbert(["evaluate", "run/checkpoint", "--out", "evaluation.json"]) == 0
    attack = ["--kind", "characters", "--examples", "18", "--no-masking"]
    assert imbert(["attack", "run/checkpoint", *attack, "--out", "attacks"]) == 0
    columns = ["--text-column", "claim", "--pair-column", "reply", "--label-column", "verdict"]
    condition = ["condition", "run/checkpoint", "--data", "dev.csv", *columns, "--workers", "1"]
    assert odestab([*condition, "--drafts", "2", "--out", "condition"]) == 0
    confirmed = ["confirm", "condition/condition.json", "attacks/characters.json"]
    assert odestab([*confirmed, "--out", "flips"]) == 0
    study = '[study]\nbaseline = "bert"\nsizes = [0]\n[models.bert]\ncheckpoint = "tiny"\n'
    more = '[models.im]\ncheckpoint = "tiny"\nkind = "im-bert"\nimplicit_layers = [2]\n'
    attacks = '[attacks]\nkinds = ["characters"]\nexamples = 4\nmasking = false\n'
    Path("study.toml").write_text(study + more + shared + attacks)
    assert imbert(["study", "study.toml", "--out", "study"]) == 0
    record = json.loads(Path("study/study.json").read_text())
    assert record["study"]["tasks"] == ["own"] and not record["missing"]
    assert record["study"]["shared"]["data"]["labels"] == ["maybe", "no", "yes"]
    assert record["groups"][0]["chance"] == pytest.approx(1 / 3)
    assert imbert(["study", "study.toml", "--out", "study"]) == 0  # continued
