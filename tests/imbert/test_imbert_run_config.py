"""Every key, type and range of a run's TOML is checked, and what is wrong is named."""

import math
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from analysis.ground.frozen_record import Record
from imbert.attacks.choice import AttackChoice
from imbert.model.choice import MODEL_OPTIONS
from imbert.records import plain
from imbert.toml_tables import section
from imbert.training.run_config import (
    LATER,
    SECTIONS,
    SHOWN,
    RunConfig,
    TrainChoice,
    read_run,
    run_config,
)


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


# taken before any choice of `LATER` was there
FIRST_DIGESTS = {
    "1f85ce8a6dd88f52f4a6f7271bb5de8d3fe8b4df8b0e7393c2f7de52e2ff3988": {},
    "13c7598e19d018705cdc5ec8ba7515a112f3b084a50a1413e7cd9431f69c7d7a": {
        "model": {"kind": "im-bert", "implicit_layers": [3, 4, 5]},
        "data": {"task": "mrpc", "size": 1000},
        "train": {"seed": 1},
    },
}


@pytest.mark.parametrize("digest", FIRST_DIGESTS)
def test_later_choices_leave_the_digests_of_earlier_runs(digest: str) -> None:
    assert run_config(FIRST_DIGESTS[digest]).digest == digest


def test_what_only_shows_a_run_is_kept_and_no_part_of_its_identity() -> None:
    shown = {"report_to": ["tensorboard"], "logging_dir": "logs", "progress": True}
    run = run_config({"train": shown})
    assert run.as_dict()["train"].items() >= shown.items()
    assert run_config(run.as_dict()) == run
    assert run.identity == RunConfig().identity and run.digest == RunConfig().digest


def test_a_record_keeps_of_its_run_what_the_run_keeps() -> None:
    class Written(Record, frozen=True):
        run: RunConfig

    for run in (RunConfig(), run_config({"train": {"progress": True}})):
        written = plain(Written(run))
        assert written == {"run": run.as_dict()}
        assert msgspec.convert(written, Written).run == run
    assert "progress" not in plain(Written(RunConfig()))["run"]["train"]


@pytest.mark.parametrize("names", [LATER, SHOWN])
def test_later_and_shown_choices_are_choices(names: dict[str, tuple[str, ...]]) -> None:
    for table, entries in names.items():
        assert set(entries) <= set(SECTIONS[table].__struct_fields__)


def test_columns_that_are_named_are_part_of_the_digest() -> None:
    """Records name runs by them: what a run does not choose of later options stands in none."""
    other = "5562936a9715f3394cd30ffdbe920b343fb8c797d23440328f7b3422ac4bc781"
    data = {"task": "mnli", "size": 5, "final_period": False}
    assert run_config({"data": data}).digest == other
    assert run_config({"data": {**data, "text_column": "a", "pair_column": "b"}}).digest != other
    assert set(plain(RunConfig())["data"]) == {
        *("task", "source", "size", "subset_seed", "validation", "max_length", "final_period")
    }


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            {"train": {"logging_dir": "logs"}},
            r"train.logging_dir means nothing without TensorBoard: expected .*, got \[\]",
        ),
        ({"train": {"report_to": "tensorboard"}}, "train.report_to must be a list, each entry a"),
        ({"modle": {}}, "a run: expected keys among model, data, train, evaluate, got modle"),
        ({"train": {"epoch": 3}}, r"\[train\]: expected keys among seed, epochs, .*, got epoch"),
        ({"train": {"epochs": 3.5}}, "train.epochs must be a whole number, got 3.5"),
        ({"train": {"epochs": True}}, "train.epochs must be a whole number, got True"),
        (
            {"train": {"learning_rate": float("nan")}},
            "train.learning_rate must be a finite number, got nan",
        ),
        ({"train": {"learning_rate": 0}}, "train.learning_rate must be > 0, got 0"),
        (
            {"train": {"batch_size": 6, "gradient_accumulation": 4}},
            "must be a multiple of gradient_accumulation, got 6 and 4",
        ),
        (
            {"train": {"sort_by_length": True}},
            "train.sort_by_length: expected gradient_accumulation > 1, got 1",
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
            r"model.implicit_layers must be a list, each entry a whole number, got \['3'\]",
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


NEVER = (math.nan, math.inf, -math.inf, 10**5000, True, "1", [], [math.nan])
WHOLE = (1.0, 1.5, 10**30, -(10**30))
NUMBERS: dict[str, tuple[Any, ...]] = {  # of each numeric option what it must not be
    "model.step_size": (0, -1),
    "model.substeps": (*WHOLE, 0, -1, 10**10),
    "model.dropout": (-0.1, 1),
    "data.size": (*WHOLE, 0, -1, 10**10),
    "data.subset_seed": (*WHOLE, -1),
    "data.validation": (*WHOLE, 0, -1, 10**10),
    "data.dev_rows": (*WHOLE, 0, -1, 10**10),
    "data.max_length": (*WHOLE, 3, -1, 10**10),
    "train.seed": (*WHOLE, -1, 2**32),
    "train.epochs": (*WHOLE, 0, -1, 10**10),
    "train.batch_size": (*WHOLE, 0, -1, 10**10),
    "train.learning_rate": (0, -1),
    "train.weight_decay": (-1,),
    "train.warmup_fraction": (-0.1, 1),
    "train.max_gradient_norm": (0, -1),
    "train.patience": (*WHOLE, -1, 10**10),
    "train.earliest": (*WHOLE, -1, 10**10),
    "train.gradient_accumulation": (*WHOLE, 0, -1, 10**10),
    "train.save_steps": (*WHOLE, -1, 10**10),
    "train.threads": (*WHOLE, 0, -1, 1025),
    "train.failed_limit": (-0.1, 1.1),
    "evaluate.limit": (*WHOLE, 0, -1, 10**10),
    "evaluate.batch_size": (*WHOLE, 0, -1, 10**10),
    "attacks.examples": (*WHOLE, 0, -1, 10**10),
    "attacks.seed": (*WHOLE, -1),
    "attacks.sweep_examples": (*WHOLE, 0, -1, 10**10),
    "attacks.radius": (0, -1, [0], [0.1, math.inf]),
    "attacks.restarts": (*WHOLE, 0, -1, 10**10),
}


@pytest.mark.parametrize("option", NUMBERS)
def test_a_number_that_makes_no_sense_is_refused_in_a_line(option: str) -> None:
    table, _, name = option.partition(".")
    kind = {**SECTIONS, "attacks": AttackChoice}[table]
    for value in (*NEVER, *NUMBERS[option]):
        given = {"kind": "im-bert", name: value} if table == "model" else {name: value}
        with pytest.raises(ValueError) as raised:
            section(table, kind, given)
        line = str(raised.value)
        assert line.startswith(option) and "got" in line and len(line) < 200, (value, line)
        assert "\n" not in line


def test_every_numeric_option_is_tried() -> None:
    kinds = {**SECTIONS, "attacks": AttackChoice}
    numeric = {
        f"{table}.{entry.name}"
        for table, kind in kinds.items()
        for entry in structs.fields(kind)
        if {"int", "float"} & set(re.findall(r"\w+", str(entry.type)))
    }
    lists = {"model.implicit_layers", "attacks.seeds"}
    assert numeric - {"model.solver", "model.adjoint", *lists} == set(NUMBERS)


def test_a_choice_made_in_python_is_held_to_the_same_ranges() -> None:
    for name in ("learning_rate", "weight_decay", "max_gradient_norm"):
        for value in (math.inf, math.nan):
            with pytest.raises(
                ValueError, match=rf"train\.{name} must be >=? 0( and finite)?, got"
            ):
                TrainChoice(**{name: value})


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("[train\n")
    with pytest.raises(ValueError, match=r"run.toml: expected TOML in UTF-8"):
        read_run(file)
    file.write_text("[train]\nepoch = 1\n")
    with pytest.raises(ValueError, match=r"run.toml: \[train\]: expected keys among"):
        read_run(file)
