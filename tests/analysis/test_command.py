"""The `odestab` command: what it writes, and one clear line for everything that can be wrong."""

import importlib.metadata
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_study import saved

import figures.report
from analysis.ground.embedded_model import DEFAULT_MODEL
from figures import spectra, style
from odestab.encoder_layers import embedded_model

USAGE = [
    ([], r"required: COMMAND \(see odestab --help\)"),
    (["analyse"], "invalid choice: 'analyse'"),
    (["analyze", "bert", "--text", "a"], "unrecognized arguments: --text a"),
    (["analyze", "bert", "--lim", "1"], "unrecognized arguments: --lim 1"),
    (["analyze", "bert", "more"], "unrecognized arguments: more"),
    *(
        (["analyze", "bert", "--step-size", h], "step size must be > 0")
        for h in ("0", "-1", "-0.5", "nan", "inf", "1e300")
    ),
    (
        ["analyze", "bert", "--step-size", "1", "1"],
        r"step sizes .* differ from each other, got \[1.0, 1.0\]",
    ),
    (
        ["analyze", "bert", "--step-size", "one"],
        "--step-size: step size must be a number, got 'one'",
    ),
    (["analyze", "bert", "--step-size"], "--step-size: expected at least one argument"),
    (["analyze", "--step-size", "1", "bert"], "step size must be a number, got 'bert'"),
    *(
        (["analyze", "bert", "--limit", n], f"--limit: expected a whole number >= 1, got '{n}'")
        for n in ("0", "-1", "1.5", "x", "²")
    ),
    *(
        (["analyze", "bert", "--layers", l], "layers must be indices from 0")
        for l in ("a,b", "-1", "0,-1", "", "0,", "1.0", "0;1")
    ),
    (["analyze", "bert", "--field", "inner"], "--field: invalid choice: 'inner'"),
    (["analyze", "bert", "--dtype", "float16"], "--dtype: invalid choice: 'float16'"),
    (["analyze", "bert", "--seed", "x"], "--seed: invalid int value: 'x'"),
    (["analyze", "bert", "--dense-limit", "0"], "--dense-limit: expected a whole number"),
    (["analyze", "bert", "--workers", "0"], "--workers: expected a whole number"),
    *(
        (["analyze", "bert", "--shard", s], f"--shard: expected rank/ranks like 0/2, got '{s}'")
        for s in ("2/2", "0", "a/b", "1/0")
    ),
    (["analyze", "bert", "--out", ""], "--out: expected a path"),
    (["analyze", "bert", "--texts", ""], "--texts: expected a path"),
    (["report"], "required: RUN"),
    (["report", ""], "expected a path"),
    (["regions", "bert"], "required: --text"),
    *(
        ([name, "bert", "--text", text], "--text: expected a text, got an empty one")
        for name in ("regions", "propagate")
        for text in ("", " \n")
    ),
    (["propagate", "bert", "--text", "the cat", "--edited", ""], "--edited: expected a text"),
    (
        ["propagate", "bert", "--text", "the cat", "--edited", "the cat"],
        "original and edited text must differ",
    ),
    (["regions", "bert", "--text", "a \udcff"], "--text: expected UTF-8"),
    *(
        (
            [name, "bert", "--text", "a", "--out", out],
            f"--out must end in one of .svg, .pdf, .png, got {out}",
        )
        for name in ("regions", "propagate")
        for out in ("x.jpg", "x", "x.SVG", "svg")
    ),
    (
        ["regions", "bert", "--text", "a", "--out", "nowhere/x.svg"],
        "--out must be a file in a folder that exists",
    ),
    (
        ["regions", "bert", "--text", "a", "--out", "folder.svg"],
        "--out must be a file in a folder that exists",
    ),
    (
        ["regions", "bert", "--text", "a", "--out", "texts.tsv/x.svg"],
        "--out must be a file in a folder that exists",
    ),
    (["report", "."], r"\. is no run folder: expected config.json"),
    (["report", "nowhere"], "nowhere is no run folder"),
    (["report", "texts.tsv"], "texts.tsv is no run folder"),
    (["analyze", "bert", "--texts", "nowhere.tsv"], "nowhere.tsv: No such file or directory"),
    (["analyze", "bert", "--texts", "folder.svg"], "folder.svg: Is a directory"),
]


@pytest.mark.parametrize(
    ("arguments", "match"),
    USAGE,
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_one_line_before_anything_is_loaded(odestab, monkeypatch, arguments, match):
    Path("folder.svg").mkdir()
    monkeypatch.setattr("odestab.load_encoder", lambda *_: pytest.fail("loaded a model"))
    odestab.refuses(arguments, match)
    assert not Path("run").exists() and not Path("runs").exists()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "empty file"),
        (b"a\n\nb\n", "line 2 is empty"),
        (b"a\n\xe4\n", "expected UTF-8, got byte 0xe4 on line 2"),
    ],
)
def test_a_wrong_text_file_is_one_line_with_its_place(odestab, content, match):
    Path("texts.tsv").write_bytes(content)
    odestab.refuses(["analyze", "bert", "--texts", "texts.tsv"], f"texts.tsv: .*{match}")


@pytest.mark.parametrize("device", ["abacus", "cuda:999", "meta", "", "cpu:x"])
def test_an_unknown_device_is_one_line(odestab, device):
    odestab.refuses(
        ["analyze", "bert", "--texts", "texts.tsv", "--device", device],
        f"device '{device}' cannot be used with float64 here",
    )


def test_a_layer_that_does_not_exist_is_one_line(odestab):
    odestab.refuses(
        ["regions", "bert", "--text", "the cat", "--layers", "0,2"],
        "layers must be in 0..1 for this encoder of 2 layers, got 2",
    )


def test_a_model_of_images_is_refused_in_one_line(odestab, desk):
    saved(desk / "vit", transformers.ViTConfig(hidden_size=16, num_hidden_layers=1))
    odestab.refuses(
        ["analyze", "vit", "--texts", "texts.tsv"],
        "vit' must be a model of text such as bert, .*, got model_type 'vit'",
    )


def damaged(desk: Path, damage: str) -> None:
    folder = Path(shutil.copytree(desk / "bert", desk / "model"))
    weights = folder / "model.safetensors"
    if damage == "missing":
        weights.unlink()
    elif damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "empty":
        weights.write_bytes(b"")
    elif damage == "no tokenizer":
        for path in folder.glob("token*"):
            path.unlink()
    else:
        tensors = load_file(weights)
        name = "encoder.layer.1.output.dense.weight"
        changed = {"nan": torch.nan, "infinite": torch.inf, "overflow": 1e300}[
            damage
        ] * torch.ones_like(tensors[name], dtype=torch.float64)
        save_file({**tensors, name: changed}, weights, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        ("missing", "must have readable weights in model.safetensors"),
        ("truncated", "must have readable weights in model.safetensors"),
        ("empty", "must have readable weights in model.safetensors"),
        ("no tokenizer", "must have a readable tokenizer"),
        (
            "nan",
            "must have finite weights in torch.float64, 1 are "
            "not: encoder.layer.1.output.dense.weight",
        ),
        ("infinite", "must have finite weights"),
        ("overflow", "must have finite states in float64; on text 1 they are not"),
    ],
)
def test_a_damaged_model_is_one_line(odestab, desk, damage, match):
    damaged(desk, damage)
    outcome = odestab("analyze", "model", "--texts", "texts.tsv", "--limit", "1", "--out", "run")
    assert outcome.code == 2 and "Traceback" not in "".join(outcome.err)
    assert outcome.err[-1].startswith("odestab: error: model 'model' ") and match in outcome.err[-1]
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (
            "nobody/nothing",
            "must be a hub id or a checkpoint folder",
        ),  # conftest.py sets HF_HUB_OFFLINE
        ("nothing", "must be a hub id or a checkpoint folder"),
        ("./nothing", "got no folder"),
        ("texts.tsv", "got no folder"),
    ],
)
def test_a_model_that_does_not_exist_is_one_line(odestab, model, match):
    odestab.refuses(["analyze", model, "--texts", "texts.tsv"], f"model '{model}' .*{match}")


def test_a_missing_default_model_is_one_line_with_the_command_that_gets_it(odestab, monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(embedded_model, "distribution", missing)
    odestab.refuses(["analyze", "--texts", "texts.tsv"], f"get it with: {embedded_model.INSTALL}")
    outcome = odestab("info")
    assert outcome.code == 0 and embedded_model.INSTALL in outcome.out


def test_an_altered_default_model_is_one_line(odestab, monkeypatch):
    monkeypatch.setattr(embedded_model, "WEIGHTS", 64 * "0")
    odestab.refuses(
        ["analyze", "--texts", "texts.tsv"],
        f"expected sha256 {64 * '0'}, got [0-9a-f]{{64}}; get it with: {embedded_model.INSTALL}",
    )


def test_an_output_folder_below_a_file_is_one_line(odestab, monkeypatch):
    monkeypatch.setattr("analysis.units.measure", lambda *_: pytest.fail("measured"))
    for out in ("texts.tsv/run", "texts.tsv"):
        outcome = odestab("analyze", "bert", "--texts", "texts.tsv", "--limit", "1", "--out", out)
        assert outcome.code == 2 and outcome.err == [
            f"odestab: error: {out}/cells: Not a directory"
        ]
    assert Path("texts.tsv").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff"])
def test_a_run_with_a_corrupt_configuration_is_one_line(odestab, run_folder, content):
    (run_folder / "config.json").write_bytes(content)
    cells = sorted(path.read_bytes() for path in (run_folder / "cells").iterdir())
    odestab.refuses(["report", "run"], r"run/config\.json is not")
    outcome = odestab.analyze()
    assert outcome.code == 2 and outcome.err[-1].startswith(
        "odestab: error: run/config.json is not"
    )
    assert outcome.err[-1].endswith("choose another folder")
    assert sorted(path.read_bytes() for path in (run_folder / "cells").iterdir()) == cells


@pytest.mark.slow
def test_a_long_text_is_truncated_with_a_warning(odestab):
    Path("long.txt").write_text(
        "the cat sat\n" + "the cat sat on the mat " * 4 + "\n", encoding="utf-8"
    )
    outcome = odestab(
        "regions",
        "bert",
        "--text",
        "the dog " * 20,
        "--out",
        "x.png",
        "--layers",
        "0",
        "--dense-limit",
        "1",
    )
    assert outcome.code == 0 and Path("x.png").stat().st_size > 0
    assert (
        "odestab: warning: text 1 has 42 tokens; truncated to the 12 that the model takes"
        in outcome.err
    )
    outcome = odestab(
        "analyze",
        "bert",
        "--texts",
        "long.txt",
        "--out",
        "run",
        "--layers",
        "0",
        "--dense-limit",
        "1",
    )
    assert outcome.code == 0
    assert (
        "odestab: warning: text 2 has 26 tokens; truncated to the 12 that the model takes"
        in outcome.err
    )
    assert '"tokens": [\n  5,\n  12\n ]' in Path("run/config.json").read_text(encoding="utf-8")


def test_a_failing_report_keeps_the_numbers(odestab, run_folder, monkeypatch):
    (run_folder / "summary.json").unlink()

    def full(summary, out):
        raise OSError(28, "No space left on device", str(out / "report.html"))

    monkeypatch.setattr(figures.report, "write_report", full)
    outcome = odestab.analyze()
    assert (
        outcome.code == 1
        and outcome.err[-1] == "odestab: error: run/report.html: No space left on device"
    )
    assert (run_folder / "summary.json").is_file()


def test_the_answer_of_a_run_is_printed_once_with_what_to_look_at(odestab, run_folder):
    outcome = odestab.analyze()
    assert outcome.code == 0 and outcome.out.count("Is a layer of this model a stable step?") == 1
    lines = outcome.out.splitlines()
    assert max(map(len, lines)) <= 80
    report, words, command = lines[-3:]
    assert report == "report: run/report.html" and words.startswith("next: open the report")
    assert command == "  odestab export run"


def test_an_interrupt_says_how_to_go_on(odestab, run_folder, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    next((run_folder / "cells").glob("dense-*")).unlink()
    monkeypatch.setattr("analysis.units.measure", interrupted)
    outcome = odestab.analyze()
    assert (
        outcome.code == 130
        and outcome.err[-1] == "odestab: interrupted; the same command continues where it stopped"
    )


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["svg", "pdf", "png"])
def test_one_figure_of_one_text(odestab, suffix):
    outcome = odestab(
        "regions",
        "bert",
        "--text",
        "the cat",
        "--out",
        f"x.{suffix}",
        "--layers",
        "1",
        "--dense-limit",
        "1",
    )
    assert (outcome.code, outcome.err) == (0, [])
    figure, _, *next_command = outcome.out.splitlines()
    assert (figure, next_command) == (f"figure: x.{suffix}", ["  odestab analyze bert"])
    assert Path(f"x.{suffix}").read_bytes()[:4] in (b"<?xm", b"%PDF", b"\x89PNG")


def test_the_secants_of_an_edit_stand_over_the_regions(odestab, monkeypatch):
    drawn = []
    draw = spectra.draw
    monkeypatch.setattr(spectra, "draw", lambda run: drawn.append(run) or draw(run))
    outcome = odestab(
        *("regions", "bert", "--text", "the cat", "--edited", "the dog ran", "--out", "x.svg"),
        *("--layers", "1", "--dense-limit", "1"),
    )
    assert outcome.code == 0 and outcome.out.startswith("figure: x.svg\n")
    assert drawn[0]["secants"]["layer"].values.tolist() == [1]
    assert drawn[0]["secants"].sizes["pair"] == 1 and drawn[0]["relative_graph"]


def test_propagation_of_an_edit(odestab):
    outcome = odestab(
        "propagate", "bert", "--text", "the cat", "--edited", "the dog ran", "--out", "x.svg"
    )
    assert outcome.code == 0 and Path("x.svg").stat().st_size > 0
    assert outcome.err == [
        "odestab: warning: pair 1 left out of propagation: 4 against 5 tokens; "
        "a state difference needs the same number"
    ]


@pytest.mark.slow
def test_the_report_of_a_run_folder_alone(odestab, run_folder, monkeypatch):
    monkeypatch.undo()  # the true report, of the run folder and of nothing beside it
    monkeypatch.setattr(
        style, "_WITHOUT_DATES", {"svg": style._WITHOUT_DATES["svg"]}
    )  # the other formats take most of the time
    outcome = odestab("report", run_folder)
    assert (outcome.code, outcome.err) == (0, [])
    assert outcome.out == (
        f"report: {run_folder / 'report.html'}\nnext: open the report in a browser\n"
    )
    assert "<html" in (run_folder / "report.html").read_text(encoding="utf-8")


def test_info(odestab):
    outcome = odestab("info")
    assert outcome.code == 0 and outcome.err == []
    *lines, words, command = outcome.out.splitlines()
    assert words.startswith("next: ") and command == "  odestab analyze --limit 1 --layers 3"
    rows = dict(line.split("  ", 1) for line in lines)
    assert rows["torch"].strip() == torch.__version__
    assert rows["default model"].strip() == f"{DEFAULT_MODEL}, weights verified"


def test_a_record_that_the_report_cannot_tell_of_is_refused(odestab, run_folder):
    Path("other.json").write_text('{"schema": 1}')
    odestab.refuses(
        ["report", "run", "--study", "other.json"], "expected the record of a study, with 'groups'"
    )
    odestab.refuses(["report", "run", "--prediction", "none.json"], "No such file")
