"""Every key, type and range of a run's TOML is checked, and what is wrong is named."""

from pathlib import Path

import pytest

from imbert.model.choice import MODEL_OPTIONS
from imbert.training.run_config import RunConfig, read_run, run_config


def test_an_empty_run_has_the_defaults() -> None:
    assert run_config({}) == RunConfig()


def test_a_run_from_toml(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(
        '[model]\nkind = "im-bert"\nimplicit_layers = [3, 4]\nsolver = '
        '{ name = "Anderson", rtol = 1 }\n[train]\nlearning_rate = 1\n'
    )
    run = read_run(file)
    assert run.model.options() == {
        "implicit_layers": [3, 4],
        "solver": {"name": "Anderson", "rtol": 1},
    }
    assert run.train.learning_rate == 1.0 and isinstance(run.train.learning_rate, float)


def test_the_options_of_each_kind() -> None:
    assert run_config({"model": {"kind": "bert"}}).model.options() == {}
    explicit = run_config({"model": {"kind": "ex-bert", "implicit_layers": [1]}}).model.options()
    assert explicit == {"implicit_layers": [1], "method": "explicit_euler", "field": "outer"}
    damped = {"kind": "im-bert", "method": "explicit_euler", "field": "increment", "step_size": 0.5}
    assert run_config({"model": damped}).model.options() == {
        name: value for name, value in damped.items() if name != "kind"
    }
    assert set(run_config({"model": damped}).model.options()) <= set(MODEL_OPTIONS)


def test_equal_choices_have_equal_digests() -> None:
    assert (
        run_config({"train": {"seed": 0}}).digest
        == RunConfig().digest
        != run_config({"train": {"seed": 1}}).digest
    )
    assert run_config(
        run_config({"model": {"kind": "im-bert", "implicit_layers": [1]}}).as_dict()
    ).model.implicit_layers == (1,)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"modle": {}}, "a run: expected keys among model, data, train, evaluate, got modle"),
        ({"train": {"epoch": 3}}, r"\[train\]: expected keys among seed, epochs, .*, got epoch"),
        ({"train": {"epochs": 3.5}}, "train.epochs must be int, got 3.5"),
        ({"train": {"epochs": True}}, "train.epochs must be int, got True"),
        ({"train": {"learning_rate": float("nan")}}, "train.learning_rate must be float, got nan"),
        ({"train": {"learning_rate": 0}}, "train.learning_rate must be > 0, got 0"),
        (
            {"train": {"batch_size": 6, "gradient_accumulation": 4}},
            "must be a multiple of gradient_accumulation, got 6 and 4",
        ),
        ({"train": {"device": "tpu"}}, "train.device must be one of auto, cpu, cuda, got 'tpu'"),
        ({"train": {"warmup_fraction": 1}}, r"train.warmup_fraction must be >= 0 and < 1, got 1"),
        ({"train": 3}, r"\[train\] must be a table, got 3"),
        ({"data": {"size": 0}}, "data.size must be >= 1, got 0"),
        (
            {"model": {"kind": "lm-bert"}},
            "model.kind must be one of bert, ex-bert, im-bert, got 'lm-bert'",
        ),
        (
            {"model": {"kind": "bert", "implicit_layers": [3]}},
            "model.implicit_layers means nothing for kind 'bert'",
        ),
        (
            {"model": {"kind": "ex-bert", "field": "increment"}},
            "model.field means nothing for kind 'ex-bert'",
        ),
        (
            {"model": {"kind": "im-bert", "implicit_layers": ["3"]}},
            r"model.implicit_layers must be tuple\[int, ...\], got \['3'\]",
        ),
        ({"model": {"dropout": 1.0}}, "model.dropout must be >= 0 and < 1, got 1"),
        (
            {"evaluate": {"dev": False, "advglue": "file"}},
            "evaluate.dev must be true where evaluate.advglue is given",
        ),
    ],
)
def test_what_is_wrong_is_named(table: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        run_config(table)


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("[train\n")
    with pytest.raises(ValueError, match=r"run.toml: expected TOML in UTF-8"):
        read_run(file)
    file.write_text("[train]\nepoch = 1\n")
    with pytest.raises(ValueError, match=r"run.toml: \[train\]: expected keys among"):
        read_run(file)
