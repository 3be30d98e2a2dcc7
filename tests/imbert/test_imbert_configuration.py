"""The configuration: what is checked, and that it survives a file."""

from pathlib import Path
from typing import Any

import pytest
from tiny import tiny_config

import imbert

BAD: list[tuple[dict[str, Any], str]] = [
    ({"implicit_layers": [3]}, r"different indices from 0 to 2 of the 3 layers, got \[3\]"),
    ({"implicit_layers": [-1]}, r"indices from 0 to 2"),
    ({"implicit_layers": [1, 1]}, r"different indices"),
    ({"implicit_layers": [1.0]}, r"got \[1.0\]"),
    ({"implicit_layers": "all"}, r"got 'all'"),
    ({"method": "euler"}, r"method must be one of implicit_euler, explicit_euler, got 'euler'"),
    ({"field": "inner"}, r"field must be one of increment, outer, got 'inner'"),
    ({"step_size": 0}, r"step_size must be a number > 0 and finite, got 0"),
    ({"step_size": float("nan")}, r"step_size must be a number > 0"),
    ({"step_size": "1"}, r"step_size must be a number > 0 and finite, got '1'"),
    ({"substeps": 0}, r"substeps must be an integer >= 1, got 0"),
    ({"substeps": 1.5}, r"substeps must be an integer >= 1, got 1.5"),
    ({"learn_step_size": 1}, r"learn_step_size must be True or False, got 1"),
    (
        {"solver": {"name": "Newton"}},
        r"solver must be a table with a name out of FixedPoint, .*Auto, got 'Newton'",
    ),
    ({"solver": "Auto"}, r"solver must be a table .* got 'Auto'"),
    (
        {"solver": {"name": "Auto", "rtoll": 1}},
        r"solver Auto must have options out of rtol, .*got rtoll",
    ),
    (
        {"solver": {"name": "Auto", "rtol": -1.0}},
        r"solver Auto: rtol must be finite and >= 0, got -1.0",
    ),
    (
        {"solver": {"name": "Auto", "rtol": "small"}},
        r"solver Auto must have options of their types",
    ),
    (
        {"adjoint": {"name": "Exact"}},
        r"adjoint must be a table with a name out of ImplicitAdjoint, .*got 'Exact'",
    ),
    (
        {"adjoint": {"name": "ImplicitAdjoint", "rtol": 0.0}},
        r"adjoint ImplicitAdjoint: rtol must be finite and > 0, got 0.0",
    ),
    ({"adjoint": {"name": "ImplicitAdjoint", "_last": 0}}, r"got _last"),
]


@pytest.mark.parametrize(("options", "said"), BAD)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        imbert.ImBertConfig(num_hidden_layers=3, **options)


@pytest.mark.parametrize(("options", "said"), BAD[:1] + BAD[12:14])
def test_what_from_pretrained_is_given_is_checked(
    tiny_folder: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        imbert.ImBertModel.from_pretrained(tiny_folder, **options)


def test_the_defaults_take_every_layer_by_a_converged_implicit_step() -> None:
    config = imbert.ImBertConfig(num_hidden_layers=3)
    assert config.stepping_layers == [0, 1, 2] and config.model_type == "imbert"
    assert (
        config.method,
        config.field,
        config.step_size,
        config.substeps,
        config.learn_step_size,
    ) == (*("implicit_euler", "increment", 1.0, 1, False),)
    assert config.solver["rtol"] == 1e-3 and config.adjoint["rtol"] == 1e-2


def test_a_file_keeps_it(tmp_path: Path) -> None:
    solver = {"name": "GradientDescent", "steps": 5, "step_size": 0.1}
    config = imbert.ImBertConfig(
        num_hidden_layers=3,
        implicit_layers=[2, 0],
        field="outer",
        step_size=0.5,
        substeps=2,
        solver=solver,
    )
    config.save_pretrained(tmp_path)
    again = imbert.ImBertConfig.from_pretrained(tmp_path)
    assert again.to_dict() == config.to_dict() and again.implicit_layers == [0, 2]


def test_a_checkpoint_of_bert_becomes_one_of_imbert(tmp_path: Path) -> None:
    tiny_config(hidden_dropout_prob=0.3).save_pretrained(tmp_path)
    config = imbert.ImBertConfig.from_pretrained(tmp_path, implicit_layers=[1], num_labels=3)
    assert (
        config.model_type,
        config.hidden_dropout_prob,
        config.num_labels,
        config.implicit_layers,
    ) == ("imbert", 0.3, 3, [1])
    assert config.to_dict()["model_type"] == "imbert"
