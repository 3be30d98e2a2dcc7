"""Records answer for the model, the options and the data that they were made from, all by
content.
"""

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import transformers
from msgspec import structs
from tiny import save_tiny, tiny_config
from tiny_runs import tiny_run, tiny_tables, write_data

from analysis.ground.files import HOST
from imbert import ImBertForSequenceClassification
from imbert import __main__ as command
from imbert.attack_records import OfExamples
from imbert.attacks.choice import AttackChoice
from imbert.result import file_digest
from imbert.study.attack_runs import attack_checkpoint, attacked_examples, of_model
from imbert.study.plan import study_config
from imbert.study.run_study import run_study
from imbert.study.transfer_runs import _texts_digest
from imbert.training.evaluate import evaluate
from imbert.training.finetune import finetune
from imbert.training.inputs import model_of

CHOICE = AttackChoice(kinds=("characters",), examples=3, masking=False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data")


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    folder = save_tiny(tmp_path / "bert")
    transformers.BertForSequenceClassification(tiny_config()).save_pretrained(folder)
    return folder


def edited(path: Path, old: str, new: str) -> None:
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new, 1))


def attacked(folder: Path, data: Path, out: Path, max_length: int = 16) -> list[str]:
    """What the attack stage says: nothing where it has the record."""
    said: list[str] = []
    attack_checkpoint(
        folder, tiny_run(folder, data={"max_length": max_length}), CHOICE, data, out, said.append
    )
    return said


def test_an_attack_on_another_model_is_made_anew(bert: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    implicit = ImBertForSequenceClassification.from_pretrained(bert, implicit_layers=[1, 2])
    implicit.save_pretrained(tmp_path / "im")
    transformers.AutoTokenizer.from_pretrained(bert).save_pretrained(tmp_path / "im")
    assert file_digest(bert / "model.safetensors") == file_digest(
        tmp_path / "im" / "model.safetensors"
    ), "the same weights"
    assert attacked(bert, data, out) and not attacked(bert, data, out)
    assert attacked(tmp_path / "im", data, out) and not attacked(tmp_path / "im", data, out)
    settings = json.loads((tmp_path / "im" / "config.json").read_text())
    for name, value in (
        ("step_size", 0.01),
        ("implicit_layers", [1]),
        ("solver", {"name": "FixedPoint", "rtol": 1e-2}),
        ("adjoint", {"name": "UnrolledAdjoint"}),
        ("hidden_act", "relu"),
    ):
        settings[name] = value
        (tmp_path / "im" / "config.json").write_text(json.dumps(settings))
        assert attacked(tmp_path / "im", data, out) and not attacked(tmp_path / "im", data, out), (
            name
        )


def test_an_attack_on_other_inputs_is_made_anew(bert: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    attacked(bert, data, out)
    assert attacked(bert, data, out, max_length=7) and attacked(bert, data, out)
    tokenizer = next(path for path in bert.iterdir() if path.name == "tokenizer_config.json")
    settings = json.loads(tokenizer.read_text())
    tokenizer.write_text(json.dumps(settings | {"do_lower_case": False}))
    assert attacked(bert, data, out) and not attacked(bert, data, out)


def test_a_damaged_attack_is_named_and_made_anew(bert: Path, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "out" / "characters.json"
    attacked(bert, data, path.parent)
    before = json.loads(path.read_text())
    for content in (path.read_text().replace('"queries_max": ', '"queries_max": 1'), "{", ""):
        path.write_text(content)
        said = attacked(bert, data, path.parent)
        assert len(said) == 2 and said[0].startswith(
            f"damaged record, measured again: {path}: expected "
        )
        assert json.loads(path.read_text())["per_example"] == before["per_example"]


def test_the_word_tables_belong_to_a_substitution(bert: Path, data: Path, tmp_path: Path) -> None:
    choice = AttackChoice(kinds=("words",), examples=2, masking=False, synonyms="words.json")
    said: list[str] = []
    for words in ({"film": ["story"]}, {"film": ["story"]}, {"film": ["actor"]}):
        (data / "words.json").write_text(json.dumps(words))
        attack_checkpoint(bert, tiny_run(bert), choice, data, tmp_path / "out", said.append)
    assert len(said) == 2


def test_files_are_checked_before_the_model_is_loaded(
    bert: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("training.evaluate", "study.attack_runs"):
        monkeypatch.setattr(f"imbert.{place}.load_classifier", lambda *_: pytest.fail("loaded"))
    words = AttackChoice(kinds=("words",), examples=2, masking=False, synonyms="none.json")
    with pytest.raises(FileNotFoundError, match=r"got no file .*none\.json"):
        attack_checkpoint(bert, tiny_run(bert), words, data, tmp_path / "out", print)
    assert not (tmp_path / "out").exists()
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        evaluate(bert, tiny_run(bert, evaluate={"advglue": "none.json"}), data)
    rewritten(data / "glue" / "sst2_dev.tsv.gz", lambda lines: [*lines, "24\tthe film\tgood"])
    with pytest.raises(ValueError, match=r"expected a label of sst2, .*, got 'good'"):
        attacked(bert, data, tmp_path / "out")
    with pytest.raises(ValueError, match=r"expected a label of sst2, .*, got 'good'"):
        evaluate(bert, tiny_run(bert), data)


def rewritten(path: Path, change: Any) -> None:
    with gzip.open(path, "rt") as file:
        lines = file.read().splitlines()
    with gzip.open(path, "wt") as file:
        file.write("\n".join(change(lines)) + "\n")


def test_a_finished_run_answers_for_its_inputs_alone(
    tiny_folder: Path, data: Path, tmp_path: Path
) -> None:
    start = Path(shutil.copytree(tiny_folder, tmp_path / "start"))
    run, out = tiny_run(start, train={"epochs": 1}), tmp_path / "out"
    found = finetune(run, out, data)
    glue = data / "glue"

    rewritten(glue / "sst2_train.tsv.gz", lambda lines: lines)  # other bytes, the same rows
    assert finetune(run, out, data) == found

    def refused(*names: str) -> None:
        with pytest.raises(
            ValueError,
            match=f"has the result of other inputs \\(not the same: {', '.join(names)}\\)",
        ):
            finetune(run, out, data)

    for path, names in (
        (glue / "sst2_train.tsv.gz", ("training", "validation")),
        (glue / "sst2_dev.tsv.gz", ("dev",)),
    ):
        content = path.read_bytes()
        rewritten(
            path, lambda lines: [lines[0], *(line.replace("film", "play") for line in lines[1:])]
        )
        refused(*names)
        path.write_bytes(content)
    content = (data / "advglue.json").read_bytes()
    edited(data / "advglue.json", "the ", "a ")
    refused("advglue sst2")
    (data / "advglue.json").write_bytes(content)
    content = (start / "config.json").read_bytes()
    edited(start / "config.json", '"hidden_act": "gelu"', '"hidden_act": "relu"')
    refused("checkpoint config")
    (start / "config.json").write_bytes(content)
    assert finetune(run, out, data) == found
    shutil.rmtree(glue)
    shutil.rmtree(start)
    assert finetune(run, out, data) == found, "what is no longer there cannot be another"


def test_a_damaged_result_is_measured_again_from_its_checkpoint(
    tiny_folder: Path, data: Path, tmp_path: Path
) -> None:
    run = tiny_run(tiny_folder, train={"epochs": 1})
    found = finetune(run, tmp_path, data)
    edited(tmp_path / "result.json", '"count": 24', '"count": 25')
    said: list[str] = []
    again = finetune(run, tmp_path, data, said.append)
    assert (
        said[0].startswith("damaged record, measured again: ")
        and again.evaluation == found.evaluation
    )


def test_an_interrupted_run_does_not_go_on_with_another_start(
    tiny_folder: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Path(shutil.copytree(tiny_folder, tmp_path / "start"))
    run = tiny_run(start, train={"epochs": 1})

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("imbert.training.finetune._record", stopped)  # trained, not evaluated
        finetune(run, tmp_path / "out", data)
    edited(start / "config.json", '"hidden_act": "gelu"', '"hidden_act": "relu"')
    with pytest.raises(ValueError, match=r"belongs to another run \(not the same: config\)"):
        finetune(run, tmp_path / "out", data)


def test_a_study_of_other_data_is_refused(tiny_folder: Path, data: Path, tmp_path: Path) -> None:
    tables = tiny_tables(tiny_folder, train={"epochs": 1})
    model = {"checkpoint": str(tiny_folder)}
    kept = {name: value for name, value in tables["data"].items() if name != "size"}
    plan = {
        "study": {"baseline": "a", "sizes": [32]},
        "models": {"a": model},
        "data": kept,
        "train": tables["train"],
    }
    out = tmp_path / "study"
    assert run_study(study_config(plan), out, data, report=lambda line: None).missing == []
    (out / f".study.json.{HOST}.999999999").write_text("left by a killed run")
    run_study(study_config(plan), out, data, report=lambda line: None)
    assert not (out / f".study.json.{HOST}.999999999").exists()
    with pytest.raises(ValueError, match=r"\(not the same: train.epochs\)"):
        run_study(
            study_config({**plan, "train": {**tables["train"], "epochs": 2}}),
            out,
            data,
            ("summarise",),
        )
    rewritten(data / "glue" / "sst2_dev.tsv.gz", lambda lines: lines[:-1])
    with pytest.raises(
        ValueError, match=r"seed-0 has the result of other inputs \(not the same: dev\)"
    ):
        run_study(study_config(plan), out, data, report=lambda line: None)


def test_an_evaluation_names_its_model_and_its_files(
    bert: Path, data: Path, tmp_path: Path
) -> None:
    arguments = ["evaluate", str(bert), "--data", str(data), "--out", str(tmp_path / "e.json")]
    assert command.main(arguments) == 0
    meta = json.loads((tmp_path / "e.json").read_text())["meta"]
    assert meta["model"] == structs.asdict(model_of(bert)) and None not in meta["model"].values()
    assert meta["files"] == {"dev": file_digest(data / "glue" / "sst2_dev.tsv.gz")}


def test_changed_texts_are_put_to_a_model_only_as_they_were_written(
    bert: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run" / "attacks"
    attacked(bert, data, out)
    examples = attacked_examples(tiny_run(bert), CHOICE, data)
    own = structs.asdict(of_model(bert, tiny_run(bert)))
    of = OfExamples(**own, examples=examples.digest)
    assert _texts_digest(out.parent, "characters", of) == file_digest(
        out / "texts" / "characters.json"
    )
    assert _texts_digest(out.parent, "characters", structs.replace(of, config="another")) is None
    edited(out / "texts" / "characters.json", "the", "a")
    assert _texts_digest(out.parent, "characters", of) is None
