"""Wrong numbers, texts, weights and paths are refused in one line, and nothing is taken for
something else.
"""

import argparse
import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny import save_tiny
from tiny_runs import tiny_tables, write_data

from analysis.ground.character_edits import OPERATIONS
from analysis.ground.terminal import say
from analysis.ground.text_edits import Draft
from imbert import __main__ as command
from imbert.attacks.text_attack import count_edits
from imbert.data.read_examples import parse_label, read_examples
from imbert.data.tasks import task
from imbert.model.choice import ModelChoice, checkpoint_folder
from imbert.model.classifier import Classifier
from imbert.model.loading import load_model
from imbert.study.plan import study_config
from imbert.training.evaluate import load_classifier
from imbert.training.finetune import finetune
from imbert.training.run_config import read_run, run_config
from odestab.steps.declared import declared_adjoint, declared_solver

EXAMPLES = Path(__file__).parents[2] / "examples" / "finetune"


@pytest.mark.parametrize(
    "value",
    [
        "0_1",
        "1_",
        "_1",
        "-1",
        "+1",
        "01",
        "1.5",
        "１",
        "١",
        "1 0",
        "",
        "not entailment ?",
        True,
        None,
        [1],
    ],
)
@pytest.mark.parametrize("name", ["sst2", "mnli", "rte"])
def test_a_label_is_a_number_in_digits_or_a_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^here: expected a label of {name}, one of 0, 1"):
        parse_label(task(name), value, "here")


@pytest.mark.parametrize(
    ("value", "label"),
    [("1", 1), (" 0\t", 0), ("1.0", 1), (1, 1), (1.0, 1), ("Not-Entailment", 1), ("ENTAILMENT", 0)],
)
def test_labels_that_are_known(value: Any, label: int) -> None:
    assert parse_label(task("rte"), value, "here") == label


@pytest.mark.parametrize("value", ["1_.5", "nan", "inf", "5.5", "-1", "１", "4,5", ""])
def test_a_score_is_a_decimal_number(value: str) -> None:
    with pytest.raises(ValueError, match="expected a label of stsb, a score"):
        parse_label(task("stsb"), value, "here")
    assert parse_label(task("stsb"), " 4.25", "here") == 4.25


WORDS = (
    "don't-you-dare",
    "re-read",
    "o'clock",
    "x-y-z",
    "mother-in-law's",
    "rock’n’roll",
    "plain",
    "a-b",
)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_one_edited_word_is_one_edit_whatever_moves(operation: str) -> None:
    draft = Draft.of((f"({', '.join(WORDS)}), now: it is well-known -- re-read it!",), 0)
    random = np.random.default_rng(3)
    for index in range(len(WORDS)):
        for _ in range(20):
            made = OPERATIONS[operation](draft.word(index), random)
            if made is not None and made != draft.word(index):
                assert count_edits(draft, draft.changed({index: made})) == 1, made
                other = OPERATIONS["insert"](draft.word(len(WORDS)), random)
                assert count_edits(draft, draft.changed({index: made, len(WORDS): other})) == 2
    assert count_edits(draft, draft.texts) == 0
    assert count_edits(draft, draft.changed({0: "", 3: ""})) == 2


def test_a_field_of_any_length_is_read(tmp_path: Path) -> None:
    long = "good " * 40_000
    (tmp_path / "dev.csv").write_text(f'sentence,label\n"{long}, indeed",1\n')
    assert read_examples("sst2", tmp_path, "dev").texts == ((f"{long}, indeed",),)


@pytest.mark.parametrize("text", ["good \\ud83d film", "\\udc00", "a \\ude00\\ud83d b"])
def test_half_of_a_surrogate_pair_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "dev.jsonl").write_text(
        f'{{"sentence": "fine", "label": 1}}\n{{"sentence": "{text}", "label": 1}}\n'
    )
    with pytest.raises(
        ValueError, match=r"dev\.jsonl:2: expected text, got half of a surrogate pair"
    ):
        read_examples("sst2", tmp_path, "dev")
    (tmp_path / "dev.jsonl").write_text('{"sentence": "good \\ud83d\\ude00", "label": 1}\n')
    assert read_examples("sst2", tmp_path, "dev").texts == (("good 😀",),)


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"name": "Anderson", "max_iterations": 1.5}, "max_iterations must be int, got 1.5"),
        ({"name": "Anderson", "max_iterations": True}, "max_iterations must be int, got True"),
        ({"name": "Auto", "rtol": float("nan")}, "rtol must be float, got nan"),
        ({"name": "Auto", "compaction": 1}, "compaction must be bool, got 1"),
        ({"name": "FixedPoint", "patience": -1}, "patience must be >= 1, got -1"),
        ({"name": "NewtonKrylov", "patience": 0}, "patience must be >= 1, got 0"),
        ({"name": "GradientDescent", "steps": "5"}, "steps must be int, got '5'"),
    ],
)
def test_the_options_of_a_solver_have_their_types(choice: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        declared_solver(choice)
    assert (
        declared_solver({"name": "GradientDescent", "steps": 3}).steps == 3
        and declared_solver({"name": "Auto", "rtol": 1}).rtol == 1.0
    )
    with pytest.raises(ValueError, match=r"restart must be int, got 2\.5"):
        declared_adjoint({"name": "ImplicitAdjoint", "restart": 2.5})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[train]\nthreads = 100000", "train.threads must be >= 1 and <= 1024, got 100000"),
        ("[train]\npatience = -1", "train.patience must be >= 0, got -1"),
        ("[train]\nepochs = true", "train.epochs must be a whole number, got True"),
        ("[model]\ndropout = nan", "model.dropout must be a finite number, got nan"),
        (
            "[model]\nkind = 'im-bert'\nsolver = { name = 'Auto', rtol = 1979-05-27 }",
            "model.solver.rtol must be a text, a finite number",
        ),
        (
            "[model]\nkind = 'im-bert'\nsolver = { name = 'Auto', rtol = nan }",
            "model.solver.rtol must be a text, a finite number",
        ),
        ("[data]\ntask = 'sst3'", "task must be one of sst2"),
        ("[data]\nmax_length = 0", "data.max_length must be >= 4, got 0"),
        ("[model.solver]\na" + ".a" * 60 + " = 1", "expected at most 32 levels, got more"),
        ("a = " + "[" * 50_000, "expected TOML in UTF-8"),
    ],
)
def test_a_run_of_wrong_values_is_refused(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(text)
    with pytest.raises(ValueError) as raised:
        read_run(file)
    assert (
        said in str(raised.value)
        and str(raised.value).startswith(str(file))
        and "\n" not in str(raised.value)
    )


def test_the_training_table_of_a_model_is_checked() -> None:
    for value, said in (
        (5, r"\[models.bert.train\] must be a table, got 5"),
        ({"epochs": 1.5}, "models.bert: train.epochs must be a whole number"),
    ):
        with pytest.raises(ValueError, match=said):
            study_config({"study": {}, "models": {"bert": {"train": value}}})


def test_a_relative_checkpoint_starts_where_paths_of_the_toml_start(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_data(tmp_path / "plans")
    shutil.copytree(tiny_folder, data / "start")
    monkeypatch.chdir(tmp_path)
    assert checkpoint_folder("start", data) == str(data / "start")
    shutil.copytree(tiny_folder, tmp_path / "start")
    assert checkpoint_folder("start", data) == str(data / "start"), (
        "never the one where the command runs"
    )
    shutil.rmtree(data / "start")
    with pytest.raises(
        ValueError,
        match=r"expected the folder .*plans/start, as relative "
        r"paths start at .*plans, got .*start alone",
    ):
        checkpoint_folder("start", data)
    assert checkpoint_folder("owner/name", data) == "owner/name"


@pytest.mark.parametrize("path", ["/nowhere/model", "./model", "../plans/model", "a/b/c", "~/m"])
def test_a_path_that_is_not_there_is_no_id_of_the_hub(path: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a folder or a hub id.*: no such folder$"):
        checkpoint_folder(path, tmp_path / "plans")


def test_more_than_the_model_takes_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    for changes, line in (
        ({"data": {"max_length": 99999}}, "data.max_length must be <= 32, .* got 99999"),
    ):
        run = run_config(tiny_tables(tiny_folder, **changes))
        with pytest.raises(ValueError, match=line):
            finetune(run, tmp_path / "out" / next(iter(changes)), data)
    checkpoint = save_tiny(tmp_path / "checkpoint")
    transformers.BertForSequenceClassification(
        transformers.BertConfig.from_pretrained(checkpoint)
    ).save_pretrained(checkpoint)
    with pytest.raises(ValueError, match=r"data.max_length must be <= 32, .* got 129"):
        load_classifier(checkpoint, run_config({"data": {"max_length": 129}}))
    assert load_classifier(checkpoint, run_config({})).max_length == 128, "a ceiling"


def with_tensor(folder: Path, name: str, tensor: torch.Tensor) -> None:
    path = folder / "model.safetensors"
    save_file(load_file(path) | {name: tensor}, path, {"format": "pt"})


def test_weights_that_are_not_weights_are_refused(tmp_path: Path) -> None:
    for number, (kind, code) in enumerate(
        ((torch.int64, "I64"), (torch.bool, "BOOL"), (torch.complex64, "C64"))
    ):
        folder = save_tiny(tmp_path / str(number))
        transformers.BertForSequenceClassification(
            transformers.BertConfig.from_pretrained(folder)
        ).save_pretrained(folder)
        with_tensor(
            folder, "bert.embeddings.position_ids", torch.arange(32)[None]
        )  # as older checkpoints have
        Classifier.load(folder)
        with_tensor(folder, "classifier.bias", torch.ones(2, dtype=kind))
        for load in (Classifier.load, lambda at: load_model(ModelChoice(str(at)), task("sst2"), 0)):
            with pytest.raises(
                ValueError,
                match=rf"expected floating-point weights, got classifier.bias \({code}\)",
            ):
                load(folder)


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "../other.safetensors", "/tmp/other.safetensors"]
)
def test_an_index_names_safetensors_of_its_folder_alone(name: str, tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "start")
    (folder / "model.safetensors").rename(folder / "part.safetensors")
    weights = dict.fromkeys(load_file(folder / "part.safetensors"), "part.safetensors")
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": weights | {"classifier.bias": name}})
    )
    for load in (Classifier.load, lambda at: load_model(ModelChoice(str(at)), task("sst2"), 0)):
        with pytest.raises(ValueError, match=name.replace("/", ".")):
            load(folder)


@pytest.mark.parametrize("value", ["NaN", "1.0"])
def test_the_dropout_of_a_checkpoint_is_a_probability(value: str, tmp_path: Path) -> None:
    folder = save_tiny(tmp_path)
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(
        text.replace('"hidden_dropout_prob": 0.1', f'"hidden_dropout_prob": {value}')
    )
    with pytest.raises(ValueError, match="hidden_dropout_prob must be >= 0 and < 1, got"):
        load_model(ModelChoice(str(folder)), task("sst2"), 0)


@pytest.mark.parametrize(
    "arguments",
    [["--limit", "1_0"], ["--limit", "１"], ["--max-length", "0"], ["--max-length", "-5"]],
)
def test_numbers_of_the_command_line_are_digits(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["evaluate", "folder", *arguments]) == 2
    assert "expected a whole number >= 1" in capsys.readouterr().err
    for option, value in (
        ("--seed", "-1"),
        ("--seed", "1_0"),
        ("--radius", "nan"),
        ("--radius", "1_0"),
    ):
        assert command.main(["attack", "folder", "--out", "out", option, value]) == 2
        told = capsys.readouterr().err
        assert option in told and told.count("\n") == 1


def test_without_stderr_stdout_stays_clean(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    say("a line")
    assert command.main(["evaluate", "nowhere"]) == 2
    sys.stderr.close()  # the command put one there
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "place",
    [
        "imbert.training.inputs.read_split",
        "imbert.model.loading.load_model",
        "imbert.training.finetune.load_tokenizer",
        "imbert.training.finetune._record",
    ],
)
def test_an_interrupt_is_never_taken_for_something_else(
    place: str,
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = write_data(tmp_path / "data")
    tables = tiny_tables(tiny_folder, train={"epochs": 1})
    tables["data"].pop("size")
    plan = {
        "study": {"baseline": "a", "sizes": [32]},
        "models": {"a": tables["model"]},
        "data": tables["data"],
        "train": tables["train"],
    }

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(
        "imbert.training.finetune.load_model" if place.endswith("load_model") else place,
        interrupted,
    )
    (data / "study.toml").write_text("its content is not read", encoding="utf-8")
    monkeypatch.setattr(command, "read_study", lambda path: study_config(plan))
    assert command.main(["study", str(data / "study.toml"), "--out", str(tmp_path / "out")]) == 130
    assert (
        capsys.readouterr().err.splitlines()[-1]
        == "imbert: interrupted; the same command continues where it stopped"
    )
    assert not list((tmp_path / "out").rglob("failed-*.json"))


def test_what_cannot_be_drawn_is_told_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "figures.robustness", None)
    monkeypatch.setattr("imbert.study.run_study.run_study", lambda *_: pytest.fail("measured"))
    assert command.main(["study", str(EXAMPLES / "study.toml"), "--out", str(tmp_path)]) == 2
    assert "figures.robustness" in capsys.readouterr().err


def test_a_name_that_the_terminal_cannot_print_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)

    def evaluate(options: argparse.Namespace) -> None:
        sys.stdout.write(f"{options.checkpoint}\n")

    monkeypatch.setattr(command, "evaluate", evaluate)
    assert command.main(["evaluate", "k\u00f6ln\udcff"]) == 0
    terminal.flush()
    assert terminal.buffer.getvalue() == b"k\\xf6ln\\udcff\n"


def test_a_run_read_back_is_the_run() -> None:
    tables = {
        "model": {"kind": "im-bert", "solver": {"name": "Auto", "rtol": 1e-3}},
        "train": {"threads": 1024},
    }
    assert run_config(run_config(tables).as_dict()) == run_config(tables)
