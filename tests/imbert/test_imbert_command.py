"""Each command does its work; what is wrong is one line and exit code 2."""

import errno
import json
import os
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

import pytest
from tiny_runs import tiny_tables, write_data

from imbert import __main__ as command
from imbert.result import file_digest

TOML = """
[model]
checkpoint = "{checkpoint}"
[data]
source = "glue"
size = 32
validation = 16
max_length = 16
[train]
epochs = 1
device = "cpu"
"""


@pytest.fixture(scope="module")
def folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, a run and a study."""
    out = write_data(tmp_path_factory.mktemp("command"))
    run = TOML.format(checkpoint=tiny_folder)
    (out / "run.toml").write_text(run)
    head = '[study]\nname = "s"\nbaseline = "a"\nsizes = [32]\n[models.a]\n'
    (out / "study.toml").write_text(head + run.replace("[model]\n", "").replace("size = 32\n", ""))
    return out


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    assert command.main(["finetune", str(folder / "run.toml"), "--out", str(folder / "run")]) == 0
    return folder / "run"


def test_finetune_and_again(
    trained: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (trained / "result.json").stat().st_mtime_ns
    assert command.main(["finetune", str(folder / "run.toml"), "--out", str(trained)]) == 0
    assert (trained / "result.json").stat().st_mtime_ns == before
    printed = capsys.readouterr().out
    assert printed.count("dev (24 examples): accuracy") == 1
    attack = ["imbert", "attack", str(trained / "checkpoint"), "--data", str(folder)]
    kinds = ["--kind", "characters", "--no-masking"]
    assert shlex.split(printed.splitlines()[-1]) == [
        *(*attack, *kinds, "--out", str(trained / "attacks")),
    ]


@pytest.mark.parametrize("shown", [False, True])
def test_a_training_has_a_bar_on_a_terminal_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: bool
) -> None:
    runs = []
    monkeypatch.setattr(command, "is_terminal", lambda stream: shown)
    monkeypatch.setattr("imbert.training.finetune.finetune", lambda run, *_: runs.append(run))
    assert command.main(["finetune", str(folder / "run.toml"), "--out", str(tmp_path)]) == 0
    (run,) = runs
    assert run.train.progress is shown


def test_evaluate_takes_the_choices_of_the_run(
    trained: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "evaluate",
        str(trained / "checkpoint"),
        "--data",
        str(folder),
        "--advglue",
        "advglue.json",
        "--out",
        str(tmp_path / "e.json"),
    ]
    assert command.main(arguments) == 0
    told = capsys.readouterr().out
    assert "dev (24 examples): accuracy" in told and "AdvGLUE sst2 (12 pairs): original" in told
    record = json.loads((tmp_path / "e.json").read_text())
    assert (
        record["evaluation"]["dev"]["right"]
        == json.loads((trained / "result.json").read_text())["evaluation"]["dev"]["right"]
    )
    assert record["meta"]["checkpoint"] == file_digest(trained / "checkpoint" / "model.safetensors")


def attack_on_four(trained: Path, folder: Path) -> list[str]:
    """The command that attacks the letters of four sentences."""
    given = {"--data": folder, "--kind": "characters", "--examples": 4}
    options = [str(part) for option in given.items() for part in option]
    return ["attack", str(trained / "checkpoint"), *options]


def test_attack(
    trained: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*attack_on_four(trained, folder), "--no-masking"]
    capsys.readouterr()
    assert command.main([*arguments, "--out", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert out.count("clean") == 1 and "characters: clean" in out and "clean" not in err
    rows = f"--data {folder / 'glue' / 'sst2_dev.tsv.gz'} --max-tokens 16"
    assert f"\n  odestab condition {trained / 'checkpoint'} {rows}\n" in out
    assert "the film" not in (tmp_path / "characters.json").read_text()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "own.csv",
            "text,label\na,1\nb,great\n",
            r"own\.csv:3: .* got 'great'; write one of these",
        ),
        ("none.csv", None, r"none\.csv: no such file"),
    ],
)
def test_rows_are_refused_before_anything_is_loaded(
    name: str,
    content: str | None,
    said: str,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    rows = ["--data", str(tmp_path), "--source", name, "--text-column", "text"]
    for work in ("study.attack_runs.attack_checkpoint", "training.evaluate.evaluate"):
        monkeypatch.setattr(f"imbert.{work}", lambda *_, **__: pytest.fail("loaded"))
    for arguments in (["attack", "--kind", "pgd", "--out", str(tmp_path / "out")], ["evaluate"]):
        head, *options = arguments
        assert command.main([head, str(trained / "checkpoint"), *options, *rows]) == 2
        told = capsys.readouterr().err
        assert re.search(said, told) and told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_table_of_words_that_is_not_there_is_refused_before_any_attack(
    trained: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*attack_on_four(trained, folder), "--kind", "words", "--no-masking"]
    assert command.main([*arguments, "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and all(
        part in told
        for part in (
            "attack words: expected synonyms (--synonyms FILE)",
            'a JSON object {"word": ["substitute", ...]}, .gz allowed',
            str(folder / "attack" / "counterfitted_neighbors.json.gz"),
            "antonyms are optional",
        )
    )
    assert not (tmp_path / "out").exists()


def test_a_malformed_table_of_words_costs_no_attack(
    trained: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "words.json"
    table.write_text('["good"]')
    arguments = [*attack_on_four(trained, folder), "--kind", "words", "--synonyms", str(table)]
    assert command.main([*arguments, "--no-masking", "--out", str(tmp_path / "out")]) == 2
    assert "words.json: expected an object of words, got list" in capsys.readouterr().err
    assert not (tmp_path / "out" / "characters.json").exists()


@pytest.mark.parametrize("name", ["evaluate", "attack", "perturbations"])
def test_a_file_as_data_and_a_checkpoint_that_is_not_there_are_told_apart(
    name: str, trained: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out")]
    file = str(folder / "run.toml")
    assert command.main([name, str(trained / "checkpoint"), "--data", file, *out]) == 2
    assert f"got the file {file}; --source names a table" in capsys.readouterr().err
    assert command.main([name, str(tmp_path / "nowhere"), *out]) == 2
    assert capsys.readouterr().err == (
        f"imbert: error: expected the folder of a classifier, got {tmp_path / 'nowhere'}\n"
    )


@pytest.mark.slow
def test_a_ladder_of_radii_is_a_record_for_each_and_a_baseline_is_put_to_the_model(
    trained: Path, folder: Path, tmp_path: Path
) -> None:
    checkpoint = str(trained / "checkpoint")
    arguments = [
        "attack",
        checkpoint,
        "--data",
        str(folder),
        "--kind",
        "pgd",
        "--examples",
        "3",
        "--radius",
        "0.2",
        "0.4",
    ]
    assert command.main([*arguments, "--baseline", checkpoint, "--out", str(tmp_path)]) == 0
    found = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    assert {name: one["options"]["radius"] for name, one in found.items() if name != "masking"} == {
        "pgd": 0.2,
        "pgd-0.4": 0.4,
    }
    checks = {one["name"]: one for one in found["masking"]["checks"]}
    assert [one["radius"] for one in checks["transfer_alone"]["measured"]["balls"]] == [0.2, 0.4]
    assert (
        checks["gain"]["measured"]["radius"] == 0.2
        and found["masking"]["of"]["baseline"] is not None
    )


@pytest.mark.slow
def test_masking_is_checked_in_the_ball_that_is_attacked(
    trained: Path, folder: Path, tmp_path: Path
) -> None:
    arguments = attack_on_four(trained, folder)
    ball = ["--norm", "linf", "--radius", "0.3"]
    assert command.main([*arguments, *ball, "--out", str(tmp_path)]) == 0
    checks = {
        one["name"]: one for one in json.loads((tmp_path / "masking.json").read_text())["checks"]
    }
    assert [
        (one["norm"], one["radius"]) for one in checks["square_alone"]["measured"]["balls"]
    ] == [("linf", 0.3)]
    assert command.main([*arguments, *ball, "--kind", "square", "--out", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "masking.json").read_text())["of"]["kinds"] == ["square"], (
        "checked again with the new attack"
    )
    climb = ["--kind", "pgd", "--gradient", "implicit", "--restarts", "3", "--no-masking"]
    assert command.main([*arguments, *ball, *climb, "--out", str(tmp_path)]) == 0
    options = json.loads((tmp_path / "pgd.json").read_text())["options"]
    assert (options["gradient"], options["restarts"], options["norm"]) == ("implicit", 3, "linf")


def test_study_writes_table_and_figure(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    totals = []

    def progress(runs: Iterable[object], total: int, **words: str) -> Iterable[object]:
        totals.append((total, words["unit"]))
        return runs

    monkeypatch.setattr(command, "progress", progress)
    assert command.main(["study", str(folder / "study.toml"), "--out", str(tmp_path)]) == 0
    assert totals == 3 * [(1, "run")]  # one run, three stages
    printed = capsys.readouterr().out
    assert re.search(r"^ +a\nseeds +1\ndev +[0-9.]+\n", printed, re.MULTILINE)
    assert "| a |" in (tmp_path / "table.md").read_text()
    assert printed.splitlines()[-1].startswith("next: look at the figure")


@pytest.mark.slow
def test_a_study_whose_run_fails_ends_with_1_and_is_tried_again(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def diverges(*_: object) -> None:
        raise FloatingPointError("the loss is not finite")

    arguments = ["study", str(folder / "study.toml"), "--out", str(tmp_path)]
    with monkeypatch.context() as patch:
        patch.setattr("imbert.training.finetune._train", diverges)
        assert command.main(arguments) == 1
        # a rank that fails leaves the others to their work
        assert command.main([*arguments, "--shard", "0/2"]) == 0
        assert command.main([*arguments, "--stages", "train"]) == 1
    out, err = capsys.readouterr()
    assert "missing: runs/" in out and "failed: the loss is not finite" in " ".join(out.split())
    assert err.splitlines()[-1].endswith("failed-train.json; the same command tries again")
    assert f"imbert study {folder / 'study.toml'} --out {tmp_path} --stages summarise" in out
    assert command.main(arguments) == 0
    assert {"study.json", "table.md", "study.csv", "robustness.svg", "robustness.png"} <= {
        one.name for one in tmp_path.iterdir()
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("epochs = 1", "epoch = 1"), "[train]: expected keys among"),
        (('source = "glue"', 'source = "nowhere"'), "nowhere"),
        (("size = 32", "size = 4000"), "4000"),
        (("validation = 16", 'task = "sst3"'), "sst3"),
        (("[data]", 'kind = "im-bert"\nimplicit_layers = [3]\n[data]'), "3"),
        (("[data]", 'kind = "im-bert"\nsolver = { name = "Magic" }\n[data]'), "Magic"),
    ],
)
def test_wrong_input_is_one_line(
    change: tuple[str, str],
    said: str,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "run.toml"
    file.write_text((folder / "run.toml").read_text().replace(*change))
    assert (
        command.main(["finetune", str(file), "--data", str(folder), "--out", str(tmp_path / "run")])
        == 2
    )
    told = capsys.readouterr().err.splitlines()
    assert told[-1].startswith("imbert: error: ") and said in told[-1]


def test_a_malformed_row_names_file_and_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.tsv").write_text("sentence\tlabel\ngood\t1\nbad\t7\n")
    file = tmp_path / "run.toml"
    file.write_text((folder / "run.toml").read_text().replace('"glue"', '"rows.tsv"'))
    assert command.main(["finetune", str(file), "--out", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err
    assert "rows.tsv" in told and "7" in told and told.count("\n") == 1


def test_another_architecture_and_pickled_weights(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"model_type": "gpt2"}')
    (other / "pytorch_model.bin").write_bytes(b"\x80")
    file = tmp_path / "run.toml"
    tables = tiny_tables(other)
    file.write_text(TOML.format(checkpoint=tables["model"]["checkpoint"]))
    assert (
        command.main(["finetune", str(file), "--data", str(folder), "--out", str(tmp_path / "run")])
        == 2
    )
    assert command.main(["evaluate", str(other), "--data", str(folder)]) == 2
    told = capsys.readouterr().err.splitlines()
    assert (
        all(line.startswith("imbert: error: ") for line in told)
        and "pickled weights (pytorch_model.bin), which are refused" in told[1]
    )


def test_a_full_disk_is_one_line(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert command.main(["finetune", str(folder / "run.toml"), "--out", str(tmp_path / "run")]) == 1
    assert (
        capsys.readouterr().err
        == f"imbert: error: {tmp_path / 'run' / 'run.json'}: No space left on device\n"
    )
    assert [one.name for one in (tmp_path / "run").iterdir()] == [".lock"]


@pytest.mark.parametrize(
    "arguments", [["finetune"], ["study", "x.toml", "--out", "o", "--shard", "2/2"], ["nothing"]]
)
def test_wrong_usage_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith("imbert: error: ") and told.count("\n") == 1


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        command.main(["--help"])
    told = capsys.readouterr().out
    assert all(name in told for name in ("finetune", "evaluate", "attack", "study"))
